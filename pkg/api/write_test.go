package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

func encode(t testing.TB, b *drift.Baseline) string {
	t.Helper()
	body, err := api.EncodeBaseline(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// reference builds a baseline of n rows.
func reference(n int) *drift.Baseline {
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud", Segments: [][]string{{"channel"}}})
	for _, e := range events("fraud", "1", event.Primary, start, n, 1e9, 0) {
		b.Add(e)
	}
	return b.Build(drift.Frozen, drift.Origin{Kind: "auto", Actor: "driftd", From: start, To: start.Add(1e9), Rows: uint64(n)})
}

// TestBaselineCodec: a baseline survives, with everything that a comparison
// depends on, and equal ones have equal bytes.
func TestBaselineCodec(t *testing.T) {
	w := newWorld(t)
	for name, b := range map[string]*drift.Baseline{"imported": w.snapshot.Models[1].Baseline, "small": reference(3), "ties": reference(5000)} {
		t.Run(name, func(t *testing.T) {
			body := encode(t, b)
			back, err := api.DecodeBaseline([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if again := encode(t, back); again != body {
				t.Errorf("it comes back as\n%s\nfrom\n%s", again, body)
			}
			if back.ID != b.ID || len(back.Parts) != 3 { // the whole, app and web
				t.Errorf("%s with %d parts", back.ID, len(back.Parts))
			}
			windows, err := w.Windows(api.Query{Model: "fraud", Size: 3600e9, Total: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, win := range windows {
				want, _ := json.Marshal(api.NewReportJSON(drift.Compare(b.Part(""), b.ID, true, win), 0))
				got, _ := json.Marshal(api.NewReportJSON(drift.Compare(back.Part(""), b.ID, true, win), 0))
				if !bytes.Equal(want, got) {
					t.Errorf("a window compares as\n%s\nwant\n%s", got, want)
				}
			}
		})
	}
}

// TestDamagedBaselines: nothing that is not a baseline is taken for one.
func TestDamagedBaselines(t *testing.T) {
	good := encode(t, reference(500))
	set := func(path string, value any) string {
		var doc object
		if err := json.Unmarshal([]byte(good), &doc); err != nil {
			t.Fatal(err)
		}
		steps := strings.Split(path, ".")
		var at any = doc
		for i, step := range steps {
			last := i == len(steps)-1
			switch v := at.(type) {
			case object:
				if last {
					v[step] = value
				}
				at = v[step]
			case []any:
				var k int
				_, _ = fmt.Sscan(step, &k)
				if last {
					v[k] = value
				}
				at = v[k]
			}
		}
		b, _ := json.Marshal(doc)
		return string(b)
	}
	long := strings.Repeat("x", 5000)
	// Signals of a part ascend: 0 <script>..., 1 amount, 2 country.
	for name, c := range map[string]struct{ body, say string }{
		"nothing":                {"", "EOF"},
		"half":                   {good[:len(good)/2], "decode baseline"},
		"more":                   {good + "{}", "follows"},
		"unknown field":          {set("extra", 1), "unknown field"},
		"format":                 {set("format", "driftd/baseline/9"), "format"},
		"id":                     {set("id", "../../etc"), "hex digits"},
		"no model":               {set("model", ""), "no model"},
		"long model":             {set("model", long), "longer"},
		"state":                  {set("state", "learning"), "frozen"},
		"origin":                 {set("origin.kind", "magic"), "origin"},
		"year":                   {set("origin.from", "1500-01-01T00:00:00Z"), "too far"},
		"no parts":               {set("parts", []any{}), "first part"},
		"part without the whole": {set("parts.0.segment", "a=b"), "first part"},
		"parts out of order":     {set("parts.2.segment", "a"), "ascend"},
		"long segment":           {set("parts.2.segment", long), "longer"},
		"signal without name":    {set("parts.0.signals.0.name", ""), "1 to 4096"},
		"signals out of order":   {set("parts.0.signals.1.name", "zzz"), "ascend by name"},
		"missing":                {set("parts.0.signals.1.missing", 501), "501 of 500"},
		"type":                   {set("parts.0.signals.1.type", "vector"), "vector"},
		"no edges":               {set("parts.0.signals.1.on", "0"), "not in it"},
		"no dictionary":          {set("parts.0.signals.2.on", "0"), "not in it"},
		"other type":             {set("parts.0.signals.1.type", "categorical"), "not in it"},
		"histogram":              {set("parts.0.signals.1.histogram", "AAAA"), "signal \"amount\""},
		"no histogram":           {set("parts.0.signals.2.histogram", ""), "signal \"country\""},
		"cells":                  {set("parts.0.signals.1.psi", "0"), "subset"},
		"cells of a category":    {set("parts.0.signals.2.psi", "0"), "only numbers"},
		"ties":                   {set("parts.0.signals.1.ties", "AQ=="), "tie"},
		"more ties":              {set("parts.0.signals.1.ties", "AAA="), "follows a tie table"},
		"edges of another id":    {set("edges.0000000000000000", "AA=="), "their id"},
		"damaged edges":          {set("edges.0000000000000000", "/w=="), "edges"},
		"dictionary of another":  {set("dictionaries.0000000000000000", "AAAAAAA="), "its id"},
		"damaged dictionary":     {set("dictionaries.0000000000000000", "AA=="), "dictionary"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := api.DecodeBaseline([]byte(c.body))
			if err == nil {
				t.Fatalf("it is taken as %s", b.ID)
			}
			if !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v does not say %q", err, c.say)
			}
		})
	}
	if _, err := api.DecodeBaseline(make([]byte, api.MaxBaselineBytes+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a huge body: %v", err)
	}
}

func FuzzDecodeBaseline(f *testing.F) {
	f.Add([]byte(encode(f, reference(50))))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := api.DecodeBaseline(data)
		if err != nil {
			return
		}
		body := encode(t, b)
		if back, err := api.DecodeBaseline([]byte(body)); err != nil || encode(t, back) != body {
			t.Errorf("what was decoded does not survive: %v", err)
		}
	})
}

const jsonType = "application/json"

func post(t *testing.T, s *api.Server, path, body string, status int, headers ...string) object {
	t.Helper()
	r := call(t, s.Handler(), http.MethodPost, path, body, append([]string{"Content-Type", jsonType}, headers...)...)
	answer := text(t, r)
	if r.StatusCode != status {
		t.Fatalf("POST %s: %d, want %d: %s", path, r.StatusCode, status, answer)
	}
	var out object
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImportBaseline(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	active, fresh := w.snapshot.Models[1].Baseline, reference(500)
	if got := post(t, s, "/api/v1/baselines", encode(t, fresh), 201); got["id"] != fresh.ID || got["rows"] != 500.0 || got["active"] != true {
		t.Errorf("%v", got)
	}
	if got := post(t, s, "/api/v1/baselines", encode(t, active), 200); got["id"] != active.ID {
		t.Errorf("%v", got)
	}
	if want := []string{"import " + fresh.ID + " http:127.0.0.1"}; !slices.Equal(w.commands, want) {
		t.Errorf("%q, want %q: what is active already needs no command", w.commands, want)
	}
	post(t, s, "/api/v1/baselines", "{}", 400)
}

func TestBaselineViews(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	b := w.snapshot.Models[1].Baseline
	one := get(t, s, "/api/v1/baselines/"+b.ID, 200)
	if len(one["summary"].([]any)) != len(b.Parts[0].Signals) || one["active"] != true {
		t.Errorf("%v", one)
	}
	r := call(t, s.Handler(), http.MethodGet, "/api/v1/baselines/"+b.ID+"?full=true", "")
	back, err := api.DecodeBaseline([]byte(text(t, r)))
	if err != nil || back.ID != b.ID {
		t.Errorf("%v, %v", back, err)
	}
}

func TestApproveAndCapture(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	id := w.snapshot.Models[1].Baseline.ID
	if got := post(t, s, "/api/v1/baselines/"+id+"/approve", "", 200); got["state"] != "approved" {
		t.Errorf("%v", got)
	}
	post(t, s, "/api/v1/baselines/b-0000000000000000/approve", "", 404)
	post(t, s, "/api/v1/baselines/capture", `{"model":"fraud","from":"2026-01-01T00:00:00Z","to":"-4h"}`, 201)
	want := []string{"approve " + id + " http:127.0.0.1", "capture 2026-01-01T00:00:00Z 2026-01-01T02:00:00Z http:127.0.0.1"}
	if !slices.Equal(w.commands, want) {
		t.Errorf("%q, want %q", w.commands, want)
	}
	for name, body := range map[string]string{
		"no model": `{"from":"-1h","to":"now"}`, "no from": `{"model":"fraud","to":"now"}`, "no to": `{"model":"fraud","from":"-1h"}`,
		"unknown field": `{"model":"fraud","form":"-1h"}`, "more": `{"model":"fraud","from":"-1h","to":"now"} {}`, "no object": `[]`,
	} {
		t.Run(name, func(t *testing.T) { post(t, s, "/api/v1/baselines/capture", body, 400) })
	}
}

// TestRefusals: a command that was refused is the client's to mend, one that
// was too late is to be tried again.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"refused":   {errors.New("the model is not configured"), 409},
		"stopping":  {fmt.Errorf("driftd is stopping: %w", api.ErrUnavailable), 503},
		"not found": {fmt.Errorf("baseline: %w", api.ErrNotFound), 404},
	} {
		t.Run(name, func(t *testing.T) {
			w.refuse = c.err
			defer func() { w.refuse = nil }()
			for path, body := range map[string]string{
				"/api/v1/baselines": encode(t, reference(10)), "/api/v1/baselines/" + w.snapshot.Models[1].Baseline.ID + "/approve": "",
				"/api/v1/baselines/capture": `{"model":"fraud","from":"-2h","to":"-1h"}`,
			} {
				post(t, s, path, body, c.want)
			}
		})
	}
	readOnly := newServer(t, w, func(o *api.Options) { o.Commander = nil })
	post(t, readOnly, "/api/v1/baselines", "{}", 503)
}

// TestIdempotencyKey: the same request twice is done once.
func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	const path, body = "/api/v1/baselines/capture", `{"model":"fraud","from":"2026-01-01T00:00:00Z","to":"2026-01-01T01:00:00Z"}`
	first := post(t, s, path, body, 201, "Idempotency-Key", "k1")
	again := post(t, s, path, body, 201, "Idempotency-Key", "k1")
	if len(w.commands) != 1 || fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("%d commands, want 1", len(w.commands))
	}
	post(t, s, path, strings.Replace(body, "T01", "T02", 1), 422, "Idempotency-Key", "k1")
	post(t, s, path, body, 201, "Idempotency-Key", "k2")
	post(t, s, path, body, 400, "Idempotency-Key", strings.Repeat("k", 256))
	if len(w.commands) != 2 {
		t.Errorf("%d commands, want 2", len(w.commands))
	}
	w.refuse = errors.New("not now")
	post(t, s, path, body, 409, "Idempotency-Key", "k3")
	w.refuse = nil
	post(t, s, path, body, 201, "Idempotency-Key", "k3") // a failure is not remembered
	for i := range 1100 {                                // more than are remembered
		post(t, s, path, body, 201, "Idempotency-Key", fmt.Sprint("n", i))
	}
	done := len(w.commands)
	post(t, s, path, body, 201, "Idempotency-Key", "n1099")
	if len(w.commands) != done {
		t.Error("the newest answer was forgotten")
	}
}

// TestIdempotencyKeyUnderWay: the second of two at once is told to wait.
func TestIdempotencyKeyUnderWay(t *testing.T) {
	w := newWorld(t)
	w.entered, w.block = make(chan struct{}), make(chan struct{})
	s := newServer(t, w)
	body := encode(t, reference(10))
	done := make(chan int)
	go func() {
		r := call(t, s.Handler(), http.MethodPost, "/api/v1/baselines", body, "Content-Type", jsonType, "Idempotency-Key", "k")
		done <- r.StatusCode
	}()
	<-w.entered
	post(t, s, "/api/v1/baselines", body, 409, "Idempotency-Key", "k")
	close(w.block)
	if status := <-done; status != 201 {
		t.Errorf("%d", status)
	}
}
