package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stream"
)

// reloadBase is the configuration that the daemon of TestReload starts with.
func reloadBase(dir, hook string) string {
	return `nats: {embedded: true, url: "nats://127.0.0.1:0"}
store: {dir: ` + dir + `/data}
http: {listen: "127.0.0.1:0", reload: true}
privacy: {hmac_key: "` + canary + canary + canary + `", fields: {user: hmac}}
models: [{name: "fraud-*", owner: risk}]
rules:
  - {alert: Busy, window: 5m, expr: "events > 0", labels: {team: risk}}
  - {alert: Held, window: 5m, expr: "events > 0", for: 1000}
  - {alert: Gone, window: 5m, expr: "events > 0", labels: {team: risk}}
routes: {receiver: hook, group_by: ["..."], group_wait: 0s, group_interval: 0s}
receivers:
  - {name: hook, webhook: {url: "` + hook + `/?token=` + canary + `", secret_file: secret}}
`
}

// A broken configuration and what the first fault about it says, of which line.
type brokenFile struct {
	name, text, want string
	line             int
}

// brokenFiles are those of pkg/config, and those that only a running daemon can
// refuse.
func (r *running) brokenFiles() (out []brokenFile) {
	r.Helper()
	files, err := filepath.Glob("../config/testdata/broken/*.yaml")
	if err != nil || len(files) < 40 {
		r.Fatalf("%d broken configurations (%v), want at least 40", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			r.Fatal(err)
		}
		_, want, _ := strings.Cut(strings.TrimSpace(string(text)), "# want: ")
		place := strings.SplitN(want, ":", 3)
		line, err := strconv.Atoi(place[0])
		if err != nil {
			r.Fatalf("%s: %v", file, err)
		}
		out = append(out, brokenFile{filepath.Base(file), string(text), strings.TrimSpace(place[2]), line})
	}
	base := r.base()
	const restart = "which takes a restart: restart driftd, or undo it"
	const hookLine = `webhook: {url: "`
	for _, c := range []struct{ name, replace, by, want string }{
		{"embedded server", "embedded: true, ", "", "nats.embedded was changed from true to false, " + restart},
		{"server", "127.0.0.1:0\"}", "127.0.0.2:0\"}", "nats.url was changed, " + restart},
		{"stream", "embedded: true", "stream: OTHER, embedded: true", "nats.stream was changed from ML to OTHER, " + restart},
		{"subjects", "embedded: true", `subjects: ["ml.predictions.>"], embedded: true`, "nats.subjects was changed"},
		{"folder", "/data}", "/elsewhere}", restart},
		{"listener", `listen: "127.0.0.1:0"`, `listen: "127.0.0.1:1"`, "http.listen was changed from 127.0.0.1:0 to 127.0.0.1:1, " + restart},
		{"ingest", "reload: true", "reload: true, ingest: false", "http.ingest was changed from true to false, " + restart},
		{"the reload itself", ", reload: true", "", "http.reload was changed from true to false, " + restart},
		{"pane", "models:", "windows: {pane: 30s}\nmodels:", "windows.pane was changed from 1m to 30s, " + restart},
		{"lateness", "models:", "windows: {lateness: 5m}\nmodels:", "windows.lateness was changed from 2m to 5m, " + restart},
		{"sizes", "models:", "windows: {sizes: [5m, 1h]}\nmodels:", "windows.sizes was changed from [5m, 1h, 24h] to [5m, 1h], " + restart},
		{"dedup", "models:", "dedup: {ids: 5000}\nmodels:", "dedup.ids was changed from 1000000 to 5000, " + restart},
		{"dead letters", "models:", "dlq: {body: full}\nmodels:", "dlq.body was changed from hash to full, " + restart},
		{"series", "models:", "limits: {series: 5}\nmodels:", "limits.series was changed from 100000 to 5, " + restart},
		{"secret that is not there", "secret_file: secret", "secret_file: secret2", "receiver hook: read secret: open"},
		{"secret that is no secret", "secret_file: secret", "secret_file: driftd.yaml", "receiver hook: webhook secret"},
		{"Slack without its file", hookLine, `slack: {webhook_url_file: nothing}} #`, "receiver hook: read secret: open"},
		{"Slack of a name", hookLine, `slack: {webhook_url: "` + canary + `"}} #`, "receiver hook: slack webhook_url is not an absolute http or https URL"},
		{"PagerDuty without its file", hookLine, `pagerduty: {routing_key_file: nothing}} #`, "receiver hook: read secret: open"},
		{"PagerDuty with half a key", hookLine, `pagerduty: {routing_key: ` + canary + `}} #`, "receiver hook: pagerduty routing_key has 6 characters, an integration key has 32"},
		{"hmac key that is not there", `hmac_key: "` + canary + canary + canary + `"`, "hmac_key_file: nothing", "read secret: open"},
		{"hmac key of both kinds", "fields: {user", "hmac_key_file: secret, fields: {user", "at most one of hmac_key and hmac_key_file may be set"},
		{"glob", `"fraud-*"`, `"fraud-[ab]"`, "a glob knows * and ? only"},
		{"model twice", `{name: "fraud-*", owner: risk}`, `{name: a}, {name: a}`, `there are two models "a"`},
		{"rule twice", "alert: Held", "alert: Busy", `there are two rules "Busy"`},
		{"expression", `window: 5m, expr: "events > 0", for: 1000`, `expr: "evnts > 0"`, "evnts"},
	} {
		text := strings.Replace(base, c.replace, c.by, 1)
		if text == base {
			r.Fatalf("%s: %q is not in the file", c.name, c.replace)
		}
		line, was, is := 0, strings.Split(base, "\n"), strings.Split(text, "\n")
		for was[line] == is[line] {
			line++
		}
		out = append(out, brokenFile{c.name, text, c.want, line + 1})
	}
	return append(out, brokenFile{"nothing", "", "nats.url was changed, " + restart, 1})
}

// TestReload sends more than 40 broken configurations to a running daemon, each by
// a signal's way and over HTTP, while events come in: each is refused with its line
// and a hint, nothing changes, and every event is counted once. A good one then takes
// effect within two seconds: rules that stay keep their states, and the alert of one
// that is gone resolves.
func TestReload(t *testing.T) {
	r := newReloadable(t)
	r.put(filepath.Join(filepath.Dir(r.file), "secret"), "whsec_YzRuNHJ5YzRuNHJ5YzRuNHJ5YzRuNHJ5")
	r.write(r.base())
	r.start()
	p, err := stream.NewEventPublisher(r.Conn, stream.EventPublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now().Add(-2 * time.Hour).Truncate(5 * time.Minute)
	for at := time.Duration(0); at <= 30*time.Minute; at += 10 * time.Second {
		r.publish(p, "fraud-eu", start.Add(at))
	}
	r.wait("all rules have a state", func() bool { return len(r.states()) == 3 && r.counted() == r.published.Load() })
	r.wait("the hook hears of two alerts", func() bool {
		return r.hook.heard(`"alertname":"Busy"`, "firing") == 1 && r.hook.heard(`"alertname":"Gone"`, "firing") == 1
	})
	states, config0 := r.states(), r.Snapshot().Config
	if !config0.LastReloadOK {
		t.Error("before any reload the last one failed")
	}

	stop, traffic := make(chan struct{}), sync.WaitGroup{}
	traffic.Go(func() { // no window closes by these, so that states stand still
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.publish(p, "fraud-eu", start.Add(30*time.Minute))
			}
		}
	})
	for _, c := range r.brokenFiles() {
		r.refused(c)
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	if status, body := r.post(); status != http.StatusUnprocessableEntity || !strings.Contains(body, "no such file") {
		t.Errorf("without a file: %d %s", status, body)
	}
	close(stop)
	traffic.Wait()
	r.wait("every event is counted", func() bool { return r.counted() == r.published.Load() })
	snapshot := r.Snapshot()
	if diff := cmp.Diff(states, snapshot.Alerts); diff != "" {
		t.Errorf("states of rules changed: %s", diff)
	}
	if snapshot.Config.Hash != config0.Hash || !snapshot.Config.LoadedAt.Equal(config0.LoadedAt) || snapshot.Config.LastReloadOK {
		t.Errorf("config %+v, want that of %+v and a failed reload", snapshot.Config, config0)
	}
	if _, metrics := see(t, r.Instance, "/metrics", ""); !strings.Contains(metrics, "driftd_config_last_reload_successful 0\n") {
		t.Error("metrics do not say that the last reload failed")
	}
	if entries := r.entries(ledger.KindConfig); len(entries) > 0 {
		t.Errorf("refused configurations are in the ledger: %s", entries[0].Body)
	}

	good := strings.NewReplacer(
		`  - {alert: Gone, window: 5m, expr: "events > 0", labels: {team: risk}}`, `  - {alert: New, window: 5m, expr: "events > 1"}`,
		"owner: risk", "owner: fraud-team",
	).Replace(r.base())
	r.write(good)
	began := time.Now()
	status, body := r.post()
	if took := time.Since(began); status != http.StatusOK || took > 2*time.Second {
		t.Fatalf("a good configuration: %d after %v: %s", status, took, body)
	}
	var done api.Reloaded
	if err := json.Unmarshal([]byte(body), &done); err != nil {
		t.Fatal(err)
	}
	want := []ledger.SettingChange{
		{Path: "models[fraud-*].owner", Kind: "changed", From: "risk", To: "fraud-team"},
		{Path: "rules[Gone]", Kind: "removed"},
		{Path: "rules[New]", Kind: "added"},
	}
	if diff := cmp.Diff(want, done.Changes); diff != "" {
		t.Error(diff)
	}
	r.inForce(done.Hash, config0.Hash, want)
	after := r.states()
	for _, a := range states {
		i := slices.IndexFunc(after, func(b api.Alert) bool { return a.Series == b.Series })
		switch {
		case a.Rule == "Gone" && i >= 0:
			t.Errorf("the alert of a rule that is gone: %+v", after[i])
		case a.Rule != "Gone" && (i < 0 || cmp.Diff(a, after[i]) != ""):
			t.Errorf("rule %s has not kept its state: %+v, now %+v", a.Rule, a, after)
		}
	}
	r.wait("the hook hears that the alert of Gone ends", func() bool {
		return r.hook.heard(`"alertname":"Gone"`, "resolved", "the rule was removed from the configuration") == 1
	})
	for at := 30 * time.Minute; at <= 45*time.Minute; at += 10 * time.Second {
		r.publish(p, "fraud-eu", start.Add(at))
	}
	r.wait("the new rule fires", func() bool { return r.hook.heard(`"alertname":"New"`, "firing") == 1 })
	if n := r.hook.heard(`"alertname":"Busy"`); n != 1 {
		t.Errorf("the hook heard %d times of a rule that stayed, want once", n)
	}
	if o := r.Snapshot().Models[0].Owner; o != "fraud-team" {
		t.Errorf("owner %q", o)
	}
	r.wait("every event is counted", func() bool { return r.counted() == r.published.Load() })
	r.nothingLeaked()
}

// entries returns the ledger's entries of a kind.
func (r *running) entries(kind ledger.Kind) (out []ledger.Entry) {
	r.Helper()
	all, err := r.Entries(0, 10_000)
	if err != nil {
		r.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e ledger.Entry) bool { return e.Kind != kind })
}

// refused sends a broken configuration both ways.
func (r *running) refused(c brokenFile) {
	r.Helper()
	r.write(c.text)
	_, err := r.Reload(r.Context(), daemon.ActorSignal)
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		r.Errorf("%s: by signal: %v, want faults", c.name, err)
		return
	}
	if f := faults[0]; f.File != r.file || f.Line != c.line || f.Column < 1 || !strings.Contains(f.Message, c.want) {
		r.Errorf("%s: by signal:\ngot  %v\nwant line %d: %s", c.name, f, c.line, c.want)
	}
	if log := r.book.String(); !strings.Contains(log, strconv.Quote("configuration refused: " + faults[0].Message)[1:]) {
		r.Errorf("%s: the log has no line %q", c.name, faults[0].Message)
	}
	status, body := r.post()
	var problem struct {
		Errors []struct {
			File, Message string
			Line, Column  int
		}
	}
	if err := json.Unmarshal([]byte(body), &problem); err != nil || status != http.StatusUnprocessableEntity || len(problem.Errors) != len(faults) {
		r.Fatalf("%s: over HTTP: %d, %v: %s", c.name, status, err, body)
	}
	if e := problem.Errors[0]; e.File != r.file || e.Line != c.line || !strings.Contains(e.Message, c.want) {
		r.Errorf("%s: over HTTP: %+v, want line %d: %s", c.name, e, c.line, c.want)
	}
}

// inForce checks what a daemon shows after a reload over HTTP.
func (r *running) inForce(hash, before string, changes []ledger.SettingChange) {
	r.Helper()
	s := r.Snapshot()
	if hash == before || s.Config.Hash != hash || !s.Config.LastReloadOK || !s.Config.LoadedAt.After(time.Now().Add(-10*time.Second)) {
		r.Errorf("config %+v, want hash %s, which is not %s, loaded just now", s.Config, hash, before)
	}
	_, metrics := see(r.T, r.Instance, "/metrics", "")
	for _, line := range []string{
		"driftd_config_last_reload_successful 1\n",
		fmt.Sprintf("driftd_config_last_reload_success_timestamp_seconds %v\n", float64(s.Config.LoadedAt.UnixMilli())/1000),
	} {
		if !strings.Contains(metrics, line) {
			r.Errorf("metrics lack %q", line)
		}
	}
	entries := r.entries(ledger.KindConfig)
	if len(entries) != 1 {
		r.Fatalf("%d configurations in the ledger, want one", len(entries))
	}
	var body ledger.ConfigChange
	if err := json.Unmarshal(entries[0].Body, &body); err != nil {
		r.Fatal(err)
	}
	want := ledger.ConfigChange{Type: "config", Hash: hash, Previous: before, Actor: "http:127.0.0.1", Changes: changes}
	if diff := cmp.Diff(want, body); diff != "" {
		r.Error(diff)
	}
	if entries[0].StreamSeq != s.Stream.CommittedSeq {
		r.Errorf("entry at message %d, want %d: no message came since", entries[0].StreamSeq, s.Stream.CommittedSeq)
	}
}

// nothingLeaked looks for secrets in everything that was said.
func (r *running) nothingLeaked() {
	r.Helper()
	places := map[string]string{"log": r.book.String(), "answers to reloads": r.said.String()}
	for _, path := range []string{"/metrics", "/api/v1/status", "/api/v1/config", "/api/v1/ledger?limit=1000", "/api/v1/rules", "/api/v1/alerts", "/"} {
		_, places[path] = see(r.T, r.Instance, path, "")
	}
	for where, text := range places {
		for _, secret := range []string{canary, "s3cr3t", "YzRuNHJ5"} {
			if i := strings.Index(text, secret); i >= 0 {
				r.Errorf("%s shows a secret: …%s…", where, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
}
