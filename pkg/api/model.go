package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A modelItem is one model of /api/v1/models.
type modelItem struct {
	Model      string            `json:"model"`
	State      string            `json:"state"` // "learning", "ok", "drifting" or "alerting"
	Owner      string            `json:"owner"`
	Versions   []versionItem     `json:"versions"`
	Traffic    map[string]uint64 `json:"traffic"`  // predictions by outcome
	Features   int               `json:"features"` // signals that are features
	Drifting   []string          `json:"drifting"` // signals with material drift in a last closed window
	Baseline   *baselineItem     `json:"baseline"` // null while learning
	Learning   *learningItem     `json:"learning"` // null otherwise
	Started    *time.Time        `json:"started"`  // event time, as the two below
	Watermark  *time.Time        `json:"watermark"`
	LastEvent  *time.Time        `json:"last_event"`
	LastSeq    uint64            `json:"last_seq"`
	Overflow   drift.Overflow    `json:"overflow"`
	Detection  *detectionItem    `json:"detection"`         // null if the model has no budget
	SignalDefs []signalDef       `json:"signals,omitempty"` // of a single model
	Windows    []lastWindow      `json:"windows,omitempty"` // of a single model
}

type versionItem struct {
	Version  string        `json:"version"`
	Variants []variantItem `json:"variants"`
}

type variantItem struct {
	Variant  string     `json:"variant"`
	LastSeen *time.Time `json:"last_seen"` // event time
	Segments []string   `json:"segments"`
	Events   uint64     `json:"events"` // of its last closed window of the shortest length
}

type learningItem struct {
	Seen uint64     `json:"seen"` // events
	Kept uint64     `json:"kept"`
	From *time.Time `json:"from"`
	To   *time.Time `json:"to"`
}

type signalDef struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Feature bool   `json:"feature"`
}

type lastWindow struct {
	Size     string    `json:"size"`
	Version  string    `json:"version"`
	Variant  string    `json:"variant"`
	Segment  string    `json:"segment"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	State    string    `json:"state"`
	Events   uint64    `json:"events"`
	Drifting int       `json:"drifting"`
}

// model finds the model that a path names.
func (s *Server) model(r *request) (*Model, error) {
	name := r.PathValue("m")
	m := s.Reader.Snapshot().model(name)
	if m == nil {
		return nil, notFound(fmt.Sprintf("driftd knows no model %q; /api/v1/models lists them", name))
	}
	return m, nil
}

func (s *Snapshot) model(name string) *Model {
	i, ok := slices.BinarySearchFunc(s.Models, name, func(m Model, name string) int { return strings.Compare(m.Model, name) })
	if !ok {
		return nil
	}
	return &s.Models[i]
}

func (s *Server) getModels(w http.ResponseWriter, r *request) error {
	snapshot := s.Reader.Snapshot()
	limit, err := r.number("limit", 1000, 1, 1000)
	if err != nil {
		return err
	}
	items, next := []modelItem{}, ""
	for i := range snapshot.Models {
		m := &snapshot.Models[i]
		if m.Model <= r.text("cursor") && r.has("cursor") {
			continue
		}
		if uint64(len(items)) == limit {
			next = items[len(items)-1].Model
			break
		}
		items = append(items, newModelItem(snapshot, m))
	}
	return sendJSON(w, http.StatusOK, newList(items, next))
}

func (s *Server) getModel(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	item := newModelItem(s.Reader.Snapshot(), m)
	for _, d := range m.Signals {
		item.SignalDefs = append(item.SignalDefs, signalDef{d.Name, d.Type.String(), d.Feature})
	}
	slices.SortFunc(item.SignalDefs, func(a, b signalDef) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Type, b.Type))
	})
	for _, rep := range m.Reports {
		w := rep.Window
		item.Windows = append(item.Windows, lastWindow{
			formatDuration(rep.Size), w.Group.Version, w.Group.Variant.String(), w.Group.Segment, w.Start, w.End, w.State.String(), w.Events, rep.Drifting,
		})
	}
	return sendJSON(w, http.StatusOK, item)
}

func newModelItem(s *Snapshot, m *Model) modelItem {
	item := modelItem{
		Model: m.Model, State: m.Status, Owner: m.Owner, Versions: m.versions(), Traffic: map[string]uint64{}, Drifting: m.drifting(drift.Material, false),
		Started: instant(m.Started), Watermark: instant(m.Watermark), LastEvent: instant(m.MaxTime), LastSeq: m.LastSeq, Overflow: m.Overflow, Detection: newDetectionItem(m.Drift),
	}
	for _, d := range m.Signals {
		if d.Feature {
			item.Features++
		}
	}
	var account drift.ModelAccount
	if s.Account != nil && s.Account.Models[m.Model] != nil {
		account = *s.Account.Models[m.Model]
	}
	for o := drift.Counted; o <= drift.OverLimit; o++ {
		item.Traffic[o.String()] = account[event.Prediction-1][o]
	}
	if m.Baseline != nil {
		b := newBaselineItem(m.Baseline, true)
		item.Baseline = &b
	} else {
		item.Learning = &learningItem{}
		if l := m.Sample; l != nil {
			item.Learning = &learningItem{l.Seen, l.Kept, instant(l.From), instant(l.To)}
		}
	}
	return item
}

// versions lists what of the model has been seen, ascending.
func (m *Model) versions() []versionItem {
	out := []versionItem{}
	groups := slices.Clone(m.Groups)
	slices.SortFunc(groups, func(a, b drift.GroupState) int { return a.Group.Compare(b.Group) }) // the whole before its segments
	for _, g := range groups {
		if len(out) == 0 || out[len(out)-1].Version != g.Group.Version {
			out = append(out, versionItem{Version: g.Group.Version})
		}
		v := &out[len(out)-1]
		name := g.Group.Variant.String()
		if n := len(v.Variants); n == 0 || v.Variants[n-1].Variant != name {
			v.Variants = append(v.Variants, variantItem{Variant: name, Segments: []string{}})
		}
		last := &v.Variants[len(v.Variants)-1]
		if g.Group.Segment != "" {
			last.Segments = append(last.Segments, g.Group.Segment)
			continue
		}
		last.LastSeen = instant(g.LastSeen)
		for _, r := range m.Reports {
			if r.Window.Group == g.Group {
				last.Events = r.Window.Events
				break
			}
		}
	}
	return out
}

// drifting lists the signals that a last closed window of primary or canary
// traffic as a whole gives at least the verdict: material, or minor too. The
// model's outputs are among them unless features alone are wanted.
func (m *Model) drifting(least drift.Verdict, features bool) []string {
	out := []string{}
	for _, r := range m.Reports {
		if r.Window.Group.Segment != "" || r.Window.Group.Variant == event.Shadow {
			continue
		}
		for i := range r.Signals {
			if s := &r.Signals[i]; (s.Verdict == drift.Material || s.Verdict == least) && (s.Feature || !features) {
				out = append(out, s.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *Server) getDrift(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	window, err := s.driftWindow(r, m)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, s.report(window, m, r.text("version"), r.text("variant")))
}

// report tells how far a window moved from the model's reference.
func (s *Server) report(w *drift.Window, m *Model, version, variant string) ReportJSON {
	rep := s.Reader.Compare(w)
	rows := uint64(0)
	if m.Baseline != nil && m.Baseline.ID == rep.Reference {
		if p := m.Baseline.Part(w.Group.Segment); p != nil {
			rows = p.Rows
		}
	}
	out := NewReportJSON(rep, rows)
	out.Window = &WindowJSON{
		Model: m.Model, Version: version, Variant: variant, Segment: w.Group.Segment, Start: w.Start, End: w.End, State: w.State.String(),
		Learning: w.Learning, Reference: rep.Reference, Approved: rep.Approved,
		ErrorRatio: Num(rep.ErrorRatio), LatencyP50: Num(rep.LatencyP50), LatencyP95: Num(rep.LatencyP95), LatencyP99: Num(rep.LatencyP99),
	}
	return out
}

// driftWindow finds the window that /drift is asked about: the one at a time, or
// else the last closed one that had events, or else the open one.
func (s *Server) driftWindow(r *request, m *Model) (*drift.Window, error) {
	q, err := r.groups(m.Model)
	if err != nil {
		return nil, err
	}
	if q.Variants == nil {
		q.Variants = []event.Variant{event.Primary, event.Canary} // what rules on a model see
	}
	if q.Size, err = r.size("window"); err != nil {
		return nil, err
	}
	at, err := r.time("at")
	if err != nil {
		return nil, err
	}
	q.Total = true
	tries := []time.Time{at}
	if at.IsZero() {
		tries = []time.Time{minTime(floorTime(m.Watermark, q.Size).Add(-1), m.MaxTime), m.MaxTime}
	}
	for _, at := range tries {
		q.From = floorTime(at, q.Size)
		q.To = q.From.Add(q.Size)
		windows, err := s.Reader.Windows(q)
		if err != nil {
			return nil, err
		}
		if len(windows) > 0 {
			return windows[0], nil
		}
	}
	return nil, notFound(fmt.Sprintf("model %q has no events from %s to %s; the last one is of %s: set at, variant or version",
		m.Model, q.From.Format(time.RFC3339), q.To.Format(time.RFC3339), m.MaxTime.Format(time.RFC3339)))
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
