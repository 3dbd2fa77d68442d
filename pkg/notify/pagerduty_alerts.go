package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"driftd.dev/driftd/pkg/ledger"
)

// A pdReceipt is what PagerDuty has open of one of driftd's incidents whose alerts have
// incidents of their own.
type pdReceipt struct {
	Alerts map[string]uint64 `json:"alerts,omitempty"` // ledger sequence that was told last, by dedup key
	// More counts the alerts that share one, by severity. While there are any, no other
	// alert gets its own: a storm that ebbs away would page once for each.
	More         map[string]int `json:"more,omitempty"`
	Acknowledged bool           `json:"acknowledged,omitempty"`
}

// pdReceiptOf reads a receipt; another sink's is none.
func pdReceiptOf(text string) pdReceipt {
	var r pdReceipt
	if json.Unmarshal([]byte(text), &r) != nil {
		r = pdReceipt{}
	}
	if r.Alerts == nil {
		r.Alerts = map[string]uint64{}
	}
	if r.More == nil {
		r.More = map[string]int{}
	}
	return r
}

// text is the receipt as a Delivery keeps it, "" if nothing is open.
func (r pdReceipt) text() string {
	if len(r.Alerts)+len(r.More) == 0 {
		return ""
	}
	out, _ := json.Marshal(r) // texts and numbers
	return string(out)
}

// pdMoreKey is the dedup key that the alerts of a severity share which have none of their
// own.
func pdMoreKey(incident, severity string) string { return cut(incident+"/"+severity, pdDedup) }

// SendThread implements Threader. The receipt is what is open at PagerDuty by alert, also
// after a part of the work; "" where an incident is one.
func (p *PagerDuty) SendThread(ctx context.Context, d ledger.Delivery) (string, error) {
	if d.Group == nil {
		return "", p.Send(ctx, d)
	}
	s := pdSending{PagerDuty: p, d: d, open: pdReceiptOf(d.Receipt)}
	err := s.send(ctx)
	return s.open.text(), err
}

// A pdSending tells one delivery about an incident, alert by alert.
type pdSending struct {
	*PagerDuty
	d     ledger.Delivery
	open  pdReceipt
	calls int
}

func (s *pdSending) send(ctx context.Context) error {
	g := s.d.Group
	if s.alerts == 0 { // the setting may have been another when the incident was told
		if err := s.resolve(ctx, nil); err != nil {
			return err
		}
		if s.calls > 0 && !s.limit.wait(ctx) {
			return ctx.Err()
		}
		return s.Send(ctx, s.d)
	}
	if s.d.Receipt == "" && !s.d.Unheard() {
		if err := s.post(ctx, "resolve", s.d.Line(), nil); err != nil { // it was told as one
			return err
		}
	}
	if err := s.resolve(ctx, g.Fires); err != nil {
		return err
	}
	// What was triggered before a crash, and has ended since, is in no receipt: it was the
	// worst. PagerDuty drops the resolve of what it does not know.
	for _, ended := range g.Ends[:min(len(g.Ends), s.alerts)] {
		if err := s.post(ctx, "resolve", ended.Key, nil); err != nil {
			return err
		}
	}
	if err := s.trigger(ctx); err != nil || g.Acknowledged == "" || s.open.Acknowledged {
		return err
	}
	return s.acknowledge(ctx)
}

// resolve ends what is open and not among what fires.
func (s *pdSending) resolve(ctx context.Context, fires []ledger.Fire) error {
	for _, key := range slices.Sorted(maps.Keys(s.open.Alerts)) {
		if slices.ContainsFunc(fires, func(f ledger.Fire) bool { return f.Key == key }) {
			continue
		}
		if err := s.post(ctx, "resolve", key, nil); err != nil {
			return err
		}
		delete(s.open.Alerts, key)
	}
	shared := s.shared(fires)
	for _, severity := range slices.Sorted(maps.Keys(s.open.More)) {
		if shared[severity] > 0 {
			continue
		}
		if err := s.post(ctx, "resolve", pdMoreKey(s.d.Group.Incident, severity), nil); err != nil {
			return err
		}
		delete(s.open.More, severity)
	}
	return nil
}

// shared counts what fires and has none of its own, by severity.
func (s *pdSending) shared(fires []ledger.Fire) map[string]int {
	out := map[string]int{}
	for _, f := range fires {
		if _, own := s.open.Alerts[f.Key]; !own {
			out[f.Severity]++
		}
	}
	return out
}

// trigger tells what fires. What is new at PagerDuty has to be acknowledged there too.
func (s *pdSending) trigger(ctx context.Context) error {
	g := s.d.Group
	room := s.alerts
	if len(s.open.More) > 0 {
		room = 0
	}
	for k, e := range g.Alerts[:min(len(g.Alerts), len(g.Fires))] {
		key := g.Fires[k].Key
		told, own := s.open.Alerts[key]
		if own && told == e.Seq && !s.d.Repeat || !own && len(s.open.Alerts) >= room {
			continue
		}
		if err := s.tell(ctx, key, e); err != nil {
			return err
		}
		s.open.Alerts[key], s.open.Acknowledged = e.Seq, s.open.Acknowledged && own
	}
	shared := s.shared(g.Fires)
	for _, severity := range slices.Sorted(maps.Keys(shared)) {
		was := s.open.More[severity]
		if was == shared[severity] && !s.d.Repeat {
			continue
		}
		if err := s.tellMore(ctx, severity, shared[severity]); err != nil {
			return err
		}
		s.open.More[severity], s.open.Acknowledged = shared[severity], s.open.Acknowledged && was > 0
	}
	return nil
}

// tell triggers the incident of one alert.
func (s *pdSending) tell(ctx context.Context, key string, e ledger.Entry) error {
	one := ledger.Delivery{Receiver: s.d.Receiver, Entry: e, Seq: e.Seq, Order: key}
	m, err := word(one, s.external, s.template)
	if err != nil {
		return err
	}
	ev, err := s.alert(one, m)
	if err != nil {
		return err
	}
	return s.post(ctx, "trigger", key, &ev)
}

// tellMore triggers the incident that alerts of a severity share: one line that counts
// them.
func (s *pdSending) tellMore(ctx context.Context, severity string, n int) error {
	m, err := word(s.d, s.external, s.template)
	if err != nil {
		return err
	}
	ev := s.event(m)
	ev.Client, ev.ClientURL = "driftd", s.external
	ev.Payload = &pdPayload{
		Summary: cut(fmt.Sprintf("%s of severity %s beyond the %d that are told one by one: %s", counted(n, "alert"), severity, s.alerts, m.Title), pdSummary),
		Source:  "driftd", Severity: pdSeverity(severity), Timestamp: s.d.Entry.Time, Component: s.d.Group.Labels["model"],
		CustomDetails: map[string]any{"incident": s.d.Group.Incident, "alerts": n, "others": pdFields(m.Others)},
	}
	return s.post(ctx, "trigger", pdMoreKey(s.d.Group.Incident, severity), &ev)
}

// acknowledge says that somebody looks after all that is open.
func (s *pdSending) acknowledge(ctx context.Context) error {
	keys := slices.Sorted(maps.Keys(s.open.Alerts))
	for _, severity := range slices.Sorted(maps.Keys(s.open.More)) {
		keys = append(keys, pdMoreKey(s.d.Group.Incident, severity))
	}
	for _, key := range keys {
		if err := s.post(ctx, "acknowledge", key, nil); err != nil {
			return err
		}
	}
	s.open.Acknowledged = true
	return nil
}

// post makes one call; nil is an event without words.
func (s *pdSending) post(ctx context.Context, action, key string, ev *pdEvent) error {
	if s.calls++; s.calls > 1 && !s.limit.wait(ctx) { // the first was waited for
		return ctx.Err()
	}
	if ev == nil {
		ev = &pdEvent{RoutingKey: s.key()}
	}
	ev.EventAction, ev.DedupKey = action, cut(key, pdDedup)
	return s.PagerDuty.post(ctx, s.events, *ev)
}
