package stats

import (
	"math"
	"math/bits"
)

// A grid is the lookup table in front of the search: it maps a value to a
// cell, and a cell to the first edge that may be the answer. The map only has
// to be monotone to be exact. Two are tried, because neither is good on all
// data, and the one that leaves fewer search steps is kept:
//
//	byBits   cells of equal width in the order of float bits, i.e. logarithmic:
//	         right for skewed, positive data
//	byValue  cells of equal width on the number line: right for data around
//	         zero, where the bits spend a thousand binades on nothing
//
// The search itself takes the same number of halvings for every value and no
// branch on data, so four values can run through it side by side.
type grid struct {
	kind  gridKind
	first []uint16 // cell -> number of edges in lower cells
	base  uint64   // byBits: key of the lowest edge
	shift uint     // byBits: key bits below a cell
	lo    float64  // byValue: lowest edge
	scale float64  // byValue: cells per unit
	half  int      // first halving step, a power of two; 0 = the cell decides
}

// fewEdges are searched without a table, which would be larger than all else: the
// deciles that every numeric signal has beside its edges, and flags.
const fewEdges = 16

type gridKind uint8

const (
	noGrid gridKind = iota
	byBits
	byValue
)

// gridCells trades cache for search steps: 512 cells of 2 bytes stay beside
// 256 edges in the first-level cache while a column is counted.
const gridCells = 512

// sortKey maps a finite float64 to an integer with the same order. -0 comes
// just below +0 and above every negative number; since no edge is -0, both
// zeros have the same first edge at or above them, hence the same bin.
func sortKey(x float64) uint64 {
	b := math.Float64bits(x)
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

// zeroKey is sortKey(0).
const zeroKey = 1 << 63

// keyValue returns the float64 that has a sortKey.
func keyValue(key uint64) float64 {
	return math.Float64frombits(key ^ (^uint64(int64(key)>>63) | 1<<63))
}

// buildGrid returns the padded keys of the edges and the better of both grids.
func buildGrid(values []float64) ([]uint64, grid) {
	n := len(values)
	best := grid{half: halfFor(n)}
	if n > fewEdges && n <= MaxEdges { // the cells count in 16 bits
		for _, g := range []grid{bitsGrid(values), valueGrid(values)} {
			if g.kind == noGrid {
				continue
			}
			if g.fill(values); g.half < best.half {
				best = g
			}
		}
	}
	keys := make([]uint64, n, n+2*best.half+1)
	for i, v := range values {
		keys[i] = sortKey(v)
	}
	for len(keys) < cap(keys) {
		keys = append(keys, math.MaxUint64) // above every value: the search stops here
	}
	return keys, best
}

func bitsGrid(values []float64) grid {
	g := grid{kind: byBits, base: sortKey(values[0])}
	for (sortKey(values[len(values)-1])-g.base)>>g.shift >= gridCells {
		g.shift++
	}
	return g
}

func valueGrid(values []float64) grid {
	lo, hi := values[0], values[len(values)-1]
	scale := (gridCells - 1) / (hi - lo)
	if scale == 0 || math.IsInf(scale, 0) || math.IsInf(hi-lo, 0) {
		return grid{} // a range that overflows or vanishes has no linear cells
	}
	return grid{kind: byValue, lo: lo, scale: scale}
}

// fill counts the edges below each cell and the halvings the fullest needs.
func (g *grid) fill(values []float64) {
	g.first = make([]uint16, gridCells)
	var inCell [gridCells]int
	for _, v := range values {
		inCell[g.cell(v)]++
	}
	below, most := 0, 0
	for c, n := range inCell {
		g.first[c] = uint16(below)
		below += n
		most = max(most, n)
	}
	g.half = halfFor(most)
}

// halfFor returns the first halving step of a search among n edges: n+1
// answers, so 2*half-1 >= n.
func halfFor(n int) int {
	half := 0
	for 2*half-1 < n && n > 0 {
		half = max(1, 2*half)
	}
	return half
}

func (g *grid) cell(x float64) int {
	if g.kind == byBits {
		return g.bitsCell(sortKey(x))
	}
	return g.valueCell(x)
}

func (g *grid) bitsCell(key uint64) int {
	if key <= g.base {
		return 0
	}
	return int(min((key-g.base)>>g.shift, gridCells-1))
}

func (g *grid) valueCell(x float64) int {
	f := (x - g.lo) * g.scale
	if !(f > 0) { // also NaN
		return 0
	}
	if f >= gridCells-1 {
		return gridCells - 1
	}
	return int(f)
}

// search returns the index of the first edge >= x, which is x's bin.
func (e *Edges) search(x float64) int {
	at := 0
	if e.grid.kind != noGrid {
		at = int(e.grid.first[e.grid.cell(x)])
	}
	key := sortKey(x)
	for h := e.grid.half; h > 0; h >>= 1 {
		_, less := bits.Sub64(e.keys[at+h-1], key, 0)
		at += h & -int(less)
	}
	return at
}

// AddColumn counts a column of values: counts[Bin(x)]++ for each. counts must
// have Bins elements; the values must be finite (others land in some bin, so
// the caller counts them apart: see [Numeric.AddColumn]). It does not
// allocate. This is the hot loop of the daemon: columns of some 256 values
// keep one feature's edges in cache, four searches at a time hide their
// latency.
func (e *Edges) AddColumn(counts []uint32, xs []float64) { addColumn(e, counts, xs) }

// Count is the width of a histogram's counters.
type Count interface{ uint32 | uint64 }

func addColumn[C Count](e *Edges, counts []C, xs []float64) {
	counts = counts[:e.n+1]
	g, keys, half := &e.grid, e.keys, e.grid.half
	first := g.first
	for len(xs) >= 4 {
		x0, x1, x2, x3 := xs[0], xs[1], xs[2], xs[3]
		xs = xs[4:]
		k0, k1, k2, k3 := sortKey(x0), sortKey(x1), sortKey(x2), sortKey(x3)
		var a, b, c, d int
		switch g.kind {
		case byBits:
			a, b = int(first[g.bitsCell(k0)]), int(first[g.bitsCell(k1)])
			c, d = int(first[g.bitsCell(k2)]), int(first[g.bitsCell(k3)])
		case byValue:
			a, b = int(first[g.valueCell(x0)]), int(first[g.valueCell(x1)])
			c, d = int(first[g.valueCell(x2)]), int(first[g.valueCell(x3)])
		}
		for h := half; h > 0; h >>= 1 { // the borrow of key-k is the comparison: no branch to mispredict
			_, less0 := bits.Sub64(keys[a+h-1], k0, 0)
			_, less1 := bits.Sub64(keys[b+h-1], k1, 0)
			_, less2 := bits.Sub64(keys[c+h-1], k2, 0)
			_, less3 := bits.Sub64(keys[d+h-1], k3, 0)
			a += h & -int(less0)
			b += h & -int(less1)
			c += h & -int(less2)
			d += h & -int(less3)
		}
		counts[a]++
		counts[b]++
		counts[c]++
		counts[d]++
	}
	for _, x := range xs {
		counts[e.search(x)]++
	}
}
