package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// Muted returns the silence by which something with these labels is not told at a
// wall time. It answers by what is committed.
func (d *Daemon) Muted(labels map[string]string, at time.Time) (by string, ok bool) {
	return d.snapshot.Load().Silences.Muted(labels, at)
}

// mutes reports whether a delivery is not to tell of an alert at a wall time.
func (d *Daemon) mutes(to *ledger.Delivery, m *incident.Member, at time.Time) bool {
	return incident.Quiet{Silences: d.snapshot.Load().Silences, TimeIntervals: d.settings.Load().TimeIntervals}.Mutes(to, m, at)
}

// CreateSilence implements api.Silencer.
func (d *Daemon) CreateSilence(ctx context.Context, s incident.Silence, actor string) (out incident.Silence, err error) {
	err = d.do(ctx, func(l *loop) (err error) {
		out, err = l.createSilence(s, actor)
		return err
	})
	return out, err
}

// UpdateSilence implements api.Silencer.
func (d *Daemon) UpdateSilence(ctx context.Context, to incident.Silence, actor string) (incident.Silence, error) {
	return d.changeSilence(ctx, to.ID, "updated", actor, func(s incident.Silence, now incident.Clock) (incident.Silence, error) { return s.Change(to, now) })
}

// ExpireSilence implements api.Silencer. One that is over stays as it is.
func (d *Daemon) ExpireSilence(ctx context.Context, id, actor string) (incident.Silence, error) {
	return d.changeSilence(ctx, id, "expired", actor, func(s incident.Silence, now incident.Clock) (incident.Silence, error) { return s.Expire(now), nil })
}

// changeSilence has the loop change a silence, by its clock.
func (d *Daemon) changeSilence(ctx context.Context, id, action, actor string, change func(incident.Silence, incident.Clock) (incident.Silence, error)) (out incident.Silence, err error) {
	err = d.do(ctx, func(l *loop) (err error) {
		was, ok := l.silences.Get(id)
		if !ok {
			return fmt.Errorf("silence %q: %w", id, api.ErrNotFound)
		}
		if out, err = change(was, l.clock(was)); err != nil || out.StartsAt.Equal(was.StartsAt) && out.EndsAt.Equal(was.EndsAt) && out.Comment == was.Comment {
			return err
		}
		out.UpdatedAt = l.wall()
		return l.putSilence(out, action, actor)
	})
	return out, err
}

// createSilence keeps a new silence. Its id is that of the entry that says so.
func (l *loop) createSilence(s incident.Silence, actor string) (incident.Silence, error) {
	if err := s.Validate(); err != nil {
		return s, err
	}
	s, err := s.Begin(l.wall())
	if err != nil {
		return s, err
	}
	if l.silences.Len() >= incident.MaxSilences && !l.forgetExpired() {
		return s, fmt.Errorf("there are %d silences already, and none of them is over: expire some", l.silences.Len())
	}
	s.ID, s.CreatedBy, s.CreatedAt = l.chain.NextID(l.streamTime()), actor, l.wall()
	s.UpdatedAt = s.CreatedAt
	return s, l.putSilence(s, "created", actor)
}

// putSilence makes a silence hold from the next message on, and records it.
func (l *loop) putSilence(s incident.Silence, action, actor string) error {
	next, err := l.silences.With(s)
	if err != nil {
		return err
	}
	_, err = l.record(ledger.Draft{Time: l.streamTime(), StreamSeq: l.progress.Seq, Kind: ledger.KindSilence, Body: ledger.SilenceChange{
		Type: "silence", Action: action, Silence: s.ID, Kind: string(s.Kind), Matchers: s.Matchers, StartsAt: s.StartsAt, EndsAt: s.EndsAt, Comment: s.Comment, Actor: actor,
	}})
	if err != nil {
		return brokenError{err}
	}
	l.silences = next
	l.pending.PutSilence(s)
	l.Log.Info().Str("silence", s.ID).Str("kind", string(s.Kind)).Str("action", action).Str("actor", actor).Strs("matchers", s.Matchers).Time("ends_at", s.EndsAt).Msg("silence")
	return nil
}

// clock is what a silence goes by at this moment.
func (l *loop) clock(s incident.Silence) incident.Clock { return s.Clock(l.wall(), l.watermarks) }

// watermarks says how far event time has come, by model.
func (l *loop) watermarks(yield func(model string, mark time.Time) bool) {
	for _, model := range l.engine.Names() {
		if !yield(model, l.engine.Watermark(model).UTC()) {
			return
		}
	}
}

// over reports whether a silence can be forgotten: by event time once every window that
// holds data of its span has closed, of every model that it may be about.
func (l *loop) over(s incident.Silence) bool {
	at := incident.At(l.wall())
	if s.Kind.ByEventTime() {
		at = s.Clock(time.Time{}, l.watermarks) // before there is any model nothing is over
		at.Behind = at.Behind.Add(-slices.Max(l.Spec.Sizes))
	}
	return s.State(at) == incident.SilenceExpired
}

// wall is the time of this pass as records have it.
func (l *loop) wall() time.Time { return l.now.UTC().Truncate(time.Millisecond) }

func (l *loop) streamTime() time.Time { return time.Unix(0, l.progress.Time).UTC() }

// forgetExpired makes room by forgetting the silence that has been over for longest.
// It reports whether there was one.
func (l *loop) forgetExpired() bool {
	over := slices.DeleteFunc(l.silences.List(), func(s incident.Silence) bool { return !l.over(s) })
	if len(over) == 0 {
		return false
	}
	l.forgetSilences(slices.MinFunc(over, func(a, b incident.Silence) int { return cmp.Or(a.EndsAt.Compare(b.EndsAt), cmp.Compare(a.ID, b.ID)) }).ID)
	return true
}

func (l *loop) forgetSilences(ids ...string) {
	for _, id := range ids {
		l.pending.DeleteSilence(id)
	}
	l.silences = l.silences.Without(ids...)
}

// sweepSilences forgets what is over for long enough at a time of the stream: at the
// same message in every replay, for a silence by event time may still decide.
func (l *loop) sweepSilences(at int64) {
	gone := slices.DeleteFunc(l.silences.Outlived(time.Unix(0, at)), func(id string) bool {
		s, _ := l.silences.Get(id)
		return s.Kind.ByEventTime() && !l.over(s)
	})
	if len(gone) > 0 {
		l.forgetSilences(gone...)
	}
}

// unmute ends the alerts that began in a maintenance of which a closing holds no data
// any more. The rules judge that window without them: what still fires starts anew,
// and is told.
func (l *loop) unmute(c *drift.Closing) error {
	for _, r := range l.Rules {
		if r.Spec().Window != c.Size {
			continue
		}
		states := l.states[r][c.Model]
		for _, series := range l.silences.Unmuted(states, c.Start, c.End) {
			a, w := store.Alert{Series: series, State: states[series]}, alert.Window{Start: c.Start, End: c.End, State: drift.Closed}
			delete(states, series)
			if err := l.end(a, w, c.Seq, incident.AfterMaintenance(a.State.Muted)); err != nil {
				return err
			}
		}
	}
	return nil
}

// heedDrift applies maintenance and expected changes to a change of an incident, and
// keeps in mind how the incident was told. was are the notes before the window.
func (l *loop) heedDrift(w *watch, change *detect.Change, c *drift.Closing, was watchNotes, body *ledger.Alert) {
	notes := &w.notes
	switch labels := l.driftLabels(body); change.Kind {
	case detect.Opened, detect.Raised:
		maintenance, muted := l.silences.During(incident.KindMaintenance, labels, c.Start, c.End)
		expected, lower := l.silences.During(incident.KindExpected, labels, c.Start, c.End)
		if change.Kind == detect.Opened {
			notes.Muted = maintenance.ID
		} else if muted && notes.Muted == "" && !lower { // people know of the incident already
			expected = maintenance
		}
		notes.Expected = expected.Comment
	case detect.Superseded:
		notes = &was
	case detect.Extended, detect.Resolved, detect.Noted:
	}
	body.Muted = notes.Muted
	if notes.Expected != "" {
		body.Severity, body.Reason, body.Annotations = incident.Expect(notes.Expected, body.Severity, body.Reason, body.Annotations)
	}
	if change.Kind == detect.Resolved {
		w.notes.Muted, w.notes.Expected = "", ""
	}
}

// unmuteDrift ends an incident that began in a maintenance of which a closing holds no
// data any more, and forgets the evidence for it: what still drifts is found anew.
func (l *loop) unmuteDrift(w *watch, c *drift.Closing) error {
	if w.notes.Muted == "" || l.silences.Covers(w.notes.Muted, c.Start, c.End) {
		return nil
	}
	if err := l.closeIncident(c.Model, w, c.End, c.Seq, incident.AfterMaintenance(w.notes.Muted)); err != nil {
		return err
	}
	w.state.Release()
	return nil
}
