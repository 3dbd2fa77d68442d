package daemon

import (
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// detect judges the drift of a model by a window of it that has closed, if the
// model has a budget.
func (l *loop) detect(c *drift.Closing, total *drift.Window) error {
	if c.Size != l.Detection.Window {
		return nil
	}
	config, budget := l.detectConfig(c.Model)
	if config == nil {
		return l.unwatch(c.Model, c.End, c.Seq)
	}
	base := l.engine.Baseline(c.Model)
	if base == nil {
		return nil // it learns
	}
	w := l.watched(c.Model)
	if err := l.against(w, config, base, c.End, c.Seq); err != nil {
		return err
	}
	if err := l.unmuteDrift(w, c); err != nil {
		return err
	}
	rows, err := l.rows(c.Model)
	if err != nil {
		return err
	}
	judged, err := w.state.Judge(config, rows, base, total, func(from time.Time) (*drift.Window, error) { return l.since(c, from) })
	if err != nil {
		return err
	}
	d := drifted{Closing: c, budget: budget, outcome: judged.Outcome, digest: judged.Window.Digest(), baseline: base.ID, was: w.notes}
	for i := range judged.Changes {
		if err := l.driftChanged(w, &judged.Changes[i], d); err != nil {
			return err
		}
	}
	return l.learn(c.Model, w, rows, &judged.Decision)
}

// learn keeps what a window has taught.
func (l *loop) learn(model string, w *watch, rows *detect.Rows, d *detect.Decision) error {
	rows.Take(d)
	if d.Rows != nil {
		return l.putWatch(model, w, rows)
	}
	if d.Row != nil {
		l.putRows(model, rows, d.Slot/detect.ChunkRows)
	}
	return l.putState(model, w)
}

// since sums the whole model's windows of a closing's size from a time to the
// closing's end: what is stored, and what has closed since the last commit. It is
// nil if there was no event.
func (l *loop) since(c *drift.Closing, from time.Time) (*drift.Window, error) {
	windows, err := l.gather(c, store.Query{From: from, Total: true})
	if err != nil {
		return nil, err
	}
	return drift.Sum(windows)
}

// A drifted is what an entry about drift says of the window that caused it.
type drifted struct {
	*drift.Closing
	budget   *Budget
	outcome  *detect.Outcome
	digest   string
	baseline string
	was      watchNotes // before the window
}

// driftChanged records a change of a model's drift, and tells who has to hear of it.
func (l *loop) driftChanged(w *watch, change *detect.Change, d drifted) error {
	body := driftBody(d.Model, change)
	body.Window.Start, body.Detectable, body.Budget = d.outcome.Start, d.outcome.Detectable, d.budget.Name
	body.Evidence = ledger.Evidence{Expr: "budget " + d.budget.Name, ConfigHash: l.ConfigHash, Baseline: d.baseline, Digest: d.digest}
	if owner := l.owned(map[string]string{}, d.Model); len(owner) > 0 {
		body.Labels = owner
	}
	draft := ledger.Draft{Time: change.At, StreamSeq: d.Seq, Kind: ledger.KindAlert, Model: d.Model}
	var err error
	if body.Explanation, err = l.explainer(d.Closing).drift(change, l.engine.Baseline(d.Model)); err != nil {
		return err
	}
	switch change.Kind {
	case detect.Noted:
		body.Status = "noted"
		draft.Kind, draft.Body = ledger.KindNote, body
		_, err := l.record(draft)
		return err
	case detect.Opened:
		l.book.Close(d.was.Incident) // what goes on there is another change, see docs/decisions/0022
		w.notes.Incident = l.chain.NextID(change.At)
	case detect.Raised, detect.Extended, detect.Resolved, detect.Superseded:
	}
	body.DedupKey = w.notes.Incident
	if change.Kind == detect.Superseded {
		body.DedupKey = d.was.Incident
		body.Reason += "; it is " + w.notes.Incident
	}
	l.heedDrift(w, change, d.Closing, d.was, &body)
	return l.tellDrift(draft, body, change, d.budget)
}

// closeIncident ends a model's incident for a reason that lies outside of it.
func (l *loop) closeIncident(model string, w *watch, at time.Time, seq uint64, reason string) error {
	if w.state == nil {
		return nil
	}
	change, open := w.state.Close(at, reason)
	if !open {
		return nil
	}
	told, err := l.told(w.notes.Incident)
	if err != nil {
		return err
	}
	return l.driftEnded(w, model, &change, told, seq)
}

// driftEnded records the end of a model's incident that no window has brought. told
// is what was said of it last.
func (l *loop) driftEnded(w *watch, model string, change *detect.Change, told ledger.Alert, seq uint64) error {
	body := driftBody(model, change)
	body.Budget, body.Labels, body.Evidence, body.DedupKey = told.Budget, told.Labels, told.Evidence, w.notes.Incident
	l.heedDrift(w, change, nil, w.notes, &body)
	return l.tellDrift(ledger.Draft{Time: change.At, StreamSeq: seq, Kind: ledger.KindAlert, Model: model}, body, change, nil)
}

// tellDrift records a change of a model's drift and lets those hear of it who were
// told of it before, whom the routes name and, if it is a page, the receiver of the
// budget. Of a model or a budget on trial, and of what began in a maintenance, nobody
// hears, and of the end only who heard of the start. A page is drawn from the budget, unless it joins an incident of other
// models that is one already.
func (l *loop) tellDrift(draft ledger.Draft, body ledger.Alert, change *detect.Change, budget *Budget) error {
	was, _ := l.book.Firing(body.DedupKey)
	n := notice{shadow: l.rehearses(body.Model), moved: movedOf(body.Findings, was.Moved)}
	if body.Status == "resolved" {
		n.shadow = len(was.Receivers) == 0
	}
	n.shadow = n.shadow || body.Muted != ""
	n.labels = l.driftLabels(&body)
	l.place(&n, body.DedupKey, body.Severity)
	if change.Page() && body.Severity == alert.SeverityPage && body.Muted == "" && (change.Kind != detect.Opened || !n.paged) {
		l.draw(budget, change.At, body.Model, body.Rule)
	}
	switch {
	case body.Muted != "":
	case n.shadow:
		body.Notify = alert.NotifyShadow
	default:
		n.targets = join(l.targets(n.labels), l.named(was.Receivers...))
		if body.Status == "resolved" {
			n.targets = l.hearEnd(n.targets, was)
		} else if body.Severity == alert.SeverityPage && budget != nil {
			n.targets = join(n.targets, l.named(budget.Receiver))
		}
	}
	body.Incident = n.incident
	draft.Body = body
	e, err := l.record(draft)
	if err != nil {
		return err
	}
	l.announce(e, &body, n)
	if !n.shadow {
		l.Log.Info().Str("rule", body.Rule).Str("model", body.Model).Str("status", body.Status).Str("change", body.Change).Str("severity", body.Severity).
			Time("window_end", body.Window.End).Str("reason", body.Reason).Str("incident", n.incident).Msg("alert")
	}
	return nil
}

// driftLabels are the labels by which drift is routed.
func (l *loop) driftLabels(body *ledger.Alert) map[string]string {
	labels := l.owned(map[string]string{"alertname": body.Rule, "model": body.Model, "severity": body.Severity}, body.Model)
	if owner := body.Labels["owner"]; owner != "" {
		labels["owner"] = owner
	}
	return labels
}

// movedOf returns what moved of a model, also what was known to before.
func movedOf(findings []ledger.Finding, known []incident.Moved) []incident.Moved {
	out := slices.Clone(known)
	for i := range findings {
		f := incident.Moved{Signal: findings[i].Signal, Since: findings[i].Since}
		if !slices.ContainsFunc(out, func(m incident.Moved) bool { return m.Signal == f.Signal }) {
			out = append(out, f)
		}
	}
	return out
}

// driftBody words a change for the ledger.
func driftBody(model string, change *detect.Change) ledger.Alert {
	at := change.At.UTC()
	body := ledger.Alert{
		Type: "alert", Status: "firing", Rule: alert.RuleDrift, Model: model, Severity: severityOf(change.Incident.Level), StartsAt: change.Incident.Opened.UTC(),
		Window: ledger.Window{Start: at, End: at}, Stats: map[string]float64{}, Reason: change.Reason, Change: string(change.Kind),
	}
	if change.Ends() {
		body.Status, body.EndsAt = "resolved", &at
	}
	for i := range change.New {
		body.Findings = append(body.Findings, findingBody(&change.New[i]))
	}
	return body
}

// severityOf names a level as rules name their severity.
func severityOf(level detect.Level) string {
	switch level {
	case detect.Page:
		return alert.SeverityPage
	case detect.Ticket:
		return alert.SeverityTicket
	case detect.None, detect.Record:
	}
	return alert.SeverityInfo
}

func findingBody(f *detect.Finding) ledger.Finding {
	out := ledger.Finding{
		Signal: f.Signal, Component: f.Component.String(), Level: f.Level.String(), Lowered: f.Lowered, Since: f.Since.UTC(), Reason: f.Reason,
		Distance: f.Effect.Distance, PSI: f.Effect.PSI, Share: f.Effect.Share, Baseline: f.Effect.Baseline, N: f.Effect.N, Direction: f.Effect.Sign,
		LogR: f.LogR, Threshold: f.Threshold, Connected: f.Connected, Gross: f.Gross, Dense: f.Dense,
	}
	for _, m := range f.Effect.Moved {
		out.Moved = append(out.Moved, ledger.Move(m))
	}
	return out
}
