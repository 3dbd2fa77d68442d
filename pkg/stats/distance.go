package stats

import "math"

// ChiSquare is Pearson's two-sample test on counts.
type ChiSquare struct {
	Stat, DF, P float64
}

// SparseExpected is the expectation below which cells are merged before a
// chi-square test.
const SparseExpected = 5

// NewChiSquare tests whether two count vectors come from one distribution;
// cells empty on both sides are dropped. Special cases are: NaN when a side is
// empty; Stat 0 and P 1 when one cell is left.
func NewChiSquare(ref, cur []uint64) ChiSquare {
	t := newTable(ref, cur)
	if t.m == 0 || t.n == 0 {
		return ChiSquare{math.NaN(), math.NaN(), math.NaN()}
	}
	stat := 0.0
	for i := range ref {
		a, c := float64(ref[i]), float64(cur[i])
		if a+c > 0 {
			d := a*t.n - c*t.m
			stat += d / t.m * (d / t.n) / (a + c)
		}
	}
	df := float64(t.cells - 1)
	return ChiSquare{stat, df, ChiSquareTail(stat, df)}
}

// MergeSparse sums all cells in which the reference leads to expect fewer than
// expected of cur's values into one more cell. Which cells are merged depends
// on the reference and on the size of cur only, never on cur's shares: a
// choice by the data tested would bias the test.
func MergeSparse(ref, cur []uint64, expected float64) (a, c []uint64) {
	t := newTable(ref, cur)
	a, c = make([]uint64, 0, len(ref)+1), make([]uint64, 0, len(ref)+1)
	var restA, restC uint64
	for i, r := range ref {
		if float64(r)*t.n < expected*t.m {
			restA, restC = restA+r, restC+cur[i]
			continue
		}
		a, c = append(a, r), append(c, cur[i])
	}
	if restA+restC > 0 {
		a, c = append(a, restA), append(c, restC)
	}
	return a, c
}

// JensenShannon returns the Jensen-Shannon divergence in nats, in [0, ln 2].
// Special cases are: NaN when a side is empty.
func JensenShannon(ref, cur []uint64) float64 {
	t := newTable(ref, cur)
	sum := 0.0
	for i := range ref {
		p, q := float64(ref[i])/t.m, float64(cur[i])/t.n
		mid := (p + q) / 2
		if p > 0 {
			sum += p * math.Log(p/mid)
		}
		if q > 0 {
			sum += q * math.Log(q/mid)
		}
	}
	return nanUnless(t, max(0, sum/2))
}

// Hellinger returns the Hellinger distance sqrt(1/2 sum (sqrt p - sqrt q)^2), in
// [0, 1]. Special cases are: NaN when a side is empty.
func Hellinger(ref, cur []uint64) float64 {
	t := newTable(ref, cur)
	sum := 0.0
	for i := range ref {
		d := math.Sqrt(float64(ref[i])/t.m) - math.Sqrt(float64(cur[i])/t.n)
		sum += d * d
	}
	return nanUnless(t, min(1, math.Sqrt(sum/2)))
}

func nanUnless(t table, v float64) float64 {
	if t.m == 0 || t.n == 0 {
		return math.NaN()
	}
	return v
}

// Wasserstein returns the first Wasserstein distance between two histograms on
// the same edges, restricted to [from, to]: the integral of |F-G| there, in
// the unit of the values. F and G are taken as linear inside a bin, so it is
// exact where bins are points or empty. Infinite limits mean the range of the
// data. Special cases are: NaN when a side is empty, edges differ, or the
// limits are NaN; 0 when to <= from.
func Wasserstein(ref, cur *Numeric, from, to float64) float64 {
	if ref.N == 0 || cur.N == 0 || ref.Edges == nil || !ref.Edges.Same(cur.Edges) || from != from || to != to {
		return math.NaN()
	}
	from, to = max(from, min(ref.Min, cur.Min)), min(to, max(ref.Max, cur.Max))
	edges := ref.Edges
	m, n := 1/float64(ref.N), 1/float64(cur.N)
	var cf, cg uint64
	sum, before, lo := 0.0, 0.0, math.Min(ref.Min, cur.Min)
	for i, a := range ref.Counts {
		cf, cg = cf+a, cg+cur.Counts[i]
		after := float64(cf)*m - float64(cg)*n
		hi := max(ref.Max, cur.Max)
		if i < edges.n {
			hi = min(hi, edges.at(i))
		}
		if hi > lo {
			end := after
			if edges.Point(i) { // nothing below the point itself
				end = before
			}
			if hi > from && lo < to {
				sum += bandArea(lo, hi, before, end, from, to)
			}
			lo = hi
		}
		before = after
	}
	return sum
}

// bandArea integrates |d| over [lo, hi] cut to [from, to], where d runs linearly
// from before at lo to after at hi.
func bandArea(lo, hi, before, after, from, to float64) float64 {
	width := hi - lo
	l, r := max(lo, from), min(hi, to)
	if l > lo || r < hi {
		slope := (after - before) / width
		before, after = before+slope*(l-lo), before+slope*(r-lo)
		width = r - l
	}
	b, a := math.Abs(before), math.Abs(after)
	if before*after >= 0 {
		return width * (a + b) / 2
	}
	return width * (a*a + b*b) / (2 * (a + b))
}
