package stats

import (
	"fmt"
	"math"
	"slices"
)

// Numeric is the histogram of one numeric feature over one set of values.
//
// Counts has Edges.Bins() elements that sum to N. A Numeric without edges (its
// zero value) is learning: it keeps moments only and Counts stays nil. NaN and
// infinities are counted in the Moments and never reach a bin.
type Numeric struct {
	Moments
	Edges  *Edges
	Counts []uint64
}

// NewNumeric returns an empty histogram on edges; nil edges mean learning.
func NewNumeric(edges *Edges) *Numeric {
	h := &Numeric{Edges: edges}
	if edges != nil {
		h.Counts = make([]uint64, edges.Bins())
	}
	return h
}

// Add counts one value.
func (h *Numeric) Add(x float64) {
	h.Moments.Add(x)
	if h.Edges != nil && x-x == 0 {
		h.Counts[h.Edges.search(x)]++
	}
}

// AddColumn counts a column of values, which may hold NaN and infinities.
func (h *Numeric) AddColumn(xs []float64) {
	finite := h.N
	h.Moments.AddColumn(xs)
	switch {
	case h.Edges == nil:
	case h.N-finite == uint64(len(xs)):
		addColumn(h.Edges, h.Counts, xs)
	default:
		for _, x := range xs {
			if x-x == 0 {
				h.Counts[h.Edges.search(x)]++
			}
		}
	}
}

// AddPane adds the counts and moments of a pane that was counted on the same
// edges. counts must have Edges.Bins() elements, or be nil while learning.
func (h *Numeric) AddPane(counts []uint32, m Moments) error {
	if len(counts) != len(h.Counts) {
		return fmt.Errorf("add a pane of %d bins to %d bins: %w", len(counts), len(h.Counts), ErrEdges)
	}
	to := h.Counts[:len(counts)]
	for i, c := range counts {
		to[i] += uint64(c)
	}
	h.Moments.Merge(m)
	return nil
}

// Merge adds the values behind o, which must be on the same edges. Counts are
// exact whatever the order; Mean and M2 agree to rounding.
func (h *Numeric) Merge(o *Numeric) error {
	if (h.Edges == nil) != (o.Edges == nil) || (h.Edges != nil && !h.Edges.Same(o.Edges)) || len(h.Counts) != len(o.Counts) {
		return fmt.Errorf("merge a histogram of %d bins into %d bins: %w", len(o.Counts), len(h.Counts), ErrEdges)
	}
	to := h.Counts[:len(o.Counts)]
	for i, c := range o.Counts {
		to[i] += c
	}
	h.Moments.Merge(o.Moments)
	return nil
}

// Clone returns a copy that shares the immutable edges.
func (h *Numeric) Clone() *Numeric {
	c := *h
	c.Counts = slices.Clone(h.Counts)
	return &c
}

// Coarsen returns the same values counted on to, whose edges must all be edges
// of h: the sums are those a direct count would give.
func (h *Numeric) Coarsen(to *Edges) (*Numeric, error) {
	out := &Numeric{Moments: h.Moments, Edges: to, Counts: make([]uint64, to.Bins())}
	if h.Edges == nil || !coarsen(h, to, out.Counts) {
		return nil, fmt.Errorf("coarsen to %d bins: not all of their edges are edges of the histogram: %w", to.Bins(), ErrEdges)
	}
	return out, nil
}

// coarsen sums the bins of h into counts (len to.Bins(), zeroed) and reports
// whether to is a subset of h's edges.
func coarsen(h *Numeric, to *Edges, counts []uint64) bool {
	fine, bin := h.Edges.keys[:h.Edges.n], 0
	for i, edge := range to.keys[:to.n] {
		for bin < len(fine) && fine[bin] < edge {
			counts[i] += h.Counts[bin]
			bin++
		}
		if bin == len(fine) || fine[bin] != edge {
			return false
		}
		counts[i] += h.Counts[bin]
		bin++
	}
	for ; bin < len(h.Counts); bin++ {
		counts[len(counts)-1] += h.Counts[bin]
	}
	return true
}

// CDF returns the share of values <= x: exact on an edge, linear inside a bin.
// Special cases are: NaN without values or without edges.
func (h *Numeric) CDF(x float64) float64 {
	if h.N == 0 || h.Edges == nil {
		return math.NaN()
	}
	bin := h.Edges.search(x)
	sum := uint64(0)
	for _, c := range h.Counts[:bin] {
		sum += c
	}
	lo, hi := h.span(bin)
	part := 1.0
	if x < hi && hi > lo {
		part = max(0, between(lo, x, hi))
	}
	return (float64(sum) + part*float64(h.Counts[bin])) / float64(h.N)
}

// between returns how far x is on the way from lo to hi, whose distance may
// overflow.
func between(lo, x, hi float64) float64 {
	if width := hi - lo; !math.IsInf(width, 1) {
		return (x - lo) / width
	}
	return (x/2 - lo/2) / (hi/2 - lo/2)
}

// Quantile returns the value below which a share p of the values lies, within
// the width of one bin (exactly in a point bin). Special cases are: Min for
// p <= 0, Max for p >= 1, NaN without values, without edges or for p NaN.
func (h *Numeric) Quantile(p float64) float64 {
	switch {
	case h.N == 0 || h.Edges == nil || math.IsNaN(p):
		return math.NaN()
	case p <= 0:
		return h.Min
	case p >= 1:
		return h.Max
	}
	want, sum := p*float64(h.N), uint64(0)
	for bin, c := range h.Counts {
		if c > 0 && float64(sum+c) >= want {
			lo, hi := h.span(bin)
			if h.Edges.Point(bin) || lo >= hi {
				return hi
			}
			part := (want - float64(sum)) / float64(c)
			return lo*(1-part) + hi*part // not lo + part*(hi-lo), which may overflow
		}
		sum += c
	}
	return h.Max
}

// span returns the part of a bin that holds values: its bounds cut to the range.
func (h *Numeric) span(bin int) (lo, hi float64) {
	lo, hi = h.Edges.Bounds(bin)
	return max(lo, h.Min), min(hi, h.Max)
}

// AtomMass returns the share of values that sit in point bins with at least
// two values: how far the feature is from continuous. NaN without values.
func (h *Numeric) AtomMass() float64 {
	if h.N == 0 || h.Edges == nil {
		return math.NaN()
	}
	sum := uint64(0)
	for i, c := range h.Counts {
		if c > 1 && h.Edges.Point(i) {
			sum += c
		}
	}
	return float64(sum) / float64(h.N)
}
