package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A baselineItem is one baseline of /api/v1/baselines.
type baselineItem struct {
	ID      string          `json:"id"`
	Model   string          `json:"model"`
	Version string          `json:"version"` // "" for every version
	State   string          `json:"state"`   // "frozen" or "approved"
	Active  bool            `json:"active"`  // what the model is compared with now
	Rows    uint64          `json:"rows"`
	Signals int             `json:"signals"`
	Origin  originItem      `json:"origin"`
	Parts   []partItem      `json:"parts"`
	Summary []referenceItem `json:"summary,omitempty"` // of a single baseline: its signals

	Projections []projectionItem `json:"projections,omitempty"`
}

// A projectionItem says what is watched together: the signals pca.*.
type projectionItem struct {
	Feature      string   `json:"feature"`          // a vector feature, "" for a group of numbers
	Inputs       []string `json:"inputs,omitempty"` // of a group
	Components   int      `json:"components"`
	Axes         int      `json:"axes"`          // principal axes kept
	VarianceKept Num      `json:"variance_kept"` // share of the variance along them; the rest is seen as an amount only
}

type originItem struct {
	Kind   string     `json:"kind"` // "import", "capture", "version" or "auto"
	Source string     `json:"source"`
	Digest string     `json:"digest"`
	Actor  string     `json:"actor"`
	From   *time.Time `json:"from"`
	To     *time.Time `json:"to"`
	Rows   uint64     `json:"rows"`
}

type partItem struct {
	Segment string `json:"segment"`
	Rows    uint64 `json:"rows"`
}

type referenceItem struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Feature    bool   `json:"feature"`
	Values     uint64 `json:"values"`
	Missing    uint64 `json:"missing"`
	NonFinite  uint64 `json:"non_finite"`
	Min        Num    `json:"min"`
	Max        Num    `json:"max"`
	Mean       Num    `json:"mean"`
	Bins       int    `json:"bins"`       // of a numeric signal
	Categories int    `json:"categories"` // counted by name, of a categorical one
}

func newBaselineItem(b *drift.Baseline, active bool) baselineItem {
	o := b.Origin
	item := baselineItem{
		ID: b.ID, Model: b.Model, Version: b.Version, State: string(b.State), Active: active,
		Origin: originItem{o.Kind, o.Source, o.Digest, o.Actor, instant(o.From), instant(o.To), o.Rows}, Parts: []partItem{},
	}
	for _, p := range b.Parts {
		item.Parts = append(item.Parts, partItem{p.Segment, p.Rows})
	}
	for _, p := range b.Projections() {
		item.Projections = append(item.Projections, projectionItem{p.Feature, p.Inputs, p.Axes.Dim(), p.Axes.Axes(), Num(p.Axes.Kept())})
	}
	if len(b.Parts) > 0 {
		item.Rows, item.Signals = b.Parts[0].Rows, len(b.Parts[0].Signals)
	}
	return item
}

func newReferenceItem(r *drift.Reference) referenceItem {
	nan := Num(nan())
	item := referenceItem{
		Name: r.Name, Type: r.Type.String(), Feature: r.Feature, Values: r.Values(), Missing: r.Missing, NonFinite: r.NonFinite(),
		Min: nan, Max: nan, Mean: nan,
	}
	if r.Type == drift.Categorical {
		item.Categories = len(r.Categorical.Dict.Categories)
		return item
	}
	item.Bins = r.Numeric.Edges.Bins()
	if r.Numeric.N > 0 {
		item.Min, item.Max, item.Mean = Num(r.Numeric.Min), Num(r.Numeric.Max), Num(r.Numeric.Mean)
	}
	return item
}

// active returns the ids of the baselines that models are compared with.
func (s *Snapshot) active() map[string]bool {
	ids := map[string]bool{}
	for i := range s.Models {
		if b := s.Models[i].Baseline; b != nil {
			ids[b.ID] = true
		}
	}
	return ids
}

func (s *Server) getBaselines(w http.ResponseWriter, r *request) error {
	all, err := s.Reader.Baselines()
	if err != nil {
		return err
	}
	active, items := s.Reader.Snapshot().active(), []baselineItem{}
	for _, b := range all {
		if model := r.text("model"); model == "" || model == b.Model {
			items = append(items, newBaselineItem(b, active[b.ID]))
		}
	}
	return sendJSON(w, http.StatusOK, newList(items, ""))
}

// baseline finds the baseline that a path names.
func (s *Server) baseline(r *request) (*drift.Baseline, error) {
	id := r.PathValue("id")
	var b *drift.Baseline
	err := ErrNotFound
	if baselineID.MatchString(id) {
		b, err = s.Reader.Baseline(id)
	}
	if errors.Is(err, ErrNotFound) {
		return nil, notFound(fmt.Sprintf("there is no baseline %q; /api/v1/baselines lists them", id))
	}
	return b, err
}

func (s *Server) getBaseline(w http.ResponseWriter, r *request) error {
	full, err := r.flag("full")
	if err != nil {
		return err
	}
	b, err := s.baseline(r)
	if err != nil {
		return err
	}
	if full {
		body, err := EncodeBaseline(b)
		if err != nil {
			return err
		}
		return sendText(w, "application/json", append(body, '\n'))
	}
	item := newBaselineItem(b, s.Reader.Snapshot().active()[b.ID])
	for i := range b.Parts[0].Signals {
		item.Summary = append(item.Summary, newReferenceItem(&b.Parts[0].Signals[i]))
	}
	return sendJSON(w, http.StatusOK, item)
}

// importBaseline makes a baseline that a client built the reference of its
// model. Doing it again changes nothing.
func (s *Server) importBaseline(r *request, body []byte) (int, any, error) {
	b, h, err := DecodeImport(body)
	if err != nil {
		return 0, nil, problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if m := s.Reader.Snapshot().model(b.Model); m != nil && m.Baseline != nil && m.Baseline.ID == b.ID {
		have, err := EncodeBaseline(m.Baseline)
		if err != nil {
			return 0, nil, err
		}
		if want, err := EncodeBaseline(b); err == nil && h == nil && bytes.Equal(have, want) {
			return http.StatusOK, newBaselineItem(b, true), nil
		}
	}
	if err := s.Commander.ImportBaseline(r.Context(), b, h, r.actor()); err != nil {
		return 0, nil, commandProblem(err)
	}
	return http.StatusCreated, newBaselineItem(b, true), nil
}

func (s *Server) approveBaseline(r *request, _ []byte) (int, any, error) {
	b, err := s.baseline(r)
	if err != nil {
		return 0, nil, err
	}
	if err := s.Commander.ApproveBaseline(r.Context(), b.ID, r.actor()); err != nil {
		return 0, nil, commandProblem(err)
	}
	approved := *b
	approved.State = drift.Approved
	return http.StatusOK, newBaselineItem(&approved, s.Reader.Snapshot().active()[b.ID]), nil
}

// captureBody is the body of POST /api/v1/baselines/capture.
type captureBody struct {
	Model   string `json:"model"`
	Version string `json:"version,omitempty"` // "" for all
	From    string `json:"from"`              // as a query's times
	To      string `json:"to"`
}

func (s *Server) captureBaseline(r *request, body []byte) (int, any, error) {
	var in captureBody
	if err := decodeBody(body, &in); err != nil {
		return 0, nil, err
	}
	c := Capture{Model: in.Model, Version: in.Version}
	if in.Model == "" {
		return 0, nil, badParameter("model", "", "must name a model")
	}
	var err error
	if c.From, err = parseTime(in.From, r.now); err != nil {
		return 0, nil, badParameter("from", in.From, err.Error())
	}
	if c.To, err = parseTime(in.To, r.now); err != nil {
		return 0, nil, badParameter("to", in.To, err.Error())
	}
	if whole := func(t time.Time) bool { return t.Equal(drift.WindowStart(t, s.Pane)) }; !(whole(c.From) && whole(c.To)) {
		return 0, nil, badParameter("from", in.From, "and to must be multiples of "+formatDuration(s.Pane))
	}
	if !c.From.Before(c.To) {
		return 0, nil, badParameter("to", in.To, "must be after from")
	}
	b, err := s.Commander.CaptureBaseline(r.Context(), c, r.actor())
	if err != nil {
		return 0, nil, commandProblem(err)
	}
	return http.StatusCreated, newBaselineItem(b, true), nil
}
