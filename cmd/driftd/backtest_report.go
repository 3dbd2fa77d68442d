package main

import (
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/config"
)

// A backtestReport is the JSON of backtest.
type backtestReport struct {
	Rules   string             `json:"rules"`
	Against string             `json:"against,omitempty"`
	Models  []*backtest.Report `json:"models"`
	Rows    *rowCounts         `json:"rows,omitempty"` // of --file
}

// rowCounts say what became of the rows of a file.
type rowCounts struct {
	Read      uint64 `json:"read"`
	Counted   uint64 `json:"counted"`
	Late      uint64 `json:"late"`      // their window had closed: the file is not ordered by time
	Duplicate uint64 `json:"duplicate"` // of an id that came before
	Timeless  uint64 `json:"timeless"`  // without a time
}

// intervalHead names the columns of intervalRow.
var intervalHead = []string{"rule", "model", "model_version", "variant", "segment", "feature", "severity", "starts_at", "ends_at", "reason", "peak"}

func intervalRow(i backtest.Interval) []any {
	end := any(nil)
	if i.EndsAt != nil {
		end = i.EndsAt.Format(time.RFC3339)
	}
	return []any{i.Rule, i.Model, i.Version, i.Variant, i.Segment, i.Feature, i.Severity, i.StartsAt.Format(time.RFC3339), end, i.Reason, i.Peak}
}

// shownIntervals bounds the alerts of a table for people.
const shownIntervals = 50

func (b *backtestReport) result() result {
	r := result{
		value: b, items: []any{},
		sheet: sheet{head: []string{"model", "rule", "severity", "windows", "decided", "fired", "per 30d", "95 %"}},
		wide:  &sheet{head: intervalHead},
	}
	if b.Rows != nil {
		r.above = append(r.above, b.Rows.lines()...)
	}
	var alerts []backtest.Interval
	for _, m := range b.Models {
		reference := "against baseline " + m.Baseline
		if m.Baseline == "" {
			reference = "no baseline: rules that compare say nothing"
		}
		span := "no closed windows"
		if m.To.After(m.From) {
			span = m.From.Format(time.RFC3339) + " to " + m.To.Format(time.RFC3339)
		}
		r.above = append(r.above, printable(fmt.Sprintf("%s  %s, %s", m.Model, span, reference)))
		for _, rule := range m.Rules {
			per, between := noiseCells(rule.Noise)
			r.rows = append(r.rows, []any{m.Model, rule.Rule, rule.Severity, rule.Windows, rule.Decided, rule.Fired, per, between})
		}
		for _, i := range m.Intervals {
			r.items = append(r.items, i)
			r.wide.rows = append(r.wide.rows, intervalRow(i))
		}
		alerts = append(alerts, m.Intervals...)
		r.below = append(r.below, "", printable(fmt.Sprintf("%s: %.3g pages and %.3g tickets a day", m.Model, m.PagesDay, m.TicketsDay)))
		r.below = append(r.below, budgetLines(m)...)
		r.below = append(r.below, delayLines(m.Injections)...)
		r.below = append(r.below, differenceLines(m.Against)...)
	}
	if len(r.above) > 0 {
		r.above = append(r.above, "")
	}
	r.below = append(r.below, alertLines(alerts)...)
	return r
}

func (c *rowCounts) lines() []string {
	out := []string{fmt.Sprintf("%d rows read, %d counted", c.Read, c.Counted)}
	if c.Late > 0 {
		out = append(out, fmt.Sprintf("%d rows came after their window had closed and were left out: order the file by time, or raise windows.lateness with -c", c.Late))
	}
	if c.Timeless+c.Duplicate > 0 {
		out = append(out, fmt.Sprintf("%d rows without a time and %d repeats were left out", c.Timeless, c.Duplicate))
	}
	return out
}

// noiseCells print an expected number of alerts and its interval.
func noiseCells(n *backtest.Noise) (per, between string) {
	if n == nil {
		return "", "not measured"
	}
	return fmt.Sprintf("%.3g", n.Per30d), fmt.Sprintf("%.2g to %.2g", n.Low, n.High)
}

// budgetLines tell what a model's drift would have done within its budget.
func budgetLines(m *backtest.Report) (lines []string) {
	d := m.Drift
	if d == nil {
		return nil
	}
	if d.Noise == nil {
		need := fmt.Sprintf("%d of the %d windows of its reference period", d.Learned, d.Status.Reference)
		return []string{printable(fmt.Sprintf("%s: its drift is not judged: there are %s", m.Model, need))}
	}
	pages, per := "pages", config.Duration(d.PeriodS*float64(time.Second))
	if d.Pages == 1 {
		pages = "page"
	}
	_, between := noiseCells(d.Noise)
	lines = append(lines, printable(fmt.Sprintf("%s: drift within budget %s: %d %s in %.3g days, %.3g in 30 days (95 %%: %s); false ones may be %.3g in %s",
		m.Model, d.Budget, d.Pages, pages, d.Noise.Days, d.Noise.Per30d, between, d.Allowed, per)))
	for _, c := range d.Changes[:min(len(d.Changes), shownIntervals)] {
		lines = append(lines, printable(fmt.Sprintf("%s  %-6s  %s: %s", c.At.Format(time.RFC3339), c.Level, c.Kind, c.Reason)))
	}
	if more := len(d.Changes) - shownIntervals; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: -o json has all of them", more))
	}
	return lines
}

func delayLines(delays []backtest.Delay) (lines []string) {
	for _, d := range delays {
		line := d.Injection + ": no rule noticed it"
		if d.AlertAt != nil {
			line = fmt.Sprintf("%s: noticed after %s by %s", d.Injection, config.Duration(d.AlertAt.Sub(d.At)), d.Rule)
		}
		if !d.Exact {
			line += " (values taken to be spread evenly in their bins)"
		}
		lines = append(lines, printable(line))
		if d.Drift != nil {
			lines = append(lines, printable(fmt.Sprintf("%s: within the budget %s", d.Injection, delayText(d))))
		}
	}
	return lines
}

// delayText says when the budget's detectors told people of a fault.
func delayText(d backtest.Delay) string {
	after := func(at time.Time) string { return config.Duration(at.Sub(d.At)).String() }
	switch told, page := d.Drift.ToldAt, d.Drift.PageAt; {
	case told == nil:
		return "nobody is told of the feature"
	case page == nil:
		return fmt.Sprintf("told after %s, and no page", after(*told))
	case page.Equal(*told):
		return fmt.Sprintf("a page after %s", after(*page))
	default:
		return fmt.Sprintf("told after %s, a page after %s", after(*told), after(*page))
	}
}

func differenceLines(d *backtest.Difference) (lines []string) {
	if d == nil {
		return nil
	}
	lines = append(lines, fmt.Sprintf("%d new, %d gone, %d changed, %d as before", len(d.New), len(d.Gone), len(d.Changed), d.Same))
	for _, c := range []struct {
		mark      string
		intervals []backtest.Interval
	}{{"+ ", d.New}, {"- ", d.Gone}} {
		for _, i := range c.intervals[:min(len(c.intervals), shownIntervals)] {
			lines = append(lines, c.mark+alertLine(i))
		}
	}
	for _, c := range d.Changed[:min(len(d.Changed), shownIntervals)] {
		for _, i := range c.Before {
			lines = append(lines, "~ "+alertLine(i))
		}
		for _, i := range c.After {
			lines = append(lines, "  "+alertLine(i))
		}
	}
	return lines
}

func alertLines(alerts []backtest.Interval) []string {
	if len(alerts) == 0 {
		return []string{"", "nothing would have fired"}
	}
	slices.SortStableFunc(alerts, func(a, b backtest.Interval) int { return a.StartsAt.Compare(b.StartsAt) })
	lines := []string{""}
	for _, i := range alerts[:min(len(alerts), shownIntervals)] {
		lines = append(lines, alertLine(i))
	}
	if more := len(alerts) - shownIntervals; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: -o csv or -o json has all of them", more))
	}
	return lines
}

// alertLine tells an alert in one line.
func alertLine(i backtest.Interval) string {
	end := "still firing"
	if i.EndsAt != nil {
		end = "for " + config.Duration(i.EndsAt.Sub(i.StartsAt)).String()
	}
	what := i.Model
	for _, part := range []string{i.Version, i.Variant, i.Segment, i.Feature} {
		if part != "" {
			what += " " + part
		}
	}
	return printable(fmt.Sprintf("%s  %-6s  %s  %s  %s: %s", i.StartsAt.Format(time.RFC3339), i.Severity, i.Rule, what, end, i.Reason))
}
