package event_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"driftd.dev/driftd/pkg/event"
)

var update = flag.Bool("update", false, "rewrite testdata/coats")

// golden is a file of testdata/coats: config, then messages as NAME.headers and
// NAME.body, then the events which they and a Joiner give, one JSON a line.
type golden struct {
	head     string
	config   string
	messages []message
	joined   string
}

type message struct {
	name    string
	headers map[string][]string
	body    []byte
}

func readGolden(t testing.TB, file string) golden {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var g golden
	headers := map[string]map[string][]string{}
	sections := strings.Split("\n"+text, "\n-- ")
	for _, s := range sections[1:] {
		title, content, _ := strings.Cut(s, " --\n")
		name, part, _ := strings.Cut(title, ".")
		switch {
		case title == "config":
			g.config = content
		case title == "want":
			g.joined = content
		case part == "headers":
			headers[name] = parseHeaders(content)
		default:
			g.messages = append(g.messages, message{name, headers[name], []byte(content)})
		}
	}
	g.head, _, _ = strings.Cut(text, "-- want --\n")
	return g
}

func parseHeaders(text string) map[string][]string {
	h := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		key, value, _ := strings.Cut(line, ":")
		h[key] = append(h[key], strings.TrimSpace(value))
	}
	return h
}

// wrapping reads lines "features GLOB name...", "classes GLOB name..." and
// "model TEMPLATE".
func wrapping(config string) (w event.Wrapping) {
	for line := range strings.SplitSeq(strings.TrimSpace(config), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "features":
			w.Models = append(w.Models, event.WrappedModel{Glob: f[1], Features: f[2:]})
		case f[0] == "classes":
			w.Models = append(w.Models, event.WrappedModel{Glob: f[1], Classes: f[2:]})
		case f[0] == "model":
			w.Model = f[1]
		}
	}
	return w
}

// lines writes events as JSON, one a line, with kind and part in front.
func lines(events []event.Event) string {
	var out bytes.Buffer
	for i := range events {
		e := &events[i]
		fmt.Fprintf(&out, "%s %s %s\n", e.Kind, e.Part, event.AppendJSON(nil, e))
	}
	return out.String()
}

// The documented payloads of every server become the right events.
func TestCoats(t *testing.T) {
	files, err := filepath.Glob("testdata/coats/*.txtar")
	if err != nil || len(files) < 13 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			g := readGolden(t, file)
			d := event.NewDecoder(nil, event.DefaultLimits)
			d.SetWrapping(wrapping(g.config))
			j := event.NewJoiner(event.JoinLimits{})
			var got bytes.Buffer
			var b event.Batch
			for i, m := range g.messages {
				from := len(b.Events)
				if r := d.DecodeWrapped(&b, event.Envelope{Headers: m.headers}, "", m.body); r != nil {
					t.Fatalf("%s: %v", m.name, r)
				}
				if len(b.Rejects) > 0 {
					t.Errorf("%s: %v", m.name, b.Rejects)
				}
				fmt.Fprintf(&got, "%s\n%s", m.name, lines(b.Events[from:]))
				j.Join(&b, from, int64(1+i))
			}
			j.Flush(&b)
			fmt.Fprintf(&got, "joined\n%s", lines(b.Events))
			if *update {
				if err := os.WriteFile(file, []byte(g.head+"-- want --\n"+got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.TrimSpace(g.joined), strings.TrimSpace(got.String())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// anyValue encodes plain JSON (decoded with UseNumber) as an OTLP AnyValue.
func anyValue(v any) []byte {
	field := func(num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	switch v := v.(type) {
	case string:
		return field(1, []byte(v))
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), protowire.EncodeBool(v))
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), uint64(n))
		}
		x, _ := v.Float64()
		return protowire.AppendFixed64(protowire.AppendTag(nil, 4, protowire.Fixed64Type), math.Float64bits(x))
	case []any:
		var values []byte
		for _, x := range v {
			values = append(values, field(1, anyValue(x))...)
		}
		return field(5, values)
	case object:
		var values []byte
		for _, m := range v {
			values = append(values, field(1, append(field(1, []byte(m.key)), field(2, anyValue(m.value))...))...)
		}
		return field(6, values)
	}
	return nil
}

// object is a JSON object in its order.
type object []member

type member struct {
	key   string
	value any
}

func column(role, typ string) object { return object{{"role", role}, {"type", typ}} }

// export is an ExportLogsServiceRequest with one record a body.
func export(bodies ...any) []byte {
	field := func(num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	var records []byte
	for i, body := range bodies {
		r := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), uint64(1668660679587727104+i))
		r = append(r, field(5, anyValue(body))...)
		r = append(r, field(9, []byte("0123456789abcdef"))...)
		r = protowire.AppendFixed64(protowire.AppendTag(r, 11, protowire.Fixed64Type), 1668660679587800000)
		r = protowire.AppendFixed32(protowire.AppendTag(r, 8, protowire.Fixed32Type), 1)
		records = append(records, field(2, r)...)
	}
	resource := field(1, field(1, append(field(1, []byte("service.name")), field(2, anyValue("b"))...)))
	return field(1, append(resource, field(2, records)...))
}

// bentoBody is the record of BentoML's documentation.
func bentoBody() object {
	return object{
		{"sepal length", json.Number("4.9")},
		{"sepal width", json.Number("3.5")},
		{"petal length", json.Number("1.4")},
		{"petal width", json.Number("0.2")},
		{"member", true},
		{"history", []any{json.Number("1"), json.Number("2.5")}},
		{"pred", "setosa"},
		{"timestamp", json.Number("1668660679.587727")},
		{"request_id", "6413930528999883196"},
		{"bento_meta", object{
			{"bento_name", "iris_classifier"},
			{"bento_version", "not available"},
			{"monitor_name", "iris_classifier_prediction"},
			{"schema", object{
				{"sepal length", column("feature", "numerical")},
				{"sepal width", column("feature", "numerical")},
				{"petal length", column("feature", "numerical")},
				{"petal width", column("feature", "numerical")},
				{"member", column("feature", "categorical")},
				{"history", column("feature", "numerical_sequence")},
				{"pred", column("prediction", "categorical")},
			}},
		}},
	}
}

func TestBentoMLProtobuf(t *testing.T) {
	proto := map[string][]string{"Content-Type": {"application/x-protobuf"}}
	for _, c := range []struct {
		name, model string
		bodies      []any
		want        string
		rejects     []string
	}{
		{"documented", "", []any{bentoBody()}, `prediction whole {"id":"6413930528999883196","time":"2022-11-17T04:51:19.587727Z","model":"iris_classifier","features":{"sepal length":4.9,"sepal width":3.5,"petal length":1.4,"petal width":0.2,"member":"true","history":[1,2.5]},"prediction":"setosa","trace_id":"30313233343536373839616263646566"}
`, nil},
		{"model by monitor", "{bento_name}.{monitor_name}", []any{bentoBody()[5:]}, `prediction whole {"id":"6413930528999883196","time":"2022-11-17T04:51:19.587727Z","model":"iris_classifier.iris_classifier_prediction","features":{"history":[1,2.5]},"prediction":"setosa","trace_id":"30313233343536373839616263646566"}
`, nil},
		{"some refused", "", []any{"hello", bentoBody()[6:], object{{"x", json.Number("1")}}}, `prediction whole {"id":"6413930528999883196","time":"2022-11-17T04:51:19.587727Z","model":"iris_classifier","features":{},"prediction":"setosa","trace_id":"30313233343536373839616263646566"}
`, []string{
			"0 schema: otlp logs, element 0: body is no object; BentoML's monitor sends one with OpenTelemetry 1.20 and later",
			"2 schema: otlp logs, element 2: bento_meta is missing, which has the names and types; driftd reads the records of BentoML's monitor with meta_sample_rate 1",
		}},
		{"duplicate column", "", []any{append(bentoBody(), member{"pred", "x"}), bentoBody()[6:]}, `prediction whole {"id":"6413930528999883196","time":"2022-11-17T04:51:19.587727Z","model":"iris_classifier","features":{},"prediction":"setosa","trace_id":"30313233343536373839616263646566"}
`, []string{`0 decode: otlp logs, element 0: pred: key "pred" occurs twice; parsers disagree on which one counts`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := event.NewDecoder(nil, event.DefaultLimits)
			d.SetWrapping(event.Wrapping{Model: c.model})
			var b event.Batch
			if r := d.DecodeWrapped(&b, event.Envelope{Headers: proto}, "", export(c.bodies...)); r != nil {
				t.Fatal(r)
			}
			if diff := cmp.Diff(c.want, lines(b.Events)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.rejects, rejects(&b)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOTLPOutsideOfATrace: the SDK of Python says so by an id of zeros.
func TestOTLPOutsideOfATrace(t *testing.T) {
	for name, c := range map[string]struct{ kind, body string }{
		"protobuf": {"application/x-protobuf", strings.Replace(string(export(bentoBody())), "0123456789abcdef", strings.Repeat("\x00", 16), 1)},
		"JSON": {"application/json", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"00000000000000000000000000000000","body":{"stringValue":
			"{\"pred\":\"a\",\"request_id\":\"r\",\"bento_meta\":{\"bento_name\":\"b\",\"schema\":{\"pred\":{\"role\":\"prediction\",\"type\":\"categorical\"}}}}"}}]}]}]}`},
	} {
		d := event.NewDecoder(nil, event.DefaultLimits)
		var b event.Batch
		if r := d.DecodeWrapped(&b, event.Envelope{Headers: map[string][]string{"Content-Type": {c.kind}}}, "", []byte(c.body)); r != nil {
			t.Fatal(name, r)
		}
		if len(b.Events) != 1 || b.Events[0].TraceID != "" {
			t.Errorf("%s: %s", name, lines(b.Events))
		}
	}
}

// bentoOf is a record of one column x of a role and type.
func bentoOf(request, role, typ string, x any) object {
	return object{{"x", x}, {"request_id", request}, {"bento_meta", object{{"bento_name", "b"}, {"bento_version", "v"}, {"schema", object{{"x", column(role, typ)}}}}}}
}

func TestBentoMLRecords(t *testing.T) {
	n := func(s string) any { return json.Number(s) }
	for _, c := range []struct {
		name    string
		bodies  []any
		want    []string // what each event has
		rejects []string
	}{
		{"target alone", []any{bentoOf("7", "target", "categorical", "a")}, []string{`"time":"2022-11-17T04:51:19.587727104Z","prediction_id":"7","model":"b","model_version":"v","name":"label","label":"a"`}, nil},
		{"outside of a request", []any{bentoOf("None", "feature", "numerical", n("1"))}, []string{`"id":"@1668660679587727104"`}, nil},
		{"types hold", []any{
			bentoOf("1", "feature", "numerical", "text"), bentoOf("2", "feature", "numerical_sequence", n("1")),
			bentoOf("3", "feature", "categorical", []any{}), bentoOf("4", "feature", "categorical", n("10115")),
			bentoOf("5", "feature", "other", n("1")), bentoOf("6", "feature", "numerical", nil), bentoOf("7", "note", "numerical", n("1")),
		}, []string{`{"x":{}}`, `{"x":{}}`, `{"x":{}}`, `{"x":"10115"}`, `{"x":1}`, `{"x":null}`, `"features":{}`}, nil},
		{"one of the outcomes is refused", []any{bentoOf("1", "target", "numerical", n("1")), bentoOf("", "target", "numerical", n("2"))}, []string{`"prediction_id":"1"`}, []string{"1 schema: otlp logs, element 1: prediction_id is missing; an outcome needs prediction_id or entity_id, name, and label or value"}},
		{"all of the outcomes are refused", []any{bentoOf("1", "feature", "numerical", n("1")), bentoOf("2", "target", "numerical", nil), bentoOf("", "target", "numerical", n("1"))}, []string{`"id":"1"`}, []string{
			"1 schema: otlp logs, element 1: label and value are missing; send one of them",
			"2 schema: otlp logs, element 2: prediction_id is missing; an outcome needs prediction_id or entity_id, name, and label or value",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			d := event.NewDecoder(nil, event.DefaultLimits)
			if r := d.DecodeWrapped(&b, event.Envelope{Headers: headers("content-type", "application/x-protobuf")}, "", export(c.bodies...)); r != nil {
				t.Fatal(r)
			}
			got := strings.Split(strings.TrimSpace(lines(b.Events)), "\n")
			if len(got) != len(c.want) {
				t.Fatalf("%q", got)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("%d: got %s\nwant %s", i, got[i], want)
				}
			}
			if diff := cmp.Diff(c.rejects, rejects(&b)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Records of one request and one time in a message stay apart.
func TestBentoMLSameTime(t *testing.T) {
	body := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.TrimSuffix(strings.Repeat(`{"timeUnixNano":5,"body":{"kvlistValue":{"values":[{"key":"x","value":{"boolValue":true}},{"key":"request_id","value":{"stringValue":"r"}},{"key":"bento_meta","value":{"kvlistValue":{"values":[{"key":"bento_name","value":{"stringValue":"b"}}]}}}]}}},`, 2), ",") + `]}]}]}`
	var b event.Batch
	if r := event.NewDecoder(nil, event.DefaultLimits).DecodeWrapped(&b, event.Envelope{}, "", []byte(body)); r != nil {
		t.Fatal(r)
	}
	if diff := cmp.Diff([]string{"r@5 b@", "r@5.1 b@"}, ids(&b)); diff != "" {
		t.Error(diff)
	}
}
