package stats

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat"
)

// A PeerShift is how far another tool says that a column moved, by its own
// formulas, defaults and faults. It is for people who migrate, to see that both
// tools look at the same data: nothing in driftd decides by it. Figures that
// the tool does not have for such a column are NaN.
type PeerShift struct {
	PSI         float64
	JS          float64 // distance, the root of the divergence; base and bins are the tool's
	KS          float64 // distance
	KSP         float64 // its p-value
	Wasserstein float64 // in standard deviations of the reference

	Method    string // the tool's own name of what it decides by when nothing is chosen, "" if it cannot
	Score     float64
	Threshold float64
	Drift     bool
}

// A RawColumn is one side of a column as raw values: the figures of other tools
// are made of these, not of histograms. One of Numbers and Categories is used.
type RawColumn struct {
	Numbers    []float64 // finite, ascending
	Whole      bool      // integers without a gap: pandas reads them as int64
	Categories map[string]uint64
}

// sturgesEdges returns the edges of numpy's histogram_bin_edges(bins="sturges")
// over ascending values, nil if their range overflows.
func sturgesEdges(sorted []float64, whole bool) []float64 {
	span := sorted[len(sorted)-1] - sorted[0]
	width := span / (math.Log2(float64(len(sorted))) + 1)
	if whole && width > 0 && width < 1 { // numpy 2: no bin of integers is empty by construction
		width = 1
	}
	return equalEdges(sorted[0], sorted[len(sorted)-1], width)
}

// doaneEdges returns the edges of numpy's histogram_bin_edges(bins="doane"), nil if
// the range of the values or their variance overflows.
func doaneEdges(sorted []float64) []float64 {
	n := float64(len(sorted))
	lo, hi := sorted[0], sorted[len(sorted)-1]
	sigma := math.Sqrt(stat.PopVariance(sorted, nil))
	switch {
	case math.IsNaN(sigma) || math.IsInf(sigma, 1):
		return nil
	case n <= 2 || sigma == 0:
		return equalEdges(lo, hi, 0)
	}
	mean, skew := stat.Mean(sorted, nil), 0.0
	for _, x := range sorted {
		z := (x - mean) / sigma
		skew += z * z * z / n
	}
	spread := math.Sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
	return equalEdges(lo, hi, (hi-lo)/(1+math.Log2(n)+math.Log2(1+math.Abs(skew)/spread)))
}

// equalEdges splits [lo, hi] into bins of at most the width; 0 is one bin. It is nil
// if the range overflows.
func equalEdges(lo, hi, width float64) []float64 {
	switch {
	case math.IsInf(hi-lo, 1):
		return nil
	case lo == hi:
		lo, hi = lo-.5, hi+.5
	}
	bins := 1
	if width > 0 {
		bins = int(math.Ceil((hi - lo) / width))
	}
	return linspace(lo, hi, bins)
}

// linspace returns the edges of equal bins, rounded as numpy rounds them.
func linspace(lo, hi float64, bins int) []float64 {
	edges := make([]float64, bins+1)
	step := (hi - lo) / float64(bins)
	for i := range edges {
		edges[i] = float64(i)*step + lo
	}
	edges[bins] = hi
	return edges
}

// binCounts counts ascending values in bins that hold their lower edge, the
// last one both: numpy.histogram. What lies outside is not counted. It is nil without
// edges.
func binCounts(sorted, edges []float64) []float64 {
	if len(edges) == 0 {
		return nil
	}
	counts := make([]float64, len(edges)-1)
	before := sort.SearchFloat64s(sorted, edges[0])
	for i := range counts {
		after := sort.SearchFloat64s(sorted, edges[i+1])
		if i == len(counts)-1 {
			after = sort.Search(len(sorted), func(k int) bool { return sorted[k] > edges[i+1] })
		}
		counts[i] = float64(after - before)
		before = after
	}
	return counts
}

// shares divides counts by n.
func shares(counts []float64, n int) []float64 {
	out := make([]float64, len(counts))
	for i, c := range counts {
		out[i] = c / float64(n)
	}
	return out
}

// categoryCounts lines up the counts of both sides, the categories of the
// reference first, each part ascending by name.
func categoryCounts(ref, cur map[string]uint64) (a, c []float64) {
	var names, unseen []string
	for name := range ref {
		names = append(names, name)
	}
	for name := range cur {
		if _, known := ref[name]; !known {
			unseen = append(unseen, name)
		}
	}
	slices.Sort(names)
	slices.Sort(unseen)
	for _, name := range append(names, unseen...) {
		a, c = append(a, float64(ref[name])), append(c, float64(cur[name]))
	}
	return a, c
}

// valueCounts is categoryCounts of ascending numbers, each a category.
func valueCounts(ref, cur []float64) (a, c []float64) {
	for len(ref)+len(cur) > 0 {
		at := math.Inf(1)
		if len(ref) > 0 {
			at = ref[0]
		}
		if len(cur) > 0 {
			at = min(at, cur[0])
		}
		i, k := run(ref, at), run(cur, at)
		a, c = append(a, float64(i)), append(c, float64(k))
		ref, cur = ref[i:], cur[k:]
	}
	return a, c
}

// run counts the leading values that equal x.
func run(sorted []float64, x float64) int {
	n := 0
	for n < len(sorted) && sorted[n] == x {
		n++
	}
	return n
}

// distinct counts different values among ascending ones.
func distinct(sorted []float64) int {
	n := 0
	for i, x := range sorted {
		if i == 0 || x != sorted[i-1] {
			n++
		}
	}
	return n
}

// jensenShannonDistance is scipy.spatial.distance.jensenshannon in nats: the
// root of the divergence of two vectors, each brought to sum 1.
func jensenShannonDistance(p, q []float64) float64 {
	var sp, sq, sum float64
	for i := range p {
		sp, sq = sp+p[i], sq+q[i]
	}
	for i := range p {
		a, b := p[i]/sp, q[i]/sq
		mid := (a + b) / 2
		if a > 0 {
			sum += a * math.Log(a/mid)
		}
		if b > 0 {
			sum += b * math.Log(b/mid)
		}
	}
	return math.Sqrt(max(0, sum/2))
}

// sampleWasserstein is the first Wasserstein distance between two ascending
// samples: the area between their CDFs.
func sampleWasserstein(a, b []float64) float64 {
	n, m := float64(len(a)), float64(len(b))
	var i, k int
	sum, last := 0.0, min(a[0], b[0])
	for i < len(a) || k < len(b) {
		at := math.Inf(1)
		if i < len(a) {
			at = a[i]
		}
		if k < len(b) {
			at = min(at, b[k])
		}
		sum += (at - last) * math.Abs(float64(i)/n-float64(k)/m)
		i, k, last = i+run(a[i:], at), k+run(b[k:], at), at
	}
	return sum
}
