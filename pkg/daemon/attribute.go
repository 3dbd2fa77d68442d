package daemon

import (
	"cmp"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
)

// shares splits the move of the explained signal over versions and segments, and
// says where it comes from.
func (x *explainer) shares(e *ledger.Explanation, p *drift.Part, groups []*drift.Window, t traffic) error {
	if p == nil || e.Signal == "" {
		return nil
	}
	versions, err := merged(only(wholes(groups), e.Signal), func(g drift.Group) drift.Group {
		return drift.Group{Model: g.Model, Version: g.Version, Variant: g.Variant}
	})
	if err != nil {
		return err
	}
	a, ok := drift.Attribute(p, versions, nil, e.Signal)
	if !ok {
		return nil
	}
	e.Versions = sharesOf(a, func(g drift.Group) string { return g.Version })
	source, because := a.Source(e.Since, nearWindows*x.c.Size, t.began)
	e.Origin, e.Because = origins[source], because
	e.Segments, err = segmentShares(p, versions, groups, e.Signal)
	return err
}

var origins = map[drift.Source]string{
	drift.Undecided: ledger.OriginUndecided, drift.Upstream: ledger.OriginUpstream, drift.Release: ledger.OriginRelease,
}

// segmentShares splits a move over the values of that list of segments which tells
// them apart best; nil without segments.
func segmentShares(p *drift.Part, whole, groups []*drift.Window, signal string) ([]ledger.Share, error) {
	lists := map[string][]*drift.Window{}
	var names []string
	for _, w := range groups {
		if w.Group.Segment == "" || w.Group.Variant == event.Shadow {
			continue
		}
		list := segmentList(w.Group.Segment)
		if lists[list] == nil {
			names = append(names, list)
		}
		lists[list] = append(lists[list], w)
	}
	slices.Sort(names)
	var best []ledger.Share
	most := 0.0
	for _, list := range names {
		parts, err := merged(only(lists[list], signal), func(g drift.Group) drift.Group { return drift.Group{Model: g.Model, Segment: g.Segment} })
		if err != nil {
			return nil, err
		}
		a, ok := drift.Attribute(p, whole, parts, signal)
		if !ok {
			continue
		}
		apart := 0.0
		for _, g := range a.Groups {
			apart = max(apart, g.Share-g.Weight)
		}
		if best == nil || apart > most {
			best, most = sharesOf(a, func(g drift.Group) string { return g.Segment }), apart
		}
	}
	return best, nil
}

// segmentList returns the names of a segment without their values: those that are
// counted together and do not overlap.
func segmentList(segment string) string {
	var names []string
	for part := range strings.SplitSeq(segment, ",") {
		name, _, _ := strings.Cut(part, "=")
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// sharesOf lists the groups that bring most.
func sharesOf(a drift.Attribution, name func(drift.Group) string) (out []ledger.Share) {
	groups := slices.Clone(a.Groups)
	slices.SortStableFunc(groups, func(x, y drift.Contribution) int { return cmp.Compare(y.Share, x.Share) })
	for _, g := range groups {
		if g.N == 0 || len(out) == ledger.MostShares {
			continue
		}
		s := ledger.Share{Name: ledger.Label(name(g.Group)), Weight: rounded(g.Weight), Share: rounded(g.Share), PSI: rounded(g.PSI)}
		if g.Group.Variant != event.Primary {
			s.Variant = g.Group.Variant.String()
		}
		out = append(out, s)
	}
	return out
}

// wholes leaves out segments, whose events are counted already, and shadows, which
// are no part of a model's total.
func wholes(windows []*drift.Window) []*drift.Window {
	return slices.DeleteFunc(slices.Clone(windows), func(w *drift.Window) bool {
		return w.Group.Segment != "" || w.Group.Variant == event.Shadow
	})
}

// only returns the windows with one of their signals.
func only(windows []*drift.Window, signal string) []*drift.Window {
	out := make([]*drift.Window, len(windows))
	for i, w := range windows {
		slim := *w
		slim.Signals = nil
		if s := w.Signal(signal); s != nil {
			slim.Signals = []drift.Signal{*s}
		}
		out[i] = &slim
	}
	return out
}

// merged adds up the windows of each group that as makes of theirs, in its order.
func merged(windows []*drift.Window, as func(drift.Group) drift.Group) ([]*drift.Window, error) {
	byGroup := map[drift.Group][]*drift.Window{}
	var groups []drift.Group
	for _, w := range windows {
		g := as(w.Group)
		if byGroup[g] == nil {
			groups = append(groups, g)
		}
		byGroup[g] = append(byGroup[g], w)
	}
	slices.SortFunc(groups, drift.Group.Compare)
	out := make([]*drift.Window, 0, len(groups))
	for _, g := range groups {
		sum, err := drift.Sum(byGroup[g])
		if err != nil {
			return nil, err
		}
		sum.Group = g
		out = append(out, sum)
	}
	return out, nil
}
