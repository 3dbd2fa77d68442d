package stats_test

import (
	"math"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// Numbers without another source are those printed in the project's statistics
// design, computed with scipy 1.10.1.

func TestPSIHandCases(t *testing.T) {
	a, c := []uint64{10, 20, 30, 40}, []uint64{25, 25, 25, 25}
	psi, chi2 := stats.NewPSI(a, c), stats.NewChiSquare(a, c)
	near(t, "jeffreys", psi.Value, .2179942, 5e-8)
	near(t, "raw", psi.Raw, .2282174, 5e-8)
	near(t, "p", psi.P, .0122807, 5e-8)
	near(t, "pearson", chi2.Stat, 10.9002, 5e-5)
	near(t, "pearson p", chi2.P, .012278, 5e-7)
	near(t, "noise floor", psi.Floor, 3*.02, 1e-15)
	near(t, "debiased", psi.Debiased, psi.Value-.06, 1e-15)

	empty := stats.NewPSI([]uint64{0, 50, 50}, []uint64{20, 40, 40})
	near(t, "one cell empty", empty.Value, .7752204, 5e-8)
	if !math.IsInf(empty.Raw, 1) {
		t.Errorf("raw = %v with a cell empty on one side, want +Inf", empty.Raw)
	}
	same := stats.NewPSI([]uint64{0, 20, 0}, []uint64{0, 9, 0})
	if same.Cells != 1 || same.Value != 0 || same.P != 1 || same.Floor != 0 {
		t.Errorf("two identical constants: %+v, want 0 on one cell with p 1", same)
	}
	// the interval's formula, evaluated with numpy
	wide := stats.NewPSI([]uint64{100, 200, 300, 400}, []uint64{900, 50, 30, 20})
	near(t, "large psi", wide.Value, 3.7008129239514496, 1e-12)
	near(t, "interval, lo", wide.Lo, 3.321380903403202, 1e-12)
	near(t, "interval, hi", wide.Hi, 4.068244944499697, 1e-12)
	none := stats.NewPSI([]uint64{0, 0}, []uint64{1, 2})
	if !math.IsNaN(none.Value) || !math.IsNaN(none.P) || !math.IsNaN(stats.JensenShannon([]uint64{0}, []uint64{1})) {
		t.Errorf("an empty side: %+v, want NaN", none)
	}
}

// The 99.9 % thresholds of the calibration table.
func TestPSICritical(t *testing.T) {
	for _, c := range []struct {
		cells int
		n     uint64
		want  float64
	}{{10, 100, .282}, {10, 1000, .031}, {10, 10_000, .0056}, {20, 100, .443}, {20, 1000, .048}, {20, 10_000, .0088}} {
		near(t, "threshold", stats.PSICritical(c.cells, c.n, 10_000, .001), c.want, .0006)
	}
}

func TestKolmogorov(t *testing.T) {
	for _, c := range []struct{ lambda, want float64 }{
		{.3, .9999906942},
		{.5, .9639452437},
		{.8, .5441424116},
		{1, .2699996717},
		{1.36, .04948587676},
		{1.63, .009846364888},
		{1.95, .0009959108429},
		{2.5, 7.453306e-6},
		{3, 3.045996e-8},
	} {
		near(t, "Q", stats.KolmogorovTail(c.lambda), c.want, 1e-6*c.want)
		near(t, "inverse", stats.KolmogorovQuantile(stats.KolmogorovTail(c.lambda)), c.lambda, 1e-5)
	}
	for lambda := .5; lambda < 1.6; lambda += .05 { // both sides of where the series change, by the definition alone
		want := 0.0
		for k := 50.0; k > 0; k-- {
			want += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*lambda*lambda)
		}
		near(t, "Q", stats.KolmogorovTail(lambda), want, 1e-14)
	}
	for lambda := .01; lambda < 8; lambda += .01 { // no jump where the series change, none at the ends
		if stats.KolmogorovTail(lambda) < stats.KolmogorovTail(lambda+.01) {
			t.Fatalf("Q rises at %v", lambda)
		}
	}
	if q := stats.KolmogorovTail(0); q != 1 {
		t.Errorf("Q(0) = %v, want 1", q)
	}
	if !math.IsNaN(stats.KolmogorovTail(math.NaN())) || !math.IsNaN(stats.KolmogorovQuantile(math.NaN())) ||
		!math.IsInf(stats.KolmogorovQuantile(0), 1) || stats.KolmogorovQuantile(1) != 0 {
		t.Error("special cases of the Kolmogorov law")
	}
}

// scipy's exact p-values and what Stephens' correction makes of them.
func TestKSP(t *testing.T) {
	for _, c := range []struct {
		name       string
		d          float64
		n, m       uint64
		want, part float64
	}{
		// D solved for the plain limit p .0496 and .000974 at n = 50, m = 1000
		{"n 50", stats.KolmogorovQuantile(.0496) * math.Sqrt(1.0/50+1.0/1000), 50, 1000, .0429, .01},
		{"n 50, far", stats.KolmogorovQuantile(.000974) * math.Sqrt(1.0/50+1.0/1000), 50, 1000, .000719, .01},
		{"n 10", stats.KolmogorovQuantile(.0497) * math.Sqrt(1.0/10+1.0/1000), 10, 1000, .0342, .03},
	} {
		t.Run(c.name, func(t *testing.T) { near(t, "p", stats.KSP(c.d, c.n, c.m), c.want, c.part*c.want) })
	}
	one, none := count(mustEdges(t, 1), []float64{1, 2}), stats.NewNumeric(mustEdges(t, 1))
	for _, sides := range [][2]*stats.Numeric{{one, none}, {none, one}, {one, count(mustEdges(t, 2), []float64{1, 2})}} {
		if ks := stats.NewKS(sides[0], sides[1]); !math.IsNaN(ks.Lo) || !math.IsNaN(ks.Hi) {
			t.Errorf("%+v between %+v and %+v, want NaN", ks, sides[0], sides[1])
		}
	}
	if p := stats.KSP(0, 10, 10); p != 1 {
		t.Errorf("p of no distance = %v, want 1", p)
	}
	if !math.IsNaN(stats.KSP(.5, 0, 10)) || !math.IsNaN(stats.KSP(math.NaN(), 5, 5)) {
		t.Error("an empty side must give NaN")
	}
	// 1/C(20,10) twice: only the two extreme orders are as far apart
	near(t, "disjoint", stats.KSP(1, 10, 10), 2.0/184756, 1e-15)
}

func TestNormal(t *testing.T) {
	// erfc, where gonum's Normal.Survival gives 0
	near(t, "tail at 10", stats.NormalTail(10), 7.61985302416053e-24, 1e-36)
	near(t, "tail at -10", stats.NormalTail(-10), 1, 1e-15)
	near(t, "quantile", stats.NormalQuantile(.975), 1.959963984540054, 1e-12)
	near(t, "chi2 tail", stats.ChiSquareTail(3.841458820694124, 1), .05, 1e-12)
	for _, v := range []float64{stats.ChiSquareTail(0, 3), stats.ChiSquareTail(5, 0)} {
		if v != 1 {
			t.Errorf("chi-square with nothing to test: p = %v, want 1", v)
		}
	}
	if stats.ChiSquareTail(math.Inf(1), 2) != 0 || !math.IsNaN(stats.ChiSquareTail(math.NaN(), 2)) ||
		!math.IsNaN(stats.ChiSquareQuantile(2, 1)) {
		t.Error("special cases of chi-square")
	}
}

func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n   uint64
		lo, hi float64
	}{
		{0, 10, 0, .277533},
		{1, 10, .017876, .404150},
		{8, 10, .490162, .943318},
		{10, 10, .722467, 1},
		{45, 100, .356145, .547554},
		{990, 1000, .981691, .994559},
	} {
		lo, hi := stats.Wilson(c.k, c.n, .95)
		near(t, "lo", lo, c.lo, 5e-7)
		near(t, "hi", hi, c.hi, 5e-7)
	}
	if lo, hi := stats.Wilson(0, 0, .95); lo != 0 || hi != 1 {
		t.Errorf("no trial: [%v, %v], want [0, 1]", lo, hi)
	}
	lo, hi := stats.Newcombe(56, 70, 48, 80, .95) // Newcombe 1998, table II
	near(t, "newcombe lo", lo, .0524, 5e-5)
	near(t, "newcombe hi", hi, .3339, 5e-5)
	if lo, hi := stats.Newcombe(0, 0, 1, 2, .95); lo != -1 || hi != 1 {
		t.Errorf("an empty side: [%v, %v], want [-1, 1]", lo, hi)
	}
}

// The design's table of shifts found with 80 % power, m = 100,000. Its cells
// come from a coarse simulation: at alpha .05 and n >= 10,000 they lie 7 and
// 11 % above ours, where 2,000 simulated windows of n = 10,000 had power .797 at
// our .0335 and .847 at its .036. So the bands: 4 % elsewhere, 12 % there.
func TestMinimumDetectableEffect(t *testing.T) {
	for _, c := range []struct {
		n           uint64
		alpha, want float64
		part        float64
	}{
		{100, .05, .337, .04},
		{1000, .05, .105, .04},
		{10_000, .05, .036, .12},
		{100_000, .05, .016, .12},
		{100, .001, .495, .04},
		{1000, .001, .155, .04},
		{10_000, .001, .051, .04},
		{100_000, .001, .022, .04},
		{100, 1.0 / 144_000, .656, .04},
		{1000, 1.0 / 144_000, .202, .04},
		{10_000, 1.0 / 144_000, .068, .04},
		{100_000, 1.0 / 144_000, .029, .04},
	} {
		near(t, "mde", stats.MinimumDetectableEffect(c.n, 100_000, c.alpha), c.want, c.part*c.want)
	}
	if mde := stats.MinimumDetectableEffect(2, 3, .001); !math.IsInf(mde, 1) {
		t.Errorf("mde of five values = %v, want +Inf", mde)
	}
	if !math.IsNaN(stats.MinimumDetectableEffect(0, 5, .05)) || !math.IsNaN(stats.MinimumDetectableEffect(5, 5, 0)) {
		t.Error("an empty side or no level must give NaN")
	}
	if a, b := stats.MinimumDetectableEffect(1000, 1000, 1e-20), stats.MinimumDetectableEffect(1000, 1000, .5); !(a > b && b > 0) {
		t.Errorf("mde beyond the drawn levels: %v and %v", a, b)
	}
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		name             string
		rate             stats.Rate
		more, less, both float64
		tolerance        float64
	}{
		// scipy.stats.binom.sf(k-1, n, p), cdf(k, n, p)
		{"binomial 9 of 10 at 1/2", stats.NewRate(9, 10, .5), 11. / 1024, 1023. / 1024, 22. / 1024, 1e-14},
		{"binomial none at 1/10", stats.NewRate(0, 20, .1), 1, math.Pow(.9, 20), 2 * math.Pow(.9, 20), 1e-14},
		{"binomial all at 1/2", stats.NewRate(5, 5, .5), 1. / 32, 1, 1. / 16, 1e-14},
		{"binomial none at 0", stats.NewRate(0, 20, 0), 1, 1, 1, 0},
		{"binomial one at 0", stats.NewRate(1, 20, 0), 0, 1, 0, 0},
		// Fisher's tea tasting: 3 of 4 against 1 of 4, 17/70 (Fisher 1935)
		{"tea", stats.NewRateShift(3, 4, 1, 4), 17. / 70, 69. / 70, 34. / 70, 1e-12},
		{"none against none", stats.NewRateShift(0, 100, 0, 1000), 1, 1, 1, 1e-12},
	} {
		t.Run(c.name, func(t *testing.T) {
			near(t, "more", c.rate.PMore, c.more, c.tolerance)
			near(t, "less", c.rate.PLess, c.less, c.tolerance)
			near(t, "two-sided", c.rate.PTwoSided, c.both, c.tolerance)
		})
	}
	for _, r := range []stats.Rate{
		stats.NewRate(1, 0, .5), stats.NewRate(3, 2, .5), stats.NewRate(1, 2, math.NaN()),
		stats.NewRateShift(1, 0, 1, 2), stats.NewRateShift(3, 2, 1, 2),
	} {
		if !math.IsNaN(r.PMore) || !math.IsNaN(r.Share) {
			t.Errorf("undefined test gave %+v", r)
		}
	}
	// Flights: missing delays 2.06 % -> .89 %; the pooled z and Fisher must agree.
	z := stats.NewRateShift(89, 10_000, 206, 10_000)
	if !(z.PLess < 1e-10 && z.PMore > .999 && z.Lo < .0089 && z.Hi > .0089) {
		t.Errorf("missing rate fell: %+v", z)
	}
}

// scipy.stats.fisher_exact, alternative 'greater', and norm.sf of the pooled z
// beyond the switch.
func TestRateShift(t *testing.T) {
	near(t, "fisher", stats.NewRateShift(16, 1000, 3, 1000).PMore, .002124786114213723, 1e-12)
	near(t, "fisher", stats.NewRateShift(17, 1000, 3, 1000).PMore, .0012291717129575856, 1e-12)
	// both sides of the switch at 1,000 expected: the law is continuous
	below, above := stats.NewRateShift(1049, 10_000, 950, 10_000), stats.NewRateShift(1050, 10_000, 951, 10_000)
	near(t, "ratio of p across the switch", above.PMore/below.PMore, 1, .1)
}

func TestMultiple(t *testing.T) {
	near(t, "e of .01", stats.EValue(.01), (1-.01+.01*math.Log(.01))/(.01*math.Pow(math.Log(.01), 2)), 1e-12)
	near(t, "e of 1", stats.EValue(1), .5, 1e-15)
	near(t, "e just below the switch", stats.EValue(.9989999), stats.EValue(.9990001), 1e-6)
	if !math.IsInf(stats.EValue(0), 1) || !math.IsNaN(stats.EValue(-1)) || !math.IsNaN(stats.EValue(math.NaN())) {
		t.Error("special cases of EValue")
	}
	// Markov: the mean of e under a uniform p is at most 1 (here the integral of a step grid)
	sum := 0.0
	for i := range 1_000_000 {
		sum += stats.EValue((float64(i) + .5) / 1e6)
	}
	if mean := sum / 1e6; mean > 1 || mean < .8 {
		t.Errorf("mean e = %v, want just below 1", mean)
	}
	got := stats.EBH([]float64{100, math.NaN(), 2, 40})
	want := []float64{.03, math.NaN(), .5, .03 * 100 / 40 / 2} // n/(rank e), then the least from below
	want[0], want[3] = .03, .0375
	for i := range want {
		near(t, "e-BH", got[i], want[i], 1e-12)
	}
}
