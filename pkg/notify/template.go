package notify

import (
	"strings"
	"sync/atomic"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/wording"
)

// A Template says the messages of one receiver in the words of who runs driftd. A
// nil one leaves driftd's own.
type Template struct {
	title, text *wording.Template // nil: driftd's own
	failed      atomic.Uint64
}

// NewTemplate parses templates of the title and of the text; "" leaves driftd's own.
func NewTemplate(title, text string) (*Template, error) {
	t := &Template{}
	for _, part := range []struct {
		source string
		limit  int
		to     **wording.Template
	}{{title, wording.MostTitle, &t.title}, {text, wording.MostText, &t.text}} {
		if part.source == "" {
			continue
		}
		parsed, err := wording.Parse(part.source, part.limit)
		if err != nil {
			return nil, err
		}
		*part.to = parsed
	}
	return t, nil
}

// Failed counts messages that the template could not say, for which driftd's own
// words were sent.
func (t *Template) Failed() uint64 {
	if t == nil {
		return 0
	}
	return t.failed.Load()
}

// say puts the template's words into a message about an entry. Where it fails, or
// says nothing, driftd's own stay.
func (t *Template) say(m *Message, e ledger.Entry) {
	if t == nil {
		return
	}
	data := templateData(m, e)
	for _, part := range []struct {
		with *wording.Template
		to   *string
	}{{t.title, &m.Title}, {t.text, &m.Sentence}} {
		if part.with == nil {
			continue
		}
		words, err := part.with.Say(data)
		if err != nil {
			t.failed.Add(1)
		}
		if words != "" {
			*part.to = words
		}
	}
	m.Title = inOneLine(m.Title)
}

// templateData is what a template can say of a message.
func templateData(m *Message, e ledger.Entry) wording.Data {
	d := wording.Data{
		Kind: string(e.Kind), Status: m.Status, Severity: m.Severity, Title: m.Title, Text: m.Sentence, Model: e.Model,
		WindowStart: m.Window.Start.UTC(), WindowEnd: m.Window.End.UTC(), Seq: m.Seq, Link: m.Link,
		Alerts: m.Alerts, Firing: m.Firing, Ended: m.Ended,
	}
	for _, l := range m.Links {
		d.Links = append(d.Links, wording.Link(l))
	}
	if e.Kind != ledger.KindAlert {
		return d
	}
	a, err := decode[ledger.Alert](e)
	if err != nil {
		return d // Describe has said so
	}
	d.Rule, d.Model, d.Version, d.Variant, d.Segment, d.Feature = a.Rule, a.Model, a.ModelVersion, a.Variant, a.Segment, a.Feature
	d.Owner, d.Summary, d.Runbook, d.Reason = a.Labels["owner"], a.Annotations["summary"], a.Annotations["runbook_url"], a.Reason
	d.Stats, d.Labels, d.Start = a.Stats, a.Labels, a.StartsAt.UTC()
	if a.EndsAt != nil {
		d.End = a.EndsAt.UTC()
	}
	for _, f := range a.Findings {
		d.Findings = append(d.Findings, f.Reason)
	}
	if x := a.Explanation; x != nil {
		d.Since, d.Signal, d.Origin, d.Because = x.Since.UTC(), x.Signal, x.Origin, x.Because
		d.Cells, d.Versions, d.Segments, d.Around = ledger.Texts(x.Cells), ledger.Texts(x.Versions), ledger.Texts(x.Segments), ledger.Texts(x.Around)
	}
	return d
}

// newAlertLine is an alert as one line of a message about several.
func newAlertLine(a *ledger.Alert) wording.Alert {
	feature := a.Feature
	if a.Change != "" && feature == "" {
		feature = strings.Join(signals(a.Findings), ", ")
	}
	return wording.Alert{Rule: a.Rule, Model: a.Model, Version: a.ModelVersion, Feature: feature, Severity: a.Severity, Status: a.Status, Reason: a.Reason}
}
