package drift_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// otherSpec differs from hostileSpec in everything that Reconfigure may change.
func otherSpec() drift.Spec {
	s := hostileSpec()
	s.Discover = false
	s.Models = []drift.ModelSpec{{Glob: "churn", Segments: [][]string{{"plan"}}}, {Glob: "fraud"}}
	s.Limits = drift.Limits{Models: 2, Features: 40, Versions: 2, Segments: 3, Categories: 6, GapWindows: 5}
	s.Sample = drift.SampleSpec{MinRows: 120, MinSpan: 15 * time.Minute, MaxRows: 80, Bytes: 100_000}
	return s
}

// TestReconfigureEqualsRestart: an engine that is reconfigured while it counts
// tells exactly what one tells that is restarted with the other Spec.
func TestReconfigureEqualsRestart(t *testing.T) {
	log := hostileLog(t, 3, 3*time.Hour, .03)
	play := func(change func(*world, drift.Spec)) *world {
		w := newWorld(t, hostileSpec())
		random := rand.New(rand.NewPCG(3, 2))
		specs := []drift.Spec{otherSpec(), hostileSpec()}
		for i := range log {
			if random.IntN(len(log)/12) == 0 {
				change(w, specs[0])
				specs[0], specs[1] = specs[1], specs[0]
			}
			w.take(&log[i])
		}
		w.state()
		return w
	}
	want := play(func(w *world, s drift.Spec) {
		w.spec = s
		w.restart()
	})
	got := play(func(w *world, s drift.Spec) {
		w.checkpoint()
		if err := w.engine.Reconfigure(s); err != nil {
			t.Fatal(err)
		}
	})
	same(t, got.told, want.told, "reconfigured in place")
	never := play(func(*world, drift.Spec) {})
	if len(never.told) == len(want.told) && never.told[len(never.told)-1] == want.told[len(want.told)-1] {
		t.Error("the other Spec changed nothing: the log shows nothing")
	}
}

func TestReconfigureRefuses(t *testing.T) {
	for name, change := range map[string]func(*drift.Spec){
		"pane":     func(s *drift.Spec) { s.Pane = 30 * time.Second },
		"lateness": func(s *drift.Spec) { s.Lateness = 0 },
		"skew":     func(s *drift.Spec) { s.MaxFutureSkew++ },
		"sizes":    func(s *drift.Spec) { s.Sizes = s.Sizes[:1] },
		"dedup":    func(s *drift.Spec) { s.DedupIDs = 0 },
		"invalid":  func(s *drift.Spec) { s.Limits.Models = 0 },
	} {
		w := newWorld(t, testSpec())
		s := testSpec()
		s.Discover = false
		change(&s)
		if err := w.engine.Reconfigure(s); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := w.add(prediction("m", 0, "x", 1)); got != drift.Counted {
			t.Errorf("%s: refused, and yet a new model is %v", name, got)
		}
	}
}
