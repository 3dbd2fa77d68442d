package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/stream"
)

// Every kind of receiver is made as the configuration says, and takes a test that
// leaves nothing open.
func TestTryReceiver(t *testing.T) {
	slack, bot, pager, am := fakes.NewSlack(), fakes.NewSlack(), fakes.NewPagerDuty(), fakes.NewAlertmanager()
	const secret, next = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hook := fakes.NewWebhook(next)
	post := &fakes.SMTP{User: "driftd", Password: "a password"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- post.Serve(l) }()
	defer func() {
		if err := errors.Join(l.Close(), <-served); err != nil {
			t.Error(err)
		}
	}()
	urls := map[string]string{"MAIL": l.Addr().String()}
	for name, h := range map[string]*httptest.Server{
		"SLACK": httptest.NewServer(slack), "BOT": httptest.NewServer(bot), "PAGER": httptest.NewServer(pager),
		"AM": httptest.NewServer(am), "HOOK": httptest.NewServer(hook),
	} {
		defer h.Close()
		urls[name] = h.URL
	}
	dir := t.TempDir()
	for file, text := range map[string]string{"bot": "xoxb-token", "hook": secret, "next": next, "mail": "a password"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"slack", "bot", "pager", "hook", "am", "mail"}
	var routes strings.Builder
	for _, name := range names {
		fmt.Fprintf(&routes, "{match: {x: %s}, receiver: %s}, ", name, name)
	}
	file := filepath.Join(dir, "driftd.yaml")
	text := `routes: {receiver: slack, routes: [` + routes.String() + `]}
receivers:
  - {name: slack, allow_private: [127.0.0.0/8], slack: {webhook_url: "${SLACK}/services/x"}}
  - {name: bot, allow_private: [127.0.0.0/8], slack: {token_file: bot, channel: C1, url: "${BOT}/api"}}
  - {name: pager, allow_private: [127.0.0.0/8], pagerduty: {routing_key: 0123456789abcdef0123456789abcdef, url: "${PAGER}"}}
  - {name: hook, allow_private: [127.0.0.0/8], webhook: {url: "${HOOK}", secret_file: hook, next_secret_file: next}}
  - {name: am, alertmanager: {urls: ["${AM}"]}}
  - {name: mail, email: {server: "${MAIL}", tls: none, from: a@b.example, to: [c@d.example], username: driftd, password_file: mail}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, config.Options{LookupEnv: func(name string) (string, bool) { v, ok := urls[name]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, name := range names {
		out, err := daemon.TryReceiver(ctx, c, name, nil)
		if err != nil || !out.OK || len(out.Steps) != 2 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	if got := pager.Incidents(); len(got) != 1 || got[0].Status != "resolved" || got[0].Severity != "info" {
		t.Errorf("incidents %+v, want one, resolved", got)
	}
	if got := bot.Messages(); len(got) == 0 || got[0].Header != "Resolved: DriftdTest on driftd" || got[0].Edits != 1 {
		t.Errorf("the bot's messages %+v", got)
	}
	if got := am.Alerts(); len(got) != 1 || got[0].EndsAt.After(time.Now()) {
		t.Errorf("alerts %+v, want one that has ended", got)
	}
	if len(slack.Messages()) != 2 || len(hook.Keys()) != 2 || len(post.Mails()) != 2 {
		t.Errorf("%d messages, %d calls, %d mails; want 2 each", len(slack.Messages()), len(hook.Keys()), len(post.Mails()))
	}
	pager.FailNext(1, 400, "")
	if out, err := daemon.TryReceiver(ctx, c, "pager", nil); err != nil || out.OK || len(out.Steps) != 1 || !strings.Contains(out.Steps[0].Error, "status 400") {
		t.Errorf("refused: %+v, %v", out, err)
	}
	if _, err := daemon.TryReceiver(ctx, c, "nobody", nil); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// A receiver that was away for long is tried at once when a test of it succeeds, and when a
// reload has changed its address or the content of its secret file.
func TestARepairedReceiverIsTriedAtOnce(t *testing.T) {
	r := newReloadable(t)
	dir := filepath.Dir(r.file)
	var mended atomic.Bool
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !mended.Load() || req.URL.Path == "/gone" {
			w.Header().Set("Retry-After", "3000")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.hook.Config.Handler.ServeHTTP(w, req)
	}))
	defer down.Close()
	names := []string{"tested", "moved", "signed"}
	text := `nats: {embedded: true, url: "nats://127.0.0.1:0"}
store: {dir: ` + dir + `/data}
http: {listen: "127.0.0.1:0"}
rules: [{alert: Busy, window: 5m, expr: "events > 0"}]
routes: {receiver: tested, group_wait: 0s, routes: [{match: {severity: ticket}, receiver: moved, continue: true}, {match: {severity: ticket}, receiver: signed, continue: true}, {match: {severity: ticket}, receiver: tested}]}
receivers:
  - {name: tested, webhook: {url: "` + down.URL + `"}}
  - {name: moved, webhook: {url: "` + down.URL + `/gone"}}
  - {name: signed, webhook: {url: "` + down.URL + `", secret_file: secret}}
`
	r.put(filepath.Join(dir, "secret"), "whsec_YzRuNHJ5YzRuNHJ5YzRuNHJ5YzRuNHJ5")
	r.write(text)
	r.start()
	p, err := stream.NewEventPublisher(r.Conn, stream.EventPublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now().Add(-2 * time.Hour).Truncate(5 * time.Minute)
	for at := time.Duration(0); at <= 10*time.Minute; at += 10 * time.Second {
		r.publish(p, "fraud-eu", start.Add(at))
	}
	failed := func(name string) bool {
		for _, n := range r.Snapshot().Notifier.Receivers {
			if n.Name == name && n.Pending > 0 && len(n.Failed) > 0 {
				return true
			}
		}
		return false
	}
	heard := func(name string) int { return r.hook.heard(`"receiver":"`+name+`"`, `"alertname":"Busy"`) }
	for _, name := range names {
		r.wait(name+" has failed", func() bool { return failed(name) })
	}
	mended.Store(true)
	resp, err := http.Post(r.URL()+"/api/v1/receivers/tested/test", "application/json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	r.wait("the one that was tested hears", func() bool { return heard("tested") == 1 })
	r.put(filepath.Join(dir, "secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	r.write(strings.Replace(text, "/gone", "", 1))
	if _, err := r.Reload(t.Context(), daemon.ActorSignal); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r.wait(name+" hears once", func() bool { return heard(name) == 1 && !failed(name) })
	}
}
