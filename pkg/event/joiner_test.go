package event_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
)

const second = int64(1e9)

// half decodes one half of a prediction of n rows.
func half(t testing.TB, d *event.Decoder, b *event.Batch, part, id string, n int, more ...string) {
	t.Helper()
	row := `{"amount":7.5,"country":"DE","v":[1,2],"note":null,"odd":{}}`
	body := `{"instances":[` + strings.TrimSuffix(strings.Repeat(row+",", n), ",") + `]}`
	if part == "response" {
		body = `{"outputs":[{"name":"y","shape":[` + fmt.Sprint(n) + `,2],"data":[` + strings.TrimSuffix(strings.Repeat("0.25,0.75,", n), ",") + `]}],"model_version":"9"}`
	}
	if r := d.DecodeWrapped(b, event.Envelope{Headers: kserve(part, append([]string{"ce-id", id}, more...)...)}, "", []byte(body)); r != nil {
		t.Fatal(r)
	}
}

// set is the events as JSON, sorted.
func set(events []event.Event) []string {
	out := strings.Split(strings.TrimSpace(lines(events)), "\n")
	slices.Sort(out)
	return out
}

func TestJoin(t *testing.T) {
	type step struct {
		part, id string
		at       int64
	}
	const joined = `prediction whole {"id":"a#0","time":"1970-01-01T00:00:01Z","model":"m","model_version":"9","features":{"amount":7.5,"country":"DE","v":[1,2],"note":null,"odd":{}},"prediction":[0.25,0.75],"scores":{"y_0":0.25,"y_1":0.75}}`
	const features = `prediction whole {"id":"a#0","time":"1970-01-01T00:00:01Z","model":"m","features":{"amount":7.5,"country":"DE","v":[1,2],"note":null,"odd":{}}}`
	const answer = `prediction whole {"id":"a#0","time":"1970-01-01T00:00:01Z","model":"m","model_version":"9","prediction":[0.25,0.75],"scores":{"y_0":0.25,"y_1":0.75}}`
	for _, c := range []struct {
		name   string
		limits event.JoinLimits
		steps  []step
		want   []string
		stats  event.JoinStats
	}{
		{"request first", event.JoinLimits{}, []step{{"request", "a", 1}, {"response", "a", 2}}, []string{joined}, event.JoinStats{Received: 2, Joined: 1}},
		{"response first", event.JoinLimits{}, []step{{"response", "a", 1}, {"request", "a", 1}}, []string{joined}, event.JoinStats{Received: 2, Joined: 1}},
		{"twice", event.JoinLimits{}, []step{{"request", "a", 1}, {"request", "a", 2}, {"response", "a", 3}}, []string{joined}, event.JoinStats{Received: 3, Joined: 1, Duplicate: 1}},
		{"no response", event.JoinLimits{Wait: 5 * second}, []step{{"request", "a", 1}, {"", "", 5}, {"", "", 6}}, []string{features}, event.JoinStats{Received: 1, ExpiredRequests: 1}},
		{"no request", event.JoinLimits{Wait: 5 * second}, []step{{"response", "a", 1}, {"", "", 6}}, []string{answer}, event.JoinStats{Received: 1, ExpiredResponses: 1}},
		{"in the last moment", event.JoinLimits{Wait: 5 * second}, []step{{"request", "a", 1}, {"response", "a", 6}}, []string{joined}, event.JoinStats{Received: 2, Joined: 1}},
		{"a clock which runs backwards", event.JoinLimits{Wait: 5 * second}, []step{{"request", "a", 1}, {"", "", 0}, {"response", "a", 0}}, []string{joined}, event.JoinStats{Received: 2, Joined: 1}},
		{"too many", event.JoinLimits{Parts: 1}, []step{{"request", "a", 1}, {"request", "b", 2}, {"response", "b", 2}}, []string{
			features, strings.ReplaceAll(strings.Replace(joined, "a#0", "b#0", 1), ":01Z", ":02Z"),
		}, event.JoinStats{Received: 3, Joined: 1, OverflowRequests: 1}},
		{"too large", event.JoinLimits{Bytes: 1}, []step{{"response", "a", 1}}, []string{answer}, event.JoinStats{Received: 1, OverflowResponses: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(c.limits)
			var got []string
			for _, s := range c.steps {
				var b event.Batch
				if s.part != "" {
					half(t, d, &b, s.part, s.id, 1)
				}
				before := len(b.Events)
				released := j.Join(&b, 0, s.at*second)
				if len(b.Events) < released || before == 0 && len(b.Events) != released {
					t.Errorf("released %d of %d", released, len(b.Events))
				}
				if len(b.Events) > 0 {
					got = append(got, set(b.Events)...)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.stats, j.Stats()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whole events keep their places, and what was in the batch before is left alone.
func TestJoinLeavesOthersAlone(t *testing.T) {
	d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.JoinLimits{})
	var b event.Batch
	half(t, d, &b, "response", "x", 1)
	from := len(b.Events)
	if r := d.Decode(&b, event.Prediction, "", []byte(`{"id":"w","model":"m","rows":[{"prediction":1},{"prediction":2}]}`)); r != nil {
		t.Fatal(r)
	}
	half(t, d, &b, "request", "a", 2)
	half(t, d, &b, "response", "a", 3)
	if n := j.Join(&b, from, 1); n != 0 {
		t.Error(n)
	}
	if diff := cmp.Diff([]string{"x#0 m@9", "w#0 m@", "w#1 m@", "a#0 m@9", "a#1 m@9"}, ids(&b)); diff != "" {
		t.Error(diff)
	}
	if n := j.Flush(&b); n != 1 || j.Stats().ExpiredResponses != 1 || b.Events[len(b.Events)-1].Row != 2 {
		t.Error(n, ids(&b), "the third row has no request")
	}
}

// Any interleaving of halves which come in time gives the same set of events.
func TestJoinInterleavings(t *testing.T) {
	type sent struct {
		part, id string
		rows     int
	}
	var all []sent
	for i := range 40 {
		id := fmt.Sprint("r", i)
		if i%10 != 3 {
			all = append(all, sent{"request", id, 1 + i%4})
		}
		if i%10 != 7 {
			all = append(all, sent{"response", id, 1 + i%4})
		}
	}
	run := func(order []sent) ([]string, event.JoinStats) {
		d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.JoinLimits{})
		var out []string
		for i, s := range order {
			var b event.Batch
			half(t, d, &b, s.part, s.id, s.rows, "ce-time", "2026-11-22T21:00:00Z")
			j.Join(&b, 0, int64(i)*second/2)
			if len(b.Events) > 0 {
				out = append(out, set(b.Events)...)
			}
			if i == len(order)/2 { // through a checkpoint
				state := j.AppendState(nil)
				j = event.NewJoiner(event.JoinLimits{})
				if err := j.LoadState(state); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(state), string(j.AppendState(nil))); diff != "" {
					t.Fatal("state is not the same after a round trip")
				}
			}
		}
		var b event.Batch
		j.Flush(&b)
		out = append(out, set(b.Events)...)
		slices.Sort(out)
		return out, j.Stats()
	}
	want, stats := run(all)
	// 40 requests of 1 to 4 rows are 100 rows; i = 3, 13, 23, 33 lack the request and
	// 7, 17, 27, 37 the response, of 4+2+4+2 rows each: 100 - 24 are joined.
	if stats.Joined != 76 || stats.ExpiredRequests != 12 || stats.ExpiredResponses != 12 {
		t.Fatalf("%+v", stats)
	}
	for seed := range int64(20) {
		order := slices.Clone(all)
		rand.New(rand.NewSource(seed)).Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
		got, again := run(order)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		if again != stats {
			t.Fatalf("seed %d: %+v, want %+v", seed, again, stats)
		}
	}
}

// Whatever comes, every half is accounted for, memory is bounded, and a Joiner
// restored from its state does exactly as the one which went on.
func TestJoinIsBoundedAndRestores(t *testing.T) {
	limits := event.JoinLimits{Wait: 20 * second, Parts: 50, Bytes: 30000}
	for seed := range int64(10) {
		r := rand.New(rand.NewSource(seed))
		d, j, twin := event.NewDecoder(nil, event.Limits{Shapes: 1}), event.NewJoiner(limits), event.NewJoiner(limits)
		var b, c event.Batch
		emitted := uint64(0)
		for step := range 600 {
			b.Reset()
			c.Reset()
			at := int64(step) * second / 4
			if quiet := step/100%2 == 1; r.Intn(10) > 0 && (!quiet || r.Intn(10) == 0) { // bursts overflow, lulls expire
				part := []string{"request", "response"}[r.Intn(2)]
				id, rows := fmt.Sprint(r.Intn(120)), 1+r.Intn(3)
				half(t, d, &b, part, id, rows)
				half(t, d, &c, part, id, rows)
			}
			released := j.Join(&b, 0, at)
			if twin.Join(&c, 0, at) != released || lines(b.Events) != lines(c.Events) {
				t.Fatalf("seed %d step %d: the restored one differs", seed, step)
			}
			emitted += uint64(len(b.Events))
			s := j.Stats()
			if s.Waiting > 50 || s.Bytes > 30000 {
				t.Fatalf("seed %d step %d: holds %+v", seed, step, s)
			}
			alone := s.ExpiredRequests + s.ExpiredResponses + s.OverflowRequests + s.OverflowResponses
			if s.Received != 2*s.Joined+s.Duplicate+alone+s.Waiting || emitted != s.Joined+alone {
				t.Fatalf("seed %d step %d: %+v, emitted %d", seed, step, s, emitted)
			}
			if step%50 == 0 {
				twin = event.NewJoiner(limits)
				if err := twin.LoadState(j.AppendState(nil)); err != nil {
					t.Fatal(err)
				}
			}
			if twin.Stats() != s {
				t.Fatalf("seed %d step %d: %+v, restored %+v", seed, step, s, twin.Stats())
			}
		}
		if s := j.Stats(); s.OverflowRequests == 0 || s.ExpiredRequests+s.ExpiredResponses == 0 || s.Joined == 0 || s.Duplicate == 0 {
			t.Fatalf("seed %d tests nothing: %+v", seed, s)
		}
	}
}

// A joined event knows its features by the pointer its producer's events have.
func TestJoinKeepsShapes(t *testing.T) {
	d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.JoinLimits{})
	var b event.Batch
	half(t, d, &b, "request", "a", 1)
	want := b.Events[0].Features
	j.Join(&b, 0, 1)
	b.Reset()
	half(t, d, &b, "response", "a", 1)
	j.Join(&b, 0, 1)
	if e := &b.Events[0]; e.Features != want || len(e.PredictionVector()) != 2 || len(e.Vector(2)) != 2 {
		t.Errorf("%+v", b.Events)
	}
}

// A half which takes everything a half can have comes through unchanged.
func TestJoinPacksEverything(t *testing.T) {
	d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.JoinLimits{})
	full := `{"id":"a","time":"2026-11-22T21:00:00Z","model":"m","model_version":"4","variant":"canary","features":{"a":1,"b":"c","v":[1,2],"n":null,"o":{}},"prediction":[7],"scores":{"x":0.5,"y":null},"confidence":0.5,"latency_ms":2,"error":"late","entity_id":"e","cost":3,"segments":{"s":"t"},"trace_id":"u","more":1}`
	var b event.Batch
	if r := d.Decode(&b, event.Prediction, "", []byte(full)); r != nil {
		t.Fatal(r)
	}
	whole := b.Events[0]
	want := lines(b.Events)
	for _, part := range []event.Part{event.Request, event.Response} {
		b.Events[0] = whole
		b.Events[0].Part = part
		j.Join(&b, 0, 1)
		state := j.AppendState(nil)
		if err := j.LoadState(state); err != nil {
			t.Fatal(err)
		}
		j.Flush(&b)
		if got := lines(b.Events); got != want || b.Events[0].UnknownFields != 1 || !b.Events[0].Failed {
			t.Errorf("%s: got %swant %s", part, got, want)
		}
	}
	// The other half lacks what the first has, and the other way round.
	for _, first := range []event.Part{event.Request, event.Response} {
		other := event.New(event.Prediction)
		other.ID, other.Model, other.Part = "a", "m", event.Request+event.Response-first
		b.Events = append(b.Events[:0], whole, other)
		b.Events[0].Part = first
		j.Join(&b, 0, 1)
		got := lines(b.Events)
		for _, piece := range []string{`"model_version":"4"`, `"entity_id":"e"`, `"cost":3`, `"trace_id":"u"`, `"latency_ms":2`, `"segments":{"s":"t"}`} {
			if !strings.Contains(got, piece) {
				t.Errorf("%s first: %s lacks %s", first, got, piece)
			}
		}
	}
}

// A damaged state is refused, and the Joiner stays as it was.
func TestJoinDamagedState(t *testing.T) {
	d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.JoinLimits{})
	var b event.Batch
	half(t, d, &b, "request", "a", 2)
	half(t, d, &b, "response", "b", 2)
	j.Join(&b, 0, 1)
	state := j.AppendState(nil)
	fresh := event.NewJoiner(event.JoinLimits{})
	before := string(fresh.AppendState(nil))
	for n := range state {
		if err := fresh.LoadState(state[:n]); err == nil {
			t.Fatalf("cut at %d of %d: taken", n, len(state))
		}
	}
	if err := fresh.LoadState(append(slices.Clone(state), 0)); err == nil {
		t.Error("a byte more: taken")
	}
	r := rand.New(rand.NewSource(1))
	for range 5000 { // no panic, no state which cannot be released
		bad := slices.Clone(state)
		bad[r.Intn(len(bad))] = byte(r.Intn(256))
		other := event.NewJoiner(event.JoinLimits{})
		if other.LoadState(bad) == nil {
			b.Reset()
			other.Flush(&b)
			_ = lines(b.Events)
		}
	}
	if string(fresh.AppendState(nil)) != before {
		t.Error("a refused state left something")
	}
}

func TestParts(t *testing.T) {
	if got := fmt.Sprint(event.Whole, event.Request, event.Response, event.Part(9)); got != "whole request response unknown" {
		t.Error(got)
	}
}

func BenchmarkJoin(b *testing.B) {
	d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.JoinLimits{})
	var batch event.Batch
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%256 == 0 {
			batch.Reset()
		}
		from := len(batch.Events)
		id := fmt.Sprint(i / 2)
		half(b, d, &batch, []string{"request", "response"}[i%2], id, 1)
		j.Join(&batch, from, int64(i))
	}
}

func TestMessageID(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	for _, c := range []struct {
		headers map[string][]string
		body    string
		want    string
	}{
		{kserve("request"), `{"instances":[1,2]}`, "req:m:a"},
		{kserve("response"), `{"predictions":[1,2]}`, "res:m:a"},
		{headers("ce-type", "io.driftd.kpi.v1", "ce-id", "k"), `{"name":"x","value":1}`, "kpi:k"},
		{headers("ce-type", "io.driftd.kpi.v1"), `{"name":"x","value":1}`, ""},
		{headers("ce-type", "io.driftd.prediction.v1"), `[{"id":"a","model":"m","prediction":1},{"id":"b","model":"m","prediction":1}]`, ""},
	} {
		var b event.Batch
		if r := d.DecodeWrapped(&b, event.Envelope{Headers: c.headers}, "", []byte(c.body)); r != nil {
			t.Fatal(r)
		}
		if got := event.MessageID(b.Events); got != c.want {
			t.Errorf("%s: %q, want %q", c.body, got, c.want)
		}
	}
	if event.MessageID(nil) != "" {
		t.Error("of nothing")
	}
}

// A server logs request and response apart; together they are one prediction.
func ExampleJoiner() {
	log := func(part string) map[string][]string {
		return map[string][]string{
			"ce-type": {"org.kubeflow.serving.inference." + part}, "ce-id": {"17"},
			"ce-inferenceservicename": {"iris"}, "ce-time": {"2026-11-22T21:00:00Z"},
		}
	}
	d, j := event.NewDecoder(nil, event.DefaultLimits), event.NewJoiner(event.DefaultJoinLimits)
	var b event.Batch
	for i, m := range []struct{ part, body string }{
		{"request", `{"instances":[{"width":1.4}]}`}, {"response", `{"predictions":["setosa"]}`},
	} {
		from := len(b.Events)
		if r := d.DecodeWrapped(&b, event.Envelope{Headers: log(m.part)}, "", []byte(m.body)); r != nil {
			fmt.Println(r)
		}
		j.Join(&b, from, int64(i)) // the stream time
		fmt.Println(m.part, len(b.Events))
	}
	fmt.Println(string(event.AppendJSON(nil, &b.Events[0])))
	// Output:
	// request 0
	// response 1
	// {"id":"17#0","time":"2026-11-22T21:00:00Z","model":"iris","features":{"width":1.4},"prediction":"setosa"}
}
