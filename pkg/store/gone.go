package store

import (
	"bytes"
	"context"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/ledger"
)

// SweepGone gives up what is kept for receivers that nobody names any more, keep after a
// call has found them so first; one that is named again by then is owed it as before. What
// was not told becomes a dead letter; how many of them, by receiver.
func (s *Store) SweepGone(ctx context.Context, named func(receiver string) bool, keep time.Duration, now time.Time) (map[string]int, error) {
	var keys [][]byte // of what has to change
	err := s.view(func(t *badger.Txn) error {
		return scan(t, []byte(tableOwed), nil, func(key, payload []byte) error {
			var d ledger.Delivery
			err := decodeJSON(key, payload, &d)
			if !named(d.Receiver) || !d.GoneAt.IsZero() {
				keys = append(keys, bytes.Clone(key))
			}
			return err
		})
	})
	given := map[string]int{}
	if err == nil {
		err = s.inParts(ctx, keys, func(w *writer, key []byte) error {
			var d ledger.Delivery
			if err := readJSON(w.Txn, key, &d); err != nil {
				return optional(err) // settled meanwhile
			}
			switch {
			case named(d.Receiver):
				d.GoneAt = time.Time{}
			case d.GoneAt.IsZero():
				d.GoneAt = now.UTC()
			case now.Sub(d.GoneAt) < keep:
				return nil
			case d.Told:
				return w.remove(key)
			default:
				given[d.Receiver]++
				return giveUp(w, key, d, now)
			}
			return setJSON(w, key, d)
		})
	}
	return given, wrap(err, "give up what is owed to receivers that are gone")
}

// giveUp buries what is owed to a receiver that is gone.
func giveUp(w *writer, key []byte, d ledger.Delivery, now time.Time) error {
	d.LastError = fmt.Sprintf("the receiver is not in the configuration since %s", ledger.TimeText(d.GoneAt))
	o := Outcome{Result: Dead, At: now}
	if err := bury(w, key, d, o); err != nil {
		return err
	}
	return note(w, d, o)
}
