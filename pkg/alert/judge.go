package alert

import (
	"iter"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A View is what the rules see of one closing under one kind of reference.
type View struct {
	Groups []*drift.Report
	Total  *drift.Report // the whole model: every version and variant but shadows
}

// A Past returns the window of w's group and length that started at start, nil
// if it had no event. whole asks for the whole model's, as View.Total is.
type Past func(w *drift.Window, whole bool, start time.Time) (*drift.Window, error)

// A Judge puts the closings of one model before rules: the daemon's as they come,
// and those of the past when rules are tried on it. It remembers nothing.
type Judge struct {
	Rules    []*Rule
	Baseline *drift.Baseline // nil: the model learns, and nothing is compared
	Past     Past            // of moving references; nil: there is none
	Shadow   bool            // the model is on trial: what fires is in shadow, see NotifyShadow
	// ShadowLimits puts what hard limits find in shadow: the model's budget is on trial.
	ShadowLimits bool
	Gap          time.Duration // the longest silence that is usual for the model, 0 if that is not known
}

// A Finding is what one rule says of one closing: Rule.StepAll's states and
// changes, and the inputs that they rest on.
type Finding struct {
	Rule    *Rule
	View    View
	Inputs  []Input
	Next    map[Series]State
	Changes []Change
}

// Findings judges a closing by every rule of its size that watches its model.
// base is what See gives for the baseline. states gives what a rule remembers of
// the model; the caller applies Next to it before the next closing.
func (j Judge) Findings(c *drift.Closing, base View, states func(*Rule) map[Series]State) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		views := map[string]View{ReferenceBaseline: base}
		for _, r := range j.Rules {
			if r.spec.Window != c.Size || !r.Watches(c.Model) {
				continue
			}
			view, ok := views[r.spec.Reference]
			if !ok {
				var err error
				if view, err = j.See(c, r.spec.Reference); err != nil {
					yield(Finding{}, err)
					return
				}
				views[r.spec.Reference] = view
			}
			if !yield(j.Find(r, c, view, r.Inputs(view.Groups, view.Total), states(r)), nil) {
				return
			}
		}
	}
}

// Find judges what one rule sees of a closing: of a view, what Rule.Inputs selects.
func (j Judge) Find(r *Rule, c *drift.Closing, view View, inputs []Input, states map[Series]State) Finding {
	total := view.Total.Window
	next, changes := r.StepAll(states, Pass{
		Model: c.Model, Window: Window{Start: c.Start, End: c.End, State: total.State, Learning: total.Learning || j.Baseline == nil},
		Inputs: inputs, Shadow: j.Shadow || j.ShadowLimits && r.HardLimit(),
		Gap: j.Gap, Missed: len(inputs) == 0 && j.Baseline != nil && r.misses(view.Groups),
	})
	return Finding{Rule: r, View: view, Inputs: inputs, Next: next, Changes: changes}
}

// See reports every window of a closing, and their sum, against one kind of
// reference.
func (j Judge) See(c *drift.Closing, reference string) (View, error) {
	var out View
	total, err := c.Total()
	if err != nil {
		return out, err
	}
	for _, w := range c.Windows {
		r, err := j.report(reference, w, false)
		if err != nil {
			return out, err
		}
		out.Groups = append(out.Groups, r)
	}
	if reference == ReferenceBaseline && len(out.Groups) == 1 && out.Groups[0].Window.Events == total.Events {
		same := *out.Groups[0] // one group is the whole model: nothing to compare again
		same.Window = total
		out.Total = &same
		return out, nil
	}
	out.Total, err = j.report(reference, total, true)
	return out, err
}

// report compares one window with the baseline or with a moving reference.
func (j Judge) report(reference string, w *drift.Window, whole bool) (*drift.Report, error) {
	var part *drift.Part
	b := j.Baseline
	if b != nil {
		part = b.Part(w.Group.Segment)
	}
	if reference == ReferenceBaseline {
		if b == nil {
			return drift.Compare(nil, "", false, w), nil
		}
		return drift.Compare(part, b.ID, b.State == drift.Approved, w), nil
	}
	back := w.End.Sub(w.Start)
	if reference == ReferenceSameHourLastWeek {
		back = week
	}
	var then *drift.Window
	if j.Past != nil {
		var err error
		if then, err = j.Past(w, whole, w.Start.Add(-back)); err != nil {
			return nil, err
		}
	}
	if then == nil {
		return drift.Compare(nil, "", false, w), nil
	}
	return drift.Compare(drift.MovingPart(then, part), reference, true, w), nil
}

// Apply brings the states of a rule up to what StepAll returned.
func Apply(states, next map[Series]State) {
	for series, s := range next {
		if s == (State{}) {
			delete(states, series)
		} else {
			states[series] = s
		}
	}
}

// Of returns the window that a series of a group was judged on, nil for none.
func (v View) Of(g drift.Group) *drift.Window {
	if r := v.Report(g); r != nil {
		return r.Window
	}
	return nil
}

// Report returns what a series of a group was judged by, nil for none.
func (v View) Report(g drift.Group) *drift.Report {
	for _, r := range v.Groups {
		if r.Window.Group == g {
			return r
		}
	}
	if g.Version == "" {
		return v.Total
	}
	return nil
}
