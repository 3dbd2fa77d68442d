package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// PagerDuty's limits: characters, and bytes of a whole event less room for
// what surrounds the details.
const (
	pdSummary = 1024
	pdDedup   = 255
	pdDetails = 400_000
)

// PagerDutyOptions configure a PagerDuty sink.
type PagerDutyOptions struct {
	RoutingKey  string    // the integration key, 32 characters; a secret
	BaseURL     string    // "" is https://events.pagerduty.com
	ExternalURL string    // of driftd, for the link; may be empty
	Template    *Template // of its words; may be nil
	Pictures    bool      // show them: PagerDuty gets them from ExternalURL, which must be https
	// Alerts is how many alerts of one of driftd's incidents have an incident of their own
	// at PagerDuty at once, at most ledger.GroupAlerts; the others share one for each
	// severity. 0: all of them are one.
	Alerts int
	Limit  *Limiter // spaces the calls of one delivery; that of the Receiver
	Client *http.Client
}

// PagerDuty sends Events API v2. An alert triggers and resolves the incident
// of its dedup key; anything else is a change event, which pages nobody.
type PagerDuty struct {
	alerts          int
	limit           *Limiter
	events, changes endpoint
	key             func() string
	external        string
	template        *Template
	pictures        bool
}

// NewPagerDuty returns a PagerDuty sink, or says what is wrong with the options.
func NewPagerDuty(o PagerDutyOptions) (*PagerDuty, error) {
	if len(o.RoutingKey) != 32 {
		return nil, fmt.Errorf("pagerduty routing_key has %d characters, an integration key has 32", len(o.RoutingKey))
	}
	if o.BaseURL == "" {
		o.BaseURL = "https://events.pagerduty.com"
	}
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	events, err := newEndpoint("pagerduty url", o.BaseURL, "/v2/enqueue", o.Client, o.RoutingKey)
	if err != nil {
		return nil, err
	}
	changes, err := newEndpoint("pagerduty url", o.BaseURL, "/v2/change/enqueue", o.Client, o.RoutingKey)
	if err != nil {
		return nil, err
	}
	return &PagerDuty{events: events, changes: changes, key: func() string { return o.RoutingKey }, external: o.ExternalURL, template: o.Template, pictures: o.Pictures, alerts: min(o.Alerts, ledger.GroupAlerts), limit: o.Limit}, nil
}

type pdEvent struct {
	RoutingKey  string     `json:"routing_key"`
	EventAction string     `json:"event_action,omitempty"` // "trigger", "acknowledge" or "resolve"; a change has none
	DedupKey    string     `json:"dedup_key,omitempty"`
	Payload     *pdPayload `json:"payload,omitempty"`
	Client      string     `json:"client,omitempty"`
	ClientURL   string     `json:"client_url,omitempty"`
	Links       []pdLink   `json:"links,omitempty"`
	Images      []pdImage  `json:"images,omitempty"`
}

type pdPayload struct {
	Summary       string         `json:"summary"`
	Source        string         `json:"source"`
	Severity      string         `json:"severity,omitempty"`
	Timestamp     time.Time      `json:"timestamp"`
	Component     string         `json:"component,omitempty"`
	Group         string         `json:"group,omitempty"`
	Class         string         `json:"class,omitempty"`
	CustomDetails map[string]any `json:"custom_details,omitempty"`
}

type pdLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type pdImage struct {
	Src  string `json:"src"` // https
	Href string `json:"href,omitempty"`
	Alt  string `json:"alt,omitempty"`
}

// Send implements Sink: of an incident as one.
func (p *PagerDuty) Send(ctx context.Context, d ledger.Delivery) error {
	m, err := word(d, p.external, p.template)
	if err != nil {
		return err
	}
	ep, ev := p.changes, p.change(d, m)
	if d.Entry.Kind == ledger.KindAlert {
		ep = p.events
		if ev, err = p.alert(d, m); err != nil {
			return err
		}
	}
	if err := p.post(ctx, ep, ev); err != nil {
		return err
	}
	if ev.EventAction == "trigger" && d.Group != nil && d.Group.Acknowledged != "" {
		ev.EventAction = "acknowledge" // somebody looked after it before it could be told
		return p.post(ctx, ep, ev)
	}
	return nil
}

func (p *PagerDuty) post(ctx context.Context, ep endpoint, ev pdEvent) error {
	body, err := encode(ev)
	if err != nil {
		return err
	}
	return ep.post(ctx, body, nil)
}

func (p *PagerDuty) event(m Message) pdEvent {
	ev := pdEvent{RoutingKey: p.key()}
	if m.Link != "" {
		ev.Links = []pdLink{{Href: m.Link, Text: "driftd ledger entry"}}
	}
	for _, l := range m.Links {
		ev.Links = append(ev.Links, pdLink{Href: l.URL, Text: l.Text})
	}
	if p.pictures && m.Pictured != "" {
		ev.Images = []pdImage{{Src: m.Pictured, Href: m.Link, Alt: pictureAlt}}
	}
	return ev
}

func (p *PagerDuty) alert(d ledger.Delivery, m Message) (pdEvent, error) {
	a, err := decode[ledger.Alert](d.Entry)
	if err != nil {
		return pdEvent{}, err
	}
	ev := p.event(m)
	ev.DedupKey = cut(dedupKey(a, d), pdDedup)
	ev.EventAction, ev.Client, ev.ClientURL = "trigger", "driftd", p.external
	switch {
	case a.Status == "resolved":
		ev.EventAction = "resolve"
	case d.Group != nil && d.Group.Acknowledged != "" && !d.Unheard():
		ev.EventAction = "acknowledge"
	}
	ev.Payload = &pdPayload{
		Summary: cut(m.Title+": "+m.Sentence, pdSummary), Source: "driftd", Severity: pdSeverity(a.Severity),
		Timestamp: d.Entry.Time, Component: a.Model, Group: a.ModelVersion, Class: a.Rule,
		CustomDetails: pdCustom(map[string]any{
			"model": a.Model, "model_version": a.ModelVersion, "variant": a.Variant, "segment": a.Segment, "feature": a.Feature,
			"rule": a.Rule, "reason": a.Reason, "stats": a.Stats, "window": a.Window, "starts_at": a.StartsAt, "ends_at": a.EndsAt,
			"evidence": a.Evidence, "why": pdFields(m.Why), "labels": a.Labels, "annotations": a.Annotations,
			"ledger_seq": d.Entry.Seq, "ledger_hash": d.Entry.Hash,
		}),
	}
	return ev, nil
}

// pdFields are fields as an object; "" for none, which pdCustom leaves out.
func pdFields(fs []Field) any {
	if len(fs) == 0 {
		return ""
	}
	out := map[string]string{}
	for _, f := range fs {
		out[f.Name] = f.Value
	}
	return out
}

// change tells of a retrain, rollback or promote: context for who is on call.
func (p *PagerDuty) change(d ledger.Delivery, m Message) pdEvent {
	ev := p.event(m)
	ev.Payload = &pdPayload{
		Summary: cut(m.Title+": "+m.Sentence, pdSummary), Source: "driftd", Timestamp: d.Entry.Time,
		CustomDetails: pdCustom(map[string]any{"body": d.Entry.Body, "ledger_seq": d.Entry.Seq, "ledger_hash": d.Entry.Hash}),
	}
	return ev
}

// pdCustom leaves the largest details out of an event that PagerDuty would refuse
// for its size: who is paged can follow the link.
func pdCustom(details map[string]any) map[string]any {
	sizes := map[string]int{}
	total := 0
	for k, v := range details {
		if v == "" {
			delete(details, k)
			continue
		}
		b, _ := json.Marshal(v) // of a ledger entry, which is JSON
		sizes[k] = len(k) + len(b)
		total += sizes[k]
	}
	if total <= pdDetails {
		return details
	}
	largest := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
	})
	var left []string
	for _, k := range largest {
		if total <= pdDetails {
			break
		}
		total -= sizes[k]
		delete(details, k)
		left = append(left, k)
	}
	details["left_out"] = "too large, see the ledger entry: " + strings.Join(left, ", ")
	return details
}

// pdSeverity maps driftd's severities; one that is not known is a warning.
func pdSeverity(s string) string {
	switch s {
	case "page":
		return "critical"
	case "info":
		return "info"
	}
	return "warning"
}

// dedupKey identifies the incident that an alert belongs to.
func dedupKey(a ledger.Alert, d ledger.Delivery) string {
	if a.DedupKey != "" && !d.Grouped {
		return a.DedupKey
	}
	return d.Line()
}

// cut shortens text to limit characters.
func cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}
