package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/stats"
)

// bend makes a current sample hostile to the bins of the reference.
var bends = []struct {
	name string
	bend func(float64, *rand.Rand) float64
}{
	{"same", func(x float64, _ *rand.Rand) float64 { return x }},
	{"shifted", func(x float64, r *rand.Rand) float64 { return x + r.NormFloat64()*.1 }},
	{"scaled", func(x float64, _ *rand.Rand) float64 { return x * 1.3 }},
	{"one ulp up", func(x float64, _ *rand.Rand) float64 { return math.Nextafter(x, math.Inf(1)) }},
	{"one ulp down", func(x float64, _ *rand.Rand) float64 { return math.Nextafter(x, math.Inf(-1)) }},
	{"subnormal", func(x float64, r *rand.Rand) float64 { return math.Copysign(5e-324*float64(r.IntN(4)), x) }},
	{"signed zeros", func(x float64, r *rand.Rand) float64 { return math.Copysign(0, r.Float64()-.5) }},
	{"extreme", func(x float64, r *rand.Rand) float64 { return math.Copysign(math.MaxFloat64, x) }},
}

// Property of statistics.md 9.1: for any two samples, D_lo <= D <= D_hi and
// D - D_lo <= 1/K; PSI on declared cells is the batch value; the lookup agrees
// with a plain search; the bytes come back.
func TestProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(20, 26))
	cases := 0
	for _, k := range []int{8, 64, 256, 1024} {
		for _, refFamily := range families {
			for _, curFamily := range families {
				for _, b := range bends {
					m := []int{1, 3, 40, 400, 2000}[random.IntN(5)]
					n := []int{1, 2, 30, 300, 1500}[random.IntN(5)]
					ref, cur := sortedDraw(refFamily, m, random), draw(curFamily, n, random)
					for i := range cur {
						cur[i] = b.bend(cur[i], random)
					}
					cases++
					name := fmt.Sprintf("K=%d %s(%d) against %s(%d) %s", k, refFamily.name, m, curFamily.name, n, b.name)
					if !t.Run(name, func(t *testing.T) { checkPair(t, k, ref, cur) }) {
						return
					}
				}
			}
		}
	}
	if cases < 2000 {
		t.Fatalf("%d cases, want 2,000", cases)
	}
}

func checkPair(t *testing.T, k int, sorted, xs []float64) {
	t.Helper()
	edges, deciles := stats.BaselineEdges(sorted, k)
	if most := 4*k + 2 + 2*19 + 9; edges.Len() > most {
		t.Errorf("%d edges, want at most %d", edges.Len(), most)
	}
	ref, cur := stats.BuildNumeric(sorted, edges), count(edges, xs)
	for i := range min(len(xs), 50) {
		if got, want := edges.Bin(xs[i]), plainBin(edges.Values(), xs[i]); got != want {
			t.Fatalf("bin of %v = %d, want %d", xs[i], got, want)
		}
	}
	limit := max(1, len(sorted)/k)
	for i, c := range ref.Counts {
		if c > uint64(limit) && !edges.Point(i) {
			t.Fatalf("bin %d holds %d of the baseline, cap %d", i, c, limit)
		}
	}
	ks, d := stats.NewKS(ref, cur), exactKS(sorted, xs)
	if d < ks.Lo-1e-12 || d > ks.Hi+1e-12 || d-ks.Lo > 1/float64(k)+1e-12 {
		t.Errorf("KS %v not in [%v, %v], or more than 1/%d above", d, ks.Lo, ks.Hi, k)
	}
	if len(sorted) <= k {
		near(t, "KS where every value is a point bin", ks.Lo, d, 1e-12)
	}
	shift := stats.CompareNumeric(ref, cur, deciles, nil)
	near(t, "psi against batch", shift.PSI, batchPSI(deciles.Values(), sorted, xs), 1e-12)
	if shift.PSI < 0 || shift.JS < 0 || shift.JS > math.Ln2+1e-12 || shift.Hellinger < 0 || shift.Hellinger > 1 {
		t.Errorf("out of range: %+v", shift)
	}
	back := stats.CompareNumeric(cur, ref, deciles, nil)
	near(t, "psi is symmetric", back.PSI, shift.PSI, 1e-12)
	near(t, "ks is symmetric", back.KSLo, shift.KSLo, 1e-12)
	checkNumericBytes(t, cur)
}

func checkNumericBytes(t *testing.T, h *stats.Numeric) {
	t.Helper()
	data := append(stats.AppendNumeric(nil, h), 0xee)
	back, rest, err := stats.DecodeNumeric(data, h.Edges)
	if err != nil || len(rest) != 1 {
		t.Fatalf("decode: %v, %d bytes left", err, len(rest))
	}
	if diff := cmp.Diff(h.Counts, back.Counts); diff != "" || h.Moments != back.Moments {
		t.Errorf("round trip: %s %+v %+v", diff, h.Moments, back.Moments)
	}
	edges, rest, err := stats.DecodeEdges(append(stats.AppendEdges(nil, h.Edges), 1, 2))
	if err != nil || len(rest) != 2 || !edges.Same(h.Edges) {
		t.Errorf("edges round trip: %v", err)
	}
}

// plainBin is the definition: the first edge at or above x.
func plainBin(edges []float64, x float64) int {
	for i, e := range edges {
		if x <= e {
			return i
		}
	}
	return len(edges)
}

// exactKS is the statistic of the raw samples, ties handled.
func exactKS(a, b []float64) float64 {
	x, y := slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	i, j, d := 0, 0, 0.0
	for i < len(x) && j < len(y) {
		v := min(x[i], y[j])
		for i < len(x) && x[i] <= v {
			i++
		}
		for j < len(y) && y[j] <= v {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(x))-float64(j)/float64(len(y))))
	}
	return d
}

// batchPSI bins the raw rows and applies the textbook formula.
func batchPSI(edges, ref, cur []float64) float64 {
	p, q := make([]float64, len(edges)+1), make([]float64, len(edges)+1)
	for _, x := range ref {
		p[plainBin(edges, x)]++
	}
	for _, x := range cur {
		q[plainBin(edges, x)]++
	}
	cells := 0.0
	for i := range p {
		if p[i]+q[i] > 0 {
			cells++
		}
	}
	sum := 0.0
	for i := range p {
		if p[i]+q[i] > 0 {
			a, c := (p[i]+.5)/(float64(len(ref))+cells/2), (q[i]+.5)/(float64(len(cur))+cells/2)
			sum += (c - a) * math.Log(c/a)
		}
	}
	return sum
}

// Merging is addition: any order, any cut, the same counts bit for bit; and
// sequential columns give the moments of one long column bit for bit.
func TestMergeIsUnion(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			edges := stats.BuildEdges(sortedDraw(f, 3000, random), 256)
			xs := draw(f, 5000, random)
			xs[17], xs[400], xs[401] = math.NaN(), math.Inf(1), math.Inf(-1)
			whole := count(edges, xs)
			a, b, c := count(edges, xs[:1000]), count(edges, xs[1000:1003]), count(edges, xs[1003:])
			left, right := merged(t, merged(t, a, b), c), merged(t, c, merged(t, b, a))
			for _, m := range []*stats.Numeric{left, right} {
				if diff := cmp.Diff(whole.Counts, m.Counts); diff != "" {
					t.Error(diff)
				}
				if m.N != whole.N || m.NaN != 1 || m.PosInf != 1 || m.NegInf != 1 || m.Min != whole.Min || m.Max != whole.Max {
					t.Errorf("moments %+v, want %+v", m.Moments, whole.Moments)
				}
				near(t, "mean", m.Mean, whole.Mean, 1e-9*(1+math.Abs(whole.Mean)))
				near(t, "sd", m.SD(), whole.SD(), 1e-9*(1+whole.SD()))
			}
			pieces := stats.NewNumeric(edges)
			for i := 0; i < len(xs); i += 7 {
				pieces.AddColumn(xs[i:min(i+7, len(xs))])
			}
			single := stats.NewNumeric(edges)
			for _, x := range xs {
				single.Add(x)
			}
			if pieces.Moments != whole.Moments || single.Moments != whole.Moments || !slices.Equal(pieces.Counts, single.Counts) {
				t.Error("cutting the values into columns changed the result")
			}
			pane := make([]uint32, edges.Bins())
			edges.AddColumn(pane, finite(xs))
			sum := stats.NewNumeric(edges)
			if err := sum.AddPane(pane, whole.Moments); err != nil || !slices.Equal(sum.Counts, whole.Counts) {
				t.Errorf("add pane: %v", err)
			}
		})
	}
}

func merged(t *testing.T, a, b *stats.Numeric) *stats.Numeric {
	t.Helper()
	sum := a.Clone()
	if err := sum.Merge(b); err != nil {
		t.Fatal(err)
	}
	return sum
}

func finite(xs []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(xs), func(x float64) bool { return x-x != 0 })
}

// Coarsening equals counting on the coarse edges, and edges that are no subset
// are refused.
func TestCoarsen(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	for _, f := range families {
		sorted, xs := sortedDraw(f, 4000, random), draw(f, 900, random)
		fine, deciles := stats.BaselineEdges(sorted, 256, -3, 1e9, math.NaN(), math.Inf(1))
		for _, to := range []*stats.Edges{deciles, stats.QuantileEdges(sorted, 20), fine, mustEdges(t), mustEdges(t, -3, 1e9)} {
			got, err := count(fine, xs).Coarsen(to)
			if err != nil {
				t.Fatal(f.name, err)
			}
			if diff := cmp.Diff(count(to, xs).Counts, got.Counts); diff != "" || !fine.Contains(to) {
				t.Error(f.name, diff)
			}
		}
		strange := mustEdges(t, -3, .123456789)
		if _, err := count(fine, xs).Coarsen(strange); err == nil || fine.Contains(strange) {
			t.Error(f.name, "coarsened to edges it does not have")
		}
	}
}

func mustEdges(t *testing.T, values ...float64) *stats.Edges {
	t.Helper()
	e, err := stats.NewEdges(values)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestMonotone(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for _, f := range families {
		sorted := sortedDraw(f, 3000, random)
		h := stats.BuildNumeric(sorted, stats.BuildEdges(sorted, 256))
		last := math.Inf(-1)
		for p := 0.0; p <= 1; p += .001 {
			q := h.Quantile(p)
			if q < last || q < h.Min || q > h.Max {
				t.Fatalf("%s: quantile %v = %v after %v", f.name, p, q, last)
			}
			last = q
			if got := h.CDF(q); got < p-1./256-1e-9 {
				t.Fatalf("%s: CDF(Quantile(%v)) = %v", f.name, p, got)
			}
			// the exact quantile has its rank within one bin
			exact := sorted[min(int(p*3000), 2999)]
			if d := math.Abs(h.CDF(exact) - p); d > 1./256+1e-9 && h.AtomMass() == 0 {
				t.Fatalf("%s: CDF of the %v quantile off by %v", f.name, p, d)
			}
		}
	}
}
