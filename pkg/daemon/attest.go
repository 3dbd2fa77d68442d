package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/ledger"
)

// Who can write the store can write the whole ledger anew, and its chain of hashes is
// whole again. So its head is signed and told now and then to whoever keeps it: on NATS
// and in the log.

// CheckpointSubject is where the heads of the ledger are published.
const CheckpointSubject = "driftd.audit.checkpoint"

// attestWithin bounds the wait for NATS, also at the end of the process; attestRetry is
// how soon a head is published again that could not be.
const (
	attestWithin = 3 * time.Second
	attestRetry  = time.Minute
)

// An attestation is the body of a message on CheckpointSubject. Note says it all, and is
// signed; the rest is for who reads it without checking.
type attestation struct {
	ID       string      `json:"id"`
	Type     string      `json:"type"` // "checkpoint"
	StoreID  string      `json:"store_id"`
	Entries  uint64      `json:"entries"`
	Head     ledger.Hash `json:"head"`
	IssuedAt time.Time   `json:"issued_at"`
	Key      string      `json:"key"` // ledger.VerifierKey
	Note     string      `json:"note"`
}

// attested counts heads.
type attested struct {
	sent   atomic.Uint64 // confirmed by the stream
	failed atomic.Uint64 // attempts
	last   atomic.Int64  // when the last one was confirmed, Unix time in ns; 0: none
}

// attestedHeads says how the telling of heads does.
func (d *Daemon) attestedHeads() api.Attested {
	out := api.Attested{Every: d.AttestEvery, Sent: d.attested.sent.Load(), Failed: d.attested.failed.Load()}
	if at := d.attested.last.Load(); at != 0 {
		out.Last = time.Unix(0, at)
	}
	return out
}

// attest tells the head of the ledger at once, and then at every interval until ctx
// ends.
func (d *Daemon) attest(ctx context.Context) error {
	if d.AttestEvery <= 0 || d.Publish == nil || !d.proven(ctx) {
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := d.AttestEvery
		err := d.attestNow(ctx)
		if err != nil && ctx.Err() == nil {
			wait = min(wait, attestRetry)
			if !failing {
				d.Log.Warn().Err(err).Msg("the head of the ledger could not be published; driftd tries again")
			}
		}
		failing = err != nil
		timer.Reset(wait)
	}
}

// attestLast tells the head of the ledger behind the last checkpoint of the process.
func (d *Daemon) attestLast() {
	if d.AttestEvery <= 0 || d.Publish == nil {
		return
	}
	if err := d.attestNow(context.Background()); err != nil {
		d.Log.Warn().Err(err).Msg("the last head of the ledger could not be published; it is in the log")
	}
}

// attestNow signs the head of what is committed, logs it and publishes it.
func (d *Daemon) attestNow(ctx context.Context) error {
	head, err := d.Store.Head()
	if err != nil {
		return err
	}
	c := ledger.Checkpoint{Store: d.Store.Identity().UUID, Chain: head, At: time.Now().UTC().Truncate(time.Second)}
	a := attestation{
		ID: fmt.Sprintf("checkpoint:%s:%d:%d", c.Store, c.Seq, c.At.Unix()), Type: "checkpoint", StoreID: c.Store, Entries: c.Seq, Head: c.Hash, IssuedAt: c.At,
		Key: ledger.VerifierKey(c.Store, d.AttestKey), Note: c.Sign(d.AttestKey),
	}
	d.Log.Info().Uint64("entries", a.Entries).Str("head", a.Head.String()).Str("key", a.Key).Str("note", a.Note).Msg("head of the ledger")
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the head of the ledger: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, attestWithin)
	defer cancel()
	if err := d.Publish(ctx, CheckpointSubject, a.ID, body); err != nil {
		d.attested.failed.Add(1)
		return err
	}
	d.attested.sent.Add(1)
	d.attested.last.Store(time.Now().UnixNano())
	return nil
}
