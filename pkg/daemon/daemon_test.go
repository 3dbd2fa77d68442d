package daemon_test

import (
	"testing"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
)

// story is the demo's.
func story() sim.Scenario {
	st := sim.DefaultStory
	if race {
		st.Rate = .3 // less, and the canary has too few events to be rolled back
	}
	return sim.Demo(st)
}

// TestTheStoryOfTheDemo reads the demo's seven hours: every kind of decision is
// made, and every pane is what the publisher's book says.
func TestTheStoryOfTheDemo(t *testing.T) {
	w := newWorld(t, story())
	st := open(t, newSweep(w).prepared) // with baselines before the first event
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
	b := newBook(w.baselines())
	w.each(b.add)
	b.compare(t, st)
}
