package backtest

import (
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// A Report is what a backtest of rules, and of a budget, on one model found. A
// budget is among the rules as alert.RuleDrift.
type Report struct {
	Model      string       `json:"model"`
	Baseline   string       `json:"baseline"` // id or file; "" without one: rules that compare say nothing
	From       time.Time    `json:"from"`     // the judged windows of all rules lie in [from, to)
	To         time.Time    `json:"to"`
	Rules      []RuleReport `json:"rules"`
	Intervals  []Interval   `json:"intervals"`
	PagesDay   float64      `json:"pages_per_day"`
	TicketsDay float64      `json:"tickets_per_day"`
	Days       []Day        `json:"days"`            // those on which something fired
	Drift      *DriftReport `json:"drift,omitempty"` // within the budget; absent: it is not judged
	Injections []Delay      `json:"injections,omitempty"`
	Against    *Difference  `json:"against,omitempty"`
}

// A RuleReport is what one rule did.
type RuleReport struct {
	Rule     string  `json:"rule"`
	Severity string  `json:"severity"`
	WindowS  float64 `json:"window_s"` // length of its windows
	Judged
	Fired int    `json:"fired"`
	Noise *Noise `json:"noise"` // null: no window decided anything
}

// A Tally counts alerts by severity.
type Tally struct {
	Pages   int `json:"pages"`
	Tickets int `json:"tickets"`
	Infos   int `json:"infos"`
}

func (t *Tally) count(severity string) {
	switch severity {
	case alert.SeverityPage:
		t.Pages++
	case alert.SeverityTicket:
		t.Tickets++
	default:
		t.Infos++
	}
}

// A Day counts what started to fire on one day.
type Day struct {
	Day string `json:"day"` // 2026-01-05, UTC
	Tally
}

// day names the day on which an interval begins.
func (i Interval) day() string { return i.StartsAt.UTC().Format(time.DateOnly) }

// A Delay is how long rules took to notice an injected fault.
type Delay struct {
	Injection string     `json:"injection"`
	At        time.Time  `json:"at"`    // when it began to act on what is judged
	Exact     bool       `json:"exact"` // false: values were taken to be spread evenly in their bins
	Rule      string     `json:"rule"`  // the first that fired for it; "" for none
	AlertAt   *time.Time `json:"alert_at"`
	DelayS    *float64   `json:"delay_s"` // event time from the fault to the end of the window that fired

	Drift *DriftDelay `json:"drift,omitempty"` // within the budget
}

// A Difference is what one file of rules tells beyond another.
type Difference struct {
	New     []Interval `json:"new"`  // only the rules tried
	Gone    []Interval `json:"gone"` // only those tried against
	Changed []Changed  `json:"changed"`
	Same    int        `json:"same"`
}

// A Changed is one stretch of time of one series that both tell: from another time,
// for longer, louder, or in other pieces. No two intervals of a side overlap.
type Changed struct {
	Before []Interval `json:"before"`
	After  []Interval `json:"after"`
}

// Parts are the Runs that make a Report. Main is needed.
type Parts struct {
	Main       *Run        // the rules on the data, with the faults put in
	Plain      *Run        // the rules on the data as they are; with Injections
	Against    *Run        // other rules on what Main judged; nil for none
	Injections []Injection // of Main, with the data that they acted on
}

// runs returns those that there are.
func (p Parts) runs() []*Run {
	return slices.DeleteFunc([]*Run{p.Main, p.Plain, p.Against}, func(r *Run) bool { return r == nil })
}

// Learn gives the next window of the whole model before those that are judged: as
// it is, since faults are put into what is judged.
func (p Parts) Learn(w *drift.Window) error {
	for _, r := range p.runs() {
		if err := r.Learn(w); err != nil {
			return err
		}
	}
	return nil
}

// Add judges one closing as it is, and with the faults of windows put in.
func (p Parts) Add(c *drift.Closing) error {
	if p.Plain != nil {
		if err := p.Plain.Add(c); err != nil {
			return err
		}
		c = Inject(c, p.Injections)
	}
	return p.AddInjected(c)
}

// AddInjected judges one closing in which the faults are already: of events that
// Injection.Event changed. Plain gets the one without by itself.
func (p Parts) AddInjected(c *drift.Closing) error {
	if err := p.Main.Add(c); err != nil || p.Against == nil {
		return err
	}
	return p.Against.Add(c)
}

// NewReport sums up finished runs over one model.
func NewReport(model string, p Parts) *Report {
	out := &Report{Model: model, Intervals: nonNil(p.Main.Intervals()), Rules: []RuleReport{}}
	if b := p.Main.judge.Baseline; b != nil {
		out.Baseline = b.ID
	}
	for _, r := range p.Main.judge.Rules {
		if spec := r.Spec(); r.Watches(model) {
			out.rule(RuleReport{Rule: spec.Name, Severity: spec.Severity, WindowS: spec.Window.Seconds(), Judged: *p.Main.judged[r]})
		}
	}
	if w := p.Main.within; w != nil {
		out.Drift = w.report()
		out.rule(RuleReport{Rule: alert.RuleDrift, Severity: alert.SeverityPage, WindowS: w.budget.Config.Window.Seconds(), Judged: w.judged})
	}
	out.Days = days(out.Intervals)
	for _, d := range out.Days {
		if span := out.To.Sub(out.From); span > 0 { // it is, since something fired
			out.PagesDay += float64(d.Pages) * 24 / span.Hours()
			out.TicketsDay += float64(d.Tickets) * 24 / span.Hours()
		}
	}
	for _, i := range p.Injections {
		out.Injections = append(out.Injections, i.delay(p))
	}
	if p.Against != nil {
		d := Diff(p.Against.Intervals(), out.Intervals)
		out.Against = &d
	}
	return out
}

// rule adds what was judged by one rule.
func (r *Report) rule(out RuleReport) {
	for _, i := range r.Intervals {
		if i.Rule == out.Rule {
			out.Fired++
		}
	}
	if out.Decided > 0 {
		out.Noise = NewNoise(out.Fired, out.From, out.To)
	}
	if out.Windows > 0 && (r.From.IsZero() || out.From.Before(r.From)) {
		r.From = out.From
	}
	if out.To.After(r.To) {
		r.To = out.To
	}
	r.Rules = append(r.Rules, out)
}

func days(intervals []Interval) []Day {
	byDay := map[string]*Tally{}
	for _, i := range intervals {
		if byDay[i.day()] == nil {
			byDay[i.day()] = &Tally{}
		}
		byDay[i.day()].count(i.Severity)
	}
	out := []Day{}
	for _, name := range slices.Sorted(maps.Keys(byDay)) {
		out = append(out, Day{Day: name, Tally: *byDay[name]})
	}
	return out
}

// Diff says what after tells beyond before; both are in the order of
// Run.Intervals. Alerts of one series that overlap are about the same.
func Diff(before, after []Interval) Difference {
	out := Difference{New: []Interval{}, Gone: []Interval{}, Changed: []Changed{}}
	var shared []Changed
	home := map[int]int{} // by index in before: in shared
	for _, a := range after {
		at := -1
		for i, b := range before {
			if a.series(b) != 0 || !a.Overlaps(b) {
				continue
			}
			known, ok := home[i]
			switch {
			case ok:
				at = known
			case at < 0:
				at = len(shared)
				shared = append(shared, Changed{})
			}
			if !ok {
				home[i] = at
				shared[at].Before = append(shared[at].Before, b)
			}
		}
		if at < 0 {
			out.New = append(out.New, a)
		} else {
			shared[at].After = append(shared[at].After, a)
		}
	}
	for i, b := range before {
		if _, ok := home[i]; !ok {
			out.Gone = append(out.Gone, b)
		}
	}
	for _, c := range shared {
		if len(c.Before) == 1 && len(c.After) == 1 && same(c.Before[0], c.After[0]) {
			out.Same++
		} else {
			out.Changed = append(out.Changed, c)
		}
	}
	return out
}

// same reports whether both tell the same of the same time.
func same(a, b Interval) bool {
	ends := a.EndsAt == nil && b.EndsAt == nil || a.EndsAt != nil && b.EndsAt != nil && a.EndsAt.Equal(*b.EndsAt)
	return ends && a.StartsAt.Equal(b.StartsAt) && a.Severity == b.Severity
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
