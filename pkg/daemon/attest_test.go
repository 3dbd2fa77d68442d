package daemon_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stream"
)

// A head is a message on driftd.audit.checkpoint.
type head struct {
	ID      string      `json:"id"`
	Entries uint64      `json:"entries"`
	Head    ledger.Hash `json:"head"`
	Key     string      `json:"key"`
	Note    string      `json:"note"`
}

func (w *world) heads() (out []head) {
	w.t.Helper()
	each(w.t, w, daemon.CheckpointSubject, func(m jetstream.Msg) {
		var h head
		if err := json.Unmarshal(m.Data(), &h); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, h)
	})
	return out
}

// TestHeadsOfTheLedger: the head is told at the start, now and then, and behind the last
// checkpoint; each is signed, in the log as on the bus, and the ledger holds it.
func TestHeadsOfTheLedger(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	var log lockedBuffer
	o := w.options(st)
	o.Publish = signals{o.DeadLetters.(*stream.Publisher)}.Publish
	o.AttestEvery, o.AttestKey = 20*time.Millisecond, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	o.Log = zerolog.New(&log)
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Attested.Sent > 2 }, "heads are published")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := d.Snapshot().Attested; got.Failed > 0 || got.Last.IsZero() {
		t.Errorf("%+v", got)
	}
	tip, err := st.LedgerVerify(nil)
	if err != nil {
		t.Fatal(err)
	}
	heads := w.heads()
	if len(heads) < 2 || heads[len(heads)-1].Entries != tip.Seq || tip.Seq < 5 {
		t.Fatalf("%d heads, the last of %d entries: want that of the end, %d", len(heads), heads[len(heads)-1].Entries, tip.Seq)
	}
	for _, h := range heads {
		n, err := ledger.ParseNote(h.Note)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Verify(h.Key); err != nil || n.Seq != h.Entries || n.Hash != h.Head || n.Store != st.Identity().UUID {
			t.Errorf("%+v: %v", h, err)
		}
		if n.Seq == 0 {
			continue
		}
		e, err := st.Entry(n.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Holds(ledger.Chain{Seq: e.Seq, Hash: e.Hash}); err != nil {
			t.Error(err)
		}
		if quoted, _ := json.Marshal(h.Note); !strings.Contains(log.String(), `"note":`+string(quoted)) {
			t.Errorf("the log does not have %s", quoted)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHeadsNobodyTakes: without NATS the head is in the log, and neither counting nor
// the end waits.
func TestHeadsNobodyTakes(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	var log lockedBuffer
	o := w.options(st)
	o.Publish = func(context.Context, string, string, []byte) error { return errors.New("nobody is there") }
	o.AttestEvery, o.AttestKey = time.Hour, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	o.Log = zerolog.New(&log)
	d, stop := w.start(o)
	w.caughtUp(d)
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
	if got := d.Snapshot().Attested; got.Failed != 2 || got.Sent != 0 || !got.Last.IsZero() {
		t.Errorf("%+v, want two attempts", got)
	}
	for _, want := range []string{"head of the ledger could not be published", `"message":"head of the ledger"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s", want)
		}
	}
}

// TestHeadsNeedAKey: what cannot be signed is refused at the start.
func TestHeadsNeedAKey(t *testing.T) {
	w := emptyWorld(t, hour())
	st := open(t, t.TempDir())
	defer st.Close()
	o := w.options(st)
	o.AttestEvery = time.Hour
	if _, err := daemon.New(o); err == nil || !strings.Contains(err.Error(), "a key to sign the head of the ledger") {
		t.Errorf("without a key: %v", err)
	}
}

// A lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
