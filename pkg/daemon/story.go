package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// Incidents implements api.Responder.
func (d *Daemon) Incidents(filter func(*incident.Incident) bool) ([]*incident.Incident, error) {
	return d.Store.Incidents(filter)
}

// Incident implements api.Responder.
func (d *Daemon) Incident(id string) (*incident.Incident, error) {
	i, err := d.Store.Incident(id)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	return i, err
}

// Hearing implements api.Responder.
func (d *Daemon) Hearing(id string) (h api.Hearing, err error) {
	told, err := d.Store.Told(id)
	if err != nil {
		return h, err
	}
	owed, err := d.Store.OwedAbout(id)
	if err != nil {
		return h, err
	}
	h.Told, h.Owed = make([]api.Told, len(told)), make([]api.Owed, len(owed))
	for k, t := range told {
		h.Told[k] = api.Told(t)
	}
	for k := range owed {
		o := &owed[k]
		h.Owed[k] = api.Owed{Receiver: o.Receiver, Seq: o.Seq, IssuedAt: o.IssuedAt, Attempts: o.Attempt, Error: o.LastError, For: strings.Join(o.For, ", ")}
		if at := slices.MaxFunc([]time.Time{o.NotBefore, o.NextAt}, time.Time.Compare); !at.IsZero() {
			h.Owed[k].NotBefore = &at
		}
	}
	return h, nil
}

// ChangeIncident implements api.Responder.
func (d *Daemon) ChangeIncident(ctx context.Context, id string, c incident.Change) (*incident.Incident, error) {
	err := d.do(ctx, func(l *loop) error { return l.changeIncident(ctx, id, c) })
	if err != nil {
		return nil, err
	}
	return d.Incident(id)
}

// changeIncident applies what somebody does, and records it.
func (l *loop) changeIncident(ctx context.Context, id string, c incident.Change) error {
	c.At = l.now.UTC().Truncate(time.Millisecond)
	if err := c.Validate(l.Policy); err != nil {
		return err
	}
	i, err := l.incident(ctx, id)
	if err != nil {
		return err
	}
	if err := i.Check(&c, l.Policy); err != nil {
		return err
	}
	draft := ledger.Draft{Time: time.Unix(0, l.progress.Time), StreamSeq: l.progress.Seq, Kind: ledger.KindIncident, Body: storyBody(id, &c)}
	if models := i.Models(); len(models) == 1 {
		draft.Model = models[0]
	}
	e, err := l.record(draft)
	if err != nil {
		return brokenError{err}
	}
	if c.Action == incident.ActionAcknowledge && i.Acknowledged == nil && !i.Issued.IsZero() {
		l.heeded.Update(c.At.Sub(i.Issued).Seconds())
	}
	l.book.Change(i, &c, e.Seq)
	l.Log.Info().Str("incident", id).Str("action", c.Action).Str("actor", c.By).Msg("incident")
	if c.Action == incident.ActionAcknowledge && c.Known {
		return l.accept(i, c.By)
	}
	return nil
}

// incident returns a copy of an incident as it is now: in the book while it is open,
// in the store once that has what the last checkpoint wrote.
func (l *loop) incident(ctx context.Context, id string) (*incident.Incident, error) {
	if i := l.book.Incident(id); i != nil {
		return i, nil
	}
	// Who asked may have gone, which must not look like a disk that hangs.
	if err := l.settle(context.WithoutCancel(ctx)); err != nil {
		return nil, brokenError{err}
	}
	return l.Daemon.Incident(id)
}

func storyBody(id string, c *incident.Change) ledger.IncidentChange {
	return ledger.IncidentChange{
		Type: "incident", Incident: id, Action: c.Action, Actor: c.By, At: c.At, Text: c.Text, Known: c.Known, Cause: c.Cause, Remedy: c.Remedy, Result: c.Result, Worth: c.Worth,
	}
}

// accept ends the drift of an incident because somebody knows of the change: its
// detectors stay silent until they have been quiet.
func (l *loop) accept(i *incident.Incident, actor string) error {
	for k := range i.Members {
		m := &i.Members[k]
		w := l.watches[m.Model]
		if !m.Firing() || m.Labels["alertname"] != alert.RuleDrift || w == nil || w.state == nil || w.notes.Incident != m.Key {
			continue
		}
		told, err := l.told(m.Key)
		if err != nil {
			return brokenError{err}
		}
		change, open := w.state.Acknowledge(l.engine.Watermark(m.Model))
		if !open {
			continue
		}
		change.Reason = "acknowledged as known by " + actor
		if err := errors.Join(l.driftEnded(w, m.Model, &change, told, l.progress.Seq), l.putState(m.Model, w)); err != nil {
			return brokenError{err}
		}
	}
	return nil
}
