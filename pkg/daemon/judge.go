package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/lifecycle"
	"driftd.dev/driftd/pkg/store"
)

// reports are what the rules see of one closing under one kind of reference.
type reports struct {
	groups []*drift.Report
	total  *drift.Report // the whole model: every version and variant but shadows
}

// A past is a closed window that is not yet in the store.
type past struct {
	*drift.Window
	whole bool // of the whole model, not of one group
}

// judge puts the windows that closed together before every rule of their size.
func (l *loop) judge(c *drift.Closing) error {
	base, err := l.compare(c, alert.ReferenceBaseline)
	if err != nil {
		return err
	}
	for _, w := range c.Windows {
		l.fresh = append(l.fresh, past{w, false})
	}
	l.fresh = append(l.fresh, past{base.total.Window, true})
	l.remember(c, base.groups)
	byReference := map[string]reports{alert.ReferenceBaseline: base}
	var fired []lifecycle.Trigger
	for _, r := range l.Rules {
		if r.Spec().Window != c.Size || !r.Watches(c.Model) || r.HardLimit() && !l.armed(r, c) {
			continue
		}
		reference := r.Spec().Reference
		view, ok := byReference[reference]
		if !ok {
			if view, err = l.compare(c, reference); err != nil {
				return err
			}
			byReference[reference] = view
		}
		triggers, err := l.step(r, c, view)
		if err != nil {
			return err
		}
		fired = append(fired, triggers...)
	}
	if err := l.usual(c, base.total.Window.Events); err != nil {
		return err
	}
	if err := l.detect(c, base.total.Window); err != nil {
		return err
	}
	l.evaluated = l.now
	return l.decide(c, fired)
}

// compare reports every window of a closing, and their sum.
func (l *loop) compare(c *drift.Closing, reference string) (reports, error) {
	var out reports
	baseline := l.engine.Baseline(c.Model)
	total := &drift.Window{Group: drift.Group{Model: c.Model}, Start: c.Start, End: c.End, State: drift.Closed}
	if c.Incomplete {
		total.State = drift.Incomplete
	}
	for _, w := range c.Windows {
		if w.Group.Segment == "" && w.Group.Variant != event.Shadow {
			if err := drift.Merge(total, w); err != nil {
				return out, fmt.Errorf("sum of model %s: %w", c.Model, err)
			}
		}
		r, err := l.report(baseline, reference, past{w, false})
		if err != nil {
			return out, err
		}
		out.groups = append(out.groups, r)
	}
	if reference == alert.ReferenceBaseline && len(out.groups) == 1 && out.groups[0].Window.Events == total.Events {
		same := *out.groups[0] // one group is the whole model: nothing to compare again
		same.Window = total
		out.total = &same
		return out, nil
	}
	var err error
	out.total, err = l.report(baseline, reference, past{total, true})
	return out, err
}

// report compares one window with the baseline or with a moving reference.
func (l *loop) report(b *drift.Baseline, reference string, w past) (*drift.Report, error) {
	var part *drift.Part
	if b != nil {
		part = b.Part(w.Group.Segment)
	}
	if reference == alert.ReferenceBaseline {
		if b == nil {
			return drift.Compare(nil, "", false, w.Window), nil
		}
		return drift.Compare(part, b.ID, b.State == drift.Approved, w.Window), nil
	}
	back := w.End.Sub(w.Start)
	if reference == alert.ReferenceSameHourLastWeek {
		back = 7 * 24 * time.Hour
	}
	then, err := l.before(w, back)
	if err != nil || then == nil {
		return drift.Compare(nil, "", false, w.Window), err
	}
	return drift.Compare(drift.MovingPart(then, part), reference, true, w.Window), nil
}

// before returns the window that w's group had some time earlier, nil if it had
// no event: from what is not yet committed, or from the store.
func (l *loop) before(w past, back time.Duration) (*drift.Window, error) {
	start, size := w.Start.Add(-back), w.End.Sub(w.Start)
	for _, p := range l.fresh {
		if p.whole == w.whole && p.Group == w.Group && p.Start.Equal(start) && p.End.Sub(p.Start) == size {
			return p.Window, nil
		}
	}
	return l.stored(w.Group, w.whole, start, size)
}

// stored returns a window from the store, nil if it had no event.
func (l *loop) stored(g drift.Group, whole bool, start time.Time, size time.Duration) (*drift.Window, error) {
	q := store.Query{Model: g.Model, Version: g.Version, Variants: []event.Variant{g.Variant}, Segment: g.Segment, From: start, To: start.Add(size), Size: size}
	if whole {
		q.Total, q.Variants = true, []event.Variant{event.Primary, event.Canary}
	}
	windows, err := l.Store.Windows(q)
	for _, w := range windows {
		if whole || w.Group == g { // a query for version "" gives every version
			return w, err
		}
	}
	return nil, err
}

// remember keeps the last report of each group and size for the API.
func (l *loop) remember(c *drift.Closing, groups []*drift.Report) {
	kept := slices.DeleteFunc(slices.Clone(l.reports[c.Model]), func(r api.Report) bool { return r.Size == c.Size })
	for _, r := range groups {
		// The histograms are in the store; here they would double the memory.
		slim, window := *r, *r.Window
		window.Signals = nil
		slim.Window = &window
		kept = append(kept, api.Report{Size: c.Size, Report: &slim})
	}
	slices.SortFunc(kept, func(a, b api.Report) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), a.Window.Group.Compare(b.Window.Group))
	})
	l.reports[c.Model] = kept
}

// step steps one rule over the series of one closing and returns what fired.
func (l *loop) step(r *alert.Rule, c *drift.Closing, view reports) (fired []lifecycle.Trigger, err error) {
	states := l.states[r][c.Model]
	next, changes := r.StepAll(states, alert.Pass{
		Model: c.Model, Window: alert.Window{Start: c.Start, End: c.End, State: view.total.Window.State, Learning: view.total.Window.Learning},
		Inputs: r.Inputs(view.groups, view.total),
	})
	if states == nil {
		states = map[alert.Series]alert.State{}
		l.states[r][c.Model] = states
	}
	for i := range changes {
		ch := &changes[i]
		if !ch.Fired() && !ch.Resolved() {
			continue
		}
		id, err := l.change(c, ch, next, view)
		if err != nil {
			return nil, err
		}
		if ch.Fired() {
			fired = append(fired, lifecycle.Trigger{Change: *ch, EntryID: id})
		}
	}
	for series, s := range next {
		if s == (alert.State{}) {
			delete(states, series)
			l.pending.DeleteAlert(series)
			continue
		}
		states[series] = s
		l.pending.PutAlert(series, s)
	}
	return fired, nil
}

// change records a transition that somebody has to hear of, and returns the id
// of its entry. That of a firing alert becomes the alert's key.
func (l *loop) change(c *drift.Closing, ch *alert.Change, next map[alert.Series]alert.State, view reports) (string, error) {
	if ch.Fired() {
		ch.DedupKey = l.chain.NextID(ch.At)
		s := next[ch.Series]
		s.DedupKey = ch.DedupKey
		next[ch.Series] = s
	}
	return l.tell(c.Seq, ch, view)
}

// tell records the start or the end of an alert and owes it to its receivers.
func (l *loop) tell(seq uint64, ch *alert.Change, view reports) (string, error) {
	body := l.alertBody(ch, view)
	e, err := l.record(ledger.Draft{Time: ch.At, StreamSeq: seq, Kind: ledger.KindAlert, Model: ch.Series.Model, Body: body})
	if err != nil {
		return "", err
	}
	receivers := union(l.receivers(ch.LabelSet()), l.pager(ch))
	if ch.Resolved() {
		receivers = union(receivers, l.firing[ch.DedupKey].Receivers) // routes may have changed, and who was woken hears of the end
	}
	l.owe(e, ch.DedupKey, receivers)
	l.noteFiring(body.Status, ch.DedupKey, e, receivers)
	l.Log.Info().Str("rule", ch.Series.Rule).Str("model", ch.Series.Model).Str("model_version", ch.Series.Version).Str("feature", ch.Series.Signal).
		Str("status", body.Status).Str("severity", ch.Severity).Time("window_end", ch.At).Str("reason", ch.Reason).Msg("alert")
	return e.ID, nil
}

// receivers returns who hears of something with these labels: machines always,
// people by the routes.
func (l *loop) receivers(labels map[string]string) []string {
	out := []string{SignalReceiver}
	for _, r := range l.Routes.Match(labels) {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func (l *loop) alertBody(ch *alert.Change, view reports) ledger.Alert {
	body := ledger.Alert{
		Type: "alert", Status: "firing", Rule: ch.Series.Rule, Model: ch.Series.Model, ModelVersion: ch.Series.Version, Variant: ch.Variant(),
		Segment: ch.Series.Segment, Feature: ch.Series.Signal, Severity: ch.Severity, StartsAt: ch.StartsAt.UTC(),
		Window: ledger.Window{Start: ch.Window.Start.UTC(), End: ch.Window.End.UTC()}, Stats: ch.Stats, Reason: ch.Reason,
		Evidence: ledger.Evidence{Expr: ch.Expr, ConfigHash: l.ConfigHash, Baseline: ch.Baseline},
		Labels:   ch.Labels, Annotations: ch.Annotations, DedupKey: ch.DedupKey,
	}
	if ch.Resolved() {
		end := ch.EndsAt.UTC()
		body.Status, body.EndsAt, body.Evidence.Peak = "resolved", &end, ch.Peak.Reason
	}
	if w := view.of(ch.Series.Group); w != nil {
		body.Evidence.Digest = w.Digest()
	}
	return body
}

// of returns the window that a series of a group was judged on.
func (v reports) of(g drift.Group) *drift.Window {
	for _, r := range v.groups {
		if r.Window.Group == g {
			return r.Window
		}
	}
	if g.Version == "" && v.total != nil {
		return v.total.Window
	}
	return nil
}
