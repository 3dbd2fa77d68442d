package store

import (
	"bytes"
	"context"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/ledger"
)

// Retention says how long things are kept. Zero keeps them for ever.
type Retention struct {
	Panes  time.Duration // behind the model's watermark
	Hours  time.Duration // behind the model's watermark; then they become days
	Days   time.Duration // behind the model's watermark
	Ledger time.Duration // behind the watermark of the entry's model, or else the latest of all; incidents that have ended alike
	Dead   time.Duration // dead letters, behind now
}

// A Swept counts what a Sweep removed.
type Swept struct {
	Panes, Hours, Days, Entries, Dead, Incidents int
	Rolled                                       int // days that hours became
}

// sweepKeys bounds the keys of one transaction of a Sweep.
const sweepKeys = 512

// Sweep removes what is older than the Retention, in small transactions, and makes days
// of hours that are: of whole days, from midnight UTC, so hours may stay a day longer. The
// disk space comes back as Badger compacts, or at once by Flatten. Ages count from each model's watermark,
// which the caller knows; a model without one loses nothing.
//
// The ledger loses entries from its beginning only, and none that is still owed
// or in a dead letter; the last one removed stays as the Anchor from which
// the rest can be verified. Sweep may be interrupted at any point by ctx and
// run beside commits.
func (s *Store) Sweep(ctx context.Context, keep Retention, watermarks map[string]time.Time, now time.Time) (swept Swept, err error) {
	steps := []func() error{
		func() (err error) { swept.Dead, err = s.sweepDead(ctx, keep.Dead, now); return err },
		func() (err error) {
			swept.Panes, err = s.sweepWindows(ctx, tablePane, keep.Panes, watermarks)
			return err
		},
		func() (err error) {
			swept.Hours, swept.Rolled, err = s.rollDays(ctx, keep.Hours, watermarks)
			return err
		},
		func() (err error) {
			swept.Days, err = s.sweepWindows(ctx, tableDay, keep.Days, watermarks)
			return err
		},
		func() (err error) {
			swept.Incidents, err = s.sweepIncidents(ctx, keep.Ledger, watermarks)
			return err
		},
		func() (err error) { swept.Entries, err = s.sweepLedger(ctx, keep.Ledger, watermarks); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return swept, fmt.Errorf("sweep store %s: %w", s.dir, err)
		}
	}
	return swept, nil
}

// Flatten compacts all files into one level, which gives back the space of
// what was overwritten or swept. It rewrites the whole store and cannot be
// stopped: for idle times.
func (s *Store) Flatten() error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	return wrap(s.db.Flatten(1), "flatten store %s", s.dir)
}

// sweepWindows removes the windows of a table that begin before their model's
// watermark less keep, and returns how many.
func (s *Store) sweepWindows(ctx context.Context, table string, keep time.Duration, watermarks map[string]time.Time) (int, error) {
	if keep <= 0 {
		return 0, nil
	}
	windows := 0
	seek := []byte(table)
	for seek != nil {
		var keys [][]byte
		err := s.view(func(t *badger.Txn) (err error) {
			keys, seek, err = expired(t, table, seek, keep, watermarks)
			return err
		})
		if err != nil {
			return windows, err
		}
		if err := s.remove(ctx, keys); err != nil {
			return windows, err
		}
		for _, key := range keys {
			if bytes.HasSuffix(key, []byte{0, 0}) { // chunk 0
				windows++
			}
		}
	}
	return windows, nil
}

// expired lists at most sweepKeys keys of expired windows from seek on, and
// where to go on; nil is the end.
func expired(t *badger.Txn, table string, seek []byte, keep time.Duration, watermarks map[string]time.Time) (keys [][]byte, next []byte, err error) {
	options := badger.DefaultIteratorOptions
	options.Prefix = []byte(table)
	options.PrefetchValues = false
	it := t.NewIterator(options)
	defer it.Close()
	for it.Seek(seek); it.Valid(); {
		key := it.Item().KeyCopy(nil)
		if len(keys) >= sweepKeys {
			return keys, key, nil
		}
		k := readKey(key)
		g := k.group()
		past := len(key) - len(k.rest)
		start := k.time()
		k.u16()
		if err := k.end(key); err != nil {
			return nil, nil, err
		}
		if mark := watermarks[g.Model]; !mark.IsZero() && start.Before(mark.Add(-keep)) {
			keys = append(keys, key)
			it.Next()
			continue
		}
		// Starts ascend within a group: nothing more of it has expired.
		it.Seek(append(key[:past:past], bytes.Repeat([]byte{0xff}, 11)...))
	}
	return keys, nil, nil
}

func (s *Store) sweepDead(ctx context.Context, keep time.Duration, now time.Time) (int, error) {
	if keep <= 0 {
		return 0, nil
	}
	var keys [][]byte
	err := s.view(func(t *badger.Txn) error {
		return scan(t, []byte(tableDead), nil, func(key, payload []byte) error {
			var d DeadLetter
			if err := decodeJSON(key, payload, &d); err != nil {
				return err
			}
			if d.DiedAt.Before(now.Add(-keep)) {
				keys = append(keys, bytes.Clone(key))
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	return len(keys), s.remove(ctx, keys)
}

// remove deletes keys in transactions of at most sweepKeys.
func (s *Store) remove(ctx context.Context, keys [][]byte) error {
	return s.inParts(ctx, keys, (*writer).remove)
}

// inParts changes what is under keys, in transactions of at most sweepKeys.
func (s *Store) inParts(ctx context.Context, keys [][]byte, change func(w *writer, key []byte) error) error {
	for len(keys) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := keys[:min(len(keys), sweepKeys)]
		keys = keys[len(part):]
		err := s.update(func(w *writer) error {
			for _, key := range part {
				if err := change(w, key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepLedger removes expired entries from the beginning of the ledger. The
// anchor moves in the same transaction as the entries go.
func (s *Store) sweepLedger(ctx context.Context, keep time.Duration, watermarks map[string]time.Time) (removed int, err error) {
	if keep <= 0 {
		return 0, nil
	}
	var latest time.Time
	for _, mark := range watermarks {
		if mark.After(latest) {
			latest = mark
		}
	}
	gone := func(e ledger.Entry) bool {
		mark, ok := watermarks[e.Model]
		if !ok {
			mark = latest
		}
		return !mark.IsZero() && e.Time.Before(mark.Add(-keep))
	}
	for {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		n := 0
		err := s.update(func(w *writer) (err error) {
			n, err = sweepEntries(w, gone)
			return err
		})
		removed += n
		if err != nil || n < sweepKeys {
			return removed, err
		}
	}
}

func sweepEntries(w *writer, gone func(ledger.Entry) bool) (removed int, err error) {
	needed, err := firstNeeded(w.Txn)
	if err != nil {
		return 0, err
	}
	var anchor ledger.Chain
	var keys [][]byte
	err = scan(w.Txn, []byte(tableLedger), nil, func(key, payload []byte) error {
		e, err := decodeEntry(key, payload)
		if err != nil {
			return err
		}
		if e.Seq >= needed || len(keys) >= sweepKeys || !gone(e) {
			return errStop
		}
		anchor = ledger.Chain{Seq: e.Seq, Hash: e.Hash}
		keys = append(keys, bytes.Clone(key))
		return nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	for _, key := range keys {
		if err := w.remove(key); err != nil {
			return 0, err
		}
	}
	return len(keys), setJSON(w, []byte(keyAnchor), anchor)
}

// firstNeeded returns the lowest sequence that a delivery or a dead letter
// refers to, or else one more than any.
func firstNeeded(t *badger.Txn) (uint64, error) {
	first := ^uint64(0)
	for _, table := range []string{tableOwed, tableDead} {
		err := scanKeys(t, []byte(table), func(key []byte) ([]byte, error) {
			k := readKey(key)
			k.name()
			first = min(first, k.u64())
			return nil, k.end(key)
		})
		if err != nil {
			return 0, err
		}
	}
	return first, nil
}
