package config

import (
	"slices"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/event"
)

// A ModelSettings is what holds for one model: its entry over the defaults.
type ModelSettings struct {
	Listed         bool // an entry under models matches it
	Owner          string
	Budget         string
	PrimaryMetrics []string
	PositiveLabel  string
	Segments       []Segmentation
	LabelHorizon   Duration
	ExpectedGap    Duration // 0: not known
	Capture        Capture
	Weight         float64            // of the budget, relative to 1
	Weights        map[string]float64 // of features, where they are not 1
	Multivariate   Multivariate
}

// Model returns what holds for the model of this name.
func (c *Config) Model(name string) ModelSettings {
	out := ModelSettings{
		Owner:         c.Defaults.Owner,
		Budget:        c.Defaults.Budget,
		PositiveLabel: c.Defaults.PositiveLabel,
		Segments:      c.Defaults.Segments,
		LabelHorizon:  c.Defaults.LabelHorizon,
		ExpectedGap:   c.Defaults.ExpectedGap,
		Capture:       c.Defaults.Capture,
		Weight:        1,
		Weights:       map[string]float64{},
	}
	out.weigh(c.Features)
	m := c.model(name)
	if m == nil {
		return out
	}
	out.Weight = m.Weight
	out.weigh(m.Features)
	out.Listed, out.PrimaryMetrics = true, m.PrimaryMetrics
	if m.Owner != "" {
		out.Owner = m.Owner
	}
	if m.Budget != "" {
		out.Budget = m.Budget
	}
	if m.PositiveLabel != "" {
		out.PositiveLabel = m.PositiveLabel
	}
	if m.Segments != nil {
		out.Segments = m.Segments
	}
	if m.LabelHorizon != 0 {
		out.LabelHorizon = m.LabelHorizon
	}
	if m.ExpectedGap != 0 {
		out.ExpectedGap = m.ExpectedGap
	}
	if m.Capture != nil {
		out.Capture = *m.Capture
	}
	if m.Multivariate != nil {
		out.Multivariate = *m.Multivariate
	}
	return out
}

func (s *ModelSettings) weigh(features map[string]Feature) {
	for name, f := range features {
		if f.Weight != 1 {
			s.Weights[name] = f.Weight
		} else {
			delete(s.Weights, name)
		}
	}
}

// OnTrial reports whether alerts on a model are recorded and told to nobody.
func (c *Config) OnTrial(model string) bool {
	m := c.model(model)
	return m != nil && m.Notify == alert.NotifyShadow
}

// ExpectsGaps reports whether anything says how long a model may be silent.
func (c *Config) ExpectsGaps() bool {
	return c.Defaults.ExpectedGap > 0 || slices.ContainsFunc(c.Models, func(m Model) bool { return m.ExpectedGap > 0 })
}

// Admits reports whether events of a model are counted: it is listed, or models
// are discovered.
func (c *Config) Admits(model string) bool {
	return c.Discover || c.model(model) != nil
}

// model returns the first entry that matches, nil if none does.
func (c *Config) model(name string) *Model {
	for i := range c.Models {
		if event.Match(c.Models[i].Name, name) {
			return &c.Models[i]
		}
	}
	return nil
}
