package backtest

import (
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

// A Budget says within what the drift of a model is judged, beside the rules.
type Budget struct {
	Name   string
	Config detect.Config // of the windows of Config.Window
	// Sum returns the sum of the whole model's windows in [from, to), nil if there
	// was no event: with the faults of this Run put in. nil itself: the Run
	// remembers the windows that may be asked for.
	Sum func(from, to time.Time) (*drift.Window, error)
}

// A DriftReport is what the drift of a model would have told within its budget.
type DriftReport struct {
	Budget  string        `json:"budget"`
	Allowed float64       `json:"allowed"` // false pages that drift of this model may cost in a period
	PeriodS float64       `json:"period_s"`
	Learned int           `json:"learned"` // windows before the first one that were learned from
	Pages   int           `json:"pages"`   // that were drawn
	Noise   *Noise        `json:"noise"`   // of the pages, once the reference period was over; null: it never was
	Status  detect.Status `json:"status"`  // at the end
	Changes []DriftChange `json:"changes"`
}

// A DriftChange is what would have been recorded of an incident.
type DriftChange struct {
	Kind     detect.ChangeKind `json:"kind"`  // opened, raised, extended, resolved, superseded; noted is told to nobody
	At       time.Time         `json:"at"`    // end of the window
	Level    detect.Level      `json:"level"` // of the incident, "none" of what is noted
	Page     bool              `json:"page"`  // it draws a page from the budget
	Reason   string            `json:"reason"`
	Findings []detect.Finding  `json:"findings"` // what came with it, the strongest first
}

// names reports whether a change tells people of a signal.
func (c *DriftChange) names(signal string) bool {
	return c.Kind != detect.Noted && slices.ContainsFunc(c.Findings, func(f detect.Finding) bool { return f.Signal == signal })
}

// A within judges the drift of one model within a budget, for a Run.
type within struct {
	budget  Budget
	base    *drift.Baseline
	learner *detect.Learner // nil once a window was judged
	state   *detect.State
	rows    *detect.Rows
	memory  []*drift.Window // the last ones, if the budget has no Sum
	judged  Judged          // after the reference period
	learned int             // windows of it
	changes []DriftChange
	open    episode // the incident that is open, or was last
	before  episode // the one before it
}

// An episode is an incident among the Run's intervals.
type episode struct {
	at    int    // index
	worst string // reason
}

// Within has the Run judge the drift of its model too: windows that Learn is given
// make its reference period. Without them, or with fewer than detect.MinReference,
// the first ones that Add is given do. It comes before both.
func (r *Run) Within(b Budget) error {
	if r.judge.Baseline == nil {
		return nil // nothing is compared
	}
	if err := b.Config.Validate(); err != nil {
		return fmt.Errorf("budget %s: %w", b.Name, err)
	}
	w := &within{budget: b, base: r.judge.Baseline}
	w.learner = detect.NewLearner(&w.budget.Config, w.base.ID, w.base.Part(""))
	r.within = w
	return nil
}

// Learn gives the next window of the whole model before those that are judged.
func (r *Run) Learn(w *drift.Window) error {
	if r.within == nil {
		return nil
	}
	r.within.learned++
	r.within.remember(w)
	return r.within.learner.Add(w)
}

// drift judges a closing within the budget.
func (r *Run) drift(c *drift.Closing) error {
	w := r.within
	if w == nil || c.Size != w.budget.Config.Window {
		return nil
	}
	total, err := c.Total()
	if err != nil {
		return err
	}
	if w.learner != nil {
		w.state, w.rows = w.learner.State()
		w.learner = nil
	}
	w.remember(total)
	judging := w.state.Fit().Frozen
	j, err := w.state.Judge(&w.budget.Config, w.rows, w.base, total, func(from time.Time) (*drift.Window, error) { return w.sum(from, c.End) })
	if err != nil {
		return err
	}
	w.rows.Take(&j.Decision)
	w.note(c, &j, judging)
	for i := range j.Changes {
		r.incident(&j.Changes[i])
	}
	return nil
}

func (w *within) note(c *drift.Closing, j *detect.Judgement, judging bool) {
	if !judging {
		w.learned++
		return
	}
	w.judged.add(c)
	if j.Scores() != nil {
		w.judged.Decided++
	}
	w.judged.Series = len(w.state.Fit().Detectors)
}

// incident keeps a change of the model's incident.
func (r *Run) incident(ch *detect.Change) {
	w, i := r.within, &ch.Incident
	w.changes = append(w.changes, DriftChange{Kind: ch.Kind, At: ch.At, Level: i.Level, Page: ch.Page(), Reason: ch.Reason, Findings: nonNil(ch.New)})
	switch ch.Kind {
	case detect.Opened:
		w.before, w.open = w.open, episode{len(r.intervals), ch.Reason}
		r.intervals = append(r.intervals, Interval{
			Rule: alert.RuleDrift, Model: w.budget.Config.Model, Severity: i.Level.String(), StartsAt: i.Opened, Reason: ch.Reason,
		})
	case detect.Raised:
		r.intervals[w.open.at].Severity, w.open.worst = i.Level.String(), ch.Reason
	case detect.Resolved:
		r.end(w.open, ch.At)
	case detect.Superseded: // comes behind the Opened of the one that goes on
		r.end(w.before, ch.At)
	case detect.Extended, detect.Noted:
	}
}

// end ends the interval of an incident.
func (r *Run) end(e episode, at time.Time) {
	i := &r.intervals[e.at]
	i.EndsAt, i.Peak = &at, e.worst
}

// remember keeps a window for as long as its sum with later ones may be asked for.
func (w *within) remember(window *drift.Window) {
	if w.budget.Sum != nil || window.Events == 0 {
		return
	}
	keep := window.End.Add(-(detect.MaxSpan + 1) * w.budget.Config.Window)
	w.memory = slices.DeleteFunc(w.memory, func(old *drift.Window) bool { return old.Start.Before(keep) })
	w.memory = append(w.memory, window)
}

func (w *within) sum(from, to time.Time) (*drift.Window, error) {
	if w.budget.Sum != nil {
		return w.budget.Sum(from, to)
	}
	var in []*drift.Window
	for _, old := range w.memory {
		if !old.Start.Before(from) && !old.End.After(to) {
			in = append(in, old)
		}
	}
	return drift.Sum(in)
}

// report sums up what was judged.
func (w *within) report() *DriftReport {
	if w.learner != nil {
		w.state, w.rows = w.learner.State()
		w.learner = nil
	}
	c := &w.budget.Config
	out := &DriftReport{
		Budget: w.budget.Name, Allowed: c.Pages, PeriodS: c.Per.Seconds(), Learned: w.learned, Status: w.state.Status(c), Changes: nonNil(w.changes),
	}
	for i := range w.changes {
		if w.changes[i].Page {
			out.Pages++
		}
	}
	if w.judged.Decided > 0 {
		out.Noise = NewNoise(out.Pages, w.judged.From, w.judged.To)
	}
	return out
}

// A DriftDelay is how long the budget's detectors took to tell people of the
// feature that a fault acts on, and to page for it; null where they did not.
type DriftDelay struct {
	ToldAt     *time.Time `json:"told_at"`
	ToldDelayS *float64   `json:"told_delay_s"`
	PageAt     *time.Time `json:"page_at"`
	PageDelayS *float64   `json:"page_delay_s"`
}

// driftDelay says when the drift that a fault has made was told, nil if none is
// judged: what is told of the data as it is does not count.
func (i *Injection) driftDelay(p Parts, at time.Time) *DriftDelay {
	if p.Main.within == nil {
		return nil
	}
	first := func(counts func(*DriftChange) bool) (*time.Time, *float64) {
		told := func(c DriftChange) bool { return c.At.After(at) && c.names(i.signal) && counts(&c) }
		for _, c := range p.Main.within.changes {
			anyway := slices.ContainsFunc(p.Plain.within.changes, func(o DriftChange) bool { return told(o) && !o.At.After(c.At) })
			if told(c) && !anyway {
				when, seconds := c.At, c.At.Sub(at).Seconds()
				return &when, &seconds
			}
		}
		return nil, nil
	}
	out := &DriftDelay{}
	out.ToldAt, out.ToldDelayS = first(func(*DriftChange) bool { return true })
	out.PageAt, out.PageDelayS = first(func(c *DriftChange) bool { return c.Page })
	return out
}
