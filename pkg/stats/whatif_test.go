package stats_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// TestTransformIsNear compares a transformed histogram with a direct count of the
// transformed values: within the largest share of a bin, as its comment promises.
func TestTransformIsNear(t *testing.T) {
	const m, n = 20_000, 5000
	for _, family := range families {
		random := rand.New(rand.NewPCG(7, 7))
		sorted := sortedDraw(family, m, random)
		edges, _ := stats.BaselineEdges(sorted, 256)
		values := make([]float64, n)
		for i := range values {
			values[i] = sorted[random.IntN(m)]
		}
		h := count(edges, values)
		for _, c := range []struct{ scale, shift float64 }{{1, .25 * h.SD()}, {1, -h.SD()}, {1.3, 0}, {.5, 0}} {
			moved := make([]float64, n)
			for i, x := range values {
				moved[i] = x*c.scale + c.shift
			}
			want, got := count(edges, moved), h.Transform(c.scale, c.shift)
			if got.N != n || sum(got.Counts) != n {
				t.Fatalf("%s: %d values in %d counts", family.name, got.N, sum(got.Counts))
			}
			share := 0.
			for i, k := range h.Counts {
				if !edges.Point(i) {
					share = max(share, float64(k)/n)
				}
			}
			worst, a, b := 0., 0., 0.
			for i := range got.Counts {
				a, b = a+float64(got.Counts[i])/n, b+float64(want.Counts[i])/n
				worst = max(worst, math.Abs(a-b))
			}
			if worst > share+1e-3 { // counts are rounded, and an edge's preimage may miss an atom by one ulp
				t.Errorf("%s * %v + %v: the distance is %v, the largest share of a bin %v", family.name, c.scale, c.shift, worst, share)
			}
			if near := func(x, y float64) bool { return math.Abs(x-y) <= 1e-6*max(1, math.Abs(y)) }; !near(got.Mean, want.Mean) || !near(got.SD(), want.SD()) || !near(got.Min, want.Min) || !near(got.Max, want.Max) {
				t.Errorf("%s * %v + %v: moments %+v, want %+v", family.name, c.scale, c.shift, got.Moments, want.Moments)
			}
		}
	}
}

func sum(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func TestTransformOfNothing(t *testing.T) {
	edges := mustEdges(t, 1, 2, 3)
	if got := stats.NewNumeric(edges).Transform(2, 5); got.N != 0 || got.Mean != 0 || sum(got.Counts) != 0 {
		t.Errorf("of no value: %+v", got)
	}
	learning := stats.NewNumeric(nil)
	learning.Add(3)
	if got := learning.Transform(2, 1); got.Counts != nil || got.Mean != 7 || got.Min != 7 || got.Max != 7 {
		t.Errorf("without edges: %+v", got)
	}
}

func TestThin(t *testing.T) {
	edges := mustEdges(t, 1, 2, 3)
	h := count(edges, []float64{.5, .5, 1.5, 1.5, 2.5, 2.5, 2.5, 2.5, math.NaN(), math.Inf(1)})
	half := h.Thin(.5)
	if !slices.Equal(half.Counts, []uint64{1, 1, 2, 0}) || half.N != 4 || half.NaN != 1 || half.PosInf != 1 {
		t.Errorf("half of it: %v %+v", half.Counts, half.Moments)
	}
	near(t, "sd of a half", half.SD(), h.SD(), 1e-12)
	if none := h.Thin(0); none.N != 0 || sum(none.Counts) != 0 || none.Max != 0 || none.NaN != 1 {
		t.Errorf("nothing of it: %+v", none)
	}
	if !slices.Equal(h.Counts, []uint64{2, 2, 4, 0}) {
		t.Errorf("the histogram itself changed: %v", h.Counts)
	}
	learning := stats.NewNumeric(nil)
	learning.AddColumn([]float64{1, 2})
	if got := learning.Thin(.5); got.N != 1 || got.Counts != nil {
		t.Errorf("without edges: %+v", got)
	}

	_, ref := stats.BuildDictionary(map[string]uint64{"DE": 60, "FR": 30, "US": 10}, 2)
	ref.Add("new")
	thin := ref.Thin(.5)
	if thin.N != sum(thin.Counts)+thin.Other+thin.Unseen || thin.N < 50 || thin.N > 51 || ref.N != 101 {
		t.Errorf("half of the categories: %+v", thin)
	}
}
