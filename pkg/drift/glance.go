package drift

import "driftd.dev/driftd/pkg/stats"

// Glance returns the cells on which a signal and its reference are drawn, at most n
// of them (at least 4): of a number edges of about equal width, of a category its
// names and no edges. ok is false if there is nothing to draw.
func Glance(ref *Reference, cur *Signal, n int) (g Drawn, ok bool) {
	if cur == nil || cur.Type != ref.Type || cur.Values() == 0 || ref.Values() == 0 {
		return g, false
	}
	if ref.Type == Categorical {
		return glanceCategories(ref, cur, n)
	}
	base, aligned, ok := ref.Align(cur.Numeric)
	if !ok {
		return g, false
	}
	edges := stats.GlanceEdges(base, aligned, n)
	if edges.Len() < 2 { // all values are one: there is nothing to see but where it is
		return g, false
	}
	g.Edges = edges.Values()
	for _, side := range []struct {
		from *stats.Numeric
		to   *[]float64
	}{{base, &g.From}, {aligned, &g.To}} {
		coarse, err := side.from.Coarsen(edges)
		if err != nil {
			return g, false
		}
		for _, c := range coarse.Counts {
			*side.to = append(*side.to, ratio(c, coarse.N))
		}
	}
	return g, true
}

// A Drawn is a signal beside its reference, in shares of the values.
type Drawn struct {
	Edges    []float64 // inner bounds of the cells, ascending; nil with Names
	Names    []string
	From, To []float64 // by cell
}

// glanceCategories keeps the most frequent categories of the reference, and what it
// never had; the rest is one cell.
func glanceCategories(ref *Reference, cur *Signal, n int) (g Drawn, ok bool) {
	s, ok := stats.SplitCategorical(ref.Categorical, []*stats.Categorical{cur.Categorical})
	if !ok {
		return g, false
	}
	rest := stats.BinShare{Name: "(rest)"}
	for i, share := range namedShares(s, ref.Categorical.Dict.Categories...) {
		if len(g.Names) < n-1 && (share.Ref > 0 || share.Cur > 0) && (i < n-3 || share.Name == "(unseen)" || share.Name == "(other)") {
			g.Names, g.From, g.To = append(g.Names, share.Name), append(g.From, share.Ref), append(g.To, share.Cur)
			continue
		}
		rest.Ref, rest.Cur = rest.Ref+share.Ref, rest.Cur+share.Cur
	}
	if rest.Ref+rest.Cur > 0 {
		g.Names, g.From, g.To = append(g.Names, rest.Name), append(g.From, rest.Ref), append(g.To, rest.Cur)
	}
	return g, len(g.Names) > 1
}
