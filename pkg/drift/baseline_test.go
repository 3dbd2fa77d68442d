package drift_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// What a Builder counts of events by name is what a pane counts of them by
// number: a baseline's own events, counted on it, give its own counts.
func TestBuilderAndTallyAgree(t *testing.T) {
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 5))
		events := traffic(t, seed, 20*time.Minute, .2)
		byModel := map[string][]event.Event{}
		for i := range events {
			for range 2 {
				disturb(&events[i], random)
			}
			byModel[events[i].Model] = append(byModel[events[i].Model], events[i])
		}
		for model, list := range byModel {
			b := baselineOf(model, drift.BuilderOptions{Categories: 6}, list...)
			w := counted(t, b, list)
			if w.Events != b.Part("").Rows {
				t.Fatalf("%d events, %d rows", w.Events, b.Part("").Rows)
			}
			for i := range b.Part("").Signals {
				r := &b.Part("").Signals[i]
				s := w.Signal(r.Name)
				if s == nil || s.Type != r.Type || s.Mismatched != r.Mismatched || s.Values() != r.Values() || s.NonFinite() != r.NonFinite() || w.Missing(s) != r.Missing {
					t.Fatalf("%s of %s\n got %+v missing %d\nwant %+v missing %d", r.Name, model, s, w.Missing(s), r.Signal, r.Missing)
				}
				if s.Type == drift.Numeric && fmt.Sprint(s.Numeric.Counts) != fmt.Sprint(r.Numeric.Counts) ||
					s.Type == drift.Categorical && fmt.Sprint(s.Categorical.Counts, s.Categorical.Other) != fmt.Sprint(r.Categorical.Counts, r.Categorical.Other) {
					t.Fatalf("%s of %s is counted differently", r.Name, model)
				}
			}
			if len(w.Signals) != len(b.Part("").Signals) {
				t.Errorf("%d signals, %d references", len(w.Signals), len(b.Part("").Signals))
			}
		}
	}
}

// A type is what most values are, not what the first one is.
func TestTypeByMajority(t *testing.T) {
	b := baselineOf("m", drift.BuilderOptions{}, prediction("m", 0, "x", "N/A", "obj", struct{}{}), prediction("m", 0, "x", 1), prediction("m", 0, "x", 2))
	r := b.Part("").Reference("x")
	if r.Type != drift.Numeric || r.Mismatched != 1 || r.Missing != 1 || b.Part("").Reference("obj") != nil {
		t.Errorf("%+v", r)
	}
}

func TestBuilderBounds(t *testing.T) {
	ids := rows(300_000, func(i int) []any { return []any{"id", fmt.Sprint(i), "flag", i % 2, "level", i % 7} })
	b := baselineOf("m", drift.BuilderOptions{TiePoints: 3}, ids...)
	p := b.Part("")
	if r := p.Reference("id"); r.Values() != 300_000 || r.Categorical.Dict.Categories[0] != drift.Other {
		t.Errorf("%d values, most frequent %q", r.Values(), r.Categorical.Dict.Categories[0])
	}
	if p.Reference("flag").Ties == nil || p.Reference("level").Ties != nil {
		t.Error("3 points are enough for the law of 2, not for that of 7 more")
	}
	if p := baselineOf("m", drift.BuilderOptions{}, ids[:100]...).Part(""); p.Reference("level").Ties == nil {
		t.Error("without a bound a signal of 7 values has no law of ties")
	}
}

func learningSpec() drift.Spec {
	s := testSpec()
	s.Sample = drift.SampleSpec{MinRows: 4000, MinSpan: time.Hour, MaxRows: 1000, Bytes: 64 << 20}
	return s
}

// learn sends n events over some span in the given order.
func learn(t testing.TB, w *world, order []event.Event) {
	t.Helper()
	for i := range order {
		if o := w.send(order[i], 2*time.Hour); o != drift.Counted {
			t.Fatal(o)
		}
	}
}

func numbered(model string, n int, span time.Duration) []event.Event {
	out := make([]event.Event, n)
	for i := range out {
		out[i] = prediction(model, span*time.Duration(i)/time.Duration(n-1), "i", i)
	}
	return out
}

func TestLearningFreezes(t *testing.T) {
	w := newWorld(t, learningSpec())
	events := numbered("m", 8000, 90*time.Minute)
	for i := range events {
		w.add(events[i])
		frozen := len(w.frozen) > 0
		if want := i*90/7999 >= 60; frozen != want { // 4000 rows are seen before the hour is over
			t.Fatalf("event %d: frozen %v", i, frozen)
		}
		if i == 3000 {
			w.restart()
		}
	}
	b := w.frozen[0]
	if b.State != drift.Frozen || b.Origin.Kind != "auto" || b.Origin.Actor != "driftd" || !b.Origin.From.Equal(t0) || b.Origin.To.Before(t0.Add(time.Hour)) {
		t.Errorf("%+v", b)
	}
	if n := b.Part("").Rows; n < 500 || n > 1000 || n != b.Origin.Rows {
		t.Errorf("%d rows, want 500 to 1000", n)
	}
	w.add(prediction("m", 4*time.Hour, "i", 1))
	w.tick(5 * time.Hour)
	if first, last := w.panes[0], w.panes[len(w.panes)-1]; !first.Learning || last.Learning || last.Baseline != b.ID {
		t.Error("panes before the baseline do not learn, or one after it does")
	}
	if m, _ := w.engine.Model("m"); m.Sample != nil || m.Baseline != b.ID || m.SinceSeq == 0 {
		t.Errorf("%+v", m)
	}
}

// The sample is a function of the events: not of their order, and not of where
// the engine was restarted. It is uniform.
func TestSampleIsUniformAndDeterministic(t *testing.T) {
	spec := learningSpec()
	spec.Lateness = 2 * time.Hour
	spec.Sample.MinRows = 30_000
	events := numbered("m", 30_000, time.Hour)
	run := func(restart bool, seed uint64) *drift.Baseline {
		w := newWorld(t, spec)
		order := append([]event.Event{}, events...)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		learn(t, w, order[:10_000])
		if restart {
			w.restart()
		}
		learn(t, w, order[10_000:])
		if len(w.frozen) != 1 {
			t.Fatal("nothing was learned")
		}
		return w.frozen[0]
	}
	b := run(false, 1)
	if again := run(true, 2); again.ID != b.ID {
		t.Error("another order, or a restart, gives another sample")
	}
	n := b.Part("").Reference("i").Numeric
	rows := float64(n.N)
	for tenth := 1; tenth < 10; tenth++ {
		p := float64(tenth) / 10
		if got := n.CDF(p * 30_000); math.Abs(got-p) > 4*math.Sqrt(p*(1-p)/rows) { // 4 standard errors
			t.Errorf("%v of the sample is among the first %v of the events", got, p)
		}
	}
}

// When memory is too little for all, those that have seen most get their
// baseline, the others wait and get theirs later, and nobody one of a few rows.
func TestLearningWithinMemory(t *testing.T) {
	spec := learningSpec()
	spec.Sample = drift.SampleSpec{MinRows: 300, MinSpan: time.Minute, MaxRows: 400, Bytes: 30_000} // a row has some 50 bytes
	w := newWorld(t, spec)
	at := 0
	for round := range 1500 {
		for m := range 6 {
			w.add(prediction(fmt.Sprint("m", m), time.Duration(at)*100*time.Millisecond, "i", round))
			at++
		}
		if round%97 == 0 {
			w.restart()
		}
	}
	if len(w.frozen) != 6 {
		t.Errorf("%d of 6 models have a baseline", len(w.frozen))
	}
	for _, b := range w.frozen {
		if n := b.Part("").Rows; n < 200 || n > 400 {
			t.Errorf("%s was made of %d rows", b.Model, n)
		}
	}
	wide := newWorld(t, spec)
	e := prediction("m", 0, "text", fmt.Sprintf("%040000d", 1))
	wide.add(e)
	if m, _ := wide.engine.Model("m"); m.Sample == nil || m.Sample.Kept != 0 {
		t.Error("a row larger than all memory is kept")
	}
	shadow := prediction("m", 0, "i", 1)
	shadow.Variant = event.Shadow
	wide.add(shadow)
	anonymous := prediction("m", 0, "i", 1)
	anonymous.ID = ""
	wide.add(anonymous)
	if m, _ := wide.engine.Model("m"); m.Sample.Seen != 0 {
		t.Errorf("%d events are learned from; shadows and events without identity are not", m.Sample.Seen)
	}
	spec.Sample = drift.SampleSpec{MinRows: 3000, MinSpan: time.Minute, MaxRows: 3000, Bytes: 80_000}
	busy := newWorld(t, spec)
	for i := range 3000 { // 1000 rows are enough, and a row has 32 bytes
		busy.add(prediction("m", time.Duration(i)*100*time.Millisecond, "i", i))
	}
	if len(busy.frozen) != 1 || busy.frozen[0].Part("").Rows >= 2200 {
		t.Error("a sample that is too large for its memory is not thinned")
	}
}
