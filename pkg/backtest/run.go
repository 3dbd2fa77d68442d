package backtest

import (
	"cmp"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// An Interval is one alert that would have been told, or was: from the window that
// fired to the one that resolved.
type Interval struct {
	Rule     string     `json:"rule"`
	Model    string     `json:"model"`
	Version  string     `json:"model_version"` // "" of a whole model, as Variant, Segment and Feature
	Variant  string     `json:"variant"`
	Segment  string     `json:"segment"`
	Feature  string     `json:"feature"`
	Severity string     `json:"severity"` // "page", "ticket" or "info", after any downgrade
	StartsAt time.Time  `json:"starts_at"`
	EndsAt   *time.Time `json:"ends_at"` // null: it fires at the end
	Reason   string     `json:"reason"`  // of the window that fired
	Peak     string     `json:"peak"`    // of the worst window, once resolved
}

// series orders intervals by what fired, then by when.
func (i Interval) series(o Interval) int {
	return cmp.Or(
		cmp.Compare(i.Model, o.Model), cmp.Compare(i.Rule, o.Rule), cmp.Compare(i.Version, o.Version),
		cmp.Compare(i.Variant, o.Variant), cmp.Compare(i.Segment, o.Segment), cmp.Compare(i.Feature, o.Feature))
}

// Overlaps reports whether both fired at some instant.
func (i Interval) Overlaps(o Interval) bool {
	return (o.EndsAt == nil || i.StartsAt.Before(*o.EndsAt)) && (i.EndsAt == nil || o.StartsAt.Before(*i.EndsAt))
}

// A Run judges the closings of one model by rules, and within a budget, in the
// order in which they closed. It is not safe for concurrent use.
type Run struct {
	judge     alert.Judge
	states    map[*alert.Rule]map[alert.Series]alert.State
	open      map[alert.Series]int // index into intervals
	intervals []Interval
	judged    map[*alert.Rule]*Judged
	memory    *alert.Memory // of moving references, without a Past of the Judge's
	within    *within       // nil: drift is not judged within a budget
}

// Judged is what one rule was tried on, or a budget.
type Judged struct {
	From    time.Time `json:"from"` // start of the first window
	To      time.Time `json:"to"`   // end of the last
	Windows int       `json:"windows"`
	Decided int       `json:"decided"` // of them, on which some series had enough data for the rule to say yes or no
	Series  int       `json:"series"`  // most series of one window
}

// add counts a window.
func (j *Judged) add(c *drift.Closing) {
	if j.Windows == 0 {
		j.From = c.Start
	}
	j.To = c.End
	j.Windows++
}

// NewRun returns a Run. If the Judge has no Past, the Run remembers the windows
// that its rules may ask for: a week of them if one compares with last week.
func NewRun(j alert.Judge) *Run {
	r := &Run{
		judge: j, states: map[*alert.Rule]map[alert.Series]alert.State{}, open: map[alert.Series]int{}, judged: map[*alert.Rule]*Judged{},
	}
	for _, rule := range j.Rules {
		r.states[rule] = map[alert.Series]alert.State{}
		r.judged[rule] = &Judged{}
	}
	if j.Past == nil {
		r.memory = alert.NewMemory(j.Rules)
		r.judge.Past = r.memory.Past
	}
	return r
}

// Add judges one closing. Those that nothing looks at cost nothing.
func (r *Run) Add(c *drift.Closing) error {
	if err := r.drift(c); err != nil {
		return err
	}
	if !slices.ContainsFunc(r.judge.Rules, func(rule *alert.Rule) bool { return rule.Spec().Window == c.Size && rule.Watches(c.Model) }) {
		return nil
	}
	base, err := r.judge.See(c, alert.ReferenceBaseline)
	if err != nil {
		return err
	}
	for f, err := range r.judge.Findings(c, base, func(rule *alert.Rule) map[alert.Series]alert.State { return r.states[rule] }) {
		if err != nil {
			return err
		}
		r.note(c, f)
		for i := range f.Changes {
			r.change(&f.Changes[i])
		}
		alert.Apply(r.states[f.Rule], f.Next)
	}
	if r.memory != nil {
		r.memory.Add(c, base.Total.Window)
	}
	return nil
}

func (r *Run) note(c *drift.Closing, f alert.Finding) {
	j := r.judged[f.Rule]
	j.add(c)
	if slices.ContainsFunc(f.Inputs, f.Rule.Decides) {
		j.Decided++
	}
	j.Series = max(j.Series, len(f.Inputs))
}

// change keeps the start or the end of an alert.
func (r *Run) change(ch *alert.Change) {
	switch {
	case ch.Fired():
		r.open[ch.Series] = len(r.intervals)
		r.intervals = append(r.intervals, Interval{
			Rule: ch.Series.Alertname(), Model: ch.Series.Model, Version: ch.Series.Version, Variant: ch.Variant(), Segment: ch.Series.Segment,
			Feature: ch.Series.Feature(), Severity: ch.Severity, StartsAt: ch.StartsAt, Reason: ch.Reason,
		})
	case ch.Resolved():
		i := &r.intervals[r.open[ch.Series]]
		end := ch.EndsAt
		i.EndsAt, i.Peak = &end, ch.Peak.Reason
		delete(r.open, ch.Series)
	}
}

// from returns the start of the first window that was judged.
func (r *Run) from() (first time.Time) {
	consider := func(j *Judged) {
		if j.Windows > 0 && (first.IsZero() || j.From.Before(first)) {
			first = j.From
		}
	}
	for _, j := range r.judged {
		consider(j)
	}
	if r.within != nil {
		consider(&r.within.judged)
	}
	return first
}

// Intervals returns what fired, by series and time.
func (r *Run) Intervals() []Interval {
	out := slices.Clone(r.intervals)
	slices.SortStableFunc(out, func(a, b Interval) int { return cmp.Or(a.series(b), a.StartsAt.Compare(b.StartsAt)) })
	return out
}
