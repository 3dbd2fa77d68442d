package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// Bounds of the pages of incidents: a page has at most 60 kB, whatever people and
// events write.
const (
	listedRows  = 60  // of all incidents, open ones first
	nameBytes   = 300 // of the name of one, escaped
	memberRows  = 20
	hearingRows = 20
	storyRows   = 60
	storyBytes  = 10 << 10 // of the timeline, escaped
	saidBytes   = 2 << 10  // of one text, escaped; its ledger entry has all of it
)

// An incidentsPage lists incidents: what is open, then what was.
type incidentsPage struct {
	pageHead
	Model      string
	States     []choice
	Severities []choice
	Owners     []choice
	Open       []incidentRow
	Recent     []incidentRow
	More       int
}

// An incidentRow is an incident, and where its page is.
type incidentRow struct {
	incidentItem
	Name, Link          string
	OpenedAt, EndedAt   *time.Time
	Cause, Answer, Heed string // "" while nobody has said, or looks after it
}

// incidentPath is where the page of an incident is.
func incidentPath(id string) string { return "/incidents/" + url.PathEscape(id) }

func newIncidentRow(i *incident.Incident, p incident.Policy) incidentRow {
	row := incidentRow{incidentItem: newIncidentItem(i, p), Link: incidentPath(i.ID), OpenedAt: instant(i.Opened), EndedAt: instant(i.Resolved)}
	row.Name = row.name()
	if i.Diagnosis != nil {
		row.Cause = i.Diagnosis.Cause
	}
	if i.Worth != nil {
		row.Answer = i.Worth.Worth
	}
	if i.Acknowledged != nil {
		row.Heed = i.Acknowledged.By
	}
	return row
}

// name says what is wrong with what: "fraud: ModelDrift, Silence".
func (i *incidentItem) name() string {
	const named = 3
	some := func(names []string, none string) string {
		text := strings.Join(names[:min(len(names), named)], ", ")
		if more := len(names) - named; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		return cmp.Or(text, none)
	}
	return shorten(some(i.Models, "driftd")+": "+some(i.Rules, "alerts"), nameBytes)
}

func (s *Server) getIncidentsPage(w http.ResponseWriter, r *request) error {
	all, err := s.incidents(r)
	if err != nil {
		return err
	}
	snapshot := s.Reader.Snapshot()
	data := incidentsPage{pageHead: s.head("Incidents", snapshot).live(), Model: r.text("model")}
	open := slices.DeleteFunc(slices.Clone(all), func(i *incident.Incident) bool { return !i.Open() })
	for _, i := range open[:min(len(open), listedRows)] {
		data.Open = append(data.Open, newIncidentRow(i, snapshot.Policy))
	}
	ended := slices.DeleteFunc(all, (*incident.Incident).Open)
	for _, i := range ended[:min(len(ended), listedRows-len(data.Open))] {
		data.Recent = append(data.Recent, newIncidentRow(i, snapshot.Policy))
	}
	data.More = len(open) + len(ended) - len(data.Open) - len(data.Recent)
	data.States = r.choices("/incidents", "state", incident.PhaseOpen, incident.PhaseResolved, incident.PhaseClosed)
	data.Severities = r.choices("/incidents", "severity", alert.SeverityPage, alert.SeverityTicket, alert.SeverityInfo)
	owners := snapshot.owners()
	data.Owners = r.choices("/incidents", "owner", owners[:min(len(owners), 20)]...)
	return sendPage(w, "incidents", data)
}

// choices link to the same page with a parameter absent, or one of some values.
func (r *request) choices(path, name string, values ...string) []choice {
	out := []choice{{"all", linkTo(path, r.keep(name)...), r.text(name) == ""}}
	for _, value := range values {
		out = append(out, r.choice(path, name, value, ""))
	}
	return out
}

// An incidentPage is an incident: its alerts, what happened, who was told, and what
// can be done about it.
type incidentPage struct {
	pageHead
	incidentRow
	Group    string
	Members  []memberRow
	Hidden   int // members that are not listed
	Findings []findingRow
	Why      *why       // of the leading alert that says so, nil for none
	Others   []briefWhy // of the next ones
	Unsaid   int        // further alerts that say why
	Timeline []happening
	Earlier  bool // the ledger has more
	Told     []Told
	Owed     []Owed
	Form     *incidentForm // nil: who asks may do nothing
}

// A memberRow is an alert of an incident, and where the pages of it and its signal are.
type memberRow struct {
	incident.Member
	Rule, Feature, State  string
	Starts, Ends          *time.Time
	AlertLink, SignalLink string
}

// An incidentForm is what can be done about an incident.
type incidentForm struct {
	Action                                    string // where to
	Error                                     string // why the last was refused
	Said                                      string // what was in the text then
	Acknowledge, Drifts, Close                bool   // can be done now
	Causes, Remedies, Results, Worths         []string
	Cause, Remedy, Result, Worth, Requirement string
}

// getIncidentPage shows an incident. A key of one of its alerts leads there; of an
// alert that has none, its own page is shown.
func (s *Server) getIncidentPage(w http.ResponseWriter, r *request) error {
	i, err := s.incident(r)
	var p problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return s.alertOfNoIncident(w, r)
	}
	if err != nil {
		return err
	}
	return s.sendIncident(w, r, i, nil)
}

// alertOfNoIncident leads from an alert to its incident.
func (s *Server) alertOfNoIncident(w http.ResponseWriter, r *request) error {
	key := r.PathValue("id")
	found, err := s.newest(func(h *happening) bool { return h.Key == key }, 0, 1)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Incident == "" || found[0].Incident == key {
		return s.sendAlert(w, key)
	}
	http.Redirect(w, r.Request, incidentPath(found[0].Incident), http.StatusSeeOther)
	return nil
}

// sendIncident sends the page of an incident. refusal is what became of a form.
func (s *Server) sendIncident(w http.ResponseWriter, r *request, i *incident.Incident, refusal *problem) error {
	snapshot := s.Reader.Snapshot()
	data := incidentPage{
		pageHead: s.head("Incident", snapshot).live(), incidentRow: newIncidentRow(i, snapshot.Policy),
	}
	for _, name := range sortedKeys(i.Group, func(k string) string { return k }) {
		data.Group += name + "=" + i.Group[name] + " "
	}
	data.Members, data.Hidden = memberRowsOf(i)
	story, err := s.story(i, storyRows)
	if err != nil {
		return err
	}
	data.Findings = lastFindings(story)
	if err := s.explain(&data, i, story); err != nil {
		return err
	}
	data.Timeline, data.Earlier = within(story, storyBytes)
	h, err := s.Incidents.Hearing(i.ID)
	if err != nil {
		return err
	}
	data.Told, data.Owed = h.Told[max(0, len(h.Told)-hearingRows):], h.Owed[:min(len(h.Owed), hearingRows)]
	if s.mayOperate(r) {
		data.Reload = false // it would take away what somebody writes
		data.Form = newIncidentForm(r, i, snapshot.Policy, refusal)
	}
	if refusal != nil {
		w.Header().Set("Content-Type", htmlType+"; charset=utf-8") // what comes behind the status is too late
		w.WriteHeader(refusal.Status)
	}
	return sendPage(w, "incident", data)
}

// mayOperate reports whether who asks may also do something about what is shown.
func (s *Server) mayOperate(r *request) bool {
	if s.Commander == nil {
		return false
	}
	id, known := r.Context().Value(identityKey{}).(Identity)
	return !known || id.Role.May(Operate) // nobody is asked who they are: everybody may
}

func newIncidentForm(r *request, i *incident.Incident, p incident.Policy, refusal *problem) *incidentForm {
	f := &incidentForm{
		Action: incidentPath(i.ID), Acknowledge: i.Open(), Close: !i.Open() && i.ClosedBy == nil, Causes: p.Causes, Remedies: incident.Remedies, Results: incident.Results, Worths: incident.Worths,
		Requirement: strings.Join(i.Missing(p), ", "), Drifts: slices.Contains(i.Rules(), alert.RuleDrift),
	}
	if i.Diagnosis != nil {
		f.Cause = i.Diagnosis.Cause
	}
	if i.Remedy != nil {
		f.Remedy, f.Result = i.Remedy.Remedy, i.Remedy.Result
	}
	if i.Worth != nil {
		f.Worth = i.Worth.Worth
	}
	if refusal != nil {
		f.Error, f.Said = refusal.Detail, r.PostForm.Get("text")
	}
	return f
}

// memberRowsOf lists the alerts of an incident, the leading one first.
func memberRowsOf(i *incident.Incident) (rows []memberRow, hidden int) {
	members := slices.Clone(i.Members)
	slices.SortFunc(members, func(a, b incident.Member) int { return a.Compare(&b) })
	for k := range members[:min(len(members), memberRows)] {
		m := &members[k]
		row := memberRow{
			Member: *m, Rule: m.Labels["alertname"], Feature: m.Labels["feature"], State: "firing", Starts: instant(m.StartsAt), Ends: instant(m.EndsAt),
			AlertLink: "/alerts/" + url.PathEscape(m.Key),
		}
		if !m.Firing() {
			row.State = "resolved"
		}
		if row.Feature != "" {
			row.SignalLink = linkTo(modelPath(m.Model)+"/feature", "name", row.Feature, "at", m.StartsAt.Add(-time.Second).UTC().Format(time.RFC3339))
		}
		rows = append(rows, row)
	}
	return rows, len(members) - len(rows)
}

// lastFindings returns what the newest entry says that says what moved.
func lastFindings(story []happening) []findingRow {
	const shown = 15
	for _, h := range slices.Backward(story) {
		if h.Alert != nil && len(h.Alert.Findings) > 0 {
			rows := findingRows(h.Alert)
			return rows[:min(len(rows), shown)]
		}
	}
	return nil
}

// within returns the last happenings whose texts have room, each cut to what a list
// can show; the page of the entry has all of it.
func within(story []happening, room int) (shown []happening, more bool) {
	for _, h := range slices.Backward(story) {
		h.Text = shorten(h.Text, room/8)
		h.What = shorten(h.What, room/8)
		if room -= len(html.EscapeString(h.What + h.Text)); room < 0 {
			more = true
			break
		}
		shown = append(shown, h)
	}
	slices.Reverse(shown)
	return shown, more || len(story) == storyRows
}

// shorten cuts a text so that it takes at most so many bytes in a page.
func shorten(text string, room int) string {
	n := 0
	for at, r := range text {
		if n += len(html.EscapeString(string(r))); n > room {
			return text[:at] + "…"
		}
	}
	return text
}

// postIncidentPage takes the form of a page and leads back to it.
func (s *Server) postIncidentPage(w http.ResponseWriter, r *request) error {
	if s.Commander == nil || s.Incidents == nil {
		return problem{Status: http.StatusServiceUnavailable, Detail: "this driftd takes no changes"}
	}
	if err := r.ParseForm(); err != nil {
		return problem{Status: http.StatusBadRequest, Detail: "the form cannot be read: " + err.Error()}
	}
	i, err := s.incident(r)
	if err != nil {
		return err
	}
	field := func(name string) string { return r.PostForm.Get(name) }
	c := incident.Change{
		Action: field("action"), Text: strings.TrimSpace(strings.ReplaceAll(field("text"), "\r\n", "\n")),
		Known: field("known") != "", Cause: field("cause"), Remedy: field("remedy"), Result: field("result"), Worth: field("worth"),
	}
	var refusal problem
	switch _, err := s.change(r, c); {
	case err == nil:
		http.Redirect(w, r.Request, incidentPath(i.ID), http.StatusSeeOther)
		return nil
	case errors.As(err, &refusal):
		return s.sendIncident(w, r, i, &refusal)
	default:
		return err
	}
}

// tell words what somebody did about an incident.
func (h *happening) tell() {
	var c ledger.IncidentChange
	if json.Unmarshal(h.Body, &c) != nil {
		return
	}
	h.Incident, h.What = c.Incident, c.Action
	var words []string
	if c.Known {
		words = append(words, "the change is known")
	}
	for _, word := range []string{c.Cause, c.Remedy, c.Result, c.Worth, c.Text} {
		if word != "" {
			words = append(words, word)
		}
	}
	h.Text = strings.Join(append(words, "by "+c.Actor), ", ")
	h.At = instant(c.At)
}

// openOf returns the open incidents of a model that somebody was to hear of, the worst
// first.
func (s *Snapshot) openOf(model string) []*incident.Incident {
	out := slices.DeleteFunc(slices.Clone(s.Incidents), func(i *incident.Incident) bool { return i.Shadow || !slices.Contains(i.Models(), model) })
	slices.SortStableFunc(out, func(a, b *incident.Incident) int {
		return cmp.Compare(severityOrder(a.Severity), severityOrder(b.Severity))
	})
	return out
}
