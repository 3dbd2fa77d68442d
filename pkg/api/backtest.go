package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

const (
	maxBacktestBytes = 1 << 20
	maxBacktestRules = 1000
	// backtestChunk is how many spans are read at a time: what is in memory.
	backtestChunk = 24
	// backtestSpan is how far back a backtest goes that does not say from when.
	backtestSpan = 7 * 24 * time.Hour
)

// A BacktestJSON asks what rules would have fired on the stored windows of a model,
// and what its drift would have told within a budget.
type BacktestJSON struct {
	Rules   []RuleJSON  `json:"rules"`
	Budget  *BudgetJSON `json:"budget,omitempty"` // absent: drift is not judged
	Against []RuleJSON  `json:"against,omitzero"` // other rules, to say what is new and gone; absent: none
	// AgainstBudget goes with Against.
	AgainstBudget *BudgetJSON `json:"against_budget,omitempty"`

	From     string   `json:"from,omitempty"`     // windows that start at or after it; absent: Span before To
	To       string   `json:"to,omitempty"`       // and end by it; absent: what has closed last
	Span     string   `json:"span,omitempty"`     // instead of From; absent: 7d
	Baseline string   `json:"baseline,omitempty"` // id; absent: the model's active one
	Inject   []string `json:"inject,omitempty"`   // faults, as backtest.ParseInjection reads them
}

// A BudgetJSON says within what the drift of a model is judged, in the windows that
// the daemon judges drift by.
type BudgetJSON struct {
	Running bool               `json:"running,omitempty"` // as it runs, if the model has a budget; the rest is not given then
	Name    string             `json:"name,omitempty"`
	Pages   float64            `json:"pages,omitempty"`   // false pages that drift of this model may cost in Per
	Per     string             `json:"per,omitempty"`     // such as 30d
	Weights map[string]float64 `json:"weights,omitempty"` // of signals, where they are not 1
}

// A storedBacktest is a BacktestJSON that was understood.
type storedBacktest struct {
	model      *Model
	rules      []*alert.Rule
	budget     *backtest.Budget // nil: none
	against    []*alert.Rule    // nil: none
	contrast   *backtest.Budget // of against
	baseline   *drift.Baseline
	from, to   time.Time
	injections []backtest.Injection
}

func (s *Server) postBacktest(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var asked BacktestJSON
	if err := decodeBody(body, &asked); err != nil {
		return err
	}
	t, err := s.understand(r, m, asked)
	if err != nil {
		return err
	}
	report, err := s.try(r.Context(), t)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, report)
}

// understand checks what was asked for.
func (s *Server) understand(r *request, m *Model, asked BacktestJSON) (t storedBacktest, err error) {
	t = storedBacktest{model: m, baseline: m.Baseline}
	if t.rules, err = s.compileRules("rules", asked.Rules); err != nil {
		return t, err
	}
	if asked.Against != nil {
		if t.against, err = s.compileRules("against", asked.Against); err != nil {
			return t, err
		}
	}
	if t.budget, err = s.budgetOf(m, "budget", asked.Budget); err != nil {
		return t, err
	}
	if t.contrast, err = s.budgetOf(m, "against_budget", asked.AgainstBudget); err != nil {
		return t, err
	}
	if asked.Baseline != "" {
		if t.baseline, err = s.Reader.Baseline(asked.Baseline); err != nil {
			return t, err
		}
		if t.baseline.Model != m.Model {
			return t, badParameter("baseline", asked.Baseline, "is of model "+t.baseline.Model)
		}
	}
	for _, at := range []struct {
		name, text string
		time       *time.Time
	}{{"from", asked.From, &t.from}, {"to", asked.To, &t.to}} {
		if at.text == "" {
			continue
		}
		if *at.time, err = parseTime(at.text, r.now); err != nil {
			return t, badParameter(at.name, at.text, err.Error())
		}
	}
	if t.to.IsZero() || t.to.After(m.Watermark) {
		t.to = m.Watermark // what is later can still change
	}
	if t.from.IsZero() {
		span := backtestSpan
		if asked.Span != "" {
			if span, err = parseDuration(asked.Span); err != nil {
				return t, badParameter("span", asked.Span, err.Error())
			}
		}
		t.from = t.to.Add(-span)
	}
	if err := t.bound(); err != nil {
		return t, err
	}
	for _, text := range asked.Inject {
		i, err := backtest.ParseInjection(text)
		if err != nil {
			return t, badParameter("inject", text, err.Error())
		}
		t.injections = append(t.injections, i)
	}
	if t.injections, err = backtest.Bind(t.injections, t.baseline, false); err != nil {
		return t, problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	return t, nil
}

func (s *Server) compileRules(name string, in []RuleJSON) ([]*alert.Rule, error) {
	if len(in) > maxBacktestRules {
		return nil, badParameter(name, "", fmt.Sprintf("more than %d rules", maxBacktestRules))
	}
	rules, names := []*alert.Rule{}, map[string]bool{}
	for i, r := range in {
		at := fmt.Sprintf("%s[%d]", name, i)
		rule, err := r.compile()
		switch {
		case err != nil:
			return nil, badParameter(at, r.Alert, err.Error())
		case names[r.Alert]:
			return nil, badParameter(at, r.Alert, "this name is given twice")
		case !s.fits(rule.Spec().Window):
			return nil, badParameter(at, r.Window, "the window must be "+s.fitting())
		}
		names[r.Alert] = true
		rules = append(rules, rule)
	}
	return rules, nil
}

// bound refuses a range of too many windows.
func (t *storedBacktest) bound() error {
	for _, size := range t.sizes() {
		if t.to.Sub(t.from)/size >= maxWindows {
			return badParameter("from", t.from.Format(time.RFC3339), fmt.Sprintf("from then to %s there are more than %d windows of %s; ask for a shorter range",
				t.to.Format(time.RFC3339), maxWindows, formatDuration(size)))
		}
	}
	return nil
}

// sizes returns the lengths of windows that a rule or a budget judges of the model.
func (t *storedBacktest) sizes() []time.Duration {
	var out []time.Duration
	for _, r := range slices.Concat(t.rules, t.against) {
		if r.Watches(t.model.Model) {
			out = append(out, r.Spec().Window)
		}
	}
	for _, b := range []*backtest.Budget{t.budget, t.contrast} {
		if b != nil {
			out = append(out, b.Config.Window)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// try judges the stored windows of a model.
func (s *Server) try(ctx context.Context, t storedBacktest) (*backtest.Report, error) {
	judge := alert.Judge{Rules: t.rules, Baseline: t.baseline, Gap: t.model.ExpectedGap, Past: func(w *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
		then, err := PastWindow(s.Reader, w, whole, start)
		if err != nil || then == nil {
			return nil, err
		}
		return backtest.InjectWindow(then, t.injections), nil
	}}
	parts := backtest.Parts{Main: backtest.NewRun(judge), Injections: t.injections}
	if t.against != nil {
		other := judge
		other.Rules = t.against
		parts.Against = backtest.NewRun(other)
	}
	if len(t.injections) > 0 {
		plain := judge
		plain.Past = func(w *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
			return PastWindow(s.Reader, w, whole, start)
		}
		parts.Plain = backtest.NewRun(plain)
	}
	if err := s.within(ctx, t, parts); err != nil {
		return nil, err
	}
	for _, size := range t.sizes() {
		for c, err := range s.closings(ctx, t, size) {
			if err == nil {
				err = parts.Add(c)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return backtest.NewReport(t.model.Model, parts), nil
}

// closings yields what closed of a model in a backtest's time as the loop saw it: one
// closing a span, without windows where no event was, from the first span that is
// still stored. Of windows under an hour that is as long as panes are kept.
func (s *Server) closings(ctx context.Context, t storedBacktest, size time.Duration) iter.Seq2[*drift.Closing, error] {
	return func(yield func(*drift.Closing, error) bool) {
		begun := false
		for at := t.first(size); !at.Add(size).After(t.to); {
			end := at.Add(backtestChunk * size)
			windows, err := s.Reader.Windows(Query{Model: t.model.Model, From: at, To: end, Size: size, Segments: true})
			if err = errors.Join(err, ctx.Err()); err != nil {
				yield(nil, err)
				return
			}
			for ; at.Before(end) && !at.Add(size).After(t.to); at = at.Add(size) {
				c := &drift.Closing{Model: t.model.Model, Size: size, Start: at, End: at.Add(size), Incomplete: t.model.lossy(at, at.Add(size))}
				for len(windows) > 0 && !windows[0].Start.After(at) {
					c.Windows, windows = append(c.Windows, windows[0]), windows[1:]
				}
				if begun = begun || len(c.Windows) > 0; begun && !yield(c, nil) {
					return
				}
			}
		}
	}
}

// first returns the start of the first window of a size: none before the model's
// first event, nor more of them than one answer may take.
func (t *storedBacktest) first(size time.Duration) time.Time {
	from := t.from
	for _, least := range []time.Time{floorTime(t.model.Started, size), t.to.Add(-maxWindows * size)} {
		if from.Before(least) {
			from = least
		}
	}
	first := floorTime(from, size)
	if first.Before(from) {
		first = first.Add(size)
	}
	return first
}

// lossy reports whether messages of a span are known to be lost, in the last gap.
func (m *Model) lossy(start, end time.Time) bool {
	return !m.GapTo.IsZero() && !start.After(m.GapTo) && end.After(m.GapFrom)
}

// PastWindow returns the stored window of w's group and length that started at
// start, nil if it had no event: alert.Past for what is committed.
func PastWindow(stored Reader, w *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
	g, size := w.Group, w.End.Sub(w.Start)
	q := Query{Model: g.Model, Version: g.Version, Variants: []event.Variant{g.Variant}, Segment: g.Segment, From: start, To: start.Add(size), Size: size}
	if whole {
		q.Total, q.Variants = true, []event.Variant{event.Primary, event.Canary}
	}
	windows, err := stored.Windows(q)
	for _, w := range windows {
		if whole || w.Group == g { // a query for version "" gives every version
			return w, err
		}
	}
	return nil, err
}
