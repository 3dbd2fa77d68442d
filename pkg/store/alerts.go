package store

import (
	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/alert"
)

// An Alert is the state of one series.
type Alert struct {
	Series alert.Series
	State  alert.State
}

// PutAlert keeps the state of a series, over what was put before. The zero
// state is kept as nothing at all.
func (b *Batch) PutAlert(series alert.Series, state alert.State) {
	if state == (alert.State{}) {
		b.DeleteAlert(series)
		return
	}
	b.longJSON(alertKey(series), state)
}

// DeleteAlert forgets a series.
func (b *Batch) DeleteAlert(series alert.Series) { b.drop(alertKey(series)) }

func alertKey(series alert.Series) []byte {
	key := appendName([]byte(tableAlert), series.Rule)
	return appendName(appendGroup(key, series.Group), series.Signal)
}

// Alerts returns the state of every series, ascending by series.
func (s *Store) Alerts() (all []Alert, err error) {
	err = s.view(func(t *badger.Txn) error {
		all, err = alerts(t)
		return err
	})
	return all, wrap(err, "read alert states")
}

func alerts(t *badger.Txn) (all []Alert, err error) {
	err = scanLong(t, []byte(tableAlert), nil, func(key, record []byte) error {
		k := readKey(key)
		var a Alert
		a.Series.Rule = k.name()
		a.Series.Group = k.group()
		a.Series.Signal = k.name()
		if err := k.end(key); err != nil {
			return err
		}
		err := decodeJSON(key, record, &a.State)
		all = append(all, a)
		return err
	})
	return all, err
}
