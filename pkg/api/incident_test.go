package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/incident"
)

// disturbed is a world with incidents: see disturb.
func disturbed(t testing.TB) (*world, *api.Server) {
	t.Helper()
	w := newWorld(t)
	w.disturb(t)
	return w, newServer(t, w)
}

// ids returns the ids of a list, in its order.
func ids(list map[string]any) (out []string) {
	for _, item := range list["items"].([]any) {
		out = append(out, item.(map[string]any)["id"].(string))
	}
	return out
}

func TestIncidentsList(t *testing.T) {
	_, s := disturbed(t)
	odd := "odd/" + hostile
	for query, want := range map[string][]string{
		"":                                    {"01K0", "01K1", odd},
		"?state=open":                         {"01K0", odd},
		"?state=resolved":                     {"01K1"},
		"?state=closed":                       nil,
		"?severity=page":                      {"01K0"},
		"?model=fraud":                        {"01K0", "01K1"},
		"?model=" + url.QueryEscape(hostile):  {odd},
		"?owner=risk&severity=ticket":         {"01K1"},
		"?owner=growth":                       nil,
		"?since=2026-01-01T02:00:00Z":         {"01K0", "01K1"},
		"?since=2026-01-01T02:00:01Z&limit=9": {"01K0"},
	} {
		if got := ids(get(t, s, "/api/v1/incidents"+query, 200)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	var paged []string
	for cursor := "?limit=1"; cursor != ""; {
		answer := get(t, s, "/api/v1/incidents"+cursor, 200)
		paged, cursor = append(paged, ids(answer)...), ""
		if next, ok := answer["next_cursor"].(string); ok {
			cursor = "?limit=1&cursor=" + url.QueryEscape(next)
		}
		if len(paged) > 5 {
			break
		}
	}
	if !slices.Equal(paged, []string{"01K0", "01K1", odd}) {
		t.Errorf("one by one: %q", paged)
	}
	get(t, s, "/api/v1/incidents?cursor=x", 400)
	get(t, s, "/api/v1/incidents?since=soon", 400)
}

// The routes of what can be done, each with a body that does it and one that does not.
var deeds = []struct{ path, body, wrong, says string }{
	{"acknowledge", `{}`, `{"known": 3}`, "cannot be read"},
	{"notes", `{"text": "late <b>"}`, `{"text": " "}`, "needs a text"},
	{"diagnosis", `{"cause": "upstream_data", "text": "late"}`, `{"cause": "moon"}`, "expected one of upstream_data"},
	{"remedy", `{"remedy": "fixed_upstream", "result": "worked"}`, `{"remedy": "fixed_upstream", "cause": "x"}`, "unknown field"},
	{"worth", `{"worth": "yes"}`, `{"worth": "maybe"}`, "expected one of yes, no, unsure"},
}

func TestIncidentDeeds(t *testing.T) {
	w, s := disturbed(t)
	for _, d := range deeds {
		target := "/api/v1/incidents/01K0/" + d.path
		if r := call(t, s.Handler(), http.MethodPost, target, d.wrong, "Content-Type", "application/json"); r.StatusCode != 400 {
			t.Errorf("%s %s: %d", target, d.wrong, r.StatusCode)
		} else if body := text(t, r); !strings.Contains(body, d.says) {
			t.Errorf("%s: %s, want %q", target, body, d.says)
		}
		for range 2 { // the same key and body again changes nothing
			if r := call(t, s.Handler(), http.MethodPost, target, d.body, "Content-Type", "application/json", "Idempotency-Key", d.path); r.StatusCode != 200 {
				t.Errorf("%s: %d %s", target, r.StatusCode, text(t, r))
			}
		}
	}
	if n := len(w.entries); n != 7+len(deeds) {
		t.Errorf("%d entries", n)
	}
	i := get(t, s, "/api/v1/incidents/01K0", 200)
	if i["acknowledged"].(map[string]any)["by"] != "http:127.0.0.1" || i["diagnosis"].(map[string]any)["cause"] != "upstream_data" ||
		i["remedy"].(map[string]any)["result"] != "worked" || i["worth"].(map[string]any)["worth"] != "yes" || len(i["notes"].([]any)) != 1 ||
		len(i["members"].([]any)) != 1 || len(i["timeline"].([]any)) != 1+len(deeds) || len(i["told"].([]any)) != 2 || len(i["owed"].([]any)) != 1 {
		t.Errorf("%v", i)
	}
	post := func(id, path string) (int, string) {
		r := call(t, s.Handler(), http.MethodPost, "/api/v1/incidents/"+id+"/"+path, "{}", "Content-Type", "application/json")
		return r.StatusCode, text(t, r)
	}
	for _, c := range []struct {
		id, path string
		status   int
		says     string
	}{
		{"01K0", "close", 409, "alerts of it still fire (1)"},
		{"01K1", "acknowledge", 409, "has ended"},
		{"01K1", "close", 200, `"state":"closed"`},
		{"01K1", "close", 409, "has closed the incident already"},
		{"none", "close", 404, "there is no incident"},
		{url.PathEscape("odd/" + hostile), "acknowledge", 200, `"by":"http:127.0.0.1"`},
	} {
		if status, body := post(c.id, c.path); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: %d %s", c.id, c.path, status, body)
		}
	}
	for range 100 - 1 {
		call(t, s.Handler(), http.MethodPost, "/api/v1/incidents/01K0/notes", `{"text": "a"}`, "Content-Type", "application/json")
	}
	if r := call(t, s.Handler(), http.MethodPost, "/api/v1/incidents/01K0/notes", `{"text": "a"}`, "Content-Type", "application/json"); r.StatusCode != 409 {
		t.Errorf("note 101: %d", r.StatusCode)
	}
}

func TestClosingRequires(t *testing.T) {
	w, s := disturbed(t)
	w.change(func(s *api.Snapshot) { s.Policy.CloseRequires = []string{"diagnosis", "worth"} })
	r := call(t, s.Handler(), http.MethodPost, "/api/v1/incidents/01K1/close", "{}", "Content-Type", "application/json")
	if body := text(t, r); r.StatusCode != 409 || !strings.Contains(body, "requires diagnosis, worth") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if missing := fmt.Sprint(get(t, s, "/api/v1/incidents/01K1", 200)["missing"]); missing != "[diagnosis worth]" {
		t.Errorf("missing %s", missing)
	}
	if p := read(t, s, "/incidents/01K1"); !strings.Contains(p.text, "Missing before it can be closed: diagnosis, worth") {
		t.Errorf("the page does not say what is missing: %s", p.text)
	}
}

func TestDigest(t *testing.T) {
	_, s := disturbed(t)
	d := get(t, s, "/api/v1/digest?since=1d", 200)
	if d["incidents"] != 2. || d["pages"] != 1. || d["open"] != 1. {
		t.Errorf("%v", d)
	}
	get(t, s, "/api/v1/digest?since=0", 400)
}

func TestIncidentMetrics(t *testing.T) {
	w, s := disturbed(t)
	w.change(func(s *api.Snapshot) {
		s.Acknowledging = observed("driftd_incident_acknowledge_seconds", []float64{60}, 30)
		ack := s.Incidents[0].Clone()
		ack.Acknowledged = &incident.Acknowledgement{By: "ada"}
		s.Incidents = append(s.Incidents, ack)
	})
	page := text(t, call(t, s.Handler(), http.MethodGet, "/metrics", ""))
	for _, want := range []string{
		`driftd_incidents_open{severity="page"} 2`, `driftd_incidents_open{severity="info"} 0`, `driftd_incidents_unacknowledged{severity="page"} 1`,
		`driftd_incident_acknowledge_seconds_bucket{le="60"} 1`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// form posts a form of the page of an incident.
func form(t testing.TB, s *api.Server, id string, values url.Values, headers ...string) *http.Response {
	t.Helper()
	return call(t, s.Handler(), http.MethodPost, "/incidents/"+url.PathEscape(id), values.Encode(), append(headers, "Content-Type", "application/x-www-form-urlencoded")...)
}

func TestIncidentPage(t *testing.T) {
	_, s := disturbed(t)
	found := crawl(t, s, 400)
	for _, want := range []string{"/incidents", "/incidents/01K0", "/incidents/01K1", "/incidents/" + url.PathEscape("odd/"+hostile), "/incidents?state=open", "/alerts/01K0"} {
		if _, ok := found[want]; !ok {
			t.Errorf("no page links to %s", want)
		}
	}
	p := read(t, s, "/incidents/01K0")
	for _, want := range []string{"fraud: AmountDrift", "▲ open", "choose", "Nobody looks after it yet", "owed if nobody of slack acknowledges", "told", "given up", "psi <b>0.35</b>"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := len(p.all("form")); n != 5 {
		t.Errorf("%d forms of an open incident, want all but closing", n)
	}
	if r := form(t, s, "01K0", url.Values{"action": {"note"}, "text": {"a\r\nb <script>"}}); r.StatusCode != 303 || r.Header.Get("Location") != "/incidents/01K0" {
		t.Fatalf("a note: %d, to %s", r.StatusCode, r.Header.Get("Location"))
	}
	form(t, s, "01K0", url.Values{"action": {"acknowledge"}})
	form(t, s, "01K0", url.Values{"action": {"diagnose"}, "cause": {"seasonality"}, "text": {"it is Christmas"}})
	p = read(t, s, "/incidents/01K0")
	for _, want := range []string{"a\nb <script>, by http:127.0.0.1", "http:127.0.0.1 looks after it", "it is Christmas"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	chosen := slices.ContainsFunc(p.all("option"), func(e element) bool { _, selected := e.attr["selected"]; return selected })
	if !chosen {
		t.Error("the form does not show the cause that there is")
	}
	if model := read(t, s, "/models/fraud"); !strings.Contains(model.text, "fraud: AmountDrift") || !strings.Contains(model.text, "http:127.0.0.1 looks after it") && !strings.Contains(model.text, "nobody looks after it yet") {
		t.Error("the page of the model does not show its incident")
	}
}

// What a form asks for may be refused: the page says why and keeps what was written.
func TestFormsThatAreRefused(t *testing.T) {
	w, s := disturbed(t)
	for name, c := range map[string]struct {
		id     string
		values url.Values
		status int
		says   string
	}{
		"an empty note":       {"01K0", url.Values{"action": {"note"}, "text": {" "}}, 400, "a note needs a text"},
		"a note with escapes": {"01K0", url.Values{"action": {"note"}, "text": {"kept \x1b text"}}, 400, "kept"},
		"a long note":         {"01K0", url.Values{"action": {"note"}, "text": {strings.Repeat("<", 4097)}}, 400, "4096 are allowed"},
		"no action":           {"01K0", url.Values{}, 400, "action: expected one of"},
		"closing what fires":  {"01K0", url.Values{"action": {"close"}}, 409, "still fire"},
	} {
		t.Run(name, func(t *testing.T) {
			r := form(t, s, c.id, c.values)
			body := text(t, r)
			if r.StatusCode != c.status || !strings.Contains(body, c.says) || r.Header.Get("Content-Type") != "text/html; charset=utf-8" || len(body) > pageBytes {
				t.Errorf("%d, %d bytes of %s: %s", r.StatusCode, len(body), r.Header.Get("Content-Type"), body)
			}
		})
	}
	if r := form(t, s, "none", url.Values{"action": {"close"}}); r.StatusCode != 404 {
		t.Errorf("an incident that there is not: %d", r.StatusCode)
	}
	if r := form(t, s, "01K0", url.Values{"action": {"acknowledge"}}, "Sec-Fetch-Site", "cross-site"); r.StatusCode != 403 {
		t.Errorf("a form of another site: %d", r.StatusCode)
	}
	if r := form(t, s, "01K0", url.Values{"action": {"acknowledge"}}, "Origin", "https://evil.example"); r.StatusCode != 403 {
		t.Errorf("a form of another origin: %d", r.StatusCode)
	}
	if n := len(w.entries); n != 7 {
		t.Errorf("%d entries: something was changed", n)
	}
	if read(t, s, "/incidents/01K0"); call(t, s.Handler(), http.MethodGet, "/", "").Header.Get("Referrer-Policy") == "no-referrer" {
		t.Error("browsers send forms with Origin: null, which a server over plain HTTP has to take for another site's")
	}
}

// Who may only read sees no form, and cannot send one.
func TestFormsAreForOperators(t *testing.T) {
	w, _ := disturbed(t)
	path, secrets := tokens(t)
	s := newServer(t, w, func(o *api.Options) { o.Access = openAccess(t, api.AccessOptions{TokensFile: path}) })
	for role, forms := range map[api.Role]bool{api.Read: false, api.Operate: true} {
		auth, name := []string{"Authorization", "Bearer " + secrets[role]}, role.String()
		r := call(t, s.Handler(), http.MethodGet, "/incidents/01K0", "", auth...)
		if body := text(t, r); r.StatusCode != 200 || strings.Contains(body, "<form") != forms || strings.Contains(body, "http-equiv") == forms {
			t.Errorf("%s: %d, forms %v", name, r.StatusCode, strings.Contains(body, "<form"))
		}
		want := 403
		if forms {
			want = 303
		}
		if r := form(t, s, "01K0", url.Values{"action": {"acknowledge"}}, auth...); r.StatusCode != want {
			t.Errorf("%s: %d, want %d", name, r.StatusCode, want)
		}
	}
	if by := w.incidents["01K0"].Acknowledged.By; by != "operate" {
		t.Errorf("acknowledged by %q, want the token's name", by)
	}
}

// An alert leads to its incident; one of before there were incidents has its own page.
func TestAnAlertLeadsToItsIncident(t *testing.T) {
	w, s := disturbed(t)
	w.mu.Lock()
	w.incidents["01K9"] = w.incidents["01K0"].Clone()
	w.incidents["01K9"].ID = "01K9"
	delete(w.incidents, "01K0")
	for k := range w.entries {
		w.entries[k].Body = []byte(strings.ReplaceAll(string(w.entries[k].Body), `"incident":"01K0"`, `"incident":"01K9"`))
	}
	w.mu.Unlock()
	if r := call(t, s.Handler(), http.MethodGet, "/incidents/01K0", ""); r.StatusCode != 303 || r.Header.Get("Location") != "/incidents/01K9" {
		t.Errorf("%d, to %s", r.StatusCode, r.Header.Get("Location"))
	}
	old := drifted(t, w)
	if p := read(t, s, "/incidents/"+old); !strings.Contains(p.text, "ModelDrift firing (opened)") {
		t.Errorf("the page of an alert without an incident: %s", p.text)
	}
	entry := read(t, s, "/ledger/5")
	if !slices.ContainsFunc(entry.all("a"), func(e element) bool { return e.attr["href"] == "/incidents/01K9" }) {
		t.Error("the page that messages link to does not lead to the incident")
	}
}

// The page of an incident stays small, whatever people and events write into it.
func TestIncidentPagesAreSmall(t *testing.T) {
	w, s := disturbed(t)
	i := w.incidents["01K0"]
	for k := range 300 {
		m := i.Members[0]
		m.Key, m.Labels = fmt.Sprint(hostile, k), map[string]string{"alertname": strings.Repeat("<", 20), "feature": strings.Repeat("&", 40), "model": "fraud"}
		i.Members = append(i.Members, m)
	}
	w.explain(t, 19, atLength)
	for range 90 {
		c := incident.Change{Act: incident.Act{By: hostile, At: wall}, Action: incident.ActionNote, Text: strings.Repeat("<&\"'", 1024)}
		if _, err := w.ChangeIncident(t.Context(), "01K0", c); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("<", 4096)
	for _, c := range []incident.Change{
		{Action: incident.ActionDiagnose, Cause: "unknown", Text: long}, {Action: incident.ActionRemedy, Remedy: "other", Result: "worked", Text: long}, {Action: incident.ActionWorth, Worth: "no", Text: long},
	} {
		c.Act = incident.Act{By: "ada", At: wall}
		if _, err := w.ChangeIncident(t.Context(), "01K0", c); err != nil {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	for k := range 60 {
		w.hearing.Told = append(w.hearing.Told, api.Told{Receiver: fmt.Sprint("receiver-", k), Seq: 5, At: wall.Add(time.Duration(k)), Error: strings.Repeat("e", 100)})
	}
	w.mu.Unlock()
	p := read(t, s, "/incidents/01K0") // fails on what is too large
	p.check(t, "/incidents/01K0")
	if !strings.Contains(p.text, "300 more") || !strings.Contains(p.text, "Earlier entries are in the") {
		t.Errorf("the page does not say that there is more")
	}
}

// The list has what is open first, however old, and stays small too.
func TestTheListOfIncidentsIsSmall(t *testing.T) {
	w, s := disturbed(t)
	w.mu.Lock()
	for k := range 200 {
		i := w.incidents["01K1"].Clone()
		i.ID, i.Opened = fmt.Sprintf("01L%03d", k), wall.Add(time.Duration(k)*time.Second)
		i.Members[0].Model, i.Members[0].Labels = strings.Repeat("<", 200), map[string]string{"alertname": strings.Repeat("&", 200), "owner": "risk"}
		i.Acknowledged, i.Diagnosis = &incident.Acknowledgement{By: "somebody with quite a name"}, &incident.Diagnosis{Cause: "population_shift"}
		w.incidents[i.ID] = i
	}
	w.mu.Unlock()
	p := read(t, s, "/incidents") // fails on what is too large
	p.check(t, "/incidents")
	var first string
	for _, e := range p.all("a") {
		if id, ok := strings.CutPrefix(e.attr["href"], "/incidents/0"); ok && first == "" {
			first = id
		}
	}
	if first != "1K0" || !strings.Contains(p.text, "143 more.") {
		t.Errorf("the first is 0%s of\n%s", first, p.text)
	}
}
