package drift

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"driftd.dev/driftd/pkg/event"
)

// eachSignal yields every value that an event gives, by signal name; vectors as
// their norm, what is neither a number nor a category as Invalid. It is the
// plain form of what model.tally does by number; a test holds the two together.
func eachSignal(e *event.Event, yield func(name string, v event.Value)) {
	value := func(name string, v event.Value, vector []float64) {
		switch v.Kind {
		case event.Null:
			return
		case event.Vector:
			v = event.Value{Kind: event.Number, Num: norm(vector)}
		}
		yield(name, v)
	}
	if e.Features != nil {
		for i, name := range e.Features.Names {
			value(featureName(name), e.Values[i], e.Vector(i))
		}
	}
	value(SignalPrediction, e.Prediction, e.PredictionVector())
	number := func(name string, x float64) {
		if !math.IsNaN(x) {
			yield(name, event.Value{Kind: event.Number, Num: x})
		}
	}
	for i, x := range e.ScoreValues {
		number(scoreName(e.Scores.Names[i]), x)
	}
	number(SignalConfidence, e.Confidence)
	number(SignalLatency, e.LatencyMS)
	number(SignalCost, e.Cost)
	failure := NoError
	if e.Failed {
		failure = e.Error
	}
	yield(SignalError, event.Value{Kind: event.Category, Str: failure})
}

// eachVector yields the vectors of an event that are watched as such.
func (m *Multivariate) eachVector(e *event.Event, yield func(feature string, values []float64)) {
	if e.Features == nil {
		return
	}
	for _, name := range m.Vectors {
		if i := slices.Index(e.Features.Names, name); i >= 0 && e.Values[i].Kind == event.Vector {
			yield(name, e.Vector(i))
		}
	}
}

// A row is what a Builder needs of an event.
type row struct {
	names    []string
	values   []event.Value
	segments []event.Segment
	vectors  []rowVector
}

// A rowVector is the vector of one feature.
type rowVector struct {
	name   string
	values []float64
}

func (r *row) reset() { *r = row{r.names[:0], r.values[:0], r.segments[:0], r.vectors[:0]} }

func (r *row) addVector(name string, values []float64) {
	r.vectors = append(r.vectors, rowVector{name, values})
}

func (r *row) add(name string, v event.Value) {
	r.names, r.values = append(r.names, name), append(r.values, v)
}

// appendRow writes a row: key (8 bytes, big-endian), then for each signal that
// the event gives its name, one byte of kind, and the value; then an empty name,
// which no signal has, and the segments. Texts are length-prefixed. Vectors that
// are watched as such stand among the signals, by the feature's name, as their
// length and a float32 for each component.
func appendRow(b []byte, key uint64, e *event.Event, m *Multivariate) []byte {
	b = binary.BigEndian.AppendUint64(b, key)
	eachSignal(e, func(name string, v event.Value) {
		b = append(appendText(b, name), byte(v.Kind))
		if v.Kind == event.Category {
			b = appendText(b, v.Str)
		} else {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(v.Num))
		}
	})
	m.eachVector(e, func(feature string, values []float64) {
		b = append(appendText(b, feature), byte(event.Vector))
		b = binary.AppendUvarint(b, uint64(len(values)))
		for _, x := range values {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
	})
	b = appendText(b, "")
	for _, s := range e.Segments {
		b = appendText(appendText(b, s.Name), s.Value)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errRow = errors.New("damaged row")

// parseRow reads what appendRow wrote.
func parseRow(b []byte, r *row) error {
	r.reset()
	if len(b) < 8 {
		return errRow
	}
	b = b[8:]
	for {
		name, ok := cutText(&b)
		if !ok {
			return errRow
		}
		if name == "" {
			break
		}
		if len(b) == 0 {
			return errRow
		}
		v := event.Value{Kind: event.ValueKind(b[0])}
		b = b[1:]
		if v.Kind == event.Vector {
			values, ok := cutVector(&b)
			if !ok {
				return errRow
			}
			r.addVector(name, values)
			continue
		}
		if v.Kind == event.Category {
			if v.Str, ok = cutText(&b); !ok {
				return errRow
			}
		} else {
			if len(b) < 8 {
				return errRow
			}
			v.Num = math.Float64frombits(binary.BigEndian.Uint64(b))
			b = b[8:]
		}
		r.add(name, v)
	}
	for len(b) > 0 {
		name, ok1 := cutText(&b)
		value, ok2 := cutText(&b)
		if !ok1 || !ok2 {
			return errRow
		}
		r.segments = append(r.segments, event.Segment{Name: name, Value: value})
	}
	return nil
}

func cutVector(b *[]byte) ([]float64, bool) {
	n, k := binary.Uvarint(*b)
	if k <= 0 || n > uint64(len(*b)-k)/4 {
		return nil, false
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.BigEndian.Uint32((*b)[k+4*i:])))
	}
	*b = (*b)[k+4*int(n):]
	return out, true
}

func cutText(b *[]byte) (string, bool) {
	n, k := binary.Uvarint(*b)
	if k <= 0 || n > uint64(len(*b)-k) {
		return "", false
	}
	s := string((*b)[k : k+int(n)])
	*b = (*b)[k+int(n):]
	return s, true
}
