package daemon

import (
	"cmp"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/lifecycle"
)

// A past is a closed window that is not yet in the store.
type past struct {
	*drift.Window
	whole bool // of the whole model, not of one group
}

// judge puts the windows that closed together before every rule of their size.
func (l *loop) judge(c *drift.Closing) error {
	if err := l.unmute(c); err != nil {
		return err
	}
	j := alert.Judge{Rules: l.rulesFor(c), Baseline: l.engine.Baseline(c.Model), Past: l.before, Shadow: l.shadowed(c.Model), ShadowLimits: l.rehearses(c.Model), Gap: l.gap(c.Model)}
	base, err := j.See(c, alert.ReferenceBaseline)
	if err != nil {
		return err
	}
	for _, w := range c.Windows {
		l.fresh = append(l.fresh, past{w, false})
	}
	if base.Total.Window.Events > 0 { // the store has no empty ones either
		l.fresh = append(l.fresh, past{base.Total.Window, true})
	}
	l.remember(c, base.Groups)
	l.publishing(c)
	explain := l.explainer(c)
	var fired []lifecycle.Trigger
	for f, err := range j.Findings(c, base, func(r *alert.Rule) map[alert.Series]alert.State { return l.states[r][c.Model] }) {
		if err != nil {
			return err
		}
		triggers, err := l.found(explain, f)
		if err != nil {
			return err
		}
		fired = append(fired, triggers...)
	}
	if err := l.usual(c, base.Total.Window.Events); err != nil {
		return err
	}
	if err := l.detect(c, base.Total.Window); err != nil {
		return err
	}
	l.evaluated = l.now
	return l.decide(c, fired)
}

// rulesFor returns the rules that may judge a closing: all but the hard limits that
// do not hold now.
func (l *loop) rulesFor(c *drift.Closing) []*alert.Rule {
	return slices.DeleteFunc(slices.Clone(l.Rules), func(r *alert.Rule) bool {
		return r.HardLimit() && (r.Spec().Window != c.Size || !r.Watches(c.Model) || !l.armed(r, c))
	})
}

// shadowed reports whether a model is on trial: nobody is told of its alerts.
func (l *loop) shadowed(model string) bool { return l.OnTrial != nil && l.OnTrial(model) }

// gap returns the longest silence of a model that is usual, 0 if nobody said.
func (l *loop) gap(model string) time.Duration {
	if l.ExpectedGap == nil {
		return 0
	}
	return l.ExpectedGap(model)
}

// before returns the window that w's group had at another time, nil if it had no
// event: from what is not yet committed, or from the store.
func (l *loop) before(w *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
	size := w.End.Sub(w.Start)
	for _, p := range l.fresh {
		if p.whole == whole && p.Group == w.Group && p.Start.Equal(start) && p.End.Sub(p.Start) == size {
			return p.Window, nil
		}
	}
	return api.PastWindow(l.Daemon, w, whole, start)
}

// remember keeps the last report of each group and size for the API.
func (l *loop) remember(c *drift.Closing, groups []*drift.Report) {
	kept := slices.DeleteFunc(slices.Clone(l.reports[c.Model]), func(r api.Report) bool { return r.Size == c.Size })
	for _, r := range groups {
		// The histograms are in the store; here they would double the memory.
		slim, window := *r, *r.Window
		window.Signals, slim.Against = nil, nil
		slim.Window = &window
		kept = append(kept, api.Report{Size: c.Size, Report: &slim})
	}
	slices.SortFunc(kept, func(a, b api.Report) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), a.Window.Group.Compare(b.Window.Group))
	})
	l.reports[c.Model] = kept
}

// found takes what one rule said of one closing and returns what fired for others
// to act on.
func (l *loop) found(x *explainer, f alert.Finding) (fired []lifecycle.Trigger, err error) {
	for i := range f.Changes {
		ch := &f.Changes[i]
		if !ch.Fired() && !ch.Resolved() {
			continue
		}
		id, err := l.change(x, ch, f)
		if err != nil {
			return nil, err
		}
		if ch.Fired() && !ch.Untold() {
			fired = append(fired, lifecycle.Trigger{Change: *ch, EntryID: id})
		}
	}
	models, model := l.states[f.Rule], x.c.Model
	if models[model] == nil {
		models[model] = map[alert.Series]alert.State{}
	}
	alert.Apply(models[model], f.Next)
	for series, s := range f.Next {
		if s == (alert.State{}) {
			l.pending.DeleteAlert(series)
		} else {
			l.pending.PutAlert(series, s)
		}
	}
	return fired, nil
}

// change records a transition that somebody has to hear of, and returns the id
// of its entry. That of a firing alert becomes the alert's key.
func (l *loop) change(x *explainer, ch *alert.Change, f alert.Finding) (string, error) {
	if ch.Fired() {
		l.silences.Heed(ch, l.owned(ch.LabelSet(), ch.Series.Model))
		ch.DedupKey = l.chain.NextID(ch.At)
		s := f.Next[ch.Series]
		s.DedupKey, s.Muted, s.Severity = ch.DedupKey, ch.Muted, ch.Severity
		f.Next[ch.Series] = s
	}
	explanation, err := x.rule(ch, f)
	if err != nil {
		return "", err
	}
	return l.tell(x.c.Seq, ch, f.View, explanation)
}

// tell records the start or the end of an alert and lets those hear of it who have to.
func (l *loop) tell(seq uint64, ch *alert.Change, view alert.View, explanation *ledger.Explanation) (string, error) {
	body := l.alertBody(ch, view)
	body.Explanation = explanation
	n := l.noticeOf(ch)
	body.Incident = n.incident
	e, err := l.record(ledger.Draft{Time: ch.At, StreamSeq: seq, Kind: ledger.KindAlert, Model: ch.Series.Model, Body: body})
	if err != nil {
		return "", err
	}
	l.announce(e, &body, n)
	l.Log.Info().Str("rule", ch.Series.Alertname()).Str("about_rule", ch.Series.About()).Str("model", ch.Series.Model).Str("model_version", ch.Series.Version).Str("feature", ch.Series.Feature()).
		Str("status", body.Status).Str("severity", ch.Severity).Bool("shadow", ch.Shadow).Str("muted", ch.Muted).Time("window_end", ch.At).Str("reason", ch.Reason).Str("incident", n.incident).Msg("alert")
	return e.ID, nil
}

// noticeOf says who hears of an alert of a rule: nobody if it is in shadow or maintenance. What a
// rule of driftd's own wakes people for draws from the model's budget.
func (l *loop) noticeOf(ch *alert.Change) notice {
	n := notice{labels: l.owned(ch.LabelSet(), ch.Series.Model), shadow: ch.Untold()}
	l.place(&n, ch.DedupKey, ch.Severity)
	pager := l.pager(ch, n.paged)
	if ch.Untold() {
		return n
	}
	n.targets = join(l.targets(n.labels), l.named(pager...))
	if was, firing := l.book.Firing(ch.DedupKey); firing {
		n.targets = l.hearEnd(n.targets, was)
	}
	return n
}

// owned adds the owner of the model to labels, unless the rule says otherwise.
func (l *loop) owned(labels map[string]string, model string) map[string]string {
	if l.Owner != nil && labels["owner"] == "" && l.Owner(model) != "" {
		labels["owner"] = l.Owner(model)
	}
	return labels
}

func (l *loop) alertBody(ch *alert.Change, view alert.View) ledger.Alert {
	body := ledger.Alert{
		Type: "alert", Status: "firing", Rule: ch.Series.Alertname(), Model: ch.Series.Model, ModelVersion: ch.Series.Version, Variant: ch.Variant(),
		Segment: ch.Series.Segment, Feature: ch.Series.Feature(), Severity: ch.Severity, StartsAt: ch.StartsAt.UTC(),
		Window: ledger.Window{Start: ch.Window.Start.UTC(), End: ch.Window.End.UTC()}, Stats: ch.Stats, Reason: ch.Reason,
		Evidence: ledger.Evidence{Expr: ch.Expr, ConfigHash: l.ConfigHash, Baseline: ch.Baseline},
		Labels:   ch.Labels, Annotations: ch.Annotations, DedupKey: ch.DedupKey, Flaps: ch.Flaps, Muted: ch.Muted,
	}
	if ch.Shadow {
		body.Notify = alert.NotifyShadow
	}
	if ch.Resolved() {
		end := ch.EndsAt.UTC()
		body.Status, body.EndsAt, body.Evidence.Peak = "resolved", &end, ch.Peak.Reason
	}
	if w := view.Of(ch.Series.Group); w != nil {
		body.Evidence.Digest = w.Digest()
	}
	return body
}
