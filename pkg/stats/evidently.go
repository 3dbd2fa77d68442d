package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// evidentlySmall is the reference size up to which evidently tests; above it
// takes a distance.
const evidentlySmall = 1000

// EvidentlyNumeric returns the figures of evidently (source and output of
// 0.7.23 with numpy 2 and scipy 1.17) for a numeric column: missing and infinite values left
// out beforehand.
//
// PSI and JS are on Sturges' bins of both sides together, so the bins of one
// reference differ from window to window, or on values if the reference has at
// most 20 of them. Special cases are: every figure NaN when a side is empty,
// where evidently stops with an error; PSI and JS NaN when the range of the values
// overflows.
func EvidentlyNumeric(ref, cur RawColumn) PeerShift {
	a, b := ref.Numbers, cur.Numbers
	if len(a) == 0 || len(b) == 0 {
		return undefinedPeer()
	}
	both := slices.Concat(a, b)
	slices.Sort(both)
	counts, other := valueCounts(a, b)
	values := len(counts)
	out := undefinedPeer()
	out.KS = stat.KolmogorovSmirnov(a, nil, b, nil)
	out.KSP = TwoSampleKSP(out.KS, uint64(len(a)), uint64(len(b)))
	out.Wasserstein = sampleWasserstein(a, b) / max(math.Sqrt(stat.PopVariance(a, nil)), .001)
	if distinct(a) > 20 {
		edges := sturgesEdges(both, ref.Whole && cur.Whole)
		counts, other = binCounts(a, edges), binCounts(b, edges)
	}
	if counts != nil {
		out.PSI, out.JS = evidentlyDistances(counts, other, len(a), len(b))
	}
	switch {
	case values <= 5:
		out.few(counts, other)
	case len(a) > evidentlySmall:
		out.decide("wasserstein", out.Wasserstein, .1, out.Wasserstein >= .1)
	default:
		out.decide("ks", out.KSP, .05, out.KSP <= .05)
	}
	return out
}

// EvidentlyCategorical is EvidentlyNumeric of a categorical column. Special
// cases are: every figure NaN when a side is empty.
func EvidentlyCategorical(ref, cur RawColumn) PeerShift {
	a, c := categoryCounts(ref.Categories, cur.Categories)
	n, m := sum(a), sum(c)
	out := undefinedPeer()
	if n == 0 || m == 0 {
		return out
	}
	out.PSI, out.JS = evidentlyDistances(a, c, int(n), int(m))
	out.few(a, c)
	return out
}

func undefinedPeer() PeerShift {
	nan := math.NaN()
	return PeerShift{PSI: nan, JS: nan, KS: nan, KSP: nan, Wasserstein: nan, Score: nan, Threshold: nan}
}

func (s *PeerShift) decide(method string, score, threshold float64, drift bool) {
	s.Method, s.Score, s.Threshold, s.Drift = method, score, threshold, drift
}

// few decides as evidently does for categories and for at most 5 numbers: by the
// JS distance from a large reference, by a z-test of two values from a small
// one, and of more values by a chi-square test that takes the reference for
// exactly true.
func (s *PeerShift) few(ref, cur []float64) {
	switch {
	case sum(ref) > evidentlySmall:
		s.decide("jensenshannon", s.JS, .1, s.JS >= .1)
	case len(ref) <= 2:
		p := twoShares(ref, cur)
		s.decide("z", p, .05, p < .05)
	default:
		p := chiSquareOfOneSample(ref, cur)
		s.decide("chisquare", p, .05, p < .05)
	}
}

// chiSquareOfOneSample returns the p-value of cur against expectations that are
// the reference's counts brought to cur's size.
func chiSquareOfOneSample(ref, cur []float64) float64 {
	scale, statistic := sum(cur)/sum(ref), 0.0
	for i, a := range ref {
		d := cur[i] - a*scale
		statistic += d * d / (a * scale) // infinite for a category that the reference lacks
	}
	return ChiSquareTail(statistic, float64(len(ref)-1))
}

// twoShares returns the p-value of the two-sided z-test of the first value's
// share, with pooled variance; 1 for a single value.
func twoShares(ref, cur []float64) float64 {
	if len(ref) == 1 {
		return 1
	}
	n, m := sum(ref), sum(cur)
	pooled := (ref[0] + cur[0]) / (n + m)
	z := (ref[0]/n - cur[0]/m) / math.Sqrt(pooled*(1-pooled)*(1/n+1/m))
	return 2 * NormalTail(math.Abs(z))
}

// evidentlyDistances returns PSI with empty cells filled on each side, and the
// JS distance in nats without.
func evidentlyDistances(ref, cur []float64, n, m int) (psi, js float64) {
	p, q := shares(ref, n), shares(cur, m)
	js = jensenShannonDistance(p, q)
	fill(p)
	fill(q)
	for i := range p {
		psi += (p[i] - q[i]) * math.Log(p[i]/q[i])
	}
	return psi, js
}

// fill replaces empty cells by 0.0001, or by a millionth of the smallest other
// one if that is not larger.
func fill(p []float64) {
	least := 1.0
	for _, x := range p {
		if x > 0 {
			least = min(least, x)
		}
	}
	value := .0001
	if least <= .0001 {
		value = least / 1e6
	}
	for i := range p {
		if p[i] == 0 {
			p[i] = value
		}
	}
}

func sum(x []float64) float64 {
	total := 0.0
	for _, v := range x {
		total += v
	}
	return total
}
