package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// An Event is a Prediction, an Outcome or a KPI.
type Event interface {
	// head is what the subject and the id are made of.
	head() event.Event
	check() error
}

// Variants of a model under one name.
const (
	Primary = "primary" // or ""
	Canary  = "canary"
	Shadow  = "shadow"
)

// A Prediction is one answer of a model. ID, Model, and Features or Prediction
// are required.
type Prediction struct {
	ID       string             `json:"id"` // unique per model, for as long as outcomes may come
	Time     time.Time          `json:"time,omitzero"`
	Model    string             `json:"model"`
	Version  string             `json:"model_version,omitempty"`
	Variant  string             `json:"variant,omitempty"`
	Features map[string]any     `json:"features,omitempty"`   // numbers, texts, bools, []float64; nil and NaN are missing
	Answer   any                `json:"prediction,omitempty"` // a text is a class, a number a regression
	Scores   map[string]float64 `json:"scores,omitempty"`     // of each class

	Confidence *float64          `json:"confidence,omitempty"`
	LatencyMS  *float64          `json:"latency_ms,omitempty"`
	Cost       *float64          `json:"cost,omitempty"`
	Error      string            `json:"error,omitempty"` // why there is no answer
	EntityID   string            `json:"entity_id,omitempty"`
	TraceID    string            `json:"trace_id,omitempty"`
	Segments   map[string]string `json:"segments,omitempty"`
}

// MarshalJSON writes features that are NaN as null, which JSON has.
func (p Prediction) MarshalJSON() ([]byte, error) {
	type plain Prediction
	missing := false
	for _, v := range p.Features {
		missing = missing || isNaN(v)
	}
	if missing {
		p.Features = maps.Clone(p.Features) // the caller's stays as it is
		for name, v := range p.Features {
			if isNaN(v) {
				p.Features[name] = nil
			}
		}
	}
	return json.Marshal(plain(p))
}

func isNaN(v any) bool {
	switch x := v.(type) {
	case float64:
		return math.IsNaN(x)
	case float32:
		return math.IsNaN(float64(x))
	}
	return false
}

// An Outcome tells what became of a prediction. Name, Label or Value, and
// PredictionID or EntityID are required.
type Outcome struct {
	ID           string    `json:"id"` // unique
	Time         time.Time `json:"time,omitzero"`
	PredictionID string    `json:"prediction_id,omitempty"`
	EntityID     string    `json:"entity_id,omitempty"`
	Model        string    `json:"model,omitempty"`
	Name         string    `json:"name"`            // label, thumbs, correction, or any signal of behaviour
	Label        any       `json:"label,omitempty"` // the true class or number
	Value        *float64  `json:"value,omitempty"`
	Source       string    `json:"source,omitempty"` // HUMAN, CODE, LLM or SYSTEM
	Annotator    string    `json:"annotator,omitempty"`
	Explanation  string    `json:"explanation,omitempty"`
}

// A KPI is a number that the business watches. Name is required.
type KPI struct {
	ID       string    `json:"id"` // unique
	Time     time.Time `json:"time,omitzero"`
	Name     string    `json:"name"`
	Value    float64   `json:"value"`
	Model    string    `json:"model,omitempty"`
	Version  string    `json:"model_version,omitempty"`
	Variant  string    `json:"variant,omitempty"`
	EntityID string    `json:"entity_id,omitempty"`
	Cost     *float64  `json:"cost,omitempty"`
	Currency string    `json:"currency,omitempty"`
}

func (p Prediction) head() event.Event {
	e := event.New(event.Prediction)
	e.ID, e.Model, e.Version = p.ID, p.Model, p.Version
	return e
}

func (o Outcome) head() event.Event {
	e := event.New(event.Outcome)
	e.ID, e.Model = o.ID, o.Model
	return e
}

func (k KPI) head() event.Event {
	e := event.New(event.KPI)
	e.ID, e.Name, e.Model = k.ID, k.Name, k.Model
	return e
}

func (p Prediction) check() error {
	switch {
	case p.ID == "" || p.Model == "":
		return errors.New("a prediction needs ID and Model")
	case p.Features == nil && p.Answer == nil:
		return errors.New("a prediction needs Features or Answer")
	}
	return variant(p.Variant)
}

func (o Outcome) check() error {
	switch {
	case o.ID == "" || o.Name == "":
		return errors.New("an outcome needs ID and Name")
	case o.PredictionID == "" && o.EntityID == "":
		return errors.New("an outcome needs PredictionID or EntityID")
	case o.Label == nil && o.Value == nil:
		return errors.New("an outcome needs Label or Value")
	}
	return nil
}

func (k KPI) check() error {
	if k.ID == "" || k.Name == "" {
		return errors.New("a KPI needs ID and Name")
	}
	return variant(k.Variant)
}

func variant(name string) error {
	if _, ok := event.ParseVariant(name); name != "" && !ok {
		return fmt.Errorf("the variant %q is none of %s, %s, %s", name, Primary, Canary, Shadow)
	}
	return nil
}
