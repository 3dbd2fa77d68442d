package daemon

import (
	"slices"
	"sync"

	"driftd.dev/driftd/pkg/api"
)

// Bounds of the exported histograms, seconds.
var (
	checkpointBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	delayBounds      = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400}
)

// A histogram counts observations by upper bounds; see api.Histogram.
type histogram api.Histogram

func newHistogram(bounds []float64) histogram {
	return histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

func (h *histogram) observe(x float64) {
	i, _ := slices.BinarySearch(h.Bounds, x)
	h.Counts[i]++
	h.Sum += x
}

func (h *histogram) export() api.Histogram {
	return api.Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum}
}

// A sharedHistogram is observed by one goroutine and read by others.
type sharedHistogram struct {
	mu sync.Mutex // guards histogram
	histogram
}

func newSharedHistogram(bounds []float64) *sharedHistogram {
	return &sharedHistogram{histogram: newHistogram(bounds)}
}

func (h *sharedHistogram) observe(x float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.histogram.observe(x)
}

func (h *sharedHistogram) export() api.Histogram {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.histogram.export()
}
