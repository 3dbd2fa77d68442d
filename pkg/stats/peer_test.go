package stats_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// testdata/peers.json holds columns and what evidently 0.7.23 and NannyML 0.13.1
// said of them; testdata/peers.py made it.

type peerCase struct {
	Name       string
	Ref, Cur   json.RawMessage
	RefFormula *formula `json:"ref_formula"`
	CurFormula *formula `json:"cur_formula"`
	Evidently  evidentlyFigures
	NannyML    struct{ JS, KS *float64 }
}

// A formula gives columns too long to be written out.
type formula struct {
	N, Mul, Mod int
	Div, Add    float64
}

type evidentlyFigures struct {
	PSI, JS, Wasserstein *float64
	KSP                  *float64 `json:"ks_p"`
	Method               string
	Score, Threshold     float64
	Drift                bool
}

func (f *formula) values() (out []float64) {
	for i := range f.N {
		out = append(out, float64(i*f.Mul%f.Mod)/f.Div+f.Add)
	}
	return out
}

// rawColumn reads one side of a case.
func rawColumn(t *testing.T, text json.RawMessage, f *formula) stats.RawColumn {
	t.Helper()
	c := stats.RawColumn{}
	if f != nil {
		c.Numbers = f.values()
		slices.Sort(c.Numbers)
		return c
	}
	var names []string
	if json.Unmarshal(text, &names) == nil {
		c.Categories = map[string]uint64{}
		for _, name := range names {
			c.Categories[name]++
		}
		return c
	}
	if err := json.Unmarshal(text, &c.Numbers); err != nil {
		t.Fatal(err)
	}
	slices.Sort(c.Numbers)
	c.Whole = !slices.Contains([]byte(text), '.')
	return c
}

func peerCases(t *testing.T) (cases []peerCase) {
	t.Helper()
	load(t, "peers.json", &cases)
	if len(cases) != 24 {
		t.Fatalf("%d cases, want 24", len(cases))
	}
	return cases
}

// figure compares a figure that a tool may not have.
func figure(t *testing.T, what string, got float64, want *float64, rel float64) {
	t.Helper()
	if want == nil {
		if !math.IsNaN(got) {
			t.Errorf("%s = %v, and the tool has none", what, got)
		}
		return
	}
	if !(math.Abs(got-*want) <= rel*max(1e-3, math.Abs(*want))) {
		t.Errorf("%s = %v, the tool says %v", what, got, *want)
	}
}

func TestEvidentlyFigures(t *testing.T) {
	methods := map[string]bool{}
	for _, c := range peerCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			ref, cur := rawColumn(t, c.Ref, c.RefFormula), rawColumn(t, c.Cur, c.CurFormula)
			got := stats.EvidentlyNumeric(ref, cur)
			if ref.Categories != nil {
				got = stats.EvidentlyCategorical(ref, cur)
			}
			want := c.Evidently
			figure(t, "psi", got.PSI, want.PSI, 1e-9)
			figure(t, "js", got.JS, want.JS, 1e-9)
			figure(t, "ks p", got.KSP, want.KSP, 1e-9)
			figure(t, "wasserstein", got.Wasserstein, want.Wasserstein, 1e-9)
			figure(t, "score", got.Score, &want.Score, 1e-9)
			if got.Method != want.Method || got.Threshold != want.Threshold || got.Drift != want.Drift {
				t.Errorf("decided by %s at %v: %v, evidently by %s at %v: %v", got.Method, got.Threshold, got.Drift, want.Method, want.Threshold, want.Drift)
			}
		})
		methods[c.Evidently.Method] = true
	}
	for _, m := range []string{"ks", "wasserstein", "jensenshannon", "chisquare", "z"} {
		if !methods[m] {
			t.Errorf("no case is decided by %s", m)
		}
	}
}

func TestNannyMLFigures(t *testing.T) {
	for _, c := range peerCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			ref, cur := rawColumn(t, c.Ref, c.RefFormula), rawColumn(t, c.Cur, c.CurFormula)
			got := stats.NannyMLNumeric(ref, cur)
			if ref.Categories != nil {
				got = stats.NannyMLCategorical(ref, cur)
			}
			figure(t, "js", got.JS, c.NannyML.JS, 1e-9)
			figure(t, "ks", got.KS, c.NannyML.KS, 1e-9)
			if !math.IsNaN(got.PSI) || got.Method != "" {
				t.Errorf("psi = %v by method %q, and NannyML has none", got.PSI, got.Method)
			}
		})
	}
}

// The counts of stats.json come from the rules named in its keys: evidently's
// for cells that are empty is the first, as long as no share is below 0.0001.
func TestPeersOnHistogramOracles(t *testing.T) {
	var file struct {
		Hist []struct {
			Name string
			Ref  []float64 `json:"ref_counts"`
			Cur  []float64 `json:"cur_counts"`
			PSI  *float64  `json:"psi_replace_1e_4"`
			Nat  float64   `json:"js_distance_nat"`
			Bits float64   `json:"js_distance_base2"`
		}
	}
	load(t, "stats.json", &file)
	for _, c := range file.Hist {
		t.Run(c.Name, func(t *testing.T) {
			ref, cur := categories(c.Ref), categories(c.Cur)
			if min(smallest(ref.Categories), smallest(cur.Categories)) > .0001 {
				got := stats.EvidentlyCategorical(ref, cur)
				figure(t, "evidently psi", got.PSI, c.PSI, 1e-9)
				figure(t, "evidently js", got.JS, &c.Nat, 1e-6) // the root of a rounding error
			}
			figure(t, "nannyml js", stats.NannyMLCategorical(ref, cur).JS, &c.Bits, 1e-5)
		})
	}
}

func categories(counts []float64) stats.RawColumn {
	c := stats.RawColumn{Categories: map[string]uint64{}}
	for i, n := range counts {
		if n > 0 {
			c.Categories[fmt.Sprint(i)] = uint64(n)
		}
	}
	return c
}

// smallest returns the smallest share.
func smallest(counts map[string]uint64) float64 {
	total, least := uint64(0), uint64(math.MaxUint64)
	for _, n := range counts {
		total, least = total+n, min(least, n)
	}
	return float64(least) / float64(total)
}

// The samples of stats.json are scipy's ks_2samp and wasserstein_distance.
func TestPeersOnSampleOracles(t *testing.T) {
	var file struct {
		Samples []struct {
			Name string
			A, B []float64
			D    float64  `json:"ks_D"`
			P    float64  `json:"ks_p_exact"`
			W    *float64 `json:"wasserstein_over_refstd"`
		}
	}
	load(t, "stats.json", &file)
	for _, c := range file.Samples {
		t.Run(c.Name, func(t *testing.T) {
			slices.Sort(c.A)
			slices.Sort(c.B)
			got := stats.EvidentlyNumeric(stats.RawColumn{Numbers: c.A}, stats.RawColumn{Numbers: c.B})
			figure(t, "d", got.KS, &c.D, 1e-12)
			figure(t, "p", got.KSP, &c.P, 1e-9)
			figure(t, "wasserstein", got.Wasserstein, c.W, 1e-9)
			figure(t, "nannyml d", stats.NannyMLNumeric(stats.RawColumn{Numbers: c.A}, stats.RawColumn{Numbers: c.B}).KS, &c.D, 1e-12)
		})
	}
}

func TestPeersOfEmptyColumns(t *testing.T) {
	full, none := stats.RawColumn{Numbers: []float64{1, 2}}, stats.RawColumn{}
	for i, got := range []stats.PeerShift{
		stats.EvidentlyNumeric(full, none), stats.EvidentlyNumeric(none, full), stats.EvidentlyCategorical(none, none),
		stats.NannyMLNumeric(full, none), stats.NannyMLNumeric(none, full), stats.NannyMLCategorical(none, none),
	} {
		if !math.IsNaN(got.PSI) || !math.IsNaN(got.JS) || !math.IsNaN(got.KS) || got.Method != "" || got.Drift {
			t.Errorf("%d: %+v, want nothing of an empty side", i, got)
		}
	}
}

// TestPeersOfHugeRanges: the largest numbers of both signs, as sentinels of other
// programs are, have no bins of finite width; what is on bins is not defined.
func TestPeersOfHugeRanges(t *testing.T) {
	var xs []float64
	for i := range 25 {
		xs = append(xs, float64(i))
	}
	column := stats.RawColumn{Numbers: slices.Concat([]float64{-math.MaxFloat64}, xs, []float64{math.MaxFloat64})}
	if got := stats.EvidentlyNumeric(column, column); !math.IsNaN(got.PSI) || !math.IsNaN(got.JS) || got.KS != 0 || got.Drift {
		t.Errorf("evidently %+v, want KS 0 and no figure on bins", got)
	}
	if got := stats.NannyMLNumeric(column, column); !math.IsNaN(got.JS) || got.KS != 0 {
		t.Errorf("nannyml %+v, want KS 0 and no figure on bins", got)
	}
	for len(xs) < 10_000 { // from here on NannyML's KS is on bins too
		xs = append(xs, float64(len(xs)))
	}
	column.Numbers = slices.Concat([]float64{-math.MaxFloat64}, xs, []float64{math.MaxFloat64})
	if got := stats.NannyMLNumeric(column, column); !math.IsNaN(got.KS) {
		t.Errorf("nannyml %+v, want no figure on bins", got)
	}
	column.Numbers = []float64{0, 1e200, 2e200, 3e200} // only the variance overflows
	if got := stats.NannyMLNumeric(column, column); !math.IsNaN(got.JS) || got.KS != 0 {
		t.Errorf("nannyml %+v, want KS 0 and no figure on bins", got)
	}
}
