package drift

import (
	"fmt"
	"math"
	"slices"
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

// NoSegment names the events that are in none of the segments of an Attribution.
const NoSegment = "(none)"

// missingCells are the cells of values that are missing.
var missingCells = []stats.BinShare{{Name: "missing"}, {Name: "there"}}

// Attribute splits the move of a signal from a reference over parts of what moved.
// The windows of whole together are what moved: all versions of a model, for
// example. Without parts they are the groups; parts are groups that do not overlap,
// such as the values of one segment, and what they leave is a group of its own,
// NoSegment. ok is false if there is nothing to compare: the reference does not
// have the signal, the windows were counted on other cells, or the parts overlap.
func Attribute(p *Part, whole, parts []*Window, signal string) (a Attribution, ok bool) {
	ref := p.Reference(signal)
	if ref == nil {
		return a, false
	}
	windows := append(slices.Clone(whole), parts...)
	values, cells, compared := splitValues(ref, windows)
	absent := splitMissing(p, ref, windows)
	var groups []Group
	for _, w := range windows {
		groups = append(groups, w.Group)
	}
	if len(parts) > 0 {
		groups = append(groups[len(whole):], Group{Segment: NoSegment})
		rest, fits := remainder(values, len(whole))
		values, compared = rest, compared && fits
		if absent, ok = remainder(absent, len(whole)); !ok {
			return a, false
		}
	}
	split, names := values, cells
	gone := stats.NewPSI(absent.Ref, absent.Total())
	if compared {
		a.PSI = stats.NewPSI(values.Ref, values.Total())
	}
	if !compared || !(a.PSI.Debiased >= gone.Debiased) {
		split, names, a.PSI, a.Missing = absent, missingCells, gone, true
	}
	if !(a.PSI.Value > 0) { // also NaN
		return a, false
	}
	a.Cells = stats.Shares(split.Ref, split.Total())
	for i := range a.Cells {
		a.Cells[i].Name, a.Cells[i].Lo, a.Cells[i].Hi = names[i].Name, names[i].Lo, names[i].Hi
	}
	a.Groups = contributions(split, groups, a.PSI.Value)
	return a, true
}

// contributions says what each group brings of a PSI.
func contributions(s stats.Split, groups []Group, psi float64) (out []Contribution) {
	all := uint64(0)
	for g, share := range s.Contributions() {
		c := Contribution{Group: groups[g], Share: share / psi, PSI: stats.NewPSI(s.Ref, s.Groups[g]).Debiased}
		for _, n := range s.Groups[g] {
			c.N += n
		}
		all += c.N
		out = append(out, c)
	}
	for i := range out {
		out[i].Weight = ratio(out[i].N, all)
	}
	return out
}

// remainder takes a split of some windows that are the whole and of parts of them,
// and returns that of the parts and of what they leave. ok is false if they leave
// less than nothing: they overlap.
func remainder(s stats.Split, whole int) (out stats.Split, ok bool) {
	if len(s.Groups) < whole {
		return s, false
	}
	rest := stats.Split{Ref: s.Ref, Groups: s.Groups[:whole]}.Total()
	out = stats.Split{Ref: s.Ref, Groups: s.Groups[whole:]}
	for _, g := range out.Groups {
		for i, c := range g {
			if rest[i] < c {
				return out, false
			}
			rest[i] -= c
		}
	}
	out.Groups = append(slices.Clone(out.Groups), rest)
	return out, true
}

// splitValues counts the values of all windows in the cells of PSI, and names them.
func splitValues(ref *Reference, windows []*Window) (s stats.Split, cells []stats.BinShare, ok bool) {
	if ref.Type == Categorical {
		s, ok = stats.SplitCategorical(ref.Categorical, summaries(windows, ref, func(s *Signal) *stats.Categorical { return s.Categorical }))
		if !ok {
			return s, nil, false
		}
		for _, name := range ref.Categorical.Dict.Categories {
			cells = append(cells, stats.BinShare{Name: name})
		}
		return s, append(cells, stats.BinShare{Name: "(other)"}, stats.BinShare{Name: "(unseen)"}), true
	}
	numbers := summaries(windows, ref, func(s *Signal) *stats.Numeric { return s.Numeric })
	edges := ref.PSI
	for _, n := range numbers {
		if n != nil && n.N > 0 {
			edges = within(edges, n.Edges)
		}
	}
	if s, ok = stats.SplitNumeric(ref.Numeric, numbers, edges); !ok {
		return s, nil, false
	}
	for i := range edges.Bins() {
		lo, hi := edges.Bounds(i)
		cells = append(cells, stats.BinShare{Lo: lo, Hi: hi, Name: rangeName(lo, hi)})
	}
	return s, cells, true
}

// summaries picks a summary out of each window, nil where the window has none or one
// of another type.
func summaries[T any](windows []*Window, ref *Reference, pick func(*Signal) *T) []*T {
	out := make([]*T, len(windows))
	for i, w := range windows {
		if s := w.Signal(ref.Name); s != nil && s.Type == ref.Type {
			out[i] = pick(s)
		}
	}
	return out
}

// splitMissing counts the events of all windows with and without a value.
func splitMissing(p *Part, ref *Reference, windows []*Window) stats.Split {
	s := stats.Split{Ref: []uint64{ref.Missing, p.Rows - min(p.Rows, ref.Missing)}}
	for _, w := range windows {
		there := uint64(0)
		if signal := w.Signal(ref.Name); signal != nil {
			there = min(signal.Values(), w.Events)
		}
		s.Groups = append(s.Groups, []uint64{w.Events - there, there})
	}
	return s
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
		if len(enough) == 2 {
			return Upstream, "both versions moved alike"
		}
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
