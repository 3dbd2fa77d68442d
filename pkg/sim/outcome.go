package sim

import (
	"math"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// outcome is one that is still to come.
type outcome struct {
	at                          int64
	id, prediction, model, name string
	version, label, source      string
	variant                     event.Variant
	value                       float64
}

// outcomes draws what will come back about a prediction.
func (s *Stream) outcomes(m *modelStream, e *event.Event) {
	for i := range m.spec.Outcomes {
		o := &m.spec.Outcomes[i]
		given, truth, delay := m.late.Float64() < o.Share, m.late.Float64(), o.Delay.Sample(m.late)
		if !given || e.Failed {
			continue
		}
		out := outcome{
			at: e.Time + max(1, int64(delay*float64(time.Second))), name: o.Name, model: e.Model,
			id: e.ID + "-" + o.Name, prediction: e.ID, version: e.Version, variant: e.Variant, source: "HUMAN",
		}
		if o.Name == "label" {
			out.value, out.label = 0, m.spec.Score.Negative
			if len(e.ScoreValues) > 0 && truth < e.ScoreValues[0] {
				out.value, out.label = 1, m.spec.Score.Positive
			}
		} else {
			up := o.Up
			if !math.IsNaN(e.Confidence) {
				up += e.Confidence - 0.75
			}
			out.value = -1
			if truth < up {
				out.value = 1
			}
		}
		s.pending.push(out)
	}
}

func (o *outcome) fill(e *event.Event) {
	values, scores, segments := e.Values[:0], e.ScoreValues[:0], e.Segments[:0]
	*e = event.New(event.Outcome)
	e.Values, e.ScoreValues, e.Segments = values, scores, segments
	e.ID, e.Model, e.Version, e.Variant, e.Time = o.id, o.model, o.version, o.variant, o.at
	e.PredictionID, e.Name, e.Source, e.Value = o.prediction, o.name, o.source, o.value
	if o.label != "" {
		e.Label = event.Cat(o.label)
	}
}

// pending is a binary heap of outcomes, the earliest first.
type pending []outcome

func (p pending) less(i, j int) bool {
	a, b := &p[i], &p[j]
	if a.at != b.at {
		return a.at < b.at
	}
	return a.id < b.id
}

func (p *pending) push(o outcome) {
	*p = append(*p, o)
	h := *p
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (p *pending) pop() outcome {
	h := *p
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], outcome{}
	h = h[:last]
	*p = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return top
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
