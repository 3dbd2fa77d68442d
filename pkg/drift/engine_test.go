package drift_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

func TestOutcomes(t *testing.T) {
	spec := testSpec() // lateness 1m, future skew 1m
	spec.Discover, spec.Models = false, []drift.ModelSpec{{Glob: "m*"}}
	spec.Limits.Models = 2
	w := newWorld(t, spec)
	at := func(model string, event, arrival time.Duration) drift.Outcome {
		return w.send(prediction(model, event), arrival)
	}
	check := func(what string, got, want drift.Outcome) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	first := prediction("m", 10*time.Minute)
	check("first", w.send(first, 10*time.Minute), drift.Counted)
	check("again", w.send(first, 10*time.Minute), drift.Duplicate)
	check("older than the first, within the lateness", at("m", 9*time.Minute, 10*time.Minute), drift.Counted)
	check("older than that", at("m", 9*time.Minute-1, 10*time.Minute), drift.Late)
	check("as far ahead as may be", at("m", 12*time.Minute, 11*time.Minute), drift.Counted)
	check("further ahead", at("m", 12*time.Minute+1, 11*time.Minute), drift.Future)
	check("a year ahead", at("m", 365*24*time.Hour, 11*time.Minute), drift.Future)
	check("what the clock of another device cannot make late", at("m", 11*time.Minute, 11*time.Minute), drift.Counted)
	late := prediction("m", 10*time.Minute)
	check("late", w.send(late, 11*time.Minute), drift.Late)
	check("late again: it was not counted, so it is no duplicate", w.send(late, 11*time.Minute), drift.Late)
	check("a duplicate that would be late by now", w.send(first, 12*time.Minute), drift.Duplicate)
	check("not configured", at("x", 11*time.Minute, 11*time.Minute), drift.Unconfigured)
	check("second model", at("m2", 0, 12*time.Minute), drift.Counted)
	check("one too many", at("m3", 0, 12*time.Minute), drift.OverLimit)

	outcome := event.New(event.Outcome)
	outcome.ID, outcome.Model, outcome.Name, outcome.Time = "o", "m", "label", ns(0)
	check("a label is never late", w.send(outcome, 12*time.Minute), drift.Counted)
	check("a label twice", w.send(outcome, 12*time.Minute), drift.Duplicate)
	outcome.ID = ""
	check("a label without id", w.send(outcome, 12*time.Minute), drift.Counted)
	check("and another", w.send(outcome, 12*time.Minute), drift.Counted)
	kpi := event.New(event.KPI)
	kpi.ID, kpi.Name, kpi.Time = "k", "revenue", ns(0)
	check("a kpi of no model", w.send(kpi, 12*time.Minute), drift.Counted)
	check("twice", w.send(kpi, 12*time.Minute), drift.Duplicate)

	m, _ := w.engine.Model("m")
	if m.Labels.Count != 3 {
		t.Errorf("%d labels, want 3", m.Labels.Count)
	}
	if _, ok := w.engine.Model("m3"); ok || len(w.engine.Models()) != 2 || !w.engine.Watermark("m3").IsZero() || w.engine.Baseline("m3") != nil {
		t.Error("a refused model is followed")
	}
	if got := w.engine.Watermark("m"); !got.Equal(t0.Add(11 * time.Minute)) {
		t.Errorf("watermark %v, want 11m", got)
	}
	if w.engine.SetBaseline(&drift.Baseline{Model: "x", Parts: []drift.Part{{}}}) {
		t.Error("a model that is not configured has a baseline")
	}
}

func TestOutcomeNames(t *testing.T) {
	var got []string
	for o := drift.Counted; o <= drift.OverLimit; o++ {
		got = append(got, o.String())
	}
	if s := strings.Join(got, " "); s != "counted duplicate late future unconfigured limit" { // contract.md 5
		t.Error(s)
	}
	if s := fmt.Sprint(drift.Numeric, drift.Categorical, drift.SignalType(0), drift.Open, drift.Closed, drift.Incomplete); s != "numeric categorical unknown open closed incomplete" {
		t.Error(s)
	}
}

// An event without a time has its message's. Times before 1970 and at the very
// epoch are times like others.
func TestOddTimes(t *testing.T) {
	epoch := -time.Duration(t0.UnixNano())
	for name, from := range map[string]time.Duration{"1970": epoch, "1969": epoch - 90*time.Minute, "1900": -126 * 365 * 24 * time.Hour} {
		w := newWorld(t, testSpec())
		for i := range 20 {
			if o := w.add(prediction("m", from+time.Duration(i)*time.Minute, "x", i)); o != drift.Counted {
				t.Fatalf("%s: minute %d is %v", name, i, o)
			}
		}
		w.restart()
		w.add(prediction("m", from+2*time.Hour, "x", 1))
		total := uint64(0)
		for _, c := range w.windows(time.Hour) {
			total += c.Events
		}
		if total != 20 {
			t.Errorf("%s: %d events in hours, want 20", name, total)
		}
	}
	w := newWorld(t, testSpec())
	e := prediction("m", 0)
	e.Time = 0
	w.send(e, 7*time.Minute)
	if m, _ := w.engine.Model("m"); !m.MaxTime.Equal(t0.Add(7 * time.Minute)) {
		t.Errorf("an event without a time is of %v", m.MaxTime)
	}
}

func TestClosingOrder(t *testing.T) {
	w := newWorld(t, testSpec())
	for _, model := range []string{"b", "a"} {
		for _, v := range []string{"2", "1"} {
			e := prediction(model, 0)
			e.Version = v
			w.add(e)
		}
	}
	w.tick(3*time.Hour + 2*time.Minute) // one message closes everything
	var got []string
	for _, c := range w.closings {
		if len(c.Windows) == 0 {
			continue
		}
		got = append(got, fmt.Sprint(c.Model, c.Size, c.End.Sub(t0), c.Seq))
		for _, x := range c.Windows {
			got = append(got, x.Group.Version)
		}
	}
	want := "a5m0s 5m0s 5|1|2|b5m0s 5m0s 5|1|2|a1h40m0s 40m0s 5|1|2|b1h40m0s 40m0s 5|1|2|" + // 100 minutes since the epoch
		"a1h0m0s 1h0m0s 5|1|2|b1h0m0s 1h0m0s 5|1|2|a3h0m0s 3h0m0s 5|1|2|b3h0m0s 3h0m0s 5|1|2"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("closings\n got %s\nwant %s", s, want)
	}
	if !slices.IsSortedFunc(w.closings, func(a, b drift.Closing) int { return a.End.Compare(b.End) }) {
		t.Error("windows of one message are not in the order of their ends")
	}
}

// The watermark of a silent model follows the stream's clock from where its own
// events left it: replayed data of last year are not late by a year.
func TestIdleWatermark(t *testing.T) {
	w := newWorld(t, testSpec())
	year := 365 * 24 * time.Hour
	w.send(prediction("m", -year), 0)
	w.tick(time.Minute) // not idle for longer than the lateness
	if got := w.engine.Watermark("m"); !got.Equal(t0.Add(-year - time.Minute)) {
		t.Fatalf("watermark %v after a minute", got)
	}
	w.tick(10*time.Minute + 30*time.Second)
	if got := w.engine.Watermark("m"); !got.Equal(t0.Add(-year + 9*time.Minute)) { // 10.5m of silence less 1m, in whole panes
		t.Fatalf("watermark %v after ten minutes", got)
	}
	if len(w.windows(5*time.Minute)) != 1 {
		t.Error("the window of the event has not closed")
	}
	w.tick(5 * time.Minute) // a clock that steps back moves nothing
	if got := w.engine.Watermark("m"); !got.Equal(t0.Add(-year + 9*time.Minute)) {
		t.Errorf("watermark %v after a step back", got)
	}
	if o := w.send(prediction("m", -year+8*time.Minute), 11*time.Minute); o != drift.Late {
		t.Errorf("%v, want late", o)
	}
	if o := w.send(prediction("m", -year+10*time.Minute), 11*time.Minute); o != drift.Counted {
		t.Errorf("%v, want counted", o)
	}
}

func TestLongSilence(t *testing.T) {
	spec := testSpec()
	spec.Limits.GapWindows = 30
	w := newWorld(t, spec)
	w.add(prediction("m", 0))
	w.add(prediction("m", 10*365*24*time.Hour)) // ten years are 1,051,200 windows of 5m
	if n := len(w.closings); n < 30 || n > 3*32 {
		t.Errorf("%d closings, want about 30 for each size", n)
	}
	m, _ := w.engine.Model("m")
	if m.Overflow.SkippedGap < 1_000_000 {
		t.Errorf("%d windows counted as skipped", m.Overflow.SkippedGap)
	}
	w.add(prediction("m", 10*365*24*time.Hour+4*time.Hour))
	total := uint64(0)
	for _, x := range w.windows(3 * time.Hour) {
		total += x.Events
	}
	if total != 2 {
		t.Errorf("%d events around the silence, want 2", total)
	}
}

func TestRollupsWithoutARuleOnHours(t *testing.T) {
	spec := testSpec()
	spec.Sizes = []time.Duration{24 * time.Hour}
	w := newWorld(t, spec)
	w.add(prediction("m", 0))
	w.tick(30 * time.Minute) // the pane closes long before its hour
	w.tick(61*time.Minute + 1)
	if len(w.hours) != 1 || w.hours[0].Events != 1 {
		t.Errorf("%d hours", len(w.hours))
	}
}

func TestGap(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t, testSpec())
		w.add(prediction("m", 0))
		w.engine.Gap()
		if restart {
			w.restart()
		}
		w.add(prediction("m", time.Minute)) // opens before the watermark moves
		w.add(prediction("m", 6*time.Minute))
		w.add(prediction("m", 8*time.Minute))
		w.add(prediction("m", 20*time.Minute))
		got := w.windows(5 * time.Minute)
		if len(got) != 2 || got[0].State != drift.Incomplete || got[1].State != drift.Closed {
			t.Errorf("restart %v: windows are %v and %v", restart, got[0].State, got[1].State)
		}
		for i, want := range []drift.WindowState{drift.Incomplete, drift.Incomplete, drift.Closed, drift.Closed} {
			if w.panes[i].State != want {
				t.Errorf("restart %v: pane %d is %v, want %v", restart, i, w.panes[i].State, want)
			}
		}
	}
}

// Windows in which every message was lost are incomplete though they are empty;
// those that are empty after the gap are not.
func TestGapWithoutEvents(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t, testSpec())
		w.add(prediction("m", 2*time.Minute))
		w.engine.Gap() // what was published until minute 18 is lost
		if restart {
			w.restart()
		}
		w.add(prediction("m", 18*time.Minute))
		if restart {
			w.restart()
		}
		w.add(prediction("m", 31*time.Minute))
		var got []string
		for _, c := range w.closings {
			if c.Size == 5*time.Minute {
				got = append(got, fmt.Sprintf("%d %d %v", c.Start.Sub(t0)/time.Minute, len(c.Windows), c.Incomplete))
			}
		}
		want := []string{"0 1 true", "5 0 true", "10 0 true", "15 1 true", "20 0 false", "25 0 false"}
		if !slices.Equal(got, want) {
			t.Errorf("restart %v: closings (start, groups, incomplete)\n got %q\nwant %q", restart, got, want)
		}
		for _, win := range w.windows(5 * time.Minute) {
			if win.State != drift.Incomplete {
				t.Errorf("restart %v: window of %v is %v", restart, win.Start, win.State)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	spec := testSpec()
	spec.Limits.Versions, spec.Limits.Segments, spec.Limits.Features = 2, 2, 3
	spec.Models = []drift.ModelSpec{{Glob: "*", Segments: [][]string{{"plan"}}}}
	w := newWorld(t, spec)
	send := func(at time.Duration, version, plan string) {
		e := prediction("m", at, "a", 1, "b", "x", "c", 3, "d", 4)
		e.Version = version
		e.Segments = []event.Segment{{Name: "plan", Value: plan}}
		w.add(e)
	}
	for _, v := range []string{"1", "2", "3", "4"} {
		send(0, v, "gold")
	}
	for _, plan := range []string{"gold", "silver", "iron", "tin"} {
		send(0, "1", plan)
	}
	m, _ := w.engine.Model("m")
	if o := m.Overflow; o.Versions != 2 || o.Segments != 2 || o.Features != 8 { // d in 8 events, once each
		t.Errorf("overflow %+v", o)
	}
	w.add(prediction("m", 4*time.Hour)) // everything of the first hours closes
	events := map[string]uint64{}
	for _, x := range w.windows(3 * time.Hour) {
		events[x.Group.Version+" "+x.Group.Segment] += x.Events
	}
	want := map[string]uint64{
		"1 ": 5, "1 plan=gold": 2, "1 plan=silver": 1, "1 plan=__other__": 2, "2 ": 1, "2 plan=gold": 1, "__other__ ": 2, "__other__ plan=gold": 2,
	}
	if fmt.Sprint(events) != fmt.Sprint(want) {
		t.Errorf("events\n got %v\nwant %v", events, want)
	}
	// Now the names of the past may go.
	send(4*time.Hour, "9", "copper")
	if m, _ = w.engine.Model("m"); m.Overflow.Versions != 2 || slices.ContainsFunc(m.Groups, func(g drift.GroupState) bool { return g.Group.Version == "2" }) {
		t.Errorf("an idle version holds its place: %v", m.Groups)
	}
	send(4*time.Hour, "1", "copper")
	send(4*time.Hour, "1", "brass")
	if m, _ = w.engine.Model("m"); m.Overflow.Segments != 2 {
		t.Errorf("%d events of other segments: idle ones hold their places", m.Overflow.Segments)
	}
}

func TestValues(t *testing.T) {
	w := newWorld(t, testSpec())
	base := baselineOf("m", drift.BuilderOptions{}, prediction("m", 0, "n", 1, "c", "a"), prediction("m", 0, "n", 2, "c", "b"))
	w.adopt(base)
	e := prediction("m", 0, "n", math.Inf(-1), "c", 3, "v", []float64{3, 4}, "null", nil, "", "empty", "prediction", "mine", "scores.x", 1, "obj", struct{}{})
	e.Prediction, e.Confidence, e.LatencyMS, e.Cost = event.Cat("yes"), .5, 100, math.NaN()
	e.Scores, e.ScoreValues = shape("yes", "no"), []float64{math.Inf(1), math.NaN()}
	w.add(e)
	f := prediction("m", 0, "n", "text", "c", "z", "v", []float64{}, "obj", 1)
	f.Prediction = event.Value{Kind: event.Invalid}
	f.Failed, f.Error = true, "timeout"
	w.add(f)
	w.add(prediction("m", 0, "n", math.NaN(), "c", struct{}{}, "v", []float64{math.MaxFloat64, math.MaxFloat64}))
	w.tick(10 * time.Minute)
	x := w.windows(5 * time.Minute)[0]
	var got []string
	for i := range x.Signals {
		s := &x.Signals[i]
		got = append(got, fmt.Sprintf("%s %v values %d nonfinite %d missing %d mismatched %d", s.Name, s.Type, s.Values(), s.NonFinite(), x.Missing(s), s.Mismatched))
	}
	want := []string{
		"c categorical values 1 nonfinite 0 missing 2 mismatched 2",
		"confidence numeric values 1 nonfinite 0 missing 2 mismatched 0",
		"error categorical values 3 nonfinite 0 missing 0 mismatched 0",
		"features. categorical values 1 nonfinite 0 missing 2 mismatched 0",
		"features.prediction categorical values 1 nonfinite 0 missing 2 mismatched 0",
		"features.scores.x numeric values 1 nonfinite 0 missing 2 mismatched 0",
		"latency_ms numeric values 1 nonfinite 0 missing 2 mismatched 0",
		"n numeric values 0 nonfinite 2 missing 1 mismatched 1",
		"obj numeric values 1 nonfinite 0 missing 2 mismatched 0", // an object fixes no type
		"prediction categorical values 1 nonfinite 0 missing 2 mismatched 1",
		"scores.yes numeric values 0 nonfinite 1 missing 2 mismatched 0",
		"v numeric values 2 nonfinite 1 missing 0 mismatched 0", // lengths 5, 0 and beyond every float
	}
	same(t, got, want, "signals")
	if s := x.Signal("c").Categorical; s.Unseen != 1 || s.New.Top()[0].Name != "z" {
		t.Errorf("the new category z: %+v", s)
	}
	if x.Failed != 1 || x.Signal("latency_ms").Numeric.Edges == nil {
		t.Errorf("failed %d", x.Failed)
	}
	if m, _ := w.engine.Model("m"); m.Overflow.Mismatched != 5 { // c: 3, n: text, prediction: object, c: object, obj: object before its type
		t.Errorf("mismatched %d", m.Overflow.Mismatched)
	}
}

// A signal that appears while panes of an older baseline are open, and one whose
// type the new baseline changes, are counted and added up without harm.
func TestBaselineReplacedInAPane(t *testing.T) {
	w := newWorld(t, testSpec())
	numeric := baselineOf("m", drift.BuilderOptions{}, prediction("m", 0, "x", 1, "y", 1), prediction("m", 0, "x", 2, "y", 1))
	named := baselineOf("m", drift.BuilderOptions{}, prediction("m", 0, "x", "a", "z", 1), prediction("m", 0, "x", "b", "z", 1))
	w.adopt(numeric)
	w.add(prediction("m", 0, "x", 1))
	w.adopt(named)
	w.add(prediction("m", 0, "x", "a", "z", 5, "new", 1))
	w.add(prediction("m", 3*time.Minute, "x", "a", "z", 5, "new", 1))
	w.restart()
	w.add(prediction("m", 3*time.Minute, "x", "b", "z", 5, "new", 1))
	w.add(prediction("m", 10*time.Minute))
	pane := w.panes[0]
	if pane.Baseline != numeric.ID || w.panes[1].Baseline != named.ID {
		t.Errorf("panes are counted on %s and %s", pane.Baseline, w.panes[1].Baseline)
	}
	if s := pane.Signal("x"); s.Type != drift.Numeric || s.Numeric.N != 1 || s.Mismatched != 1 {
		t.Errorf("x in the pane of both: %+v", s)
	}
	sum := w.windows(5 * time.Minute)[0]
	if s := sum.Signal("x"); s.Type != drift.Numeric || s.Numeric.N != 1 || s.Mismatched != 3 || sum.Missing(s) != 3 {
		t.Errorf("x in the window of both: %+v", s)
	}
	if s := sum.Signal("new"); s.Numeric.N != 3 || s.Numeric.Edges != nil {
		t.Errorf("a signal of no baseline: %+v", s)
	}
	report := drift.Compare(named.Part(""), named.ID, true, sum)
	for _, s := range report.Signals {
		if s.Name == "x" && s.Verdict != drift.Ignored {
			t.Errorf("x is %v against a reference of another type", s.Verdict)
		}
	}
}

// Approving a baseline changes how far it is trusted and nothing that is counted.
func TestApproval(t *testing.T) {
	w := newWorld(t, testSpec())
	frozen := *baselineOf("m", drift.BuilderOptions{}, prediction("m", 0, "x", 1), prediction("m", 0, "x", 2))
	frozen.State = drift.Frozen
	approved := frozen
	approved.State = drift.Approved
	w.adopt(&frozen)
	w.add(prediction("m", 0, "x", 1))
	before, _ := w.engine.Model("m")
	w.adopt(&approved)
	after, _ := w.engine.Model("m")
	if fmt.Sprintf("%+v", before) != fmt.Sprintf("%+v", after) {
		t.Errorf("approval changed the model\nfrom %+v\n  to %+v", before, after)
	}
	w.add(prediction("m", 0, "x", 2))
	w.tick(10 * time.Minute)
	if w.engine.Baseline("m").State != drift.Approved || len(w.panes) != 1 || w.panes[0].Signal("x").Numeric.N != 2 {
		t.Error("approval divided a pane")
	}
}

// What DirtyBytes says is never less than what the store will write.
func TestDirtyBytes(t *testing.T) {
	w := newWorld(t, hostileSpec())
	check := func(i int) {
		grown := w.engine.Grown()
		bound, size := w.engine.DirtyBytes(), 0
		if grown < bound {
			t.Fatalf("message %d: DirtyBytes said %d, but Grown only %d", i, bound, grown)
		}
		w.engine.Dirty(drift.DirtySink{
			Open: func(p *drift.Window) {
				size += 60 + 2*len(p.Group.Model+p.Group.Version+p.Group.Segment)
				for k := range p.Signals {
					size += len(p.Signals[k].Name) + 8 + len(encode(&p.Signals[k]))
				}
			},
			Model: func(m drift.ModelState) {
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				size += len(m.Model) + 8 + len(b)
			},
			Sample: func(_ string, _ int, chunk []byte) { size += len(chunk) },
			Seen:   func(_ int, chunk []uint64) { size += 8 * len(chunk) },
		})
		if size > bound {
			t.Fatalf("message %d: %d bytes, but DirtyBytes said %d", i, size, bound)
		}
		if bound > 12*size+4096 {
			t.Fatalf("message %d: %d bytes, and DirtyBytes said %d", i, size, bound)
		}
	}
	for i, m := range hostileLog(t, 4, 40*time.Minute, .1) {
		w.send(m.event, m.arrival)
		if m.baseline != nil {
			w.adopt(m.baseline)
		}
		if i%37 == 0 {
			check(i)
		}
	}
	check(-1)
	if w.engine.DirtyBytes() != 0 {
		t.Error("something is dirty after Dirty")
	}
}

func TestSpecValidate(t *testing.T) {
	if err := drift.DefaultSpec().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*drift.Spec){
		"shorter than 1s":        func(s *drift.Spec) { s.Pane = time.Millisecond },
		"does not divide 1h":     func(s *drift.Spec) { s.Pane, s.Sizes = 7*time.Minute, []time.Duration{time.Hour * 7} },
		"lateness -1s":           func(s *drift.Spec) { s.Lateness = -time.Second },
		"lateness 768h":          func(s *drift.Spec) { s.Lateness = 32 * 24 * time.Hour },
		"max_future_skew":        func(s *drift.Spec) { s.MaxFutureSkew = -1 },
		"no window sizes":        func(s *drift.Spec) { s.Sizes = nil },
		"multiple of the pane":   func(s *drift.Spec) { s.Sizes[0] = 90 * time.Second },
		"longer than 744h":       func(s *drift.Spec) { s.Sizes[2] = 800 * time.Hour },
		"listed twice":           func(s *drift.Spec) { s.Sizes[0] = time.Hour },
		"limit is below 1":       func(s *drift.Spec) { s.Limits.Segments = 0 },
		"at least 1 row":         func(s *drift.Spec) { s.Sample.MaxRows = 0 },
		"sample of 0 bytes":      func(s *drift.Spec) { s.Sample.Bytes = 0 },
		"dedup ids -1 is negati": func(s *drift.Spec) { s.DedupIDs = -1 },
	} {
		s := drift.DefaultSpec()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A model that learns has quantiles of its latency, and nothing it is compared with.
func TestLearningReport(t *testing.T) {
	w := newWorld(t, testSpec())
	for i := range 1000 {
		e := prediction("m", 0, "x", i)
		e.LatencyMS = float64(i + 1)
		w.add(e)
	}
	w.tick(10 * time.Minute)
	x := w.windows(5 * time.Minute)[0]
	r := drift.Compare(nil, "b-1", true, x)
	if !x.Learning || r.Reference != "" || r.Approved || r.Drifting != 0 {
		t.Errorf("learning %v, reference %q, approved %v", x.Learning, r.Reference, r.Approved)
	}
	if !near(r.LatencyP50, 500, 500*.045) || !near(r.LatencyP99, 990, 990*.045) { // within half an eighth of an octave
		t.Errorf("p50 %v, p99 %v", r.LatencyP50, r.LatencyP99)
	}
	for _, s := range r.Signals {
		if s.Verdict != drift.Ignored || !math.IsNaN(s.PSI) || !math.IsNaN(s.AdjustedP) || s.Feature != (s.Name == "x") {
			t.Errorf("%+v", s)
		}
	}
	if s := x.Signal("x").Numeric; s.Edges != nil || s.Mean != 499.5 {
		t.Errorf("x: %+v", s)
	}
}
