package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/ledger"
)

// A Result says what has to happen to a delivery.
type Result uint8

// The results.
const (
	Delivered Result = iota + 1 // forget it: the receiver has confirmed
	Retry                       // keep it as it now is
	Dead                        // move it to the dead letters
)

// An Outcome is what came of one attempt to deliver.
type Outcome struct {
	Result Result
	At     time.Time // when that was known
}

// A DeadLetter is a delivery that was given up.
type DeadLetter struct {
	ledger.Delivery
	DiedAt time.Time `json:"died_at"`
}

// Owe keeps what a receiver must be told. Its entry must be in the ledger or
// in this batch.
func (b *Batch) Owe(d ledger.Delivery) {
	b.begin()
	b.buf = appendDelivery(b.buf, tableOwed, d.Receiver, d.Seq)
	b.json(d)
}

// Due returns the deliveries to a receiver that ledger.Due picks, with their entries,
// and those about incidents as mute leaves them. One of which all is muted is not due.
func (s *Store) Due(receiver string, now time.Time, limit int, latest bool, mute Mute) (due []ledger.Delivery, err error) {
	err = s.view(func(t *badger.Txn) error {
		var scanned error
		all := func(yield func(ledger.Delivery) bool) {
			scanned = owed(t, receiver, func(d ledger.Delivery) error {
				if !yield(d) {
					return errStop
				}
				return nil
			})
		}
		picked := ledger.Due(all, now, dueLimit(limit, latest), latest)
		if scanned != nil {
			return scanned
		}
		for _, d := range picked {
			if d.Entry, err = entry(t, d.Seq); err != nil {
				return fmt.Errorf("%w: a delivery refers to it: %w", ErrDamaged, err)
			}
			send := true
			if d.Grouped {
				if send, err = group(t, &d, mute); err != nil {
					return err
				}
			}
			if send {
				due = append(due, d)
			}
			if len(due) >= limit {
				break
			}
		}
		return nil
	})
	return due, wrap(err, "read what is due to %s", receiver)
}

// dueLimit is how many are to be picked for limit to be left: of the latest any may
// be muted.
func dueLimit(limit int, latest bool) int {
	if latest {
		return math.MaxInt
	}
	return limit
}

// owed hands every delivery to a receiver to fn, oldest first, without entry.
func owed(t *badger.Txn, receiver string, fn func(ledger.Delivery) error) error {
	return scan(t, appendName([]byte(tableOwed), receiver), nil, func(key, payload []byte) error {
		var d ledger.Delivery
		if err := decodeJSON(key, payload, &d); err != nil {
			return err
		}
		return fn(d)
	})
}

// Settle records what came of a delivery. d carries its new Attempt, NextAt,
// LastError and Receipt. One that is not owed any more is left alone. A
// delivered one with a Receipt stays, as told. Unless there is another attempt,
// those whose place it took are settled with it.
func (s *Store) Settle(d ledger.Delivery, o Outcome) error {
	err := s.update(func(w *writer) error { return settle(w, d, o) })
	return wrap(err, "settle delivery %d to %s", d.Seq, d.Receiver)
}

func settle(w *writer, d ledger.Delivery, o Outcome) error {
	key := appendDelivery(nil, tableOwed, d.Receiver, d.Seq)
	var was ledger.Delivery
	if err := readJSON(w.Txn, key, &was); errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	switch o.Result {
	case Delivered:
		return errors.Join(settleTold(w, key, d, o), settleEarlier(w, d, o), note(w, d, o))
	case Retry: // what it would have told is not what the receiver knows
		was.Attempt, was.NextAt, was.LastError, was.Receipt = d.Attempt, d.NextAt, d.LastError, d.Receipt
		return setJSON(w, key, was)
	case Dead:
		return errors.Join(bury(w, key, d, o), settleEarlier(w, d, o), settleStanding(w, key, d, o), note(w, d, o))
	}
	return fmt.Errorf("result %d is unknown", o.Result)
}

// settleTold keeps what the next delivery of the Order builds on, if there is any.
func settleTold(w *writer, key []byte, d ledger.Delivery, o Outcome) error {
	if d.Moot || d.Receipt == "" && !d.Group.Open() {
		return w.remove(key)
	}
	d.Told, d.ToldAt, d.Attempt = true, o.At.UTC(), 0
	return setJSON(w, key, d)
}

// settleEarlier removes what a delivery took the place of; if it died, what
// nobody was told of died with it.
func settleEarlier(w *writer, d ledger.Delivery, o Outcome) error {
	var errs []error
	for _, e := range d.Earlier {
		if d.Moot && e.Told {
			continue // it still stands
		}
		key := appendDelivery(nil, tableOwed, e.Receiver, e.Seq)
		if o.Result == Dead && !e.Told {
			errs = append(errs, bury(w, key, e, o))
			continue
		}
		errs = append(errs, w.remove(key))
	}
	return errors.Join(errs...)
}

// settleStanding keeps what a receiver was told of an incident when it has refused for
// good what came after: it still shows the incident, and has to hear of its end.
func settleStanding(w *writer, key []byte, d ledger.Delivery, o Outcome) error {
	told := d.Told || slices.ContainsFunc(d.Earlier, func(e ledger.Delivery) bool { return e.Told })
	if !told || !d.Grouped || d.Closing {
		return nil
	}
	d.Attempt, d.LastError = 0, ""
	d.Told, d.ToldAt = true, o.At.UTC()
	return setJSON(w, key, d)
}

// bury moves a delivery to the dead letters.
func bury(w *writer, key []byte, d ledger.Delivery, o Outcome) error {
	dead := appendDelivery(nil, tableDead, d.Receiver, d.Seq)
	return errors.Join(setJSON(w, dead, DeadLetter{d, o.At.UTC()}), w.remove(key))
}

// Hurry lets what is owed to a receiver wait for no other attempt, as if none had been
// made.
func (s *Store) Hurry(receiver string) error {
	var waiting [][]byte
	err := s.view(func(t *badger.Txn) error {
		return owed(t, receiver, func(d ledger.Delivery) error {
			if !d.NextAt.IsZero() {
				waiting = append(waiting, appendDelivery(nil, tableOwed, d.Receiver, d.Seq))
			}
			return nil
		})
	})
	if err == nil {
		err = s.inParts(context.Background(), waiting, func(w *writer, key []byte) error {
			var d ledger.Delivery
			if err := readJSON(w.Txn, key, &d); err != nil {
				return optional(err) // settled meanwhile
			}
			d.Attempt, d.NextAt = 0, time.Time{}
			return setJSON(w, key, d)
		})
	}
	return wrap(err, "hurry deliveries to %s", receiver)
}

func setJSON(w *writer, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the value of key %q: %w", key, err)
	}
	return w.set(key, sealed(key, raw))
}

// Owed counts the deliveries to a receiver that are not settled and gives the
// time the oldest was issued, zero when there is none.
func (s *Store) Owed(receiver string) (n int, oldest time.Time, err error) {
	return s.OwedNow(receiver, time.Time{}, nil)
}

// OwedNow is Owed at a time: what is not to be told before another, or tells of muted
// alerts alone, waits on purpose and is not the oldest.
func (s *Store) OwedNow(receiver string, now time.Time, mute Mute) (n int, oldest time.Time, err error) {
	told := map[string]ledger.Delivery{} // the last, by incident
	err = s.view(func(t *badger.Txn) error {
		return owed(t, receiver, func(d ledger.Delivery) error {
			if d.Told {
				told[d.Order] = d
				return nil
			}
			if n++; !oldest.IsZero() && !d.IssuedAt.Before(oldest) {
				return nil
			}
			if known, ok := told[d.Order]; ok {
				d.Earlier = []ledger.Delivery{known}
			}
			waits, err := waitsOnPurpose(t, d, now, mute)
			if err == nil && !waits {
				oldest = d.IssuedAt
			}
			return err
		})
	})
	return n, oldest, wrap(err, "count what is owed to %s", receiver)
}

// Receivers returns the names to which something is owed or of which a Receipt
// is kept, ascending: also those that the configuration no longer knows.
func (s *Store) Receivers() (names []string, err error) {
	err = s.view(func(t *badger.Txn) error {
		return scanKeys(t, []byte(tableOwed), func(key []byte) ([]byte, error) {
			k := readKey(key)
			names = append(names, k.name())
			past := key[:len(key)-len(k.rest)]
			k.u64()
			return append(bytes.Clone(past), bytes.Repeat([]byte{0xff}, 9)...), k.end(key)
		})
	})
	return names, wrap(err, "list receivers that are owed something")
}

// DeadLetters returns at most limit dead letters with their entries, ascending
// by receiver and sequence. A limit below 1 means all of them.
func (s *Store) DeadLetters(limit int) (dead []DeadLetter, err error) {
	err = s.view(func(t *badger.Txn) error {
		return scan(t, []byte(tableDead), nil, func(key, payload []byte) error {
			var d DeadLetter
			if err := decodeJSON(key, payload, &d); err != nil {
				return err
			}
			if d.Entry, err = entry(t, d.Seq); err != nil {
				return fmt.Errorf("%w: a dead letter to %s refers to it: %w", ErrDamaged, d.Receiver, err)
			}
			if dead = append(dead, d); limit > 0 && len(dead) >= limit {
				return errStop
			}
			return nil
		})
	})
	return dead, wrap(err, "read dead letters")
}
