package drift

import (
	"encoding/binary"
	"errors"
	"math"

	"driftd.dev/driftd/pkg/event"
)

// eachSignal yields every value that an event gives, by signal name. It is the
// plain form of what model.tally does by index; a test holds the two together.
func eachSignal(e *event.Event, yield func(name string, feature bool, v event.Value)) {
	if e.Features != nil {
		for i, name := range e.Features.Names {
			v := e.Values[i]
			if v.Kind == event.Vector {
				v = event.Value{Kind: event.Number, Num: norm(e.Vector(i))}
			}
			if v.Kind == event.Number || v.Kind == event.Category {
				yield(featureName(name), true, v)
			}
		}
	}
	switch e.Prediction.Kind {
	case event.Number, event.Category:
		yield(SignalPrediction, false, e.Prediction)
	case event.Vector:
		yield(SignalPrediction, false, event.Value{Kind: event.Number, Num: norm(e.PredictionVector())})
	}
	number := func(name string, x float64) {
		if !math.IsNaN(x) {
			yield(name, false, event.Value{Kind: event.Number, Num: x})
		}
	}
	if e.Scores != nil {
		for i, class := range e.Scores.Names {
			number(scoreName(class), e.ScoreValues[i])
		}
	}
	number(SignalConfidence, e.Confidence)
	number(SignalLatency, e.LatencyMS)
	number(SignalCost, e.Cost)
	failure := NoError
	if e.Failed {
		failure = e.Error
	}
	yield(SignalError, false, event.Value{Kind: event.Category, Str: failure})
}

// A row of a sample, read back: what a Builder needs of an event.
type row struct {
	names    []string
	features []bool
	values   []event.Value
	segments []event.Segment
}

var errRow = errors.New("damaged row")

// parseRow reads what appendRow wrote.
func parseRow(b []byte, r *row) error {
	*r = row{names: r.names[:0], features: r.features[:0], values: r.values[:0], segments: r.segments[:0]}
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
		kind := b[0]
		b = b[1:]
		v := event.Value{Kind: event.ValueKind(kind & 0x7f)}
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
		r.names, r.features, r.values = append(r.names, name), append(r.features, kind&0x80 != 0), append(r.values, v)
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

func cutText(b *[]byte) (string, bool) {
	n, k := binary.Uvarint(*b)
	if k <= 0 || n > uint64(len(*b)-k) {
		return "", false
	}
	s := string((*b)[k : k+int(n)])
	*b = (*b)[k+int(n):]
	return s, true
}
