package notify_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

var update = flag.Bool("update", false, "rewrite testdata/messages and the blocks of docs/receivers.md")

const (
	goldenFolder = "testdata/messages"
	goldenPage   = "../../docs/receivers.md"
)

// messages renders what receivers are sent, as their fakes got it.
func messages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	indent := func(body []byte) string {
		var b bytes.Buffer
		if err := json.Indent(&b, body, "", "  "); err != nil {
			t.Fatal(err)
		}
		return b.String() + "\n"
	}
	pager, slack, post := fakes.NewPagerDuty(), fakes.NewSlack(), &fakes.SMTP{}
	fire, resolve := delivery(t, ledger.KindAlert, explained()), delivery(t, ledger.KindAlert, resolved())
	resolve.Entry = entry(t, &ledger.Chain{Seq: 836}, ledger.KindAlert, resolved())
	resolve.Seq = resolve.Entry.Seq
	sendTo(t, "pagerduty", pager, fire)
	out["pagerduty.json"] = indent(pager.Calls()[0].Body)

	srv := httptest.NewServer(slack)
	defer srv.Close()
	s, err := notify.NewSlackBot(notify.SlackBotOptions{
		Token: fixed(botToken), Channel: "C0123456789", BaseURL: srv.URL + "/api", ExternalURL: "https://driftd.example", Client: loopback(t, 10*time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	tell(t, s, tell(t, s, "", fire), resolve)
	for i, name := range []string{"firing", "details", "resolved"} {
		out["slack-bot-"+name+".json"] = indent(slack.Calls()[i].Body)
	}
	if err := mailer(t, mailbox(t, post)).Send(t.Context(), fire); err != nil {
		t.Fatal(err)
	}
	m := post.Mails()[0]
	out["mail.txt"] = "Subject: " + m.Header.Get("Subject") + "\n\n" + m.Parts["text/plain"]
	return out
}

var shownMessage = regexp.MustCompile("(?s)(<!-- message: ([a-z-]+) -->\n```[a-z]+\n)(.*?)(```\n)")

// TestMessages keeps what receivers are sent, and what docs/receivers.md shows.
func TestMessages(t *testing.T) {
	page, err := os.ReadFile(goldenPage)
	if err != nil {
		t.Fatal(err)
	}
	rendered := messages(t)
	if *update {
		text := shownMessage.ReplaceAllStringFunc(string(page), func(block string) string {
			m := shownMessage.FindStringSubmatch(block)
			return m[1] + rendered[goldenOf(rendered, m[2])] + m[4]
		})
		write(t, goldenPage, text)
		for name, text := range rendered {
			write(t, filepath.Join(goldenFolder, name), text)
		}
		return
	}
	shown := map[string]string{}
	for _, m := range shownMessage.FindAllStringSubmatch(string(page), -1) {
		shown[goldenOf(rendered, m[2])] = m[3]
	}
	for name, got := range rendered {
		golden, err := os.ReadFile(filepath.Join(goldenFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(golden) != got {
			t.Errorf("%s is\n%s\nwant\n%s(go test ./pkg/notify -run TestMessages -update)", name, got, golden)
		}
		if shown[name] != got {
			t.Errorf("docs/receivers.md shows another %s (go test ./pkg/notify -run TestMessages -update)", name)
		}
	}
	if len(shown) != len(rendered) {
		t.Errorf("docs/receivers.md shows %d messages, want %d", len(shown), len(rendered))
	}
}

// goldenOf is the file of a message that the page names.
func goldenOf(rendered map[string]string, name string) string {
	for file := range rendered {
		if strings.TrimSuffix(file, filepath.Ext(file)) == name {
			return file
		}
	}
	return name
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
