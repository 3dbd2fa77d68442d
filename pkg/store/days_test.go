package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// rollups makes an hour's window every three hours, of two groups; in the middle
// of each day the edges change, as with a new baseline.
func rollups(days int) (out []*drift.Window) {
	src := newSource(9)
	for _, g := range []drift.Group{fraud, {Model: "fraud", Version: "43"}} {
		for i := range 8 * days {
			w := src.series(g, epoch.Add(time.Duration(3*i)*time.Hour), 1)[0]
			w.End = w.Start.Add(time.Hour)
			if i%8 >= 4 {
				w.Signals[0].Numeric = src.numeric(src.edges[2])
			}
			out = append(out, w)
		}
	}
	return out
}

// checkDays compares the windows of whole days with the sums of the hours.
func checkDays(t *testing.T, s *store.Store, hours []*drift.Window) {
	t.Helper()
	for _, size := range []time.Duration{store.DaySize, 7 * store.DaySize} {
		for _, version := range []string{fraud.Version, "43"} {
			var of []*drift.Window
			for _, w := range hours {
				if w.Group.Version == version {
					of = append(of, w)
				}
			}
			same(t, digests(t, s, store.Query{Model: "fraud", Version: version, Size: size}), split(t, of, size))
		}
	}
	if v := verify(t, s); !v.OK() {
		t.Errorf("damaged: %+v", v.Damaged)
	}
}

func count(t *testing.T, s *store.Store) (hours, days int) {
	t.Helper()
	for w, err := range s.Hours(store.Range{}) {
		must(t, err)
		if w.Start.Before(epoch.Add(5 * store.DaySize)) {
			t.Errorf("the hour at %v of %v is still there", w.Start, w.Group)
		}
		hours++
	}
	for w, err := range s.Days(store.Range{}) {
		must(t, err)
		if w.End.Sub(w.Start) != store.DaySize || w.State != drift.Closed {
			t.Errorf("a day from %v to %v, %v", w.Start, w.End, w.State)
		}
		days++
	}
	return hours, days
}

// Hours that are past retention become days, exactly, and go; those of a day that is
// not over by then stay. Days go in their turn.
func TestHoursBecomeDays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	hours := rollups(8)
	for part := range 8 { // a commit takes 600 KiB
		commit(t, s, func(b *store.Batch) {
			for _, w := range hours[part*len(hours)/8 : (part+1)*len(hours)/8] {
				b.PutHour(w)
			}
		})
	}
	checkDays(t, s, hours)
	marks := map[string]time.Time{"fraud": epoch.Add(8 * store.DaySize)}
	keep := store.Retention{Hours: 50 * time.Hour} // five days have ended by then
	swept, err := s.Sweep(t.Context(), keep, marks, epoch)
	must(t, err)
	if want := (store.Swept{Hours: 2 * 5 * 8, Rolled: 2 * 5}); swept != want {
		t.Errorf("swept %+v, want %+v", swept, want)
	}
	checkDays(t, s, hours)
	if hours, days := count(t, s); hours != 2*3*8 || days != 2*5 {
		t.Errorf("%d hours and %d days, want 48 and 10", hours, days)
	}
	if swept, err := s.Sweep(t.Context(), keep, marks, epoch); err != nil || swept != (store.Swept{}) {
		t.Errorf("the same again swept %+v, %v", swept, err)
	}

	must(t, s.Close())
	s = open(t, dir, small())
	late := rollups(1)[0]
	late.Start, late.End = late.Start.Add(time.Hour), late.End.Add(time.Hour)
	commit(t, s, func(b *store.Batch) { b.PutHour(late) })
	hours = append(hours, late)
	checkDays(t, s, hours)
	if swept, err := s.Sweep(t.Context(), keep, marks, epoch); err != nil || swept != (store.Swept{Hours: 1, Rolled: 1}) {
		t.Errorf("an hour that came late: swept %+v, %v", swept, err)
	}
	checkDays(t, s, hours)

	keep.Days = 4 * store.DaySize // behind the watermark: the first four of the eight
	if swept, err := s.Sweep(t.Context(), keep, marks, epoch); err != nil || swept != (store.Swept{Days: 2 * 4}) {
		t.Errorf("swept %+v, %v, want 8 days", swept, err)
	}
}

// impatient is a context that ends after it has been asked a few times.
type impatient struct {
	context.Context
	left int
}

func (c *impatient) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Wherever rolling is stopped, everything is there once, and the next Sweep goes on.
func TestRollingIsResumed(t *testing.T) {
	s := open(t, t.TempDir(), small())
	hours := rollups(3)
	for _, w := range hours {
		commit(t, s, func(b *store.Batch) { b.PutHour(w) })
	}
	marks := map[string]time.Time{"fraud": epoch.Add(30 * store.DaySize)}
	for rolled := 0; rolled < 2*3; {
		swept, err := s.Sweep(&impatient{t.Context(), 2}, store.Retention{Hours: time.Hour}, marks, epoch)
		if swept.Rolled == 0 || swept.Rolled > 2 {
			t.Fatalf("%d days were rolled before the context ended, want 1 or 2", swept.Rolled)
		}
		if rolled += swept.Rolled; !errors.Is(err, context.Canceled) && rolled < 2*3 {
			t.Fatalf("stopped by %v", err)
		}
		checkDays(t, s, hours)
	}
}

// With panes that are kept for longer nothing is counted twice.
func TestDaysCoverTheirPanes(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{MemTableBytes: 32 << 20, Compactors: -1})
	panes := newSource(5).series(fraud, epoch, 3*60)
	commit(t, s, func(b *store.Batch) {
		for _, w := range panes {
			b.PutPane(w)
		}
		for _, w := range hours(t, panes) {
			b.PutHour(w)
		}
	})
	_, err := s.Sweep(t.Context(), store.Retention{Hours: time.Hour}, map[string]time.Time{"fraud": epoch.Add(30 * store.DaySize)}, epoch)
	must(t, err)
	for _, size := range []time.Duration{time.Minute, time.Hour, 36 * time.Hour, 2 * store.DaySize} {
		same(t, digests(t, s, store.Query{Model: "fraud", Size: size}), split(t, panes, size))
	}
}

// A day that is put is one that a query finds; one that is none, by UTC, is refused.
func TestPutDay(t *testing.T) {
	s := open(t, t.TempDir(), small())
	defer func() { must(t, s.Close()) }()
	day := newSource(9).window(fraud, epoch, store.DaySize, 2)
	commit(t, s, func(b *store.Batch) { b.PutDay(day) })
	same(t, digests(t, s, store.Query{Model: "fraud", Version: fraud.Version, Size: store.DaySize}), split(t, []*drift.Window{day}, store.DaySize))
	if v := verify(t, s); !v.OK() {
		t.Errorf("damaged: %+v", v.Damaged)
	}
	for _, w := range []*drift.Window{
		newSource(9).window(fraud, epoch, time.Hour, 1),
		newSource(9).window(fraud, epoch.Add(time.Hour), store.DaySize, 1),
	} {
		b := s.NewBatch()
		if b.PutDay(w); b.Err() == nil || b.Len() > 0 {
			t.Errorf("a day from %v to %v was taken", w.Start, w.End)
		}
	}
}
