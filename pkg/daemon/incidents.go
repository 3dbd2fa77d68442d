package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// A notice is who hears of an alert that starts, goes on or ends, and of what
// incident it is.
type notice struct {
	labels   map[string]string
	targets  []alert.Target
	shadow   bool // nobody hears of it
	incident string
	group    map[string]string // of the incident, if the alert opens it
	moved    []incident.Moved
	paged    bool // the incident is a page already
}

// targets returns who hears of something with these labels: machines always, people
// by the routes.
func (l *loop) targets(labels map[string]string) []alert.Target {
	return join([]alert.Target{{Receiver: SignalReceiver}}, l.Routes.Targets(labels))
}

// join returns the targets of both, each receiver once.
func join(a, b []alert.Target) []alert.Target {
	out := slices.Clone(a)
	for _, t := range b {
		if !slices.ContainsFunc(out, func(o alert.Target) bool { return o.Receiver == t.Receiver }) {
			out = append(out, t)
		}
	}
	return out
}

// named returns receivers as targets that are told as the root's is: those whom no
// route names now.
func (l *loop) named(receivers ...string) []alert.Target {
	out := make([]alert.Target, len(receivers))
	for i, r := range receivers {
		out[i] = alert.Target{Receiver: r, Timing: l.Routes.Root().Timing}
	}
	return out
}

// hearEnd returns who hears of the end of an alert: whom it was told to, and of the
// targets nobody else, for routes may have changed since.
func (l *loop) hearEnd(targets []alert.Target, was incident.Member) []alert.Target {
	knows := slices.DeleteFunc(slices.Clone(targets), func(t alert.Target) bool { return !slices.Contains(was.Receivers, t.Receiver) })
	return join(knows, l.named(was.Receivers...))
}

func receiverNames(targets []alert.Target) []string {
	out := make([]string, len(targets))
	for i, t := range targets {
		out[i] = t.Receiver
	}
	return out
}

// groupBy returns the labels by which an alert is grouped: as the first route says
// that takes it.
func (l *loop) groupBy(labels map[string]string) []string { return l.Routes.Targets(labels)[0].GroupBy }

// place says of what incident an alert is. One that fires stays where it is; a new
// one joins what is open of its group or, if it is drift, of other models of its owner
// that moved with it, or opens its own under its dedup key.
func (l *loop) place(n *notice, key, severity string) {
	n.group = incident.GroupOf(l.groupBy(n.labels), n.labels)
	if n.incident = l.book.Of(key); n.incident == "" {
		n.incident = l.book.Place(n.group, n.shadow, severity)
	}
	if n.incident == "" && len(n.moved) > 0 {
		n.incident = l.book.Related(n.labels["owner"], n.moved, n.shadow, severity, relatedWithin*l.Detection.Window)
	}
	if n.incident == "" {
		n.incident = key
	}
	n.paged = l.book.Severity(n.incident) == alert.SeverityPage
}

// relatedWithin is how many windows of detection may lie between the beginnings of
// what is one change in several models: detectors date a change to the window, and a
// model with few events to a later one.
const relatedWithin = 3

// announce puts an alert that is in the ledger into its incident, and owes it to the
// machines among those who hear of it. People hear of the incident: see flushIncidents.
func (l *loop) announce(e ledger.Entry, body *ledger.Alert, n notice) {
	m := incident.Member{
		Key: body.DedupKey, Seq: e.Seq, Model: body.Model, Labels: n.labels, Severity: body.Severity, StartsAt: body.StartsAt, Moved: n.moved, Entry: e,
	}
	if body.EndsAt != nil {
		m.EndsAt = *body.EndsAt
	}
	l.book.Put(n.incident, n.group, n.shadow, m, e.Time, n.targets)
	l.owe(e, body.DedupKey, slices.DeleteFunc(receiverNames(n.targets), l.grouped))
}

// grouped reports whether a receiver hears of incidents, not of alerts.
func (l *loop) grouped(receiver string) bool { return l.Grouped != nil && l.Grouped(receiver) }

// flushIncidents puts what has changed of incidents into the checkpoint, with one
// delivery for each receiver that is to hear of it.
func (l *loop) flushIncidents() {
	for _, t := range l.book.Touched(l.now) {
		l.pending.PutIncident(t.Incident)
		for _, d := range t.Deliveries(l.now, l.grouped) {
			l.pending.Owe(d)
		}
	}
}

// told returns what the last entry about an alert that fires said: the labels that it
// was routed by are not known any more otherwise. Zero if retention has taken it.
func (l *loop) told(dedupKey string) (told ledger.Alert, err error) {
	m, _ := l.book.Firing(dedupKey)
	if m.Entry.Seq == 0 {
		m.Entry, err = l.Store.Entry(m.Seq)
	}
	if errors.Is(err, store.ErrNotFound) {
		return told, nil
	}
	if err != nil {
		return told, err
	}
	return told, json.Unmarshal(m.Entry.Body, &told)
}

// A firingAlert is how schemas before 6 kept an alert that fires.
type firingAlert struct {
	Seq       uint64   `json:"seq"`
	Receivers []string `json:"receivers"`
}

// restoreIncidents makes the book of what the store has. An alert that fires since
// before there were incidents is one of its own, under the key that receivers know.
func (l *loop) restoreIncidents(open []*incident.Incident, legacy map[string]firingAlert) error {
	l.book = incident.NewBook(open)
	for _, key := range slices.Sorted(maps.Keys(legacy)) {
		f := legacy[key]
		e, err := l.Store.Entry(f.Seq)
		if errors.Is(err, store.ErrNotFound) { // retention may have taken it
			e, err = ledger.Entry{Time: time.Unix(0, l.progress.Time), Body: []byte("{}")}, nil
		}
		if err != nil {
			return fmt.Errorf("alert %s fires: %w", key, err)
		}
		var body ledger.Alert
		if err := json.Unmarshal(e.Body, &body); err != nil {
			return fmt.Errorf("%w: ledger entry %d: %w", store.ErrDamaged, f.Seq, err)
		}
		labels := labelsOf(&body)
		l.book.Put(key, incident.GroupOf(alert.DefaultGroupBy, labels), len(f.Receivers) == 0, incident.Member{
			Key: key, Seq: f.Seq, Model: body.Model, Labels: labels, Severity: body.Severity, StartsAt: body.StartsAt,
		}, e.Time, l.named(f.Receivers...))
	}
	for _, t := range l.book.Touched(time.Unix(0, l.progress.Time)) {
		l.pending.PutIncident(t.Incident)
	}
	return l.pending.Err()
}

// labelsOf returns the labels of an alert that the ledger knows.
func labelsOf(a *ledger.Alert) map[string]string {
	out := maps.Clone(a.Labels)
	if out == nil {
		out = map[string]string{}
	}
	for name, value := range map[string]string{
		"alertname": a.Rule, "model": a.Model, "model_version": a.ModelVersion, "variant": a.Variant, "segment": a.Segment, "feature": a.Feature, "severity": a.Severity,
	} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}
