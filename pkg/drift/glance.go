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

// glanceCategories keeps the most frequent categories of the reference and the cell
// of what it never had; all others are one cell.
func glanceCategories(ref *Reference, cur *Signal, n int) (g Drawn, ok bool) {
	s, cells, ok := splitValues(ref, []*Window{{Signals: []Signal{*cur}}})
	if !ok {
		return g, false
	}
	keep := func(name string, from, to float64) {
		g.Names, g.From, g.To = append(g.Names, name), append(g.From, from), append(g.To, to)
	}
	named, rest := len(cells)-2, stats.BinShare{} // behind the categories are other and unseen
	for i, share := range stats.Shares(s.Ref, s.Total()) {
		switch {
		case share.Ref == 0 && share.Cur == 0:
		case i < n-3 || i > named:
			keep(cells[i].Name, share.Ref, share.Cur)
		default:
			rest.Ref, rest.Cur = rest.Ref+share.Ref, rest.Cur+share.Cur
		}
	}
	if rest.Ref+rest.Cur > 0 {
		keep("(other)", rest.Ref, rest.Cur)
	}
	return g, len(g.Names) > 1
}
