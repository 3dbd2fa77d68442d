package stats

import "math"

// PSI compares shares in cells: the population stability index with what is
// needed to read it. s below is 1/n + 1/m, B the number of cells.
type PSI struct {
	Cells    int     // B: cells that are not empty on both sides
	Value    float64 // Jeffreys-smoothed: half a count in each cell
	Raw      float64 // unsmoothed; +Inf with a cell empty on one side
	Debiased float64 // Value - NoiseFloor
	Floor    float64 // (B-1) s: the mean when nothing changed
	Lo, Hi   float64 // 95 % interval by the delta method around Debiased, cut at 0
	P        float64 // P(chi-square with B-1 degrees >= Value/s)
}

// NewPSI compares cur with ref, counts in the same cells.
//
// Cells empty on both sides are dropped first: their smoothing would fabricate
// a distance between samples of unequal size. The law of P holds from some 100
// values on (statistics.md 3; Yurdakul 2018); with many sparse cells it is
// conservative. Special cases are: all NaN but Cells when a side is empty;
// 0 with P 1 when one cell is left.
func NewPSI(ref, cur []uint64) PSI {
	t := newTable(ref, cur)
	r := PSI{Cells: t.cells}
	if t.m == 0 || t.n == 0 {
		nan := math.NaN()
		r.Value, r.Raw, r.Debiased, r.Floor, r.Lo, r.Hi, r.P = nan, nan, nan, nan, nan, nan, nan
		return r
	}
	var sum, raw moment2
	half := float64(t.cells) / 2
	for i := range ref {
		a, c := float64(ref[i]), float64(cur[i])
		if a+c == 0 {
			continue
		}
		p, q := (a+0.5)/(t.m+half), (c+0.5)/(t.n+half)
		log := math.Log(q / p)
		sum.value += (q - p) * log
		sum.left(p, -log+1-q/p)
		sum.right(q, log+1-p/q)
		raw.value += rawTerm(a/t.m, c/t.n)
	}
	s := 1/t.m + 1/t.n
	r.Value, r.Raw = max(0, sum.value), raw.value
	r.Floor = float64(t.cells-1) * s
	r.Debiased = r.Value - r.Floor
	width := 1.959963984540054 * math.Sqrt(sum.variance(t.m, t.n)) // the normal's 97.5 % point
	r.Lo, r.Hi = max(0, r.Debiased-width), max(0, r.Debiased+width)
	r.P = ChiSquareTail(r.Value/s, float64(t.cells-1))
	return r
}

// moment2 gathers a statistic and the first two moments of its derivatives
// under both distributions: the delta method.
type moment2 struct {
	value          float64
	p1, p2, q1, q2 float64
}

func (s *moment2) left(p, d float64)  { s.p1 += p * d; s.p2 += p * d * d }
func (s *moment2) right(q, d float64) { s.q1 += q * d; s.q2 += q * d * d }

func (s *moment2) variance(m, n float64) float64 {
	return max(0, s.p2-s.p1*s.p1)/m + max(0, s.q2-s.q1*s.q1)/n
}

func rawTerm(p, q float64) float64 {
	switch {
	case p == q:
		return 0
	case p == 0 || q == 0:
		return math.Inf(1)
	}
	return (q - p) * math.Log(q/p)
}

// PSIShares returns each cell's contribution to the smoothed PSI: they sum to
// its value. Cells empty on both sides give 0, an empty side gives all NaN.
func PSIShares(ref, cur []uint64) []float64 {
	t := newTable(ref, cur)
	shares, half := make([]float64, len(ref)), float64(t.cells)/2
	for i := range ref {
		a, c := float64(ref[i]), float64(cur[i])
		switch {
		case t.m == 0 || t.n == 0:
			shares[i] = math.NaN()
		case a+c > 0:
			p, q := (a+0.5)/(t.m+half), (c+0.5)/(t.n+half)
			shares[i] = (q - p) * math.Log(q/p)
		}
	}
	return shares
}

// PSICritical returns the PSI that unchanged data exceed with probability
// alpha: s times the chi-square quantile with cells-1 degrees of freedom.
func PSICritical(cells int, n, m uint64, alpha float64) float64 {
	return (1/float64(n) + 1/float64(m)) * ChiSquareQuantile(alpha, float64(cells-1))
}

// table is what every comparison of counts needs to know first.
type table struct {
	m, n  float64 // values of the reference, of the current side
	cells int     // not empty on both sides
}

func newTable(ref, cur []uint64) (t table) {
	cur = cur[:len(ref)]
	var m, n uint64
	for i, a := range ref {
		m, n = m+a, n+cur[i]
		if a != 0 || cur[i] != 0 {
			t.cells++
		}
	}
	t.m, t.n = float64(m), float64(n)
	return t
}
