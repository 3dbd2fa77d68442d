package stats_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/stats"
)

// testdata/drift_small.json and stats.json were computed with scipy 1.10.1 from
// the formulas of the peers each case names.

type smallCase struct {
	Name       string
	Ref, Cur   []float64
	D          float64 `json:"ks_D"`
	K          int
	Edges      []float64
	RefCounts  []uint64  `json:"ref_counts"`
	CurCounts  []uint64  `json:"cur_counts"`
	Lo         float64   `json:"ks_lo"`
	Hi         float64   `json:"ks_hi"`
	PSIEdges   []float64 `json:"psi_edges"`
	PSIRef     []uint64  `json:"psi_ref"`
	PSICur     []uint64  `json:"psi_cur"`
	PSI        float64   `json:"psi_jeffreys"`
	PSIP       float64   `json:"psi_p"`
	NoiseFloor float64   `json:"psi_noise_floor"`
	JS         float64   `json:"js_nats"`
	Hellinger  float64
	W1         float64 `json:"wasserstein1"`
}

func load(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(nanless(data), into); err != nil {
		t.Fatal(err)
	}
}

// nanless makes Python's NaN readable.
func nanless(data []byte) []byte {
	return bytes.ReplaceAll(data, []byte(": NaN"), []byte(": null"))
}

func TestSmallOracles(t *testing.T) {
	var cases []smallCase
	load(t, "drift_small.json", &cases)
	if len(cases) != 12 {
		t.Fatalf("%d cases, want 12", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			sorted := slices.Sorted(slices.Values(c.Ref))
			edges := stats.BuildEdges(sorted, c.K)
			if diff := cmp.Diff(plusZero(c.Edges), edges.Values()); diff != "" {
				t.Error("edges:", diff)
			}
			ref, cur := count(edges, c.Ref), count(edges, c.Cur)
			if diff := cmp.Diff([][]uint64{c.RefCounts, c.CurCounts}, [][]uint64{ref.Counts, cur.Counts}); diff != "" {
				t.Error("counts:", diff)
			}
			ks := stats.NewKS(ref, cur)
			near(t, "ks lo", ks.Lo, c.Lo, 1e-12)
			near(t, "ks hi", ks.Hi, c.Hi, 1e-12)
			checkSmallCells(t, c)

			// point bins for both samples: Wasserstein is exact
			all := stats.BuildEdges(slices.Sorted(slices.Values(slices.Concat(c.Ref, c.Cur))), 1000)
			inf := math.Inf(1)
			near(t, "w1", stats.Wasserstein(count(all, c.Ref), count(all, c.Cur), -inf, inf), c.W1, 1e-12)
			exact := stats.NewKS(count(all, c.Ref), count(all, c.Cur))
			near(t, "exact D lo", exact.Lo, c.D, 1e-12)
			near(t, "exact D hi", exact.Hi, c.D, 1e-12)
		})
	}
}

func checkSmallCells(t *testing.T, c smallCase) {
	t.Helper()
	cells, err := stats.NewEdges(c.PSIEdges)
	if err != nil {
		t.Fatal(err)
	}
	ref, cur := count(cells, c.Ref), count(cells, c.Cur)
	if diff := cmp.Diff([][]uint64{c.PSIRef, c.PSICur}, [][]uint64{ref.Counts, cur.Counts}); diff != "" {
		t.Error("psi counts:", diff)
	}
	want := c
	if c.Name == "constant same" { // the file keeps a jointly empty cell; dropped, nothing is left (statistics.md 9)
		want.PSI, want.PSIP, want.NoiseFloor = 0, 1, 0
	}
	s := stats.CompareNumeric(ref, cur, cells, nil)
	near(t, "psi", s.PSI, want.PSI, 1e-12)
	near(t, "psi p", s.PSIP, want.PSIP, 1e-9)
	near(t, "noise floor", s.NoiseFloor, want.NoiseFloor, 1e-12)
	near(t, "debiased", s.PSIDebiased, want.PSI-want.NoiseFloor, 1e-12)
	near(t, "js", s.JS, c.JS, 1e-12)
	near(t, "hellinger", s.Hellinger, c.Hellinger, 1e-12)
}

type histCase struct {
	Name      string
	Ref       []float64 `json:"ref_counts"`
	Cur       []float64 `json:"cur_counts"`
	PSI       *float64  `json:"psi_exact"`
	JS        float64   `json:"js_distance_nat"`
	Hellinger float64
	KS        float64  `json:"ks_binned"`
	Chi2      *float64 `json:"chi2"`
	Chi2P     *float64 `json:"chi2_p"`
	Chi2DF    *float64 `json:"chi2_df"`
}

func TestHistogramOracles(t *testing.T) {
	var file struct{ Hist []histCase }
	load(t, "stats.json", &file)
	if len(file.Hist) != 17 {
		t.Fatalf("%d cases, want 17", len(file.Hist))
	}
	for _, c := range file.Hist {
		t.Run(c.Name, func(t *testing.T) {
			ref, cur := whole(c.Ref), whole(c.Cur)
			psi, chi2 := stats.NewPSI(ref, cur), stats.NewChiSquare(ref, cur)
			if c.PSI != nil {
				near(t, "raw psi", psi.Raw, *c.PSI, 1e-12)
			} else if !math.IsInf(psi.Raw, 1) && psi.Cells == len(ref) {
				t.Errorf("raw psi = %v, want +Inf with a cell empty on one side", psi.Raw)
			}
			near(t, "js", math.Sqrt(stats.JensenShannon(ref, cur)), c.JS, 1e-7) // the root of a rounding error
			near(t, "hellinger", stats.Hellinger(ref, cur), c.Hellinger, 1e-7)
			if c.Chi2 != nil {
				near(t, "chi2", chi2.Stat, *c.Chi2, 1e-9)
				near(t, "chi2 p", chi2.P, *c.Chi2P, 1e-9)
				near(t, "chi2 df", chi2.DF, *c.Chi2DF, 0)
			}
			near(t, "ks", binnedKS(t, ref, cur).Lo, c.KS, 1e-12)
			sum := 0.0
			for _, share := range stats.PSIShares(ref, cur) {
				sum += share
			}
			near(t, "sum of shares", sum, psi.Value, 1e-12)
		})
	}
}

// binnedKS compares counts of the whole numbers 0, 1, 2, ...
func binnedKS(t *testing.T, ref, cur []uint64) stats.KS {
	t.Helper()
	var a, c []float64
	for i := range ref {
		a = append(a, slices.Repeat([]float64{float64(i)}, int(ref[i]))...)
		c = append(c, slices.Repeat([]float64{float64(i)}, int(cur[i]))...)
	}
	edges := stats.BuildEdges(slices.Sorted(slices.Values(slices.Concat(a, c))), 1_000_000)
	return stats.NewKS(count(edges, a), count(edges, c))
}

func TestSampleOracles(t *testing.T) {
	var file struct {
		Samples []struct {
			Name string
			A, B []float64
			D    float64 `json:"ks_D"`
			P    float64 `json:"ks_p_exact"`
			W1   float64 `json:"wasserstein"`
		}
	}
	load(t, "stats.json", &file)
	for _, c := range file.Samples {
		t.Run(c.Name, func(t *testing.T) {
			edges := stats.BuildEdges(slices.Sorted(slices.Values(slices.Concat(c.A, c.B))), 1000)
			a, b := count(edges, c.A), count(edges, c.B)
			ks := stats.NewKS(a, b)
			near(t, "D lo", ks.Lo, c.D, 1e-12)
			near(t, "D hi", ks.Hi, c.D, 1e-12)
			near(t, "w1", stats.Wasserstein(a, b, math.Inf(-1), math.Inf(1)), c.W1, 1e-12*max(1, c.W1))
			p := stats.KSP(ks.Lo, a.N, b.N)
			if a.N < 20 || b.N < 20 {
				near(t, "exact p", p, c.P, 1e-12)
			} else if p > 2*c.P || p < c.P/2 { // the limit law, seven standard errors out
				t.Errorf("p = %v, exact %v", p, c.P)
			}
		})
	}
}

func TestMultipleTestingOracles(t *testing.T) {
	var file struct {
		Multitest struct {
			P  []float64
			BH []float64 `json:"bh_05"`
		}
		Quantiles map[string]float64 `json:"chi2_ppf"`
	}
	load(t, "stats.json", &file)
	for i, p := range stats.BH(file.Multitest.P) {
		near(t, "bh", p, file.Multitest.BH[i], 1e-12)
	}
	if len(file.Quantiles) != 21 {
		t.Errorf("%d quantiles, want 21", len(file.Quantiles))
	}
	for key, want := range file.Quantiles { // such as 0.95_9: of .95, 9 degrees of freedom
		share, freedom, _ := strings.Cut(key, "_")
		p, err := strconv.ParseFloat(share, 64)
		df, err2 := strconv.ParseFloat(freedom, 64)
		if err := errors.Join(err, err2); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		near(t, key, stats.ChiSquareQuantile(1-p, df), want, 1e-8)
		near(t, key, stats.ChiSquareTail(want, df), 1-p, 1e-10)
	}
}
