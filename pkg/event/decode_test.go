package event_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"driftd.dev/driftd/pkg/event"
)

// same compares events by content; NaN (absent) equals NaN.
var same = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateEmpty()}

func decode(t *testing.T, kind event.Kind, data string) *event.Batch {
	t.Helper()
	var b event.Batch
	if r := event.NewDecoder(nil, event.DefaultLimits).Decode(&b, kind, "", []byte(data)); r != nil {
		t.Fatalf("%s\nrefused: %v", data, r)
	}
	return &b
}

func one(t *testing.T, kind event.Kind, data string) event.Event {
	t.Helper()
	b := decode(t, kind, data)
	if len(b.Events) != 1 || len(b.Rejects) != 0 {
		t.Fatalf("%s\ngave %d events and %v", data, len(b.Events), b.Rejects)
	}
	return b.Events[0]
}

func TestDecodesTheEventsOfTheContract(t *testing.T) {
	prediction := event.New(event.Prediction)
	prediction.ID, prediction.Model, prediction.Version = "01JD", "fraud", "42"
	prediction.Time = time.Date(2026, 11, 22, 21, 0, 0, 123e6, time.UTC).UnixNano()
	prediction.Features = &event.Shape{Names: []string{"amount", "country", "vip", "note"}}
	prediction.Values = []event.Value{event.Num(73.1), event.Cat("DE"), event.Cat("false"), {}}
	prediction.Prediction = event.Cat("fraud")
	prediction.Scores = &event.Shape{Names: []string{"fraud", "ok"}}
	prediction.ScoreValues = []float64{.87, .13}
	prediction.Confidence, prediction.LatencyMS, prediction.Cost = .87, 12.4, .0002
	prediction.EntityID, prediction.TraceID = "order-8841", "4bf9"
	prediction.Segments = []event.Segment{{Name: "channel", Value: "app"}}

	outcome := event.New(event.Outcome)
	outcome.ID, outcome.PredictionID, outcome.Model, outcome.Name = "o1", "01JD", "fraud", "label"
	outcome.Time = prediction.Time
	outcome.Label, outcome.Value = event.Cat("ok"), 1
	outcome.Source, outcome.Annotator, outcome.Explanation = "HUMAN", "a1", "looked fine"

	kpi := event.New(event.KPI)
	kpi.ID, kpi.Time, kpi.Name, kpi.Value = "k1", prediction.Time, "checkout_conversion", 1
	kpi.Model, kpi.Version, kpi.Variant, kpi.EntityID = "fraud", "42", event.Canary, "user-17"
	kpi.Cost, kpi.Currency = .12, "EUR"

	for _, c := range []struct {
		name, data string
		want       event.Event
	}{
		{"prediction", `{"id":"01JD","time":"2026-11-22T21:00:00.123Z","model":"fraud","model_version":"42","variant":"primary",
 "features":{"amount":73.1,"country":"DE","vip":false,"note":null},
 "prediction":"fraud","scores":{"fraud":0.87,"ok":0.13},"confidence":0.87,"latency_ms":12.4,"error":null,"cost":0.0002,
 "entity_id":"order-8841","segments":{"channel":"app"},"trace_id":"4bf9"}`, prediction},
		{"outcome", `{"id":"o1","time":"2026-11-22T21:00:00.123Z","prediction_id":"01JD","model":"fraud","name":"label","label":"ok","value":1.0,"source":"HUMAN","annotator":"a1","explanation":"looked fine"}`, outcome},
		{"kpi", `{"id":"k1","time":"2026-11-22T21:00:00.123Z","name":"checkout_conversion","value":1,"model":"fraud","model_version":"42","variant":"canary","entity_id":"user-17","cost":0.12,"currency":"EUR"}`, kpi},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, one(t, c.want.Kind, c.data), same); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A vector beyond the limit is counted as a value of no type; its event stays.
func TestVectorLimit(t *testing.T) {
	d := event.NewDecoder(nil, event.Limits{Vector: 3})
	var b event.Batch
	if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"a","model":"m","features":{"v":[1,2,3],"w":[1,2,3,4],"x":5}}`)); r != nil {
		t.Fatal(r)
	}
	e := b.Events[0]
	if e.Values[0].Kind != event.Vector || len(e.Vector(0)) != 3 || e.Values[1].Kind != event.Invalid || e.Values[2].Num != 5 {
		t.Errorf("values %v, want a vector of 3, nothing, and 5", e.Values)
	}
}

// The order of keys carries no meaning: what needs the model waits for it.
func TestKeyOrderDoesNotMatter(t *testing.T) {
	want := one(t, event.Prediction, `{"id":"a","model":"m","model_version":"1","features":{"x":1,"v":[1,2]},"prediction":[3],"scores":{"p":1}}`)
	for _, data := range []string{
		`{"features":{"x":1,"v":[1,2]},"scores":{"p":1},"prediction":[3],"model_version":"1","model":"m","id":"a"}`,
		`{"prediction":[3],"model":"m","features":{"x":1,"v":[1,2]},"model_version":"1","scores":{"p":1},"id":"a"}`,
	} {
		if diff := cmp.Diff(want, one(t, event.Prediction, data), same); diff != "" {
			t.Errorf("%s:\n%s", data, diff)
		}
	}
}

func TestValues(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		literal string
		want    event.Value
	}{
		{`null`, event.Value{}},
		{`0`, event.Num(0)},
		{`-0`, event.Num(0)},
		{`-0.0e5`, event.Num(0)},
		{`12345678`, event.Num(12345678)},
		{`-12.5`, event.Num(-12.5)},
		{`0.1`, event.Num(.1)},
		{`1.123456789`, event.Num(1.123456789)},
		{`9007199254740993`, event.Num(9007199254740992)}, // 2^53+1: ties to even
		{`123456789012345678901234567890`, event.Num(123456789012345678901234567890)},
		{`1e22`, event.Num(1e22)},
		{`1E+2`, event.Num(100)},
		{`25e-1`, event.Num(2.5)},
		{`5e-324`, event.Num(5e-324)}, // the smallest float64
		{`1e-400`, event.Num(0)},
		{`1.7976931348623157e308`, event.Num(math.MaxFloat64)},
		{`1e309`, event.Num(inf)},
		{`-1e309`, event.Num(-inf)},
		{`true`, event.Cat("true")},
		{`false`, event.Cat("false")},
		{`""`, event.Cat("")},
		{`"grün"`, event.Cat("grün")},
		{`"a\"\\\/\b\f\n\r\tA"`, event.Cat("a\"\\/\b\f\n\r\tA")},
		{`"\u00fc\u20ac\uD83D\ude00"`, event.Cat("ü€😀")},
		{`"\ud83d!"`, event.Cat("\uFFFD!")},
		{`"\ud83dA"`, event.Cat("\uFFFDA")},
		{`"\ude00\ud83d"`, event.Cat("\uFFFD\uFFFD")},
		{`"NaN"`, event.Cat("NaN")},
		{`[]`, event.Value{Kind: event.Vector}},
		{`[1, -2.5 , 1e309]`, event.Value{Kind: event.Vector, Num: 3}},
		{`[1,"a"]`, event.Value{Kind: event.Invalid}},
		{`[null]`, event.Value{Kind: event.Invalid}},
		{`[[1]]`, event.Value{Kind: event.Invalid}},
		{`{}`, event.Value{Kind: event.Invalid}},
		{`{"a":{"a":1,"a":2}}`, event.Value{Kind: event.Invalid}}, // duplicates inside objects are not looked for
		{`"` + strings.Repeat("x", 1024) + `"`, event.Cat(strings.Repeat("x", 1024))},
		{`"` + strings.Repeat("x", 1025) + `"`, event.Value{Kind: event.Invalid}},
	} {
		// Once in the middle, and once so close to the end that words of eight bytes do not fit.
		for _, form := range []string{`{"id":"a","model":"m","features":{"x":VALUE},"trace_id":"padding"}`, `{"id":"a","model":"m","features":{"x":VALUE}}`, `{"id":"a","model":"m","features":{"y":7,"x": VALUE }}`} {
			e := one(t, event.Prediction, strings.Replace(form, "VALUE", c.literal, 1))
			got := e.Values[len(e.Values)-1]
			if got != c.want || math.Signbit(got.Num) != math.Signbit(c.want.Num) {
				t.Errorf("%.60s: got %+v, want %+v", c.literal, got, c.want)
			}
		}
	}
}

func TestVectors(t *testing.T) {
	e := one(t, event.Prediction, `{"id":"a","model":"m","features":{"u":[1,2],"x":5,"v":[],"w":[3,-1e309]},"prediction":[0.5,0.25,0.25]}`)
	want := [][]float64{{1, 2}, {}, {3, math.Inf(-1)}, {.5, .25, .25}}
	if diff := cmp.Diff(want, e.Vectors, same); diff != "" {
		t.Error(diff)
	}
	for i, want := range [][]float64{{1, 2}, nil, {}, {3, math.Inf(-1)}} {
		if diff := cmp.Diff(want, e.Vector(i), same); diff != "" {
			t.Errorf("Vector(%d): %s", i, diff)
		}
	}
	if diff := cmp.Diff(want[3], e.PredictionVector()); diff != "" {
		t.Error(diff)
	}
	if e.Vector(9) != nil || e.Vector(-1) != nil {
		t.Error("a vector outside of Values")
	}
	empty := event.Event{Values: []event.Value{{Kind: event.Vector}}, Prediction: event.Value{Kind: event.Vector}}
	if empty.Vector(0) != nil || empty.PredictionVector() != nil {
		t.Error("a vector without components")
	}
}

func TestTimes(t *testing.T) {
	at := func(y int, m time.Month, d, h, min, s, ns int) int64 {
		return time.Date(y, m, d, h, min, s, ns, time.UTC).UnixNano()
	}
	for _, c := range []struct {
		name, literal string
		want          int64
	}{
		{"utc", `"2026-11-22T21:00:00Z"`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"lower case", `"2026-11-22t21:00:00z"`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"blank for T", `"2026-11-22 21:00:00+00:00"`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"offset east", `"2026-11-23T02:30:00+05:30"`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"offset west", `"2026-11-22T13:00:00-08:00"`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"milliseconds", `"2026-11-22T21:00:00.123Z"`, at(2026, 11, 22, 21, 0, 0, 123e6)},
		{"nanoseconds", `"2026-11-22T21:00:00.123456789Z"`, at(2026, 11, 22, 21, 0, 0, 123456789)},
		{"beyond nanoseconds", `"2026-11-22T21:00:00.1234567899Z"`, at(2026, 11, 22, 21, 0, 0, 123456789)},
		{"leap day", `"2024-02-29T00:00:00Z"`, at(2024, 2, 29, 0, 0, 0, 0)},
		{"leap day of a century", `"2000-02-29T00:00:00Z"`, at(2000, 2, 29, 0, 0, 0, 0)},
		{"leap second", `"2016-12-31T23:59:60Z"`, at(2017, 1, 1, 0, 0, 0, 0)},
		{"before 1970", `"1969-12-31T23:59:59.5Z"`, -5e8},
		{"first", `"1678-01-01T00:00:00Z"`, at(1678, 1, 1, 0, 0, 0, 0)},
		{"last", `"2262-04-11T23:47:15.999999999Z"`, at(2262, 4, 11, 23, 47, 15, 999999999)},
		{"escaped", `"2026-11-22T21:00:00\u005a"`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"seconds", `1795381200`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"fractional seconds", `1795381200.123456789`, at(2026, 11, 22, 21, 0, 0, 123456789)},
		{"milliseconds", `1795381200123`, at(2026, 11, 22, 21, 0, 0, 123e6)},
		{"fractional milliseconds", `1795381200123.5`, at(2026, 11, 22, 21, 0, 0, 123500e3)},
		{"microseconds", `1795381200123456`, at(2026, 11, 22, 21, 0, 0, 123456e3)},
		{"nanoseconds", `1795381200123456789`, at(2026, 11, 22, 21, 0, 0, 123456789)},
		{"exponent", `1.7953812e9`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"exponent down", `17953812000e-1`, at(2026, 11, 22, 21, 0, 0, 0)},
		{"negative seconds", `-1`, -1e9},
		{"more digits than a mantissa holds", `1.00000000000000000000`, 1e9},
		{"zero", `0`, 0},
		{"null", `null`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := one(t, event.Prediction, `{"id":"a","model":"m","prediction":1,"time":`+c.literal+`}`).Time; got != c.want {
				t.Errorf("%s: got %d (%v), want %d", c.literal, got, time.Unix(0, got).UTC(), c.want)
			}
		})
	}
}

func TestTimesRefused(t *testing.T) {
	for _, literal := range []string{
		`"1677-12-31T23:59:59Z"`, `"2262-04-11T23:47:16Z"`, `"0000-01-01T00:00:00Z"`, `9223372036`, `-9214560001`,
		`123456789012345678901234567890`, `"2026-11-22T21:00:00"`, `"2026-11-22T21:00Z"`, `"2026-11-22T21:00:00+0100"`,
		`"2026-11-22T21:00:00+24:00"`, `"2026-11-22T21:00:00+01:60"`, `"2026-11-22T21:00:00.Z"`, `"2026-11-22T21:00:00,5Z"`,
		`"2026-13-01T00:00:00Z"`, `"2026-00-01T00:00:00Z"`, `"2026-02-29T00:00:00Z"`, `"1900-02-29T00:00:00Z"`, `"2026-04-31T00:00:00Z"`,
		`"2026-01-00T00:00:00Z"`, `"2026-11-22T24:00:00Z"`, `"2026-11-22T23:60:00Z"`, `"2026-11-22T23:59:61Z"`, `"2026-11-22X21:00:00Z"`,
		`"20x6-11-22T21:00:00Z"`, `"2026-11-22T2x:00:00Z"`, `"yesterday at half past ten"`, `""`, `true`, `[1]`,
	} {
		var b event.Batch
		r := event.NewDecoder(nil, event.Limits{}).Decode(&b, event.Prediction, "", []byte(`{"id":"a","model":"m","prediction":1,"time":`+literal+`}`))
		if r == nil || r.Reason != event.Schema || !strings.Contains(r.Detail, "time") {
			t.Errorf("%s: got %v, want schema", literal, r)
		}
	}
	for _, literal := range []string{`01`, `"2026`, `-`, `nan`} {
		var b event.Batch
		r := event.NewDecoder(nil, event.Limits{}).Decode(&b, event.Prediction, "", []byte(`{"id":"a","model":"m","prediction":1,"time":`+literal+`}`))
		if r == nil || r.Reason != event.Decode {
			t.Errorf("%s: got %v, want decode", literal, r)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	e := one(t, event.Prediction, `{"id":12345678901234567890,"model":"m","model_version":1.10,"prediction":true,"entity_id":-7,"trace_id":8,"segments":{"n":17.0,"b":true,"null":null,"e":"","s":"x"}}`)
	got := []string{e.ID, e.Version, e.EntityID, e.TraceID, e.Prediction.Str}
	if diff := cmp.Diff([]string{"12345678901234567890", "1.10", "-7", "8", "true"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]event.Segment{{Name: "n", Value: "17"}, {Name: "b", Value: "true"}, {Name: "s", Value: "x"}}, e.Segments); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	for literal, want := range map[string]struct {
		failed bool
		text   string
	}{
		`null`: {}, `false`: {}, `0`: {}, `""`: {}, `[]`: {},
		`true`: {true, ""}, `500`: {true, ""}, `{"code":1}`: {true, ""}, `["x"]`: {true, ""}, `"timeout"`: {true, "timeout"},
		`"` + strings.Repeat("ü", 600) + `"`:  {true, strings.Repeat("ü", 512)}, // 1024 bytes
		`"x` + strings.Repeat("ü", 600) + `"`: {true, "x" + strings.Repeat("ü", 511)},
	} {
		e := one(t, event.Prediction, `{"id":"a","model":"m","prediction":1,"error":`+literal+`}`)
		if e.Failed != want.failed || e.Error != want.text {
			t.Errorf("%.40s: got %v %q", literal, e.Failed, e.Error)
		}
	}
}

func TestScores(t *testing.T) {
	e := one(t, event.Prediction, `{"id":"a","model":"m","prediction":1,"scores":{"p":1e309,"q":null,"r":"x","s":-0.5,"t":{}}}`)
	nan := math.NaN()
	if diff := cmp.Diff([]float64{math.Inf(1), nan, nan, -.5, nan}, e.ScoreValues, same); diff != "" {
		t.Error(diff)
	}
	if e = one(t, event.Prediction, `{"id":"a","model":"m","prediction":1,"scores":{}}`); e.Scores == nil || len(e.Scores.Names) != 0 {
		t.Errorf("empty scores: %+v", e.Scores)
	}
}

// A field of another kind of event is unknown to this one.
func TestUnknownFields(t *testing.T) {
	e := one(t, event.Prediction, `{"id":"a","custom":{"x":[1]},"model":"m","value":"text","label":{},"prediction":1,"custom":2}`)
	if e.UnknownFields != 4 || e.Label.Kind != event.Null || !math.IsNaN(e.Value) {
		t.Errorf("got %+v", e)
	}
}

func TestRequiredFields(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   event.Kind
		data   string
		detail string // "" = accepted
	}{
		{"prediction without features", event.Prediction, `{"id":"a","model":"m","prediction":1}`, ""},
		{"prediction without prediction", event.Prediction, `{"id":"a","model":"m","features":{}}`, ""},
		{"prediction of a wrong type", event.Prediction, `{"id":"a","model":"m","prediction":{}}`, ""},
		{"outcome of an entity", event.Outcome, `{"entity_id":"e","name":"thumbs","value":-1}`, ""},
		{"outcome with a label", event.Outcome, `{"prediction_id":"p","name":"label","label":0}`, ""},
		{"outcome without prediction_id", event.Outcome, `{"name":"label","label":0}`, "prediction_id is missing"},
		{"outcome without name", event.Outcome, `{"prediction_id":"p","label":0}`, "name is missing"},
		{"outcome without label", event.Outcome, `{"prediction_id":"p","name":"label","label":null}`, "label and value are missing"},
		{"outcome with a text value", event.Outcome, `{"prediction_id":"p","name":"label","value":"1"}`, "value: must be a number"},
		{"kpi", event.KPI, `{"name":"n","value":1e309}`, ""},
		{"kpi without name", event.KPI, `{"value":1}`, "name is missing"},
		{"kpi without value", event.KPI, `{"name":"n"}`, "value is missing"},
		{"kpi with a number as name", event.KPI, `{"name":1,"value":1}`, "name: must be a string"},
		{"explanation of a wrong type", event.Outcome, `{"prediction_id":"p","name":"n","value":1,"explanation":1}`, "explanation: must be a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			r := event.NewDecoder(nil, event.DefaultLimits).Decode(&b, c.kind, "", []byte(c.data))
			if c.detail == "" {
				if r != nil {
					t.Error(r)
				}
				return
			}
			if r == nil || r.Reason != event.Schema || !strings.Contains(r.Detail, c.detail) {
				t.Errorf("got %v, want schema: %s", r, c.detail)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	for literal, want := range map[string]event.Value{
		`"ok"`: event.Cat("ok"), `true`: event.Cat("true"), `3`: event.Num(3), `[1]`: {Kind: event.Invalid}, `{}`: {Kind: event.Invalid},
	} {
		if got := one(t, event.Outcome, `{"prediction_id":"p","name":"label","label":`+literal+`}`).Label; got != want {
			t.Errorf("%s: got %+v", literal, got)
		}
	}
}

func TestKey(t *testing.T) {
	base := event.Event{Kind: event.Prediction, Model: "m", ID: "a", Row: -1}
	seen := map[uint64]string{}
	for name, e := range map[string]event.Event{
		"base": base, "kind": {Kind: event.Outcome, Model: "m", ID: "a", Row: -1}, "model": {Kind: event.Prediction, Model: "n", ID: "a", Row: -1},
		"id": {Kind: event.Prediction, Model: "m", ID: "b", Row: -1}, "row": {Kind: event.Prediction, Model: "m", ID: "a", Row: 0},
		"moved": {Kind: event.Prediction, Model: "", ID: "ma", Row: -1},
	} {
		k := e.Key()
		if other, dup := seen[k]; dup || k == 0 {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[k] = name
	}
	other := base
	other.Version, other.Time = "2", 5 // no part of the identity
	if other.Key() != base.Key() {
		t.Error("version or time is part of the identity")
	}
	if (&event.Event{Kind: event.KPI, Row: -1}).Key() != 0 {
		t.Error("an event without id has an identity")
	}
	// The dedup tables are kept on disk, so the bytes which are hashed must not change.
	if got, want := base.Key(), xxhash.Sum64String("\x01\x00m\x00a\x00\xff\xff\xff\xff"); got != want {
		t.Errorf("key %#x, want %#x", got, want)
	}
}
