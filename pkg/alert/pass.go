package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"driftd.dev/driftd/pkg/drift"
)

// A Pass is everything that one rule sees of one model in one closed window.
type Pass struct {
	Model  string
	Window Window
	Inputs []Input // from Rule.Inputs; a series that had no events has none
	Shadow bool    // the model is on trial: what fires now is in shadow
}

// StepAll applies one pass to all series of the rule on that model. States of
// other rules and models are left alone; each call walks all of states, so keep
// one map a model. It returns the states that differ, a zero one of which should
// be deleted, and the changes, ordered by series.
//
// A series that is remembered but has no input is stepped without data. When
// more series would fire than Spec.Limit allows, those that fire already stay,
// the worst of the new ones fire while there is room, and the others wait as
// Pending and Limited, told of by one series with the OverflowSignal.
func (r *Rule) StepAll(states map[Series]State, p Pass) (map[Series]State, []Change) {
	inputs := r.complete(states, p)
	next := make(map[Series]State, len(inputs))
	moved := make(map[Series][]Change)
	for series, in := range inputs {
		in.shadow = p.Shadow
		s, changes := r.step(states[series], in, true)
		next[series] = s
		if len(changes) > 0 {
			moved[series] = changes
		}
	}
	if r.spec.Limit > 0 {
		r.enforce(states, p, inputs, next, moved)
	}
	var changes []Change
	for _, series := range slices.SortedFunc(maps.Keys(moved), Series.Compare) {
		changes = append(changes, moved[series]...)
	}
	maps.DeleteFunc(next, func(series Series, s State) bool { return states[series] == s })
	return next, changes
}

// complete returns the pass's inputs by series, with one without data for every
// remembered series that had no events.
func (r *Rule) complete(states map[Series]State, p Pass) map[Series]Input {
	inputs := make(map[Series]Input, len(p.Inputs))
	for _, in := range p.Inputs {
		inputs[Series{Rule: r.spec.Name, Key: in.Key}] = in
	}
	for series := range states {
		if series.Rule != r.spec.Name || series.Model != p.Model || series.Signal == OverflowSignal {
			continue
		}
		if _, ok := inputs[series]; !ok {
			inputs[series] = Input{Key: series.Key, Window: p.Window, absent: true}
		}
	}
	return inputs
}

// enforce takes back what exceeds the rule's limit and keeps the overflow series.
func (r *Rule) enforce(states map[Series]State, p Pass, inputs map[Series]Input, next map[Series]State, moved map[Series][]Change) {
	room := r.spec.Limit
	var fresh []Series
	for series, s := range next {
		switch {
		case !s.Active():
		case states[series].Active():
			room--
		default:
			fresh = append(fresh, series)
		}
	}
	slices.SortFunc(fresh, func(a, b Series) int {
		return cmp.Or(cmp.Compare(next[b].Peak.Effect, next[a].Peak.Effect), a.Compare(b))
	})
	for _, series := range fresh[min(len(fresh), max(room, 0)):] {
		s, changes := r.step(states[series], inputs[series], false)
		next[series] = s
		if delete(moved, series); len(changes) > 0 {
			moved[series] = changes
		}
	}
	r.overflow(states, p, next, moved)
}

// overflow fires while any series is limited, and resolves with the last.
func (r *Rule) overflow(states map[Series]State, p Pass, next map[Series]State, moved map[Series][]Change) {
	limited, worst := 0, Series{}
	for series, s := range next {
		if !s.Limited {
			continue
		}
		limited++
		if w := next[worst]; limited == 1 || s.Peak.Effect > w.Peak.Effect ||
			s.Peak.Effect == w.Peak.Effect && series.Compare(worst) < 0 {
			worst = series
		}
	}
	key := drift.Key{Group: drift.Group{Model: p.Model}, Signal: OverflowSignal}
	series := Series{Rule: r.spec.Name, Key: key}
	from := states[series]
	in := Input{Key: key, Window: p.Window, Approved: true}
	for i := range p.Inputs {
		in.Approved = in.Approved && p.Inputs[i].Approved
		in.Baseline = p.Inputs[i].Baseline
	}
	to, reason := from, ""
	switch {
	case limited > 0 && !from.Active():
		reason = fmt.Sprintf("%d more series would fire, the limit is %d; the worst: %s, %s", limited, r.spec.Limit, worst, next[worst].Peak.Reason)
		to = State{Fires: from.Fires + 1, FiredAt: p.Window.End, Severity: r.spec.Severity, Shadow: r.Shadowed(p.Shadow)}
		if r.unapproved(&in) && to.Severity == SeverityPage {
			to.Severity = SeverityTicket
			reason += r.downgraded(to.Severity, in.Baseline)
		}
		to.enter(Firing, p.Window.End)
		to.Peak = Peak{Effect: next[worst].Peak.Effect, Reason: reason, At: p.Window.End}
	case limited == 0 && from.Active():
		to, reason = from.resolve(p.Window.End), fmt.Sprintf("no series is held back by the limit of %d", r.spec.Limit)
	case from.Phase == Resolved && p.Window.End.Sub(from.ResolvedAt) >= retention:
		to, reason = State{}, "resolved 24h ago"
	}
	if next[series] = to; to.Phase != from.Phase {
		c := r.change(from, to, &in, reason)
		c.Actions = nil // each member that fires asks for itself
		moved[series] = []Change{c}
	}
}
