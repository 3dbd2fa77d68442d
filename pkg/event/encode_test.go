package event_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

// What AppendJSON writes is JSON to others and decodes to the same event.
func roundTrip(t *testing.T, e event.Event) {
	t.Helper()
	data := event.AppendJSON(nil, &e)
	if !json.Valid(data) {
		t.Fatalf("not JSON: %s", data)
	}
	var b event.Batch
	if r := event.NewDecoder(nil, event.DefaultLimits).Decode(&b, e.Kind, "", data); r != nil || len(b.Events) != 1 {
		t.Fatalf("%s: %v", data, r)
	}
	got := b.Events[0]
	e.UnknownFields = 0 // they were not kept
	if e.Row >= 0 && e.ID != "" {
		e.ID, e.Row = string(e.AppendIdentity(nil)), -1
	}
	if diff := cmp.Diff(e, got, same); diff != "" {
		t.Errorf("%s\n%s", data, diff)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		kind event.Kind
		data string
	}{
		{event.Prediction, `{"id":"a\u0001\"\\\n","time":-1.5,"model":"m","model_version":"1","variant":"shadow","features":{"":1e309,"n":null,"v":[1,-1e309],"e":[],"o":{},"s":"grün","x":1e-7,"y":1e300,"z":-0.1},"prediction":[1,2],"scores":{"a":0.5,"b":null},"confidence":0,"latency_ms":1,"error":"boom","cost":2,"entity_id":"e","segments":{"a":"b","c":"d"},"trace_id":"t"}`},
		{event.Prediction, `{"id":"a","model":"m","features":{},"error":true,"scores":{}}`},
		{event.Prediction, `{"id":"a","model":"m","prediction":false,"time":"2262-04-11T23:47:15.999999999Z"}`},
		{event.Outcome, `{"id":"o","prediction_id":"p","model":"m","name":"label","label":{},"value":1e309,"source":"s","annotator":"a","explanation":"e"}`},
		{event.KPI, `{"name":"n","value":-3,"cost":1,"currency":"EUR","variant":"canary","unknown":1}`},
	} {
		roundTrip(t, one(t, c.kind, c.data))
	}
	b := decode(t, event.Prediction, `{"id":"a","model":"m","rows":[{"prediction":1},{"prediction":"x"}]}`)
	roundTrip(t, b.Events[1])
}

func TestAppendJSON(t *testing.T) {
	e := event.New(event.Prediction)
	e.ID, e.Model, e.Version, e.Variant = "a", "m", "1", event.Canary
	e.Features = &event.Shape{Names: []string{"x", "c"}}
	e.Values = []event.Value{event.Num(math.Copysign(0, -1)), event.Cat("\xff</")}
	const want = `{"id":"a","model":"m","model_version":"1","variant":"canary","features":{"x":0,"c":"` + "\uFFFD" + `</"}}`
	if got := string(event.AppendJSON(nil, &e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if event.Num(math.NaN()).Kind != event.Null {
		t.Error("NaN is a number")
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	var batch event.Batch
	if r := d.Decode(&batch, event.Prediction, "", corpus(1)[0]); r != nil {
		b.Fatal(r)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = event.AppendJSON(buf[:0], &batch.Events[0])
	}
}
