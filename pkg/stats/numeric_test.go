package stats_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/stats"
)

func TestBuildEdgesShape(t *testing.T) {
	ulp := func(x float64) float64 { return math.Nextafter(x, math.Inf(-1)) + 0 }
	inf := math.Inf(1)
	for _, c := range []struct {
		name   string
		sorted []float64
		k      int
		extra  []float64
		want   []float64
	}{
		{"empty", nil, 8, nil, nil},
		{"empty with declared", nil, 8, []float64{3, 1, math.NaN(), inf, 1}, []float64{1, 3}},
		{"constant", []float64{7, 7, 7}, 8, nil, []float64{ulp(7), 7}},
		{"signed zeros are one", []float64{math.Copysign(0, -1), 0}, 8, nil, []float64{-5e-324, 0}},
		{"infinities left out", []float64{-inf, 1, inf}, 8, nil, []float64{ulp(1), 1}},
		{"pairs", []float64{1, 2, 3, 4, 5, 6}, 3, nil, []float64{ulp(1), 2, 4, 6}},
		{"an atom between", []float64{1, 2, 2, 2, 3, 4}, 3, nil, []float64{ulp(1), 1, ulp(2), 2, 4}},
		{"floor, not ceil", []float64{1, 2, 3, 4, 5}, 2, nil, []float64{ulp(1), 2, 4, 5}},
		{"lowest float", []float64{-math.MaxFloat64, 0}, 8, nil, []float64{-math.MaxFloat64, -5e-324, 0}},
		{"no resolution", []float64{1, 2, 3}, 0, nil, []float64{ulp(1), 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := stats.BuildEdges(c.sorted, c.k, c.extra...)
			if diff := cmp.Diff(append([]float64{}, c.want...), append([]float64{}, got.Values()...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	large := stats.BuildEdges(sequence(70_000), 1_000_000)
	if large.Len() > stats.MaxEdges {
		t.Errorf("%d edges, more than can be stored", large.Len())
	}
	crowd := stats.BuildEdges(sequence(10), 8, sequence(70_000)...) // too many for a table: plain search
	if got := crowd.Bin(69_998.5); got != plainBin(crowd.Values(), 69_998.5) {
		t.Errorf("bin %d among %d edges", got, crowd.Len())
	}
}

func sequence(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(i)
	}
	return xs
}

func TestQuantileEdges(t *testing.T) {
	for _, c := range []struct {
		name   string
		sorted []float64
		want   []float64
	}{
		{"ten values", sequence(10), []float64{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"atom of half", append(make([]float64, 10), sequence(11)[1:]...), []float64{-5e-324, 0, 2, 4, 6, 8}},
		{"constant", []float64{7, 7}, []float64{math.Nextafter(7, 0), 7}},
		{"one value", []float64{7}, []float64{math.Nextafter(7, 0), 7}},
		{"none", nil, []float64{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, append([]float64{}, stats.QuantileEdges(c.sorted, 10).Values()...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Edges are kept as integers in their order, in which -0 stands between +0 and what
// is below it.
func TestPointsAroundZero(t *testing.T) {
	const tiny = math.SmallestNonzeroFloat64
	for _, c := range []struct {
		name   string
		edges  []float64
		points []bool
	}{
		{"zero", []float64{-tiny, 0}, []bool{false, true, false}},
		{"below and above zero", []float64{-2 * tiny, -tiny, 0, tiny}, []bool{false, true, true, true, false}},
		{"no zero", []float64{-tiny, tiny}, []bool{false, false, false}},
		{"two steps", []float64{-3 * tiny, -tiny, tiny, 3 * tiny}, []bool{false, false, false, false, false}},
		{"the largest", []float64{-math.MaxFloat64, math.Nextafter(math.MaxFloat64, 0), math.MaxFloat64}, []bool{false, false, true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := mustEdges(t, c.edges...)
			if diff := cmp.Diff(c.edges, e.Values()); diff != "" {
				t.Error(diff)
			}
			for i, want := range c.points {
				if got := e.Point(i); got != want {
					t.Errorf("bin %d: point %v", i, got)
				}
			}
		})
	}
}

func TestBounds(t *testing.T) {
	e := mustEdges(t, 1, 2, math.Nextafter(2, 3))
	for i, want := range [][2]float64{{math.Inf(-1), 1}, {1, 2}, {2, math.Nextafter(2, 3)}, {math.Nextafter(2, 3), math.Inf(1)}} {
		if lo, hi := e.Bounds(i); lo != want[0] || hi != want[1] {
			t.Errorf("bin %d: (%v, %v], want %v", i, lo, hi, want)
		}
		if got := e.Point(i); got != (i == 2) {
			t.Errorf("bin %d: point %v", i, got)
		}
	}
	if e.ID() == mustEdges(t, 1, 2).ID() || e.ID() != mustEdges(t, 1, 2, math.Nextafter(2, 3)).ID() {
		t.Error("an id does not follow the edges")
	}
	if !e.Same(e) || e.Same(nil) {
		t.Error("Same")
	}
	// lookups of what a histogram never asks for stay inside
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if b := e.Bin(x); b < 0 || b >= e.Bins() {
			t.Errorf("bin of %v = %d", x, b)
		}
		counts := make([]uint32, e.Bins())
		e.AddColumn(counts, []float64{x, x, x, x, x})
	}
}

func TestMomentsExtremes(t *testing.T) {
	m := stats.Moments{}
	if !math.IsNaN(m.SD()) {
		t.Error("sd of nothing")
	}
	for _, x := range []float64{math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64, math.Copysign(0, -1)} {
		m.Add(x)
	}
	if math.IsNaN(m.Mean) || math.IsInf(m.Mean, 0) || !math.IsInf(m.M2, 1) || m.N != 4 || !math.IsInf(m.SD(), 1) {
		t.Errorf("values at both ends of the range: %+v", m)
	}
	a, b := stats.Moments{}, stats.Moments{}
	a.Add(math.MaxFloat64)
	b.Add(-math.MaxFloat64)
	a.Merge(b)
	if a.Mean != 0 || a.N != 2 || a.Min != -math.MaxFloat64 {
		t.Errorf("merged ends of the range: %+v", a)
	}
	a.Merge(stats.Moments{NaN: 2})
	if a.N != 2 || a.NaN != 2 || a.Total() != 4 {
		t.Errorf("merged with nothing finite: %+v", a)
	}
	// Welford's textbook case: 1e9 + {4, 7, 13, 16} has variance 30 (population 22.5)
	w := stats.Moments{}
	w.AddColumn([]float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16})
	near(t, "mean", w.Mean, 1e9+10, 1e-6)
	near(t, "variance", w.SD()*w.SD(), 22.5, 1e-6)
}

func TestQuantileAndCDF(t *testing.T) {
	h := count(mustEdges(t, 0, 10, 20, math.Nextafter(30, 0), 30), []float64{5, 10, 12, 20, 30, 30, 30, 40})
	for _, c := range []struct{ p, want float64 }{
		{-1, 5}, {0, 5}, {.25, 10}, {.5, 20}, {.75, 30}, {.99, 39.2}, {1, 40}, {2, 40},
	} {
		near(t, "quantile", h.Quantile(c.p), c.want, 1e-9)
	}
	for _, c := range []struct{ x, want float64 }{{-5, 0}, {5, 0}, {10, .25}, {15, .375}, {20, .5}, {29, .5}, {30, .875}, {35, .9375}, {40, 1}, {50, 1}} {
		near(t, "cdf", h.CDF(c.x), c.want, 1e-9)
	}
	learning := stats.NewNumeric(nil)
	learning.AddColumn([]float64{1, 2})
	learning.Add(3)
	if learning.N != 3 || !math.IsNaN(learning.Quantile(.5)) || !math.IsNaN(learning.CDF(1)) || !math.IsNaN(learning.AtomMass()) {
		t.Errorf("learning: %+v", learning)
	}
	if !math.IsNaN(h.Quantile(math.NaN())) {
		t.Error("quantile of NaN")
	}
	near(t, "atoms", h.AtomMass(), 3./8, 1e-15)
	if err := learning.Merge(learning.Clone()); err != nil || learning.N != 6 {
		t.Errorf("merge while learning: %v", err)
	}
}

// |F-G| of uniforms on (0,1] and (.5,1.5] is .5 in the middle and a triangle on
// both sides: W1 = .5; inside [.5, 1] alone .25.
func TestWasserstein(t *testing.T) {
	const n = 1000
	var a, b []float64
	for i := range n {
		x := (float64(i) + 1) / n
		a, b = append(a, x), append(b, x+.5)
	}
	edges := mustEdges(t, 0, .5, 1, 1.5)
	ref, cur := count(edges, a), count(edges, b)
	inf := math.Inf(1)
	near(t, "w1", stats.Wasserstein(ref, cur, -inf, inf), .5, .003)
	near(t, "middle", stats.Wasserstein(ref, cur, .5, 1), .25, .002)
	near(t, "half a side", stats.Wasserstein(ref, cur, 0, .25), .25*.25/2, .001)
	near(t, "nothing", stats.Wasserstein(ref, cur, 2, 1), 0, 0)
	// F-G runs from +.25 to -.25 inside (1, 2]: two triangles of .0625
	three := mustEdges(t, 0, 1, 2, 3)
	left, right := count(three, []float64{.5, .5, 3, 3}), count(three, []float64{.5, 1.5, 2, 2.5})
	near(t, "crossing", stats.Wasserstein(left, right, 1, 2), .125, 1e-15)
	if !math.IsNaN(stats.Wasserstein(ref, left, 0, 1)) || !math.IsNaN(stats.Wasserstein(ref, cur, math.NaN(), 1)) ||
		!math.IsNaN(stats.Wasserstein(ref, stats.NewNumeric(edges), 0, 1)) {
		t.Error("undefined distances")
	}
}

// TestCDFOfAHugeRange: the width of a bin overflows, and the share of values below a
// number in it does not.
func TestCDFOfAHugeRange(t *testing.T) {
	h := count(mustEdges(t, -math.MaxFloat64, math.MaxFloat64), []float64{-math.MaxFloat64, math.MaxFloat64})
	for _, c := range []struct{ x, want float64 }{{-math.MaxFloat64, .5}, {0, .75}, {math.MaxFloat64 / 2, .875}, {math.MaxFloat64, 1}} {
		near(t, "cdf", h.CDF(c.x), c.want, 1e-15)
	}
	if got := h.Transform(.5, 0); sum(got.Counts) != 2 {
		t.Errorf("of half of it: %v, want 2 values", got.Counts)
	}
}

// TestEdgesOfZeros: -0 and +0 are one edge, as they are one value.
func TestEdgesOfZeros(t *testing.T) {
	e := stats.BuildEdges(nil, 1, math.Copysign(0, -1), 0, 1)
	if got := e.Values(); len(got) != 2 || math.Signbit(got[0]) || e.ID() != mustEdges(t, 0, 1).ID() {
		t.Errorf("edges %v, want 0 and 1", got)
	}
}
