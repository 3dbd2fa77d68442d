package store

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
)

// DaySize is the length of the windows that outlive the hourly ones.
const DaySize = 24 * time.Hour

// A dueDay is a day of a group of which hours are past retention.
type dueDay struct {
	group   drift.Group
	start   time.Time
	windows []*drift.Window // the hours, and before them what the day has already
	hours   int
	keys    [][]byte // of the hours
}

// rollDays turns the hours of days that ended before their model's watermark less
// keep into one window a day, and returns how many hours went and how many days came.
// The sum is exact. A day comes and its hours go in one transaction, so a crash
// neither loses nor doubles anything, and the next Sweep goes on.
func (s *Store) rollDays(ctx context.Context, keep time.Duration, watermarks map[string]time.Time) (hours, days int, err error) {
	if keep <= 0 {
		return 0, 0, nil
	}
	seek := []byte(tableHour)
	for {
		if err := ctx.Err(); err != nil {
			return hours, days, err
		}
		var due *dueDay
		err := s.view(func(t *badger.Txn) (err error) {
			due, err = s.nextDay(t, seek, keep, watermarks)
			return err
		})
		if err != nil || due == nil {
			return hours, days, err
		}
		if err := s.roll(due); err != nil {
			return hours, days, err
		}
		hours, days = hours+due.hours, days+1
		seek = appendSpan(nil, tableHour, due.group, due.start.Add(DaySize))
	}
}

// roll commits one day.
func (s *Store) roll(due *dueDay) error {
	day, err := drift.Sum(due.windows)
	if err != nil {
		return err
	}
	day.Start, day.End = due.start, due.start.Add(DaySize)
	b := s.NewBatch()
	b.PutDay(day)
	if err := b.Err(); err != nil {
		return err
	}
	ops, ahead, _ := b.split(s.CommitLimit())
	if err := s.goAhead(b, ahead); err != nil {
		return err
	}
	if err := s.update(func(w *writer) error { return w.fill(b, ops, due.keys) }); err != nil {
		return err
	}
	s.remember(b)
	return nil
}

// PutDay keeps the sum of the hours of one day, by UTC. Sweep makes days by itself; this
// is for who makes a whole past.
func (b *Batch) PutDay(w *drift.Window) {
	if w.End.Sub(w.Start) != DaySize || !w.Start.Equal(floor(w.Start, DaySize)) {
		b.fail(fmt.Errorf("put the day of %s: %v to %v is not a full day", w.Group.Model, w.Start, w.End))
		return
	}
	if b.closed(w) {
		b.window(tableDay, w)
	}
}

// nextDay returns the first day at or behind a key of an hour that is due, nil for none.
func (s *Store) nextDay(t *badger.Txn, seek []byte, keep time.Duration, watermarks map[string]time.Time) (due *dueDay, err error) {
	err = scanKeysFrom(t, []byte(tableHour), seek, func(key []byte) ([]byte, error) {
		k := readKey(key)
		g := k.group()
		past := len(key) - len(k.rest)
		start := floor(k.time(), DaySize)
		k.u16()
		if err := k.end(key); err != nil {
			return nil, err
		}
		if mark := watermarks[g.Model]; mark.IsZero() || start.Add(DaySize).After(mark.Add(-keep)) {
			// Starts ascend within a group: nothing more of it is due.
			return append(bytes.Clone(key[:past]), bytes.Repeat([]byte{0xff}, spanTail+1)...), nil
		}
		due = &dueDay{group: g, start: start}
		return nil, errStop
	})
	if err != nil || due == nil {
		return nil, err
	}
	return due, s.gather(t, due)
}

// gather reads the hours of a day, and the day if it is there: of hours that came later.
func (s *Store) gather(t *badger.Txn, due *dueDay) error {
	resolve := s.resolver(t)
	take := func(key, record []byte) error {
		w, err := decodeWindow(resolve, key, record)
		if err == nil {
			due.windows = append(due.windows, w)
		}
		return err
	}
	if err := optional(readLong(t, appendSpan(nil, tableDay, due.group, due.start), take)); err != nil {
		return err
	}
	had := len(due.windows)
	prefix := appendGroup([]byte(tableHour), due.group)
	from, to := appendTime(bytes.Clone(prefix), due.start), appendTime(bytes.Clone(prefix), due.start.Add(DaySize))
	err := scanLong(t, prefix, from, func(key, record []byte) error {
		if bytes.Compare(key, to) >= 0 {
			return errStop
		}
		return take(key, record)
	})
	if err != nil {
		return err
	}
	due.hours = len(due.windows) - had
	return scanKeysFrom(t, prefix, from, func(key []byte) ([]byte, error) {
		if bytes.Compare(key, to) >= 0 {
			return nil, errStop
		}
		due.keys = append(due.keys, bytes.Clone(key))
		return nil, nil
	})
}

// Days returns the daily rollups of a Range, ascending by group and start.
func (s *Store) Days(r Range) iter.Seq2[*drift.Window, error] { return s.each(tableDay, r) }
