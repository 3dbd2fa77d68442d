package daemon_test

import (
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
)

// story is the demo's, thinned out so that a run takes seconds.
func story() sim.Scenario {
	st := sim.DefaultStory
	return sim.Demo(st)
}

func TestTheStoryOfTheDemo(t *testing.T) {
	w := newWorld(t, story())
	st := open(t, t.TempDir())
	defer st.Close()
	if err := w.run(w.options(st)); err != nil {
		t.Fatal(err)
	}
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[ledger.Kind]int{}
	for _, e := range entries {
		kinds[e.Kind]++
		t.Logf("%d %s %s %s %.300s", e.Seq, e.Time.Format("15:04"), e.Kind, e.Model, e.Body)
	}
	for _, kind := range []ledger.Kind{ledger.KindAlert, ledger.KindRetrain, ledger.KindRollback, ledger.KindBaseline} {
		if kinds[kind] == 0 {
			t.Errorf("no %s entry", kind)
		}
	}
	if _, err := st.LedgerVerify(func(_, _ uint64) {}); err != nil {
		t.Error(err)
	}
}

// TestWindowsAreThePublishersLedger counts the events of every closed pane a
// second time, straight from the publisher.
func TestWindowsAreThePublishersLedger(t *testing.T) {
	w := newWorld(t, story())
	st := open(t, t.TempDir())
	defer st.Close()
	if err := w.run(w.options(st)); err != nil {
		t.Fatal(err)
	}
	w.compareWindows(st)
}

// compareWindows compares every pane of the store with the publisher's ledger.
func (w *world) compareWindows(st *store.Store) {
	w.t.Helper()
	type pane struct {
		group drift.Group
		start time.Time
	}
	want := map[pane]uint64{}
	w.each(func(e *event.Event) {
		if e.Kind == event.Prediction {
			want[pane{drift.Group{Model: e.Model, Version: e.Version, Variant: e.Variant}, time.Unix(0, e.Time).UTC().Truncate(time.Minute)}]++
		}
	})
	var total, got uint64
	for _, n := range want {
		total += n
	}
	for _, m := range w.scenario.Models {
		windows, err := st.Windows(store.Query{Model: m.Name, Size: time.Minute})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, win := range windows {
			key := pane{win.Group, win.Start}
			if win.Events != want[key] {
				w.t.Errorf("%v at %v: %d events, want %d", key.group, key.start, win.Events, want[key])
			}
			got += win.Events
			delete(want, key)
		}
	}
	if len(want) > 0 || got != total {
		w.t.Errorf("%d panes are missing; %d events of %d counted", len(want), got, total)
	}
}
