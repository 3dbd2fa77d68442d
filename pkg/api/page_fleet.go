package api

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

const (
	fleetRows    = 50 // models of one page
	trafficSpans = 24 // of a sparkline
)

// urgency orders models by how much they need a person.
var urgency = []string{"alerting", "drifting", "learning", "ok"}

// A fleetRow is one model of the fleet.
type fleetRow struct {
	Model, Path, State, Owner, Versions string
	Incident                            string // severity of the worst open one, "" for none
	IncidentLink                        string
	Drifting, Signals                   int
	Traffic                             *sparkline
	Budget, Left                        string
	LastAlert, LastEvent                *time.Time
}

// A fleetPage is everything that is followed, what needs somebody first.
type fleetPage struct {
	pageHead
	Ready         bool
	Reasons       []string
	Text, State   string // what is asked for
	Owner         string
	States        []string
	Owners        []string
	Models        []fleetRow
	Count, Total  int
	Prev, Next    string
	Budgets       []budgetItem
	Alerts        []alertItem
	MoreAlerts    int
	NotifierOwes  int
	StreamBehind  uint64
	StreamMissing bool
}

func (s *Server) getFleetPage(w http.ResponseWriter, r *request) error {
	snapshot := s.Reader.Snapshot()
	number, err := r.number("page", 1, 1, 1<<20)
	if err != nil {
		return err
	}
	data := fleetPage{
		pageHead: s.head("driftd", snapshot).live(), Ready: len(snapshot.NotReady) == 0, Reasons: snapshot.NotReady,
		Text: r.text("q"), State: r.text("state"), Owner: r.text("owner"), States: urgency, Owners: snapshot.owners(), Total: len(snapshot.Models),
		Budgets: budgetItems(snapshot), NotifierOwes: snapshot.Notifier.Pending,
		StreamBehind: snapshot.lastSeq() - snapshot.Stream.CommittedSeq, StreamMissing: !snapshot.Stream.Connected,
	}
	shown := snapshot.fleet(data.Text, data.State, data.Owner)
	data.Count = len(shown)
	first := min((int(number)-1)*fleetRows, len(shown))
	last := min(first+fleetRows, len(shown))
	if first > 0 {
		data.Prev = linkTo("/", append(r.keep("page"), "page", strconv.Itoa(int(number)-1))...)
	}
	if last < len(shown) {
		data.Next = linkTo("/", append(r.keep("page"), "page", strconv.Itoa(int(number)+1))...)
	}
	for _, m := range shown[first:last] {
		row := snapshot.fleetRow(m)
		if row.Traffic, err = s.traffic(r, m); err != nil {
			return err
		}
		data.Models = append(data.Models, row)
	}
	const alertsShown = 10
	for i := range snapshot.Alerts[:min(len(snapshot.Alerts), alertsShown)] {
		data.Alerts = append(data.Alerts, snapshot.alertItem(&snapshot.Alerts[i], s.Now()))
	}
	data.MoreAlerts = len(snapshot.Alerts) - len(data.Alerts)
	return sendPage(w, "fleet", data)
}

func (s *Snapshot) owners() []string {
	var out []string
	for i := range s.Models {
		if o := s.Models[i].Owner; o != "" {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fleet returns the models that are asked for, in the order of their need.
func (s *Snapshot) fleet(text, state, owner string) []*Model {
	var out []*Model
	for i := range s.Models {
		m := &s.Models[i]
		in := strings.Contains(strings.ToLower(m.Model), strings.ToLower(text)) || strings.Contains(strings.ToLower(m.Owner), strings.ToLower(text))
		if in && (state == "" || state == m.Status) && (owner == "" || owner == m.Owner) {
			out = append(out, m)
		}
	}
	drifting := map[*Model]int{}
	for _, m := range out {
		drifting[m] = len(m.drifting(drift.Material, false))
	}
	slices.SortStableFunc(out, func(a, b *Model) int {
		return cmp.Or(
			cmp.Compare(slices.Index(urgency, a.Status), slices.Index(urgency, b.Status)),
			cmp.Compare(severityOrder(a.incident()), severityOrder(b.incident())),
			cmp.Compare(drifting[b], drifting[a]),
		)
	})
	return out
}

// incident returns the severity of the model's open incident, "" for none.
func (m *Model) incident() string {
	if m.Drift == nil || m.Drift.Status == nil || m.Drift.Status.Incident == nil {
		return ""
	}
	return m.Drift.Status.Incident.Level.String()
}

func severityOrder(severity string) int {
	return -slices.Index([]string{"", alert.SeverityInfo, alert.SeverityTicket, alert.SeverityPage}, severity)
}

func (s *Snapshot) fleetRow(m *Model) fleetRow {
	item := newModelItem(s, m)
	row := fleetRow{
		Model: m.Model, Path: modelPath(m.Model), State: m.Status, Owner: m.Owner, Versions: versionNames(item.Versions), Incident: m.incident(),
		Drifting: len(item.Drifting), Signals: len(m.Signals), LastEvent: item.LastEvent,
	}
	if open := s.openOf(m.Model); len(open) > 0 {
		row.Incident, row.IncidentLink = open[0].Severity, incidentPath(open[0].ID)
	}
	for i := range s.Alerts {
		if a := &s.Alerts[i]; a.Model == m.Model && !a.FiredAt.IsZero() && (row.LastAlert == nil || a.FiredAt.After(*row.LastAlert)) {
			row.LastAlert = instant(a.FiredAt)
		}
	}
	if m.Drift != nil {
		for i := range s.Budgets {
			if b := &s.Budgets[i]; b.Name == m.Drift.Budget {
				row.Budget, row.Left = b.Name, showNumber(Num(b.left()))+" of "+showNumber(Num(b.Pages))
			}
		}
	}
	return row
}

func versionNames(versions []versionItem) string {
	var names []string
	for _, v := range versions {
		for _, variant := range v.Variants {
			name := v.Version
			if variant.Variant != event.Primary.String() {
				name += " (" + variant.Variant + ")"
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// traffic draws how many events the model had in its last spans: hours, or
// shorter ones of a model that is young. nil if it had none.
func (s *Server) traffic(r *request, m *Model) (*sparkline, error) {
	size := s.Pane
	for _, longer := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour} {
		if m.MaxTime.Sub(m.Started) > trafficSpans*size && longer > size && s.fits(longer) {
			size = longer
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	to := floorTime(m.MaxTime, size).Add(size)
	from := to.Add(-trafficSpans * size)
	windows, err := s.Reader.Windows(Query{Model: m.Model, From: from, To: to, Size: size, Total: true, NoSignals: true})
	if err != nil || len(windows) == 0 {
		return nil, err
	}
	counts := make([]uint64, trafficSpans)
	for _, w := range windows {
		if i := int(w.Start.Sub(from) / size); i >= 0 && i < len(counts) {
			counts[i] = w.Events
		}
	}
	return newSparkline(counts, formatDuration(size)), nil
}
