package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/ledger"
)

// A ledger entry is stored in binary, because its hash covers the very bytes of
// its body. Its sequence is in the key.
//
//	8   time, Unix nanoseconds, big-endian
//	8   stream sequence, big-endian
//	32  hash of the entry before
//	32  hash
//	    id, kind, model, body, each behind its length as an unsigned varint

func appendEntry(b []byte, e ledger.Entry) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, e.StreamSeq)
	b = append(append(b, e.Prev[:]...), e.Hash[:]...)
	for _, text := range [...]string{e.ID, string(e.Kind), e.Model, string(e.Body)} {
		b = appendText(b, text)
	}
	return b
}

func decodeEntry(key, payload []byte) (e ledger.Entry, err error) {
	k := readKey(key)
	e.Seq = k.u64()
	if err := k.end(key); err != nil {
		return e, err
	}
	f := fields{rest: payload}
	e.Time = time.Unix(0, int64(f.u64())).UTC()
	e.StreamSeq = f.u64()
	copy(e.Prev[:], f.take(uint64(len(e.Prev))))
	copy(e.Hash[:], f.take(uint64(len(e.Hash))))
	e.ID = f.text()
	e.Kind = ledger.Kind(f.text())
	e.Model = f.text()
	e.Body = []byte(f.text())
	if f.err != nil || len(f.rest) > 0 {
		return e, damaged(key, f.err, f.rest)
	}
	return e, nil
}

// Append keeps a ledger entry. Its Progress must carry the chain's new tip.
func (b *Batch) Append(e ledger.Entry) {
	b.begin()
	b.buf = binary.BigEndian.AppendUint64(append(b.buf, tableLedger...), e.Seq)
	b.payload()
	b.buf = appendEntry(b.buf, e)
	b.end()
}

// Entry returns the ledger entry of a sequence, or ErrNotFound.
func (s *Store) Entry(seq uint64) (e ledger.Entry, err error) {
	err = s.view(func(t *badger.Txn) error {
		e, err = entry(t, seq)
		return err
	})
	return e, wrap(err, "read ledger entry %d", seq)
}

func entry(t *badger.Txn, seq uint64) (e ledger.Entry, err error) {
	err = read(t, numberKey(tableLedger, seq), func(key, payload []byte) error {
		e, err = decodeEntry(key, payload)
		return err
	})
	return e, err
}

// Entries returns at most limit ledger entries from a sequence on, ascending.
// A limit below 1 means all of them.
func (s *Store) Entries(from uint64, limit int) (entries []ledger.Entry, err error) {
	err = s.view(func(t *badger.Txn) error {
		return scan(t, []byte(tableLedger), numberKey(tableLedger, from), func(key, payload []byte) error {
			e, err := decodeEntry(key, payload)
			if err != nil {
				return err
			}
			entries = append(entries, e)
			if limit > 0 && len(entries) >= limit {
				return errStop
			}
			return nil
		})
	})
	return entries, wrap(err, "read ledger entries from %d", from)
}

// Head returns the tip of the ledger as of the last commit.
func (s *Store) Head() (ledger.Chain, error) {
	var p Progress
	err := s.view(func(t *badger.Txn) error { return optional(readJSON(t, []byte(keyProgress), &p)) })
	return p.Chain, wrap(err, "read the ledger's tip")
}

// Anchor returns the last entry that Sweep removed: the ledger starts behind
// it. The zero Chain means that nothing was.
func (s *Store) Anchor() (anchor ledger.Chain, err error) {
	err = s.view(func(t *badger.Txn) error {
		anchor, err = readAnchor(t)
		return err
	})
	return anchor, wrap(err, "read the ledger's anchor")
}

func readAnchor(t *badger.Txn) (anchor ledger.Chain, err error) {
	return anchor, optional(readJSON(t, []byte(keyAnchor), &anchor))
}

// LedgerVerify checks every entry from the anchor to the committed tip and
// returns how far the chain holds. progress, if not nil, is called with the
// entries checked and the number there are. Errors are ledger.ErrBroken or
// ErrDamaged, and name the first entry that does not fit.
func (s *Store) LedgerVerify(progress func(done, total uint64)) (ledger.Chain, error) {
	var v ledger.Verifier
	err := s.view(func(t *badger.Txn) (err error) {
		var p Progress
		if err := optional(readJSON(t, []byte(keyProgress), &p)); err != nil {
			return err
		}
		if v.Tip, err = readAnchor(t); err != nil {
			return err
		}
		first := v.Tip.Seq
		err = scan(t, []byte(tableLedger), nil, func(key, payload []byte) error {
			e, err := decodeEntry(key, payload)
			if err != nil {
				return err
			}
			if err := v.Check(e); err != nil {
				return err
			}
			if progress != nil {
				progress(e.Seq-first, max(p.Chain.Seq, e.Seq)-first)
			}
			return nil
		})
		if err == nil && v.Tip != p.Chain {
			return fmt.Errorf("%w after entry %d: the last commit recorded entry %d with %s as the tip",
				ledger.ErrBroken, v.Tip.Seq, p.Chain.Seq, p.Chain.Hash)
		}
		return err
	})
	return v.Tip, wrap(err, "verify the ledger")
}

// optional makes a value that is not there no error.
func optional(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// wrap says what was being done, if it failed.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
