package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/stream"
)

// canary is part of every secret in these tests: where it is seen, one leaked.
const canary = "c4n4ry"

// least are the permissions of docs/access.md.
var least = []string{
	"$JS.API.STREAM.INFO.ML", "$JS.API.CONSUMER.CREATE.ML.>", "$JS.API.CONSUMER.DELETE.ML.>", "$JS.API.CONSUMER.INFO.ML.>",
	"$JS.API.CONSUMER.MSG.NEXT.ML.*", "$JS.API.STREAM.MSG.GET.ML", "$JS.API.DIRECT.GET.ML",
	"$JS.API.STREAM.INFO.DRIFTD", "driftd.>", "ml.driftd.tick",
}

// guardedNATS starts a server with an account in which driftd may publish allowed
// only, and makes both streams.
func guardedNATS(t *testing.T, allowed []string) (address string) {
	t.Helper()
	account := server.NewAccount("ML")
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Accounts: []*server.Account{account},
		Users: []*server.User{
			{Username: "admin", Password: "a", Account: account},
			{Username: "driftd", Password: canary, Account: account, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: allowed},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_driftd.>"}},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	if account, err = s.LookupAccount("ML"); err != nil {
		t.Fatal(err)
	}
	if err := account.EnableJetStream(nil, nil); err != nil {
		t.Fatal(err)
	}
	admin, err := stream.Connect(stream.Options{URL: "nats://admin:a@" + s.Addr().String(), MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, spec := range []stream.StreamSpec{stream.InputStream(), stream.SignalStream()} {
		if _, err := stream.EnsureStream(t.Context(), admin.JetStream(), spec); err != nil {
			t.Fatal(err)
		}
	}
	for i, body := range []string{`{"id":"1","model":"fraud","features":{"a":1}}`, `{not json ` + canary + `}`} {
		if _, err := admin.JetStream().Publish(t.Context(), "ml.predictions.fraud", []byte(body)); err != nil {
			t.Fatal(i, err)
		}
	}
	return s.Addr().String()
}

// A logbook takes the log of several goroutines.
type logbook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// begin runs an instance of a configuration, everything logged.
func begin(t *testing.T, text string) (i *daemon.Instance, book *logbook, end func()) {
	t.Helper()
	c, err := config.Parse("driftd.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Store.Dir = t.TempDir()
	book = &logbook{}
	i, err = daemon.Start(t.Context(), c, daemon.Extras{
		Version: "test", Log: zerolog.New(book).Level(zerolog.TraceLevel),
		Pages: map[string]http.Handler{"GET /panic": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { panic(r.Header) })},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i, book, runInstance(t, i)
}

// runInstance runs an instance until end.
func runInstance(t *testing.T, i *daemon.Instance) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, i.Close()); err != nil {
			t.Error(err)
		}
	})
}

// see asks an instance and returns the status and everything it answered.
func see(t *testing.T, i *daemon.Instance, path, token string) (int, string) {
	t.Helper()
	return request(t, i, http.MethodGet, path, token)
}

func request(t *testing.T, i *daemon.Instance, method, path, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, i.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	headers, _ := json.Marshal(r.Header)
	return r.StatusCode, string(headers) + string(body)
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("waited a minute for ", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// mailServer refuses every login and repeats its password.
func mailServer(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- (&fakes.SMTP{User: "nobody"}).Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestLeastPrivilege: with the documented permissions alone driftd counts, sends
// dead letters and is ready; and nothing that it shows or logs at the finest
// level, while a receiver fails and a page panics, holds a secret.
func TestLeastPrivilege(t *testing.T) {
	noLeaks(t)
	at := guardedNATS(t, least)
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	secret, line, err := api.NewToken("root", api.Admin, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	i, book, end := begin(t, `
nats: {url: "nats://driftd:`+canary+`@`+at+`", inbox_prefix: _INBOX_driftd}
http: {listen: "127.0.0.1:0", tokens_file: `+tokens+`}
privacy: {hmac_key: "`+canary+canary+canary+`", fields: {user: hmac}}
rules: [{alert: Any, window: 5m, expr: "events >= 0", severity: page}]
routes: {receiver: hook, routes: [{match: {x: a}, receiver: chat}, {match: {x: b}, receiver: mail}]}
receivers:
- {name: hook, webhook: {url: "`+refuses.URL+`/hook?token=`+canary+`", secret: whsec_YzRuNHJ5YzRuNHJ5YzRuNHJ5YzRuNHJ5, next_secret: whsec_bjN4dGMwZGVuM3h0YzBkZW4zeHRjMGRl}}
- {name: chat, proxy: "http://user:`+canary+`@`+strings.TrimPrefix(refuses.URL, "http://")+`", slack: {token: xoxb-`+canary+`, channel: C1, url: "http://slack.example/api"}}
- {name: mail, email: {server: "`+mailServer(t)+`", tls: none, from: a@b.example, to: [c@d.example], username: u, password: `+canary+`}}
`)
	defer end()
	waitFor(t, "both messages and the dead letter", func() bool {
		_, text := see(t, i, "/metrics", secret)
		return strings.Contains(text, `driftd_messages_total{outcome="accepted"} 1`) && strings.Contains(text, `driftd_messages_total{outcome="invalid"} 1`)
	})
	if code, text := see(t, i, "/-/ready", ""); code != 200 {
		t.Errorf("not ready: %s", text)
	}
	if n := i.Conn.Status().PermissionErrors; n > 0 {
		t.Errorf("%d permission errors, the last of %s", n, i.Conn.Status().Permission)
	}
	shown := ""
	for _, path := range []string{
		"/", "/metrics", "/panic", "/api/v1/status", "/api/v1/config", "/api/v1/openapi.json", "/api/v1/schema/config", "/api/v1/rules", "/api/v1/ledger", "/api/v1/alerts", "/models/fraud", "/alerts", "/baselines", "/ledger", "/status",
	} {
		code, text := see(t, i, path, secret)
		if code != 200 && path != "/panic" {
			t.Errorf("%s: %d", path, code)
		}
		shown += text
	}
	for _, name := range []string{"hook", "chat", "mail"} {
		code, text := request(t, i, http.MethodPost, "/api/v1/receivers/"+name+"/test", secret)
		if code != 200 || !strings.Contains(text, `"ok":false`) {
			t.Errorf("test of %s: %d %s, want that it fails", name, code, text)
		}
		shown += text
	}
	_, wrong := see(t, i, "/api/v1/status", canary)
	_, other, err := api.NewToken("other", api.Read, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the withdrawal of the token", func() bool { code, _ := see(t, i, "/api/v1/status", secret); return code == 401 })
	end()
	for _, text := range []string{shown, wrong, book.String()} {
		for _, leak := range []string{canary, secret, "YzRuNHJ5", "bjN4dGMw", line[strings.LastIndexByte(line, ':')+1:]} {
			if at := strings.Index(text, leak); at >= 0 {
				t.Errorf("a secret is shown: …%s…", text[max(0, at-200):min(len(text), at+50)])
			}
		}
	}
	if !strings.Contains(book.String(), "a request failed by a defect") {
		t.Error("the panic is not in the log")
	}
}

// TestNotLinked: what NATS refuses is a reason of /-/ready and a number.
func TestNotLinked(t *testing.T) {
	noLeaks(t)
	blind := slices.DeleteFunc(slices.Clone(least), func(s string) bool { return strings.HasPrefix(s, "$JS.API.CONSUMER.CREATE") })
	for _, c := range []struct {
		name, password string
		allowed        []string
		want           string
	}{
		{"a permission is missing", canary, blind, `"nats_permission"`},
		{"the password is wrong", canary + "2", least, `"nats_auth"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := guardedNATS(t, c.allowed)
			i, book, end := begin(t, `
nats: {url: "nats://driftd:`+c.password+`@`+at+`", inbox_prefix: _INBOX_driftd}
http: {listen: "127.0.0.1:0"}
`)
			defer end()
			waitFor(t, c.want, func() bool {
				code, text := see(t, i, "/-/ready", "")
				return code == 503 && strings.Contains(text, c.want) && strings.Contains(text, `"nats"`)
			})
			_, text := see(t, i, "/metrics", "")
			if counted := !strings.Contains(text, "driftd_nats_permission_errors_total 0\n"); counted != (c.want == `"nats_permission"`) {
				t.Errorf("permission errors counted: %v", counted)
			}
			waitFor(t, "a line in the log", func() bool { return strings.Contains(book.String(), "no events can be read from NATS") })
			end()
			if strings.Contains(book.String(), canary) {
				t.Errorf("a secret is logged:\n%s", book.String())
			}
		})
	}
}

// TestTheLogSaysWhyNothingIsRead: and that it is over, once each.
func TestTheLogSaysWhyNothingIsRead(t *testing.T) {
	noLeaks(t)
	embedded, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Shutdown()
	i, book, end := begin(t, `
nats: {url: "`+embedded.URL()+`", stream: ELSEWHERE, subjects: ["ml.>"]}
http: {listen: "127.0.0.1:0"}
`)
	defer end()
	waitFor(t, "a line in the log", func() bool {
		return strings.Contains(book.String(), "no events can be read from NATS") && strings.Contains(book.String(), "stream not found")
	})
	if _, err := i.Conn.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "ELSEWHERE", Subjects: []string{"ml.>"}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end", func() bool { return strings.Contains(book.String(), "events are read from NATS again") })
	if n := strings.Count(book.String(), "no events can be read"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestStartRefusesAccess: what the configuration names and cannot be used ends
// the start before anything listens.
func TestStartRefusesAccess(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, text := range []string{
		"http: {listen: '127.0.0.1:0', tokens_file: " + none + "}\nnats: {embedded: true, url: 'nats://127.0.0.1:0'}",
		"http: {listen: '127.0.0.1:0', tls: {cert_file: " + none + ", key_file: " + none + "}}\nnats: {embedded: true, url: 'nats://127.0.0.1:0'}",
		"nats: {nkey_file: " + none + "}",
		"nats: {context: " + none + "}",
	} {
		c, err := config.Parse("driftd.yaml", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c.Store.Dir = t.TempDir()
		if _, err := daemon.Start(t.Context(), c, daemon.Extras{}); !errors.Is(err, daemon.ErrConfiguration) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
