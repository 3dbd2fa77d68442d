package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// heatTableCells bounds the cells of a heat map's table on one page.
const heatTableCells = 960

// A modelPage is one model: what it did, who watches it, and by what.
type modelPage struct {
	pageHead
	Path       string
	Item       modelItem
	Report     *ReportJSON
	Features   []featureRow
	More       int
	Heat       *heatTable
	Windows    []choice // lengths of windows
	Rules      []ruleRow
	Budget     *budgetItem
	Detectors  []standingRow
	Incidents  []incidentRow // open
	Alerts     []alertItem
	AlertsLink string
	PastLink   string // incidents, open or not
	Outcomes   uint64 // that have come in for it
}

// A choice is one of several links; the chosen one is where the page is.
type choice struct {
	Text, Link string
	Chosen     bool
}

// A featureRow is what a report says of a signal, and where its page is.
type featureRow struct {
	FeatureJSON
	Link string
}

type ruleRow struct{ Name, Feature, Severity, Window, Expr string }

// A standingRow is how near a detector is to an alarm.
type standingRow struct {
	Signal, Component, Link string
	LogR, Threshold, Share  Num
}

// A heatTable is a heat map as a table, and where its data are for a drawing.
type heatTable struct {
	*heatmap
	Source, Feature  string // paths: of the data, and of a feature's page
	Rows             []heatRow
	From, To, Total  int
	Prev, Next       string
	Stats, Columns   []choice
	Earlier, Present string
}

type heatRow struct {
	Name, Link string
	Cells      []heatCell
}

// A heatCell is a value and the class of its colour.
type heatCell struct{ Value, Class string }

func (s *Server) getModelPage(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	snapshot := s.Reader.Snapshot()
	data := modelPage{pageHead: s.head(m.Model, snapshot), Path: modelPath(m.Model), Item: newModelItem(snapshot, m), AlertsLink: linkTo("/alerts", "model", m.Model), PastLink: linkTo("/incidents", "model", m.Model)}
	data.Script = heat.path
	if counts := snapshot.Account; counts != nil && counts.Models[m.Model] != nil {
		data.Outcomes = counts.Models[m.Model][event.Outcome-1][drift.Counted]
	}
	window, err := s.driftWindow(r, m)
	var p problem
	switch {
	case errors.As(err, &p) && p.Status == http.StatusNotFound: // no events: the page says so
	case err != nil:
		return err
	default:
		report := s.report(window, m, r.text("version"), r.text("variant"))
		data.Report = &report
		for _, f := range report.Features[:min(len(report.Features), pageRows/2)] {
			link := linkTo(data.Path+"/feature", append(r.keep("windows", "stat", "row"), "name", f.Name, "at", report.Window.Start.Format(time.RFC3339))...)
			data.Features = append(data.Features, featureRow{f, link})
		}
		data.More = len(report.Features) - len(data.Features)
	}
	for _, size := range s.windowSizes() {
		data.Windows = append(data.Windows, r.choice(data.Path, "window", size, "1h"))
	}
	if data.Heat, err = s.heatTable(r, m); err != nil {
		return err
	}
	s.watchers(&data, snapshot, m)
	return sendPage(w, "model", data)
}

// windowSizes are the lengths that pages offer.
func (s *Server) windowSizes() []string {
	var out []string
	sizes := append([]time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour}, s.Sizes...)
	slices.Sort(sizes)
	for _, size := range slices.Compact(sizes) {
		if s.fits(size) {
			out = append(out, formatDuration(size))
		}
	}
	return out
}

// choice links to the same page with a parameter changed.
func (r *request) choice(path, name, value, absent string) choice {
	return choice{value, linkTo(path, append(r.keep(name), name, value)...), cmp.Or(r.text(name), absent) == value}
}

const incidentRows = 5 // open incidents on the page of a model

// watchers tells what looks at the model.
func (s *Server) watchers(data *modelPage, snapshot *Snapshot, m *Model) {
	for _, rule := range snapshot.Rules {
		if spec := rule.Spec(); rule.Watches(m.Model) {
			data.Rules = append(data.Rules, ruleRow{spec.Name, spec.Feature, cmp.Or(spec.Severity, alert.SeverityTicket), formatDuration(spec.Window), spec.Expr})
		}
	}
	for i := range snapshot.Alerts {
		if a := &snapshot.Alerts[i]; a.Model == m.Model && len(data.Alerts) < pageRows/2 {
			data.Alerts = append(data.Alerts, snapshot.alertItem(a, s.Now()))
		}
	}
	for _, i := range snapshot.openOf(m.Model) {
		if len(data.Incidents) < incidentRows {
			data.Incidents = append(data.Incidents, newIncidentRow(i, snapshot.Policy))
		}
	}
	if m.Drift == nil {
		return
	}
	for _, b := range budgetItems(snapshot) {
		if b.Name == m.Drift.Budget {
			data.Budget = &b
		}
	}
	const nearest = 10
	for _, st := range nearestStandings(m.Drift.Standings, nearest) {
		data.Detectors = append(data.Detectors, standingRow{
			st.Signal, st.Component.String(), linkTo(data.Path+"/feature", "name", st.Signal), Num(st.LogR), Num(st.Threshold), Num(st.LogR / st.Threshold),
		})
	}
}

// nearestStandings returns the detectors that are nearest to an alarm.
func nearestStandings(all []detect.Standing, n int) []detect.Standing {
	out := slices.DeleteFunc(slices.Clone(all), func(s detect.Standing) bool { return s.LogR <= 0 || s.Threshold <= 0 })
	slices.SortStableFunc(out, func(a, b detect.Standing) int { return cmp.Compare(b.LogR/b.Threshold, a.LogR/a.Threshold) })
	return out[:min(len(out), n)]
}

// heatTable reads the heat map of a page; nil if the model has no signal yet.
func (s *Server) heatTable(r *request, m *Model) (*heatTable, error) {
	h, err := s.heatmap(r, m)
	if err != nil || len(h.Signals) == 0 {
		return nil, err
	}
	skip, err := r.number("row", 0, 0, 1<<20)
	if err != nil {
		return nil, err
	}
	path, total, rows := modelPath(m.Model), len(h.Signals), max(8, heatTableCells/len(h.Starts))
	from := min(int(skip), total)
	to := min(from+rows, total)
	t := &heatTable{
		heatmap: h, From: from + 1, To: to, Total: total, Source: linkTo("/api/v1"+path+"/heatmap", r.keep("row")...),
		Feature: linkTo(path+"/feature", r.keep("row", "windows", "stat", "at")...),
	}
	if from > 0 {
		t.Prev = linkTo(path, append(r.keep("row"), "row", strconv.Itoa(max(0, from-rows)))...)
	}
	if to < total {
		t.Next = linkTo(path, append(r.keep("row"), "row", strconv.Itoa(to))...)
	}
	for _, stat := range []string{"psi", "ks", "missing"} {
		t.Stats = append(t.Stats, r.choice(path, "stat", stat, "psi"))
	}
	for _, n := range []string{"24", "72", "168"} {
		t.Columns = append(t.Columns, r.choice(path, "windows", n, "24"))
	}
	t.Earlier = linkTo(path, append(r.keep("at"), "at", h.Starts[0].Add(-time.Second).Format(time.RFC3339))...)
	if r.has("at") {
		t.Present = linkTo(path, r.keep("at")...)
	}
	for i := from; i < to; i++ {
		row := heatRow{Name: h.Signals[i], Link: linkTo(path+"/feature", append(r.keep("row", "windows", "stat"), "name", h.Signals[i])...)}
		for _, cell := range h.cells[i] {
			row.Cells = append(row.Cells, newHeatCell(cell))
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// newHeatCell tells a cell in hundredths.
func newHeatCell(cell byte) heatCell {
	x := float64(cellValue(cell))
	if !finite(x) {
		return heatCell{}
	}
	class := 0
	for _, step := range []float64{.05, .1, .25, .5} { // as in heatmap.js
		if x >= step {
			class++
		}
	}
	return heatCell{strconv.FormatFloat(100*x, 'f', 0, 64), "h" + strconv.Itoa(class)}
}
