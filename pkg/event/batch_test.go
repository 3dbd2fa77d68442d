package event_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

// ids lists the identities of a batch's events, and model@version.
func ids(b *event.Batch) (out []string) {
	for i := range b.Events {
		e := &b.Events[i]
		out = append(out, string(e.AppendIdentity(nil))+" "+e.Model+"@"+e.Version)
	}
	return out
}

func rejects(b *event.Batch) (out []string) {
	for _, r := range b.Rejects {
		out = append(out, fmt.Sprintf("%d %s", r.Row, r.Error()))
	}
	return out
}

func TestMessageForms(t *testing.T) {
	const a, b, bad = `{"id":"a","model":"m","prediction":1}`, `{"id":"b","model":"m","prediction":1}`, `{"id":"x","model":"m"}`
	for _, c := range []struct {
		name, data string
		events     []string
		rejects    []string
	}{
		{"one", a, []string{"a m@"}, nil},
		{"one with space around", " \n" + a + "\r\n\n", []string{"a m@"}, nil},
		{"array", "[" + a + " ,\n" + b + "]\n", []string{"a m@", "b m@"}, nil},
		{"ndjson", a + "\n" + b, []string{"a m@", "b m@"}, nil},
		{"ndjson with blank lines and CR", a + "\r\n\r\n" + b + "\r\n", []string{"a m@", "b m@"}, nil},
		{"values over several lines", "{\n\"id\":\"a\",\n\"model\":\"m\",\"prediction\":1}\n{\"id\":\"b\",\n\"model\":\"m\",\"prediction\":1\n}", []string{"a m@", "b m@"}, nil},
		{"bad element", "[" + a + "," + bad + "," + b + "]", []string{"a m@", "b m@"}, []string{"1 schema: element 1, byte 39: features and prediction are missing; send one of them"}},
		{"bad first line", bad + "\n" + b, []string{"b m@"}, []string{"0 schema: line 1, byte 0: features and prediction are missing; send one of them"}},
		{"cut first line", a[:20] + "\n" + b, []string{"b m@"}, []string{`0 decode: line 1, byte 20, model: control character 0x0a inside a string; escape it as \u000a`}},
		{"bad lines among good ones", a + "\n{\"id\":\n" + b + "\n" + bad, []string{"a m@", "b m@"}, []string{"1 decode: line 2, byte 82, id: message ends where a value belongs; is it cut off?", ""}},
		{"last line is no object", a + "\nx", []string{"a m@"}, []string{"1 decode: line 2, byte 38: 'x' where a value belongs"}},
		{"garbage after a line", a + "\n" + b + "x\n" + a, []string{"a m@", "a m@"}, []string{"1 decode: line 2, byte 75: 'x' after the end of the value; send one value a line, or an array"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(t, event.Prediction, c.data)
			if diff := cmp.Diff(c.events, ids(got)); diff != "" {
				t.Error(diff)
			}
			if c.name == "bad lines among good ones" { // a line which opens a value swallows the next: it is refused, and the next read for itself
				if len(got.Rejects) != 2 || got.Rejects[0].Row != 1 || got.Rejects[1].Reason != event.Schema {
					t.Errorf("%v", rejects(got))
				}
				return
			}
			if diff := cmp.Diff(c.rejects, rejects(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRows(t *testing.T) {
	for _, c := range []struct {
		name, data string
		events     []string
		rejects    []string
	}{
		{"inherit", `{"id":"a","model":"m","model_version":"1","rows":[{"features":{"x":1}},{"features":{"x":2}}]}`, []string{"a#0 m@1", "a#1 m@1"}, nil},
		{"inherit what follows", `{"rows":[{"features":{"x":1}},{"features":{"x":2}}],"model_version":"1","model":"m","id":"a"}`, []string{"a#0 m@1", "a#1 m@1"}, nil},
		{"override", `{"id":"a","model":"m","model_version":"1","rows":[{"model_version":"2","prediction":1},{"model":"n","prediction":1},{"model":null,"prediction":1}]}`, []string{"a#0 m@2", "a#1 n@1", "a#2 m@1"}, nil},
		{"own id", `{"id":"a","model":"m","rows":[{"id":"b","prediction":1},{"prediction":1},{"id":null,"prediction":1}]}`, []string{"b m@", "a#1 m@", "a#2 m@"}, nil},
		{"inherited features", `{"id":"a","model":"m","features":{"x":1},"rows":[{"prediction":1},{"prediction":2}]}`, []string{"a#0 m@", "a#1 m@"}, nil},
		{"in lines", `{"id":"a","model":"m","rows":[{"prediction":1}]}` + "\n" + `{"id":"b","model":"m","rows":[{"prediction":1}]}`, []string{"a#0 m@", "b#0 m@"}, nil},
		{"in an array", `[{"id":"a","model":"m","rows":[{"prediction":1}]},{"id":"b","model":"m","prediction":1}]`, []string{"a#0 m@", "b m@"}, nil},
		{"bad row", `{"id":"a","model":"m","rows":[{"x":1},{"prediction":1},{"prediction":1,"time":"?"},7]}`, []string{"a#1 m@"}, []string{
			`0 schema: row 0, byte 30: features is missing; a row is {"features": {...}, ...}, not the bare features`,
			`2 schema: row 2, byte 78, time: time is not a date and time with an offset; send RFC 3339 such as 2026-11-22T21:00:00.123Z`,
			`3 schema: row 3, byte 83: an event is a JSON object`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(t, event.Prediction, c.data)
			if diff := cmp.Diff(c.events, ids(got)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.rejects, rejects(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRowsInheritValues(t *testing.T) {
	got := decode(t, event.Prediction, `{"id":"a","features":{"x":1,"v":[1,2]},"segments":{"c":"app"},"custom":1,"rows":[{"model":"m","prediction":[3]},{"model":"n"},{"model":"m","features":{"y":[5]},"custom":1}]}`)
	if len(got.Events) != 3 {
		t.Fatal(ids(got), rejects(got))
	}
	first, second, third := got.Events[0], got.Events[1], got.Events[2]
	if diff := cmp.Diff([][]float64{{1, 2}, {3}}, first.Vectors); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]float64{{1, 2}}, second.Vectors); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]float64{{5}}, third.Vectors); diff != "" {
		t.Error(diff)
	}
	if first.Values[0] != event.Num(1) || third.Features.Names[0] != "y" || third.Segments[0].Value != "app" {
		t.Errorf("%+v\n%+v", first, third)
	}
	if first.UnknownFields != 1 || second.UnknownFields != 0 || third.UnknownFields != 1 {
		t.Error("unknown fields beside rows count once, those of a row with it")
	}
}

// A whole message's refusal names the row or element where it happened.
func TestRefusalOfEveryRow(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"rows", `{"id":"a","model":"m","rows":[{"x":1},{"x":1}]}`, `schema: row 0, byte 30: features is missing`},
		{"elements", `[{"id":"a"},{"id":"b"}]`, `schema: element 0, byte 1: model is missing`},
		{"lines", "{\"id\":\"a\"}\n{\"id\":\"b\"}", `schema: line 1, byte 0: model is missing`},
		{"syntax in an element", `[{"id":"a","model":"m","prediction":1},{"id":"b","model":"m","prediction":nope}]`, `decode: element 1, byte 74: 'n' where a value belongs`},
		{"end in an array", `[{"id":"a","model":"m","prediction":1},`, `decode: element 1, byte 39: message ends where a value belongs`},
		{"rows in an element", `[{"id":"a","model":"m","rows":[{"x":1}]}]`, `schema: element 0, row 0, byte 31: features is missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b event.Batch
			b.Events = append(b.Events, event.New(event.KPI)) // from an earlier message
			r := event.NewDecoder(nil, event.DefaultLimits).Decode(&b, event.Prediction, "", []byte(c.data))
			if r == nil || !strings.HasPrefix(r.Error(), c.want) || r.Row != -1 {
				t.Errorf("got %v\nwant %s", r, c.want)
			}
			if len(b.Events) != 1 || len(b.Rejects) != 0 {
				t.Errorf("left %d events, %v", len(b.Events), b.Rejects)
			}
		})
	}
}

func TestLimitsOfEventsInABatch(t *testing.T) {
	d := event.NewDecoder(nil, event.Limits{EventBytes: 60, Rows: 3, Depth: 1})
	var b event.Batch
	long := `{"id":"a","model":"m","prediction":1,"x":"` + strings.Repeat("y", 40) + `"}`
	if r := d.Decode(&b, event.Prediction, "", []byte(`[`+long+`,{"id":"b","model":"m","features":{"v":[1]}}]`)); r != nil || len(b.Events) != 1 || b.Rejects[0].Reason != event.TooLarge {
		t.Errorf("%v %v", r, rejects(&b))
	}
	b.Reset()
	rows := func(n int) string {
		return `{"id":"a","model":"m","rows":[` + strings.TrimSuffix(strings.Repeat(`{"prediction":1},`, n), ",") + `]}`
	}
	if r := d.Decode(&b, event.Prediction, "", []byte(rows(3))); r != nil || len(b.Events) != 3 {
		t.Errorf("3 rows, of a limit of 3, in more bytes than an event may have: %v", r)
	}
	b.Reset()
	for _, data := range []string{rows(4), "[" + rows(2) + "," + rows(2) + "]", rows(2) + "\n" + rows(2), strings.Repeat("{}\n", 4)} {
		if r := d.Decode(&b, event.Prediction, "", []byte(data)); r == nil || r.Reason != event.Limit || len(b.Events) != 0 {
			t.Errorf("%s: %v", data, r)
		}
	}
}
