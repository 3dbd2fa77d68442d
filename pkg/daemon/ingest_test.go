package daemon_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/event"
)

// A door is a whole daemon on an embedded JetStream, with its real listener.
type door struct {
	tb       testing.TB
	instance *daemon.Instance
}

func openDoor(tb testing.TB) *door {
	tb.Helper()
	d, shut := openDoorIn(tb, tb.TempDir())
	tb.Cleanup(shut)
	return d
}

// openDoorIn is openDoor on the state of an earlier one.
func openDoorIn(tb testing.TB, dir string) (d *door, shut func()) {
	tb.Helper()
	c := config.Default()
	c.Store.Dir, c.HTTP.Listen = dir, "127.0.0.1:0"
	c.NATS.Embedded = true
	c.NATS.URL = "nats://127.0.0.1:0"
	i, err := daemon.Start(context.Background(), c, daemon.Extras{Version: "test", Log: zerolog.Nop()})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	return &door{tb, i}, func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
		if err := i.Close(); err != nil {
			tb.Error(err)
		}
	}
}

// answer is a response of the way in, or its problem.
type answer struct {
	Accepted   int
	Duplicates int
	Refused    int
	Detail     string
	Rejected   []struct {
		Row            int
		Reason, Detail string
	}
}

// post sends a body and returns the status, the answer and how long it took.
func (d *door) post(way, body string, header ...string) (*http.Response, answer, time.Duration) {
	d.tb.Helper()
	r, err := http.NewRequest(http.MethodPost, d.instance.URL()+"/ingest/v1/"+way, strings.NewReader(body))
	if err != nil {
		d.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(r)
	took := time.Since(began)
	if err != nil {
		d.tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.tb.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		d.tb.Fatalf("%s: %v", text, err)
	}
	return resp, a, took
}

// stored returns the messages of the input stream from a sequence on.
func (d *door) stored(from uint64) (out []*jetstream.RawStreamMsg) {
	d.tb.Helper()
	s, err := d.instance.Conn.JetStream().Stream(context.Background(), "ML")
	if err != nil {
		d.tb.Fatal(err)
	}
	for seq := from; seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(context.Background(), seq)
		if err != nil {
			d.tb.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// Every form of a body is stored event by event, byte for byte, on the subject
// and under the id that a publisher would use; what is refused is not.
func TestIngest(t *testing.T) {
	d := openDoor(t)
	const one = `{"id":"a§","model":"fraud","model_version":"1.10","features":{"x": 1.50},"extra":"kept"}`
	const kserve = `{"instances":[{"x":1},{"x":2}]}`
	ce := []string{"Ce-Id", "k-1§", "Ce-Specversion", "1.0", "Ce-Source", "http://x", "Ce-Inferenceservicename", "income", "Ce-Namespace", "ml"}
	const bento = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1668660679587727104","body":{"kvlistValue":{"values":[
{"key":"x","value":{"doubleValue":4.9}},{"key":"pred","value":{"stringValue":"a"}},{"key":"truth","value":{"stringValue":"b"}},
{"key":"request_id","value":{"stringValue":"b§"}},{"key":"bento_meta","value":{"kvlistValue":{"values":[{"key":"bento_name","value":{"stringValue":"iris"}},
{"key":"schema","value":{"kvlistValue":{"values":[{"key":"x","value":{"kvlistValue":{"values":[{"key":"role","value":{"stringValue":"feature"}}]}}},
{"key":"pred","value":{"kvlistValue":{"values":[{"key":"role","value":{"stringValue":"prediction"}}]}}},
{"key":"truth","value":{"kvlistValue":{"values":[{"key":"role","value":{"stringValue":"target"}}]}}}]}}}]}}}]}}}]}]}]}`
	as := func(kind string) []string {
		return append(slices.Clone(ce), "Ce-Type", "org.kubeflow.serving.inference."+kind)
	}
	for i, tc := range []struct {
		name, way, body string
		header          []string
		status          int
		accepted        int
		reasons         string   // of the refused, with their rows
		stored          []string // subject, Nats-Msg-Id; BODY is the SHA-256 of the body
		raw             string   // of the first message; "" = the body
	}{
		{"one", "predictions", one, nil, 202, 1, "", []string{"ml.predictions.fraud.1_10 prediction:a§"}, ""},
		{"a form nobody told", "predictions", one, []string{"Content-Type", "text/plain"}, 415, 0, "", nil, ""},
		{"packed otherwise", "predictions", one, []string{"Content-Encoding", "br"}, 415, 0, "", nil, ""},
		{"array", "predictions", "[" + one + `, {"id":"b§","model":"m","prediction":1}]`, nil, 202, 2, "", []string{"ml.predictions.fraud.1_10 prediction:a§", "ml.predictions.m prediction:b§"}, one},
		{"a bad element", "predictions", "[" + one + `,{"id":"b§"},{"id":"c§","model":"m","prediction":1}]`, nil, 202, 2, "1 schema", []string{"ml.predictions.fraud.1_10 prediction:a§", "ml.predictions.m prediction:c§"}, one},
		{"lines", "predictions", one + "\n{\"id\":NaN}\n\n" + `{"id":"l§","model":"m","prediction":1}` + "\n", []string{"Content-Type", "application/x-ndjson"}, 202, 2, "1 decode", []string{"ml.predictions.fraud.1_10 prediction:a§", "ml.predictions.m prediction:l§"}, one},
		{"rows", "predictions", `{"id":"r§","model":"m","rows":[{"prediction":1},{"prediction":{}},{"prediction":2}]}`, nil, 202, 3, "", []string{"ml.predictions.m prediction:r§"}, ""},
		{"rows of two models", "predictions", `{"id":"r§","rows":[{"model":"m","prediction":1},{"model":"n","prediction":2}]}`, nil, 400, 0, "-1 subject_mismatch", nil, ""},
		{"outcome", "outcomes", `{"id":"o§","prediction_id":"a","model":"fraud","name":"label","label":"ok"}`, nil, 202, 1, "", []string{"ml.outcomes.fraud outcome:o§"}, ""},
		{"kpi", "kpis", `{"id":"k§","name":"conv.rate","value":1}`, nil, 202, 1, "", []string{"ml.kpis.conv_rate kpi:k§"}, ""},
		{"another kind", "outcomes", one, nil, 400, 0, "-1 schema", nil, ""},
		{"not JSON", "predictions", "hello", nil, 400, 0, "-1 decode", nil, ""},
		{"nothing", "predictions", "", nil, 400, 0, "-1 decode", nil, ""},
		{"all bad", "predictions", `[{"id":"a§"},{"id":"b§"}]`, nil, 400, 0, "0 schema,1 schema", nil, ""},
		{"an unclosed array", "predictions", "[" + one + `,{"id":"b§"`, nil, 400, 0, "-1 decode", nil, ""},
		{"too large an event", "predictions", `{"id":"a§","model":"m","prediction":"` + strings.Repeat("x", 300<<10) + `"}`, nil, 413, 0, "-1 too_large", nil, ""},
		{"structured", "cloudevents", `{"specversion":"1.0","id":"s-1§","type":"io.driftd.outcome.v1","source":"x","data":{"id":"o2§","prediction_id":"a","model":"m","name":"label","label":"ok"}}`, []string{"Content-Type", "application/cloudevents+json"}, 202, 1, "", []string{"ml.outcomes.m outcome:o2§"}, ""},
		{"batch", "cloudevents", `[{"specversion":"1.0","id":"s-2§","type":"io.driftd.kpi.v1","source":"x","data":{"name":"n","value":1}}, {"specversion":"1.0","id":"s-3§","type":"io.driftd.prediction.v1","source":"x","data":` + one + `}]`, []string{"Content-Type", "application/cloudevents-batch+json"}, 202, 2, "", []string{"ml.kpis.n kpi:s-2§", "ml.predictions.fraud.1_10 prediction:a§"}, `{"specversion":"1.0","id":"s-2§","type":"io.driftd.kpi.v1","source":"x","data":{"name":"n","value":1}}`},
		{"KServe's request", "cloudevents", kserve, as("request"), 202, 2, "", []string{"ml.predictions.income req:income:k-1§"}, ""},
		{"KServe's response", "cloudevents", `{"predictions":["a","b"]}`, as("response"), 202, 2, "", []string{"ml.predictions.income res:income:k-1§"}, ""},
		{"a bare event among cloudevents", "cloudevents", one, nil, 400, 0, "-1 schema", nil, ""},
		{"BentoML's logs", "cloudevents", bento, nil, 202, 2, "", []string{"ml.predictions.iris prediction:sha256:BODY"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			unique := strings.NewReplacer("§", strconv.Itoa(i)).Replace // JetStream remembers ids
			for j := range tc.header {
				tc.header[j] = unique(tc.header[j])
			}
			before := len(d.stored(1))
			resp, a, took := d.post(tc.way, unique(tc.body), tc.header...)
			var reasons []string
			for _, r := range a.Rejected {
				reasons = append(reasons, fmt.Sprintf("%d %s", r.Row, r.Reason))
			}
			if resp.StatusCode != tc.status || a.Accepted != tc.accepted || strings.Join(reasons, ",") != tc.reasons || took > time.Second {
				t.Errorf("%d in %v: %+v", resp.StatusCode, took, a)
			}
			if want := map[bool]string{true: "application/json", false: "application/problem+json"}[tc.status == 202]; resp.Header.Get("Content-Type") != want {
				t.Errorf("the answer is %s", resp.Header.Get("Content-Type"))
			}
			var stored []string
			var read event.Batch
			messages := d.stored(uint64(before + 1))
			for _, m := range messages {
				stored = append(stored, m.Subject+" "+m.Header.Get("Nats-Msg-Id"))
				if r := event.NewDecoder(nil, event.Limits{}).DecodeWrapped(&read, event.Envelope{Headers: m.Header}, m.Subject, m.Data); r != nil {
					t.Errorf("the daemon will refuse what was accepted: %v", r)
				}
			}
			if len(read.Events) != tc.accepted {
				t.Errorf("the daemon will read %d events", len(read.Events))
			}
			want := strings.ReplaceAll(unique(strings.Join(tc.stored, ",")), "BODY", fmt.Sprintf("%x", sha256.Sum256([]byte(unique(tc.body)))))
			if strings.Join(stored, ",") != want {
				t.Errorf("stored %q", stored)
			}
			if want := unique(cmp.Or(tc.raw, tc.body)); len(messages) > 0 && string(messages[0].Data) != want {
				t.Errorf("stored %s\nwant   %s", messages[0].Data, want)
			}
		})
	}
}

// An OTLP exporter gets the answer that it knows, or one that ends its attempts.
func TestIngestedLogs(t *testing.T) {
	const record = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[
{"key":"pred","value":{"stringValue":"a"}},{"key":"request_id","value":{"stringValue":"r"}},{"key":"bento_meta","value":{"kvlistValue":{"values":[
{"key":"bento_name","value":{"stringValue":"iris"}},{"key":"schema","value":{"kvlistValue":{"values":[
{"key":"pred","value":{"kvlistValue":{"values":[{"key":"role","value":{"stringValue":"prediction"}}]}}}]}}}]}}}]}}}]}]}]}`
	d := openDoor(t)
	for _, tc := range []struct {
		media, body string
		status      int
		answer      string
	}{
		{"application/json", record, 200, "{}\n"},
		{"application/json", `{"resourceLogs":7}`, 400, ""},
		{"application/x-protobuf", "\xff", 400, ""},
	} {
		resp, err := http.Post(d.instance.URL()+"/v1/logs", tc.media, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != tc.status || tc.answer != "" && string(got) != tc.answer {
			t.Errorf("%s: %d %s, %v", tc.media, resp.StatusCode, got, err)
		}
	}
}

// The same body again stores nothing twice and is answered alike.
func TestIngestRepeats(t *testing.T) {
	d := openDoor(t)
	const body = `[{"id":"a","model":"m","prediction":1},{"id":"b","model":"m","rows":[{"prediction":1},{"prediction":2}]}]`
	for i, duplicates := range []int{0, 3, 3} {
		if resp, a, _ := d.post("predictions", body); resp.StatusCode != 202 || a.Accepted != 3 || a.Duplicates != duplicates {
			t.Errorf("time %d: %d %+v", i, resp.StatusCode, a)
		}
	}
	if n := len(d.stored(1)); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	page := d.metrics()
	for _, want := range []string{
		`driftd_ingest_events_total{kind="prediction",outcome="stored"} 3`, `driftd_ingest_events_total{kind="prediction",outcome="duplicate"} 6`,
		`driftd_ingest_requests_total{way="predictions",code="202"} 3`, `driftd_ingest_duration_seconds_count 3`, "driftd_ingest_in_flight_requests 0",
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func (d *door) metrics() string {
	d.tb.Helper()
	resp, err := http.Get(d.instance.URL() + "/metrics")
	if err != nil {
		d.tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.tb.Fatal(err)
	}
	return string(text)
}

// KServe's two halves, over HTTP, are counted as one prediction a row, also when
// driftd stops between them.
func TestIngestedHalvesAreCounted(t *testing.T) {
	dir := t.TempDir()
	send := func(d *door, kind, body string) {
		resp, a, _ := d.post("cloudevents", body, "Ce-Id", "k-1", "Ce-Specversion", "1.0", "Ce-Source", "x",
			"Ce-Type", "org.kubeflow.serving.inference."+kind, "Ce-Inferenceservicename", "income")
		if resp.StatusCode != 202 {
			t.Fatalf("%d %+v", resp.StatusCode, a)
		}
	}
	first, shut := openDoorIn(t, dir)
	send(first, "request", `{"instances":[{"x":1},{"x":2}]}`)
	first.waitFor("driftd_stream_committed_seq 1")
	if strings.Contains(first.metrics(), "driftd_events_total{") {
		t.Error("a half was counted")
	}
	shut()
	second, shut := openDoorIn(t, dir)
	defer shut()
	send(second, "response", `{"predictions":["a","b"]}`)
	second.waitFor(`driftd_events_total{model="income",kind="prediction",outcome="counted"} 2`)
}

// What the configuration says of payloads holds at the way in and in the loop:
// a list is as long as its names, and the model has the name of the template.
func TestPayloadsByConfiguration(t *testing.T) {
	i, _, end := begin(t, `
nats: {embedded: true, url: "nats://127.0.0.1:0"}
http: {listen: "127.0.0.1:0"}
payloads: {model: "{namespace}-{model}"}
models: [{name: ml-*, payload: {features: [age, job]}}]
`)
	defer end()
	d := &door{t, i}
	send := func(id, kind, body string) (int, answer) {
		resp, a, _ := d.post("cloudevents", body, "Ce-Id", id, "Ce-Specversion", "1.0", "Ce-Source", "x",
			"Ce-Type", "org.kubeflow.serving.inference."+kind, "Ce-Inferenceservicename", "income", "Ce-Namespace", "ml")
		return resp.StatusCode, a
	}
	if code, a := send("k-1", "request", `{"instances":[[34]]}`); code != 400 || !strings.Contains(a.Detail, "1 values for 2 features") {
		t.Errorf("a list shorter than its names: %d %+v", code, a)
	}
	for kind, body := range map[string]string{"request": `{"instances":[[34,"clerk"]]}`, "response": `{"predictions":[1]}`} {
		if code, a := send("k-2", kind, body); code != 202 {
			t.Fatalf("%s: %d %+v", kind, code, a)
		}
	}
	d.waitFor(`driftd_events_total{model="ml-income",kind="prediction",outcome="counted"} 1`)
	for _, m := range d.stored(1) {
		if m.Subject != "ml.predictions.ml-income" {
			t.Errorf("stored on %s", m.Subject)
		}
	}
}

// waitFor waits for a line of /metrics.
func (d *door) waitFor(line string) {
	d.tb.Helper()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(d.metrics(), line+"\n"); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			d.tb.Fatalf("not there: %s", line)
		}
	}
}

// Without JetStream the answer is 503, at once.
func TestIngestWithoutJetStream(t *testing.T) {
	d := openDoor(t)
	d.instance.Embedded.Shutdown()
	for range 5 {
		resp, a, took := d.post("predictions", `{"id":"a","model":"m","prediction":1}`)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || took > time.Second {
			t.Errorf("%d in %v: %+v", resp.StatusCode, took, a)
		}
	}
}

// A body that comes slowly or never ends costs its sender the connection, within
// a second, and nobody else anything.
func TestIngestSlowAndEndlessBodies(t *testing.T) {
	d := openDoor(t)
	const head = "POST /ingest/v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for name, tc := range map[string]struct{ request, status string }{
		"slow":             {head + "Content-Length: 1000\r\n\r\n{\"id\":", "408"},
		"says it is large": {head + "Content-Length: 1000000000000\r\n\r\n{", "413"},
		"chunks":           {head + "Transfer-Encoding: chunked\r\n\r\n500000\r\n" + strings.Repeat(" ", 0x500000) + "\r\n", "413"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", strings.TrimPrefix(d.instance.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			began := time.Now()
			go func() { _, _ = io.WriteString(c, tc.request) }()
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil || !strings.Contains(line, " "+tc.status+" ") || time.Since(began) > time.Second {
				t.Errorf("%q, %v after %v", line, err, time.Since(began))
			}
			if resp, a, took := d.post("predictions", `{"id":"`+name+`","model":"m","prediction":1}`); resp.StatusCode != 202 {
				t.Errorf("others: %d in %v: %+v", resp.StatusCode, took, a)
			}
		})
	}
	if n := len(d.stored(1)); n != 3 {
		t.Errorf("%d messages, want those of the three others", n)
	}
}

// BenchmarkIngest is one prediction a request on 16 connections, of which
// p99-ms must stay below 50.
func BenchmarkIngest(b *testing.B) {
	d := openDoor(b)
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 16
	var (
		mu    sync.Mutex
		times []time.Duration
		n     atomic.Uint64
		group sync.WaitGroup
	)
	b.ResetTimer()
	for range 16 {
		group.Go(func() {
			var mine []time.Duration
			for i := n.Add(1); i <= uint64(b.N); i = n.Add(1) {
				resp, a, took := d.post("predictions", fmt.Sprintf(`{"id":"%d","model":"fraud","model_version":"1","features":{"amount":%d,"country":"DE"},"prediction":"ok"}`, i, i%100))
				if resp.StatusCode != 202 {
					b.Errorf("%d %+v", resp.StatusCode, a)
					return
				}
				mine = append(mine, took)
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, mine...)
		})
	}
	group.Wait()
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(times[len(times)*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric(times[len(times)/2].Seconds()*1e3, "p50-ms")
}
