package stats

import (
	"math"
	"slices"
)

// A Split is the counts of a reference and of groups in the same cells. The groups
// together are what the reference is compared with.
type Split struct {
	Ref    []uint64
	Groups [][]uint64
}

// SplitNumeric counts a reference and groups in the cells that PSI is declared on.
// ok is false where one was counted on edges that do not contain them. A group may
// be nil: it has no values.
func SplitNumeric(ref *Numeric, groups []*Numeric, cells *Edges) (s Split, ok bool) {
	if cells == nil || ref.Edges == nil {
		return s, false
	}
	s.Ref = make([]uint64, cells.Bins())
	if !coarsen(ref, cells, s.Ref) {
		return s, false
	}
	for _, n := range groups {
		counts := make([]uint64, cells.Bins())
		if n != nil && n.N > 0 && (n.Edges == nil || !coarsen(n, cells, counts)) {
			return s, false
		}
		s.Groups = append(s.Groups, counts)
	}
	return s, true
}

// SplitCategorical counts a reference and groups in the cells of its dictionary:
// the categories, other and unseen. ok is false where one was counted on another.
// A group may be nil: it has no values.
func SplitCategorical(ref *Categorical, groups []*Categorical) (s Split, ok bool) {
	if ref.Dict == nil {
		return s, false
	}
	s.Ref = ref.referenceCells()
	for _, n := range groups {
		switch {
		case n == nil || n.N == 0:
			s.Groups = append(s.Groups, make([]uint64, len(s.Ref)))
		case n.Dict == nil || n.Dict.id != ref.Dict.id:
			return s, false
		default:
			s.Groups = append(s.Groups, n.cells())
		}
	}
	return s, true
}

// Total returns the sum of the groups, cell by cell.
func (s Split) Total() []uint64 {
	out := make([]uint64, len(s.Ref))
	for _, g := range s.Groups {
		for i, c := range g[:len(out)] {
			out[i] += c
		}
	}
	return out
}

// Contributions splits the PSI of the total: one number for each group, which sum
// to the Value of NewPSI(Ref, Total()).
//
// The PSI is the sum over cells of (q - p) ln(q/p), with p the shares of the
// reference and q those of the total. q is the mean of the groups' shares q_g with
// the weights w_g, so the PSI is the sum over groups of
//
//	sum over cells of w_g (q_g - p) ln(q/p)
//
// exactly: a group brings what its move adds along the direction in which the
// whole moved, and less than 0 if it moves back. The half count of smoothing is
// given to groups by their weight. Special cases are: a group without values gives
// 0; all NaN when the reference or the total is empty.
func (s Split) Contributions() []float64 {
	whole, out := s.Total(), make([]float64, len(s.Groups))
	t := newTable(s.Ref, whole)
	if t.m == 0 || t.n == 0 {
		for g := range out {
			out[g] = math.NaN()
		}
		return out
	}
	half := float64(t.cells) / 2
	for g, counts := range s.Groups {
		w := float64(total(counts)) / t.n
		for i, a := range s.Ref {
			if a+whole[i] > 0 {
				p, q := (float64(a)+0.5)/(t.m+half), (float64(whole[i])+0.5)/(t.n+half)
				out[g] += ((float64(counts[i])+0.5*w)/(t.n+half) - w*p) * math.Log(q/p)
			}
		}
	}
	return out
}

// glanceTail is the share of values left to each of the open cells of GlanceEdges.
const glanceTail = 0.005

// GlanceEdges returns edges of at most n cells of about equal width on which both
// histograms can be drawn: a part of their edges, which must be the same, between
// the outer quantiles of both; n is at least 3. Fewer than two edges come out of
// values that have no width, and none of a side without values.
func GlanceEdges(ref, cur *Numeric, n int) *Edges {
	if ref.N == 0 || cur.N == 0 || ref.Edges == nil || !ref.Edges.Same(cur.Edges) {
		return newEdges(nil)
	}
	lo := min(ref.Quantile(glanceTail), cur.Quantile(glanceTail))
	hi := max(ref.Quantile(1-glanceTail), cur.Quantile(1-glanceTail))
	edges := ref.Edges.Values()
	var picked []float64
	for i := range n - 1 {
		part := float64(i) / float64(n-2)
		want := lo*(1-part) + hi*part
		at, _ := slices.BinarySearch(edges, want)
		if at == len(edges) || at > 0 && want-edges[at-1] < edges[at]-want {
			at--
		}
		if at >= 0 {
			picked = append(picked, edges[at])
		}
	}
	return newEdges(sortedUnique(picked))
}
