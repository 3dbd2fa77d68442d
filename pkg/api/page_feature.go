package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A featurePage is one signal of one window beside its baseline.
type featurePage struct {
	pageHead
	Path, Model, Name       string
	ModelLink, JSON         string
	Absent                  string       // why there is nothing to show
	Window                  *WindowJSON  // nil if it has no events
	Report                  *FeatureJSON // nil: the window does not have the signal
	Bars                    *chart
	Curves                  *curves
	Windows                 []choice
	Earlier, Later, Present string
	Groups                  []groupRow
	MoreGroups              int
}

// A groupRow is the signal in one version, variant or segment of the window.
type groupRow struct {
	Version, Variant, Segment, Link string
	Events                          uint64
	FeatureJSON
}

func (s *Server) getFeaturePage(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	name, path := r.text("name"), modelPath(m.Model)
	switch {
	case name == "":
		return badParameter("name", "", "must name a signal; the page of the model lists them")
	case !m.has(name):
		return notFound(fmt.Sprintf("model %q has no signal %q; its page lists them", m.Model, name))
	}
	here := path + "/feature"
	data := featurePage{
		pageHead: s.head(name+" · "+m.Model, s.Reader.Snapshot()), Path: here, Model: m.Model, Name: name,
		ModelLink: linkTo(path, r.keep("name")...), JSON: linkTo("/api/v1"+path+"/drift", r.keep("name")...),
	}
	for _, size := range s.windowSizes() {
		data.Windows = append(data.Windows, r.choice(here, "window", size, "1h"))
	}
	if r.has("at") {
		data.Present = linkTo(here, r.keep("at")...)
	}
	window, err := s.driftWindow(r, m)
	var p problem
	switch {
	case errors.As(err, &p) && p.Status == http.StatusNotFound:
		data.Absent = p.Detail
	case err != nil:
		return err
	default:
		if err := s.fillFeature(r, &data, m, window); err != nil {
			return err
		}
	}
	return sendPage(w, "feature", &data)
}

// has reports whether the model ever had a signal.
func (m *Model) has(name string) bool {
	known := m.Baseline != nil && slices.ContainsFunc(m.Baseline.Parts, func(p drift.Part) bool { return p.Reference(name) != nil })
	return known || slices.ContainsFunc(m.Signals, func(d drift.SignalDef) bool { return d.Name == name })
}

// fillFeature tells what the window says.
func (s *Server) fillFeature(r *request, data *featurePage, m *Model, window *drift.Window) error {
	report := s.report(window, m, r.text("version"), r.text("variant"))
	data.Window = report.Window
	for i := range report.Features {
		if f := &report.Features[i]; f.Name == data.Name {
			data.Report = f
		}
	}
	if data.Report == nil {
		data.Absent = "no event of this window has the signal"
	}
	if m.Baseline != nil {
		if part, now := m.Baseline.Part(window.Group.Segment), window.Signal(data.Name); part != nil && now != nil {
			data.Bars, data.Curves = newChart(part.Reference(data.Name), now), newCurves(part.Reference(data.Name), now)
		}
	}
	at := func(t time.Time) string {
		return linkTo(data.Path, append(r.keep("at"), "at", t.Format(time.RFC3339))...)
	}
	data.Earlier = at(window.Start.Add(-window.End.Sub(window.Start)))
	if window.End.Before(m.MaxTime) {
		data.Later = at(window.End)
	}
	return s.featureGroups(r, data, window)
}

// featureGroups tells the signal by version and variant, and by segment.
func (s *Server) featureGroups(r *request, data *featurePage, window *drift.Window) error {
	windows, err := s.Reader.Windows(Query{Model: data.Model, From: window.Start, To: window.End, Size: window.End.Sub(window.Start), Segments: true})
	if err != nil {
		return err
	}
	for _, w := range windows {
		signal := w.Signal(data.Name)
		if signal == nil {
			continue
		}
		if len(data.Groups) == pageRows/2 {
			data.MoreGroups++
			continue
		}
		only := *w // to compare one signal, not all
		only.Signals = []drift.Signal{*signal}
		g := w.Group
		row := groupRow{Version: g.Version, Variant: g.Variant.String(), Segment: g.Segment, Events: w.Events}
		row.Link = linkTo(data.Path, append(r.keep("version", "variant", "segment"), "version", g.Version, "variant", row.Variant, "segment", g.Segment)...)
		for _, sr := range s.Reader.Compare(&only).Signals {
			if sr.Name == data.Name {
				row.FeatureJSON = NewFeatureJSON(sr)
			}
		}
		data.Groups = append(data.Groups, row)
	}
	return nil
}

// Selection says in words what of the model's traffic is shown.
func (p *featurePage) Selection() string {
	words := []string{"all versions"}
	if p.Window.Version != "" {
		words[0] = "version " + p.Window.Version
	}
	if p.Window.Variant != "" {
		words = append(words, p.Window.Variant)
	} else {
		words = append(words, event.Primary.String()+" and "+event.Canary.String())
	}
	if p.Window.Segment != "" {
		words = append(words, "segment "+p.Window.Segment)
	}
	return strings.Join(words, ", ")
}
