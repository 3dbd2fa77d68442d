package stats

import "math"

// Transform returns the histogram that x*scale + shift would have given on the
// same edges, for scale > 0. Within a bin the values are taken to be spread
// evenly, so the distance to the true one is at most the largest share of a bin
// that is no point; values in point bins move exactly. N stays. Special case:
// without edges only the moments change.
func (h *Numeric) Transform(scale, shift float64) *Numeric {
	out := &Numeric{Moments: h.Moments, Edges: h.Edges}
	if h.N == 0 {
		return h.Clone()
	}
	out.Mean, out.M2 = h.Mean*scale+shift, h.M2*scale*scale
	out.Min, out.Max = h.Min*scale+shift, h.Max*scale+shift
	if h.Edges != nil {
		out.Counts = differences(len(h.Counts), func(bin int) float64 {
			if bin == h.Edges.n {
				return float64(h.N)
			}
			return h.CDF((h.Edges.at(bin)-shift)/scale) * float64(h.N)
		})
	}
	return out
}

// Thin returns the histogram of a share keep of the finite values, from 0 to 1.
// Nothing is drawn by chance: each bin keeps its share to the nearest count.
func (h *Numeric) Thin(keep float64) *Numeric {
	out := &Numeric{Moments: h.Moments, Edges: h.Edges}
	if h.Edges != nil {
		out.Counts = thin(h.Counts, keep)
	}
	out.N = nearest(keep * float64(h.N))
	if out.N == 0 {
		out.Moments = Moments{NaN: h.NaN, PosInf: h.PosInf, NegInf: h.NegInf}
		return out
	}
	out.M2 = h.M2 * float64(out.N) / float64(h.N)
	return out
}

// Thin returns the histogram of a share keep of the values, from 0 to 1, without
// chance as [Numeric.Thin]. The names of unseen values are kept as they are.
func (c *Categorical) Thin(keep float64) *Categorical {
	out := c.Clone()
	cells := thin(c.cells(), keep)
	k := len(c.Counts)
	out.Counts, out.Other, out.Unseen, out.N = cells[:k:k], cells[k], cells[k+1], total(cells)
	return out
}

// thin scales counts, their running sums rounded to the nearest.
func thin(counts []uint64, keep float64) []uint64 {
	sum := uint64(0)
	return differences(len(counts), func(bin int) float64 {
		sum += counts[bin]
		return keep * float64(sum)
	})
}

// differences returns n counts whose running sums are upTo(0), upTo(1), ...
// rounded to the nearest.
func differences(n int, upTo func(bin int) float64) []uint64 {
	out, before := make([]uint64, n), uint64(0)
	for bin := range out {
		sum := max(before, nearest(upTo(bin)))
		out[bin], before = sum-before, sum
	}
	return out
}

func nearest(x float64) uint64 { return uint64(math.Round(x)) }
