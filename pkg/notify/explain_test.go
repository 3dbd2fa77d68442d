package notify_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

func described(t *testing.T, a ledger.Alert, external string) notify.Message {
	t.Helper()
	m, err := notify.Describe(delivery(t, ledger.KindAlert, a).Entry, external)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// One sentence says what moved, by how much, since when, how sure, from where.
func TestExplainedSentence(t *testing.T) {
	base := "amount of fraud version 42, canary, segment channel=app moved: psi_debiased 0.31 > 0.1, n 5000 >= 1000 in the window 2026-01-01 10:00 to 11:00 UTC, firing since 2026-01-01 11:00 UTC"
	upstream, undecided, bare := explained(), explained(), explained()
	upstream.Explanation.Origin, upstream.Explanation.Because, upstream.Explanation.Segments = ledger.OriginUpstream, "both versions moved alike", nil
	undecided.Explanation.Origin, undecided.Explanation.Because, undecided.Explanation.Segments = ledger.OriginUndecided, "too few values by version", nil
	bare.Explanation = &ledger.Explanation{Since: at}
	found := ledger.Alert{
		Status: "firing", Change: "opened", Rule: "ModelDrift", Model: "fraud", Severity: "page", StartsAt: at, Window: ledger.Window{Start: at, End: at.Add(time.Hour)},
		Reason: "age moved up", Findings: []ledger.Finding{{Signal: "age", Component: "location", Since: at, LogR: 12.3, Threshold: 9, Reason: "age moved up"}}, Explanation: upstream.Explanation,
	}
	for name, c := range map[string]struct {
		a    ledger.Alert
		want string
	}{
		"this release": {explained(), base + "; p 3e-12; it comes from this release: version 42 brings 92 % of the move with 20 % of the values, and the change began with its first traffic at 2026-01-01 09:00 UTC; segment channel=app brings 95 % of it."},
		"upstream":     {upstream, base + "; p 3e-12; the change began at 2026-01-01 09:00 UTC; it comes from upstream data: both versions moved alike."},
		"undecided":    {undecided, base + "; p 3e-12; the change began at 2026-01-01 09:00 UTC; whether from upstream data or a release is undecided: too few values by version."},
		"no signal":    {bare, base + "; p 3e-12; the change began at 2026-01-01 10:00 UTC."},
		"drift":        {found, "Model fraud drifted: age moved up; seen in the window 2026-01-01 10:00 to 11:00 UTC, open since 2026-01-01 10:00 UTC; chance alone brings such evidence at most once in 2e+05 windows; the change began at 2026-01-01 09:00 UTC; it comes from upstream data: both versions moved alike."},
	} {
		if diff := cmp.Diff(c.want, described(t, c.a, "").Sentence); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhy(t *testing.T) {
	m := described(t, explained(), "https://driftd.example/")
	want := []notify.Field{
		{Name: "Moved most", Value: "amount"},
		{Name: "Where", Value: "> 90: 10 % -> 31 % (69 % of the PSI); <= 10: 10 % -> 2 % (21 % of the PSI)"},
		{Name: "Versions", Value: "42 canary brings 92 % with 20 % of the values; 41 brings 8 % with 80 % of the values"},
		{Name: "Segments", Value: "channel=app brings 95 % with 50 % of the values; channel=web brings 5 % with 50 % of the values"},
		{Name: "Moved first", Value: "amount, 2026-01-01 09:00 UTC"},
		{Name: "About then", Value: "2026-01-01 09:00 UTC first traffic of version 42, canary, 20 % since the change; 2026-01-01 08:00 UTC configuration loaded by SIGHUP: rules[AmountDrift].expr (ledger 790)"},
	}
	if diff := cmp.Diff(want, m.Why); diff != "" {
		t.Error(diff)
	}
	links := []notify.Link{
		{Text: "runbook", URL: "https://wiki.example/amount"},
		{Text: "signal", URL: "https://driftd.example/models/fraud/feature?at=2026-01-01T10%3A59%3A59Z&name=amount&segment=channel%3Dapp&variant=canary&version=42&window=1h"},
		{Text: "model", URL: "https://driftd.example/models/fraud?at=2026-01-01T10%3A59%3A59Z&segment=channel%3Dapp&variant=canary&version=42&window=1h"},
		{Text: "incident", URL: "https://driftd.example/incidents/01JDEDUP"},
	}
	if diff := cmp.Diff(links, m.Links); diff != "" {
		t.Error(diff)
	}
	if m.Pictured != "https://driftd.example/api/v1/ledger/812/picture.png" {
		t.Errorf("the picture is at %q", m.Pictured)
	}
	script := explained()
	script.Annotations["runbook_url"] = "javascript:alert(1)"
	if links := described(t, script, "").Links; len(links) > 0 {
		t.Errorf("links %v", links)
	}
}

// Names from events are text, and bounded, in the words, the links and the picture.
func TestHostileExplanations(t *testing.T) {
	bad := strings.Repeat("<!channel> *x* \x00\r\nBcc: a@b", 500)
	a := explained()
	a.Model, a.Feature, a.Segment = bad, bad, bad
	e := a.Explanation
	e.Signal, e.Because, e.First.Name, e.Around[0].What, e.Versions[0].Name, e.Cells[0].Name = bad, bad, bad, bad, bad, bad
	d := delivery(t, ledger.KindAlert, a)
	slack, post := fakes.NewSlack(), &fakes.SMTP{}
	srv := httptest.NewServer(slack)
	defer srv.Close()
	s, err := notify.NewSlack(notify.SlackOptions{WebhookURL: srv.URL + slackPath, ExternalURL: "https://driftd.example", Pictures: true, Client: loopback(t, 10*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), d); err != nil {
		t.Fatal(err) // the fake refuses what Slack refuses
	}
	body := slack.Calls()[0].Body
	if bytes.Contains(body, []byte("<!channel>")) || bytes.Contains(body, []byte(`\u003c!channel`)) || len(body) > 60_000 {
		t.Errorf("%d bytes: %.2000s", len(body), body)
	}
	if err := mailer(t, mailbox(t, post)).Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	m := post.Mails()[0]
	if m.Header.Get("Bcc") != "" || strings.Contains(m.Parts["text/html"], "<!channel>") {
		t.Error("a name became mark-up")
	}
}

// A mail shows the picture that it brings.
func TestMailWithAPicture(t *testing.T) {
	post := &fakes.SMTP{}
	if err := mailer(t, mailbox(t, post)).Send(t.Context(), delivery(t, ledger.KindAlert, explained())); err != nil {
		t.Fatal(err)
	}
	m := post.Mails()[0]
	if _, err := png.Decode(strings.NewReader(m.Parts["image/png"])); err != nil {
		t.Errorf("the picture: %v", err)
	}
	if !strings.Contains(m.Parts["text/html"], `<img src="cid:picture-`) || !strings.Contains(m.Parts["text/plain"], "Moved most: amount") {
		t.Errorf("the mail: %v", m.Parts["text/html"])
	}
	if strings.Contains(m.Header.Get("Content-Type"), "alternative; boundary") || !strings.HasPrefix(m.Header.Get("Content-Type"), "multipart/related;") {
		t.Errorf("content type %s", m.Header.Get("Content-Type"))
	}
}

// A picture is shown where the receiver can get it, and only if asked for.
func TestPicturesInChat(t *testing.T) {
	for name, c := range map[string]struct {
		pictures, refused bool
		calls             int
		shown             bool
	}{
		"not asked for":         {false, false, 1, false},
		"asked for":             {true, false, 1, true},
		"Slack cannot fetch it": {true, true, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			slack := fakes.NewSlack()
			if c.refused {
				slack.Refuse(1, "invalid_blocks")
			}
			srv := httptest.NewServer(slack)
			defer srv.Close()
			s, err := notify.NewSlackBot(notify.SlackBotOptions{
				Token: fixed(botToken), Channel: "C0123456789", BaseURL: srv.URL + "/api", ExternalURL: "https://driftd.example", Pictures: c.pictures, Client: loopback(t, 10*time.Second),
			})
			if err != nil {
				t.Fatal(err)
			}
			a := explained()
			tell(t, s, "", delivery(t, ledger.KindAlert, a))
			calls := slack.Calls()
			var body struct {
				Blocks []struct {
					Type     string
					ImageURL string `json:"image_url"`
				}
			}
			if err := json.Unmarshal(calls[c.calls-1].Body, &body); err != nil {
				t.Fatal(err)
			}
			shown := false
			for _, b := range body.Blocks {
				shown = shown || b.Type == "image" && b.ImageURL == "https://driftd.example/api/v1/ledger/812/picture.png"
			}
			if shown != c.shown {
				t.Errorf("shown %v, want %v: %s", shown, c.shown, calls[c.calls-1].Body)
			}
		})
	}
}
