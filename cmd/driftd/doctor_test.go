package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/stream"
)

// examined returns a doctor of a configuration, over the defaults.
func examined(t *testing.T, change func(*config.Config)) *doctor {
	t.Helper()
	c := config.Default()
	c.Store.Dir = t.TempDir()
	change(c)
	none := func(string) (string, bool) { return "", false }
	return &doctor{env: &env{out: io.Discard, err: io.Discard, lookup: none, timeout: time.Second, server: defaultServer}, config: c, diagnosis: diagnosis{OK: true}}
}

// wants compares one finding.
func (d *doctor) wants(t *testing.T, check, state, found, fix string) {
	t.Helper()
	for _, f := range d.Checks {
		if f.Check != check {
			continue
		}
		if f.State != state || strings.Contains(f.Fix, "tick>") || !strings.Contains(f.Found, found) || !strings.Contains(f.Fix, fix) {
			t.Errorf("%+v, want %s with %q and the fix %q", f, state, found, fix)
		}
		return
	}
	t.Errorf("nothing about %s in %+v", check, d.Checks)
}

func TestJudgeClock(t *testing.T) {
	const tolerated = time.Minute // windows.max_future_skew
	for _, c := range []struct {
		name        string
		skew, took  time.Duration
		state, text string
	}{
		{"none", 0, time.Millisecond, stateOK, "within 1s"},
		{"less than the round trip", 3 * time.Second, 4 * time.Second, stateOK, "within 4s"},
		{"behind", 5 * time.Second, time.Millisecond, stateWarn, "5s behind the server's"},
		{"ahead", -5 * time.Second, time.Millisecond, stateWarn, "5s ahead of the server's"},
		{"refusing events", -time.Minute, time.Millisecond, stateFail, "1m0s ahead of"},
	} {
		if state, text := judgeClock(c.skew, c.took, tolerated); state != c.state || !strings.Contains(text, c.text) {
			t.Errorf("%s: %s %q, want %s %q", c.name, state, text, c.state, c.text)
		}
	}
}

// TestDoctorSeesMissingPermissions on a real server: what is refused is told with
// what to allow.
func TestDoctorSeesMissingPermissions(t *testing.T) {
	for _, c := range []struct {
		name, password           string
		allowed                  []string
		check, state, found, fix string
	}{
		{"wrong password", "x", nil, "nats", stateFail, "Authorization Violation", "nats.creds_file, nats.nkey_file"},
		{"no stream info", "d", []string{"driftd.>"}, "stream", stateFail, "Permissions Violation", "$JS.API.STREAM.INFO.ML"},
		{"no consumer", "d", []string{"$JS.API.STREAM.INFO.ML", "driftd.>"}, "permissions", stateFail, "Permissions Violation", "$JS.API.CONSUMER.CREATE.ML.>"},
		{"no signals", "d", []string{"$JS.API.>", "ml.>"}, "signals", stateFail, "Permissions Violation", "allow to publish driftd.>"},
		{"no ticks", "d", []string{"$JS.API.>", "driftd.>"}, "ticks", stateWarn, "Permissions Violation", "allow to publish ml.driftd.tick"},
		{"signals without a stream", "d", []string{">"}, "signals", stateWarn, "no stream takes driftd.doctor", "nats stream add DRIFTD"},
		{"alerts alone", "d", []string{"$JS.API.>", "ml.>", "driftd.alerts.>"}, "windows", stateFail, "Permissions Violation", "allow to publish driftd.windows.>"},
		{"no audit", "d", []string{"$JS.API.>", "ml.>", "driftd.windows.>"}, "audit", stateWarn, "Permissions Violation", "allow to publish driftd.audit.checkpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := server.NewServer(&server.Options{
				Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
				Users: []*server.User{{Username: "admin", Password: "a"}, {Username: "driftd", Password: "d", Permissions: &server.Permissions{
					Publish: &server.SubjectPermission{Allow: c.allowed}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
			at := s.Addr().String()
			admin, err := stream.Connect(stream.Options{URL: "nats://admin:a@" + at, MustConnect: true})
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			if _, err := stream.EnsureStream(t.Context(), admin.JetStream(), stream.InputStream()); err != nil {
				t.Fatal(err)
			}
			d := examined(t, func(conf *config.Config) {
				conf.NATS.URL = config.Address("nats://driftd:" + c.password + "@" + at)
				conf.Publish.Windows = []config.Duration{config.Duration(time.Hour)}
			})
			d.timeout = 250 * time.Millisecond // of each refusal, which is a request without an answer
			d.nats(t.Context())
			d.wants(t, c.check, c.state, c.found, c.fix)
			for _, f := range d.Checks {
				if strings.Contains(f.Found, "driftd:"+c.password) {
					t.Errorf("the password is shown: %q", f.Found)
				}
			}
		})
	}
}

// TestDoctorTakesTheContext: where the daemon would look, not at the default address.
func TestDoctorTakesTheContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prod.json")
	if err := os.WriteFile(file, []byte(`{"url": "nats://127.0.0.1:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := examined(t, func(c *config.Config) { c.NATS.Context = file })
	d.nats(t.Context())
	d.wants(t, "nats", stateFail, "no servers available", "start nats-server")
	d = examined(t, func(c *config.Config) { c.NATS.Context = file + "x" })
	d.nats(t.Context())
	d.wants(t, "nats", stateFail, "there is no "+file+"x", "nats context ls")
}

// TestDoctorLooksAtWindows: a stream that would fill the disk with them, and one that is
// too small for them.
func TestDoctorLooksAtWindows(t *testing.T) {
	s, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	conn, err := stream.Connect(stream.Options{URL: s.URL(), MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := stream.EnsureStream(t.Context(), conn.JetStream(), stream.InputStream()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "DRIFTD", Subjects: []string{"driftd.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limits            jetstream.StreamConfig
		state, found, fix string
	}{
		{jetstream.StreamConfig{}, stateWarn, "nothing bounds DRIFTD but the server's disk", "nats stream edit DRIFTD --max-age 30d"},
		{jetstream.StreamConfig{MaxMsgSize: 64 << 10, MaxAge: time.Hour}, stateWarn, "DRIFTD takes messages up to 64 KiB", "--max-msg-size 524288"},
		{jetstream.StreamConfig{MaxMsgSize: -1, MaxAge: time.Hour}, stateOK, "DRIFTD takes driftd.windows.doctor", ""},
	} {
		c.limits.Name, c.limits.Subjects = "DRIFTD", []string{"driftd.>"}
		if _, err := conn.JetStream().UpdateStream(t.Context(), c.limits); err != nil {
			t.Fatal(err)
		}
		d := examined(t, func(conf *config.Config) {
			conf.NATS.URL, conf.Publish.Windows = config.Address(s.URL()), []config.Duration{config.Duration(time.Hour)}
		})
		d.nats(t.Context())
		d.wants(t, "windows", c.state, c.found, c.fix)
		d.wants(t, "audit", stateOK, "DRIFTD takes driftd.audit.checkpoint", "")
	}
}

func TestDoctorLooksAtPortsAndStores(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := examined(t, func(c *config.Config) { c.HTTP.Listen, c.HTTP.MetricsListen = l.Addr().String(), "192.0.2.1:1" }) // RFC 5737: nobody's
	d.ports(t.Context())
	d.wants(t, "http.listen", stateFail, "in use by another program", "ss -ltnp")
	d.wants(t, "http.metrics_listen", stateFail, "cannot assign requested address", "another address")

	for _, c := range []struct{ name, identity, state, found, fix string }{
		{"a later schema", `{"schema": 99}`, stateFail, "has schema 99", "use the newer driftd"},
		{"no JSON", `{`, stateFail, "unexpected end", "from a backup"},
		{"open to others", `{"schema": 1}`, stateWarn, "others may enter", "chmod 700"},
	} {
		d := examined(t, func(*config.Config) {})
		if err := os.WriteFile(filepath.Join(d.config.Store.Dir, "STORE.json"), []byte(c.identity), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d.config.Store.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		d.store()
		d.wants(t, "store", c.state, c.found, c.fix)
	}
}

func TestDoctorLooksAtCardinality(t *testing.T) {
	for _, c := range []struct {
		name   string
		models []cohort
		state  string
		fix    string
	}{
		{"little", []cohort{{Features: 3}}, stateOK, ""},
		{"features", []cohort{{Features: 10, Overflow: map[string]uint64{"features": 1}}}, stateWarn, "limits.features_per_model"},
		{"segments", []cohort{{Features: 1, Overflow: map[string]uint64{"segments": 1}}}, stateWarn, "fewer segments"},
		{"models", make([]cohort, 9), stateWarn, "limits.models"}, // of 10
	} {
		d := examined(t, func(conf *config.Config) { conf.Limits.Models = 10 })
		d.cardinality(c.models)
		d.wants(t, "cardinality", c.state, count(len(c.models), "model")+" of 10", c.fix)
	}
}

func TestSubjectsOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"ml.>", "ml.>", true}, {"ml.*.a", "ml.b.>", true}, {"ml.a", "ml.a.b", false}, {"a.>", "b.>", false}, {">", "x", true},
	} {
		if got := overlap(strings.Split(c.a, "."), strings.Split(c.b, ".")); got != c.want {
			t.Errorf("%s and %s overlap: %v", c.a, c.b, got)
		}
	}
}
