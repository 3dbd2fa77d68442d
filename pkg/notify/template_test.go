package notify_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

// say sends an alert to a channel in the words of a template.
func say(t *testing.T, tpl *notify.Template, d ledger.Delivery) fakes.SlackMessage {
	t.Helper()
	fake := fakes.NewSlack()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	s, err := notify.NewSlack(notify.SlackOptions{WebhookURL: srv.URL + slackPath, ExternalURL: "https://driftd.example", Template: tpl, Client: loopback(t, 10*time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return fake.Messages()[0]
}

func template(t *testing.T, title, text string) *notify.Template {
	t.Helper()
	tpl, err := notify.NewTemplate(title, text)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func TestTemplates(t *testing.T) {
	d := delivery(t, ledger.KindAlert, explained())
	tpl := template(t, "[{{upper .Severity}}] {{.Model}}\n{{.Signal}}", `{{.Origin}}; psi {{round 2 .Stats.psi_debiased}}; {{with .Versions}}{{index . 0}}{{end}}; {{len .Around}}; team {{index .Labels "team.name"}}; {{date "15:04" .Since}}; {{.Runbook}}`)
	m := say(t, tpl, d)
	if m.Header != "[PAGE] fraud amount" || m.Body != "this release; psi 0.31; 42 canary brings 92 % with 20 % of the values; 2; team risk; 09:00; https://wiki.example/amount" {
		t.Errorf("%q: %q", m.Header, m.Body)
	}
	if m := say(t, template(t, "", "{{.Title}}!"), d); m.Header != "Page: AmountDrift on fraud/amount" || m.Body != m.Header+"!" {
		t.Errorf("%q: %q", m.Header, m.Body)
	}
	several := d
	several.Group, several.Grouped = grouped(t, 2, 0, fired(), on("Errors", "fraud", "")), true
	if m := say(t, template(t, "{{.Firing}}", "{{range .Alerts}}{{.Rule}} {{end}}"), several); m.Header != "2" || m.Body != "AmountDrift Errors" {
		t.Errorf("%q: %q", m.Header, m.Body)
	}
	if m := say(t, template(t, "{{.Kind}}", "{{.Title}}{{.Rule}}"), delivery(t, ledger.KindRetrain, retrain())); m.Header != "retrain" || m.Body != "Retrain fraud" {
		t.Errorf("%q: %q", m.Header, m.Body)
	}
}

// A template that fails, or that says nothing, leaves driftd's own words: an alert
// arrives whatever the template.
func TestATemplateThatFails(t *testing.T) {
	tpl := template(t, `{{if .Rule}}{{if ne .Rule "-"}}{{index .Cells 3}}{{end}}{{end}}`, "{{/* nothing */}}")
	m := say(t, tpl, delivery(t, ledger.KindAlert, fired()))
	if m.Header != "Page: AmountDrift on fraud/amount" || !strings.HasPrefix(m.Body, "amount of fraud") || tpl.Failed() != 1 {
		t.Errorf("%q: %q, %d failures", m.Header, m.Body, tpl.Failed())
	}
	if n := (*notify.Template)(nil).Failed(); n != 0 {
		t.Errorf("%d failures of no template", n)
	}
	if _, err := notify.NewTemplate("", "{{range 9}}{{end}}"); err == nil {
		t.Error("a bad template was taken")
	}
}
