package alert

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A Pass is everything that one rule sees of one model in one closed window.
type Pass struct {
	Model  string
	Window Window
	Inputs []Input // from Rule.Inputs; a series that had no events has none
	Shadow bool    // the model is on trial: what fires now is in shadow

	// Gap is the longest silence that is usual for the model, 0 if that is not known.
	Gap time.Duration
	// Missed says that the rule is not on all models, and that this one had events of
	// the versions and variants that it selects, and none of its segments or features.
	Missed bool
}

// StepAll applies one pass to all series of the rule on that model. States of
// other rules and models are left alone; each call walks all of states, so keep
// one map a model. It returns the states that differ, a zero one of which should
// be deleted, and the changes, ordered by series.
//
// A series that is remembered but has no input is stepped without data. When
// more series would fire than Spec.Limit allows, those that fire already stay,
// the worst of the new ones fire while there is room, and the others wait as
// Pending and Limited, told of by one series with the OverflowSignal. What else the
// rule says of itself are series with the NoDataSignal and the UndecidedSignal.
func (r *Rule) StepAll(states map[Series]State, p Pass) (map[Series]State, []Change) {
	inputs := r.complete(states, p)
	next := make(map[Series]State, len(inputs))
	moved := make(map[Series][]Change)
	for series, in := range inputs {
		in.shadow, in.hold = p.Shadow, r.gap(p)
		s, changes := r.step(states[series], in, true)
		next[series] = s
		if len(changes) > 0 {
			moved[series] = changes
		}
	}
	if r.spec.Limit > 0 {
		r.enforce(states, p, inputs, next, moved)
	}
	for _, a := range r.asides(p, next) {
		r.stand(states, p, a, next, moved)
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
		if series.Rule != r.spec.Name || series.Model != p.Model || series.aside() {
			continue
		}
		if _, ok := inputs[series]; !ok {
			inputs[series] = Input{Key: series.Key, Window: p.Window, absent: true}
		}
	}
	return inputs
}

// gap returns for how many windows a model must be silent by its own measure, 0 if
// the rule does not go by it.
func (r *Rule) gap(p Pass) int {
	if r.spec.Name != RuleSilent || p.Gap <= 0 {
		return 0
	}
	return Hold{Duration: p.Gap}.windows(r.spec.Window)
}

// enforce takes back what exceeds the rule's limit.
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
}
