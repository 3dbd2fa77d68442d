package drift

import (
	"math"
	"slices"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// Bounds of what a Builder keeps for a projection.
const (
	gatherNumbers = 4 << 20 // numbers held, 8 bytes each
	gatherRows    = 20_000  // rows, however short
	gatherFewest  = 200     // rows below which nothing is learned
)

// A gatherer keeps the vectors of one projection: all while they fit, and beyond
// that a uniform sample, drawn by hashes of their numbers in the order of rows.
// Half of them, by another bit of the hash, teach the axes; only the other half
// are counted as reference. On the rows that taught them axes fit better than on
// any others, which would be drift by itself.
type gatherer struct {
	feature   string
	inputs    []string
	dim       int // of a vector feature: of the first row that has it
	seen      uint64
	threshold uint64
	keys      []uint64
	rows      []float64
	parts     [][]*rawPart // that each row belongs to
	x         []float64
	at        []int // where the inputs were in the last row
}

func newGatherers(m Multivariate) (all []*gatherer) {
	if len(m.Features) > 0 {
		all = append(all, &gatherer{inputs: m.Features, dim: len(m.Features), at: make([]int, len(m.Features)), threshold: math.MaxUint64})
	}
	for _, name := range m.Vectors {
		all = append(all, &gatherer{feature: name, threshold: math.MaxUint64})
	}
	return all
}

// add offers a row that belongs to parts.
func (g *gatherer) add(r *row, parts []*rawPart) {
	x, ok := g.vector(r)
	if !ok {
		return
	}
	for _, p := range parts {
		p.offered[g]++
	}
	g.seen++
	key := spread(g.seen)
	if key > g.threshold {
		return
	}
	g.keys, g.rows, g.parts = append(g.keys, key), append(g.rows, x...), append(g.parts, slices.Clone(parts))
	for len(g.keys) > gatherRows || len(g.rows) > gatherNumbers {
		g.halve()
	}
}

// vector returns the row's vector, if it has one.
func (g *gatherer) vector(r *row) ([]float64, bool) {
	if g.feature != "" {
		for _, v := range r.vectors {
			if v.name == g.feature && len(v.values) > 0 {
				if g.dim == 0 {
					g.dim = len(v.values)
				}
				return v.values, len(v.values) == g.dim && finite(v.values)
			}
		}
		return nil, false
	}
	g.x = g.x[:0]
	for k, name := range g.inputs {
		name = featureName(name)
		if i := g.at[k]; i >= len(r.names) || r.names[i] != name {
			if g.at[k] = slices.Index(r.names, name); g.at[k] < 0 {
				g.at[k] = 0
				return nil, false
			}
		}
		v := r.values[g.at[k]]
		if v.Kind != event.Number {
			return nil, false
		}
		g.x = append(g.x, v.Num)
	}
	return g.x, finite(g.x)
}

func finite(x []float64) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}

// halve drops about half of the rows.
func (g *gatherer) halve() {
	g.threshold /= 2
	n := 0
	for i, key := range g.keys {
		if key > g.threshold {
			continue
		}
		g.keys[n], g.parts[n] = key, g.parts[i]
		copy(g.rows[n*g.dim:(n+1)*g.dim], g.rows[i*g.dim:(i+1)*g.dim])
		n++
	}
	clear(g.parts[n:])
	g.keys, g.parts, g.rows = g.keys[:n], g.parts[:n], g.rows[:n*g.dim]
}

// spread is the finaliser of splitmix64 (Steele et al. 2014).
func spread(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// learn finds the axes and counts the other half of the rows in their parts. It
// reports whether there was enough to learn from.
func (g *gatherer) learn() (Projection, bool) {
	if len(g.keys) < gatherFewest {
		return Projection{}, false
	}
	var teach []float64
	for i, key := range g.keys {
		if key&1 == 0 {
			teach = append(teach, g.rows[i*g.dim:(i+1)*g.dim]...)
		}
	}
	axes := stats.NewProjection(teach, g.dim, g.feature == "")
	if axes == nil {
		return Projection{}, false
	}
	p := Projection{Feature: g.feature, Inputs: g.inputs, Axes: axes}
	names := p.Signals()
	out, scratch := make([]float64, len(names)), make([]float64, g.dim)
	counted := map[*rawPart]uint64{}
	for i, key := range g.keys {
		if key&1 == 0 || !axes.Apply(out, scratch, g.rows[i*g.dim:(i+1)*g.dim]) {
			continue
		}
		for _, part := range g.parts[i] {
			counted[part]++
			for k, name := range names {
				part.column(name).number(out[k])
			}
		}
	}
	for part, n := range counted {
		for _, name := range names {
			part.column(name).uncounted = part.offered[g] - n
		}
	}
	return p, true
}
