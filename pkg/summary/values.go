package summary

import (
	"cmp"
	"slices"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// Names of the categories that stand for others: rare ones and those beyond the
// dictionary, and those that the reference does not know.
const (
	Other  = drift.Other
	Unseen = "__unseen__"
)

func quantiles(n *stats.Numeric) *Quantiles {
	q := func(p float64) float64 { return rounded(n.Quantile(p), quantileDigits) }
	return &Quantiles{P01: q(.01), P05: q(.05), P25: q(.25), P50: q(.5), P75: q(.75), P95: q(.95), P99: q(.99)}
}

// histogram counts in the cells of PSI, nil where the window was counted on other
// edges than those of its reference.
func histogram(n *stats.Numeric, against *drift.Part, name string) *Histogram {
	if against == nil {
		return nil
	}
	ref := against.Reference(name)
	if ref == nil || ref.PSI == nil {
		return nil
	}
	coarse, err := n.Coarsen(ref.PSI)
	if err != nil {
		return nil // a baseline came in between: no cells are common
	}
	return &Histogram{coarse.Edges.Values(), coarse.Counts}
}

// A category is one of a signal, and how often it came.
type category struct {
	name string
	n    uint64
}

// categories counts by name what came at least so many times, and the rest together:
// all counts sum to c.N. Where one category alone would be hidden in a sum that shows
// it, the rarest of the others is hidden with it. So many names as there is room for
// are told, the most frequent ones.
func categories(c *stats.Categorical, least uint64) map[string]uint64 {
	var named []category
	hidden, rest := 0, c.N-min(c.N, c.Unseen) // the rest is what is not named
	if c.Dict != nil {
		for i, name := range c.Dict.Categories {
			switch n := c.Counts[i]; {
			case n == 0 || name == Other || name == Unseen: // these names mean something else here
			case n < least:
				hidden++
			default:
				named = append(named, category{name, n})
			}
		}
	}
	slices.SortFunc(named, func(a, b category) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	if hidden == 1 && c.Other == 0 && len(named) > 0 {
		named = named[:len(named)-1]
	}
	out, bytes := map[string]uint64{}, 0
	for _, one := range named[:min(len(named), maxCategories)] {
		if bytes += len(one.name); bytes > maxCategoryBytes {
			break
		}
		out[one.name] = one.n
		rest -= min(rest, one.n)
	}
	if rest > 0 {
		out[Other] = rest
	}
	if c.Unseen > 0 {
		out[Unseen] = c.Unseen
	}
	return out
}
