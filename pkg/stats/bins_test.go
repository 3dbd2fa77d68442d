package stats_test

import (
	"math"
	"slices"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// TestBins: counts add up at every width and where one overflows into the next.
func TestBins(t *testing.T) {
	b := stats.NewBins(4)
	want := make([]uint64, 4)
	for _, add := range []uint64{0, 1, 254, 1, 1, math.MaxUint16, 1, math.MaxUint32, 1, math.MaxUint64 / 4, math.MaxUint64 / 4} {
		counts := []uint64{add, 0, add / 2, 1}
		b.Add(counts)
		for i, c := range counts {
			want[i] += c
		}
		if got := b.Counts(); !slices.Equal(got, want) {
			t.Fatalf("after adding %d: %v, want %v", add, got, want)
		}
	}
	var none stats.Bins
	if none.Len() != 0 || none.Counts() != nil || b.Len() != 4 {
		t.Errorf("%d and %d bins, %v of none", b.Len(), none.Len(), none.Counts())
	}
}
