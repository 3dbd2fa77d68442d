package event_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

// kserve are the headers of a KServe log, with more or other ones.
func kserve(part string, more ...string) map[string][]string {
	return headers(append([]string{
		"ce-specversion", "1.0", "ce-type", "org.kubeflow.serving.inference." + part, "ce-id", "a",
		"ce-inferenceservicename", "m",
	}, more...)...)
}

func seldonHeaders(typ string, more ...string) map[string][]string {
	return headers(append([]string{"Ce-Type", "io.seldon.serving." + typ, "Ce-Requestid", "a", "Ce-Inferenceservicename", "m"}, more...)...)
}

func headers(pairs ...string) map[string][]string {
	h := map[string][]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h[pairs[i]] = []string{pairs[i+1]}
	}
	return h
}

// Every refusal has the reason which bare JSON would have, and says where.
func TestCoatRefusals(t *testing.T) {
	own := headers("ce-type", "io.driftd.prediction.v1", "ce-specversion", "1.0", "ce-id", "a")
	proto := headers("content-type", "application/x-protobuf")
	structured := headers("content-type", "application/cloudevents+json")
	tensor := func(x string) string { return `{"inputs":[{"name":"a","datatype":"FP32",` + x + `}]}` }
	for _, c := range []struct {
		name    string
		headers map[string][]string
		body    string
		want    string
	}{
		{"unknown type", headers("ce-type", "com.example.order"), `{}`, `schema: cloudevent: type "com.example.order" is not known; driftd reads io.driftd.prediction.v1`},
		{"unknown version of ours", headers("ce-type", "io.driftd.prediction.v2"), `{}`, `schema: cloudevent: type "io.driftd.prediction.v2" is not known`},
		{"no type", headers("ce-specversion", "1.0"), `{}`, `schema: cloudevent: type is missing`},
		{"specversion", headers("ce-type", "io.driftd.kpi.v1", "ce-specversion", "2.0"), `{}`, `schema: cloudevent: specversion "2.0" is not known; send 1.0 or 0.3`},
		{"own, fault inside", own, `{"model":"m","features":{"x":nan}}`, `decode: cloudevent "io.driftd.prediction.v1", byte 29, features.x: nan is not JSON; send null`},
		{"own, missing", own, `{"model":"m"}`, `schema: cloudevent "io.driftd.prediction.v1", byte 0: features and prediction are missing`},
		{"own, subject", own, `{"model":"n","prediction":1}`, `subject_mismatch: cloudevent "io.driftd.prediction.v1", byte 0: model is "n" but the subject says "m"`},
		{"own, bad time", headers("ce-type", "io.driftd.kpi.v1", "ce-time", "yesterday"), `{}`, `schema: cloudevent "io.driftd.kpi.v1": time is not a date`},
		{"own, long id", headers("ce-type", "io.driftd.kpi.v1", "ce-id", strings.Repeat("x", 1025)), `{}`, `limit: cloudevent "io.driftd.kpi.v1", id: longer than 1024 bytes`},
		{"own, id not UTF-8", headers("ce-type", "io.driftd.kpi.v1", "ce-id", "%ff"), `{}`, `decode: cloudevent "io.driftd.kpi.v1", id: invalid UTF-8`},
		{"structured, offset in the message", structured, `{"specversion":"1.0","type":"io.driftd.prediction.v1","id":"a","data":{"model":"m","features":{"x":1},"time":"?"}}`, `schema: cloudevent "io.driftd.prediction.v1", byte 109, time: time is not a date`},
		{"structured, bad element", structured, `{"specversion":"1.0","type":"io.driftd.prediction.v1","id":"a","data":{"model":"m","features":{"x":}}}`, `decode: cloudevent, byte 99, data: a value is missing here`},
		{"structured, twice", structured, `{"specversion":"1.0","type":"a","type":"b"}`, `decode: cloudevent, byte 39, type: key "type" occurs twice`},
		{"structured, no data", structured, `{"specversion":"1.0","type":"io.driftd.kpi.v1"}`, `schema: cloudevent, byte 0: cloudevent without data`},
		{"structured, base64", structured, `{"specversion":"1.0","type":"io.driftd.kpi.v1","data_base64":"?"}`, `decode: cloudevent, byte 0, data_base64: not base64`},
		{"structured, rest", structured, `{"specversion":"1.0","type":"x","data":1}x`, `decode: cloudevent, byte 41: 'x' after the end of the cloudevent`},
		{"structured, no object", structured, `7`, `schema: cloudevent, byte 0: must be an object`},
		{"batch, each", nil, `[{"specversion":"1.0","type":"x","data":1},{"specversion":"1.0","data":1}]`, `schema: element 0, cloudevent: type "x" is not known`},
		{"batch, grammar", headers("content-type", "application/cloudevents-batch+json"), `[{"specversion":"1.0"}`, `schema: cloudevents, byte 1: cloudevent without data`},
		{"batch, empty", headers("content-type", "application/cloudevents-batch+json"), `[]`, `decode: cloudevents, byte 2: not an array of cloudevents`},
		{"kserve, other body", kserve("request"), `{"predictions":[1],"foo":2}`, `schema: cloudevent "org.kubeflow.serving.inference.request", byte 0: a request without instances, inputs or data; seen: foo, predictions`},
		{"kserve, error answer", kserve("response"), `{"error":"x"}`, `schema: cloudevent "org.kubeflow.serving.inference.response", byte 0: a response without predictions, outputs or data; seen: error`},
		{"kserve, empty", kserve("request"), ``, `decode: cloudevent "org.kubeflow.serving.inference.request", byte 0: empty payload`},
		{"kserve, no rows", kserve("request"), `{"instances":[]}`, `schema: cloudevent "org.kubeflow.serving.inference.request", byte 0: payload without rows`},
		{"kserve, not JSON", kserve("request"), `{"instances":[[1,NaN]]}`, `decode: cloudevent "org.kubeflow.serving.inference.request", byte 17, instances: NaN is not JSON`},
		{"kserve, twice", kserve("request"), `{"instances":[1],"instances":[2]}`, `decode: cloudevent "org.kubeflow.serving.inference.request", byte 29, instances: key "instances" occurs twice`},
		{"kserve, feature twice", kserve("request"), `{"instances":[{"a":1,"a":2}]}`, `decode: cloudevent "org.kubeflow.serving.inference.request", row 0, features: key "a" occurs twice`},
		{"kserve, mixed", kserve("request"), `{"instances":[{"a":1},[2]]}`, `schema: cloudevent "org.kubeflow.serving.inference.request", byte 22, instances: row 1: objects and lists are mixed`},
		{"kserve, rest", kserve("request"), `{"instances":[1]}]`, `decode: cloudevent "org.kubeflow.serving.inference.request", byte 17: ']' after the end of the payload`},
		{"kserve, without a name", headers("ce-type", "org.kubeflow.serving.inference.request", "ce-id", "a"), `{"instances":[1]}`, `schema: cloudevent "org.kubeflow.serving.inference.request", row 0: model is missing`},
		{"kserve, without an id", headers("ce-type", "org.kubeflow.serving.inference.request", "ce-inferenceservicename", "m"), `{"instances":[1]}`, `schema: cloudevent "org.kubeflow.serving.inference.request", row 0: id is missing`},
		{"kserve, bad time", kserve("request", "ce-time", "?"), `{"instances":[1]}`, `schema: cloudevent "org.kubeflow.serving.inference.request", time: time is not a date`},
		{"kserve, bad annotations", kserve("request", "ce-annotations", "{,"), `{"instances":[1]}`, `decode: cloudevent "org.kubeflow.serving.inference.request", ce-annotations: ',' where a key in double quotes belongs`},
		{"kserve, bad variant", kserve("request", "ce-annotations", `{"driftd.dev/variant":"blue"}`), `{"instances":[1]}`, `schema: cloudevent "org.kubeflow.serving.inference.request", variant: must be primary, canary or shadow`},
		{"kserve, answer without a prediction", kserve("response"), `{"predictions":[{"a":1,"b":2}]}`, `schema: cloudevent "org.kubeflow.serving.inference.response", row 0: no member of the object is called prediction`},
		{"kserve, subject", headers("ce-type", "org.kubeflow.serving.inference.request", "ce-id", "a", "ce-inferenceservicename", "n"), `{"instances":[1]}`, `subject_mismatch: cloudevent "org.kubeflow.serving.inference.request", row 0: model is "n" but the subject says "m"`},
		{"v2, shape", kserve("request"), tensor(`"shape":[2,2],"data":[1,2,3]`), `schema: cloudevent "org.kubeflow.serving.inference.request", byte 11, inputs: tensor "a": 3 values do not make the shape`},
		{"v2, no shape", kserve("request"), tensor(`"data":[1]`), `: tensor "a": shape is missing`},
		{"v2, no data", kserve("request"), tensor(`"shape":[1]`), `: tensor "a": no values`},
		{"v2, zero rows", kserve("request"), tensor(`"shape":[0,2],"data":[1]`), `: tensor "a": 1 values do not make the shape`},
		{"v2, huge shape", kserve("request"), tensor(`"shape":[2147483647,2147483647,2147483647],"data":[1]`), `: tensor "a": 1 values do not make the shape`},
		{"v2, negative shape", kserve("request"), tensor(`"shape":[-1],"data":[1]`), `: shape is not up to 16 whole numbers`},
		{"v2, binary", kserve("request"), tensor(`"shape":[1],"parameters":{"binary_data_size":4}`), `: tensor "a": binary data; log JSON`},
		{"v2, no list", kserve("request"), tensor(`"shape":[1],"data":1`), `: must be an array of values`},
		{"v2, twice", kserve("request"), tensor(`"shape":[1],"shape":[1],"data":[1]`), `key "shape" occurs twice`},
		{"v2, no tensors", kserve("request"), `{"inputs":[]}`, `: no tensors; send at least one`},
		{"v2, uneven", kserve("request"), `{"inputs":[{"name":"a","shape":[1],"data":[1]},{"name":"b","shape":[2],"data":[1,2]}]}`, `: tensor "a" has 1 rows and "b" has 2; send as many in each`},
		{"v2, columns of one name", kserve("request"), `{"inputs":[{"name":"a","shape":[1],"data":[1]},{"name":"a","shape":[1],"data":[1]}]}`, `decode: cloudevent "org.kubeflow.serving.inference.request", row 0, features: key "a" occurs twice`},
		{"seldon, no array", seldonHeaders("inference.request"), `{"data":{"names":["a"],"tftensor":{}}}`, `: data without ndarray or tensor; seen: names, tftensor`},
		{"seldon, tensor", seldonHeaders("inference.request"), `{"data":{"tensor":{"shape":[3],"values":[1]}}}`, `: tensor: 1 values do not make the shape`},
		{"seldon, binary", seldonHeaders("inference.request"), `{"binData":"AA=="}`, `binData: binary data`},
		{"seldon, outlier", seldonHeaders("inference.outlier"), `{}`, `schema: cloudevent: type "io.seldon.serving.inference.outlier" is not known`},
		{"feedback, nothing", seldonHeaders("feedback"), `{"request":{"data":{"ndarray":[1]}}}`, `schema: cloudevent "io.seldon.serving.feedback": reward and truth are missing`},
		{"feedback, of nothing", headers("ce-type", "io.seldon.serving.feedback"), `{"reward":1}`, `: response.meta.puid and ce-requestid are missing`},
		{"feedback, reward", seldonHeaders("feedback"), `{"reward":"good"}`, `schema: cloudevent "io.seldon.serving.feedback", byte 10, reward: must be a number or null`},
		{"feedback, grammar", seldonHeaders("feedback"), `{"reward":1`, `decode: cloudevent "io.seldon.serving.feedback", byte 11: message ends`},
		{"feedback, rest", seldonHeaders("feedback"), `{"reward":1} x`, `: 'x' after the end of the payload`},
		{"otlp, no protobuf", proto, "\xff\xff", `decode: otlp logs: not the protobuf of OTLP logs: `},
		{"otlp, cut", proto, string(export(bentoBody())[:200]), `decode: otlp logs: not the protobuf of OTLP logs: `},
		{"otlp, empty", proto, "", `schema: otlp logs: no log records`},
		{"otlp, not UTF-8", proto, string(export(object{{"a", "\xff"}})), `decode: otlp logs: invalid UTF-8`},
		{"otlp, key not UTF-8", proto, string(export("x", object{{"\xff", "a"}})), `decode: otlp logs: after record 0: invalid UTF-8 in a key`},
		{"otlp, deep", proto, string(export(deep(40))), `decode: otlp logs: nested deeper than 32 levels`},
		{"otlp, text", proto, string(export("hello")), `schema: otlp logs, element 0: body is no object`},
		{"otlp, other logs", proto, string(export(object{{"a", "b"}})), `schema: otlp logs, element 0: bento_meta is missing`},
		{"otlp json, grammar", nil, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":7}]}}}]}]}]}`, `schema: otlp logs, byte 87, resourceLogs.scopeLogs.logRecords.body.kvlistValue.values.key: must be a string`},
		{"otlp json, int", nil, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"intValue":"x"}}]}]}]}`, `: must be a whole number`},
		{"otlp json, deep", nil, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, 20) + `{"intValue":1}` + strings.Repeat(`]}}`, 20) + `}]}]}]}`, `decode: `},
		{"bare stays bare", nil, `{"id":"a","model":"m"}`, `schema: byte 0: features and prediction are missing; send one of them`},
		{"bare, not JSON", nil, `{"inputs":nope}`, `decode: byte 10: 'n' where a value belongs`},
		{"bare v2 without a model", nil, `{"inputs":[],"id":"a"}`, `schema: byte 0: model is missing`},
		{"bare array", nil, `[{"a":1}]`, `schema: element 0, byte 1: id is missing`},
		{"bare v2", nil, `{"model_name":"m","inputs":[]}`, `schema: open inference request, byte 27, inputs: no tensors`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			d := event.NewDecoder(nil, event.DefaultLimits)
			r := d.DecodeWrapped(&b, event.Envelope{Headers: c.headers}, "ml.predictions.m.1", []byte(c.body))
			if r == nil || r.Row != -1 || !strings.Contains(r.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", r, c.want)
			}
			if len(b.Events)+len(b.Rejects) != 0 {
				t.Errorf("left %v %v", ids(&b), rejects(&b))
			}
			if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"good","model":"n","prediction":[`)); r == nil || !strings.HasPrefix(r.Detail, "byte 39, prediction: ") {
				t.Errorf("the coat sticks: %v", r)
			}
		})
	}
}

func deep(n int) any {
	if n == 0 {
		return "x"
	}
	return []any{deep(n - 1)}
}

// Bad rows and elements cost no other, and keep their numbers.
func TestCoatRowsRefusedAlone(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers map[string][]string
		body    string
		events  []string
		rejects []string
	}{
		{"ragged", kserve("request"), `{"instances":[[1,2],[1],[3,4]]}`, []string{"a#0 m@", "a#2 m@"}, []string{
			`1 schema: cloudevent "org.kubeflow.serving.inference.request", row 1: 1 values for 2 features; send as many in each row, as many as are named`,
		}},
		{"answers", kserve("response"), `{"predictions":[{"label":"x","p":0.5},{"a":1,"b":2},{"only":[3]}]}`, []string{"a#0 m@", "a#2 m@"}, []string{
			`1 schema: cloudevent "org.kubeflow.serving.inference.response", row 1: no member of the object is called prediction; name it so, or class or label`,
		}},
		{"empty list", kserve("response"), `{"predictions":[[],[1]]}`, []string{"a#1 m@"}, []string{
			`0 schema: cloudevent "org.kubeflow.serving.inference.response", row 0: no values`,
		}},
		{"batch", headers("content-type", "application/cloudevents-batch+json"), `[{"specversion":"1.0","type":"x","data":{}},{"specversion":"1.0","type":"io.driftd.prediction.v1","id":"b","data":{"model":"m","prediction":1}}]`, []string{"b m@"}, []string{
			`0 schema: element 0, cloudevent: type "x" is not known; driftd reads io.driftd.prediction.v1, io.driftd.outcome.v1, io.driftd.kpi.v1, org.kubeflow.serving.inference.request and response, io.seldon.serving.inference.request and response, and io.seldon.serving.feedback`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			if r := event.NewDecoder(nil, event.DefaultLimits).DecodeWrapped(&b, event.Envelope{Headers: c.headers}, "", []byte(c.body)); r != nil {
				t.Fatal(r)
			}
			if diff := cmp.Diff(c.events, ids(&b)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.rejects, rejects(&b)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Values of every odd form arrive as the schema has them.
func TestCoatValues(t *testing.T) {
	for _, c := range []struct {
		name     string
		headers  map[string][]string
		wrapping event.Wrapping
		body     string
		want     string
	}{
		{"images are vectors", kserve("request"), event.Wrapping{}, `{"instances":[[[1,2],[3,4]]]}`, `"features":{"f0":[1,2,3,4]}`},
		{"single values", kserve("request"), event.Wrapping{}, `{"instances":["a","b"]}`, `"features":{"f0":"a"}`},
		{"names for lists", kserve("request"), event.Wrapping{Models: []event.WrappedModel{{Glob: "n"}, {Glob: "*", Features: []string{"x", "y"}}}}, `{"instances":[[1,2]]}`, `"features":{"x":1,"y":2}`},
		{"tensors of three dimensions", kserve("request"), event.Wrapping{}, `{"inputs":[{"name":"img","shape":[1,2,2],"data":[1,2,3,4]}]}`, `"features":{"img":[1,2,3,4]}`},
		{"a tensor without dimensions", kserve("request"), event.Wrapping{}, `{"inputs":[{"name":"x","shape":[],"data":[5]}],"outputs":null}`, `"features":{"x":5}`},
		{"an answer of two columns", kserve("response"), event.Wrapping{}, `{"outputs":[{"name":"y","shape":[1,2],"data":[1,2]}]}`, `"prediction":[1,2],"scores":{"y_0":1,"y_1":2}`},
		{"an answer which is an object", kserve("response"), event.Wrapping{}, `{"predictions":[{"scores":[0.1],"class":"b","extra":{},"label":"c"}]}`, `"prediction":"b","scores":{"scores":0.1}`},
		{"seldon's JSON list", seldonHeaders("inference.request"), event.Wrapping{}, `{"jsonData":[[1,2]]}`, `"features":{"f0":1,"f1":2}`},
		{"version in a header", kserve("request", "ce-metadata", `{"Driftd-Model-Version":["7","8"],"x":[]}`), event.Wrapping{}, `{"instances":[1]}`, `"model_version":"7"`},
		{"variant in an annotation", kserve("request", "ce-annotations", `{"driftd.dev/variant":"shadow","n":1}`, "ce-endpoint", "canary"), event.Wrapping{}, `{"instances":[1]}`, `"variant":"shadow"`},
		{"variant by endpoint", kserve("request", "ce-endpoint", "blue"), event.Wrapping{Variants: map[string]event.Variant{"blue": event.Canary}}, `{"instances":[1]}`, `"variant":"canary"`},
		{"model by template", kserve("request", "ce-namespace", "prod"), event.Wrapping{Model: "{namespace}/{model}-x"}, `{"instances":[1]}`, `"model":"prod/m-x"`},
		{"version and variant by template", kserve("request", "ce-annotations", `{"app/version":"7","track":"green"}`), event.Wrapping{Version: "v{annotations.app/Version}", Variant: "{annotations.track}", Variants: map[string]event.Variant{"green": event.Shadow}}, `{"instances":[1]}`, `"model_version":"v7","variant":"shadow"`},
		{"a template whose attribute is missing", kserve("request", "ce-annotations", `{"driftd.dev/model-version":"3","driftd.dev/variant":"canary"}`), event.Wrapping{Version: "{annotations.app}", Variant: "{metadata.x}"}, `{"instances":[1]}`, `"model_version":"3","variant":"canary"`},
		{"a variant that means nothing", kserve("request", "ce-endpoint", "canary"), event.Wrapping{Variant: "{id}"}, `{"instances":[1]}`, `"variant":"canary"`},
		{"booleans as numbers, nested", kserve("request"), event.Wrapping{}, `{"inputs":[{"name":"b","datatype":"BOOL","shape":[2],"data":[1,0]},{"name":"n","datatype":"INT32","shape":[2,1],"data":[[34],[22]]}]}`, `"features":{"b":"true","n":34}`},
		{"the truth in a column", seldonHeaders("feedback"), event.Wrapping{}, `{"truth":{"data":{"names":["no","yes"],"ndarray":[[0.0,1.0]]}}}`, `"label":"yes"`},
		{"quoted header", headers("ce-type", `"org.kubeflow.serving.inference.request"`, "ce-id", "50%", "ce-inferenceservicename", "m%zz%41"), event.Wrapping{}, `{"instances":[1]}`, `{"id":"50%#0","model":"m%zzA"`},
		{"generation is part of other names", headers("ce-type", "io.seldon.serving.inference.request", "ce-source", "io.seldon.serving.deployment.x.y", "ce-modelid", "resnet_v2", "ce-endpoint", "resnet_v2", "ce-id", "a"), event.Wrapping{}, `{"instances":[1]}`, `"model":"resnet_v2"`},
		{"a server without an id of its model", headers("ce-type", "io.seldon.serving.inference.request", "ce-source", "io.seldon.serving.deployment.x.y", "ce-modelid", "NOTIMPLEMENTED"), event.Wrapping{}, `{"id":"b","model_name":"iris_2","inputs":[{"name":"x","shape":[1],"data":[5]}]}`, `{"id":"b#0","model":"iris","model_version":"2"`},
		{"empty headers", map[string][]string{"ce-type": nil, "Nats-Msg-Id": {"x"}}, event.Wrapping{}, `{"id":"a","model":"m","prediction":1}`, `{"id":"a","model":"m","prediction":1}`},
		{"only a message id", map[string][]string{"Nats-Msg-Id": {"x"}}, event.Wrapping{}, `{"id":"a","model":"m","prediction":1}`, `{"id":"a","model":"m","prediction":1}`},
		{"many truths", seldonHeaders("feedback"), event.Wrapping{}, `{"reward":null,"truth":{"data":{"ndarray":[[1,2]]}},"response":null,"x":1}`, `"label":{}`},
		{"later lines of data", headers("ce-type", "io.driftd.prediction.v1", "ce-id", "a"), event.Wrapping{}, "{\"id\":\"z\",\"model\":\"m\",\"prediction\":1}\n{\"model\":\"m\",\"prediction\":1}", `{"id":"a#1","model":"m"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			d := event.NewDecoder(nil, event.DefaultLimits)
			d.SetWrapping(c.wrapping)
			if r := d.DecodeWrapped(&b, event.Envelope{Headers: c.headers}, "", []byte(c.body)); r != nil && c.headers["Nats-Msg-Id"] == nil {
				t.Fatal(r)
			} else if r != nil { // without a kind there is no bare event
				if r = d.DecodeWrapped(&b, event.Envelope{Kind: event.Prediction, Headers: c.headers}, "", []byte(c.body)); r != nil {
					t.Fatal(r)
				}
			}
			if got := lines(b.Events); !strings.Contains(got, c.want) {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}

// A way in for one kind takes no other.
func TestCoatKind(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	var b event.Batch
	for _, c := range []struct {
		headers map[string][]string
		body    string
	}{
		{kserve("request"), `{"instances":[1]}`},
		{headers("ce-type", "io.driftd.prediction.v1"), `{"id":"a","model":"m","prediction":1}`},
		{headers("content-type", "application/x-protobuf"), string(export(bentoBody()))},
	} {
		r := d.DecodeWrapped(&b, event.Envelope{Kind: event.Outcome, Headers: c.headers}, "", []byte(c.body))
		if r == nil || r.Reason != event.Schema || !strings.Contains(r.Detail, "belongs; send it to the way in for") {
			t.Errorf("%v: %v", c.headers, r)
		}
		if r := d.DecodeWrapped(&b, event.Envelope{Kind: event.Prediction, Headers: c.headers}, "", []byte(c.body)); r != nil {
			t.Error(r)
		}
	}
	w := event.Wrapping{Model: "{namespace}.{model}"}
	d.SetWrapping(w)
	if r := d.DecodeWrapped(&b, event.Envelope{Headers: kserve("request")}, "", []byte(`{"instances":[1]}`)); r == nil || !strings.Contains(r.Detail, `attribute "namespace" is missing`) {
		t.Error(r)
	}
}

// Limits hold for what a coat unfolds to.
func TestCoatLimits(t *testing.T) {
	list := func(n int, x string) string { return strings.TrimSuffix(strings.Repeat(x+",", n), ",") }
	wide := strings.Repeat("x", 900)
	for _, c := range []struct {
		name    string
		limits  event.Limits
		headers map[string][]string
		body    string
		want    string
	}{
		{"rows", event.Limits{Rows: 3}, kserve("request"), `{"instances":[` + list(4, "1") + `]}`, "limit: "},
		{"rows of a tensor", event.Limits{Rows: 3}, kserve("request"), `{"inputs":[{"name":"a","shape":[4],"data":[1,2,3,4]}]}`, "limit: "},
		{"tensors", event.Limits{Features: 3}, kserve("request"), `{"inputs":[` + list(4, `{"name":"a","shape":[1],"data":[1]}`) + `]}`, "limit: "},
		{"features", event.Limits{Features: 3}, kserve("request"), `{"instances":[[1,2,3,4]]}`, "limit: "},
		{"event bytes", event.Limits{EventBytes: 100}, kserve("request"), `{"instances":[[` + list(50, "1") + `]]}`, "too_large: "},
		{"names for each row", event.Limits{EventBytes: 1000}, kserve("request"), `{"inputs":[{"name":"` + wide + `","shape":[100],"data":[` + list(100, "1") + `]}]}`, "limit: "},
		{"string bytes", event.Limits{StringBytes: 20}, kserve("request"), `{"instances":[{"` + wide + `":1}]}`, "limit: "},
		{"depth", event.Limits{Depth: 6}, kserve("request"), `{"instances":[` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `]}`, "decode: "},
		{"records", event.Limits{Rows: 1}, headers("content-type", "application/protobuf"), string(export("a", "b")), "limit: "},
		{"records of JSON", event.Limits{Rows: 1}, nil, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{}]}]}]}`, "limit: "},
		{"records grown", event.Limits{EventBytes: 10}, headers("content-type", "application/protobuf"), string(export(bentoBody(), bentoBody(), bentoBody(), bentoBody())), "limit: "},
		{"elements", event.Limits{Rows: 1}, nil, `[` + list(2, `{"specversion":"1.0","type":"x","data":1}`) + `]`, "limit: "},
		{"feedback grown", event.Limits{EventBytes: 10}, seldonHeaders("feedback"), `{"reward":1,"truth":{"data":{"ndarray":[` + list(100, "1") + `]}}}`, "limit: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			r := event.NewDecoder(nil, c.limits).DecodeWrapped(&b, event.Envelope{Headers: c.headers}, "", []byte(c.body))
			if r == nil || !strings.HasPrefix(r.Error(), c.want) || len(b.Events)+len(b.Rejects) != 0 {
				t.Errorf("got %v, want %s", r, c.want)
			}
		})
	}
}

// The policy holds in every coat: what is dropped or hashed is nowhere in the events.
func TestCoatPolicy(t *testing.T) {
	p := policy(t, event.PolicySpec{Fields: fields{
		"secret": {Action: event.Drop}, "name": {Action: event.HMAC}, "amount": {Action: event.Bucket, BucketWidth: 10},
		"trace_id": {Action: event.Drop}, "id": {Action: event.HMAC}, "zip": {Type: event.CategoricalType}, "label": {Action: event.HMAC},
	}})
	row := `{"secret":"hush","name":"anna","amount":73,"zip":10115}`
	bento := object{
		{"secret", "hush"},
		{"name", "anna"},
		{"amount", "73"},
		{"truth", "anna"},
		{"request_id", "rid"},
		{"bento_meta", object{{"bento_name", "m"}, {"schema", object{{"secret", column("feature", "categorical")}, {"name", column("feature", "categorical")}, {"truth", column("target", "categorical")}}}}},
	}
	trace := "00-64564c191d5294dc3c5e578fe70b1bd8-cca0ca20e93e2036-00"
	d := event.NewDecoder(p, event.DefaultLimits)
	for i, c := range []struct {
		headers map[string][]string
		body    string
	}{
		{kserve("request", "ce-id", "rid", "ce-traceparent", trace), `{"instances":[` + row + `]}`},
		{kserve("request", "ce-id", "rid", "ce-traceparent", trace), `{"inputs":[{"name":"secret","shape":[1],"data":["hush"]},{"name":"name","shape":[1],"data":["anna"]},{"name":"amount","shape":[1],"data":[73]},{"name":"zip","shape":[1],"data":[10115]}]}`},
		{seldonHeaders("inference.request", "ce-requestid", "rid"), `{"data":{"names":["secret","name","amount","zip"],"ndarray":[["hush","anna",73,10115]]}}`},
		{seldonHeaders("feedback", "ce-requestid", "rid"), `{"truth":{"data":{"ndarray":["anna"]}}}`},
		{headers("ce-type", "io.driftd.prediction.v1", "ce-id", "rid"), `{"model":"m","features":` + row + `}`},
		{headers("content-type", "application/x-protobuf"), string(export(bento))},
	} {
		var b event.Batch
		if r := d.DecodeWrapped(&b, event.Envelope{Headers: c.headers}, "", []byte(c.body)); r != nil {
			t.Fatal(i, r)
		}
		state := event.NewJoiner(event.JoinLimits{})
		text := lines(b.Events)
		state.Join(&b, 0, 1)
		text += string(state.AppendState(nil))
		for _, word := range []string{"hush", "anna", "rid", "73", "64564c19", "10115,", "10115}"} {
			if strings.Contains(text, word) {
				t.Errorf("%d: %s passes: %s", i, word, text)
			}
		}
		if i < 3 && !strings.Contains(text, `"amount":70,"zip":"10115"`) {
			t.Errorf("%d: %s", i, text)
		}
	}
}

func FuzzDecodeWrapped(f *testing.F) {
	types := []string{
		"", "io.driftd.prediction.v1", "io.driftd.outcome.v1", "io.driftd.kpi.v1", "org.kubeflow.serving.inference.request",
		"org.kubeflow.serving.inference.response", "io.seldon.serving.inference.request", "io.seldon.serving.feedback", "x",
	}
	media := []string{"", "application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-protobuf"}
	f.Add(uint8(0), uint8(4), "a", "", export(bentoBody(), bentoBody(), "x", deep(3)))
	f.Add(uint8(4), uint8(0), "a", `{"driftd.dev/model-version":"1"}`, []byte(`{"instances":[{"secret":"hush","x":[1]},[2]]}`))
	f.Add(uint8(5), uint8(0), "a", "", []byte(`{"outputs":[{"name":"a","shape":[2,2],"data":[1,2,3,4]}]}`))
	f.Add(uint8(6), uint8(0), "a", "", []byte(`{"data":{"names":["secret"],"ndarray":[["hush"]]}}`))
	f.Add(uint8(7), uint8(0), "a", "", []byte(`{"reward":1,"truth":{"data":{"ndarray":["hush"]}}}`))
	f.Add(uint8(0), uint8(0), "a", "", []byte(`{"specversion":"1.0","type":"io.driftd.prediction.v1","data":{"id":1,"model":"m","features":{"secret":"hush"}}}`))
	f.Add(uint8(0), uint8(3), "a", "", []byte(`[{"specversion":"1.0","type":"io.driftd.kpi.v1","data":"{}"}]`))
	f.Add(uint8(0), uint8(0), "a", "", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"a","value":{"doubleValue":"NaN"}}]}}}]}]}]}`))
	limits := event.Limits{EventBytes: 4096, Rows: 64, Features: 32, StringBytes: 64}
	p := policy(f, event.PolicySpec{Fields: fields{"secret": {Action: event.Drop}}, Default: event.Count})
	f.Fuzz(func(t *testing.T, typ, content uint8, id, annotations string, body []byte) {
		env := event.Envelope{Headers: headers("ce-id", id, "ce-inferenceservicename", "m", "ce-annotations", annotations, "content-type", media[int(content)%len(media)])}
		if n := int(typ) % len(types); n > 0 {
			env.Headers["ce-type"] = []string{types[n]}
		}
		d := event.NewDecoder(p, limits)
		var b event.Batch
		r := d.DecodeWrapped(&b, env, "", body)
		if r != nil && (len(b.Events)+len(b.Rejects) != 0 || r.Detail == "" || r.Row != -1) {
			t.Fatalf("%v with %d events, %d rejects, row %d", r, len(b.Events), len(b.Rejects), r.Row)
		}
		if r == nil && len(b.Events) == 0 {
			t.Fatal("neither events nor a refusal")
		}
		for i := range b.Events {
			e := &b.Events[i]
			if e.Features != nil && len(e.Features.Names) != len(e.Values) {
				t.Fatalf("%d names, %d values", len(e.Features.Names), len(e.Values))
			}
			for n, name := range featureNames(e) {
				if name == "secret" || len(name) > limits.StringBytes {
					t.Fatalf("feature %d is %q", n, name)
				}
			}
			if e.Kind == event.Prediction && (e.ID == "" || e.Model == "") {
				t.Fatalf("%+v", e)
			}
		}
		again := fmt.Sprint(lines(b.Events), b.Rejects, r)
		b.Reset()
		r = d.DecodeWrapped(&b, env, "", body)
		if got := fmt.Sprint(lines(b.Events), b.Rejects, r); got != again {
			t.Fatalf("first %s\nthen %s", again, got)
		}
		j := event.NewJoiner(event.JoinLimits{})
		whole := len(b.Events)
		j.Join(&b, 0, 1)
		j.Flush(&b)
		if s := j.Stats(); len(b.Events) != whole-int(s.Joined+s.Duplicate) || s.Waiting != 0 || s.Bytes != 0 {
			t.Fatalf("%d events of %d, %+v", len(b.Events), whole, s)
		}
	})
}

func featureNames(e *event.Event) []string {
	if e.Features == nil {
		return nil
	}
	return e.Features.Names
}

// Bare messages with headers do not pay for coats.
func TestDecodeWrappedDoesNotAllocateForBareMessages(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	var b event.Batch
	msgs := corpus(16)
	for _, env := range []event.Envelope{
		{Kind: event.Prediction},
		{Kind: event.Prediction, Headers: headers("Nats-Msg-Id", "prediction:1")},
		{Kind: event.Prediction, Headers: headers("Nats-Msg-Id", "prediction:1", "Content-Type", "application/json", "traceparent", "00-0-0-0")},
	} {
		run := func() {
			b.Reset()
			for _, m := range msgs {
				if r := d.DecodeWrapped(&b, env, "", m); r != nil {
					t.Fatal(r)
				}
			}
		}
		run()
		if n := testing.AllocsPerRun(50, run); n != 0 {
			t.Errorf("%v: %v allocations", env.Headers, n)
		}
	}
}

func BenchmarkDecodeWrapped(b *testing.B) {
	msgs := corpus(4000)
	env := event.Envelope{Headers: headers("Nats-Msg-Id", "prediction:1")}
	d := event.NewDecoder(nil, event.DefaultLimits)
	var batch event.Batch
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%256 == 0 {
			batch.Reset()
		}
		if r := d.DecodeWrapped(&batch, env, "ml.predictions.fraud.42", msgs[i%len(msgs)]); r != nil {
			b.Fatal(r)
		}
	}
}
