package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// Acceptance bands of statistics.md 9.3, on fewer and seeded simulations: the
// share of unchanged pairs rejected at 5 % and .1 %.

func TestPSICalibration(t *testing.T) {
	const m, sims = 10_000, 12_000
	for _, cells := range []int{10, 20} {
		for _, n := range []int{100, 1000, 10_000} {
			t.Run(fmt.Sprintf("B=%d n=%d", cells, n), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(cells), uint64(n)))
				at5, at01, inside, mean := 0, 0, 0, 0.0
				for range sims {
					psi := stats.NewPSI(uniformCounts(cells, m, random), uniformCounts(cells, n, random))
					at5 += reject(psi.P, .05)
					at01 += reject(psi.P, .001)
					if psi.Lo == 0 {
						inside++
					}
					mean += psi.Value / psi.Floor / sims
				}
				inBand(t, "5 %", float64(at5)/sims, .03, .06)
				inBand(t, ".1 %", float64(at01)/sims, .0003, .002)
				inBand(t, "mean over noise floor", mean, .90, 1.02) // .910 at B=20, n=100 in the design's table
				inBand(t, "interval reaches 0", float64(inside)/sims, .5, 1)
			})
		}
	}
}

// uniformCounts spreads n values over equally likely cells, four to a random
// word (a cell's share is off by at most 2^-16).
func uniformCounts(cells, n int, random *rand.Rand) []uint64 {
	counts := make([]uint64, cells)
	word := uint64(0)
	for i := range n {
		if i%4 == 0 {
			word = random.Uint64()
		}
		counts[int(word&0xffff)*cells>>16]++
		word >>= 16
	}
	return counts
}

func reject(p, alpha float64) int {
	if p < alpha {
		return 1
	}
	return 0
}

func inBand(t *testing.T, what string, got, lo, hi float64) {
	t.Helper()
	if !(got >= lo && got <= hi) {
		t.Errorf("%s: %v, want %v..%v", what, got, lo, hi)
	}
}

// The delta-method interval covers the true PSI of a .25 sd shift over deciles,
// .0598 (statistics.md 3), in 92..97 % of the windows.
func TestPSIIntervalCoverage(t *testing.T) {
	const sims = 800
	random := rand.New(rand.NewPCG(9, 9))
	cuts := make([]float64, 9)
	for i := range cuts {
		cuts[i] = stats.NormalQuantile(float64(i+1) / 10)
	}
	edges := mustEdges(t, cuts...)
	covered := 0
	for range sims {
		ref, cur := stats.NewNumeric(edges), stats.NewNumeric(edges)
		for range 5000 {
			ref.Add(random.NormFloat64())
		}
		for range 1000 {
			cur.Add(random.NormFloat64() + .25)
		}
		if psi := stats.NewPSI(ref.Counts, cur.Counts); psi.Lo <= .0598 && .0598 <= psi.Hi {
			covered++
		}
	}
	inBand(t, "coverage", float64(covered)/sims, .92, .97)
}

var tied = []family{
	{"3 % binary", func(r *rand.Rand) float64 {
		if r.Float64() < .03 {
			return 1
		}
		return 0
	}},
	{"poisson 2", func(r *rand.Rand) float64 {
		k, p := 0., r.Float64()
		for limit := math.Exp(-2); p > limit; k++ {
			p *= r.Float64()
		}
		return k
	}},
	families[2], // 60 % zeros
}

func TestTieAwareKS(t *testing.T) {
	const m, n, sims = 5000, 1000, 2500
	for _, f := range tied {
		t.Run(f.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(11, 1))
			edges := stats.BuildEdges(sortedDraw(f, m, random), 256)
			base := count(edges, draw(f, 100_000, random))
			tie := stats.NewTieTable(base, 42)
			aware, continuous := 0, 0
			for range sims {
				ref, cur := count(edges, draw(f, m, random)), count(edges, draw(f, n, random))
				d := stats.NewKS(ref, cur).Lo
				aware += reject(tie.P(d, n, m), .05)
				continuous += reject(stats.KSP(d, n, m), .05)
				if tie.P(d, n, m) > stats.KSP(d, n, m) {
					t.Fatal("the tie-aware p must not exceed the continuous one")
				}
			}
			inBand(t, "tie-aware at 5 %", float64(aware)/sims, .03, .06)
			inBand(t, "continuous at 5 %", float64(continuous)/sims, 0, .03)
		})
	}
}

func TestTieTable(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 3))
	binary := sortedDraw(tied[0], 20_000, random)
	edges := stats.BuildEdges(binary, 256)
	ref := stats.BuildNumeric(binary, edges)
	table := stats.NewTieTable(ref, 1)
	if again := stats.NewTieTable(ref, 1); *again != *table {
		t.Error("the same seed drew another table")
	}
	if other := stats.NewTieTable(ref, 2); *other == *table {
		t.Error("another seed drew the same table")
	}
	// one CDF point: |N(0, p(1-p))|, so P(|B| >= 1.96 sd) = .05
	sd := math.Sqrt(ref.CDF(0) * (1 - ref.CDF(0)))
	root := math.Sqrt(1 / (1/1000.0 + 1/20_000.0))
	near(t, "p at 1.96 sd", table.P(1.959964*sd/root, 1000, 20_000), .05, .006)
	near(t, "p at .001 sd", table.P(.001*sd/root, 1000, 20_000), 1, 0)
	// beyond the table the continuous p, but never more than the table's last
	if p := table.P(5*sd/root, 1000, 20_000); p > .001 {
		t.Errorf("p beyond the table = %v, want at most .001", p)
	}
	if p, q := table.P(.2, 1000, 20_000), stats.KSP(.2, 1000, 20_000); p != q {
		t.Errorf("p far beyond the table = %v, want the continuous %v", p, q)
	}
	last := 1.0
	for d := 0.0; d < .05; d += .0001 {
		p := table.P(d, 1000, 20_000)
		if p > last {
			t.Fatalf("p rises at %v", d)
		}
		last = p
	}

	normal := sortedDraw(families[0], 20_000, random)
	smooth := stats.BuildNumeric(normal, stats.BuildEdges(normal, 256))
	if stats.NewTieTable(smooth, 1) != nil {
		t.Error("a continuous baseline got a tie table")
	}
	small := stats.BuildNumeric(normal[:100], stats.BuildEdges(normal[:100], 256))
	if small.AtomMass() != 0 || stats.NewTieTable(small, 1) != nil {
		t.Error("a small baseline without ties got a tie table")
	}
	constant := stats.BuildNumeric([]float64{7, 7, 7}, stats.BuildEdges([]float64{7, 7, 7}, 8))
	if constant.AtomMass() != 1 || stats.NewTieTable(constant, 1) != nil {
		t.Error("a constant has no CDF point inside (0, 1)")
	}
	var none *stats.TieTable
	near(t, "nil table", none.P(.1, 500, 500), stats.KSP(.1, 500, 500), 0)

	data := stats.AppendTieTable(nil, table)
	back, rest, err := stats.DecodeTieTable(append(data, 9))
	if err != nil || len(rest) != 1 || *back != *table {
		t.Errorf("round trip: %v", err)
	}
	if back, _, err := stats.DecodeTieTable(stats.AppendTieTable(nil, nil)); back != nil || err != nil {
		t.Errorf("nil round trip: %v %v", back, err)
	}
	for _, bad := range [][]byte{nil, {2}, data[:100], append([]byte{1}, make([]byte, 60*8)...)[:80]} {
		if _, _, err := stats.DecodeTieTable(bad); err == nil {
			t.Errorf("decoded %d damaged bytes", len(bad))
		}
	}
}

// Null rejection of the categorical test, Zipf(1.1) categories with a tail that
// no baseline has seen whole: .045..070 in statistics.md 2.
func TestUnseenCalibration(t *testing.T) {
	const m, n, sims = 20_000, 2000, 400
	random := rand.New(rand.NewPCG(4, 4))
	zipf := rand.NewZipf(random, 1.1, 1, 1<<40)
	counts := map[string]uint64{}
	for range m {
		counts[fmt.Sprint(zipf.Uint64())]++
	}
	dict, ref := stats.BuildDictionary(counts, 100)
	rejected, more, unseen := 0, 0, 0.0
	for range sims {
		cur := stats.NewCategorical(dict)
		for range n {
			cur.Add(fmt.Sprint(zipf.Uint64()))
		}
		s := stats.CompareCategorical(ref, cur)
		rejected += reject(s.Chi2P, .05)
		more += reject(s.UnseenP, .05)
		unseen += s.Unseen / sims
	}
	// one baseline for all windows: its own error adds to the band
	inBand(t, "chi-square at 5 %", float64(rejected)/sims, .005, .12)
	inBand(t, "unseen at 5 %", float64(more)/sims, 0, .12)
	near(t, "unseen share", unseen, dict.UnseenRate(), .01)
}
