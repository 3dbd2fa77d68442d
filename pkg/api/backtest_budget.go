package api

import (
	"context"
	"errors"
	"time"

	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// budgetOf understands a budget to be tried, nil for none.
func (s *Server) budgetOf(m *Model, field string, asked *BudgetJSON) (*backtest.Budget, error) {
	switch {
	case asked == nil:
		return nil, nil
	case asked.Running && m.Drift == nil:
		return nil, nil
	case asked.Running:
		return &backtest.Budget{Name: m.Drift.Budget, Config: m.Drift.Config}, nil
	}
	c := detect.DefaultConfig(m.Model)
	j := s.Reader.Snapshot().Judges
	c.Window, c.Reference, c.MinEvents, c.Interval = j.Window, j.Reference, j.MinEvents, j.Interval
	c.Pages, c.Weights = asked.Pages, asked.Weights
	var err error
	if c.Per, err = parseDuration(asked.Per); err != nil {
		return nil, badParameter(field+".per", asked.Per, err.Error())
	}
	if err := c.Validate(); err != nil {
		return nil, badParameter(field, asked.Name, err.Error())
	}
	return &backtest.Budget{Name: asked.Name, Config: c}, nil
}

// within has the runs of a backtest judge drift within their budgets.
func (s *Server) within(ctx context.Context, t storedBacktest, parts backtest.Parts) error {
	var size time.Duration // both budgets' windows are the daemon's
	for _, run := range []struct {
		*backtest.Run
		budget *backtest.Budget
		faults []backtest.Injection
	}{{parts.Main, t.budget, t.injections}, {parts.Plain, t.budget, nil}, {parts.Against, t.contrast, t.injections}} {
		if run.Run == nil || run.budget == nil {
			continue
		}
		b := *run.budget
		size = b.Config.Window
		b.Sum = func(from, to time.Time) (*drift.Window, error) {
			return s.sum(t, b.Config.Window, run.faults, from, to)
		}
		if err := run.Within(b); err != nil {
			return err
		}
	}
	if size == 0 {
		return nil
	}
	return s.learn(ctx, t, parts, size)
}

// learn gives the runs of a backtest what is stored of the time before it: what is
// normal.
func (s *Server) learn(ctx context.Context, t storedBacktest, parts backtest.Parts, size time.Duration) error {
	first := t.first(size)
	at := floorTime(t.model.Started, size)
	if earliest := first.Add(-detect.MaxRows * size); at.Before(earliest) {
		at = earliest
	}
	for ; at.Before(first); at = at.Add(backtestChunk * size) {
		end := at.Add(backtestChunk * size)
		if end.After(first) {
			end = first
		}
		windows, err := s.totals(t.model.Model, size, at, end)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, w := range windows {
			if err := parts.Learn(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// totals returns the stored windows of a whole model, as drift.Closing.Total sums them.
func (s *Server) totals(model string, size time.Duration, from, to time.Time) ([]*drift.Window, error) {
	return s.Reader.Windows(Query{Model: model, Variants: []event.Variant{event.Primary, event.Canary}, From: from, To: to, Size: size, Total: true})
}

// sum adds up what is judged of a model from one time to another, with faults put
// into what lies in the backtest's time.
func (s *Server) sum(t storedBacktest, size time.Duration, faults []backtest.Injection, from, to time.Time) (*drift.Window, error) {
	windows, err := s.totals(t.model.Model, size, from, to)
	if err != nil {
		return nil, err
	}
	first := t.first(size)
	for i, w := range windows {
		if !w.Start.Before(first) {
			windows[i] = backtest.InjectWindow(w, faults)
		}
	}
	return drift.Sum(windows)
}
