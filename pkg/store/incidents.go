package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// PutIncident keeps an incident, over what was put before.
func (b *Batch) PutIncident(i *incident.Incident) { b.longJSON(incidentKey(i.ID), i) }

func incidentKey(id string) []byte { return appendName([]byte(tableIncident), id) }

// Incident returns the incident of an id, or ErrNotFound.
func (s *Store) Incident(id string) (i *incident.Incident, err error) {
	err = s.view(func(t *badger.Txn) error {
		i, err = readIncident(t, id)
		return err
	})
	return i, wrap(err, "read incident %s", id)
}

func readIncident(t *badger.Txn, id string) (*incident.Incident, error) {
	i := &incident.Incident{}
	return i, readLong(t, incidentKey(id), func(key, record []byte) error { return decodeJSON(key, record, i) })
}

// Incidents returns the incidents that are kept and pass a filter, ascending by id.
func (s *Store) Incidents(filter func(*incident.Incident) bool) (all []*incident.Incident, err error) {
	err = s.view(func(t *badger.Txn) error {
		all, err = incidents(t, filter)
		return err
	})
	return all, wrap(err, "read incidents")
}

func incidents(t *badger.Txn, filter func(*incident.Incident) bool) (all []*incident.Incident, err error) {
	err = scanLong(t, []byte(tableIncident), nil, func(key, record []byte) error {
		i := &incident.Incident{}
		err := decodeJSON(key, record, i)
		if err == nil && filter(i) {
			all = append(all, i)
		}
		return err
	})
	return all, err
}

// A Told is what became of a message about an incident: the last attempt at each
// state that a receiver was to hear of.
type Told struct {
	Receiver string    `json:"receiver"`
	Seq      uint64    `json:"seq"` // of the ledger entry that it told
	At       time.Time `json:"at"`
	Closing  bool      `json:"closing,omitempty"` // it said that nothing fires any more
	Attempts int       `json:"attempts"`
	Error    string    `json:"error,omitempty"` // why it was given up; "" when the receiver confirmed
}

// note keeps what a receiver was told of an incident.
func note(w *writer, d ledger.Delivery, o Outcome) error {
	if !d.Grouped || d.Moot {
		return nil
	}
	t := Told{Receiver: d.Receiver, Seq: d.Seq, At: o.At.UTC(), Closing: d.Closing, Attempts: d.Attempt}
	if o.Result == Dead {
		t.Error = d.LastError
	}
	key := binary.BigEndian.AppendUint64(appendName(toldKey(d.Order), d.Receiver), d.Seq)
	return setJSON(w, key, t)
}

func toldKey(id string) []byte { return appendName([]byte(tableTold), id) }

// Told returns what receivers were told of an incident, by receiver and sequence.
func (s *Store) Told(id string) (all []Told, err error) {
	err = s.view(func(t *badger.Txn) error {
		return scan(t, toldKey(id), nil, func(key, payload []byte) error {
			var told Told
			err := decodeJSON(key, payload, &told)
			all = append(all, told)
			return err
		})
	})
	return all, wrap(err, "read what was told of incident %s", id)
}

// OwedAbout returns what receivers are still owed of an incident, by receiver and
// sequence, without its entries.
func (s *Store) OwedAbout(id string) (all []ledger.Delivery, err error) {
	err = s.view(func(t *badger.Txn) error {
		return scan(t, []byte(tableOwed), nil, func(key, payload []byte) error {
			var d ledger.Delivery
			err := decodeJSON(key, payload, &d)
			if err == nil && d.Grouped && d.Order == id && !d.Told {
				all = append(all, d)
			}
			return err
		})
	})
	return all, wrap(err, "read what is owed of incident %s", id)
}

// A Mute says whether an alert of an incident is not to be told now by a delivery;
// nil: none is.
type Mute func(d *ledger.Delivery, m *incident.Member) bool

// group fills in what a delivery about an incident tells. due: it is to be sent, or
// settled if it is moot.
func group(t *badger.Txn, d *ledger.Delivery, mute Mute) (due bool, err error) {
	i, err := readIncident(t, d.Order)
	if err != nil {
		return false, fmt.Errorf("%w: a delivery refers to it: %w", ErrDamaged, err)
	}
	v, due := i.Tell(d, func(m *incident.Member) bool { return mute != nil && mute(d, m) })
	if d.Group == nil {
		return due, nil
	}
	for _, m := range v.Listed() {
		e, err := entry(t, m.Seq)
		if errors.Is(err, ErrNotFound) { // retention may have taken it
			e, err = m.Recalled()
		}
		if err != nil {
			return false, err
		}
		d.Group.Alerts = append(d.Group.Alerts, e)
	}
	return true, nil
}

// waitsOnPurpose reports whether a delivery has to wait at a time, or for those who mute
// all that it would tell beyond what the receiver knows; without mute none does.
func waitsOnPurpose(t *badger.Txn, d ledger.Delivery, now time.Time, mute Mute) (bool, error) {
	if mute == nil || !d.Grouped {
		return false, nil
	}
	// group_interval counts from when the receiver was told last: at most from here.
	if d.NotBefore.After(now) || d.IssuedAt.Add(max(d.Timing.Wait, d.Timing.Interval)).After(now) {
		return true, nil
	}
	i, err := readIncident(t, d.Order)
	if err != nil {
		return false, fmt.Errorf("%w: a delivery refers to it: %w", ErrDamaged, err)
	}
	if d.Entry, err = entry(t, d.Seq); err != nil {
		return false, fmt.Errorf("%w: a delivery refers to it: %w", ErrDamaged, err)
	}
	_, due := i.Tell(&d, func(m *incident.Member) bool { return mute(&d, m) })
	return !due, nil
}

// sweepIncidents removes the incidents that ended so long before the latest
// watermark and of which nothing is owed, with what was told of them, and returns how
// many.
func (s *Store) sweepIncidents(ctx context.Context, keep time.Duration, watermarks map[string]time.Time) (int, error) {
	var latest time.Time
	for _, at := range watermarks {
		if at.After(latest) {
			latest = at
		}
	}
	if keep <= 0 || latest.IsZero() {
		return 0, nil
	}
	needed := map[string]bool{}
	err := s.view(func(t *badger.Txn) error {
		return scan(t, []byte(tableOwed), nil, func(key, payload []byte) error {
			var d ledger.Delivery
			err := decodeJSON(key, payload, &d)
			needed[d.Order] = true
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	old, err := s.Incidents(func(i *incident.Incident) bool { return !i.Open() && !needed[i.ID] && latest.Sub(i.Resolved) >= keep })
	if err != nil {
		return 0, err
	}
	for _, i := range old {
		var keys [][]byte
		err := s.view(func(t *badger.Txn) error {
			for _, prefix := range [][]byte{toldKey(i.ID), incidentKey(i.ID)} {
				if err := scanKeys(t, prefix, func(key []byte) ([]byte, error) { keys = append(keys, bytes.Clone(key)); return nil, nil }); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = s.remove(ctx, keys)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(old), nil
}
