package drift_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

func rows(n int, row func(i int) []any) []event.Event {
	out := make([]event.Event, n)
	for i := range out {
		out[i] = prediction("m", 0, row(i)...)
	}
	return out
}

func column(xs []float64) []event.Event {
	return rows(len(xs), func(i int) []any { return []any{"x", xs[i]} })
}

func counted(t testing.TB, b *drift.Baseline, events []event.Event) *drift.Window {
	t.Helper()
	w, err := b.Part("").Count(func(yield func(*event.Event) bool) {
		for i := range events {
			if !yield(&events[i]) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func reported(r *drift.Report, name string) drift.SignalReport {
	i := slices.IndexFunc(r.Signals, func(s drift.SignalReport) bool { return s.Name == name })
	if i < 0 {
		return drift.SignalReport{}
	}
	return r.Signals[i]
}

// testdata/drift_small.json was computed with scipy 1.10.1 from the definitions:
// D is the exact distance of the raw values. The baseline's own edges are finer
// than the oracle's K = 8, so its interval lies within the oracle's, and the
// statistics on declared cells are those of stats on the same cells.
func TestOracles(t *testing.T) {
	data, err := os.ReadFile("testdata/drift_small.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name     string
		Ref, Cur []float64
		D        float64 `json:"ks_D"`
		Lo       float64 `json:"ks_lo"`
		Hi       float64 `json:"ks_hi"`
	}
	data = bytes.ReplaceAll(data, []byte("NaN"), []byte("null")) // of tests that a case is too small for
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 12 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		b := baselineOf("m", drift.BuilderOptions{}, column(c.Ref)...)
		ref := b.Part("").Reference("x")
		w := counted(t, b, column(c.Cur))
		s := reported(drift.Compare(b.Part(""), b.ID, true, w), "x")
		const ulp = 1e-12
		if !(s.KSLo <= c.D+ulp && c.D <= s.KSHi+ulp) {
			t.Errorf("%s: D %v is not in [%v, %v]", c.Name, c.D, s.KSLo, s.KSHi)
		}
		if s.KSLo < c.Lo-ulp || s.KSHi > c.Hi+ulp {
			t.Errorf("%s: [%v, %v] is wider than at K = 8: [%v, %v]", c.Name, s.KSLo, s.KSHi, c.Lo, c.Hi)
		}
		want := stats.CompareNumeric(ref.Numeric, w.Signal("x").Numeric, ref.PSI, ref.Ties)
		if fmt.Sprint(s.Shift) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, but stats says %+v", c.Name, s.Shift, want)
		}
		if !near(s.PSI, psi(c.Ref, c.Cur, ref.PSI.Values()), 1e-12) {
			t.Errorf("%s: psi %v, by hand %v", c.Name, s.PSI, psi(c.Ref, c.Cur, ref.PSI.Values()))
		}
	}
}

// psi is statistics.md section 3 written down from the raw values.
func psi(ref, cur, edges []float64) float64 {
	cells := func(xs []float64) []float64 {
		out := make([]float64, len(edges)+1)
		for _, x := range xs {
			i := 0
			for i < len(edges) && x > edges[i] {
				i++
			}
			out[i]++
		}
		return out
	}
	a, c, used := cells(ref), cells(cur), 0.0
	for i := range a {
		if a[i]+c[i] > 0 {
			used++
		}
	}
	sum := 0.0
	for i := range a {
		if a[i]+c[i] > 0 {
			p, q := (a[i]+.5)/(float64(len(ref))+used/2), (c[i]+.5)/(float64(len(cur))+used/2)
			sum += (q - p) * math.Log(q/p)
		}
	}
	return sum
}

func TestVerdicts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	number := func(shift float64) any { return random.NormFloat64() + shift }
	country := func(names ...string) any { return names[random.IntN(len(names))] }
	missing := func(share float64, x any) any {
		if random.Float64() < share {
			return nil
		}
		return x
	}
	make := func(n int, row func() []any) []event.Event { return rows(n, func(int) []any { return row() }) }
	b := baselineOf("m", drift.BuilderOptions{}, make(5000, func() []any {
		return []any{"same", number(0), "moved", number(0), "land", country("DE", "FR", "US"), "rare", missing(.99, 1), "nulls", number(0), "somenulls", number(0), "gone", number(0), "id", "k"}
	})...)
	w := counted(t, b, make(2000, func() []any {
		return []any{
			"same", number(0), "moved", number(1), "land", country("DE", "FR", "XX", "YY"), "rare", missing(.99, 1),
			"nulls", missing(.5, number(0)), "somenulls", missing(.07, number(0)), "id", 1, "new", number(0),
		}
	}))
	r := drift.Compare(b.Part(""), b.ID, true, w)
	for name, want := range map[string]drift.Verdict{
		"same": drift.Stable, "moved": drift.Material, "land": drift.Material, "rare": drift.Insufficient,
		"nulls": drift.Material, "somenulls": drift.Minor, "gone": drift.Material, "new": drift.Ignored, "error": drift.Stable,
		"id": drift.Material, // numbers instead of text: nothing usable is left of it
	} {
		if got := reported(r, name); got.Verdict != want {
			t.Errorf("%s is %v (%s), want %v", name, got.Verdict, got.Because, want)
		}
	}
	land := reported(r, "land")
	if !slices.Equal(land.Gone, []string{"US"}) || len(land.New) != 2 || !slices.Contains(land.New, "XX") {
		t.Errorf("gone %v, new %v", land.Gone, land.New)
	}
	if got := reported(r, "gone"); got.N != 0 || got.Missing != 1 || got.ReferenceMissing != 0 || got.Because != "missing 0 % -> 100 %" {
		t.Errorf("%+v", got)
	}
	if r.Drifting != 5 || r.Reference != b.ID || !r.Approved || r.ErrorRatio != 0 {
		t.Errorf("drifting %d, error ratio %v", r.Drifting, r.ErrorRatio)
	}
	sorted := r.Sorted()
	if len(sorted) != len(r.Signals) || sorted[0].Verdict != drift.Material || sorted[len(sorted)-1].Verdict != drift.Ignored {
		t.Errorf("sorted from %v to %v", sorted[0].Verdict, sorted[len(sorted)-1].Verdict)
	}
	empty := drift.Compare(b.Part(""), b.ID, true, &drift.Window{})
	if len(empty.Signals) != 0 || !math.IsNaN(empty.ErrorRatio) || !math.IsNaN(empty.LatencyP50) {
		t.Errorf("a window without events: %+v", empty)
	}
}

// A segment that the baseline has no part for is compared with nothing, not
// with the whole.
func TestSegmentWithoutReference(t *testing.T) {
	plan := func(e event.Event, name string) event.Event {
		e.Segments = []event.Segment{{Name: "plan", Value: name}}
		return e
	}
	lists := [][]string{{"plan"}, {"absent"}}
	b := baselineOf("m", drift.BuilderOptions{Segments: lists, MaxSegments: 1},
		plan(prediction("m", 0, "x", 1), "gold"), plan(prediction("m", 0, "x", 2), "gold"),
		plan(prediction("m", 0, "x", 3), "iron"), plan(prediction("m", 0, "x", 3), "tin"))
	if len(b.Parts) != 3 || b.Part("plan=gold").Rows != 2 || b.Part("plan=tin") != nil || b.Part("plan=iron").Reference("x").Numeric.N != 1 {
		t.Fatalf("%d parts", len(b.Parts)) // the whole and one for each list
	}
	w := counted(t, b, rows(200, func(int) []any { return []any{"x", 9} }))
	r := drift.Compare(b.Part("plan=tin"), b.ID, true, w)
	if r.Reference != "" || r.Approved || r.Drifting != 0 || reported(r, "x").Verdict != drift.Ignored {
		t.Errorf("reference %q, %d drifting", r.Reference, r.Drifting)
	}
}

func TestCompareAcrossEdges(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	draw := func(n int, shift float64) []event.Event {
		return rows(n, func(int) []any { return []any{"x", random.NormFloat64() + shift, "c", fmt.Sprint(random.IntN(3))} })
	}
	old := baselineOf("m", drift.BuilderOptions{}, draw(2000, 0)...)
	edges := func(name string) *stats.Edges {
		if r := old.Part("").Reference(name); r != nil && r.Type == drift.Numeric {
			return r.Numeric.Edges
		}
		return nil
	}
	kept := baselineOf("m", drift.BuilderOptions{Extra: edges}, draw(2000, 1)...)
	apart := baselineOf("m", drift.BuilderOptions{}, draw(2000, 1)...)
	if !kept.Part("").Reference("x").Numeric.Edges.Contains(edges("x")) || apart.Part("").Reference("x").Numeric.Edges.Contains(edges("x")) {
		t.Fatal("the edges of the older baseline are not kept")
	}
	live := draw(1000, 1)
	want := reported(drift.Compare(old.Part(""), "", true, counted(t, old, live)), "x")
	got := reported(drift.Compare(old.Part(""), "", true, counted(t, kept, live)), "x")
	if got.PSI != want.PSI || got.KSLo != want.KSLo { // counted on finer edges, compared on the old ones: exact
		t.Errorf("psi %v and ks %v, want %v and %v", got.PSI, got.KSLo, want.PSI, want.KSLo)
	}
	strange := drift.Compare(old.Part(""), "", true, counted(t, apart, live))
	if s := reported(strange, "x"); s.KSHi < want.KSLo { // few edges in common: a wide interval, but a true one
		t.Errorf("ks_hi %v is below %v", s.KSHi, want.KSLo)
	}
	if s := reported(drift.Compare(old.Part(""), "", true, counted(t, baselineOf("m", drift.BuilderOptions{}, rows(200, func(i int) []any { return []any{"c", fmt.Sprint("other", i%3)} })...), live)), "c"); !math.IsNaN(s.PSI) || s.Verdict != drift.Insufficient {
		t.Errorf("another dictionary: psi %v, %v", s.PSI, s.Verdict)
	}
}

func TestMovingAndCaptured(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	draw := func(shift float64) []event.Event {
		return rows(1000, func(int) []any {
			return []any{"x", random.NormFloat64() + shift, "c", fmt.Sprint(random.IntN(3)), "unknown", random.Float64(), "unnamed", fmt.Sprint(random.IntN(2))}
		})
	}
	b := baselineOf("m", drift.BuilderOptions{}, rows(2000, func(int) []any { return []any{"x", random.NormFloat64(), "c", fmt.Sprint(random.IntN(3))} })...)
	then, now := counted(t, b, draw(1)), counted(t, b, draw(1))
	then.Group.Model, then.Group.Version, then.Group.Segment = "m", "3", "plan=gold"
	moving := drift.MovingPart(then, b.Part(""))
	if s := reported(drift.Compare(moving, "previous_window", true, now), "x"); s.Verdict != drift.Stable || s.M != 1000 {
		t.Errorf("against the window before: %+v", s)
	}
	if s := reported(drift.Compare(b.Part(""), b.ID, true, now), "x"); s.Verdict != drift.Material {
		t.Errorf("against the baseline: %+v", s)
	}
	bare := drift.MovingPart(then, nil)
	if s := reported(drift.Compare(bare, "previous_window", true, now), "x"); !math.IsNaN(s.PSI) || math.IsNaN(s.KSLo) || bare.Reference("x").Ties != nil {
		t.Errorf("without cells there is KS only: %+v", s)
	}
	origin := drift.Origin{Kind: "capture", Actor: "ana", From: t0, To: t0.Add(time.Hour), Rows: 1000}
	captured := drift.FromWindow(then, b, origin)
	if len(captured.Parts) != 1 || captured.Parts[0].Segment != "" || captured.Version != "" || captured.State != drift.Approved || captured.Model != "m" {
		t.Errorf("%+v", captured)
	}
	if captured.Part("").Reference("unknown") != nil || captured.Part("").Reference("unnamed") != nil {
		t.Error("a signal without bins is a reference")
	}
	again := drift.FromWindow(then, b, drift.Origin{Kind: "capture", Actor: "bob", From: t0, To: t0.Add(time.Hour), Rows: 1000})
	if captured.ID != again.ID || captured.ID == b.ID || captured.ID == drift.FromWindow(now, b, origin).ID {
		t.Error("the identity is not that of what was counted")
	}
	w := newWorld(t, testSpec())
	w.adopt(captured)
	w.add(prediction("m", 0, "x", 1, "c", "1"))
	w.restart()
	w.tick(time.Hour)
	if s := w.panes[0].Signal("x"); !s.Numeric.Edges.Same(b.Part("").Reference("x").Numeric.Edges) {
		t.Error("a captured baseline has other edges")
	}
	if _, err := drift.MovingPart(&drift.Window{Signals: []drift.Signal{{Name: "x", Type: drift.Numeric, Numeric: &stats.Numeric{}}}}, nil).Count(nil); err == nil {
		t.Error("counted on a reference without edges")
	}
	if x := counted(t, b, nil); x.Events != 0 || len(x.Signals) != 0 || x.State != drift.Closed || x.Learning {
		t.Errorf("no rows: %+v", x)
	}
}
