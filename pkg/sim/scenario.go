package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// Scenario is what happens: who answers, and what goes wrong when. It is plain
// data; New checks it.
type Scenario struct {
	Name       string
	Start      time.Time
	Length     time.Duration // 0 = without end
	Models     []Model
	Injections []Injection
}

// Model is one model's traffic.
type Model struct {
	Name     string
	Rate     float64 // predictions per second of event time, all versions together
	Even     bool    // evenly spaced instead of Poisson arrivals
	Versions []Version
	Features []Feature
	Segments []Feature // categorical: one segment each
	Score    Score
	Outcomes []Outcome
	Entities int // number of different entity ids, 0 = none
	Traced   bool
}

// Version answers a share of its model's traffic.
type Version struct {
	Name      string
	Variant   event.Variant
	Share     float64 // of the traffic; the shares of a model need not add up to 1
	Latency   Dist    // ms, nil = absent
	ErrorRate float64
	Cost      Dist // nil = absent
}

// Feature is an input of a model: Dist makes it numeric, Categories categorical.
type Feature struct {
	Name       string
	Dist       Dist
	Categories []Category
	Missing    float64 // share of nulls
	Unit       float64 // numbers are rounded to 1/Unit, as services log them (100 = cents); 0 = as drawn
}

// Category is a value of a categorical feature. "true" and "false" are written as
// JSON booleans are read.
type Category struct {
	Name   string
	Weight float64
}

// Score says how a model answers: z = Bias + sum of Weight*(x-Center)/Scale + noise
// over the numeric features (missing ones add nothing), p = 1/(1+exp(-z)).
type Score struct {
	Negative, Positive string // classes; both empty = no scores and no prediction
	Bias, Noise        float64
	Weights            []Weight
	Threshold          float64 // p from which the prediction is Positive; 0 = 0.5
	Confidence         bool    // report the larger of p and 1-p
}

// Weight is a feature's part in the score.
type Weight struct {
	Feature               string
	Weight, Center, Scale float64
}

// Outcome says what comes back about a prediction, later.
type Outcome struct {
	Name  string  // "label": the true class, Positive with probability p; else a value of 1 or -1
	Share float64 // of the predictions that get it
	Delay Dist    // seconds
	Up    float64 // of a value: probability of 1, raised or lowered by confidence - 0.75
}

// Effect is what an injection does.
type Effect uint8

// The effects. Feature effects name a Feature; traffic effects may name a Version.
const (
	Factor       Effect = iota + 1 // the feature times Amount
	Shift                          // the feature plus Amount standard deviations
	DropCategory                   // Category disappears; the others take its share
	NewCategory                    // Category appears in a share of Amount
	Nulls                          // a share of Amount is null
	Infinities                     // a share of Amount is infinite, as an overflowing literal is read
	Errors                         // a share of Amount fails
	Latency                        // latency times Amount
	ScoreShift                     // Amount is added to the score's z
	Silence                        // no events
)

var effectNames = [...]string{"", "factor", "shift", "drop_category", "new_category", "nulls", "infinities", "errors", "latency", "score_shift", "silence"}

// String returns the effect's name.
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return "unknown"
}

func (e Effect) onFeature() bool { return e >= Factor && e <= Infinities }

// Injection is a fault with a beginning and an end.
type Injection struct {
	Model    string
	Version  string // "" = all
	Feature  string // of a feature effect
	Segment  event.Segment
	Effect   Effect
	Amount   float64
	Category string
	From, To time.Duration // since the start: From <= t < To; To 0 = to the end
	Say      string        // what the demo says when it begins
}

// Model returns a model by name, nil if there is none.
func (s *Scenario) Model(name string) *Model {
	for i := range s.Models {
		if s.Models[i].Name == name {
			return &s.Models[i]
		}
	}
	return nil
}

// Validate reports every fault of the scenario.
func (s *Scenario) Validate() error {
	var errs []error
	if s.Start.IsZero() {
		errs = append(errs, errors.New("start is missing"))
	}
	if len(s.Models) == 0 {
		errs = append(errs, errors.New("no models"))
	}
	seen := map[string]bool{}
	for i := range s.Models {
		m := &s.Models[i]
		if m.Name == "" || seen[m.Name] {
			errs = append(errs, fmt.Errorf("model %d: name %q is empty or taken", i, m.Name))
		}
		seen[m.Name] = true
		for _, err := range m.faults() {
			errs = append(errs, fmt.Errorf("model %s: %w", m.Name, err))
		}
	}
	for i := range s.Injections {
		if err := s.checkInjection(&s.Injections[i]); err != nil {
			errs = append(errs, fmt.Errorf("injection %d (%s on %s): %w", i, s.Injections[i].Effect, s.Injections[i].Model, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Model) faults() (errs []error) {
	add := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	add("rate", positive("events per second", m.Rate))
	if len(m.Versions) == 0 {
		errs = append(errs, errors.New("no versions"))
	}
	for _, v := range m.Versions {
		add("version "+v.Name, errors.Join(positive("share", v.Share), share("error rate", v.ErrorRate), optional(v.Latency), optional(v.Cost)))
	}
	for _, f := range slices.Concat(m.Features, m.Segments) {
		add("feature "+f.Name, f.fault())
	}
	for _, f := range m.Segments {
		if f.Dist != nil {
			add("segment "+f.Name, errors.New("must be categorical"))
		}
	}
	for _, w := range m.Score.Weights {
		if i := m.feature(w.Feature); i < 0 || m.Features[i].Dist == nil {
			add("score", fmt.Errorf("no numeric feature %q", w.Feature))
		}
		add("score weight of "+w.Feature, positive("scale", w.Scale))
	}
	for _, o := range m.Outcomes {
		add("outcome "+o.Name, errors.Join(share("share", o.Share), share("up", o.Up), validDist(o.Delay)))
	}
	return errs
}

func optional(d Dist) error {
	if d == nil {
		return nil
	}
	return d.valid()
}

func (f *Feature) fault() error {
	if err := share("missing", f.Missing); err != nil {
		return err
	}
	if f.Dist != nil {
		return f.Dist.valid()
	}
	if len(f.Categories) == 0 {
		return errors.New("has neither a distribution nor categories")
	}
	for _, c := range f.Categories {
		if err := positive("weight of "+c.Name, c.Weight); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) feature(name string) int {
	return slices.IndexFunc(m.Features, func(f Feature) bool { return f.Name == name })
}

func (s *Scenario) checkInjection(j *Injection) error {
	m := s.Model(j.Model)
	switch {
	case m == nil:
		return fmt.Errorf("no model %q", j.Model)
	case j.To != 0 && j.To <= j.From || j.From < 0:
		return fmt.Errorf("from %s to %s is no time", j.From, j.To)
	case j.Version != "" && !slices.ContainsFunc(m.Versions, func(v Version) bool { return v.Name == j.Version }):
		return fmt.Errorf("no version %q", j.Version)
	case j.Effect < Factor || j.Effect > Silence:
		return fmt.Errorf("unknown effect %d", j.Effect)
	case j.Effect == Nulls || j.Effect == Infinities || j.Effect == NewCategory || j.Effect == Errors:
		if err := share("amount", j.Amount); err != nil {
			return err
		}
	}
	if !j.Effect.onFeature() {
		return nil
	}
	i := m.feature(j.Feature)
	if i < 0 {
		return fmt.Errorf("no feature %q", j.Feature)
	}
	return m.Features[i].checkEffect(j)
}

func (f *Feature) checkEffect(j *Injection) error {
	switch j.Effect {
	case Factor, Shift, Infinities:
		if f.Dist == nil {
			return fmt.Errorf("feature %q is not numeric", f.Name)
		}
	case DropCategory:
		if len(f.Categories) < 2 || !slices.ContainsFunc(f.Categories, func(c Category) bool { return c.Name == j.Category }) {
			return fmt.Errorf("feature %q has no category %q that others could replace", f.Name, j.Category)
		}
	case NewCategory:
		if f.Dist != nil || j.Category == "" {
			return fmt.Errorf("feature %q is not categorical, or no category is named", f.Name)
		}
	}
	return nil
}
