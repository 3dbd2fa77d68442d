package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// nannyMLExact is the reference size from which on NannyML bins before KS.
const nannyMLExact = 10_000

// NannyMLNumeric returns the figures of NannyML (source and output of 0.13.1)
// for a continuous column whose current side is one chunk; missing values left
// out beforehand.
//
// JS is in base 2, on Doane's bins of the reference and one more for what lies
// outside. KS is exact below 10,000 reference values and otherwise on 10,000
// equal bins over the reference's range, so that one outlier hides what it
// hides there. NannyML has no PSI and gives no p-value; it decides by thresholds
// made of the reference's own chunks, of which two columns know nothing, so
// there is no Method. Special cases are: every figure NaN when a side is empty;
// what is on bins NaN when the range of the reference, or its variance, overflows.
func NannyMLNumeric(ref, cur RawColumn) PeerShift {
	a, b := ref.Numbers, cur.Numbers
	out := undefinedPeer()
	if len(a) == 0 || len(b) == 0 {
		return out
	}
	edges := doaneEdges(a)
	if edges != nil {
		out.nannyMLJS(shares(binCounts(a, edges), len(a)), shares(binCounts(b, edges), len(b)))
	}
	switch {
	case len(a) < nannyMLExact:
		out.KS = stat.KolmogorovSmirnov(a, nil, b, nil)
	case edges != nil:
		out.KS = binnedKS(a, b, linspace(a[0], a[len(a)-1], 10_000))
	}
	return out
}

// NannyMLCategorical is NannyMLNumeric of a categorical column: JS over the
// reference's categories and one cell for all others.
func NannyMLCategorical(ref, cur RawColumn) PeerShift {
	a, c := categoryCounts(ref.Categories, cur.Categories)
	out := undefinedPeer()
	if n, m := sum(a), sum(c); n > 0 && m > 0 {
		known := len(ref.Categories)
		out.nannyMLJS(shares(a[:known], int(n)), shares(c[:known], int(m)))
	}
	return out
}

// nannyMLJS sets the distance. What is left of the current side is one more cell
// that the reference does not have.
func (s *PeerShift) nannyMLJS(ref, cur []float64) {
	if rest := 1 - sum(cur); rest > 0 {
		ref, cur = append(ref, 0), append(cur, rest)
	}
	s.JS = jensenShannonDistance(ref, cur) / math.Sqrt(math.Ln2)
}

// binnedKS is the largest distance of two CDFs at the upper edges of bins.
func binnedKS(ref, cur, edges []float64) float64 {
	a, b := shares(binCounts(ref, edges), len(ref)), shares(binCounts(cur, edges), len(cur))
	below := 0
	for below < len(cur) && cur[below] < edges[0] {
		below++
	}
	f, g, most := 0.0, float64(below)/float64(len(cur)), 0.0
	for i := range a {
		f, g = f+a[i], g+b[i]
		most = max(most, math.Abs(f-g))
	}
	return most
}
