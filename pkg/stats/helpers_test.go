package stats_test

import (
	"math"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// count is the histogram of xs on edges.
func count(edges *stats.Edges, xs []float64) *stats.Numeric {
	h := stats.NewNumeric(edges)
	h.AddColumn(xs)
	return h
}

// near fails unless got is within tolerance of want; NaN is near NaN.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) && math.IsNaN(want) || got == want {
		return
	}
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v (within %g)", what, got, want, tolerance)
	}
}

func whole(xs []float64) []uint64 {
	counts := make([]uint64, len(xs))
	for i, x := range xs {
		counts[i] = uint64(x)
	}
	return counts
}

func plusZero(xs []float64) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = x + 0
	}
	return out
}
