package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Kind says what an Entry records; it fixes the type of its Body.
type Kind string

// The kinds of entries and the type of their bodies.
const (
	KindAlert    Kind = "alert"    // Alert: a rule started or stopped firing
	KindNote     Kind = "note"     // Alert: a change that is too small to tell anybody
	KindRetrain  Kind = "retrain"  // Retrain: a model should be trained again
	KindRollback Kind = "rollback" // Rollback: traffic should return to an earlier version
	KindPromote  Kind = "promote"  // Rollback: traffic should move to a later version
	KindBaseline Kind = "baseline" // BaselineChange: a reference was learned, imported or approved
	KindConfig   Kind = "config"   // ConfigChange: a configuration was loaded
	KindEpoch    Kind = "epoch"    // EpochChange: the stream was rewound, recreated or has a gap
	KindSilence  Kind = "silence"  // SilenceChange: somebody keeps alerts from being told, or lets them
	KindIncident Kind = "incident" // IncidentChange: somebody did something about an incident
	KindDigest   Kind = "digest"   // Digest: what a period brought, and what of it should be tuned
)

// A Hash is a SHA-256 digest; its text form is "sha256:" and 64 hex digits.
type Hash [sha256.Size]byte

const hashPrefix = "sha256:"

// String returns the text form.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It refuses anything but
// the text form.
func (h *Hash) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), hashPrefix)
	var out Hash
	if ok && len(digits) == 2*len(out) {
		_, err := hex.Decode(out[:], []byte(digits))
		ok = err == nil && out.String() == string(text) // upper case is another text
	} else {
		ok = false
	}
	if !ok {
		return fmt.Errorf("hash %.80q is not %s and %d lower-case hex digits", text, hashPrefix, 2*len(out))
	}
	*h = out
	return nil
}

// An Entry is one recorded decision.
//
// Its Hash covers, in this order and big-endian: the bytes "driftd/ledger/1",
// Seq (8), Time in Unix nanoseconds (8), StreamSeq (8), then Kind, Model and
// Body each behind its length (4), then Prev (32). ID is a ULID of Time and of
// the first 80 bits of SHA-256(Prev, Seq): unique, sortable by event time, and
// known before the body is, so that bodies of one pass can refer to each other.
type Entry struct {
	Seq       uint64          `json:"seq"`        // 1, 2, 3, ...
	ID        string          `json:"id"`         // 26 characters
	Time      time.Time       `json:"time"`       // event time of the decision, UTC
	StreamSeq uint64          `json:"stream_seq"` // the message that caused it, 0 for none
	Kind      Kind            `json:"kind"`
	Model     string          `json:"model,omitempty"`
	Body      json.RawMessage `json:"body"`
	Prev      Hash            `json:"prev"`
	Hash      Hash            `json:"hash"`
}

// A Chain is the tip of the journal: the last entry's Seq and Hash. The zero
// Chain is the start of a new journal.
type Chain struct {
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
}

// NextID returns the ID that the next entry, recorded at the given event time,
// will have.
func (c Chain) NextID(at time.Time) string { return ulid(at, c.Seq+1, c.Hash) }

// A Draft is a decision that has not been chained yet.
type Draft struct {
	Time      time.Time
	StreamSeq uint64
	Kind      Kind
	Model     string
	Body      any // encoded as JSON; one of the bodies of this package
}

// Append chains a decision and moves the tip to it. Bytes of the model's name
// that are not UTF-8 are replaced, as JSON would do it after the hash was taken.
func (c *Chain) Append(d Draft) (Entry, error) {
	body, err := json.Marshal(d.Body)
	if err != nil {
		return Entry{}, fmt.Errorf("encode %s entry %d: %w", d.Kind, c.Seq+1, err)
	}
	e := Entry{
		Seq: c.Seq + 1, ID: c.NextID(d.Time), Time: d.Time.UTC(), StreamSeq: d.StreamSeq,
		Kind: d.Kind, Model: strings.ToValidUTF8(d.Model, "\uFFFD"), Body: body, Prev: c.Hash,
	}
	e.Hash = e.sum()
	c.Seq, c.Hash = e.Seq, e.Hash
	return e, nil
}

func (e Entry) sum() Hash {
	b := append(make([]byte, 0, 128+len(e.Body)), "driftd/ledger/1"...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, e.StreamSeq)
	for _, part := range [][]byte{[]byte(e.Kind), []byte(e.Model), e.Body} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(append(b, e.Prev[:]...))
}

// ErrBroken is wrapped by every error of Verify.
var ErrBroken = errors.New("ledger broken")

// A Verifier checks entries one by one, oldest first. Its zero value expects
// the first entry of a journal; set Tip to start behind a known entry.
type Verifier struct{ Tip Chain }

// Check accepts the next entry, or says what is wrong with it.
func (v *Verifier) Check(e Entry) error {
	switch {
	case e.Seq != v.Tip.Seq+1:
		return fmt.Errorf("%w at entry %d: expected entry %d (entries are missing or out of order)", ErrBroken, e.Seq, v.Tip.Seq+1)
	case e.Prev != v.Tip.Hash:
		return fmt.Errorf("%w at entry %d: it does not follow entry %d (prev %s, want %s)", ErrBroken, e.Seq, v.Tip.Seq, e.Prev, v.Tip.Hash)
	case e.ID != v.Tip.NextID(e.Time):
		return fmt.Errorf("%w at entry %d: id %q is not the one its time and predecessor give", ErrBroken, e.Seq, e.ID)
	case e.Hash != e.sum():
		return fmt.Errorf("%w at entry %d: its content does not give its hash", ErrBroken, e.Seq)
	}
	v.Tip = Chain{e.Seq, e.Hash}
	return nil
}

// crockford is the alphabet of ULIDs (github.com/ulid/spec).
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ulid returns 48 bits of Unix milliseconds and 80 bits of SHA-256(prev, seq)
// in Crockford's base 32. Times before 1970 count as 1970.
func ulid(at time.Time, seq uint64, prev Hash) string {
	var raw [16]byte
	ms := uint64(max(at.UnixMilli(), 0))
	binary.BigEndian.PutUint64(raw[:8], ms<<16)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(prev[:], seq))
	copy(raw[6:], sum[:10])
	// 128 bits in 26 digits of 5 bits: the first digit holds the top 3.
	hi, lo := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	var out [26]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}
