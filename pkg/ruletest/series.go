package ruletest

import (
	"cmp"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// givenReference names the reference that Series were compared with.
const givenReference = "given"

// given are the Series of one model.
type given struct {
	test   *Test
	model  string
	series []Series
	groups []drift.Group
}

// given returns the models that Series are of, each with its own.
func (t *Test) given() (out []*given) {
	for _, s := range t.Series {
		i := slices.IndexFunc(out, func(g *given) bool { return g.model == s.Key.Model })
		if i < 0 {
			i = len(out)
			out = append(out, &given{test: t, model: s.Key.Model})
		}
		out[i].series = append(out[i].series, s)
		if !slices.Contains(out[i].groups, s.Key.Group) {
			out[i].groups = append(out[i].groups, s.Key.Group)
		}
	}
	for _, g := range out {
		slices.SortFunc(g.groups, drift.Group.Compare)
	}
	return out
}

// at returns the value of a series in the k-th window.
func (s *Series) at(k int) Value {
	if k < len(s.Values) {
		return s.Values[k]
	}
	return Value{Kind: Stale}
}

// closing returns the k-th window as one that closed without any histogram, which
// is enough for alert.Rule.Inputs to say what a rule looks at.
func (g *given) closing(k int) (*drift.Closing, alert.View) {
	from := time.Duration(k) * g.test.Window
	start := g.test.Start.Add(from)
	c := &drift.Closing{Model: g.model, Size: g.test.Window, Start: start, End: start.Add(g.test.Window)}
	c.Incomplete = g.test.suffers(Incomplete, g.model, from) != nil
	view := alert.View{Total: g.report(drift.Group{Model: g.model}, c, 0)}
	total := view.Total.Window
	for _, group := range g.groups {
		if !g.present(group, k) {
			continue
		}
		r := g.report(group, c, g.events(group, k))
		g.signals(r.Window, group, k)
		r.Window.Group = g.renamed(group, k)
		for _, s := range r.Window.Signals {
			r.Signals = append(r.Signals, drift.SignalReport{Name: s.Name, Type: s.Type})
		}
		c.Windows = append(c.Windows, r.Window)
		view.Groups = append(view.Groups, r)
		switch whole := group == (drift.Group{Model: g.model}); {
		case whole && g.says("events", drift.Key{Group: group}):
			total.Events = r.Window.Events
		case group.Segment == "" && group.Variant != event.Shadow && !g.says("events", drift.Key{Group: drift.Group{Model: g.model}}):
			total.Events += r.Window.Events
		}
	}
	return c, view
}

func (g *given) report(group drift.Group, c *drift.Closing, events uint64) *drift.Report {
	w := &drift.Window{Group: group, Start: c.Start, End: c.End, State: drift.Closed, Events: events}
	if c.Incomplete {
		w.State = drift.Incomplete
	}
	return &drift.Report{
		Window: w, Reference: givenReference, Approved: g.test.suffers(Unapproved, g.model, c.Start.Sub(g.test.Start)) == nil,
	}
}

// says reports whether a series gives the variable of a key.
func (g *given) says(variable string, key drift.Key) bool {
	return slices.ContainsFunc(g.series, func(s Series) bool { return s.Variable == variable && s.Key == key })
}

// present reports whether a group has events in a window.
func (g *given) present(group drift.Group, k int) bool {
	if g.test.suffers(NoEvents, g.model, time.Duration(k)*g.test.Window) != nil || g.events(group, k) == 0 {
		return false
	}
	return slices.ContainsFunc(g.series, func(s Series) bool { return s.Key.Group == group && s.at(k).Kind != Stale })
}

func (g *given) events(group drift.Group, k int) uint64 {
	return g.number("events", drift.Key{Group: group}, k, g.test.N)
}

// number returns a count of a key in a window: as a series gives it, or otherwise.
func (g *given) number(variable string, key drift.Key, k int, otherwise uint64) uint64 {
	for _, s := range g.series {
		if v := s.at(k); s.Variable == variable && s.Key == key && v.Kind == Number {
			return uint64(max(v.X, 0))
		}
	}
	return otherwise
}

// signals gives a window the signals that some series has a value for.
func (g *given) signals(w *drift.Window, group drift.Group, k int) {
	from := time.Duration(k) * g.test.Window
	for _, s := range g.series {
		counted := slices.ContainsFunc(w.Signals, func(o drift.Signal) bool { return o.Name == s.Key.Signal })
		if s.Key.Group != group || s.Key.Signal == "" || s.at(k).Kind == Stale || counted {
			continue
		}
		if f := g.test.suffers(MissingFeature, g.model, from); f != nil && f.Feature == s.Key.Signal {
			continue
		}
		n := g.number("n", s.Key, k, min(g.test.N, w.Events))
		w.Signals = append(w.Signals, drift.Signal{
			Name: s.Key.Signal, Type: drift.Numeric, Numeric: &stats.Numeric{Moments: stats.Moments{N: n}},
		})
	}
	slices.SortFunc(w.Signals, func(a, b drift.Signal) int { return cmp.Compare(a.Name, b.Name) })
}

// inputs returns what a rule sees of the k-th window: the keys that it selects,
// with the values of the series and no others.
func (g *given) inputs(r *alert.Rule, view alert.View, k int) []alert.Input {
	out := r.Inputs(view.Groups, view.Total)
	for i := range out {
		in := &out[i]
		vars := map[string]float64{"events": float64(view.Of(in.Key.Group).Events)}
		if in.Key.Signal != "" {
			vars["n"] = float64(in.N)
		}
		for _, s := range g.series {
			v := s.at(k)
			if v.Kind == Number && g.renamed(s.Key.Group, k) == in.Key.Group && (s.Key.Signal == "" || s.Key.Signal == in.Key.Signal) {
				vars[s.Variable] = v.X
			}
		}
		in.Vars = alert.NewVars(vars)
	}
	return out
}

// renamed returns a group with the version that a new one is.
func (g *given) renamed(group drift.Group, k int) drift.Group {
	f := g.test.suffers(NewVersion, g.model, time.Duration(k)*g.test.Window)
	if f != nil && group.Version != "" && group.Variant == event.Primary {
		group.Version = f.Version
	}
	return group
}

// suffers returns the fault of a kind that acts on a model at a time, nil if there
// is none.
func (t *Test) suffers(kind FaultKind, model string, since time.Duration) *Fault {
	for i := range t.Faults {
		if f := &t.Faults[i]; f.Kind == kind && f.at(model, since) {
			return f
		}
	}
	return nil
}
