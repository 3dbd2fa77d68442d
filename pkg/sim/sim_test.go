package sim_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

func newStream(t testing.TB, s sim.Scenario, seed uint64) *sim.Stream {
	t.Helper()
	st, err := sim.New(s, seed)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// lines returns the first n events of a stream as JSON.
func lines(t testing.TB, st *sim.Stream, n int) []string {
	t.Helper()
	var e event.Event
	var out []string
	for len(out) < n && st.Next(&e) {
		out = append(out, string(event.AppendJSON(nil, &e)))
	}
	return out
}

// one is a scenario with one model, one feature x and even arrivals of one a second.
func one(f sim.Feature, injections ...sim.Injection) sim.Scenario {
	for i := range injections {
		injections[i].Model = "m"
	}
	return sim.Scenario{Name: "one", Start: sim.Epoch, Length: 20_000 * time.Second, Injections: injections, Models: []sim.Model{{
		Name: "m", Rate: 1, Even: true, Features: []sim.Feature{f},
		Versions: []sim.Version{{Name: "1", Share: 1}},
	}}}
}

// draw returns the numbers of x between two times, without the nulls.
func draw(t *testing.T, s sim.Scenario, from, to time.Duration) (xs []float64, nulls int, cats map[string]int) {
	t.Helper()
	cats = map[string]int{}
	st := newStream(t, s, 7)
	for e := (event.Event{}); st.Next(&e); {
		at := time.Duration(e.Time - sim.Epoch.UnixNano())
		if e.Kind != event.Prediction || at < from || at >= to {
			continue
		}
		switch v := e.Values[0]; v.Kind {
		case event.Number:
			xs = append(xs, v.Num)
		case event.Category:
			cats[v.Str]++
		default:
			nulls++
		}
	}
	return xs, nulls, cats
}

func moments(xs []float64) (mean, sd float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		sd += (x - mean) * (x - mean) / float64(len(xs)-1)
	}
	return mean, math.Sqrt(sd)
}

func TestSameSeedSameEvents(t *testing.T) {
	for _, name := range sim.Names() {
		s, err := sim.Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		a, b := lines(t, newStream(t, s, 1), 3000), lines(t, newStream(t, s, 1), 3000)
		if !slices.Equal(a, b) {
			t.Errorf("%s: two streams of one seed differ", name)
		}
		if c := lines(t, newStream(t, s, 2), 3000); slices.Equal(a, c) {
			t.Errorf("%s: another seed gives the same events", name)
		}
	}
	if _, err := sim.Builtin("nope"); err == nil {
		t.Error("an unknown scenario is no error")
	}
}

// Without injections the demo is the quiet world: before the first injection the
// events are the same, and after it only what is named differs.
func TestInjectionsChangeOnlyWhatTheyName(t *testing.T) {
	st := sim.DefaultStory
	st.Length = st.ChurnFrom + 15*time.Minute
	demo, quiet := newStream(t, sim.Demo(st), 1), newStream(t, sim.Quiet(st), 1)
	var a, b event.Event
	changed := map[string]bool{}
	for demo.Next(&a) && quiet.Next(&b) {
		if a.ID != b.ID || a.Time != b.Time || a.Version != b.Version || a.LatencyMS != b.LatencyMS && a.LatencyMS == a.LatencyMS {
			t.Fatalf("events part: %s and %s", a.ID, b.ID)
		}
		if a.Kind != event.Prediction {
			continue
		}
		for i, v := range a.Values {
			if v != b.Values[i] {
				changed[a.Model+"."+a.Features.Names[i]] = true
				if at := time.Duration(a.Time - sim.Epoch.UnixNano()); at < st.AmountFrom {
					t.Fatalf("changed at %s, before any injection", at)
				}
			}
		}
	}
	if want := map[string]bool{"fraud.amount": true, "churn.country": true, "churn.days_since_login": true}; len(changed) != len(want) {
		t.Errorf("changed: %v, want %v", changed, want)
	}
}

// 20,000 draws: the tolerances are five standard errors of mean and deviation.
func TestDistributionsAreWhatTheySay(t *testing.T) {
	sqrt := math.Sqrt
	for _, tc := range []struct {
		name     string
		dist     sim.Dist
		mean, sd float64 // closed forms
	}{
		{"constant", sim.Constant(3), 3, 0},
		{"normal", sim.Normal{Mean: 5, Sigma: 2}, 5, 2},
		{"lognormal", sim.LogNormal{Mu: 1, Sigma: .5}, math.Exp(1.125), math.Exp(1.125) * sqrt(math.Expm1(.25))},
		{"uniform", sim.Uniform{Low: -1, High: 5}, 2, 6 / sqrt(12)},
		{"exponential", sim.Exponential{Mean: 4}, 4, 4},
		{"zero inflated", sim.ZeroInflated{Zero: .75, Dist: sim.Normal{Mean: 8, Sigma: 1}}, 2, sqrt(.25*65 - 4)},
		{"integer", sim.Integer{Dist: sim.Normal{Mean: 50, Sigma: 9}}, 50, sqrt(81 + 1./12)},
		{"mixture", sim.Mixture{Share: .3, A: sim.Normal{Mean: 10, Sigma: 1}, B: sim.Normal{Mean: 0, Sigma: 1}}, 3, sqrt(1 + .3*.7*100)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			xs, nulls, _ := draw(t, one(sim.Feature{Name: "x", Dist: tc.dist}), 0, 20_000*time.Second)
			if len(xs) < 19_999 || nulls != 0 {
				t.Fatalf("%d values, %d nulls", len(xs), nulls)
			}
			mean, sd := moments(xs)
			if math.Abs(mean-tc.mean) > 5*tc.sd/sqrt(20_000)+1e-9 { // 1e-9: rounding of the sum
				t.Errorf("mean %g, want %g", mean, tc.mean)
			}
			if math.Abs(sd-tc.sd) > .05*tc.sd+1e-9 { // heavy tails: the lognormal's sd has an error near 1 %
				t.Errorf("sd %g, want %g", sd, tc.sd)
			}
		})
	}
}

func TestSDIsTheYardstickOfShifts(t *testing.T) {
	n := sim.Normal{Sigma: 2}
	for _, tc := range []struct {
		name string
		dist sim.Dist
		want float64
	}{
		{"constant", sim.Constant(4), 0},
		{"normal", n, 2},
		{"uniform", sim.Uniform{Low: 0, High: 12}, sqrt12},
		{"exponential", sim.Exponential{Mean: 3}, 3},
		{"integer", sim.Integer{Dist: n}, 2},
		{"zero inflated", sim.ZeroInflated{Zero: .9, Dist: n}, 2},
		{"mixture", sim.Mixture{Share: .5, A: n, B: sim.Normal{Sigma: 4}}, 3},
		{"lognormal of sigma sqrt(ln 2)", sim.LogNormal{Sigma: math.Sqrt(math.Ln2)}, math.Sqrt2}, // exp(ln2/2)*sqrt(2-1)
	} {
		if got := tc.dist.SD(); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%s: SD %g, want %g", tc.name, got, tc.want)
		}
	}
}

const sqrt12 = 3.4641016151377544 // 12/sqrt(12)

func TestInjectionsBeginAndEnd(t *testing.T) {
	const from, to = 8_000 * time.Second, 14_000 * time.Second
	numeric := sim.Feature{Name: "x", Dist: sim.Normal{Mean: 10, Sigma: 2}}
	letters := sim.Feature{Name: "x", Categories: []sim.Category{{"a", 6}, {"b", 3}, {"c", 1}}}
	// measure returns the number that the injection moves; 6,000 rows or more.
	mean := func(xs []float64, _ int, _ map[string]int) float64 { m, _ := moments(xs); return m }
	part := func(name string) func([]float64, int, map[string]int) float64 {
		return func(_ []float64, _ int, c map[string]int) float64 {
			return float64(c[name]) / float64(c["a"]+c["b"]+c["c"]+c["z"])
		}
	}
	for _, tc := range []struct {
		name           string
		feature        sim.Feature
		injection      sim.Injection
		measure        func([]float64, int, map[string]int) float64
		normal, during float64
		tolerance      float64 // five standard errors
	}{
		{"factor", numeric, sim.Injection{Effect: sim.Factor, Amount: 1.35}, mean, 10, 13.5, .18},
		{"shift in sd", numeric, sim.Injection{Effect: sim.Shift, Amount: -.5}, mean, 10, 9, .13},
		{"nulls", numeric, sim.Injection{Effect: sim.Nulls, Amount: .4}, func(xs []float64, n int, _ map[string]int) float64 { return float64(n) / float64(n+len(xs)) }, 0, .4, .032},
		{"category gone", letters, sim.Injection{Effect: sim.DropCategory, Category: "a"}, part("a"), .6, 0, .032},
		{"its share goes to the others", letters, sim.Injection{Effect: sim.DropCategory, Category: "a"}, part("b"), .3, .75, .03},
		{"new category", letters, sim.Injection{Effect: sim.NewCategory, Category: "z", Amount: .2}, part("z"), 0, .2, .026},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.injection.Feature, tc.injection.From, tc.injection.To = "x", from, to
			s := one(tc.feature, tc.injection)
			for _, span := range []struct {
				from, to time.Duration
				want     float64
			}{{0, from, tc.normal}, {from, to, tc.during}, {to, 20_000 * time.Second, tc.normal}} {
				if got := tc.measure(draw(t, s, span.from, span.to)); math.Abs(got-span.want) > tc.tolerance {
					t.Errorf("%s to %s: %.4f, want %.4f", span.from, span.to, got, span.want)
				}
			}
		})
	}
}

func TestSilenceEndsAtItsTime(t *testing.T) {
	s := one(sim.Feature{Name: "x", Dist: sim.Constant(1)}, sim.Injection{Effect: sim.Silence, From: 100 * time.Second, To: 200 * time.Second})
	s.Length = 300 * time.Second
	xs, _, _ := draw(t, s, 100*time.Second, 200*time.Second)
	all, _, _ := draw(t, s, 0, 300*time.Second)
	if len(xs) != 0 || len(all) != 199 { // one a second from 1 s to 299 s, less the hundred from 100 to 199
		t.Errorf("%d events in the silence, %d in all; want 0 and 199", len(xs), len(all))
	}
}

// To = 0 lasts to the end; a segment limits an injection to its events.
func TestInjectionOfOneSegment(t *testing.T) {
	s := one(sim.Feature{Name: "x", Dist: sim.Constant(1)}, sim.Injection{Effect: sim.Factor, Amount: 3, Feature: "x", Segment: event.Segment{Name: "channel", Value: "app"}})
	s.Models[0].Segments = []sim.Feature{{Name: "channel", Categories: []sim.Category{{"app", 1}, {"web", 1}}}}
	st := newStream(t, s, 3)
	seen := map[string]int{}
	for e := (event.Event{}); st.Next(&e); {
		want := map[string]float64{"app": 3, "web": 1}[e.Segments[0].Value]
		if e.Values[0].Num != want {
			t.Fatalf("channel %s has x %g", e.Segments[0].Value, e.Values[0].Num)
		}
		seen[e.Segments[0].Value]++
	}
	if math.Abs(float64(seen["app"])-10_000) > 5*math.Sqrt(5_000) { // binomial, five sd
		t.Errorf("segments: %v, want half each", seen)
	}
}

// The demo's bad canary: 25 % errors, four times the latency, higher scores, on v42 only.
func TestBadCanary(t *testing.T) {
	story := sim.DefaultStory
	type sums struct{ n, errors, latency, score, scored float64 }
	phase := func(at time.Duration) int {
		switch {
		case at < story.AmountFrom:
			return 0
		case at >= story.CanaryTo:
			return 2
		case at >= story.CanaryFrom:
			return 1
		}
		return -1
	}
	read := func() (out [3]map[string]*sums) {
		for i := range out {
			out[i] = map[string]*sums{"41": {}, "42": {}}
		}
		st := newStream(t, sim.Demo(story), 1)
		for e := (event.Event{}); st.Next(&e); {
			p := phase(time.Duration(e.Time - sim.Epoch.UnixNano()))
			if e.Kind != event.Prediction || e.Model != "fraud" || p < 0 {
				continue
			}
			s := out[p][e.Version]
			s.n++
			s.latency += e.LatencyMS
			if e.Failed {
				s.errors++
				if len(e.ScoreValues) > 0 || e.Error == "" || e.Prediction.Kind != event.Null {
					t.Fatalf("a failed answer has a score or no error: %+v", e)
				}
				continue
			}
			s.score += e.ScoreValues[0]
			s.scored++
		}
		return out
	}
	phases := read()
	before, during, after := phases[0], phases[1], phases[2]
	if got := before["42"].n / (before["41"].n + before["42"].n); math.Abs(got-.1) > .01 {
		t.Errorf("canary share %.3f, want .1", got)
	}
	for _, s := range []*sums{before["41"], before["42"], during["41"], after["42"]} {
		if got := s.errors / s.n; got > .006 { // configured .002; binomial sd at n = 2,500 is .0009
			t.Errorf("error rate %.4f outside of the canary's time", got)
		}
	}
	bad := during["42"]
	if got := bad.errors / bad.n; math.Abs(got-.25) > .045 { // n about 2,700: sd .0083
		t.Errorf("canary error rate %.3f, want .25", got)
	}
	if got := bad.latency / bad.n / (during["41"].latency / during["41"].n); math.Abs(got-4) > .2 {
		t.Errorf("canary is %.2f times as slow, want 4", got)
	}
	if bad.score/bad.scored < 1.5*during["41"].score/during["41"].scored {
		t.Errorf("canary scores %.3f against %.3f", bad.score/bad.scored, during["41"].score/during["41"].scored)
	}
}

func TestRollback(t *testing.T) {
	story := sim.DefaultStory
	story.CanaryFrom, story.Length = time.Hour, 2*time.Hour
	story.AmountFrom, story.ChurnFrom = 10*time.Minute, 10*time.Minute
	st := newStream(t, sim.Demo(story), 1)
	at := sim.Epoch.Add(story.CanaryFrom + 10*time.Minute)
	if late, err := st.Rollback("fraud", "42", "41", at); late || err != nil {
		t.Fatal(late, err)
	}
	var last, ids int64
	var e event.Event
	plain := map[string]int64{}
	for p := newStream(t, sim.Demo(story), 1); p.Next(&e); {
		plain[e.ID] = e.Time
	}
	for st.Next(&e) {
		if plain[e.ID] == e.Time {
			ids++
		}
		if e.Kind == event.Prediction && e.Version == "42" {
			last = e.Time
			if e.Variant != event.Canary {
				t.Fatalf("42 is %s", e.Variant)
			}
		}
	}
	if last >= at.UnixNano() || last < at.Add(-time.Minute).UnixNano() {
		t.Errorf("last event of 42 at %s, rolled back at %s", time.Unix(0, last).UTC(), at)
	}
	if ids < 50_000 {
		t.Errorf("only %d events kept their id and time: a rollback must not move the rest", ids)
	}
	if late, err := st.Rollback("fraud", "42", "41", at); !late || err != nil {
		t.Error("a rollback in the past is not called late", late, err)
	}
	for _, bad := range [][3]string{{"nope", "42", "41"}, {"fraud", "42", "40"}, {"fraud", "41", "41"}} {
		if _, err := st.Rollback(bad[0], bad[1], bad[2], at); err == nil {
			t.Errorf("rollback %v is no error", bad)
		}
	}
}

// A fixed canary comes back: version 42 is silent between the two decisions only.
func TestResume(t *testing.T) {
	st := newStream(t, sim.Quiet(sim.Story{Length: 3 * time.Hour}), 1)
	from, to := sim.Epoch.Add(time.Hour), sim.Epoch.Add(2*time.Hour)
	if _, err := st.Resume("fraud", "42", to); err == nil {
		t.Error("resumed what was not rolled back")
	}
	if _, err := st.Resume("nope", "42", to); err == nil {
		t.Error("resumed an unknown model")
	}
	if _, err := st.Rollback("fraud", "42", "41", from); err != nil {
		t.Fatal(err)
	}
	if late, err := st.Resume("fraud", "42", to); late || err != nil {
		t.Fatal(late, err)
	}
	var before, between, after int
	for e := (event.Event{}); st.Next(&e); {
		switch at := time.Unix(0, e.Time); {
		case e.Kind != event.Prediction || e.Version != "42":
		case at.Before(from):
			before++
		case at.Before(to):
			between++
		default:
			after++
		}
	}
	// 0.5 a second: 1,800 in the first hour and in the last; five sd of Poisson are 212.
	if math.Abs(float64(before)-1800) > 212 || between != 0 || math.Abs(float64(after)-1800) > 212 {
		t.Errorf("%d, %d, %d events of version 42", before, between, after)
	}
}

func TestEventsComeInTimeOrderWithUniqueIDs(t *testing.T) {
	st := newStream(t, sim.Demo(sim.DefaultStory), 5)
	seen := map[string]bool{}
	predictions := map[string]bool{}
	var last int64
	for e := (event.Event{}); st.Next(&e); {
		if e.Time < last {
			t.Fatalf("event %s goes back in time", e.ID)
		}
		last = e.Time
		if seen[e.ID] {
			t.Fatalf("id %s twice", e.ID)
		}
		seen[e.ID] = true
		if e.Kind == event.Prediction {
			predictions[e.ID] = true
		} else if !predictions[e.PredictionID] {
			t.Fatalf("outcome %s of unknown prediction %s", e.ID, e.PredictionID)
		}
	}
	// The budget of a 60 s demo: the brief allows 150,000 to 300,000 events.
	if n := st.Events(); n < 150_000 || n > 300_000 || n != uint64(len(seen)) {
		t.Errorf("%d events, %d ids", n, len(seen))
	}
	if got := st.Elapsed(time.Unix(0, last)); got > sim.DefaultStory.Length || got < sim.DefaultStory.Length-time.Minute {
		t.Errorf("last event after %s", got)
	}
	if st.Scenario().Name != "demo" {
		t.Error("the stream forgets its scenario")
	}
}

// Churn labels come 90 ± 15 minutes late and are right as often as the score says;
// thumbs are 1 or -1 and mostly up.
func TestOutcomes(t *testing.T) {
	st := newStream(t, sim.Quiet(sim.Story{Length: 4 * time.Hour}), 2)
	made := map[string]event.Event{}
	var delays, up []float64
	var churned, expected float64
	for e := (event.Event{}); st.Next(&e); {
		if e.Kind == event.Prediction {
			c := e
			c.Values, c.ScoreValues = nil, slices.Clone(e.ScoreValues)
			made[e.ID] = c
			continue
		}
		p := made[e.PredictionID]
		switch {
		case e.Model == "churn":
			if p.Time < sim.Epoch.Add(time.Hour).UnixNano() { // later ones lose their slow labels at the end
				delays = append(delays, float64(e.Time-p.Time)/1e9)
			}
			churned += e.Value
			expected += p.ScoreValues[0]
			if want := map[float64]string{1: "churn", 0: "stay"}[e.Value]; e.Label != event.Cat(want) {
				t.Fatalf("value %g has label %v", e.Value, e.Label)
			}
		case e.Name == "thumbs":
			up = append(up, e.Value)
			if e.Value != 1 && e.Value != -1 {
				t.Fatalf("thumbs %g", e.Value)
			}
		}
	}
	if mean, sd := moments(delays); math.Abs(mean-5400) > 86 || math.Abs(sd-900) > 61 { // n about 2,700: five standard errors
		t.Errorf("delay %.0f ± %.0f s", mean, sd)
	}
	if math.Abs(churned-expected) > 5*math.Sqrt(expected) {
		t.Errorf("%g churned, the scores promise %g", churned, expected)
	}
	if mean, _ := moments(up); mean < .2 || mean > .8 {
		t.Errorf("mean thumb %.2f", mean)
	}
}

func TestPoissonArrivals(t *testing.T) {
	s := one(sim.Feature{Name: "x", Dist: sim.Constant(1)})
	s.Models[0].Even, s.Models[0].Rate = false, 2
	st := newStream(t, s, 9)
	var gaps []float64
	last := sim.Epoch.UnixNano()
	for e := (event.Event{}); st.Next(&e); last = e.Time {
		gaps = append(gaps, float64(e.Time-last)/1e9)
	}
	// 40,000 gaps of mean and sd 0.5 s; five standard errors are .0125 and .018.
	if mean, sd := moments(gaps); math.Abs(mean-.5) > .0125 || math.Abs(sd-.5) > .018 {
		t.Errorf("gaps %.4f ± %.4f s", mean, sd)
	}
}

func TestReferenceIsQuietAndBeforeTheStart(t *testing.T) {
	st := newStream(t, sim.Demo(sim.DefaultStory), 1)
	before := lines(t, newStream(t, sim.Demo(sim.DefaultStory), 1), 100)
	var amounts []float64
	n := 0
	for e := range st.Reference("fraud", 20_000) {
		n++
		if e.Version != "41" || e.Failed || e.Time >= sim.Epoch.UnixNano() || len(e.Values) != 40 {
			t.Fatalf("reference row %+v", e)
		}
		amounts = append(amounts, math.Log(e.Values[0].Num))
	}
	mean, sd := moments(amounts)
	// log-normal with median 48 and sigma .55: five standard errors of 20,000 rows.
	if n != 20_000 || math.Abs(mean-math.Log(48)) > .02 || math.Abs(sd-.55) > .014 {
		t.Errorf("%d rows, log amount %.4f ± %.4f", n, mean, sd)
	}
	if after := lines(t, st, 100); !slices.Equal(before, after) {
		t.Error("reading the reference changed the stream")
	}
	for range st.Reference("nope", 5) {
		t.Error("an unknown model has a reference")
	}
	for range st.Reference("churn", 5) {
		break // stopping early is allowed
	}
}

func TestReferenceOfAModelWithoutPrimary(t *testing.T) {
	s := one(sim.Feature{Name: "x", Dist: sim.Constant(1)})
	s.Models[0].Versions[0].Variant = event.Shadow
	for e := range newStream(t, s, 1).Reference("m", 1) {
		if e.Version != "1" || e.Variant != event.Shadow {
			t.Errorf("%+v", e)
		}
	}
}

func TestBodies(t *testing.T) {
	b, err := sim.NewBodies(sim.Bench(), 1, 512, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.MeanBytes(); math.Abs(got-727) > 5 { // the benchmark's event (ingest design, section 2)
		t.Errorf("mean of %.1f bytes, want 727", got)
	}
	policy, err := event.NewPolicy(event.PolicySpec{})
	if err != nil {
		t.Fatal(err)
	}
	d := event.NewDecoder(policy, event.Limits{})
	for _, i := range []uint64{0, 1, 511, 512, 123_456} {
		body := b.Append([]byte("x"), i)[1:]
		var batch event.Batch
		if r := d.Decode(&batch, event.Prediction, "ml.predictions.bench.1", body); r != nil {
			t.Fatalf("message %d: %v\n%s", i, r, body)
		}
		e := batch.Events[0]
		if want := string(b.ID(nil, i)); e.ID != want || !strings.HasPrefix(want, "bench-") {
			t.Errorf("id %q, want %q", e.ID, want)
		}
		if want := sim.Epoch.UnixNano() + int64(i)*1e7; e.Time != want || len(e.Values) != 20 {
			t.Errorf("message %d: time %d, want %d; %d features", i, e.Time, want, len(e.Values))
		}
	}
	if _, err := sim.NewBodies(sim.Bench(), 1, 0, 1); err == nil {
		t.Error("an empty ring is no error")
	}
	if _, err := sim.NewBodies(sim.Scenario{}, 1, 1, 1); err == nil {
		t.Error("an empty scenario is no error")
	}
}

func TestFaultyScenariosNameEveryFault(t *testing.T) {
	ok := one(sim.Feature{Name: "x", Dist: sim.Constant(1)})
	cases := map[string]struct {
		change func(*sim.Scenario)
		want   string
	}{
		"no start":        {func(s *sim.Scenario) { s.Start = time.Time{} }, "start is missing"},
		"no models":       {func(s *sim.Scenario) { s.Models = nil }, "no models"},
		"model twice":     {func(s *sim.Scenario) { s.Models = append(s.Models, s.Models[0]) }, "taken"},
		"rate":            {func(s *sim.Scenario) { s.Models[0].Rate = 0 }, "events per second"},
		"no versions":     {func(s *sim.Scenario) { s.Models[0].Versions = nil }, "no versions"},
		"latency":         {func(s *sim.Scenario) { s.Models[0].Versions[0].Latency = sim.Exponential{} }, "mean is 0"},
		"no distribution": {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = nil }, "neither"},
		"nested missing":  {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = sim.Integer{} }, "distribution is missing"},
		"mixture share":   {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = sim.Mixture{Share: 2} }, "between 0 and 1"},
		"normal":          {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = sim.Normal{Mean: math.NaN(), Sigma: 1} }, "not finite"},
		"lognormal":       {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = sim.LogNormal{} }, "sigma"},
		"uniform":         {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = sim.Uniform{Low: 2, High: 1} }, "high - low"},
		"zero inflated":   {func(s *sim.Scenario) { s.Models[0].Features[0].Dist = sim.ZeroInflated{Zero: -1} }, "between 0 and 1"},
		"missing":         {func(s *sim.Scenario) { s.Models[0].Features[0].Missing = 1.5 }, "missing is 1.5"},
		"weight": {func(s *sim.Scenario) {
			s.Models[0].Features[0] = sim.Feature{Name: "x", Categories: []sim.Category{{"a", 0}}}
		}, "weight of a"},
		"numeric segment":   {func(s *sim.Scenario) { s.Models[0].Segments = s.Models[0].Features }, "must be categorical"},
		"score feature":     {func(s *sim.Scenario) { s.Models[0].Score.Weights = []sim.Weight{{Feature: "y", Scale: 1}} }, "no numeric feature"},
		"outcome":           {func(s *sim.Scenario) { s.Models[0].Outcomes = []sim.Outcome{{Name: "label"}} }, "outcome label"},
		"injection model":   {func(s *sim.Scenario) { s.Injections = []sim.Injection{{Model: "y", Effect: sim.Silence}} }, `no model "y"`},
		"injection version": {func(s *sim.Scenario) { s.Injections = []sim.Injection{{Model: "m", Version: "9", Effect: sim.Silence}} }, "no version"},
		"injection time": {func(s *sim.Scenario) {
			s.Injections = []sim.Injection{{Model: "m", Effect: sim.Silence, From: 2, To: 1}}
		}, "is no time"},
		"injection effect":  {func(s *sim.Scenario) { s.Injections = []sim.Injection{{Model: "m"}} }, "unknown effect"},
		"injection amount":  {func(s *sim.Scenario) { s.Injections = []sim.Injection{{Model: "m", Effect: sim.Errors, Amount: 2}} }, "amount is 2"},
		"injection feature": {func(s *sim.Scenario) { s.Injections = []sim.Injection{{Model: "m", Effect: sim.Factor}} }, "no feature"},
		"new category": {func(s *sim.Scenario) {
			s.Injections = []sim.Injection{{Model: "m", Feature: "x", Effect: sim.NewCategory}}
		}, "not categorical"},
		"dropped category": {func(s *sim.Scenario) {
			s.Injections = []sim.Injection{{Model: "m", Feature: "x", Effect: sim.DropCategory}}
		}, "no category"},
		"factor of letters": {func(s *sim.Scenario) {
			s.Models[0].Features[0] = sim.Feature{Name: "x", Categories: []sim.Category{{"a", 1}}}
			s.Injections = []sim.Injection{{Model: "m", Feature: "x", Effect: sim.Factor}}
		}, "not numeric"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := ok
			s.Models = []sim.Model{ok.Models[0]}
			s.Models[0].Features = slices.Clone(ok.Models[0].Features)
			s.Models[0].Versions = slices.Clone(ok.Models[0].Versions)
			tc.change(&s)
			if _, err := sim.New(s, 1); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	if sim.Effect(99).String() != "unknown" || sim.DropCategory.String() != "drop_category" {
		t.Error("effect names")
	}
}

// A mixture keeps its parts apart: none of 1,000 draws falls between them.
func TestMixtureHasTwoParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	d := sim.Mixture{Share: .5, A: sim.Uniform{Low: 0, High: 1}, B: sim.Uniform{Low: 9, High: 10}}
	low := 0
	for range 1000 {
		switch x := d.Sample(r); {
		case x < 1:
			low++
		case x < 9:
			t.Fatalf("drew %g", x)
		}
	}
	if low < 420 || low > 580 { // five sd of a binomial(1000, .5) are 79
		t.Errorf("%d of 1,000 from the first part", low)
	}
}

func BenchmarkNext(b *testing.B) {
	st := newStream(b, sim.Bench(), 1)
	var e event.Event
	b.ReportAllocs()
	for b.Loop() {
		st.Next(&e)
	}
}

func BenchmarkBodies(b *testing.B) {
	bodies, err := sim.NewBodies(sim.Bench(), 1, 4096, time.Millisecond)
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		buf = bodies.Append(buf[:0], i)
		i++
	}
}
