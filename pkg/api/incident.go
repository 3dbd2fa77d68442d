package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// An incidentItem is one incident of /api/v1/incidents.
type incidentItem struct {
	ID       string            `json:"id"`
	State    string            `json:"state"`    // "open", "resolved": nothing fires any more, or "closed": somebody said so
	Severity string            `json:"severity"` // of the worst alert that it has had
	Shadow   bool              `json:"shadow"`   // nobody is told of it
	Group    map[string]string `json:"group"`    // labels that its alerts share
	Models   []string          `json:"models"`
	Owners   []string          `json:"owners"`
	Rules    []string          `json:"rules"`
	Firing   int               `json:"firing"` // alerts
	Ended    int               `json:"ended"`
	Opened   time.Time         `json:"opened"`   // event time, as the next two
	Changed  time.Time         `json:"changed"`  // by its last alert
	Resolved *time.Time        `json:"resolved"` // null while it is open
	Issued   *time.Time        `json:"issued"`   // wall time at which it was first to be told

	Acknowledged *incident.Acknowledgement `json:"acknowledged"` // null while nobody looks after it
	Diagnosis    *incident.Diagnosis       `json:"diagnosis"`
	Remedy       *incident.Remedy          `json:"remedy"`
	Worth        *incident.Worth           `json:"worth"`
	ClosedBy     *incident.Act             `json:"closed_by"`
	Missing      []string                  `json:"missing"` // what closing requires and nobody has said
}

// An incidentDetail is one incident with all that is known of it.
type incidentDetail struct {
	incidentItem
	Members  []incident.Member `json:"members"` // alerts that fire, and the last that have ended
	Notes    []incident.Note   `json:"notes"`
	Timeline []ledger.Entry    `json:"timeline"` // the newest, oldest first
	Hearing
}

func newIncidentItem(i *incident.Incident, p incident.Policy) incidentItem {
	item := incidentItem{
		ID: i.ID, State: i.Phase(), Severity: i.Severity, Shadow: i.Shadow, Group: i.Group, Models: nonNil(i.Models()), Owners: nonNil(i.Owners()), Rules: nonNil(i.Rules()),
		Firing: i.Firing(), Ended: i.Ended, Opened: i.Opened.UTC(), Changed: i.Changed.UTC(), Resolved: instant(i.Resolved), Issued: instant(i.Issued),
		Acknowledged: i.Acknowledged, Diagnosis: i.Diagnosis, Remedy: i.Remedy, Worth: i.Worth, ClosedBy: i.ClosedBy, Missing: nonNil(i.Missing(p)),
	}
	if item.Group == nil {
		item.Group = map[string]string{}
	}
	return item
}

// incidentFilter are the parameters by which incidents are chosen.
var incidentFilter = []parameter{
	{"state", "in one state", strings.Join([]string{incident.PhaseOpen, incident.PhaseResolved, incident.PhaseClosed}, "|")},
	{"model", "of one model", "string"},
	{"owner", "of one owner", "string"},
	{"severity", "of one severity", "page|ticket|info"},
	{"since", "that opened at this event time or later", "time"},
}

// incidents returns those that a request chooses, the newest first.
func (s *Server) incidents(r *request) ([]*incident.Incident, error) {
	since, err := r.time("since")
	if err != nil || s.Incidents == nil {
		return nil, err
	}
	state, model, owner, severity := r.text("state"), r.text("model"), r.text("owner"), r.text("severity")
	all, err := s.Incidents.Incidents(func(i *incident.Incident) bool {
		return (state == "" || i.Phase() == state) && (severity == "" || i.Severity == severity) && !i.Opened.Before(since) &&
			(model == "" || slices.Contains(i.Models(), model)) && (owner == "" || slices.Contains(i.Owners(), owner))
	})
	slices.SortFunc(all, newestFirst)
	return all, err
}

func newestFirst(a, b *incident.Incident) int {
	if c := b.Opened.Compare(a.Opened); c != 0 {
		return c
	}
	return strings.Compare(b.ID, a.ID)
}

func (s *Server) getIncidents(w http.ResponseWriter, r *request) error {
	limit, err := r.number("limit", 100, 1, 1000)
	if err != nil {
		return err
	}
	behind, err := r.incidentCursor()
	if err != nil {
		return err
	}
	all, err := s.incidents(r)
	if err != nil {
		return err
	}
	items, next, policy := []incidentItem{}, "", s.Reader.Snapshot().Policy
	for _, i := range all {
		if behind != nil && newestFirst(i, behind) <= 0 {
			continue
		}
		if uint64(len(items)) == limit {
			last := items[limit-1]
			next = strconv.FormatInt(last.Opened.UnixNano(), 10) + "." + last.ID
			break
		}
		items = append(items, newIncidentItem(i, policy))
	}
	return sendJSON(w, http.StatusOK, newList(items, next))
}

// incidentCursor returns the last incident of the answer before; nil: this is the first.
func (r *request) incidentCursor() (*incident.Incident, error) {
	if !r.has("cursor") {
		return nil, nil
	}
	text := r.text("cursor")
	at, id, _ := strings.Cut(text, ".")
	nano, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return nil, badParameter("cursor", text, "is no next_cursor of incidents")
	}
	return &incident.Incident{ID: id, Opened: time.Unix(0, nano)}, nil
}

// incident finds the incident that a path names.
func (s *Server) incident(r *request) (*incident.Incident, error) {
	id := r.PathValue("id")
	var i *incident.Incident
	err := ErrNotFound
	if s.Incidents != nil && id != "" {
		i, err = s.Incidents.Incident(id)
	}
	if errors.Is(err, ErrNotFound) {
		return nil, notFound(fmt.Sprintf("there is no incident %q; /api/v1/incidents lists them", id))
	}
	return i, err
}

func (s *Server) getIncident(w http.ResponseWriter, r *request) error {
	i, err := s.incident(r)
	if err != nil {
		return err
	}
	out, err := s.incidentDetail(i)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, out)
}

func (s *Server) incidentDetail(i *incident.Incident) (out incidentDetail, err error) {
	out = incidentDetail{incidentItem: newIncidentItem(i, s.Reader.Snapshot().Policy), Members: nonNil(i.Members), Notes: nonNil(i.Notes), Timeline: []ledger.Entry{}}
	happenings, err := s.story(i, pageRows)
	if err != nil {
		return out, err
	}
	for k := range happenings {
		out.Timeline = append(out.Timeline, happenings[k].Entry)
	}
	out.Hearing, err = s.Incidents.Hearing(i.ID)
	out.Told, out.Owed = nonNil(out.Told), nonNil(out.Owed)
	return out, err
}

// story returns the last entries of the ledger about an incident, the oldest first.
func (s *Server) story(i *incident.Incident, limit int) ([]happening, error) {
	keys := map[string]bool{}
	for k := range i.Members {
		keys[i.Members[k].Key] = true
	}
	out, err := s.newest(func(h *happening) bool {
		return h.Incident == i.ID || h.Key != "" && keys[h.Key] || h.concerns(func(id string) bool { return keys[id] })
	}, i.Seq+1, limit)
	slices.Reverse(out)
	return out, err
}

// A deed is the body of a request to do something about an incident.
type deed interface{ change() incident.Change }

// The bodies of the actions.
type (
	acknowledgeBody struct {
		Known bool `json:"known,omitempty"` // the change is known and will stay: drift ends, and is not told again before it was quiet
	}
	noteBody struct {
		Text string `json:"text"` // at most 4096 bytes, as all of them
	}
	diagnosisBody struct {
		Cause string `json:"cause"` // one of incidents.causes
		Text  string `json:"text,omitempty"`
	}
	remedyBody struct {
		Remedy string `json:"remedy"` // retrained, rolled_back, fixed_upstream, threshold_changed, baseline_renewed, nothing or other
		Result string `json:"result"` // worked, did_not or pending
		Text   string `json:"text,omitempty"`
	}
	worthBody struct {
		Worth string `json:"worth"` // yes, no or unsure
		Text  string `json:"text,omitempty"`
	}
	closeBody struct {
		Text string `json:"text,omitempty"`
	}
)

func (b acknowledgeBody) change() incident.Change {
	return incident.Change{Action: incident.ActionAcknowledge, Known: b.Known}
}

func (b noteBody) change() incident.Change {
	return incident.Change{Action: incident.ActionNote, Text: b.Text}
}

func (b diagnosisBody) change() incident.Change {
	return incident.Change{Action: incident.ActionDiagnose, Cause: b.Cause, Text: b.Text}
}

func (b remedyBody) change() incident.Change {
	return incident.Change{Action: incident.ActionRemedy, Remedy: b.Remedy, Result: b.Result, Text: b.Text}
}

func (b worthBody) change() incident.Change {
	return incident.Change{Action: incident.ActionWorth, Worth: b.Worth, Text: b.Text}
}

func (b closeBody) change() incident.Change {
	return incident.Change{Action: incident.ActionClose, Text: b.Text}
}

// deedOf is the operation by which people do one thing about an incident.
func deedOf[B deed](s *Server, path, summary string) route {
	var body B
	return route{
		method: http.MethodPost, path: "/api/v1/incidents/{id}/" + path, role: Operate, summary: summary, body: jsonType, bodyLimit: 32 << 10, bodyOf: body, answer: incidentDetail{},
		handle: s.write(func(r *request, text []byte) (int, any, error) {
			var b B
			if err := decodeBody(text, &b); err != nil {
				return 0, nil, err
			}
			if _, err := s.incident(r); err != nil {
				return 0, nil, err
			}
			i, err := s.change(r, b.change())
			if err != nil {
				return 0, nil, err
			}
			out, err := s.incidentDetail(i)
			return http.StatusOK, out, err
		}),
	}
}

// change does something about the incident that a path names.
func (s *Server) change(r *request, c incident.Change) (*incident.Incident, error) {
	c.By = r.actor()
	i, err := s.Incidents.ChangeIncident(r.Context(), r.PathValue("id"), c)
	if errors.Is(err, incident.ErrInvalid) {
		return nil, problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if err != nil {
		return nil, commandProblem(err)
	}
	return i, nil
}

// incidentRoutes are what programs can ask about incidents, and do.
func (s *Server) incidentRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/api/v1/incidents", role: Read, summary: "Incidents, the newest first", answer: list[incidentItem]{}, heavy: true,
			query: append(slices.Clone(incidentFilter), limitParam, cursorParam), handle: s.getIncidents,
		},
		{
			method: http.MethodGet, path: "/api/v1/incidents/{id}", role: Read, answer: incidentDetail{}, handle: s.getIncident,
			summary: "One incident: its alerts, what the ledger has of it, what people did, who was told and who is still to be",
		},
		deedOf[acknowledgeBody](s, "acknowledge", "Look after an open incident: it is neither repeated nor told to others"),
		deedOf[noteBody](s, "notes", "Say something about an incident"),
		deedOf[diagnosisBody](s, "diagnosis", "Say what caused an incident"),
		deedOf[remedyBody](s, "remedy", "Say what was done about an incident, and what came of it"),
		deedOf[worthBody](s, "worth", "Say whether an incident was worth waking for"),
		deedOf[closeBody](s, "close", "Say that nothing is left to do about an incident that has ended"),
		{
			method: http.MethodGet, path: "/api/v1/digest", role: Read, answer: ledger.Digest{}, heavy: true, handle: s.getDigest,
			summary: "Incidents by model and cause, pages against the budgets, what people found worth it, and what to tune",
			query:   []parameter{{"since", "span before the latest event; absent: 7d", "duration"}},
		},
	}
}

func (s *Server) getDigest(w http.ResponseWriter, r *request) error {
	span, err := r.span("since", 7*24*time.Hour)
	if err != nil {
		return err
	}
	if s.Incidents == nil {
		return notFound("this driftd knows no incidents")
	}
	d, err := s.Incidents.Digest(span)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, d)
}

// incidentFamilies are the metrics of incidents.
func incidentFamilies() []Family {
	return []Family{
		{
			Name: "driftd_incidents_open", Type: "gauge", Help: "Open incidents that somebody was to hear of, by the severity of their worst alert.", Labels: []string{"severity"},
			series: func(s *scrape, emit emitter) {
				emitSorted(s.openBy(func(*incident.Incident) bool { return true }), emit)
			},
		},
		{
			Name: "driftd_incidents_unacknowledged", Type: "gauge", Help: "Open incidents that nobody has acknowledged, by the severity of their worst alert.", Labels: []string{"severity"},
			series: func(s *scrape, emit emitter) {
				emitSorted(s.openBy(func(i *incident.Incident) bool { return i.Acknowledged == nil }), emit)
			},
		},
		{
			Name: "driftd_incident_acknowledge_seconds", Type: "histogram", Help: "Time from when an incident was first to be told until somebody acknowledged it.",
			histogram: func(s *scrape) *Histogram { return s.Acknowledging },
		},
	}
}

// openBy counts open incidents that are no rehearsal by severity.
func (s *Snapshot) openBy(in func(*incident.Incident) bool) map[string]uint64 {
	open := map[string]uint64{"page": 0, "ticket": 0, "info": 0}
	for _, i := range s.Incidents {
		if !i.Shadow && in(i) {
			open[i.Severity]++
		}
	}
	return open
}
