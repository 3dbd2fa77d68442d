package api_test

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

type object = map[string]any

// get reads a JSON answer.
func get(t testing.TB, s *api.Server, target string, status int) object {
	t.Helper()
	r := call(t, s.Handler(), http.MethodGet, target, "")
	body := text(t, r)
	if r.StatusCode != status {
		t.Fatalf("GET %s: %d, want %d: %s", target, r.StatusCode, status, body)
	}
	var out object
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("GET %s: %v: %s", target, err, body)
	}
	return out
}

func items(t testing.TB, s *api.Server, target string) []object {
	t.Helper()
	var out []object
	for _, item := range get(t, s, target, 200)["items"].([]any) {
		out = append(out, item.(object))
	}
	return out
}

// TestGolden holds the shape of every answer that is the same on every run.
func TestGolden(t *testing.T) {
	s := newServer(t, newWorld(t))
	for name, target := range map[string]string{
		"status":            "/api/v1/status",
		"models":            "/api/v1/models",
		"model":             "/api/v1/models/fraud",
		"windows":           "/api/v1/models/fraud/windows?feature=country&size=1h",
		"windows_all":       "/api/v1/models/fraud/windows?size=1h&from=2026-01-01T02:00:00Z&to=2026-01-01T03:00:00Z",
		"windows_groups":    "/api/v1/models/fraud/windows?feature=prediction&size=2h&group=true&to=2026-01-01T02:00:00Z",
		"drift":             "/api/v1/models/fraud/drift?at=2026-01-01T02:30:00Z",
		"alerts":            "/api/v1/alerts",
		"budgets":           "/api/v1/budgets",
		"detectors":         "/api/v1/models/fraud/detectors?limit=1",
		"rules":             "/api/v1/rules",
		"baselines":         "/api/v1/baselines",
		"triggers":          "/api/v1/triggers",
		"ledger":            "/api/v1/ledger?after=1&limit=2",
		"verify":            "/api/v1/ledger/verify",
		"openapi":           "/api/v1/openapi.json",
		"problem_parameter": "/api/v1/models/fraud/windows?sise=1h",
	} {
		t.Run(name, func(t *testing.T) {
			body := text(t, call(t, s.Handler(), http.MethodGet, target, ""))
			if strings.ContainsAny(body, "<>&") {
				t.Error("the answer holds <, > or & that are not escaped")
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, []byte(body), "", "  "); err != nil {
				t.Fatal(err)
			}
			var v object
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Fatal(err)
			}
			if id, ok := v["request_id"].(string); ok { // differs from process to process
				pretty = *bytes.NewBufferString(strings.Replace(pretty.String(), id, "ID", 1))
			}
			golden(t, name+".json", pretty.String())
		})
	}
}

// TestWindowsAddUp: whatever the size and the grouping, every event that was
// sent is in exactly one window.
func TestWindowsAddUp(t *testing.T) {
	s := newServer(t, newWorld(t))
	const sent = 720 + 72 + 72 + 720 // as newWorld says
	for name, query := range map[string]string{
		"hours":      "size=1h",
		"panes":      "size=1m",
		"odd":        "size=7m",
		"days":       "size=1d",
		"groups":     "size=1h&group=true",
		"range":      "size=1h&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
		"unix":       "size=1h&from=1767225600&to=1767312000",
		"spans":      "size=5m&from=-6h&to=now",
		"one signal": "size=1h&feature=amount",
	} {
		t.Run(name, func(t *testing.T) {
			got, values, missing, nonFinite := 0.0, 0.0, 0.0, 0.0
			for _, w := range items(t, s, "/api/v1/models/fraud/windows?"+query) {
				got += w["events"].(float64)
				if name == "one signal" {
					values, missing, nonFinite = values+w["values"].(float64), missing+w["missing"].(float64), nonFinite+w["non_finite"].(float64)
					sum := 0.0
					h := w["histogram"].(object)
					for _, c := range h["counts"].([]any) {
						sum += c.(float64)
					}
					if sum != w["values"] || len(h["counts"].([]any)) != len(h["edges"].([]any))+1 {
						t.Errorf("window %v: %v counts on %d edges sum to %v of %v values", w["start"], len(h["counts"].([]any)), len(h["edges"].([]any)), sum, w["values"])
					}
				}
			}
			if got != sent {
				t.Errorf("%v events, want %d", got, sent)
			}
			if name == "one signal" && values+missing+nonFinite != sent {
				t.Errorf("values %v + missing %v + not finite %v = %v, want %d", values, missing, nonFinite, values+missing+nonFinite, sent)
			}
		})
	}
}

func TestWindowsOfAGroup(t *testing.T) {
	s := newServer(t, newWorld(t))
	for name, c := range map[string]struct {
		query string
		want  float64 // events, as newWorld sends them
	}{
		"canary":        {"variant=canary", 72},
		"version":       {"version=1", 720 + 72 + 720},
		"both":          {"version=1&variant=shadow", 72},
		"segment":       {"segment=channel%3Dapp", (720 + 72 + 72 + 720) / 2},
		"other segment": {"segment=channel%3Dmail", 0},
		"other version": {"version=9", 0},
		"one hour":      {"from=2026-01-01T02:00:00Z&to=2026-01-01T03:00:00Z&variant=primary", 360},
	} {
		t.Run(name, func(t *testing.T) {
			got := 0.0
			for _, w := range items(t, s, "/api/v1/models/fraud/windows?"+c.query) {
				got += w["events"].(float64)
			}
			if got != c.want {
				t.Errorf("%v events, want %v", got, c.want)
			}
		})
	}
}

// TestWindowsCursor: an answer is cut at 16 MiB, and goes on where it ended.
func TestWindowsCursor(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	s.SetWindowBytes(3000) // about one window with two histograms
	seen, target, pages := 0, "/api/v1/models/fraud/windows?size=1h&feature=amount", 0
	for next := ""; ; pages++ {
		page := get(t, s, target+next, 200)
		seen += len(page["items"].([]any))
		if page["next_cursor"] == nil {
			break
		}
		next = "&cursor=" + page["next_cursor"].(string)
	}
	if seen != 4 || pages < 1 { // hours 0 to 3
		t.Errorf("%d windows on %d further pages, want 4 on at least 1", seen, pages)
	}
}

func TestLearningModel(t *testing.T) {
	s := newServer(t, newWorld(t))
	path := "/api/v1/models/" + url.PathEscape(hostile)
	m := get(t, s, path, 200)
	if m["model"] != hostile || m["state"] != "learning" || m["baseline"] != nil || m["learning"].(object)["seen"] != 100.0 {
		t.Errorf("%v", m)
	}
	for _, w := range items(t, s, path+"/windows?feature=amount") {
		if w["histogram"] != nil || w["psi"] != nil || w["mean"] == nil || w["learning"] != true {
			t.Errorf("a learning window: %v", w)
		}
	}
	for _, w := range items(t, s, path+"/windows?feature=country") {
		if c := w["categories"].(object); c["__other__"] != w["values"] {
			t.Errorf("categories %v do not sum to %v values", c, w["values"])
		}
	}
	d := get(t, s, path+"/drift", 200)
	for _, f := range d["features"].([]any) {
		if f := f.(object); f["verdict"] != "ignored" || f["psi"] != nil {
			t.Errorf("%v", f)
		}
	}
}

func TestDriftFindsTheWindow(t *testing.T) {
	s := newServer(t, newWorld(t))
	for name, c := range map[string]struct {
		query, start, state string
		rows                float64
	}{
		// The last events are of 03:59:50, so the watermark is 03:57:50.
		"last closed": {"", "2026-01-01T02:00:00Z", "closed", 360},
		"at":          {"?at=2026-01-01T03:10:00Z", "2026-01-01T03:00:00Z", "closed", 360},
		"shorter":     {"?window=5m", "2026-01-01T03:50:00Z", "closed", 30},
		"canary":      {"?variant=canary&at=2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z", "closed", 36},
		"not begun":   {"?window=1d", "2026-01-01T00:00:00Z", "closed", 720 + 72 + 720},
	} {
		t.Run(name, func(t *testing.T) {
			d := get(t, s, "/api/v1/models/fraud/drift"+c.query, 200)
			w := d["window"].(object)
			if w["start"] != c.start || d["rows_current"] != c.rows || d["rows_reference"] != 1000.0 {
				t.Errorf("start %v, rows %v of %v, want %s, %v of 1000", w["start"], d["rows_current"], d["rows_reference"], c.start, c.rows)
			}
		})
	}
}

// TestDriftIsCompare: the API tells the very objects that a report has.
func TestDriftIsCompare(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	windows, err := w.Windows(api.Query{Model: "fraud", Variants: []event.Variant{event.Primary, event.Canary}, From: start.Add(2 * time.Hour), To: start.Add(3 * time.Hour), Size: time.Hour, Total: true})
	if err != nil {
		t.Fatal(err)
	}
	want := api.NewReportJSON(w.Compare(windows[0]), 1000)
	r := call(t, s.Handler(), http.MethodGet, "/api/v1/models/fraud/drift?at=2026-01-01T02:30:00Z", "")
	var got api.ReportJSON
	if err := json.Unmarshal([]byte(text(t, r)), &got); err != nil {
		t.Fatal(err)
	}
	got.Window = nil
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if got.Features[0].Verdict != string(drift.Material) || got.Drifting == 0 {
		t.Errorf("the shifted feature does not come first: %s", a)
	}
	if got.Features[0].KS.Lo > got.Features[0].KS.Hi {
		t.Errorf("ks [%v, %v]", got.Features[0].KS.Lo, got.Features[0].KS.Hi)
	}
}

func TestNum(t *testing.T) {
	for name, c := range map[string]struct {
		x    float64
		text string
	}{
		"nan": {math.NaN(), "null"}, "inf": {math.Inf(1), "null"}, "-inf": {math.Inf(-1), "null"},
		"small": {5e-324, "5e-324"}, "third": {1. / 3, "0.3333333333333333"}, "zero": {0, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(api.Num(c.x))
			if err != nil || string(b) != c.text {
				t.Errorf("%s, %v, want %s", b, err, c.text)
			}
			var back api.Num
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatal(err)
			}
			if x := float64(back); x != c.x && !(math.IsNaN(x) && c.text == "null") {
				t.Errorf("reads back as %v", x)
			}
		})
	}
	if err := new(api.Num).UnmarshalJSON([]byte(`"1"`)); err == nil {
		t.Error("a string is read as a number")
	}
}

func TestIgnoredFeature(t *testing.T) {
	b, err := json.Marshal(api.IgnoredFeatureJSON("DATE", "time", "a column of dates"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "ignored.json", string(b)+"\n")
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	long := strings.Repeat("x", 9000)
	for name, c := range map[string]struct {
		target string
		status int
		say    string
	}{
		"nothing here":         {"/api/v1/nothing", 404, "openapi.json"},
		"no model":             {"/api/v1/models/none", 404, "/api/v1/models"},
		"no model's windows":   {"/api/v1/models/none/windows", 404, "none"},
		"no model's drift":     {"/api/v1/models/none/drift", 404, "none"},
		"no signal":            {"/api/v1/models/fraud/windows?feature=amuont", 404, "amuont"},
		"no window":            {"/api/v1/models/fraud/drift?at=2025-01-01T00:00:00Z", 404, "the last one is of"},
		"no baseline":          {"/api/v1/baselines/b-0000000000000000", 404, "/api/v1/baselines"},
		"unknown parameter":    {"/api/v1/status?pretty=1", 400, "unknown parameter"},
		"none of its words":    {"/api/v1/incidents?state=ended", 400, "state: must be one of open, resolved, closed"},
		"twice":                {"/api/v1/models?limit=1&limit=2", 400, "twice"},
		"broken query":         {"/api/v1/models?limit=%zz", 400, "cannot be read"},
		"long query":           {"/api/v1/models?cursor=" + long, 414, "8 KiB"},
		"size of nothing":      {"/api/v1/models/fraud/windows?size=0s", 400, "positive"},
		"size in ns":           {"/api/v1/models/fraud/windows?size=1ns", 400, "duration"},
		"size off the pane":    {"/api/v1/models/fraud/windows?size=90s", 400, "multiple of 1m"},
		"size off the hour":    {"/api/v1/models/fraud/windows?size=61m", 400, "whole hours"},
		"size overflows":       {"/api/v1/models/fraud/windows?size=99999999999999y", 400, "duration"},
		"size of years":        {"/api/v1/models/fraud/windows?size=2y", 400, "366d"},
		"range of S28":         {"/api/v1/models/fraud/windows?from=0&to=9e18&size=1m", 400, "must be a time"},
		"too many windows":     {"/api/v1/models/fraud/windows?from=0&to=now&size=1m", 400, "11000 windows"},
		"from is no time":      {"/api/v1/models/fraud/windows?from=yesterday", 400, "-24h"},
		"to before from":       {"/api/v1/models/fraud/windows?from=now&to=-1h", 400, "after from"},
		"time too far":         {"/api/v1/models/fraud/windows?from=1500-01-01T00:00:00Z", 400, "too far"},
		"NaN is no time":       {"/api/v1/models/fraud/windows?from=NaN", 400, "must be a time"},
		"variant":              {"/api/v1/models/fraud/windows?variant=blue", 400, "canary"},
		"group":                {"/api/v1/models/fraud/windows?group=maybe", 400, "true or false"},
		"cursor of windows":    {"/api/v1/models/fraud/windows?cursor=5", 400, "next_cursor"},
		"at":                   {"/api/v1/models/fraud/drift?at=later", 400, "-24h"},
		"window":               {"/api/v1/models/fraud/drift?window=soon", 400, "1h"},
		"drift variant":        {"/api/v1/models/fraud/drift?variant=blue", 400, "canary"},
		"limit too large":      {"/api/v1/ledger?limit=1001", 400, "1000"},
		"limit negative":       {"/api/v1/ledger?limit=-1", 400, "whole number"},
		"after of the ledger":  {"/api/v1/ledger?after=x", 400, "whole number"},
		"after of triggers":    {"/api/v1/triggers?after=x", 400, "whole number"},
		"limit of alerts":      {"/api/v1/alerts?limit=0", 400, "whole number"},
		"cursor of alerts":     {"/api/v1/alerts?cursor=x", 400, "whole number"},
		"limit of models":      {"/api/v1/models?limit=x", 400, "whole number"},
		"full":                 {"/api/v1/baselines/x?full=x", 400, "true or false"},
		"place in the stream":  {"/api/v1/stream?after=x", 400, "whole number"},
		"from is not readable": {"/api/v1/models/fraud/windows?to=x", 400, "-24h"},
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, s.Handler(), http.MethodGet, c.target, "")
			var p object
			body := text(t, r)
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if r.StatusCode != c.status || p["status"] != float64(c.status) || r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s: %s", r.StatusCode, r.Header.Get("Content-Type"), body)
			}
			if !strings.Contains(p["detail"].(string), c.say) || p["request_id"] == "" || p["request_id"] != r.Header.Get("X-Request-Id") {
				t.Errorf("%s\ndoes not say %q", body, c.say)
			}
		})
	}
}

// TestReaderFails: a fault of ours is told by its request id only.
func TestReaderFails(t *testing.T) {
	w := newWorld(t)
	w.broken = errDisk
	s := newServer(t, w)
	for _, target := range []string{
		"/api/v1/models/fraud/windows", "/api/v1/models/fraud/drift", "/api/v1/baselines", "/api/v1/ledger", "/api/v1/triggers", "/api/v1/ledger/verify", "/api/v1/stream",
	} {
		t.Run(target, func(t *testing.T) {
			p := get(t, s, target, 500)
			if strings.Contains(p["detail"].(string), "disk") {
				t.Errorf("the answer tells of our insides: %v", p)
			}
		})
	}
}

func TestLists(t *testing.T) {
	s := newServer(t, newWorld(t))
	t.Run("models by cursor", func(t *testing.T) {
		first := get(t, s, "/api/v1/models?limit=1", 200)
		next := get(t, s, "/api/v1/models?limit=1&cursor="+url.QueryEscape(first["next_cursor"].(string)), 200)
		if first["items"].([]any)[0].(object)["model"] != hostile || next["items"].([]any)[0].(object)["model"] != "fraud" || next["next_cursor"] != nil {
			t.Errorf("%v\n%v", first, next)
		}
	})
	t.Run("alerts by cursor", func(t *testing.T) {
		first := get(t, s, "/api/v1/alerts?limit=1", 200)
		next := get(t, s, "/api/v1/alerts?limit=1&cursor="+first["next_cursor"].(string), 200)
		if len(first["items"].([]any)) != 1 || len(next["items"].([]any)) != 1 || next["next_cursor"] != nil {
			t.Errorf("%v\n%v", first, next)
		}
	})
	t.Run("ledger by cursor", func(t *testing.T) {
		seen := 0
		for next := "cursor=0"; next != ""; {
			page := get(t, s, "/api/v1/ledger?limit=3&"+next, 200)
			seen += len(page["items"].([]any))
			next = ""
			if c, ok := page["next_cursor"].(string); ok {
				next = "cursor=" + c
			}
		}
		if seen != 4 { // as world.record writes
			t.Errorf("%d entries, want 4", seen)
		}
	})
	for target, want := range map[string]int{
		"/api/v1/alerts?model=fraud": 1, "/api/v1/alerts?state=pending": 1, "/api/v1/alerts?severity=info": 0, "/api/v1/alerts?rule=AmountDrift": 1,
		"/api/v1/triggers?model=fraud": 1, "/api/v1/triggers?model=none": 0, "/api/v1/triggers?limit=1": 1, "/api/v1/baselines?model=none": 0,
	} {
		if got := items(t, s, target); len(got) != want {
			t.Errorf("%s: %d items, want %d", target, len(got), want)
		}
	}
}

func TestBrokenLedger(t *testing.T) {
	w := newWorld(t)
	w.entries[2].Model = "other"
	p := get(t, newServer(t, w), "/api/v1/ledger/verify", 200)
	if p["ok"] != false || !strings.Contains(p["error"].(string), "entry 3") {
		t.Errorf("%v", p)
	}
}

func TestReady(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	if got := get(t, s, "/-/ready", 200); len(got["reasons"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
	w.change(func(s *api.Snapshot) { s.NotReady = []string{"nats", "disk"} })
	if got := get(t, s, "/-/ready", 503); len(got["reasons"].([]any)) != 2 {
		t.Errorf("%v", got)
	}
	if r := call(t, s.Handler(), http.MethodGet, "/-/healthy", ""); r.StatusCode != 200 {
		t.Errorf("a daemon that is not ready is not alive: %d", r.StatusCode)
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	r := call(t, s.Handler(), http.MethodGet, "/api/v1/config", "")
	if got := text(t, r); got != "nats:\n  embedded: true\n" || r.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("%q as %s", got, r.Header.Get("Content-Type"))
	}
	if got := get(t, s, "/api/v1/schema/config", 200); got["type"] != "object" {
		t.Errorf("%v", got)
	}
	bare := newServer(t, w, func(o *api.Options) { o.Config, o.Schema = nil, nil })
	get(t, bare, "/api/v1/config", 404)
	get(t, bare, "/api/v1/schema/config", 404)
}

// TestEmptySnapshot: a daemon that has seen nothing answers everything.
func TestEmptySnapshot(t *testing.T) {
	s := newServer(t, &world{})
	for _, target := range []string{"/api/v1/status", "/api/v1/models", "/api/v1/alerts", "/api/v1/rules", "/api/v1/baselines", "/api/v1/ledger", "/-/ready"} {
		get(t, s, target, 200)
	}
	for _, target := range []string{"/metrics", "/"} {
		if r := call(t, s.Handler(), http.MethodGet, target, ""); r.StatusCode != 200 {
			t.Errorf("%s: %d", target, r.StatusCode)
		}
	}
}
