package stats

import "math"

// mdeAlpha is the level of Shift.MDE: that of the default gates; mdeLambda is
// the critical value that belongs to it.
const mdeAlpha = 0.001

var mdeLambda = KolmogorovQuantile(mdeAlpha)

// Shift is everything known about how one feature moved between a reference
// and a current set of values. NaN means not defined: KS of a category, and
// everything when a side is empty.
type Shift struct {
	N, M uint64 // finite (or categorical) values: current, reference
	Bins int    // PSI cells not empty on both sides

	// PSI on the declared cells; see [PSI].
	PSI, PSIRaw, PSIDebiased, PSILo, PSIHi, PSIP, NoiseFloor float64

	// KS interval and the p-value of its lower end, which is conservative.
	// KSPHi is the p-value of the upper end: more than tenfold apart, the bins
	// are too coarse to tell.
	KSLo, KSHi, KSP, KSPHi float64

	// Pearson's chi-square, cells expected below 5 merged.
	Chi2, Chi2DF, Chi2P float64

	JS, Hellinger float64 // nats; 0..1; on the PSI cells
	W1ClippedSD   float64 // Wasserstein inside the reference's [0.1 %, 99.9 %], in its standard deviations

	// Unseen is the share of current values the baseline never had, UnseenP
	// the one-sided p-value against the Good-Turing share.
	Unseen, UnseenP float64

	// MDE is the shift in standard deviations a KS test at 0.001 would have
	// found with 80 % power.
	MDE float64
}

// UndefinedShift returns the Shift of two sides that cannot be compared: the
// numbers of values, and NaN for everything else.
func UndefinedShift(n, m uint64) Shift {
	nan := math.NaN()
	return Shift{
		N: n, M: m,
		PSI: nan, PSIRaw: nan, PSIDebiased: nan, PSILo: nan, PSIHi: nan, PSIP: nan, NoiseFloor: nan,
		KSLo: nan, KSHi: nan, KSP: nan, KSPHi: nan,
		Chi2: nan, Chi2DF: nan, Chi2P: nan,
		JS: nan, Hellinger: nan, W1ClippedSD: nan,
		Unseen: nan, UnseenP: nan, MDE: nan,
	}
}

// CompareNumeric compares two histograms on the same edges. psiEdges are the
// declared cells and must be a subset of them (see [BaselineEdges]); tie is the
// reference's tie table, nil for a continuous feature. What cannot be computed
// (an empty side, other edges) is NaN.
func CompareNumeric(ref, cur *Numeric, psiEdges *Edges, tie *TieTable) Shift {
	s := UndefinedShift(cur.N, ref.N)
	if ref.N == 0 || cur.N == 0 || ref.Edges == nil || !ref.Edges.Same(cur.Edges) {
		return s
	}
	ks := NewKS(ref, cur)
	s.KSLo, s.KSHi = ks.Lo, ks.Hi
	s.KSP = tie.P(ks.Lo, cur.N, ref.N)
	if s.KSPHi = s.KSP; ks.Hi > ks.Lo {
		s.KSPHi = tie.P(ks.Hi, cur.N, ref.N)
	}
	s.MDE = detectable(cur.N, ref.N, mdeLambda)
	s.W1ClippedSD = clippedW1(ref, cur)
	if a, c, ok := coarsePair(ref, cur, psiEdges); ok {
		s.fromCounts(a, c)
	}
	return s
}

// CompareCategorical compares two histograms on the same dictionary: its cells,
// other and unseen. A baseline as the reference lends Good-Turing mass to
// unseen. With other dictionaries all is NaN.
func CompareCategorical(ref, cur *Categorical) Shift {
	s := UndefinedShift(cur.N, ref.N)
	if ref.N == 0 || cur.N == 0 || ref.Dict.id != cur.Dict.id {
		return s
	}
	a, c := ref.referenceCells(), cur.cells()
	s.fromCounts(a, c)
	unseen := NewRateShift(cur.Unseen, cur.N, min(a[len(a)-1], ref.N), ref.N)
	s.Unseen, s.UnseenP = unseen.Share, unseen.PMore
	return s
}

// fromCounts fills in what is a function of counts in cells.
func (s *Shift) fromCounts(ref, cur []uint64) {
	psi := NewPSI(ref, cur)
	s.Bins = psi.Cells
	s.PSI, s.PSIRaw, s.PSIDebiased = psi.Value, psi.Raw, psi.Debiased
	s.PSILo, s.PSIHi, s.PSIP, s.NoiseFloor = psi.Lo, psi.Hi, psi.P, psi.Floor
	chi2 := NewChiSquare(MergeSparse(ref, cur, SparseExpected))
	s.Chi2, s.Chi2DF, s.Chi2P = chi2.Stat, chi2.DF, chi2.P
	s.JS, s.Hellinger = JensenShannon(ref, cur), Hellinger(ref, cur)
}

// coarsePair sums both histograms onto the cells of psiEdges.
func coarsePair(ref, cur *Numeric, psiEdges *Edges) (a, c []uint64, ok bool) {
	if psiEdges == nil {
		return nil, nil, false
	}
	bins := psiEdges.Bins()
	both := make([]uint64, 2*bins)
	a, c = both[:bins], both[bins:]
	return a, c, coarsen(ref, psiEdges, a) && coarsen(cur, psiEdges, c)
}

// clippedW1 is Wasserstein without the open tails, whose bins have no bound, in
// the reference's standard deviations. A reference without spread gives 0 for
// no distance and NaN for any.
func clippedW1(ref, cur *Numeric) float64 {
	w := Wasserstein(ref, cur, ref.Quantile(0.001), ref.Quantile(0.999))
	if w == 0 {
		return 0
	}
	sd := ref.SD()
	if sd == 0 || math.IsInf(sd, 0) {
		return math.NaN()
	}
	return w / sd
}

// P returns the p-value a verdict rests on: for numbers the smaller of KS and
// PSI, doubled; for categories the chi-square's, the better calibrated one with
// sparse cells. NaN when nothing could be compared.
func (s Shift) P() float64 {
	switch {
	case math.IsNaN(s.KSP):
		return s.Chi2P
	case math.IsNaN(s.PSIP):
		return s.KSP
	}
	return min(1, 2*min(s.KSP, s.PSIP))
}

// Coarse reports whether the p-values of both ends of the KS interval differ
// more than tenfold: the live edges are too coarse for this comparison.
func (s Shift) Coarse() bool { return s.KSP > 10*s.KSPHi }

// A BinShare explains a PSI: how much one cell contributes.
type BinShare struct {
	Lo, Hi   float64 // numeric: the cell holds Lo < x <= Hi
	Name     string  // categorical: the category, "(other)" or "(unseen)"
	Ref, Cur float64 // share of values in the cell
	PSI      float64 // contribution; all of them sum to Shift.PSI
}

// NumericShares returns the contribution of each cell of psiEdges, in order;
// nil when the edges do not fit or a side is empty.
func NumericShares(ref, cur *Numeric, psiEdges *Edges) []BinShare {
	if ref.Edges == nil || !ref.Edges.Same(cur.Edges) {
		return nil
	}
	a, c, ok := coarsePair(ref, cur, psiEdges)
	if !ok {
		return nil
	}
	shares := Shares(a, c)
	for i := range shares {
		shares[i].Lo, shares[i].Hi = psiEdges.Bounds(i)
	}
	return shares
}

// CategoricalShares returns the contribution of each category by rank, then of
// other and unseen; nil when the dictionaries differ or a side is empty.
func CategoricalShares(ref, cur *Categorical) []BinShare {
	if ref.Dict.id != cur.Dict.id {
		return nil
	}
	shares := Shares(ref.referenceCells(), cur.cells())
	for i := range shares {
		switch rank := len(shares) - i; {
		case i < len(ref.Dict.Categories):
			shares[i].Name = ref.Dict.Categories[i]
		case rank == 2:
			shares[i].Name = "(other)"
		default:
			shares[i].Name = "(unseen)"
		}
	}
	return shares
}

// Shares returns the contribution of each cell, without bounds or names; nil when a
// side is empty.
func Shares(ref, cur []uint64) []BinShare {
	t := newTable(ref, cur)
	if t.m == 0 || t.n == 0 {
		return nil
	}
	shares := make([]BinShare, len(ref))
	for i, psi := range PSIShares(ref, cur) {
		shares[i] = BinShare{Ref: float64(ref[i]) / t.m, Cur: float64(cur[i]) / t.n, PSI: psi}
	}
	return shares
}
