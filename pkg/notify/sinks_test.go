package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
	"github.com/google/go-cmp/cmp"
)

// caller is the part of a fake that a test reads a call from.
type caller interface {
	http.Handler
	Calls() []fakes.Call
}

// sendTo sends deliveries through the sink of a fake and returns the last
// body that arrived.
func sendTo(t *testing.T, name string, fake caller, ds ...ledger.Delivery) (body map[string]any, header http.Header) {
	t.Helper()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	s, err := sinks[name](srv.URL, loopback(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if err := s.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	last := fake.Calls()[len(fake.Calls())-1]
	raw := last.Body
	if name == "alertmanager" {
		raw = []byte(strings.TrimSuffix(strings.TrimPrefix(string(raw), "["), "]"))
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	return body, last.Header
}

// parse is the JSON that a body has to equal.
func parse(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSlackPayload(t *testing.T) {
	got, _ := sendTo(t, "slack", fakes.NewSlack(), delivery(t, ledger.KindAlert, fired()))
	sentence := "amount of fraud version 42, canary, segment channel=app moved: psi_debiased 0.31 &gt; 0.1, n 5000 &gt;= 1000 in the window 2026-01-01 10:00 to 11:00 UTC, firing since 2026-01-01 11:00 UTC."
	field := func(name, value string) string {
		return fmt.Sprintf(`{"type":"mrkdwn","verbatim":true,"text":"*%s*\n%s"}`, name, value)
	}
	want := parse(t, `{"text":"Page: AmountDrift on fraud/amount: `+sentence+`","unfurl_links":false,"unfurl_media":false,"blocks":[
		{"type":"header","text":{"type":"plain_text","text":"Page: AmountDrift on fraud/amount"}},
		{"type":"section","text":{"type":"plain_text","text":"`+sentence+`"}},
		{"type":"section","fields":[`+strings.Join([]string{
		field("Model", "fraud"), field("Version", "42"), field("Variant", "canary"), field("Segment", "channel=app"),
		field("Feature", "amount"), field("Rule", "AmountDrift"), field("Severity", "page"), field("Owner", "risk"),
	}, ",")+`]},
		{"type":"section","fields":[`+strings.Join([]string{field("n", "5000"), field("psi_debiased", "0.3126"), field("mean", "73.1")}, ",")+`]},
		{"type":"context","elements":[{"type":"mrkdwn","verbatim":true,"text":"window 2026-01-01 10:00 to 11:00 UTC · ledger 812 · <https://driftd.example/ledger/812|open in driftd>`+
		` · <https://driftd.example/models/fraud/feature?at=2026-01-01T10%3A59%3A59Z&amp;name=amount&amp;segment=channel%3Dapp&amp;variant=canary&amp;version=42&amp;window=1h|signal>`+
		` · <https://driftd.example/models/fraud?at=2026-01-01T10%3A59%3A59Z&amp;segment=channel%3Dapp&amp;variant=canary&amp;version=42&amp;window=1h|model> · <https://driftd.example/incidents/01JDEDUP|incident>"}]}]}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Names come from events: nothing in them may become a mention, a link or a
// message that Slack refuses.
func TestSlackHostileText(t *testing.T) {
	for name, evil := range map[string]string{
		"mention and link": "<!channel> <http://evil|x> &lt;!here&gt;",
		"controls":         "a\x00b\nc\u202e",
		"long":             strings.Repeat("&", 50_000),
		"wide":             strings.Repeat("🦀", 50_000),
		"not UTF-8":        "\xff\xfe",
		"blank":            " ",
	} {
		t.Run(name, func(t *testing.T) {
			a := fired()
			a.Rule, a.Feature, a.Model, a.Reason, a.Segment = evil, evil, evil, evil, evil
			a.Stats, a.Annotations = map[string]float64{}, map[string]string{"summary": evil}
			for i := range 40 {
				a.Stats[fmt.Sprint(evil[:min(len(evil), 400)], i)] = 1
			}
			fake := fakes.NewSlack() // refuses what breaks Slack's limits
			sendTo(t, "slack", fake, delivery(t, ledger.KindAlert, a))
			raw := string(fake.Calls()[0].Body)
			for _, bad := range []string{"<!channel", "<http://evil", "\\u0000"} {
				if strings.Contains(raw, bad) {
					t.Errorf("payload contains %q", bad)
				}
			}
			if rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(raw); strings.Contains(rest, "&") {
				t.Error("an entity is cut in half")
			}
			if !utf8.ValidString(raw) {
				t.Error("payload is not UTF-8")
			}
		})
	}
}

func TestPagerDutyEvent(t *testing.T) {
	got, _ := sendTo(t, "pagerduty", fakes.NewPagerDuty(), delivery(t, ledger.KindAlert, fired()))
	hash := delivery(t, ledger.KindAlert, fired()).Entry.Hash
	want := parse(t, `{"routing_key":"`+routingKey+`","event_action":"trigger","dedup_key":"01JDEDUP","client":"driftd","client_url":"https://driftd.example",
		"links":[{"href":"https://driftd.example/ledger/812","text":"driftd ledger entry"},`+
		`{"href":"https://driftd.example/models/fraud/feature?at=2026-01-01T10%3A59%3A59Z&name=amount&segment=channel%3Dapp&variant=canary&version=42&window=1h","text":"signal"},`+
		`{"href":"https://driftd.example/models/fraud?at=2026-01-01T10%3A59%3A59Z&segment=channel%3Dapp&variant=canary&version=42&window=1h","text":"model"},{"href":"https://driftd.example/incidents/01JDEDUP","text":"incident"}],
		"payload":{"summary":"Page: AmountDrift on fraud/amount: amount of fraud version 42, canary, segment channel=app moved: psi_debiased 0.31 > 0.1, n 5000 >= 1000 in the window 2026-01-01 10:00 to 11:00 UTC, firing since 2026-01-01 11:00 UTC.",
		"source":"driftd","severity":"critical","timestamp":"2026-01-01T11:00:00Z","component":"fraud","group":"42","class":"AmountDrift",
		"custom_details":{"model":"fraud","model_version":"42","variant":"canary","segment":"channel=app","feature":"amount","rule":"AmountDrift",
		"reason":"psi_debiased 0.31 > 0.1, n 5000 >= 1000","stats":{"psi_debiased":0.3125678,"n":5000,"mean":73.1},
		"window":{"start":"2026-01-01T10:00:00Z","end":"2026-01-01T11:00:00Z"},"starts_at":"2026-01-01T11:00:00Z","ends_at":null,
		"evidence":{"expr":""},"labels":{"team.name":"risk","owner":"risk"},"annotations":null,"ledger_seq":812,"ledger_hash":"`+hash.String()+`"}}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPagerDutyIncidents(t *testing.T) {
	fake := fakes.NewPagerDuty()
	ticket, info := fired(), fired()
	ticket.Severity, ticket.DedupKey = "ticket", "t"
	info.Severity, info.DedupKey = "info", "" // then the delivery's order is the key
	fire := delivery(t, ledger.KindAlert, fired())
	sendTo(t, "pagerduty", fake,
		fire, fire, delivery(t, ledger.KindAlert, ticket), delivery(t, ledger.KindAlert, resolved()),
		delivery(t, ledger.KindAlert, info),
		delivery(t, ledger.KindRetrain, retrain()), delivery(t, ledger.KindRollback, rollback()), delivery(t, ledger.KindPromote, rollback()))
	var got []string
	for _, i := range fake.Incidents() {
		got = append(got, fmt.Sprint(i.DedupKey, " ", i.Status, " ", i.Severity, " ", i.Duplicates))
	}
	want := []string{"01JDEDUP resolved critical 1", "t triggered warning 0", "01JDEDUP triggered info 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if changes := fake.Changes(); len(changes) != 3 || !strings.HasPrefix(changes[1], "Roll back fraud to 42: ") {
		t.Errorf("changes %q", changes)
	}
}

func TestPagerDutySizes(t *testing.T) {
	a := fired()
	a.Reason, a.DedupKey = strings.Repeat("é", 300_000), strings.Repeat("k", 300)
	fake := fakes.NewPagerDuty() // refuses more than 512,000 bytes, 1,024 and 255 characters
	sendTo(t, "pagerduty", fake, delivery(t, ledger.KindAlert, a))
	d := fake.Incidents()[0].Details
	if d["left_out"] != "too large, see the ledger entry: reason" || d["ledger_seq"] != 812.0 || d["rule"] != "AmountDrift" {
		t.Errorf("details %v, want all but the reason", d)
	}
}

func TestWebhookBody(t *testing.T) {
	for name, c := range map[string]struct {
		kind                       ledger.Kind
		body                       any
		status, alertname, endsAt  string
		reason, labels, annotation string
	}{
		"firing":   {kind: ledger.KindAlert, body: fired(), status: "firing", alertname: "AmountDrift", endsAt: "0001-01-01T00:00:00Z"},
		"resolved": {kind: ledger.KindAlert, body: resolved(), status: "resolved", alertname: "AmountDrift", endsAt: "2026-01-01T13:00:00Z"},
		"rollback": {kind: ledger.KindRollback, body: rollback(), status: "firing", alertname: "DriftdRollback", endsAt: "2026-01-01T12:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			d := delivery(t, c.kind, c.body)
			d.ExpiresAt = at.Add(2 * time.Hour)
			got, header := sendTo(t, "webhook", fakes.NewWebhook(hookSecret), d)
			if header.Get("Idempotency-Key") != d.Entry.ID || header.Get("webhook-id") != d.Entry.ID {
				t.Errorf("headers %v, want the entry's id %s", header, d.Entry.ID)
			}
			alert := got["alerts"].([]any)[0].(map[string]any)
			labels := alert["labels"].(map[string]any)
			signal := got["driftd"].(map[string]any)
			picked := []any{got["version"], got["groupKey"], got["receiver"], got["status"], alert["status"], labels["alertname"], alert["endsAt"], signal["id"], signal["fence"]}
			want := []any{"4", "driftd/01JDEDUP", "hook", c.status, c.status, c.alertname, c.endsAt, d.Entry.ID, 812.0}
			if diff := cmp.Diff(want, picked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The fields are those captured from Alertmanager 0.34.2 (and "driftd").
func TestWebhookFieldsAreAlertmanagers(t *testing.T) {
	a := ledger.Alert{Status: "firing", Rule: "A", Severity: "page", Model: "m"}
	got, _ := sendTo(t, "webhook", fakes.NewWebhook(""), delivery(t, ledger.KindAlert, a))
	for _, name := range []string{"version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "routeLabels", "commonLabels", "commonAnnotations", "externalURL", "notification_reason", "alerts", "driftd"} {
		if _, ok := got[name]; !ok {
			t.Errorf("no %q", name)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("also %v", got)
	}
}

// The label set and its hash are from prometheus/common, model/signature_test.go.
func TestFingerprintIsPrometheus(t *testing.T) {
	a := ledger.Alert{Status: "firing", Labels: map[string]string{"name": "garland, briggs", "fear": "love is not enough"}}
	got, _ := sendTo(t, "webhook", fakes.NewWebhook(""), delivery(t, ledger.KindAlert, a))
	alert := got["alerts"].([]any)[0].(map[string]any)
	if want := fmt.Sprintf("%016x", uint64(5799056148416392346)); alert["fingerprint"] != want {
		t.Errorf("fingerprint %v, want %s of %v", alert["fingerprint"], want, alert["labels"])
	}
}

// The test vector of the Standard Webhooks specification's reference
// implementation (libraries/javascript test, "sign function works").
func TestStandardWebhooksVector(t *testing.T) {
	const secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`
	h := http.Header{}
	h.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	if !fakes.Verify(secret, h, []byte(body), time.Unix(1614265330, 0)) {
		t.Error("the specification's example does not verify")
	}
	if fakes.Verify(secret, h, []byte(body+" "), time.Unix(1614265330, 0)) {
		t.Error("a changed body verifies")
	}
	if fakes.Verify(secret, h, []byte(body), time.Unix(1614265330+301, 0)) {
		t.Error("a timestamp older than 5 minutes verifies")
	}
}

func TestWebhookRotatesSecrets(t *testing.T) {
	const next = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, known := range []string{hookSecret, next} {
		srv := httptest.NewServer(fakes.NewWebhook(known))
		s, err := notify.NewWebhook(notify.WebhookOptions{URL: srv.URL, Secrets: []string{hookSecret, next}, Client: loopback(t, 10*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), delivery(t, ledger.KindAlert, fired())); err != nil {
			t.Errorf("receiver that knows %s: %v", known, err)
		}
		srv.Close()
	}
}

func TestAlertmanagerAlert(t *testing.T) {
	got, _ := sendTo(t, "alertmanager", fakes.NewAlertmanager(), delivery(t, ledger.KindAlert, resolved()))
	annotations := got["annotations"].(map[string]any)
	delete(got, "annotations")
	want := parse(t, `{"labels":{"alertname":"AmountDrift","severity":"page","model":"fraud","model_version":"42","variant":"canary","segment":"channel=app","feature":"amount","team_name":"risk","owner":"risk"},
		"startsAt":"2026-01-01T11:00:00Z","endsAt":"2026-01-01T13:00:00Z"}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if annotations["dedup_key"] != "01JDEDUP" || annotations["reason"] != "psi_debiased 0.01 < 0.05" {
		t.Errorf("annotations %v", annotations)
	}
}

func TestAlertmanagerTimes(t *testing.T) {
	now := time.Now()
	ahead := now.Add(time.Hour)
	future := resolved()
	future.StartsAt, future.EndsAt = ahead, &ahead
	unknown := resolved()
	unknown.EndsAt = nil
	for name, c := range map[string]struct {
		alert ledger.Alert
		past  bool
	}{
		"firing":                              {fired(), false},
		"resolved in the simulation's future": {future, true},
		"resolved nobody knows when":          {unknown, true},
	} {
		t.Run(name, func(t *testing.T) {
			fake := fakes.NewAlertmanager() // refuses an end before the start
			sendTo(t, "alertmanager", fake, delivery(t, ledger.KindAlert, c.alert))
			if end := fake.Alerts()[0].EndsAt; end.Before(time.Now()) != c.past {
				t.Errorf("ends at %v, now %v", end, now)
			}
		})
	}
}

// Something that happened once, such as a promotion, does not fire for a day.
func TestAlertmanagerEventsEndSoon(t *testing.T) {
	fake := fakes.NewAlertmanager()
	sendTo(t, "alertmanager", fake, delivery(t, ledger.KindPromote, rollback()))
	if left := time.Until(fake.Alerts()[0].EndsAt); left <= 0 || left > 5*time.Minute {
		t.Errorf("ends in %v, want within 5 minutes", left)
	}
}

// Labels that become equal, are empty, start with a digit or would replace ours.
func TestAlertmanagerLabels(t *testing.T) {
	a := fired()
	a.Labels = map[string]string{"a.b": "first", "a-b": "second", "9x": "digit", "": "empty name", "void": "", "model": "other", "größe": "wide"}
	fake := fakes.NewAlertmanager() // as strict about names as 0.25
	sendTo(t, "alertmanager", fake, delivery(t, ledger.KindAlert, a))
	labels := fake.Alerts()[0].Labels
	for name, want := range map[string]string{"a_b": "second", "_9x": "digit", "_": "empty name", "model": "fraud", "gr__e": "wide", "void": ""} {
		if labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, labels[name], want)
		}
	}
}

func TestAlertmanagerReplicas(t *testing.T) {
	one, two := fakes.NewAlertmanager(), fakes.NewAlertmanager()
	up, down := httptest.NewServer(one), httptest.NewServer(two)
	defer up.Close()
	defer down.Close()
	s, err := notify.NewAlertmanager(notify.AlertmanagerOptions{
		URLs: []string{down.URL, up.URL + "/"}, ExternalURL: "https://driftd.example", ValidFor: 4 * time.Minute, Client: loopback(t, 10*time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	d := delivery(t, ledger.KindAlert, fired())
	if err := s.Send(t.Context(), d); err != nil || len(one.Alerts()) != 1 || len(two.Alerts()) != 1 {
		t.Fatalf("error %v, alerts %d and %d, want it at both", err, len(one.Alerts()), len(two.Alerts()))
	}
	if link := one.Alerts()[0].GeneratorURL; link != "https://driftd.example/ledger/812" {
		t.Errorf("generatorURL %q", link)
	}
	two.FailNext(4, 500, "")
	for d.Attempt = range 5 {
		// Three attempts insist on both; then one is enough.
		if err := s.Send(t.Context(), d); (err != nil) != (d.Attempt < 3) {
			t.Errorf("attempt %d: %v", d.Attempt+1, err)
		}
	}
	one.FailNext(1, 400, "")
	two.FailNext(1, 503, "9")
	d.Attempt = 9
	if got := verdictOf(t, s.Send(t.Context(), d)); got != (verdict{notify.ReasonServer, false, 9 * time.Second}) {
		t.Errorf("%+v, want the failure that another attempt may mend", got)
	}
}

func TestAlertmanagerRefresh(t *testing.T) {
	fake := fakes.NewAlertmanager()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	s, err := notify.NewAlertmanager(notify.AlertmanagerOptions{URLs: []string{srv.URL}, Client: loopback(t, 10*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var firing []ledger.Delivery
	for i := range 600 {
		a := fired()
		a.Feature = fmt.Sprint(i)
		firing = append(firing, delivery(t, ledger.KindAlert, a))
	}
	if err := s.Refresh(t.Context(), firing); err != nil {
		t.Fatal(err)
	}
	// 600 alerts in calls of at most 256 are 3 calls.
	if got := len(fake.Calls()); got != 3 || len(fake.Alerts()) != 600 {
		t.Errorf("%d calls, %d alerts, want 3 and 600", got, len(fake.Alerts()))
	}
	fake.FailNext(1, 500, "")
	if err := s.Refresh(t.Context(), firing); err == nil || len(fake.Calls()) != 6 {
		t.Errorf("error %v after %d calls, want an error and every batch tried", err, len(fake.Calls()))
	}
	broken := append(firing[:1:1], ledger.Delivery{Entry: ledger.Entry{Kind: "poem"}})
	if err := s.Refresh(t.Context(), broken); err == nil || len(fake.Calls()) != 7 {
		t.Errorf("error %v after %d calls, want an error and the other one sent", err, len(fake.Calls()))
	}
	if err := s.Refresh(t.Context(), nil); err != nil {
		t.Errorf("nothing to refresh: %v", err)
	}
}

// Of a batch that is refused, all but the bad ones arrive: 0.34 stores them with
// status 400, and nothing with 422.
func TestAlertmanagerBisects(t *testing.T) {
	fake := fakes.NewAlertmanager()
	posts := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts++
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"feature":"bad`) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		fake.ServeHTTP(w, r)
	}))
	defer srv.Close()
	s, err := notify.NewAlertmanager(notify.AlertmanagerOptions{URLs: []string{srv.URL}, Client: loopback(t, 10*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var firing []ledger.Delivery
	for i := range 200 {
		a := fired()
		a.Feature = fmt.Sprint(i)
		if i == 17 || i == 150 {
			a.Feature = fmt.Sprint("bad", i)
		}
		firing = append(firing, delivery(t, ledger.KindAlert, a))
	}
	err = s.Refresh(t.Context(), firing)
	if err == nil || strings.Count(err.Error(), "AmountDrift") != 2 {
		t.Errorf("error %v, want the two refused ones named", err)
	}
	// Each of two bad ones in 200 costs at most two calls a level, of which 2^8 has 8.
	if len(fake.Alerts()) != 198 || posts > 1+2*2*8 {
		t.Errorf("%d alerts arrived in %d calls", len(fake.Alerts()), posts)
	}
	// What is wrong for all is not halved.
	posts = 0
	gone, err := notify.NewAlertmanager(notify.AlertmanagerOptions{URLs: []string{srv.URL + "/elsewhere"}, Client: loopback(t, 10*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Refresh(t.Context(), firing[:10]); err == nil || posts != 1 {
		t.Errorf("error %v after %d calls, want one", err, posts)
	}
}

func TestSignal(t *testing.T) {
	d := delivery(t, ledger.KindAlert, resolved())
	p := &publisher{}
	if err := notify.NewSignal(p).Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(p.body, &got); err != nil {
		t.Fatalf("%v in %s", err, p.body)
	}
	want = parse(t, string(d.Entry.Body))
	maps.Copy(want, map[string]any{
		"id": d.Entry.ID, "ledger_seq": 812.0, "ledger_hash": d.Entry.Hash.String(), "issued_at": "2026-01-01T11:01:00Z", "expires_at": nil, "fence": 812.0,
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p.id != d.Entry.ID || p.subject != "driftd.alerts.fraud" {
		t.Errorf("published %s on %s", p.id, p.subject)
	}
	d.ExpiresAt = at.Add(2 * time.Hour)
	d.Entry.Body = []byte(" {} ")
	if err := notify.NewSignal(p).Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := parse(t, string(p.body)); got["expires_at"] != "2026-01-01T12:00:00Z" {
		t.Errorf("expires at %v", got["expires_at"])
	}
}

func TestSignalSubjects(t *testing.T) {
	suppressed := retrain()
	suppressed.Suppressed = "cooldown"
	for name, c := range map[string]struct {
		kind    ledger.Kind
		body    any
		model   string
		subject string
	}{
		"alert":      {ledger.KindAlert, fired(), "fraud", "driftd.alerts.fraud"},
		"retrain":    {ledger.KindRetrain, retrain(), "fraud", "driftd.triggers.retrain.fraud"},
		"rollback":   {ledger.KindRollback, rollback(), "a.b*c>d é-_9", "driftd.triggers.rollback.a_b_c_d__-_9"},
		"promote":    {ledger.KindPromote, rollback(), "", "driftd.triggers.promote._"},
		"suppressed": {ledger.KindRetrain, suppressed, "fraud", ""},
		"baseline":   {ledger.KindBaseline, kinds()[ledger.KindBaseline], "fraud", ""},
		"config":     {ledger.KindConfig, kinds()[ledger.KindConfig], "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := delivery(t, c.kind, c.body).Entry
			e.Model = c.model
			if subject, ok := notify.SignalSubject(e); ok != (c.subject != "") || ok && subject != c.subject {
				t.Errorf("subject %q %v, want %q", subject, ok, c.subject)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	const broken = "http://[::1/services/hook-secret"
	_, slack := notify.NewSlack(notify.SlackOptions{WebhookURL: broken})
	_, ftp := notify.NewSlack(notify.SlackOptions{WebhookURL: "ftp://host/hook-secret"})
	_, none := notify.NewSlack(notify.SlackOptions{})
	_, key := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey[1:]})
	_, pdURL := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey, BaseURL: broken})
	_, hook := notify.NewWebhook(notify.WebhookOptions{URL: broken})
	_, secret := notify.NewWebhook(notify.WebhookOptions{URL: "https://host", Secrets: []string{"hook-secret"}})
	_, replicas := notify.NewAlertmanager(notify.AlertmanagerOptions{})
	_, replica := notify.NewAlertmanager(notify.AlertmanagerOptions{URLs: []string{"https://ok", broken}})
	for name, err := range map[string]error{
		"broken slack": slack, "ftp": ftp, "no url": none, "short key": key, "broken pagerduty": pdURL, "broken webhook": hook,
		"secret is not base64": secret, "no replica": replicas, "broken replica": replica,
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, s := range append(secrets, routingKey[1:]) {
			if strings.Contains(err.Error(), s) {
				t.Errorf("%s: error %q holds %q", name, err, s)
			}
		}
	}
	if _, err := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey}); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

// Printing a sink, as a log line or a panic may, shows no secret.
func TestSinksPrintNoSecret(t *testing.T) {
	for name, mk := range sinks {
		s, err := mk("https://receiver.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			text := fmt.Sprintf(verb, s)
			for _, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s with %s prints %q", name, verb, secret)
				}
			}
		}
	}
}

// Receivers are on the internet unless their network is listed; the address
// connected to counts, whatever the URL calls it.
func TestClientRefusesPrivateAddresses(t *testing.T) {
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	defer srv.Close()
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "[fd00::1]", "[fe80::1]", "[::1]", "[64:ff9b::7f00:1]", "224.0.0.1", "255.255.255.255"} {
		c := notify.NewClient(notify.ClientOptions{Timeout: 5 * time.Second, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}})
		s, err := notify.NewSlack(notify.SlackOptions{WebhookURL: "http://" + host + port + "/services/x", Client: c})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Send(t.Context(), delivery(t, ledger.KindAlert, fired()))
		if err == nil || !strings.Contains(err.Error(), "not public") {
			t.Errorf("%s: %v, want it refused as not public", host, err)
		}
	}
	if calls != 0 {
		t.Errorf("the server saw %d calls, want none", calls)
	}
}

func TestClientAllowsListedNetworks(t *testing.T) {
	fake := fakes.NewSlack()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	c := notify.NewClient(notify.ClientOptions{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer c.CloseIdleConnections()
	s, err := notify.NewSlack(notify.SlackOptions{WebhookURL: srv.URL + "/services/x", Client: c})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), delivery(t, ledger.KindAlert, fired())); err != nil {
		t.Error(err)
	}
}

// A proxy of the environment would see every hook.
func TestClientUsesNoProxy(t *testing.T) {
	if tr := notify.NewClient(notify.ClientOptions{}).Transport.(*http.Transport); tr.Proxy != nil {
		t.Error("the transport has a proxy")
	}
}

// A proxy of the configuration is asked for every receiver, by its name.
func TestClientThroughAProxy(t *testing.T) {
	fake := fakes.NewSlack()
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Host)
		fake.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		private []netip.Prefix
		ok      bool
	}{
		{"of the site", notify.SiteNetworks(), true},
		{"of nowhere", nil, false},
	} {
		client := notify.NewClient(notify.ClientOptions{Proxy: u, AllowPrivate: c.private})
		defer client.CloseIdleConnections()
		s, err := notify.NewSlack(notify.SlackOptions{WebhookURL: "http://hooks.example/services/x", Client: client})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), delivery(t, ledger.KindAlert, fired())); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if len(asked) != 1 || asked[0] != "hooks.example" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// An operator's own servers may be anywhere but where clouds keep credentials.
func TestSiteNetworks(t *testing.T) {
	for host, site := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.1.2.3": true, "172.31.0.1": true, "192.168.1.1": true, "fd00::1": true, "100.64.0.1": true,
		"169.254.169.254": false, "fe80::1": false, "224.0.0.1": false, "0.0.0.0": false, "8.8.8.8": false, "172.32.0.1": false,
	} {
		at := netip.MustParseAddr(host)
		if got := slices.ContainsFunc(notify.SiteNetworks(), func(p netip.Prefix) bool { return p.Contains(at) }); got != site {
			t.Errorf("%s of the site: %v, want %v", host, got, site)
		}
	}
}

func TestSendStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := sinks["slack"]("http://127.0.0.1:1", loopback(t, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(ctx, delivery(t, ledger.KindAlert, fired())); err == nil {
		t.Error("no error")
	}
}
