package stats

import "math"

// Scores put one window's move into one signed number whose spread under no
// change is known, so that windows of unlike size can be ranked together.

// leastVariance is the share of a continuous feature's variance below which a
// score counts as constant: its scale stays there, so that a column that hardly
// ever varies is neither divided by nothing nor left unwatched.
const leastVariance = 1e-3

// Smooth holds the first two smooth components of Neyman (1937) of a window
// against a reference, each in standard deviations of one value's score: under
// no change their mean is 0 and their variance 1/n + 1/m. They see what PSI and
// KS see, with a sign, and gain from it (statistics.md 5.1).
type Smooth struct {
	Location float64 // > 0: values are greater; P(current > reference) = 1/2 + Location/sqrt(12) if continuous
	Spread   float64 // > 0: more values far from the middle; uncorrelated with Location
}

// NewSmooth scores two histograms on the same edges.
//
// Scores are the polynomials sqrt(12) x and sqrt(5) (6x^2 - 1/2) of a bin's
// mid-rank x - 1/2 in the reference, centred, made orthogonal and scaled under
// the reference's own shares, so that ties change neither law. They are bounded:
// one value of 1e9 in a thousand weighs what any value beyond the reference
// weighs. Special cases are: NaN when a side is empty or the edges differ;
// Spread is NaN when the reference knows two values only, where Location has
// said all there is.
func NewSmooth(ref, cur *Numeric) Smooth {
	if ref.N == 0 || cur.N == 0 || ref.Edges == nil || !ref.Edges.Same(cur.Edges) {
		return Smooth{math.NaN(), math.NaN()}
	}
	m, n := float64(ref.N), float64(cur.N)
	var a2, a3, a4, c1, c2 float64 // moments of the mid-rank under both sides
	counts := cur.Counts[:len(ref.Counts)]
	below := uint64(0)
	for i, a := range ref.Counts {
		c := counts[i]
		if a|c == 0 {
			continue
		}
		x := (float64(below)+float64(a)/2)/m - 0.5
		below += a
		ax, cx := float64(a)*x, float64(c)*x
		c1 += cx
		c2 += cx * x
		ax *= x
		a2 += ax
		ax *= x
		a3 += ax
		a4 += ax * x
	}
	a2, a3, a4, c1, c2 = a2/m, a3/m, a4/m, c1/n, c2/n
	// Both scores by their moments; the mean of x under the reference is 0.
	v1 := 12 * a2
	v2 := 5 * 36 * max(0, a4-a2*a2)
	cov := math.Sqrt(60) * 6 * a3
	s1 := math.Sqrt(12) * c1
	s2 := math.Sqrt(5) * 6 * (c2 - a2)
	out := Smooth{Location: s1 / math.Sqrt(max(v1, leastVariance))}
	if v1 >= leastVariance {
		s2 -= cov / v1 * s1
		if v2 -= cov * cov / v1; v2 < leastVariance {
			out.Spread = math.NaN()
			return out
		}
	}
	out.Spread = s2 / math.Sqrt(max(v2, leastVariance))
	return out
}

// Mix scores how far a window's categories are from the reference's.
type Mix struct {
	Score float64 // about a standard normal under no change, greater for a greater distance
	Move  float64 // the most that one cell's share has moved, in [0, 1]
}

// NewMix scores two histograms on the same dictionary: the Wilson-Hilferty cube
// root (1931) of Pearson's chi-square over its degrees of freedom, in standard
// deviations. Cells expected below 5 are merged as the reference says, and
// unseen has its Good-Turing share, as in [CompareCategorical]. Special cases
// are: NaN when a side is empty or the dictionaries differ; Score 0 when one
// cell is left.
func NewMix(ref, cur *Categorical) Mix {
	if ref.N == 0 || cur.N == 0 || ref.Dict.id != cur.Dict.id {
		return Mix{math.NaN(), math.NaN()}
	}
	a, c := ref.referenceCells(), cur.cells()
	t, out := newTable(a, c), Mix{}
	for i := range a {
		out.Move = max(out.Move, math.Abs(float64(a[i])/t.m-float64(c[i])/t.n))
	}
	if chi := NewChiSquare(MergeSparse(a, c, SparseExpected)); chi.DF > 0 {
		unit := 2 / (9 * chi.DF)
		out.Score = (math.Cbrt(chi.Stat/chi.DF) - 1 + unit) / math.Sqrt(unit)
	}
	return out
}

// RateScore returns how far k hits of n are from a share p0, on the scale of
// 2 arcsin(sqrt p), where the variance is 1/n whatever the share (Freeman and
// Tukey 1950). Special cases are: NaN for n = 0, k > n or p0 outside of [0, 1].
func RateScore(k, n uint64, p0 float64) float64 {
	if n == 0 || k > n || !(p0 >= 0 && p0 <= 1) {
		return math.NaN()
	}
	return 2 * (math.Asin(math.Sqrt(float64(k)/float64(n))) - math.Asin(math.Sqrt(p0)))
}
