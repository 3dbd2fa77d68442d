package stats_test

import (
	"math"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// scipy 1.17.1, scipy.stats.kstwo.sf: values on both sides of every change of
// method.
func TestOneSampleKSP(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		d, p float64
	}{
		{1, 0.7, 0.6000000000000001},
		{5, 0.15, 0.9988},
		{10, 0.3, 0.27053557479999946},
		{10, 0.62, 0.0003098012662193357},
		{100, 0.05, 0.9532159710635725},
		{100, 0.08, 0.5182193645480672},
		{100, 0.13, 0.06209234069876253},
		{100, 0.19, 0.0012339926382722768},
		{100, 0.3, 1.7719869892662917e-08},
		{140, 0.05, 0.8576480297656114},
		{141, 0.05, 0.854845693009663},
		{141, 0.12, 0.03160060527758468},
		{141, 0.126, 0.020711896073676773},
		{1000, 0.012, 0.9984464668620097},
		{1000, 0.03, 0.3226902143914636},
		{1000, 0.045, 0.03378304014546085},
		{1000, 0.06, 0.001428597887952891},
		{25000, 0.0014, 0.999999999834163},
		{25000, 0.004, 0.8170622524647276},
		{25000, 0.009, 0.03463484454420951},
		{25000, 0.0095, 0.021802367874619585},
		{25000, 0.04, 3.418453176597493e-35},
		{200000, 0.0015, 0.758498392324318},
		{25000, 0.2, 0},
	} {
		if got := stats.OneSampleKSP(c.d, c.n); !(math.Abs(got-c.p) <= 1e-9*c.p) {
			t.Errorf("n %d, d %v: p = %v, want %v (off by %.1g)", c.n, c.d, got, c.p, got/c.p-1)
		}
	}
	for _, c := range []struct {
		n    uint64
		d, p float64
	}{{10, .05, 1}, {10, 0, 1}, {10, 1, 0}, {0, .5, math.NaN()}, {10, math.NaN(), math.NaN()}} {
		if got := stats.OneSampleKSP(c.d, c.n); got != c.p && !(math.IsNaN(got) && math.IsNaN(c.p)) {
			t.Errorf("n %d, d %v: p = %v, want %v", c.n, c.d, got, c.p)
		}
	}
}

// Exact and asymptotic laws meet the limit law of KSP.
func TestTwoSampleKSP(t *testing.T) {
	for _, n := range []uint64{3000, 30_000} {
		d := math.Round(1.3*math.Sqrt(2*float64(n))) / float64(n) // a distance that n and n values can have
		if exact, limit := stats.TwoSampleKSP(d, n, n), stats.KSP(d, n, n); math.Abs(exact/limit-1) > .06 {
			t.Errorf("n = m = %d: %v, the limit law says %v", n, exact, limit)
		}
	}
	if p := stats.TwoSampleKSP(0, 5, 5); p != 1 {
		t.Errorf("p of distance 0 = %v, want 1", p)
	}
	if p := stats.TwoSampleKSP(.5, 0, 5); !math.IsNaN(p) {
		t.Errorf("p of an empty side = %v, want NaN", p)
	}
}
