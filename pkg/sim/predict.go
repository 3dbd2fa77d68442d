package sim

import (
	"math"
	"slices"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// active reports whether the injection works at a time since the start.
func (j *Injection) active(elapsed time.Duration) bool {
	return elapsed >= j.From && (j.To == 0 || elapsed < j.To)
}

// touches reports whether it concerns the version and the segments of e.
func (j *Injection) touches(e *event.Event) bool {
	if j.Version != "" && j.Version != e.Version {
		return false
	}
	if j.Segment.Name == "" {
		return true
	}
	return slices.Contains(e.Segments, j.Segment)
}

// predict fills e with one prediction and reports that silence swallows it. The
// same amount of chance is used whatever is injected.
func (m *modelStream) predict(e *event.Event, at, elapsed int64, live bool) (silent bool) {
	values, scores, segments := e.Values[:0], e.ScoreValues[:0], e.Segments[:0]
	*e = event.New(event.Prediction)
	e.ID, e.Model, e.Time = m.id(live), m.spec.Name, at
	v := &m.versions[m.routed(pick(m.shares, m.traffic.Float64()), at)]
	e.Version, e.Variant = v.Name, v.Variant
	if n := m.spec.Entities; n > 0 {
		e.EntityID = m.spec.Name + "-user-" + strconv.Itoa(m.traffic.IntN(n))
	}
	if m.spec.Traced {
		e.TraceID = hex16(m.traffic.Uint64()) + hex16(m.traffic.Uint64())
	}
	for _, s := range m.segments {
		segments = append(segments, event.Segment{Name: s.spec.Name, Value: s.spec.Categories[pick(s.sums, s.rng.Float64())].Name})
	}
	e.Segments = segments
	e.Features = m.shape
	for _, f := range m.features {
		values = append(values, f.draw(e, time.Duration(elapsed)))
	}
	e.Values, e.ScoreValues = values, scores
	return m.respond(e, v, time.Duration(elapsed))
}

// draw returns a feature's value with its injections applied in their order.
func (f *featureStream) draw(e *event.Event, elapsed time.Duration) event.Value {
	gone, odd := f.rng.Float64(), f.rng.Float64()
	missing := f.spec.Missing
	var x, u float64
	if f.spec.Dist != nil {
		x = f.spec.Dist.Sample(f.rng)
	} else {
		u = f.rng.Float64()
	}
	sums, other := f.sums, ""
	for i := range f.faults {
		j := &f.faults[i]
		if elapsed < 0 || !j.active(elapsed) || !j.touches(e) {
			continue
		}
		switch j.Effect {
		case Factor:
			x *= j.Amount
		case Shift:
			x += j.Amount * f.spec.Dist.SD()
		case DropCategory:
			sums = j.sums
		case NewCategory:
			if odd < j.Amount {
				other = j.Category
			}
		case Nulls:
			missing = max(missing, j.Amount)
		case Infinities:
			if odd < j.Amount {
				x = math.Inf(1)
			}
		}
	}
	switch {
	case gone < missing:
		return event.Value{}
	case f.spec.Dist != nil && f.spec.Unit > 0:
		return event.Num(round(x, f.spec.Unit))
	case f.spec.Dist != nil:
		return event.Num(x)
	case other != "":
		return event.Cat(other)
	}
	return event.Cat(f.spec.Categories[pick(sums, u)].Name)
}

// respond fills in what the version answered.
func (m *modelStream) respond(e *event.Event, v *Version, elapsed time.Duration) (silent bool) {
	noise, fails := m.answer.NormFloat64(), m.answer.Float64()
	slow, errors, shift := 1.0, v.ErrorRate, 0.0
	for i := range m.faults {
		j := &m.faults[i]
		if elapsed < 0 || !j.active(elapsed) || !j.touches(e) {
			continue
		}
		switch j.Effect {
		case Errors:
			errors = max(errors, j.Amount)
		case Latency:
			slow *= j.Amount
		case ScoreShift:
			shift += j.Amount
		case Silence:
			silent = true
		}
	}
	if v.Latency != nil {
		e.LatencyMS = round(slow*v.Latency.Sample(m.answer), 1e2)
	}
	if v.Cost != nil {
		e.Cost = round(v.Cost.Sample(m.answer), 1e6)
	}
	if fails < errors { // a failed answer has no scores
		e.Failed, e.Error = true, "upstream timeout"
		return silent
	}
	if m.scores != nil {
		m.score(e, m.spec.Score.Noise*noise+shift)
	}
	return silent
}

func (m *modelStream) score(e *event.Event, extra float64) {
	sc := &m.spec.Score
	z := sc.Bias + extra
	for _, w := range m.weights {
		if v := &e.Values[w.index]; v.Kind == event.Number {
			z += w.slope * (v.Num - w.center)
		}
	}
	p := round(1/(1+math.Exp(-z)), 1e6)
	threshold := sc.Threshold
	if threshold == 0 {
		threshold = 0.5
	}
	e.Scores = m.scores
	e.ScoreValues = append(e.ScoreValues, p, round(1-p, 1e6))
	e.Prediction = event.Cat(sc.Negative)
	if p >= threshold {
		e.Prediction = event.Cat(sc.Positive)
	}
	if sc.Confidence {
		e.Confidence = max(e.ScoreValues[0], e.ScoreValues[1])
	}
}

// round keeps the digits that a service would log: 1/unit is the last one.
func round(x, unit float64) float64 { return math.Round(x*unit) / unit }

func hex16(u uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[u>>(60-4*i)&15]
	}
	return string(b[:])
}
