package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/notify/fakes"
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
