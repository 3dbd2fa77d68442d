package stats_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

func normalPair(m, n int, shift float64) (ref, cur *stats.Numeric, deciles *stats.Edges) {
	random := rand.New(rand.NewPCG(uint64(m), uint64(n)))
	sorted := sortedDraw(families[0], m, random)
	edges, deciles := stats.BaselineEdges(sorted, 256)
	cur = stats.NewNumeric(edges)
	for range n {
		cur.Add(random.NormFloat64() + shift)
	}
	return stats.BuildNumeric(sorted, edges), cur, deciles
}

// True values of a location shift (statistics.md 3): PSI over deciles .0598 at
// .25 sd and .238 at .5 sd; D = 2 Phi(shift/2) - 1; W1 = shift.
func TestCompareNumericShift(t *testing.T) {
	for _, c := range []struct{ shift, psi, d float64 }{{.25, .0598, .0995}, {.5, .238, .1974}} {
		s := stats.CompareNumeric(threeOf(normalPair(100_000, 100_000, c.shift)))
		near(t, "debiased psi", s.PSIDebiased, c.psi, .01)
		near(t, "ks lo", s.KSLo, c.d, .01)
		near(t, "w1", s.W1ClippedSD, c.shift, .02)
		if !(s.PSILo < c.psi && c.psi < s.PSIHi) || s.KSHi-s.KSLo > 1./256 || s.P() > 1e-20 || s.Coarse() {
			t.Errorf("shift %v: %+v", c.shift, s)
		}
		if s.Bins != 10 || s.N != 100_000 || s.M != 100_000 || s.Chi2DF != 9 {
			t.Errorf("bins %d, n %d, m %d, df %v", s.Bins, s.N, s.M, s.Chi2DF)
		}
	}
}

func threeOf(ref, cur *stats.Numeric, e *stats.Edges) (*stats.Numeric, *stats.Numeric, *stats.Edges, *stats.TieTable) {
	return ref, cur, e, nil
}

func TestCompareWithoutGrounds(t *testing.T) {
	ref, cur, deciles := normalPair(1000, 500, 0)
	other := count(mustEdges(t, 0, 1), []float64{1, 2})
	for name, s := range map[string]stats.Shift{
		"no current":   stats.CompareNumeric(ref, stats.NewNumeric(ref.Edges), deciles, nil),
		"no reference": stats.CompareNumeric(stats.NewNumeric(ref.Edges), cur, deciles, nil),
		"other edges":  stats.CompareNumeric(ref, other, deciles, nil),
		"learning":     stats.CompareNumeric(stats.NewNumeric(nil), stats.NewNumeric(nil), nil, nil),
	} {
		if !math.IsNaN(s.PSI) || !math.IsNaN(s.KSLo) || !math.IsNaN(s.P()) {
			t.Errorf("%s: %+v, want NaN", name, s)
		}
		if v, why := stats.DefaultGate().Verdict(s, s.P()); v != stats.Insufficient || why == "" {
			t.Errorf("%s: verdict %v (%s)", name, v, why)
		}
	}
	noCells := stats.CompareNumeric(ref, cur, mustEdges(t, .1234), nil)
	if !math.IsNaN(noCells.PSI) || math.IsNaN(noCells.KSLo) || noCells.P() != noCells.KSP {
		t.Errorf("cells that are no subset: %+v", noCells)
	}
	if stats.NumericShares(ref, cur, mustEdges(t, .1234)) != nil || stats.NumericShares(ref, other, deciles) != nil ||
		stats.NumericShares(ref, stats.NewNumeric(ref.Edges), deciles) != nil || stats.NumericShares(ref, cur, nil) != nil {
		t.Error("shares without grounds")
	}
}

// Two tests of one feature: the smaller p counts twice.
func TestShiftP(t *testing.T) {
	near(t, "ks smaller", stats.Shift{KSP: .01, PSIP: .3}.P(), .02, 0)
	near(t, "psi smaller", stats.Shift{KSP: .3, PSIP: .01}.P(), .02, 0)
	near(t, "at most 1", stats.Shift{KSP: .9, PSIP: .8}.P(), 1, 0)
	near(t, "category", stats.Shift{KSP: math.NaN(), PSIP: .01, Chi2P: .3}.P(), .3, 0)
	if !(stats.Shift{KSP: .2, KSPHi: .01}).Coarse() || (stats.Shift{KSP: .2, KSPHi: .1}).Coarse() {
		t.Error("coarse is more than tenfold")
	}
}

// A constant: moved either way it is seen, unmoved it is 0, and its standard
// deviation is no divisor.
func TestCompareConstant(t *testing.T) {
	edges, deciles := stats.BaselineEdges([]float64{7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, 256)
	ref := count(edges, []float64{7, 7, 7, 7, 7, 7, 7, 7, 7, 7})
	same := stats.CompareNumeric(ref, count(edges, []float64{7, 7, 7}), deciles, nil)
	if same.PSI != 0 || same.KSHi != 0 || same.W1ClippedSD != 0 || same.P() != 1 {
		t.Errorf("unmoved: %+v", same)
	}
	for _, x := range []float64{math.Nextafter(7, 8), math.Nextafter(7, 6), 0, -1e300} {
		s := stats.CompareNumeric(ref, count(edges, []float64{x, x, x}), deciles, nil)
		if s.KSLo != 1 || s.PSI < 1 || s.Bins != 2 {
			t.Errorf("moved to %v: %+v", x, s)
		}
	}
}

func TestNumericShares(t *testing.T) {
	ref, cur, deciles := normalPair(5000, 2000, .5)
	shift, sum := stats.CompareNumeric(ref, cur, deciles, nil), 0.0
	shares := stats.NumericShares(ref, cur, deciles)
	for _, s := range shares {
		sum += s.PSI
	}
	near(t, "sum of shares", sum, shift.PSI, 1e-12)
	if !math.IsInf(shares[0].Lo, -1) || !math.IsInf(shares[9].Hi, 1) || shares[3].Hi != shares[4].Lo {
		t.Errorf("bounds: %+v", shares)
	}
	near(t, "reference share of a decile", shares[4].Ref, .1, .001)
	if shares[9].Cur < .15 || shares[0].Cur > .07 { // P(Z > 1.2816-.5) = .217, P(Z < -1.7816) = .037
		t.Errorf("current shares of the ends: %v, %v", shares[9].Cur, shares[0].Cur)
	}
}

func TestGate(t *testing.T) {
	gate := stats.DefaultGate()
	nan := math.NaN()
	for _, c := range []struct {
		name   string
		shift  stats.Shift
		p      float64
		want   stats.Verdict
		reason string
	}{
		{"few values", stats.Shift{N: 99, M: 1000, KSLo: .9}, 1e-9, stats.Insufficient, "n 99 < 100"},
		{"few reference values", stats.Shift{N: 1000, M: 99, KSLo: .9}, 1e-9, stats.Insufficient, "reference n 99"},
		{"nothing to compare", stats.Shift{N: 1000, M: 1000}, nan, stats.Insufficient, "no p-value"},
		{"no evidence", stats.Shift{N: 100, M: 100, KSLo: .3}, .001, stats.Stable, "adjusted p 0.001"},
		{"evidence, ks at the page gate", stats.Shift{N: 1000, M: 1000, KSLo: .08}, .0009, stats.Material, "ks_lo 0.08"},
		{"evidence, psi at the page gate", stats.Shift{N: 1000, M: 1000, PSIDebiased: .04}, .0009, stats.Material, "psi_debiased 0.04"},
		{"evidence, ks at the ticket gate", stats.Shift{N: 1000, M: 1000, KSLo: .04}, 0, stats.Minor, "ks_lo 0.04"},
		{"evidence, psi at the ticket gate", stats.Shift{N: 1000, M: 1000, KSLo: nan, PSIDebiased: .01}, 0, stats.Minor, "psi_debiased 0.01"},
		{"evidence, no effect", stats.Shift{N: 1e6, M: 1e6, KSLo: .0399, PSIDebiased: .0099}, 0, stats.Stable, "effect too small"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, reason := gate.Verdict(c.shift, c.p)
			if got != c.want || !strings.Contains(reason, c.reason) {
				t.Errorf("%v (%s), want %v (%s)", got, reason, c.want, c.reason)
			}
		})
	}
	if s := stats.Verdict(9).String(); s != "verdict(9)" {
		t.Error(s)
	}
}

// A feature with too few values is not tested: it neither counts nor suffers.
func TestJudge(t *testing.T) {
	moved := stats.CompareNumeric(threeOf(normalPair(5000, 2000, .4)))
	still := stats.CompareNumeric(threeOf(normalPair(5000, 2001, 0)))
	few := stats.CompareNumeric(threeOf(normalPair(5000, 50, 2)))
	got := stats.DefaultGate().Judge([]stats.Shift{still, moved, few})
	want := []stats.Verdict{stats.Stable, stats.Material, stats.Insufficient}
	for i, j := range got {
		if j.Verdict != want[i] {
			t.Errorf("%d: %v (%s), want %v", i, j.Verdict, j.Reason, want[i])
		}
	}
	near(t, "adjusted among two", got[1].Adjusted, 2/stats.EValue(got[1].P), 1e-15)
	if !math.IsNaN(got[2].Adjusted) {
		t.Errorf("untested: adjusted %v, want NaN", got[2].Adjusted)
	}
}

// Goals of statistics.md 9.2: a feature-window within 15 us, a merge within 1 us.
func BenchmarkCompareNumeric(b *testing.B) {
	ref, cur, deciles := normalPair(50_000, 1000, .1)
	b.ReportAllocs()
	for b.Loop() {
		stats.CompareNumeric(ref, cur, deciles, nil)
	}
}

func BenchmarkMerge(b *testing.B) {
	ref, cur, _ := normalPair(50_000, 1000, .1)
	b.ReportAllocs()
	for b.Loop() {
		if err := ref.Merge(cur); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMoments(b *testing.B) {
	xs := draw(families[0], 256, rand.New(rand.NewPCG(1, 1)))
	var m stats.Moments
	for b.Loop() {
		m.AddColumn(xs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/value")
}

func BenchmarkAppendCounts(b *testing.B) {
	_, cur, _ := normalPair(50_000, 1000, .1)
	var buffer []byte
	for b.Loop() {
		buffer = stats.AppendCounts(buffer[:0], cur.Counts)
	}
	b.ReportMetric(float64(len(buffer)), "B/pane")
}

func BenchmarkTieTable(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	sorted := sortedDraw(families[2], 20_000, random)
	ref := stats.BuildNumeric(sorted, stats.BuildEdges(sorted, 256))
	for b.Loop() {
		stats.NewTieTable(ref, 1)
	}
}
