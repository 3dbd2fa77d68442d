package stats

import "math"

// KS is the two-sample Kolmogorov-Smirnov distance as a certified interval.
type KS struct {
	Lo, Hi float64 // the exact distance of the raw values lies between
}

// NewKS bounds the distance between the raw values behind two histograms on
// the same edges.
//
// Both empirical CDFs are known on every edge and monotone between them, hence
// the bounds (statistics.md 1.2); a point bin has no inside. Hi-Lo is at most
// 1/K against a baseline with K-quantile edges, and in general at most the
// largest min(share, share) of a bin. Special cases are: NaN when a side is
// empty or the edges differ.
func NewKS(ref, cur *Numeric) KS {
	if ref.N == 0 || cur.N == 0 || ref.Edges == nil || !ref.Edges.Same(cur.Edges) {
		return KS{math.NaN(), math.NaN()}
	}
	m, n := float64(ref.N), float64(cur.N)
	counts := cur.Counts[:len(ref.Counts)]
	var cf, cg uint64
	var f, g, lo, hi float64
	for i, a := range ref.Counts {
		c := counts[i]
		if a|c == 0 {
			continue
		}
		f0, g0 := f, g
		cf, cg = cf+a, cg+c
		f, g = float64(cf)/m, float64(cg)/n
		d := math.Abs(f - g)
		if d > lo {
			lo = d
		}
		if a != 0 && c != 0 && !ref.Edges.Point(i) { // inside, F may be at its right end and G at its left
			d = max(f-g0, g-f0)
		}
		if d > hi {
			hi = d
		}
	}
	return KS{lo, hi}
}

// exactCells bounds the lattice of the exact p-value to some 20 us: a sparse
// model closes thousands of windows of a few values against a large baseline.
const exactCells = 20_000

// KSP returns the p-value of a two-sample KS distance d between n and m values
// without ties (with ties it is an upper bound).
//
// Below 20 values on a side it is exact, by counting lattice paths, as long as
// n*m <= 20,000; otherwise Kolmogorov's limit with Stephens' correction, within
// 3 % of exact from 50 values on. Special cases are: 1 for d <= 0, NaN when a
// side is empty or d is NaN.
func KSP(d float64, n, m uint64) float64 {
	switch {
	case math.IsNaN(d) || n == 0 || m == 0:
		return math.NaN()
	case d <= 0:
		return 1
	case min(n, m) < 20 && max(n, m) <= exactCells/min(n, m):
		return latticeP(d, int(min(n, m)), int(max(n, m)))
	}
	root := rootN(n, m)
	return KolmogorovTail(d * (root + 0.12 + 0.11/root))
}

// rootN returns the square root of the effective sample size nm/(n+m).
func rootN(n, m uint64) float64 {
	return math.Sqrt(1 / (1/float64(n) + 1/float64(m)))
}

// latticeP returns the probability that a random lattice path from (0,0) to
// (n,m) reaches distance d between i/n and j/m. hit[j] is that probability for
// a path that ends in (i,j), whose last step came from (i-1,j) with
// probability i/(i+j); no difference of near-equal numbers is ever taken. Only
// the cells nearer than d are looked at: in all others the path has reached it.
func latticeP(d float64, n, m int) float64 {
	limit := math.Floor(d*float64(n)*float64(m)+0.5) - 0.5 // distances are multiples of 1/(nm)
	far := func(i, j int) bool { return math.Abs(float64(i)*float64(m)-float64(j)*float64(n)) > limit }
	hit := make([]float64, m+1)
	for j := 1; j <= m; j++ {
		if far(0, j) {
			hit[j] = 1
		}
	}
	from := 0
	for i := 1; i <= n; i++ {
		for ; from <= m && far(i, from); from++ {
			hit[from] = 1
		}
		for j := max(1, from); j <= m && !far(i, j); j++ {
			share := float64(i) / float64(i+j)
			hit[j] = share*hit[j] + (1-share)*hit[j-1]
		}
	}
	return hit[m]
}
