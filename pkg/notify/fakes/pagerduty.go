package fakes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"unicode/utf8"
)

// An Incident is what PagerDuty made of the triggers of one dedup key until
// its resolve.
type Incident struct {
	DedupKey   string
	Status     string // "triggered", "acknowledged" or "resolved"
	Summary    string
	Severity   string
	Details    map[string]any
	Updates    int // triggers after the first, while it was open, that said something else
	Duplicates int // and that said the same again
}

// PagerDuty is the Events API v2: POST /v2/enqueue and /v2/change/enqueue.
type PagerDuty struct {
	recorder
	incidents []Incident // guarded by mu
	changes   []string   // summaries; guarded by mu
	dropped   int        // guarded by mu
}

// NewPagerDuty returns a PagerDuty without incidents.
func NewPagerDuty() *PagerDuty { return &PagerDuty{} }

// Incidents returns every incident, open or not, oldest first.
func (p *PagerDuty) Incidents() []Incident {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.incidents)
}

// Changes returns the summaries of the change events, oldest first.
func (p *PagerDuty) Changes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.changes)
}

// Dropped counts resolves and acknowledges of no open incident, which
// PagerDuty accepts and drops silently.
func (p *PagerDuty) Dropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

type pdEvent struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Payload     *struct {
		Summary  string         `json:"summary"`
		Source   string         `json:"source"`
		Severity string         `json:"severity"`
		Details  map[string]any `json:"custom_details"`
	} `json:"payload"`
}

// ServeHTTP implements http.Handler.
func (p *PagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	p.serve(w, r, func(body []byte) (int, string) {
		change := r.URL.Path == "/v2/change/enqueue"
		if r.Method != http.MethodPost || !change && r.URL.Path != "/v2/enqueue" {
			return http.StatusNotFound, `{"status":"not found"}`
		}
		var ev pdEvent
		if err := json.Unmarshal(body, &ev); err != nil {
			return invalidEvent("body is not JSON")
		}
		if faults := ev.faults(change); len(body) > 512_000 || len(faults) > 0 {
			return invalidEvent(faults...)
		}
		if change {
			p.changes = append(p.changes, ev.Payload.Summary)
			return http.StatusAccepted, `{"status":"success","message":"Change event processed"}`
		}
		p.apply(ev)
		return http.StatusAccepted, fmt.Sprintf(`{"status":"success","message":"Event processed","dedup_key":%q}`, ev.DedupKey)
	})
}

func invalidEvent(faults ...string) (int, string) {
	list, _ := json.Marshal(faults) // strings always encode
	return http.StatusBadRequest, fmt.Sprintf(`{"status":"invalid event","message":"Event object is invalid","errors":%s}`, list)
}

// faults lists what PagerDuty would refuse.
func (ev pdEvent) faults(change bool) []string {
	var faults []string
	check := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, fault)
		}
	}
	check(len(ev.RoutingKey) == 32, "Length of 'routing_key' is incorrect (should be 32 characters)")
	check(utf8.RuneCountInString(ev.DedupKey) <= 255, "'dedup_key' is too long (maximum 255)")
	actions, needsPayload := []string{"trigger", "acknowledge", "resolve"}, ev.EventAction == "trigger"
	if change {
		actions, needsPayload = []string{""}, true
	}
	check(slices.Contains(actions, ev.EventAction), "'event_action' is invalid")
	check(change || needsPayload || ev.DedupKey != "", "'dedup_key' is missing")
	check(!needsPayload || ev.Payload != nil, "'payload' is missing")
	if ev.Payload != nil && needsPayload {
		n := utf8.RuneCountInString(ev.Payload.Summary)
		check(n > 0 && n <= 1024, "'payload.summary' is missing or too long (maximum 1024)")
		check(change || ev.Payload.Source != "", "'payload.source' is missing")
		check(change || slices.Contains([]string{"critical", "error", "warning", "info"}, ev.Payload.Severity), "'payload.severity' is invalid")
	}
	return faults
}

// apply moves the incident of a dedup key. After a resolve the same key opens
// a new incident.
func (p *PagerDuty) apply(ev pdEvent) {
	i := len(p.incidents) - 1
	for i >= 0 && (p.incidents[i].DedupKey != ev.DedupKey || p.incidents[i].Status == "resolved") {
		i--
	}
	switch {
	case ev.EventAction != "trigger" && i < 0:
		p.dropped++
	case ev.EventAction == "acknowledge":
		p.incidents[i].Status = "acknowledged"
	case ev.EventAction == "resolve":
		p.incidents[i].Status = "resolved"
	case i >= 0:
		if was := p.incidents[i]; was.Summary == ev.Payload.Summary && was.Severity == ev.Payload.Severity && reflect.DeepEqual(was.Details, ev.Payload.Details) {
			p.incidents[i].Duplicates++
			return
		}
		p.incidents[i].Updates++
		p.incidents[i].Summary, p.incidents[i].Severity, p.incidents[i].Details = ev.Payload.Summary, ev.Payload.Severity, ev.Payload.Details
	default:
		p.incidents = append(p.incidents, Incident{
			DedupKey: ev.DedupKey, Status: "triggered", Summary: ev.Payload.Summary, Severity: ev.Payload.Severity, Details: ev.Payload.Details,
		})
	}
}
