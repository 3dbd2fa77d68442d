package stats

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// MaxEdges bounds a set of edges, so that a damaged length cannot ask for
// more memory than any baseline needs.
const MaxEdges = 1<<16 - 1

// maxResolution keeps BuildEdges below MaxEdges.
const maxResolution = 16_000

// ErrEdges is wrapped by every error about edges that do not fit together.
var ErrEdges = errors.New("edges do not match")

// Edges is an immutable, strictly increasing list of finite cut points.
//
// J edges make J+1 bins, closed on the right: bin i holds
// Values()[i-1] < x <= Values()[i], the first bin reaches to -Inf and the last
// to +Inf. A point bin {a} is no special case: it is the two consecutive edges
// nextafter(a, -Inf) and a. Zero is always +0; see [Edges.Bin].
//
// A fleet has a set for each signal of each model, so the cut points are kept
// once, in the form in which they are searched.
type Edges struct {
	keys []uint64 // sortKey of each edge, then sentinels
	n    int      // edges, without the sentinels
	grid grid
	id   uint64
}

// NewEdges returns the edges of the given values, which must be finite and
// strictly increasing (at most MaxEdges). No value at all is one bin.
func NewEdges(values []float64) (*Edges, error) {
	if len(values) > MaxEdges {
		return nil, fmt.Errorf("read %d edges: more than %d: %w", len(values), MaxEdges, ErrEdges)
	}
	clean := make([]float64, len(values))
	for i, v := range values {
		clean[i] = v + 0 // -0 becomes +0
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			return nil, fmt.Errorf("read edges: edge %d is %v, want a finite number: %w", i, v, ErrEdges)
		case i > 0 && clean[i] <= clean[i-1]:
			return nil, fmt.Errorf("read edges: edge %d (%v) is not above edge %d (%v): %w", i, v, i-1, clean[i-1], ErrEdges)
		}
	}
	return newEdges(clean), nil
}

// newEdges makes edges of values that are finite, strictly increasing and free
// of -0.
func newEdges(values []float64) *Edges {
	e := &Edges{n: len(values)}
	raw := make([]byte, 0, 8*len(values))
	for _, v := range values {
		raw = appendFloat(raw, v)
	}
	e.id = xxhash.Sum64(raw)
	e.keys, e.grid = buildGrid(values)
	return e
}

// BuildEdges returns the reference-quantile edges of a baseline.
//
// sorted is the baseline in ascending order without NaN (infinities at the
// ends are left out: they are counters, not values). With m values, every bin
// holds at most floor(m/k) of them unless it is a point bin, hence a KS
// distance to this baseline is known within 1/k. A value that fills the cap
// alone becomes a point bin; m <= k makes every value a point bin, and KS
// exact. extra edges (deciles, thresholds) are added; not finite ones are
// ignored. About k edges come out of a large continuous baseline, at most 4k+2
// of any, plus the extra ones. k is at most 16,000 and at least 1.
func BuildEdges(sorted []float64, k int, extra ...float64) *Edges {
	sorted, k = trimInfinities(sorted), min(max(k, 1), maxResolution)
	values := make([]float64, 0, 2*k+2+len(extra))
	if len(sorted) > 0 {
		values = append(values, below(sorted[0]))
	}
	limit := max(1, len(sorted)/k)
	acc, last := 0, 0.0
	for i := 0; i < len(sorted); {
		v, j := sorted[i]+0, i+1
		for j < len(sorted) && sorted[j] == v {
			j++
		}
		count := j - i
		switch {
		case count >= limit: // an atom: its own point bin
			if acc > 0 {
				values = append(values, last)
			}
			values = append(values, below(v), v)
			acc = 0
		case acc+count > limit:
			values = append(values, last)
			acc = count
		default:
			acc += count
		}
		last, i = v, j
	}
	if len(sorted) > 0 {
		values = append(values, last)
	}
	return newEdges(sortedUnique(append(values, extra...)))
}

// Values returns the edges, in a slice of their own.
func (e *Edges) Values() []float64 {
	values := make([]float64, e.n)
	for i := range values {
		values[i] = e.at(i)
	}
	return values
}

// at returns edge i.
func (e *Edges) at(i int) float64 { return keyValue(e.keys[i]) }

// Len returns the number of edges.
func (e *Edges) Len() int { return e.n }

// Bins returns the number of bins: one more than edges.
func (e *Edges) Bins() int { return e.n + 1 }

// ID names the edges: the xxHash64 of their float bits in order. Two sets with
// one ID have the same bins.
func (e *Edges) ID() uint64 { return e.id }

// Point reports whether bin i holds exactly one float64.
func (e *Edges) Point(i int) bool {
	if i == 0 || i == e.n {
		return false
	}
	gap := e.keys[i] - e.keys[i-1]
	return gap == 1 || gap == 2 && e.keys[i] == zeroKey // -0, which is no edge, has the key between
}

// Bounds returns the limits of bin i, which holds lo < x <= hi.
func (e *Edges) Bounds(i int) (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	if i > 0 {
		lo = e.at(i - 1)
	}
	if i < e.n {
		hi = e.at(i)
	}
	return lo, hi
}

// Bin returns the bin of x, by lookup table and search.
//
// Special cases are: -0 falls where +0 does; -Inf in the first bin and +Inf
// and NaN in some bin, though a histogram never asks for these.
func (e *Edges) Bin(x float64) int { return e.search(x) }

// Contains reports whether every edge of sub is an edge of e, which is what
// lets counts on e be coarsened to sub exactly.
func (e *Edges) Contains(sub *Edges) bool {
	i := 0
	for _, key := range sub.keys[:sub.n] {
		for i < e.n && e.keys[i] < key {
			i++
		}
		if i == e.n || e.keys[i] != key {
			return false
		}
	}
	return true
}

// Same reports whether both have the same bins.
func (e *Edges) Same(o *Edges) bool {
	return e == o || (e != nil && o != nil && e.id == o.id && e.n == o.n)
}

// below returns the float64 just under v, with +0 for a zero.
func below(v float64) float64 { return math.Nextafter(v, math.Inf(-1)) + 0 }

// trimInfinities cuts infinities off both ends of an ascending list.
func trimInfinities(sorted []float64) []float64 {
	for len(sorted) > 0 && math.IsInf(sorted[0], -1) {
		sorted = sorted[1:]
	}
	for len(sorted) > 0 && math.IsInf(sorted[len(sorted)-1], 1) {
		sorted = sorted[:len(sorted)-1]
	}
	return sorted
}

// sortedUnique sorts values in place and drops doubles and what is not finite.
func sortedUnique(values []float64) []float64 {
	kept := values[:0]
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			kept = append(kept, v+0)
		}
	}
	slices.Sort(kept)
	return slices.Compact(kept)
}
