package event

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends an Event in the form of the contract, one JSON object
// without a line break, and returns the longer slice. Absent fields are left
// out; what it wrote decodes to an equal Event, save that the identity of a row
// becomes an id of its own (id#row) and that what the Policy dropped is gone.
//
// Special cases are: ±Inf is written as ±1e999, which decodes to ±Inf. Invalid
// is written as {}. NaN among scores is null. A Vector without components in
// e.Vectors is [].
func AppendJSON(dst []byte, e *Event) []byte {
	w := writer{append(dst, '{')}
	if e.ID != "" {
		w.key("id")
		if e.Row >= 0 {
			w.str(e.ID + "#" + strconv.Itoa(int(e.Row)))
		} else {
			w.str(e.ID)
		}
	}
	if e.Time != 0 {
		w.key("time")
		w.dst = append(w.dst, '"')
		w.dst = time.Unix(0, e.Time).UTC().AppendFormat(w.dst, time.RFC3339Nano)
		w.dst = append(w.dst, '"')
	}
	w.text("prediction_id", e.PredictionID)
	w.text("model", e.Model)
	w.text("model_version", e.Version)
	if e.Variant != Primary {
		w.text("variant", e.Variant.String())
	}
	w.features(e)
	w.value("prediction", e.Prediction, e.PredictionVector())
	w.scores(e)
	w.num("confidence", e.Confidence)
	w.num("latency_ms", e.LatencyMS)
	w.failure(e)
	w.text("name", e.Name)
	w.value("label", e.Label, nil)
	w.num("value", e.Value)
	w.text("source", e.Source)
	w.text("annotator", e.Annotator)
	w.text("explanation", e.Explanation)
	w.text("entity_id", e.EntityID)
	w.num("cost", e.Cost)
	w.text("currency", e.Currency)
	w.segments(e)
	w.text("trace_id", e.TraceID)
	return append(w.dst, '}')
}

// writer appends the members of an object.
type writer struct{ dst []byte }

func (w *writer) key(name string) {
	if w.dst[len(w.dst)-1] != '{' {
		w.dst = append(w.dst, ',')
	}
	w.str(name)
	w.dst = append(w.dst, ':')
}

func (w *writer) str(s string) { w.dst = AppendString(w.dst, s) }

func (w *writer) text(name, s string) {
	if s != "" {
		w.key(name)
		w.str(s)
	}
}

func (w *writer) num(name string, x float64) {
	if !math.IsNaN(x) {
		w.key(name)
		w.dst = AppendNumber(w.dst, x)
	}
}

func (w *writer) value(name string, v Value, vector []float64) {
	if v.Kind != Null {
		w.key(name)
		w.bare(v, vector)
	}
}

func (w *writer) bare(v Value, vector []float64) {
	switch v.Kind {
	case Null:
		w.dst = append(w.dst, "null"...)
	case Number:
		w.dst = AppendNumber(w.dst, v.Num)
	case Category:
		w.str(v.Str)
	case Vector:
		w.dst = append(w.dst, '[')
		for i, x := range vector {
			if i > 0 {
				w.dst = append(w.dst, ',')
			}
			w.dst = AppendNumber(w.dst, x)
		}
		w.dst = append(w.dst, ']')
	default:
		w.dst = append(w.dst, "{}"...)
	}
}

func (w *writer) features(e *Event) {
	if e.Features == nil {
		return
	}
	w.key("features")
	w.dst = append(w.dst, '{')
	vectors := e.Vectors
	for i, name := range e.Features.Names {
		w.key(name)
		var vector []float64
		if e.Values[i].Kind == Vector && len(vectors) > 0 {
			vector, vectors = vectors[0], vectors[1:]
		}
		w.bare(e.Values[i], vector)
	}
	w.dst = append(w.dst, '}')
}

func (w *writer) scores(e *Event) {
	if e.Scores == nil {
		return
	}
	w.key("scores")
	w.dst = append(w.dst, '{')
	for i, name := range e.Scores.Names {
		w.key(name)
		w.dst = AppendNumber(w.dst, e.ScoreValues[i])
	}
	w.dst = append(w.dst, '}')
}

func (w *writer) failure(e *Event) {
	if e.Error != "" {
		w.text("error", e.Error)
	} else if e.Failed {
		w.key("error")
		w.dst = append(w.dst, "true"...)
	}
}

func (w *writer) segments(e *Event) {
	if len(e.Segments) == 0 {
		return
	}
	w.key("segments")
	w.dst = append(w.dst, '{')
	for _, g := range e.Segments {
		w.key(g.Name)
		w.str(g.Value)
	}
	w.dst = append(w.dst, '}')
}

// AppendNumber appends a number which decodes to the same float64: the fewest
// digits that do, null for NaN, ±1e999 for ±Inf, 0 for -0.
func AppendNumber(dst []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(dst, "null"...)
	case math.IsInf(x, 1):
		return append(dst, "1e999"...)
	case math.IsInf(x, -1):
		return append(dst, "-1e999"...)
	}
	format := byte('f')
	if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, x+0, format, -1, 64)
}

// AppendString appends a JSON string literal. Invalid UTF-8 becomes U+FFFD;
// control characters, quotes and backslashes are escaped, and nothing else.
func AppendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case plainByte[c]:
			dst = append(dst, c)
			i++
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c == '\n':
			dst = append(dst, '\\', 'n')
			i++
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r) // RuneError for what is not UTF-8
			i += n
		}
	}
	return append(dst, '"')
}
