package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// A command is a change that somebody asked for. It is applied by the loop,
// between two messages, and recorded with the sequence that it follows.
type command struct {
	apply func(*loop) error // an error refuses the command and changes nothing
	done  chan error        // buffered; answered when the change is committed
}

// A brokenError is one that a command met halfway: the loop cannot go on.
type brokenError struct{ error }

// ErrStopped is returned for commands that came too late.
var ErrStopped = fmt.Errorf("driftd is stopping: %w", api.ErrUnavailable)

// do runs a command and waits until it is durable.
func (d *Daemon) do(ctx context.Context, apply func(*loop) error) error {
	c := command{apply: apply, done: make(chan error, 1)}
	select {
	case d.commands <- c:
	case <-d.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-d.stopped:
		select {
		case err := <-c.done:
			return err
		default:
			return ErrStopped
		}
	}
}

// command applies a command; its error goes to the one who asked.
func (l *loop) command(c command) error {
	refusal := c.apply(l)
	var broken brokenError
	if errors.As(refusal, &broken) {
		return broken.error
	}
	if refusal != nil {
		c.done <- refusal
	} else {
		l.waiting = append(l.waiting, c.done)
	}
	return l.pending.Err()
}

// ImportBaseline makes b the reference of its model, and h, unless it is nil, what
// its drift is judged by from now on.
func (d *Daemon) ImportBaseline(ctx context.Context, b *drift.Baseline, h *api.History, actor string) error {
	if h != nil && h.State.Fit().Window != d.Detection.Window {
		return fmt.Errorf("the history is in windows of %v, drift is judged by windows of %v (windows.decide): import it again", h.State.Fit().Window, d.Detection.Window)
	}
	return d.do(ctx, func(l *loop) error {
		if err := l.adopt(b, "imported", actor); err != nil {
			return err
		}
		if budget, _ := l.budget(b.Model); h == nil || budget == nil {
			return nil
		}
		w := l.watched(b.Model)
		if err := l.closeIncident(b.Model, w, l.engine.Watermark(b.Model), l.progress.Seq, "the model has a new baseline"); err != nil {
			return err
		}
		w.state = h.State
		return l.putWatch(b.Model, w, h.Rows)
	})
}

// ApproveBaseline lets drift from a frozen baseline page.
func (d *Daemon) ApproveBaseline(ctx context.Context, id, actor string) error {
	b, err := d.Baseline(id)
	if err != nil {
		return fmt.Errorf("baseline %s: %w", id, err)
	}
	return d.do(ctx, func(l *loop) error {
		approved := *b
		approved.State = drift.Approved
		return l.adopt(&approved, "approved", actor)
	})
}

// CaptureBaseline makes a reference of what was counted.
func (d *Daemon) CaptureBaseline(ctx context.Context, c api.Capture, actor string) (*drift.Baseline, error) {
	if !c.From.Before(c.To) || !c.From.Equal(c.From.Truncate(d.Spec.Pane)) || !c.To.Equal(c.To.Truncate(d.Spec.Pane)) {
		return nil, fmt.Errorf("capture %s: from and to must be multiples of %v, from before to", c.Model, d.Spec.Pane)
	}
	// What has closed by now is made durable first, for the sum is the store's.
	if err := d.do(ctx, func(l *loop) error { return l.closedBy(c.Model, c.To) }); err != nil {
		return nil, fmt.Errorf("capture %s: %w", c.Model, err)
	}
	var captured *drift.Baseline
	err := d.do(ctx, func(l *loop) (err error) {
		if captured, err = l.capture(c, actor); err != nil {
			return fmt.Errorf("capture %s: %w", c.Model, err)
		}
		return l.adopt(captured, "captured", actor)
	})
	return captured, err
}

// closedBy fails if a pane of a model that ends by to may still change.
func (l *loop) closedBy(model string, to time.Time) error {
	if at := l.engine.Watermark(model); at.Before(to) {
		return fmt.Errorf("%v is not closed yet: the model's watermark is %v", to.UTC(), at)
	}
	return nil
}

// capture sums what is committed of a span into a baseline.
func (l *loop) capture(c api.Capture, actor string) (*drift.Baseline, error) {
	base := l.engine.Baseline(c.Model)
	if base == nil {
		return nil, errors.New("the model has no baseline yet, so nothing was counted in bins")
	}
	windows, err := l.Store.Windows(store.Query{
		Model: c.Model, Version: c.Version, Variants: []event.Variant{event.Primary}, From: c.From, To: c.To, Size: l.Spec.Pane, Total: true,
	})
	if err != nil {
		return nil, err
	}
	sum, err := drift.Sum(windows)
	if err != nil {
		return nil, err
	}
	if sum == nil || sum.Events == 0 || sum.Learning {
		return nil, fmt.Errorf("nothing was counted in bins in [%v, %v), or its panes are past retention", c.From, c.To)
	}
	sum.Group = drift.Group{Model: c.Model}
	origin := drift.Origin{Kind: "capture", Actor: actor, From: c.From.UTC(), To: c.To.UTC(), Rows: sum.Events}
	if c.Version != "" {
		origin.Kind, origin.Source = "version", c.Version
	}
	return drift.FromWindow(sum, base, origin), nil
}

// adopt changes a model's reference and records it.
func (l *loop) adopt(b *drift.Baseline, action, actor string) error {
	if !l.engine.SetBaseline(b) {
		return fmt.Errorf("model %q is not configured, or limits.models is reached", b.Model)
	}
	l.pending.PutBaseline(b)
	l.pending.DeleteLearning(b.Model)
	at := l.engine.Watermark(b.Model)
	if at.IsZero() {
		at = b.Origin.To
	}
	_, err := l.record(ledger.Draft{Time: at, StreamSeq: l.progress.Seq, Kind: ledger.KindBaseline, Model: b.Model, Body: baselineBody(b, action, actor)})
	return err
}
