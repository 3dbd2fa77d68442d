package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// Two groups of equal weight: one as the reference, one that moved. What stays
// brings a part of the smoothing alone, and both sum to the PSI of the total.
func TestContributionsByHand(t *testing.T) {
	s := stats.Split{Ref: []uint64{500, 500}, Groups: [][]uint64{{250, 250}, {50, 450}}}
	got := s.Contributions()
	psi := stats.NewPSI(s.Ref, s.Total())
	near(t, "sum", got[0]+got[1], psi.Value, 1e-12)
	// By hand: q = (300.5, 700.5)/1001, p = 1/2, so the whole move is
	// (q2 - q1)/2 * ln(q2/q1) = .1998 * .8464; the first group has q_g = p.
	near(t, "the total", psi.Value, 0.19980019980019981*math.Log(700.5/300.5), 1e-12)
	near(t, "who stays", got[0], 0, 1e-12)
}

// Contributions sum to the PSI of the total, whatever the counts.
func TestContributionsSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		cells, groups := 2+rng.IntN(30), 1+rng.IntN(8)
		count := func() []uint64 {
			out := make([]uint64, cells)
			for i := range out {
				if rng.IntN(3) > 0 {
					out[i] = uint64(rng.IntN(1000))
				}
			}
			return out
		}
		s := stats.Split{Ref: count()}
		for range groups {
			s.Groups = append(s.Groups, count())
		}
		s.Groups = append(s.Groups, make([]uint64, cells)) // nobody's
		psi, sum := stats.NewPSI(s.Ref, s.Total()), 0.0
		if math.IsNaN(psi.Value) {
			continue // a side is empty
		}
		got := s.Contributions()
		for _, c := range got {
			sum += c
		}
		if math.Abs(sum-psi.Value) > 1e-9*(1+psi.Value) && psi.Value > 1e-9 {
			t.Fatalf("contributions of %v sum to %v, the PSI is %v", s, sum, psi.Value)
		}
		if got[len(got)-1] != 0 {
			t.Fatalf("a group without values brings %v", got[len(got)-1])
		}
	}
}

func TestContributionsOfNothing(t *testing.T) {
	for _, s := range []stats.Split{
		{Ref: []uint64{0, 0}, Groups: [][]uint64{{1, 2}}},
		{Ref: []uint64{1, 2}, Groups: [][]uint64{{0, 0}}},
	} {
		if got := s.Contributions(); !math.IsNaN(got[0]) {
			t.Errorf("%v: %v, want NaN", s, got)
		}
	}
}

func TestSplitNumeric(t *testing.T) {
	edges, cells := mustEdges(t, 1, 2, 3, 4), mustEdges(t, 2, 4)
	ref, cur := stats.NewNumeric(edges), stats.NewNumeric(edges)
	for _, x := range []float64{1, 2, 3, 4, 5} {
		ref.Add(x)
		cur.Add(x + 1)
	}
	s, ok := stats.SplitNumeric(ref, []*stats.Numeric{cur, nil, stats.NewNumeric(nil)}, cells)
	if !ok || s.Ref[0] != 2 || s.Groups[0][0] != 1 || s.Groups[0][2] != 2 || s.Groups[1][1] != 0 || len(s.Groups) != 3 {
		t.Errorf("split %+v, %v", s, ok)
	}
	learning, other := stats.NewNumeric(nil), stats.NewNumeric(mustEdges(t, 7))
	learning.Add(1)
	other.Add(1)
	for name, bad := range map[string]func() (stats.Split, bool){
		"no cells":        func() (stats.Split, bool) { return stats.SplitNumeric(ref, nil, nil) },
		"other reference": func() (stats.Split, bool) { return stats.SplitNumeric(other, nil, cells) },
		"other edges":     func() (stats.Split, bool) { return stats.SplitNumeric(ref, []*stats.Numeric{other}, cells) },
		"learning":        func() (stats.Split, bool) { return stats.SplitNumeric(ref, []*stats.Numeric{learning}, cells) },
	} {
		if s, ok := bad(); ok {
			t.Errorf("%s: split %+v", name, s)
		}
	}
}

func TestSplitCategorical(t *testing.T) {
	_, ref := stats.BuildDictionary(map[string]uint64{"a": 60, "b": 40}, 10)
	cur := stats.NewCategorical(ref.Dict)
	cur.AddN("a", 10)
	cur.AddN("new", 5)
	s, ok := stats.SplitCategorical(ref, []*stats.Categorical{cur, nil})
	if !ok || s.Groups[0][0] != 10 || s.Groups[0][3] != 5 || len(s.Groups[1]) != 4 {
		t.Errorf("split %+v, %v", s, ok)
	}
	_, other := stats.BuildDictionary(map[string]uint64{"c": 1}, 10)
	if _, ok := stats.SplitCategorical(ref, []*stats.Categorical{other}); ok {
		t.Error("another dictionary was split")
	}
	if _, ok := stats.SplitCategorical(&stats.Categorical{N: 3}, nil); ok {
		t.Error("no dictionary was split")
	}
}

func TestGlanceEdges(t *testing.T) {
	values := make([]float64, 1000)
	for i := range values {
		values[i] = float64(i)
	}
	edges := stats.BuildEdges(values, 200)
	ref, cur := stats.NewNumeric(edges), stats.NewNumeric(edges)
	for _, x := range values {
		ref.Add(x)
		cur.Add(x/2 + 300)
	}
	got := stats.GlanceEdges(ref, cur, 12)
	if got.Len() != 11 || !edges.Contains(got) {
		t.Fatalf("edges %v", got.Values())
	}
	for i, x := range got.Values() { // of equal width within two bins of the 200
		near(t, "edge", x, 5+float64(i)*99, 10)
	}
	constant, one := stats.NewNumeric(edges), stats.NewNumeric(edges)
	constant.Add(7)
	one.Add(7)
	if got := stats.GlanceEdges(constant, one, 12); got.Len() > 1 {
		t.Errorf("edges %v of a constant", got.Values())
	}
	if got := stats.GlanceEdges(ref, stats.NewNumeric(edges), 12); got.Len() != 0 {
		t.Errorf("edges %v of a side without values", got.Values())
	}
}
