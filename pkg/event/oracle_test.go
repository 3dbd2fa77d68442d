package event_test

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

// oracle reads a prediction with encoding/json and the schema written out a
// second time, slowly. It compares what a map can tell: not the order of keys.
type oracle struct {
	event    event.Event
	features map[string]event.Value
	vectors  map[string][]float64
	scores   map[string]float64
	segments map[string]string
	ok       bool
	time     any
}

func consult(data []byte) (o oracle) {
	var top map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if dec.Decode(&top) != nil || top == nil {
		return o
	}
	o.event, o.ok = event.New(event.Prediction), true
	e := &o.event
	known := map[string]bool{}
	get := func(name string) any { known[name] = true; return top[name] }
	e.ID, e.EntityID, e.TraceID = o.identifier(get("id")), o.identifier(get("entity_id")), o.identifier(get("trace_id"))
	e.Model = o.text(get("model"))
	if n, isNumber := get("model_version").(json.Number); isNumber {
		e.Version = o.text(n.String())
	} else {
		e.Version = o.text(get("model_version"))
	}
	if v := get("variant"); v != nil {
		s, _ := v.(string)
		var known bool
		e.Variant, known = event.ParseVariant(s)
		o.ok = o.ok && known
	}
	e.Prediction, _ = oracleValue(get("prediction"))
	e.Confidence, e.LatencyMS, e.Cost = o.number(get("confidence")), o.number(get("latency_ms")), o.number(get("cost"))
	o.objects(get("features"), get("scores"), get("segments"))
	switch v := get("error").(type) {
	case nil:
	case string:
		e.Failed = v != ""
	case bool:
		e.Failed = v
	case json.Number:
		e.Failed = parse(v) != 0
	case []any:
		e.Failed = len(v) > 0
	default:
		e.Failed = true
	}
	o.time = get("time")
	o.ok = o.ok && e.ID != "" && e.Model != "" && (top["features"] != nil || e.Prediction.Kind != event.Null)
	if get("rows") != nil {
		o.ok = false // has tests of its own
	}
	return o
}

func (o *oracle) text(v any) string {
	s, isString := v.(string)
	o.ok = o.ok && (v == nil || isString) && len(s) <= event.DefaultLimits.StringBytes
	return s
}

func (o *oracle) identifier(v any) string {
	if n, isNumber := v.(json.Number); isNumber && !strings.ContainsAny(n.String(), ".eE") {
		return o.text(n.String())
	}
	return o.text(v)
}

func (o *oracle) number(v any) float64 {
	n, isNumber := v.(json.Number)
	o.ok = o.ok && (v == nil || isNumber)
	if !isNumber {
		return math.NaN()
	}
	return parse(n)
}

func parse(n json.Number) float64 {
	x, _ := strconv.ParseFloat(n.String(), 64)
	return x + 0
}

func (o *oracle) objects(features, scores, segments any) {
	short := func(name string) { o.ok = o.ok && len(name) <= event.DefaultLimits.StringBytes }
	f, isObject := features.(map[string]any)
	o.ok = o.ok && (features == nil || isObject)
	o.features, o.vectors = map[string]event.Value{}, map[string][]float64{}
	for name, v := range f {
		short(name)
		var vector []float64
		if o.features[name], vector = oracleValue(v); vector != nil {
			o.vectors[name] = vector
		}
	}
	s, isObject := scores.(map[string]any)
	o.ok = o.ok && (scores == nil || isObject)
	o.scores = map[string]float64{}
	for name, v := range s {
		short(name)
		o.scores[name] = math.NaN()
		if n, isNumber := v.(json.Number); isNumber {
			o.scores[name] = parse(n)
		}
	}
	g, isObject := segments.(map[string]any)
	o.ok = o.ok && (segments == nil || isObject) && len(g) <= 64
	o.segments = map[string]string{}
	for name, v := range g {
		short(name)
		switch v := v.(type) {
		case nil:
		case string:
			o.segments[name] = o.text(v)
		case bool:
			o.segments[name] = strconv.FormatBool(v)
		case json.Number:
			o.segments[name] = v.String() // the exact text has tests of its own
		default:
			o.ok = false
		}
		if o.segments[name] == "" {
			delete(o.segments, name)
		}
	}
}

func oracleValue(v any) (event.Value, []float64) {
	switch v := v.(type) {
	case nil:
		return event.Value{}, nil
	case bool:
		return event.Cat(strconv.FormatBool(v)), nil
	case json.Number:
		return event.Num(parse(v)), nil
	case string:
		if len(v) <= event.DefaultLimits.StringBytes {
			return event.Cat(v), nil
		}
	case []any:
		out := []float64{}
		for _, x := range v {
			n, isNumber := x.(json.Number)
			if !isNumber {
				return event.Value{Kind: event.Invalid}, nil
			}
			out = append(out, parse(n))
		}
		return event.Value{Kind: event.Vector, Num: float64(len(out))}, out
	}
	return event.Value{Kind: event.Invalid}, nil
}

// matches reports how an event differs from what the oracle read.
func (o *oracle) matches(e event.Event) string {
	want := o.event
	want.Error, want.UnknownFields, want.Time = e.Error, e.UnknownFields, e.Time
	want.Features, want.Values, want.Vectors = e.Features, e.Values, e.Vectors
	want.Scores, want.ScoreValues, want.Segments = e.Scores, e.ScoreValues, e.Segments
	diff := cmp.Diff(want, e, same)
	features, vectors := map[string]event.Value{}, map[string][]float64{}
	for i := range e.Values {
		features[e.Features.Names[i]] = e.Values[i]
		if e.Values[i].Kind == event.Vector {
			vectors[e.Features.Names[i]] = e.Vector(i)
		}
	}
	scores := map[string]float64{}
	for i := range e.ScoreValues {
		scores[e.Scores.Names[i]] = e.ScoreValues[i]
	}
	segments := map[string]string{}
	for _, g := range e.Segments {
		segments[g.Name] = g.Value
		if _, err := strconv.ParseFloat(g.Value, 64); err == nil {
			segments[g.Name] = o.segments[g.Name]
		}
	}
	diff += cmp.Diff(o.features, features, same) + cmp.Diff(o.vectors, vectors, same)
	return diff + cmp.Diff(o.scores, scores, same) + cmp.Diff(o.segments, segments, same) + o.timeDiff(e.Time)
}

var strictTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`)

// goTime is what package time says about a text which is RFC 3339 to the letter.
func goTime(v any) (t time.Time, ok bool) {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && strictTime.MatchString(s) && t.Unix() >= -9214560000 && t.Unix() <= 9223372035
}

func (o *oracle) timeDiff(got int64) string {
	if t, ok := goTime(o.time); ok && t.UnixNano() != got {
		return "time " + t.String()
	}
	if o.time == nil && got != 0 {
		return "a time from nowhere"
	}
	return ""
}

// documented reports whether a refusal is one of the differences from
// encoding/json which the package comment states.
func documented(r *event.Reject, data []byte) bool {
	return !utf8.Valid(data) || strings.Contains(r.Detail, "occurs twice") || strings.Contains(r.Detail, "nested deeper") ||
		r.Reason == event.TooLarge || strings.Contains(r.Detail, "more than")
}

// FuzzDecodeAgainstEncodingJSON: what we accept as one event, encoding/json
// accepts with equal values, and what it accepts (and the schema allows) we do.
func FuzzDecodeAgainstEncodingJSON(f *testing.F) {
	for _, h := range hostiles(f) {
		if len(h.payload) < 4096 {
			f.Add([]byte(h.payload))
		}
	}
	for _, m := range corpus(3) {
		f.Add(m)
	}
	f.Add([]byte(`{"id":7,"time":"2026-11-22T21:00:00.5+01:00","model":"m\u0061","model_version":1.10,"variant":"canary","features":{"a\/\u00fc":[1e5,-0.1],"b":"x\ud800","c":[[]],"d":1E-7},"prediction":[1],"scores":{"p":0.1,"q":[]},"segments":{"c":true,"n":1.50},"error":{}}`))
	d := event.NewDecoder(nil, event.DefaultLimits) // one for all, so that predictions are wrong
	f.Fuzz(func(t *testing.T, data []byte) { against(t, d, data) })
}

func against(t *testing.T, d *event.Decoder, data []byte) {
	var b event.Batch
	r := d.Decode(&b, event.Prediction, "", data)
	text := bytes.TrimPrefix(data, []byte("\uFEFF"))
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '[' || bytes.Contains(data, []byte(`"rows"`)) {
		return // arrays and rows: only that nothing panics
	}
	if !json.Valid(text) {
		if r == nil && bytes.IndexByte(trimmed, '\n') < 0 {
			t.Fatalf("%q\naccepted, encoding/json refuses", data)
		}
		return
	}
	o := consult(text)
	if _, isText := o.time.(string); o.ok && o.time != nil && r != nil && strings.Contains(r.Detail, ", time: ") {
		if _, ok := goTime(o.time); isText && ok {
			t.Fatalf("%q\nrefused (%v), package time accepts", data, r)
		}
		return
	}
	switch {
	case r == nil && (!o.ok || len(b.Events) != 1):
		t.Fatalf("%q\naccepted, the oracle refuses", data)
	case r != nil && o.ok && !documented(r, data):
		t.Fatalf("%q\nrefused (%v), the oracle accepts", data, r)
	case r != nil && r.Reason == event.Decode && !documented(r, data):
		t.Fatalf("%q\nis JSON, refused: %v", data, r)
	case r == nil:
		if diff := o.matches(b.Events[0]); diff != "" {
			t.Fatalf("%q\n%s", data, diff)
		}
		again := event.AppendJSON(nil, &b.Events[0])
		e := b.Events[0]
		if r := d.Decode(&b, event.Prediction, "", again); r != nil {
			t.Fatalf("%q\nwritten as %s: %v", data, again, r)
		}
		e.UnknownFields = 0
		if diff := cmp.Diff(e, b.Events[1], same, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Transient" }, cmp.Ignore())); diff != "" {
			t.Fatalf("%q\nwritten as %s: %s", data, again, diff)
		}
	}
}

// The corpus of the benchmark is decoded bit for bit as encoding/json does.
func TestDecodeAgainstEncodingJSON(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	for _, m := range corpus(4000) {
		if len(m) != 727 { // the size of the design's measurements
			t.Fatalf("%d bytes: %s", len(m), m)
		}
		against(t, d, m)
	}
}

// Numbers of every form are rounded as strconv rounds them.
func TestNumbersAgainstStrconv(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	var b event.Batch
	digits := "97531864209753186420"
	for whole := range 20 {
		for places := range 20 {
			for _, exp := range []string{"", "e0", "e-30", "E+7", "e300"} {
				literal := digits[:whole+1]
				if places > 0 {
					literal += "." + "00"[:places%3] + digits[:places]
				}
				literal += exp
				for _, literal := range []string{literal, "-" + literal} {
					b.Reset()
					if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"a","model":"m","features":{"x":`+literal+`},"trace_id":"x"}`)); r != nil {
						t.Fatal(r)
					}
					want, _ := strconv.ParseFloat(literal, 64)
					if got := b.Events[0].Values[0].Num; got != want {
						t.Errorf("%s: got %v, want %v", literal, got, want)
					}
				}
			}
		}
	}
}
