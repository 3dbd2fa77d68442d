package notify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

const (
	routingKey = "0123456789abcdef0123456789abcdef" // PagerDuty: 32 characters
	slackPath  = "/services/T0/B0/hook-secret"
	hookPath   = "/hook/token-secret"
	// 24 bytes, the shortest that Standard Webhooks allows.
	hookSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

const botToken = "xoxb-0000-not-a-token" // of the right shape

// fixed is a secret that never changes.
func fixed(secret string) func() (string, error) {
	return func() (string, error) { return secret, nil }
}

// secrets are what no error text may contain.
var secrets = []string{routingKey, botToken, slackPath, "hook-secret", "token-secret", hookSecret[6:], "hunter22"}

// sinks makes every HTTP sink for a server.
var sinks = map[string]func(base string, client *http.Client) (notify.Sink, error){
	"slack": func(base string, client *http.Client) (notify.Sink, error) {
		return notify.NewSlack(notify.SlackOptions{WebhookURL: base + slackPath, ExternalURL: "https://driftd.example", Client: client})
	},
	"slack bot": func(base string, client *http.Client) (notify.Sink, error) {
		return notify.NewSlackBot(notify.SlackBotOptions{Token: fixed(botToken), Channel: "#ml", BaseURL: base + "/api", ExternalURL: "https://driftd.example", Client: client})
	},
	"pagerduty": func(base string, client *http.Client) (notify.Sink, error) {
		return notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey, BaseURL: base, ExternalURL: "https://driftd.example", Client: client})
	},
	"webhook": func(base string, client *http.Client) (notify.Sink, error) {
		u := strings.Replace(base, "//", "//user:hunter22@", 1) + hookPath + "?key=hunter22"
		return notify.NewWebhook(notify.WebhookOptions{URL: u, Secrets: []string{hookSecret}, Receiver: "hook", Client: client})
	},
	"heartbeat": func(base string, client *http.Client) (notify.Sink, error) {
		return notify.NewHeartbeat(notify.HeartbeatOptions{URL: base + hookPath, Client: client})
	},
	"alertmanager": func(base string, client *http.Client) (notify.Sink, error) {
		return notify.NewAlertmanager(notify.AlertmanagerOptions{URLs: []string{base}, Client: client})
	},
}

// loopback is a client that may reach test servers.
func loopback(t *testing.T, timeout time.Duration) *http.Client {
	c := notify.NewClient(notify.ClientOptions{Timeout: timeout, AllowPrivate: notify.AnyAddress()})
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// verdict is what a sink made of an answer.
type verdict struct {
	reason    notify.Reason
	permanent bool
	after     time.Duration
}

func verdictOf(t *testing.T, err error) verdict {
	t.Helper()
	if err == nil {
		return verdict{}
	}
	var e *notify.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %T %v is not an *Error", err, err)
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error %q holds the secret %q", err, secret)
		}
	}
	if errors.Unwrap(e) == nil {
		t.Errorf("error %v has no cause", err)
	}
	return verdict{e.Reason, e.Permanent, e.RetryAfter}
}

// status answers with a status, headers and a body that repeats the request,
// the worst a receiver can do with secrets.
func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(r.URL.String() + "\x00\n" + string(body)))
	}
}

var conformance = map[string]struct {
	answer http.HandlerFunc
	want   verdict
}{
	"200":                              {status(200), verdict{}},
	"202":                              {status(202), verdict{}},
	"429 with Retry-After in seconds":  {status(429, "Retry-After", "7"), verdict{notify.ReasonRateLimited, false, 7 * time.Second}},
	"429 without":                      {status(429), verdict{notify.ReasonRateLimited, false, 0}},
	"503 with a date long past":        {status(503, "Retry-After", "Thu, 01 Jan 2015 00:00:00 GMT"), verdict{notify.ReasonServer, false, 0}},
	"503 with nonsense":                {status(503, "Retry-After", "soon"), verdict{notify.ReasonServer, false, 0}},
	"503 with a negative":              {status(503, "Retry-After", "-5"), verdict{notify.ReasonServer, false, 0}},
	"503 for longer than is taken":     {status(503, "Retry-After", "1e30"), verdict{notify.ReasonServer, false, time.Hour}},
	"500":                              {status(500), verdict{notify.ReasonServer, false, 0}},
	"408":                              {status(408), verdict{notify.ReasonTimeout, false, 0}},
	"400":                              {status(400), verdict{notify.ReasonRejected, true, 0}},
	"404":                              {status(404), verdict{notify.ReasonRejected, true, 0}},
	"a redirect is not followed":       {status(307, "Location", "http://127.0.0.1:1/elsewhere"), verdict{notify.ReasonRedirect, false, 0}},
	"400 with an endless body":         {endless(400), verdict{notify.ReasonRejected, true, 0}},
	"200 with an endless body":         {endless(200), verdict{}},
	"200 and then a broken connection": {cutShort, verdict{}},
	"a closed connection":              {hangUp, verdict{notify.ReasonNetwork, false, 0}},
}

func TestSinksConform(t *testing.T) {
	for name, mk := range sinks {
		for what, c := range conformance {
			t.Run(name+"/"+what, func(t *testing.T) {
				srv := httptest.NewServer(c.answer)
				defer srv.Close()
				s, err := mk(srv.URL, loopback(t, 10*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				want := c.want
				if want == (verdict{}) && name == "slack bot" { // which says in the body whether it has worked
					want = verdict{reason: notify.ReasonServer}
				}
				for kind, body := range kinds() {
					if got := verdictOf(t, s.Send(t.Context(), delivery(t, kind, body))); got != want {
						t.Errorf("%s: %+v, want %+v", kind, got, want)
					}
				}
			})
		}
		t.Run(name+"/no answer in time", func(t *testing.T) {
			release := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			defer srv.Close()
			defer close(release)
			s, err := mk(srv.URL, loopback(t, 20*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			if got := verdictOf(t, s.Send(t.Context(), delivery(t, ledger.KindAlert, fired()))); got != (verdict{notify.ReasonTimeout, false, 0}) {
				t.Errorf("%+v, want a timeout", got)
			}
		})
		t.Run(name+"/nobody listens", func(t *testing.T) {
			srv := httptest.NewServer(nil)
			srv.Close()
			s, err := mk(srv.URL, loopback(t, 10*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			if got := verdictOf(t, s.Send(t.Context(), delivery(t, ledger.KindAlert, fired()))); got != (verdict{notify.ReasonNetwork, false, 0}) {
				t.Errorf("%+v, want a network error", got)
			}
		})
		if name == "heartbeat" {
			continue // it passes bodies on as they are: there is none that it cannot tell
		}
		t.Run(name+"/an entry that cannot be told", func(t *testing.T) {
			s, err := mk("http://127.0.0.1:1", loopback(t, time.Second))
			if err != nil {
				t.Fatal(err)
			}
			testUnsendable(t, s)
		})
	}
}

// testUnsendable gives a sink entries that no attempt can ever deliver.
func testUnsendable(t *testing.T, s notify.Sink) {
	t.Helper()
	for what, d := range map[string]ledger.Delivery{
		"unknown kind":  {Entry: ledger.Entry{Seq: 1, Kind: "poem", Body: []byte(`{}`)}},
		"not an object": {Entry: ledger.Entry{Seq: 1, Kind: ledger.KindAlert, Body: []byte(`[1]`)}},
		"broken JSON":   {Entry: ledger.Entry{Seq: 1, Kind: ledger.KindAlert, Body: []byte(`{`)}},
	} {
		if got := verdictOf(t, s.Send(t.Context(), d)); got != (verdict{notify.ReasonEncode, true, 0}) {
			t.Errorf("%s: %+v, want dead as encode", what, got)
		}
	}
}

// endless answers and then writes for as long as somebody reads.
func endless(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		chunk := []byte(strings.Repeat("x", 32<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

func cutShort(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = w.Write([]byte("short"))
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestRetryAfterDate(t *testing.T) {
	later := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	srv := httptest.NewServer(status(429, "Retry-After", later))
	defer srv.Close()
	s, err := sinks["slack"](srv.URL, loopback(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	got := verdictOf(t, s.Send(t.Context(), delivery(t, ledger.KindAlert, fired())))
	// The date has whole seconds, and the call took some time.
	if got.after < 60*time.Second || got.after > 90*time.Second {
		t.Errorf("retry after %v, want about 90s", got.after)
	}
}

// A publisher in memory.
type publisher struct {
	err          error
	subject, id  string
	body         []byte
	acknowledged int
}

func (p *publisher) Publish(_ context.Context, subject, id string, body []byte) error {
	if p.err == nil {
		p.subject, p.id, p.body = subject, id, body
		p.acknowledged++
	}
	return p.err
}

func TestSignalConforms(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want verdict
	}{
		"acknowledged":       {nil, verdict{}},
		"no acknowledgement": {context.DeadlineExceeded, verdict{notify.ReasonTimeout, false, 0}},
		"no connection":      {errors.New("nats: no servers available"), verdict{notify.ReasonNetwork, false, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := notify.NewSignal(&publisher{err: c.err})
			if got := verdictOf(t, s.Send(t.Context(), delivery(t, ledger.KindAlert, fired()))); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	testUnsendable(t, notify.NewSignal(&publisher{}))
}

// Every sink is accepted by the fake of its receiver, for every kind of entry.
func TestFakesAcceptEverything(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"slack": fakes.NewSlack(), "slack bot": fakes.NewSlack(), "pagerduty": fakes.NewPagerDuty(), "webhook": fakes.NewWebhook(hookSecret), "alertmanager": fakes.NewAlertmanager(),
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			s, err := sinks[name](srv.URL, loopback(t, 10*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			all := kinds()
			all["resolved"] = resolved()
			for kind, body := range all {
				if kind == "resolved" {
					kind = ledger.KindAlert
				}
				if err := s.Send(t.Context(), delivery(t, kind, body)); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
}
