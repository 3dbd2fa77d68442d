package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

// Whatever a window holds comes back bit for bit: from the same process, which
// knows its edges, and from one that has to read them.
func TestWindowsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	src := newSource(7)
	names := []string{"fraud", "", "a\x00b", "a\x00", "a", "é\xff", strings.Repeat("n", 1024)}
	want := map[string]string{}
	var panes []*drift.Window
	for i := range 120 {
		g := drift.Group{
			Model: names[i%len(names)], Version: names[(i/7)%len(names)],
			Variant: event.Variant(i % 3), Segment: names[(i/2)%len(names)],
		}
		start := epoch.Add(time.Duration(i-60) * 365 * 24 * time.Hour / 2) // 1996 to 2056
		panes = append(panes, src.window(g, start, time.Minute, i%9))
	}
	for _, part := range [][]*drift.Window{panes[:60], panes[60:]} {
		commit(t, s, func(b *store.Batch) {
			for _, w := range part {
				b.PutPane(w)
				want[fmt.Sprint(w.Group, w.Start)] = dump(w)
				w.Events = 0 // encoded at Put: what comes later is not kept
			}
		})
	}
	check := func(s *store.Store) {
		t.Helper()
		n := 0
		var before *drift.Window
		for w, err := range s.Panes(store.Range{}) {
			must(t, err)
			if got := dump(w); got != want[fmt.Sprint(w.Group, w.Start)] {
				t.Fatalf("pane %d:\n got %s\nwant %s", n, got, want[fmt.Sprint(w.Group, w.Start)])
			}
			if before != nil && before.Group.Compare(w.Group) > 0 {
				t.Errorf("%v comes before %v", before.Group, w.Group)
			}
			before = w
			n++
		}
		if n != len(want) {
			t.Errorf("%d panes, want %d", n, len(want))
		}
	}
	check(s)
	must(t, s.Close())
	check(open(t, dir, small()))
}

// 2,000 features of up to 256 bins take several values of 64 KiB.
func TestLongWindowAndBaseline(t *testing.T) {
	dir := t.TempDir()
	options := small()
	options.MemTableBytes = 32 << 20
	s := open(t, dir, options)
	src := newSource(8)
	pane, base := src.window(fraud, epoch, time.Minute, 2400), src.baseline("b-1", 500)
	state := drift.ModelState{Model: "fraud", Watermark: epoch, Baseline: "b-1"}
	for i := range 2000 { // names as long as the limits let them be: 2 MB of JSON
		state.Signals = append(state.Signals, drift.SignalDef{Name: fmt.Sprintf("%01024d", i), Type: drift.Numeric})
	}
	commit(t, s, func(b *store.Batch) {
		b.PutPane(pane)
		b.PutBaseline(base)
		b.PutModel(state)
		if b.Size() < 3<<20 || b.Len() < 40 {
			t.Errorf("a batch of %d bytes in %d keys: not long enough to test chunks", b.Size(), b.Len())
		}
	})
	must(t, s.Close())
	s = open(t, dir, options)
	for w, err := range s.Panes(store.Range{}) {
		must(t, err)
		if dump(w) != dump(pane) {
			t.Error("the long pane came back changed")
		}
	}
	got, err := s.Baseline("b-1")
	must(t, err)
	if dumpBaseline(got) != dumpBaseline(base) {
		t.Error("the long baseline came back changed")
	}
	models, err := s.Models()
	must(t, err)
	if len(models) != 1 || len(models[0].Signals) != 2000 || models[0].Signals[1999] != state.Signals[1999] {
		t.Errorf("the long model state came back changed")
	}
	if got.Parts[0].Signals[0].Name != base.Parts[0].Signals[0].Name {
		t.Error("names differ")
	}
}

// The store hands out one object for equal edges, so adding windows compares
// pointers and not 256 floats.
func TestEdgesAreShared(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	src := newSource(9)
	panes := src.series(fraud, epoch, 2)
	commit(t, s, func(b *store.Batch) { b.PutPane(panes[0]) })
	first := s.NewBatch()
	first.PutPane(panes[1])
	fresh := open(t, t.TempDir(), small()).NewBatch()
	fresh.PutPane(panes[1])
	if first.Len() != 1 || fresh.Len() != 3 { // the window; with its edges and its dictionary
		t.Errorf("keys: %d and %d, want 1 where the edges are stored and 3 where not", first.Len(), fresh.Len())
	}
	must(t, s.Commit(first))
	must(t, s.Close())
	var seen *drift.Window
	for w, err := range open(t, dir, small()).Panes(store.Range{}) {
		must(t, err)
		if seen != nil && seen.Signals[0].Numeric.Edges != w.Signals[0].Numeric.Edges {
			t.Error("two panes on the same edges have two objects")
		}
		seen = w
	}
}

func TestBaselines(t *testing.T) {
	s := open(t, t.TempDir(), small())
	src := newSource(10)
	a, b := src.baseline("b-a", 12), src.baseline("b-b", 0)
	commit(t, s, func(batch *store.Batch) { batch.PutBaseline(a); batch.PutBaseline(b) })
	a.State = drift.Approved
	commit(t, s, func(batch *store.Batch) { batch.PutBaseline(a) })
	all, err := s.Baselines()
	must(t, err)
	if len(all) != 2 || dumpBaseline(all[0]) != dumpBaseline(a) || dumpBaseline(all[1]) != dumpBaseline(b) {
		t.Errorf("%d baselines came back, or changed", len(all))
	}
	commit(t, s, func(batch *store.Batch) { batch.DeleteBaseline("b-a") })
	if _, err := s.Baseline("b-a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a deleted baseline: %v, want ErrNotFound", err)
	}
	if all, err = s.Baselines(); len(all) != 1 || err != nil {
		t.Errorf("%d baselines, %v, want 1", len(all), err)
	}
}

// A commit that is too big for one transaction lets its edges go ahead.
func TestEdgesGoAhead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	w := &drift.Window{Group: fraud, Start: epoch, End: epoch.Add(time.Minute), State: drift.Closed, Events: 1}
	src := newSource(9)
	for i := range 400 { // 2 kB of edges each
		n := stats.NewNumeric(stats.BuildEdges(src.sorted(5000), 256))
		n.Add(float64(i))
		w.Signals = append(w.Signals, drift.Signal{Name: fmt.Sprintf("f%03d", i), Type: drift.Numeric, Numeric: n})
	}
	commit(t, s, func(b *store.Batch) {
		if b.PutPane(w); b.Size() < s.CommitLimit() {
			t.Errorf("a batch of %d bytes is not too big for a transaction of %d", b.Size(), s.CommitLimit())
		}
	})
	must(t, s.Close())
	s = open(t, dir, small())
	if v := verify(t, s); !v.OK() {
		t.Errorf("damaged: %+v", v.Damaged)
	}
	windows := 0
	for got, err := range s.Panes(store.Range{}) {
		must(t, err)
		if windows++; dump(got) != dump(w) {
			t.Error("the pane came back changed")
		}
	}
	if windows != 1 {
		t.Errorf("%d panes, want 1", windows)
	}
}
