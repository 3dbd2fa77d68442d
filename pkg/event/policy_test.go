package event_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

var key = []byte("0123456789abcdef0123456789abcdef")

func policy(t testing.TB, spec event.PolicySpec) *event.Policy {
	t.Helper()
	if spec.HMACKey == nil {
		spec.HMACKey = key
	}
	p, err := event.NewPolicy(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pseudonym is written out once more here: it is what an operator would compute
// to find a person, so it must not change.
func pseudonym(s string) string {
	kid := sha256.Sum256([]byte("driftd key id\x00" + string(key)))
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s))
	return fmt.Sprintf("%x:%s", kid[:4], hex.EncodeToString(m.Sum(nil)[:16]))
}

type fields = map[string]event.FieldRule

func filtered(t *testing.T, p *event.Policy, kind event.Kind, data string) event.Event {
	t.Helper()
	var b event.Batch
	if r := event.NewDecoder(p, event.DefaultLimits).Decode(&b, kind, "", []byte(data)); r != nil || len(b.Events) != 1 {
		t.Fatalf("%s: %v, %d events", data, r, len(b.Events))
	}
	return b.Events[0]
}

func TestPolicyOfFeatures(t *testing.T) {
	invalid := event.Value{Kind: event.Invalid}
	rule := func(a event.Action) event.FieldRule { return event.FieldRule{Action: a} }
	wide := event.FieldRule{Action: event.Bucket, BucketWidth: 10}
	category := event.FieldRule{Type: event.CategoricalType}
	numeric := event.FieldRule{Type: event.NumericType}
	for _, c := range []struct {
		name    string
		rule    event.FieldRule
		literal string
		want    event.Value
	}{
		{"count", rule(event.Count), `"x"`, event.Cat("x")},
		{"hmac text", rule(event.HMAC), `"x"`, event.Cat(pseudonym("x"))},
		{"hmac escaped text", rule(event.HMAC), `"\u0078"`, event.Cat(pseudonym("x"))},
		{"hmac number", rule(event.HMAC), `17.0`, event.Cat(pseudonym("17"))},
		{"hmac long number", rule(event.HMAC), `12345678901234567890`, event.Cat(pseudonym("12345678901234567890"))},
		{"hmac bool", rule(event.HMAC), `true`, event.Cat(pseudonym("true"))},
		{"hmac null", rule(event.HMAC), `null`, event.Value{}},
		{"hmac vector", rule(event.HMAC), `[1]`, invalid},
		{"bucket", wide, `73.1`, event.Num(70)},
		{"bucket below zero", wide, `-0.1`, event.Num(-10)},
		{"bucket minus zero", wide, `-0`, event.Num(0)},
		{"bucket infinity", wide, `1e309`, event.Num(math.Inf(1))},
		{"bucket text", wide, `"73"`, invalid},
		{"bucket bool", wide, `true`, invalid},
		{"bucket categories", event.FieldRule{Action: event.Bucket, BucketWidth: 1000, Type: event.CategoricalType}, `10115`, event.Cat("10000")},
		{"category", category, `17`, event.Cat("17")},
		{"category of a float", category, `17.0`, event.Cat("17")},
		{"category of an exponent", category, `1.7e1`, event.Cat("17")},
		{"category of a fraction", category, `-0.5`, event.Cat("-0.5")},
		{"category of minus zero", category, `-0`, event.Cat("0")},
		{"category of minus zero as float", category, `-0.0`, event.Cat("0")},
		{"category of a huge integer", category, `123456789012345678901`, event.Cat("123456789012345678901")},
		{"category of a huge float", category, `1e300`, event.Cat("1e+300")},
		{"category of a tiny float", category, `1.5e-9`, event.Cat("1.5e-09")},
		{"category beyond float64", category, `1e309`, event.Cat("+Inf")},
		{"category of very many digits", category, strings.Repeat("9", 1025), invalid},
		{"category of text", category, `"17.0"`, event.Cat("17.0")},
		{"category of a vector", category, `[1]`, invalid},
		{"number", numeric, `17`, event.Num(17)},
		{"number of text", numeric, `"17"`, invalid},
		{"number of a bool", numeric, `true`, invalid},
		{"number of a vector", numeric, `[1]`, invalid},
		{"number of null", numeric, `null`, event.Value{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy(t, event.PolicySpec{Fields: fields{"x": c.rule}})
			e := filtered(t, p, event.Prediction, `{"id":"a","model":"m","features":{"y":1,"x":`+c.literal+`,"z":"z"}}`)
			if diff := cmp.Diff([]event.Value{event.Num(1), c.want, event.Cat("z")}, e.Values); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPolicyDropsFeatures(t *testing.T) {
	p := policy(t, event.PolicySpec{Fields: fields{"email": {Action: event.Drop}, "v": {Action: event.Drop}}})
	e := filtered(t, p, event.Prediction, `{"id":"a","model":"m","features":{"email":"x@y.z","x":1,"v":[1,2],"\u0065mail2":"kept"}}`)
	if diff := cmp.Diff([]string{"x", "email2"}, e.Features.Names); diff != "" || len(e.Values) != 2 || len(e.Vectors) != 0 {
		t.Errorf("%+v %s", e, diff)
	}
	e = filtered(t, p, event.Prediction, `{"id":"a","model":"m","features":{"\u0065mail":"x@y.z"}}`)
	if len(e.Values) != 0 {
		t.Error("an escaped name evades the policy")
	}
}

func TestPolicyOfVectors(t *testing.T) {
	p := policy(t, event.PolicySpec{Fields: fields{"v": {Action: event.Bucket, BucketWidth: 2}, "prediction": {Action: event.Bucket, BucketWidth: 4}}})
	e := filtered(t, p, event.Prediction, `{"id":"a","model":"m","features":{"v":[1,2,3.5]},"prediction":[5,9]}`)
	if diff := cmp.Diff([][]float64{{0, 2, 2}, {4, 8}}, e.Vectors); diff != "" {
		t.Error(diff)
	}
}

const everywhere = `{"id":"SECRET","model":"m","prediction":"SECRET","error":"SECRET","entity_id":"SECRET","trace_id":"SECRET","segments":{"who":"SECRET","n":37},"features":{"f":"SECRET"}}`

func TestPolicyOfTheEventsOwnFields(t *testing.T) {
	s := pseudonym("SECRET")
	for _, c := range []struct {
		name string
		spec event.PolicySpec
		want []string // id prediction error entity trace who n f
	}{
		{"default count", event.PolicySpec{}, []string{"SECRET", "SECRET", "SECRET", "SECRET", "SECRET", "SECRET", "37", "SECRET"}},
		{"default hmac", event.PolicySpec{Default: event.HMAC}, []string{"SECRET", "SECRET", s, s, s, s, pseudonym("37"), s}},
		{"default drop", event.PolicySpec{Default: event.Drop}, []string{"SECRET", "SECRET", "", "", "", "", "", ""}},
		{"allow list", event.PolicySpec{Default: event.Drop, Fields: fields{"f": {Action: event.Count}, "who": {Action: event.Count}, "n": {}}}, []string{"SECRET", "SECRET", "", "", "", "SECRET", "", "SECRET"}},
		{"by name", event.PolicySpec{Fields: fields{"id": {Action: event.HMAC}, "prediction": {Action: event.HMAC}, "entity_id": {Action: event.Drop}, "trace_id": {Action: event.HMAC}, "who": {Action: event.Drop}, "error": {Action: event.Drop}}}, []string{s, s, "", "", s, "", "37", "SECRET"}},
		{"bucket", event.PolicySpec{Fields: fields{"n": {Action: event.Bucket, BucketWidth: 10}, "who": {Action: event.Bucket, BucketWidth: 10}, "entity_id": {Action: event.Bucket, BucketWidth: 1}}}, []string{"SECRET", "SECRET", "SECRET", "", "SECRET", "", "30", "SECRET"}},
		{"prediction dropped, id kept", event.PolicySpec{Fields: fields{"id": {Action: event.Drop}, "prediction": {Action: event.Drop}}}, []string{"SECRET", "", "SECRET", "SECRET", "SECRET", "SECRET", "37", "SECRET"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := filtered(t, policy(t, c.spec), event.Prediction, everywhere)
			segment := func(name string) string {
				for _, g := range e.Segments {
					if g.Name == name {
						return g.Value
					}
				}
				return ""
			}
			f := ""
			if len(e.Values) > 0 {
				f = e.Values[0].Str
			}
			got := []string{e.ID, e.Prediction.Str, e.Error, e.EntityID, e.TraceID, segment("who"), segment("n"), f}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if !e.Failed {
				t.Error("the failure is lost with its text")
			}
		})
	}
}

func TestPolicyOfOutcomes(t *testing.T) {
	p := policy(t, event.PolicySpec{Fields: fields{"id": {Action: event.HMAC}, "label": {Type: event.CategoricalType}, "source": {Action: event.Drop}, "annotator": {Action: event.HMAC}, "explanation": {Action: event.Drop}}})
	e := filtered(t, p, event.Outcome, `{"id":"o","prediction_id":"SECRET","name":"label","label":1.0,"source":"s","annotator":"a","explanation":"x"}`)
	if e.PredictionID != pseudonym("SECRET") || e.Label != event.Cat("1") || e.Source != "" || e.Annotator != pseudonym("a") || e.Explanation != "" {
		t.Errorf("%+v", e)
	}
	p = policy(t, event.PolicySpec{Fields: fields{"prediction_id": {Action: event.HMAC}, "label": {Type: event.NumericType}}})
	e = filtered(t, p, event.Outcome, `{"id":"o","prediction_id":"p","name":"label","label":"x"}`)
	if e.ID != "o" || e.PredictionID != pseudonym("p") || e.Label.Kind != event.Invalid {
		t.Errorf("%+v", e)
	}
}

func TestPolicyOfPredictions(t *testing.T) {
	for _, c := range []struct {
		rule    event.FieldRule
		literal string
		want    event.Value
	}{
		{event.FieldRule{Action: event.HMAC}, `1.50`, event.Cat(pseudonym("1.5"))},
		{event.FieldRule{Action: event.HMAC}, `[1]`, event.Value{Kind: event.Invalid}},
		{event.FieldRule{Action: event.Bucket, BucketWidth: 5}, `12`, event.Num(10)},
		{event.FieldRule{Action: event.Bucket, BucketWidth: 5}, `"a"`, event.Value{Kind: event.Invalid}},
		{event.FieldRule{Action: event.Drop}, `[1]`, event.Value{}},
		{event.FieldRule{Type: event.CategoricalType}, `[1]`, event.Value{Kind: event.Invalid}},
	} {
		p := policy(t, event.PolicySpec{Fields: fields{"prediction": c.rule}})
		e := filtered(t, p, event.Prediction, `{"id":"a","model":"m","prediction":`+c.literal+`}`)
		if e.Prediction != c.want || len(e.Vectors) != 0 {
			t.Errorf("%s: got %+v %v, want %+v", c.literal, e.Prediction, e.Vectors, c.want)
		}
	}
}

// A rule of some models adds to the global ones and can only tighten them.
func TestPolicyOfModels(t *testing.T) {
	p := policy(t, event.PolicySpec{
		Fields: fields{"email": {Action: event.HMAC}, "age": {Action: event.Bucket, BucketWidth: 10}},
		Models: []event.ModelPolicy{
			{Glob: "fraud-*", Fields: fields{"zip": {Type: event.CategoricalType}, "email": {Action: event.Count}, "age": {Action: event.Bucket, BucketWidth: 20}}},
			{Glob: "*-e?", Fields: fields{"email": {Action: event.Drop}, "age": {Action: event.Bucket, BucketWidth: 5}}},
		},
	})
	const features = `"features":{"email":"x","zip":10115,"age":37}}`
	for model, want := range map[string][]event.Value{
		"churn":    {event.Cat(pseudonym("x")), event.Num(10115), event.Num(30)},
		"fraud-us": {event.Cat(pseudonym("x")), event.Cat("10115"), event.Num(20)},
		"fraud-eu": {event.Cat("10115"), event.Num(20)},
		"churn-eu": {event.Num(10115), event.Num(30)},
	} {
		for _, data := range []string{
			`{"id":"a","model":"` + model + `",` + features,
			`{"id":"a",` + strings.TrimSuffix(features, "}") + `,"model":"` + model + `"}`,
			`{"id":"a","model":"` + model + `",` + strings.TrimSuffix(features, "}") + `,"model_version":"7"}`,
		} {
			if diff := cmp.Diff(want, filtered(t, p, event.Prediction, data).Values); diff != "" {
				t.Errorf("%s: %s", data, diff)
			}
		}
	}
}

// Rows of several models share what is beside them: each under its own rules.
func TestPolicyOfRows(t *testing.T) {
	p := policy(t, event.PolicySpec{Models: []event.ModelPolicy{{Glob: "a", Fields: fields{"f": {Action: event.Drop}, "entity_id": {Action: event.HMAC}, "c": {Action: event.Drop}, "prediction": {Action: event.Bucket, BucketWidth: 10}}}}})
	var b event.Batch
	d := event.NewDecoder(p, event.DefaultLimits)
	if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"i","model":"b","features":{"f":"x"},"prediction":[17],"entity_id":"e","segments":{"c":"s"},"rows":[{"model":"a"},{"model":"b"},{"model":"a"}]}`)); r != nil {
		t.Fatal(r)
	}
	for i, e := range b.Events {
		if hidden := e.Model == "a"; hidden != (len(e.Values) == 0) || hidden != (e.EntityID == pseudonym("e")) || hidden != (len(e.Segments) == 0) || hidden != (e.PredictionVector()[0] == 10) {
			t.Errorf("row %d of model %s: %+v", i, e.Model, e)
		}
	}
}

func TestPolicyFaults(t *testing.T) {
	_, err := event.NewPolicy(event.PolicySpec{
		Default: event.Bucket,
		Fields:  fields{"a": {Action: event.HMAC}, "b": {Action: event.Bucket}, "c": {Action: 99}},
		Models:  []event.ModelPolicy{{Glob: "m*", Fields: fields{"d": {Action: event.Bucket, BucketWidth: math.NaN()}, "e": {Type: 9}}}},
	})
	for _, want := range []string{"privacy default", `field "b": bucket width is 0`, `field "c": unknown`, `model "m*" field "d": bucket width is NaN`, `field "e": unknown`, "hmac key: 0 bytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}

func TestPolicyIsIndependentOfItsSpec(t *testing.T) {
	spec := event.PolicySpec{HMACKey: []byte(strings.Clone(string(key))), Fields: fields{"x": {Action: event.HMAC}}, Models: []event.ModelPolicy{{Glob: "n", Fields: fields{}}}}
	p := policy(t, spec)
	spec.HMACKey[0]++
	spec.Fields["x"] = event.FieldRule{}
	spec.Models[0].Glob = "*"
	if got := filtered(t, p, event.Prediction, `{"id":"a","model":"m","features":{"x":"x"}}`).Values[0]; got.Str != pseudonym("x") {
		t.Errorf("got %+v", got)
	}
	if p.KeyID() != pseudonym("")[:8] || (*event.Policy)(nil).KeyID() != "" {
		t.Error("key id")
	}
}

// texts lists every string in an event, through exported and other fields.
func texts(v reflect.Value, out []string) []string {
	switch v.Kind() {
	case reflect.String:
		return append(out, v.String())
	case reflect.Struct:
		for _, field := range v.Fields() {
			out = texts(field, out)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = texts(v.Index(i), out)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out = texts(v.Elem(), out)
		}
	}
	return out
}

// Whatever a publisher writes, a dropped field's value is nowhere in the batch:
// not in an event, not in a reject, not in memory behind them.
func FuzzDroppedFieldsLeaveNothing(f *testing.F) {
	f.Add(`{"id":"a","model":"m","features":{"x":1,"secret":"CANARY"},"entity_id":"CANARY"}`)
	f.Add(`{"features":{"s\u0065cret":["CANARY"]},"model":"m","id":"a","segments":{"secret":"CANARY"}}`)
	f.Add(`{"id":"a","model":"m","entity_id":"CANARY","rows":[{"prediction":1},{"features":{"secret":"CANARY"}}]}`)
	f.Add("{\"id\":\"a\",\"model\":\"m\",\"prediction\":1,\"error\":\"CANARY\"}\n{\"entity_id\":\"CANARY\",}")
	f.Add(`{"id":"a","model":"m","features":{"secret":{"secret":"CANARY"},"secret":"CANARY"}}`)
	p := policy(f, event.PolicySpec{Fields: fields{"secret": {Action: event.Drop}, "entity_id": {Action: event.HMAC}, "trace_id": {Action: event.Drop}, "error": {Action: event.Drop}}})
	f.Fuzz(func(t *testing.T, data string) {
		d := event.NewDecoder(p, event.DefaultLimits)
		var b event.Batch
		r := d.Decode(&b, event.Prediction, "", []byte(data))
		for i := range b.Events {
			e := b.Events[i]
			if e.Error != "" || e.TraceID != "" || (e.EntityID != "" && !strings.HasPrefix(e.EntityID, p.KeyID()+":")) {
				t.Fatalf("%s\nunfiltered: %+v", data, e)
			}
			if e.Features != nil {
				for _, name := range e.Features.Names {
					if name == "secret" {
						t.Fatalf("%s\nkept the dropped feature", data)
					}
				}
			}
			for _, g := range e.Segments {
				if g.Name == "secret" {
					t.Fatalf("%s\nkept the dropped segment", data)
				}
			}
		}
		if strings.Count(data, "CANARY") != strings.Count(data, `"CANARY"`) {
			return // the canary became a name, or part of another field's text
		}
		for _, s := range append(texts(reflect.ValueOf(b.Rejects), nil), texts(reflect.ValueOf(r), nil)...) {
			if strings.Contains(s, "CANARY") && !strings.Contains(data, `"CANARY":`) {
				t.Fatalf("%s\nthe reject tells %s", data, s)
			}
		}
	})
}

func TestDroppedFieldsLeaveNothing(t *testing.T) {
	p := policy(t, event.PolicySpec{Default: event.Drop, Fields: fields{"prediction": {Action: event.Drop}, "label": {Action: event.Drop}, "source": {Action: event.Drop}, "id": {Action: event.HMAC}}})
	d := event.NewDecoder(p, event.DefaultLimits)
	for kind, data := range map[event.Kind]string{
		event.Prediction: strings.ReplaceAll(everywhere, `"features":{`, `"rows":[{},{"trace_id":"SECRET"},{"variant":"SECRET"},{"id":"SECRET","error":"SECRET","scores":{"p":"SECRET"},"custom":"SECRET"}],"features":{"v":["SECRET"],"o":{"k":"SECRET"},`),
		event.Outcome:    `{"prediction_id":"SECRET","name":"label","label":"SECRET","source":"SECRET","annotator":"SECRET","explanation":"SECRET","model":"m"}`,
	} {
		var b event.Batch
		if r := d.Decode(&b, kind, "", []byte(data)); r != nil {
			t.Fatal(r)
		}
		for _, s := range texts(reflect.ValueOf(b), nil) {
			if s == "SECRET" {
				t.Errorf("%s: a dropped value is in %+v", kind, b)
			}
		}
	}
}
