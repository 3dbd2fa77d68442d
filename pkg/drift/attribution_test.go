package drift_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// spreadOf is n values evenly over [lo, lo+100).
func spreadOf(n int, lo float64) []event.Event {
	return rows(n, func(i int) []any { return []any{"x", lo + 100*float64(i)/float64(n)} })
}

// versions counts events as windows of versions "1", "2", ... of one model.
func versions(t *testing.T, b *drift.Baseline, parts ...[]event.Event) (out []*drift.Window) {
	t.Helper()
	for i, events := range parts {
		w := counted(t, b, events)
		w.Group = drift.Group{Model: "m", Version: string(rune('1' + i))}
		out = append(out, w)
	}
	return out
}

func TestAttribute(t *testing.T) {
	b := baselineOf("m", drift.BuilderOptions{}, spreadOf(4000, 0)...)
	groups := versions(t, b, spreadOf(3000, 0), spreadOf(1000, 60), nil)
	a, ok := drift.Attribute(b.Part(""), groups, nil, "x")
	if !ok || a.Missing {
		t.Fatalf("attribution %+v, %v", a, ok)
	}
	total, err := drift.Sum(groups)
	if err != nil {
		t.Fatal(err)
	}
	whole := drift.Compare(b.Part(""), b.ID, true, total)
	if !near(a.PSI.Value, reported(whole, "x").PSI, 1e-12) {
		t.Errorf("psi %v, the report says %v", a.PSI.Value, reported(whole, "x").PSI)
	}
	cells, shares, weights := 0.0, 0.0, 0.0
	for _, c := range a.Cells {
		cells += c.PSI
	}
	for _, g := range a.Groups {
		shares, weights = shares+g.Share, weights+g.Weight
	}
	if !near(cells, a.PSI.Value, 1e-12) || !near(shares, 1, 1e-12) || !near(weights, 1, 1e-12) {
		t.Errorf("cells sum to %v of %v, shares to %v, weights to %v", cells, a.PSI.Value, shares, weights)
	}
	if g := a.Groups[1]; g.N != 1000 || !near(g.Weight, .25, 1e-12) || g.Share < .9 || g.PSI < 1 {
		t.Errorf("the version that moved: %+v", g)
	}
	if last := a.Cells[len(a.Cells)-1]; !strings.HasPrefix(last.Name, "> ") || last.Cur <= last.Ref {
		t.Errorf("the cell that grew: %+v", last)
	}
	if _, ok := drift.Attribute(b.Part(""), groups, nil, "y"); ok {
		t.Error("a signal that the reference does not have was attributed")
	}
	if _, ok := drift.Attribute(b.Part(""), versions(t, b, nil), nil, "x"); ok {
		t.Error("a window without events was attributed")
	}
}

func TestAttributeMissingValues(t *testing.T) {
	b := baselineOf("m", drift.BuilderOptions{}, spreadOf(4000, 0)...)
	half := rows(1000, func(i int) []any {
		if i%2 == 0 {
			return []any{"x", nil}
		}
		return []any{"x", float64(i) / 10}
	})
	a, ok := drift.Attribute(b.Part(""), versions(t, b, spreadOf(1000, 0), half), nil, "x")
	if !ok || !a.Missing || len(a.Cells) != 2 || a.Cells[0].Name != "missing" || !near(a.Cells[0].Cur, .25, 1e-12) {
		t.Fatalf("attribution %+v, %v", a, ok)
	}
	if a.Groups[1].Share < .9 {
		t.Errorf("the version that lost its values brings %v", a.Groups[1].Share)
	}
}

func TestAttributeCategories(t *testing.T) {
	names := []string{"DE", "FR", "US"}
	b := baselineOf("m", drift.BuilderOptions{}, rows(3000, func(i int) []any { return []any{"c", names[i%3]} })...)
	a, ok := drift.Attribute(b.Part(""), versions(t, b, rows(500, func(i int) []any { return []any{"c", []string{"DE", "ZZ"}[i%2]} })), nil, "c")
	if !ok {
		t.Fatal("nothing was attributed")
	}
	byName := map[string]float64{}
	for _, c := range a.Cells {
		byName[c.Name] = c.Cur
	}
	if byName["DE"] != .5 || byName["(unseen)"] != .5 || byName["US"] != 0 {
		t.Errorf("cells %+v", a.Cells)
	}
}

// Segments are parts of the whole, and what they leave is a part of its own.
func TestAttributeSegments(t *testing.T) {
	b := baselineOf("m", drift.BuilderOptions{}, spreadOf(4000, 0)...)
	whole := versions(t, b, append(spreadOf(1000, 0), spreadOf(500, 60)...), spreadOf(500, 0))
	part := func(name string, events []event.Event) *drift.Window {
		w := counted(t, b, events)
		w.Group = drift.Group{Model: "m", Segment: name}
		return w
	}
	app, web := part("channel=app", spreadOf(500, 60)), part("channel=web", spreadOf(1000, 0))
	a, ok := drift.Attribute(b.Part(""), whole, []*drift.Window{app, web}, "x")
	if !ok || len(a.Groups) != 3 {
		t.Fatalf("attribution %+v, %v", a, ok)
	}
	sum := 0.0
	for _, g := range a.Groups {
		sum += g.Share
	}
	none := a.Groups[2]
	if !near(sum, 1, 1e-12) || a.Groups[0].Share < .9 || none.Group.Segment != drift.NoSegment || none.N != 500 {
		t.Errorf("groups %+v sum to %v", a.Groups, sum)
	}
	if a, ok := drift.Attribute(b.Part(""), whole, []*drift.Window{app, web, web}, "x"); ok {
		t.Errorf("parts that overlap were attributed: %+v", a)
	}
}

func TestSource(t *testing.T) {
	b := baselineOf("m", drift.BuilderOptions{}, spreadOf(4000, 0)...)
	attribute := func(parts ...[]event.Event) drift.Attribution {
		t.Helper()
		a, ok := drift.Attribute(b.Part(""), versions(t, b, parts...), nil, "x")
		if !ok {
			t.Fatal("nothing was attributed")
		}
		return a
	}
	split, both, alone := attribute(spreadOf(3000, 0), spreadOf(1000, 60)), attribute(spreadOf(3000, 40), spreadOf(1000, 40)), attribute(spreadOf(2000, 40))
	third := attribute(spreadOf(1000, 0), spreadOf(1000, 40), spreadOf(1000, 60))
	few := attribute(spreadOf(50, 60))
	since := t0
	for name, c := range map[string]struct {
		a     drift.Attribution
		began map[string]time.Time // by version
		want  drift.Source
		why   string
	}{
		"all versions alike":           {both, nil, drift.Upstream, "both versions moved alike"},
		"a canary since its beginning": {split, map[string]time.Time{"2": since.Add(5 * time.Minute)}, drift.Release, "version 2 brings"},
		"a canary that was there":      {split, nil, drift.Undecided, "served before the change too"},
		"a canary that came later":     {split, map[string]time.Time{"2": since.Add(time.Hour)}, drift.Undecided, "its first traffic was at"},
		"a new version for all":        {alone, map[string]time.Time{"1": since}, drift.Release, "version 1 brings 100 % of the move with 100 % of the values"},
		"one old version":              {alone, nil, drift.Upstream, "only version 1 served"},
		"two of three":                 {third, nil, drift.Undecided, "version 3 brings"},
		"too few values":               {few, nil, drift.Undecided, "too few values by version"},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := c.a.Source(since, 10*time.Minute, func(g drift.Group) time.Time { return c.began[g.Version] })
			if got != c.want || !strings.Contains(why, c.why) {
				t.Errorf("%v because %q, want %v because %q", got, why, c.want, c.why)
			}
		})
	}
}

func TestGlance(t *testing.T) {
	b := baselineOf("m", drift.BuilderOptions{}, rows(3000, func(i int) []any {
		return []any{"x", float64(i % 1000), "c", "c" + string(rune('a'+i%20)), "k", 5.0}
	})...)
	w := counted(t, b, rows(1000, func(i int) []any {
		return []any{"x", float64(i%1000) + 300, "c", []string{"ca", "zz"}[i%2], "k", 5.0}
	}))
	for _, name := range []string{"x", "c"} {
		g, ok := drift.Glance(b.Part("").Reference(name), w.Signal(name), 12)
		if !ok || len(g.From) != len(g.To) || len(g.From) > 12 || len(g.Names)+len(g.Edges) < 9 {
			t.Fatalf("%s: %+v, %v", name, g, ok)
		}
		from, to := 0.0, 0.0
		for i := range g.From {
			from, to = from+g.From[i], to+g.To[i]
		}
		if math.Abs(from-1) > 1e-9 || math.Abs(to-1) > 1e-9 {
			t.Errorf("%s: shares sum to %v and %v", name, from, to)
		}
	}
	if g, ok := drift.Glance(b.Part("").Reference("k"), w.Signal("k"), 12); ok {
		t.Errorf("a constant was drawn: %+v", g)
	}
	if _, ok := drift.Glance(b.Part("").Reference("x"), nil, 12); ok {
		t.Error("a signal without values was drawn")
	}
}
