package fakes_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/notify/fakes"
)

// call makes one request of a fake.
func call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

type answer struct {
	method, path, body string
	status             int
	answer             string // what the answer contains
}

func ask(t *testing.T, h http.Handler, cases map[string]answer) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := call(h, c.method, c.path, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.answer)
			}
		})
	}
}

// Statuses and texts are those of Slack's changelog of 2016-05-17.
func TestSlackAnswers(t *testing.T) {
	block := func(b string) string { return `{"text":"x","blocks":[` + b + `]}` }
	ask(t, fakes.NewSlack(), map[string]answer{
		"text":            {"POST", "/services/a", `{"text":"x"}`, 200, "ok"},
		"divider":         {"POST", "/services/a", block(`{"type":"divider"}`), 200, "ok"},
		"not JSON":        {"POST", "/services/a", `{`, 400, "invalid_payload"},
		"nothing":         {"POST", "/services/a", `{}`, 400, "no_text"},
		"unknown hook":    {"POST", "/elsewhere", `{"text":"x"}`, 404, "no_service"},
		"wrong method":    {"PUT", "/services/a", `{"text":"x"}`, 405, ""},
		"unknown block":   {"POST", "/services/a", block(`{"type":"poem"}`), 400, "invalid_blocks"},
		"long header":     {"POST", "/services/a", block(`{"type":"header","text":{"type":"plain_text","text":"` + strings.Repeat("x", 151) + `"}}`), 400, "invalid_blocks"},
		"mrkdwn header":   {"POST", "/services/a", block(`{"type":"header","text":{"type":"mrkdwn","text":"x"}}`), 400, "invalid_blocks"},
		"empty section":   {"POST", "/services/a", block(`{"type":"section"}`), 400, "invalid_blocks"},
		"eleven fields":   {"POST", "/services/a", block(`{"type":"section","fields":[` + strings.Repeat(`{"type":"mrkdwn","text":"x"},`, 10) + `{"type":"mrkdwn","text":"x"}]}`), 400, "invalid_blocks"},
		"too many blocks": {"POST", "/services/a", block(strings.Repeat(`{"type":"divider"},`, 50) + `{"type":"divider"}`), 400, "invalid_blocks"},
	})
}

// Codes are those of slack-api-specs; the status is always 200.
func TestSlackAPIAnswers(t *testing.T) {
	const token = "Bearer xoxb-1"
	s := fakes.NewSlack()
	for _, c := range []struct{ method, token, body, answer string }{
		{"chat.postMessage", "", `{"channel":"c","text":"x"}`, "not_authed"},
		{"chat.postMessage", "Bearer xoxp-1", `{"channel":"c","text":"x"}`, "not_authed"},
		{"chat.postMessage", token, `{`, "invalid_json"},
		{"chat.postMessage", token, `{"text":"x"}`, "channel_not_found"},
		{"chat.postMessage", token, `{"channel":"c"}`, "no_text"},
		{"chat.postMessage", token, `{"channel":"c","text":"` + strings.Repeat("x", 40_001) + `"}`, "msg_too_long"},
		{"chat.delete", token, `{"channel":"c","text":"x"}`, "unknown_method"},
		{"chat.update", token, `{"channel":"C0DEMO","ts":"1","text":"x"}`, "message_not_found"},
		{"chat.postMessage", token, `{"channel":"c","text":"x"}`, `{"ok":true,"channel":"C0DEMO","ts":"1700000000.000001"}`},
		{"chat.update", token, `{"channel":"c","ts":"1700000000.000001","text":"y"}`, "message_not_found"}, // by its id only
		{"chat.update", token, `{"channel":"C0DEMO","ts":"1700000000.000001","text":"y"}`, `"ok":true`},
	} {
		if w := call(s, "POST", "/api/"+c.method, c.body, "Authorization", c.token); w.Code != 200 || !strings.Contains(w.Body.String(), c.answer) {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.body, w.Code, w.Body, c.answer)
		}
	}
	if got := s.Messages(); len(got) != 1 || got[0].Text != "y" || got[0].Edits != 1 {
		t.Errorf("messages %+v", got)
	}
}

func TestSlackPageShowsMessagesInert(t *testing.T) {
	s := fakes.NewSlack()
	if page := call(s, "GET", "/", "").Body.String(); !strings.Contains(page, "Nothing was posted yet") {
		t.Errorf("empty page %s", page)
	}
	for range 2 {
		call(s, "POST", "/services/a", `{"text":"x","blocks":[{"type":"header","text":{"type":"plain_text","text":"&lt;script&gt;"}},
			{"type":"section","text":{"type":"plain_text","text":"it moved"}},{"type":"section","fields":[{"type":"mrkdwn","text":"*n*\n5"}]},
			{"type":"context","elements":[{"type":"mrkdwn","text":"ledger 1 · <https://driftd.example/ledger/1|open in driftd> <javascript:x|no link>"}]}]}`)
	}
	page := call(s, "GET", "/", "").Body.String()
	for _, want := range []string{
		"<h2>&lt;script&gt;</h2>", "it moved", "<b>n</b>\n5", "2 messages",
		`ledger 1 · <a href="https://driftd.example/ledger/1">open in driftd</a> &lt;javascript:x|no link&gt;`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q:\n%s", want, page)
		}
	}
	if m := s.Messages(); len(m) != 2 || m[0].Header != "<script>" || s.Duplicates() != 1 {
		t.Errorf("messages %+v, %d duplicates, want the second counted as one", m, s.Duplicates())
	}
}

func TestScriptedFailures(t *testing.T) {
	s := fakes.NewSlack()
	s.FailNext(2, 429, "30")
	s.FailNext(1, 500, "")
	for i, want := range []struct {
		status int
		after  string
	}{{429, "30"}, {429, "30"}, {500, ""}, {200, ""}} {
		w := call(s, "POST", "/services/a", `{"text":"x"}`)
		if w.Code != want.status || w.Header().Get("Retry-After") != want.after {
			t.Errorf("call %d: %d %q, want %+v", i+1, w.Code, w.Header().Get("Retry-After"), want)
		}
	}
	calls := s.Calls()
	if len(calls) != 4 || calls[0].Status != 429 || calls[3].Method != "POST" || calls[3].Path != "/services/a" || string(calls[3].Body) != `{"text":"x"}` {
		t.Errorf("calls %+v", calls)
	}
	if len(s.Messages()) != 1 {
		t.Errorf("%d messages, want 1: a failed call posts nothing", len(s.Messages()))
	}
}

// What is remembered is bounded: 10,000 calls, and 10,000 messages.
func TestMemoryIsBounded(t *testing.T) {
	s := fakes.NewSlack()
	for i := range 10_001 {
		call(s, "POST", "/services/a", fmt.Sprintf(`{"text":"%d"}`, i))
	}
	if calls, messages := len(s.Calls()), len(s.Messages()); calls != 9_001 || messages != 9_001 {
		t.Errorf("%d calls and %d messages kept, want 9001", calls, messages)
	}
	if last := s.Messages()[9_000].Text; last != "10000" {
		t.Errorf("last message %s, want the newest kept", last)
	}
}

const key = `"routing_key":"0123456789abcdef0123456789abcdef"`

func TestPagerDutyAnswers(t *testing.T) {
	ok := `"payload":{"summary":"s","source":"s","severity":"info"}`
	ask(t, fakes.NewPagerDuty(), map[string]answer{
		"trigger":            {"POST", "/v2/enqueue", `{` + key + `,"event_action":"trigger","dedup_key":"k",` + ok + `}`, 202, `"dedup_key":"k"`},
		"change":             {"POST", "/v2/change/enqueue", `{` + key + `,"payload":{"summary":"s"}}`, 202, "success"},
		"not JSON":           {"POST", "/v2/enqueue", `{`, 400, "invalid event"},
		"short key":          {"POST", "/v2/enqueue", `{"routing_key":"x","event_action":"trigger",` + ok + `}`, 400, "Length of 'routing_key' is incorrect (should be 32 characters)"},
		"no payload":         {"POST", "/v2/enqueue", `{` + key + `,"event_action":"trigger"}`, 400, "'payload' is missing"},
		"unknown action":     {"POST", "/v2/enqueue", `{` + key + `,"event_action":"sing","dedup_key":"k"}`, 400, "'event_action' is invalid"},
		"resolve of nothing": {"POST", "/v2/enqueue", `{` + key + `,"event_action":"resolve"}`, 400, "'dedup_key' is missing"},
		"bad severity":       {"POST", "/v2/enqueue", `{` + key + `,"event_action":"trigger","payload":{"summary":"s","source":"s","severity":"page"}}`, 400, "'payload.severity' is invalid"},
		"long summary":       {"POST", "/v2/enqueue", `{` + key + `,"event_action":"trigger","payload":{"summary":"` + strings.Repeat("x", 1025) + `","source":"s","severity":"info"}}`, 400, "summary"},
		"too large":          {"POST", "/v2/enqueue", `{` + key + `,"event_action":"trigger",` + ok + `,"x":"` + strings.Repeat("x", 512_000) + `"}`, 400, "invalid event"},
		"unknown path":       {"POST", "/v3/enqueue", `{}`, 404, ""},
		"wrong method":       {"GET", "/v2/enqueue", ``, 404, ""},
	})
}

func TestPagerDutyIncidentLife(t *testing.T) {
	p := fakes.NewPagerDuty()
	send := func(action, summary string) {
		call(p, "POST", "/v2/enqueue", `{`+key+`,"event_action":"`+action+`","dedup_key":"k","payload":{"summary":"`+summary+`","source":"s","severity":"info"}}`)
	}
	send("resolve", "-") // of no incident: accepted and dropped
	send("trigger", "one")
	send("acknowledge", "-")
	send("trigger", "two") // updates the open incident
	send("resolve", "-")
	send("acknowledge", "-") // dropped
	send("trigger", "three") // after a resolve: a new incident
	got := fmt.Sprintf("%+v, dropped %d", p.Incidents(), p.Dropped())
	want := "[{DedupKey:k Status:resolved Summary:two Severity:info Details:map[] Updates:1 Duplicates:0} {DedupKey:k Status:triggered Summary:three Severity:info Details:map[] Updates:0 Duplicates:0}], dropped 2"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Statuses are those measured on Alertmanager 0.25.0 and 0.34.2.
func TestAlertmanagerAnswers(t *testing.T) {
	am := fakes.NewAlertmanager()
	ask(t, am, map[string]answer{
		"minimal":          {"POST", "/api/v2/alerts", `[{"labels":{"alertname":"A"}}]`, 200, ""},
		"empty":            {"POST", "/api/v2/alerts", `[]`, 200, ""},
		"no labels":        {"POST", "/api/v2/alerts", `[{"labels":{"a":""}}]`, 400, "at least one label pair required"},
		"ends too early":   {"POST", "/api/v2/alerts", `[{"labels":{"a":"b"},"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"}]`, 400, "start time must be before end time"},
		"not an array":     {"POST", "/api/v2/alerts", `{}`, 400, "parsing alerts body"},
		"dotted label":     {"POST", "/api/v2/alerts", `[{"labels":{"a.b":"c"}}]`, 400, "invalid label set"},
		"no URI":           {"POST", "/api/v2/alerts", `[{"labels":{"a":"b"},"generatorURL":"here"}]`, 422, `"code":601`},
		"one bad in batch": {"POST", "/api/v2/alerts", `[{"labels":{}},{"labels":{"alertname":"kept"}}]`, 400, ""},
		"healthy":          {"GET", "/-/healthy", ``, 200, "OK"},
		"ready":            {"GET", "/-/ready", ``, 200, "OK"},
		"elsewhere":        {"GET", "/", ``, 404, ""},
	})
	if w := call(am, "POST", "/api/v2/alerts", `[]`, "Content-Type", "text/plain"); w.Code != 415 {
		t.Errorf("text/plain: %d, want 415", w.Code)
	}
	if list := call(am, "GET", "/api/v2/alerts", "").Body.String(); !strings.Contains(list, `"alertname":"kept"`) || strings.Count(list, "startsAt") != 2 {
		t.Errorf("list %s, want the good one of the bad batch kept", list)
	}
	if alerts := am.Alerts(); len(alerts) != 2 || alerts[0].Updates != 1 {
		t.Errorf("alerts %+v", alerts)
	}
}

func TestWebhookAnswers(t *testing.T) {
	body := `{"version":"4","alerts":[{"labels":{"a":"b"}}]}`
	h := fakes.NewWebhook("")
	for name, c := range map[string]struct {
		body, key string
		status    int
	}{
		"accepted":       {body, "one", 200},
		"no key":         {body, "", 400},
		"other version":  {strings.Replace(body, "4", "3", 1), "two", 400},
		"no alerts":      {`{"version":"4"}`, "two", 400},
		"not JSON":       {`{`, "two", 400},
		"accepted again": {body, "one", 200},
	} {
		if w := call(h, "POST", "/", c.body, "Idempotency-Key", c.key); w.Code != c.status {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.status)
		}
	}
	if w := call(h, "GET", "/", ""); w.Code != 405 {
		t.Errorf("GET: %d, want 405", w.Code)
	}
	if keys := h.Keys(); len(keys) != 1 || keys[0] != "one" || h.Duplicates() != 1 {
		t.Errorf("keys %v, %d duplicates", keys, h.Duplicates())
	}
	signed := fakes.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if w := call(signed, "POST", "/", body, "Idempotency-Key", "one", "webhook-timestamp", "1"); w.Code != 401 {
		t.Errorf("unsigned: %d, want 401", w.Code)
	}
	if fakes.Verify("whsec_!", http.Header{}, nil, time.Now()) {
		t.Error("a secret that is not base64 verifies")
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, fmt.Errorf("reset") }

func TestBrokenRequestBody(t *testing.T) {
	w := httptest.NewRecorder()
	s := fakes.NewSlack()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/services/a", brokenBody{}))
	if w.Code != 400 || len(s.Calls()) != 0 {
		t.Errorf("%d with %d calls, want 400 and none", w.Code, len(s.Calls()))
	}
}
