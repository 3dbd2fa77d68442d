package stats

import "math"

// Declared coarse edges: the cells PSI, chi-square, JS and Hellinger are
// computed on. They are part of a baseline and a subset of its fine edges.

// QuantileEdges returns the edges of the parts-quantiles of a sorted baseline
// (10 = deciles, 20 = ventiles): the inverse CDF at 1/parts, 2/parts, ... Where
// several fall on one value, that value is an atom, and two edges of its point
// bin replace them: a constant so shows a move down as well as a move up. At
// most parts-1 edges come out, none of an empty baseline.
func QuantileEdges(sorted []float64, parts int) *Edges {
	sorted = trimInfinities(sorted)
	var values []float64
	if len(sorted) > 0 {
		last := math.NaN()
		for i := 1; i < parts; i++ {
			rank := (len(sorted)*i + parts - 1) / parts // ceil(m*i/parts), 1-based
			v := sorted[max(rank, 1)-1] + 0
			if v == last {
				values = append(values, below(v))
			}
			values, last = append(values, v), v
		}
	}
	return newEdges(sortedUnique(values))
}

// BaselineEdges returns the live edges of a sorted baseline, its declared
// deciles and ventiles and the extra edges included, and the deciles alone as
// the cells of PSI.
func BaselineEdges(sorted []float64, k int, extra ...float64) (fine, deciles *Edges) {
	deciles = QuantileEdges(sorted, 10)
	declared := append(QuantileEdges(sorted, 20).Values(), deciles.Values()...)
	return BuildEdges(sorted, k, append(declared, extra...)...), deciles
}

// BuildNumeric counts a sorted baseline on its own edges.
func BuildNumeric(sorted []float64, edges *Edges) *Numeric {
	h := NewNumeric(edges)
	h.AddColumn(sorted)
	return h
}
