package drift

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/stats"
)

// An Attribution says where in a signal a window differs from its reference, and
// how much of it which group of the window brings.
type Attribution struct {
	Missing bool             // the cells are "missing" and "there": that moved more than the values did
	PSI     stats.PSI        // of all groups together
	Cells   []stats.BinShare // in order; their PSI sum to PSI.Value
	Groups  []Contribution   // in the order given
}

// A Contribution is what one group brings of an Attribution.
type Contribution struct {
	Group  Group
	N      uint64  // values, or events if they are missing
	Weight float64 // part of all values, 0 to 1
	Share  float64 // part of PSI.Value; they sum to 1. See [stats.Split.Contributions]
	PSI    float64 // debiased, of the group by itself
}

// Names of the cells of values that are missing.
const (
	cellMissing = "missing"
	cellThere   = "there"
)

// Attribute splits the move of a signal from a reference over groups, whose windows
// together are what moved: all versions of a model, for example. ok is false if
// there is nothing to compare: the reference does not have the signal, or the
// windows were counted on other cells.
func Attribute(p *Part, groups []*Window, signal string) (a Attribution, ok bool) {
	ref := p.Reference(signal)
	if ref == nil {
		return a, false
	}
	values, shares, compared := splitValues(ref, groups)
	absent := splitMissing(p, ref, groups)
	gone := stats.NewPSI(absent.Ref, absent.Total())
	if !compared && !(gone.Debiased > 0) {
		return a, false
	}
	split := values
	if compared {
		a.PSI = stats.NewPSI(values.Ref, values.Total())
	}
	if !compared || !(a.PSI.Debiased >= gone.Debiased) {
		split, a.PSI, a.Missing = absent, gone, true
		shares = namedShares(absent)
	}
	a.Cells = shares
	for g, share := range split.Contributions() {
		own := stats.NewPSI(split.Ref, split.Groups[g])
		c := Contribution{Group: groups[g].Group, Share: share / a.PSI.Value, PSI: own.Debiased}
		for _, n := range split.Groups[g] {
			c.N += n
		}
		a.Groups = append(a.Groups, c)
	}
	a.weigh()
	return a, !math.IsNaN(a.PSI.Value) && a.PSI.Value > 0
}

// weigh gives each group its part of the values.
func (a *Attribution) weigh() {
	all := uint64(0)
	for _, g := range a.Groups {
		all += g.N
	}
	for i := range a.Groups {
		a.Groups[i].Weight = ratio(a.Groups[i].N, all)
	}
}

// splitValues counts the values of all groups in the cells of PSI, and says what
// each cell brings.
func splitValues(ref *Reference, groups []*Window) (s stats.Split, shares []stats.BinShare, ok bool) {
	if ref.Type == Categorical {
		s, ok = stats.SplitCategorical(ref.Categorical, summaries(groups, ref, func(s *Signal) *stats.Categorical { return s.Categorical }))
		if !ok {
			return s, nil, false
		}
		shares = namedShares(s, ref.Categorical.Dict.Categories...)
		return s, shares, len(shares) > 0
	}
	numbers := summaries(groups, ref, func(s *Signal) *stats.Numeric { return s.Numeric })
	cells := ref.PSI
	for _, n := range numbers {
		if n != nil && n.N > 0 {
			cells = within(cells, n.Edges)
		}
	}
	if s, ok = stats.SplitNumeric(ref.Numeric, numbers, cells); !ok {
		return s, nil, false
	}
	shares = namedShares(s)
	for i := range shares {
		lo, hi := cells.Bounds(i)
		shares[i].Lo, shares[i].Hi, shares[i].Name = lo, hi, rangeName(lo, hi)
	}
	return s, shares, len(shares) > 0
}

// summaries picks a summary out of each window, nil where the window has none or one
// of another type.
func summaries[T any](groups []*Window, ref *Reference, pick func(*Signal) *T) []*T {
	out := make([]*T, len(groups))
	for i, w := range groups {
		if s := w.Signal(ref.Name); s != nil && s.Type == ref.Type {
			out[i] = pick(s)
		}
	}
	return out
}

// splitMissing counts the events of all groups with and without a value.
func splitMissing(p *Part, ref *Reference, groups []*Window) stats.Split {
	s := stats.Split{Ref: []uint64{ref.Missing, p.Rows - min(p.Rows, ref.Missing)}}
	for _, w := range groups {
		there := uint64(0)
		if signal := w.Signal(ref.Name); signal != nil {
			there = min(signal.Values(), w.Events)
		}
		s.Groups = append(s.Groups, []uint64{w.Events - there, there})
	}
	return s
}

// namedShares returns what each cell brings; nil if a side is empty. Cells beyond
// the names are "(other)" and "(unseen)"; without names they are of missing values.
func namedShares(s stats.Split, names ...string) []stats.BinShare {
	shares := stats.Shares(s.Ref, s.Total())
	rest := []string{"(other)", "(unseen)"}
	if len(names) == 0 {
		rest = []string{cellMissing, cellThere}
	}
	for i := range shares {
		switch {
		case i < len(names):
			shares[i].Name = names[i]
		case i-len(names) < len(rest):
			shares[i].Name = rest[i-len(names)]
		}
	}
	return shares
}

// rangeName words lo < x <= hi.
func rangeName(lo, hi float64) string {
	text := func(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }
	switch {
	case math.IsInf(lo, -1) && math.IsInf(hi, 1):
		return "all"
	case math.IsInf(lo, -1):
		return "<= " + text(hi)
	case math.IsInf(hi, 1):
		return "> " + text(lo)
	case hi == math.Nextafter(lo, math.Inf(1)):
		return text(hi)
	}
	return text(lo) + " to " + text(hi)
}

// A Source is where a change comes from, as far as the versions of a model tell.
type Source uint8

// The sources.
const (
	Undecided Source = iota
	Upstream         // every version moved alike, or the only one served before too: the data changed
	Release          // one version brings it, and it began with that version's first traffic
)

const (
	// dominant is the share of a move from which on one version is said to bring it.
	dominant = 0.8
	// alike bounds what a version brings over its weight, both ways, if all move alike.
	alike = 2.0
)

// Source decides where a move comes from that began at since. The groups must be
// the versions of the model. began tells when a group had its first traffic, zero
// if it had some long before the change; near is how far that may be from the
// change to count as its cause. Groups of fewer than 100 values say nothing. The
// second result is why, with the numbers.
func (a *Attribution) Source(since time.Time, near time.Duration, began func(Group) time.Time) (Source, string) {
	var enough []Contribution
	together := true
	for _, g := range a.Groups {
		if g.N < stats.DefaultGate().MinN {
			continue
		}
		enough = append(enough, g)
		if over := g.Share / g.Weight; !(over <= alike && over >= 1/alike) {
			together = false
		}
	}
	if len(enough) == 0 || !(a.PSI.Debiased > 0) {
		return Undecided, "too few values by version"
	}
	if together && len(enough) > 1 {
		return Upstream, fmt.Sprintf("all %d versions moved alike", len(enough))
	}
	top := enough[0]
	for _, g := range enough[1:] {
		if g.Share > top.Share {
			top = g
		}
	}
	name := "version " + orUnnamed(top.Group.Version)
	brings := fmt.Sprintf("%s brings %s of the move with %s of the values", name, percent(min(1, top.Share)), percent(top.Weight))
	first := began(top.Group)
	switch {
	case len(enough) == 1 && first.IsZero() && top.Share >= dominant:
		return Upstream, "only " + name + " served, and it did before the change too"
	case top.Share < dominant:
		return Undecided, brings
	case first.IsZero():
		return Undecided, brings + ", and served before the change too"
	case first.Sub(since).Abs() > near:
		return Undecided, brings + ", and its first traffic was at " + minute(first)
	}
	return Release, brings + ", and the change began with its first traffic at " + minute(first)
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

func orUnnamed(version string) string {
	if version == "" {
		return "(unnamed)"
	}
	return version
}
