package driftd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// A block is one fenced block of a page.
type block struct {
	page string
	line int
	lang string
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// pages returns README and every page of docs.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/migrate/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d pages, %v", pattern, len(files), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out[f] = string(text)
		}
	}
	return out
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// blocks returns the fenced blocks of one language; there must be some.
func blocks(t *testing.T, lang string) (out []block) {
	t.Helper()
	for page, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
			b := block{page, 2 + strings.Count(text[:m[0]], "\n"), text[m[2]:m[3]], text[m[4]:m[5]]}
			if b.lang == lang {
				out = append(out, b)
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("no page has a block of %s", lang)
	}
	slices.SortFunc(out, func(a, b block) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// importsOf are what a fragment of a Go program in the pages may use.
var importsOf = map[string]string{
	"log": "log", "time": "time", "json": "encoding/json", "context": "context",
	"nats": "github.com/nats-io/nats.go", "jetstream": "github.com/nats-io/nats.go/jetstream", "publish": "driftd.dev/driftd/pkg/stream/publish",
}

// program completes a fragment: the body of a function that returns an error.
func program(text string) string {
	if strings.HasPrefix(text, "package ") {
		return text
	}
	var imports strings.Builder
	for name, path := range importsOf {
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(text) {
			fmt.Fprintf(&imports, "\t%q\n", path)
		}
	}
	return "package main\n\nimport (\n" + imports.String() + ")\n\nfunc run() error {\n" + text +
		"return nil\n}\n\nfunc main() {\n\tif err := run(); err != nil {\n\t\tpanic(err)\n\t}\n}\n"
}

// TestGoInThePagesStoresEvents builds, vets and runs every Go block against a
// real JetStream, and reads what it stored as the daemon would.
func TestGoInThePagesStoresEvents(t *testing.T) {
	for _, b := range blocks(t, "go") {
		t.Run(b.String(), func(t *testing.T) {
			url, js := embedded(t)
			if !strings.Contains(b.text, "nats.DefaultURL") {
				t.Fatal("the block connects to no server that the test could replace: use nats.DefaultURL")
			}
			file := filepath.Join(t.TempDir(), "main.go")
			source := strings.ReplaceAll(program(b.text), "nats.DefaultURL", fmt.Sprintf("%q", url))
			if b.text != program(b.text) { // nats.go may be used for the URL alone
				source += "\nvar _ = nats.DefaultURL\n"
			}
			if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, verb := range []string{"vet", "run"} {
				if out, err := exec.CommandContext(t.Context(), "go", verb, file).CombinedOutput(); err != nil {
					t.Fatalf("go %s: %v\n%s", verb, err, out)
				}
			}
			s, err := js.Stream(t.Context(), "ML")
			if err != nil {
				t.Fatal(err)
			}
			m, err := s.GetMsg(t.Context(), 1)
			if err != nil {
				t.Fatalf("the program stored nothing: %v", err)
			}
			readable(t, m.Subject, m.Header.Get("Nats-Msg-Id"), m.Data)
		})
	}
}

// embedded starts JetStream with the stream that driftd reads.
func embedded(t *testing.T) (url string, js jetstream.JetStream) {
	t.Helper()
	e, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Shutdown)
	conn, err := stream.Connect(stream.Options{InProcess: e})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := stream.EnsureStream(ctx, conn.JetStream(), stream.InputStream()); err != nil {
		t.Fatal(err)
	}
	return e.URL(), conn.JetStream()
}

// readable decodes a message as the daemon does: one or more events, nothing
// refused, no field unknown, and the Nats-Msg-Id of the contract.
func readable(t *testing.T, subject, msgID string, data []byte) {
	t.Helper()
	policy, err := event.NewPolicy(event.PolicySpec{})
	if err != nil {
		t.Fatal(err)
	}
	kind, _, _, ok := event.SubjectTemplate{}.Parse(subject)
	if !ok {
		t.Fatalf("subject %q does not fit %s", subject, event.DefaultSubjects)
	}
	var batch event.Batch
	if r := event.NewDecoder(policy, event.DefaultLimits).Decode(&batch, kind, subject, data); r != nil {
		t.Fatalf("refused: %v", r)
	}
	if len(batch.Events) == 0 || len(batch.Rejects) > 0 {
		t.Fatalf("%d events, refused: %v", len(batch.Events), batch.Rejects)
	}
	for _, e := range batch.Events {
		if e.UnknownFields > 0 {
			t.Errorf("event %s has fields that driftd does not know", e.ID)
		}
		if want := kind.String() + ":" + e.ID; msgID != "" && msgID != want {
			t.Errorf("Nats-Msg-Id is %q, want %q", msgID, want)
		}
	}
}

// TestJSONInThePagesIsEvents: the kind shows in the fields.
func TestJSONInThePagesIsEvents(t *testing.T) {
	for _, b := range blocks(t, "json") {
		subject := "ml.predictions"
		switch {
		case strings.Contains(b.text, `"prediction_id"`):
			subject = "ml.outcomes"
		case strings.Contains(b.text, `"name"`):
			subject = "ml.kpis"
		}
		name := regexp.MustCompile(`"(?:model|name)":"([^"]+)"`)
		if subject == "ml.kpis" {
			name = regexp.MustCompile(`"name":"([^"]+)"`)
		}
		t.Run(b.String(), func(t *testing.T) {
			readable(t, subject+"."+name.FindStringSubmatch(b.text)[1], "", []byte(b.text))
		})
	}
}

var (
	natsPub  = regexp.MustCompile(`(?s)nats pub --jetstream -H 'Nats-Msg-Id:([^']+)' (\S+) \\\n\s*'([^']+)'`)
	pyEvent  = regexp.MustCompile(`(?s)event = (\{.*?\})\n    body`)
	pyNames  = strings.NewReplacer("True", "true", "False", "false", "None", "null")
	pySend   = regexp.MustCompile(`await js\.publish\("([^"]+)", body, headers=\{"Nats-Msg-Id": "([a-z]+):" \+ event\["id"\]\}\)`)
	pyGuards = []string{"allow_nan=False", `"Nats-Msg-Id": "prediction:"`, "await js.publish("}
)

// TestShellAndPythonSnippetsOfTheReadme reads what they would publish:
// neither program is here to run.
func TestShellAndPythonSnippetsOfTheReadme(t *testing.T) {
	readme := pages(t)["README.md"]
	m := natsPub.FindStringSubmatch(readme)
	if m == nil {
		t.Fatal("no nats pub with an id in README.md")
	}
	readable(t, m[2], m[1], []byte(m[3]))

	for _, b := range blocks(t, "python") {
		if strings.Contains(b.text, "(publish(js, e)") && !strings.Contains(b.text, "def publish(") {
			continue // it goes through the publish of the block before it
		}
		for _, guard := range pyGuards {
			if !strings.Contains(b.text, guard) {
				t.Errorf("%s does not have %s", b, guard)
			}
		}
		if b.page != "README.md" {
			continue
		}
		body, send := pyEvent.FindStringSubmatch(b.text), pySend.FindStringSubmatch(b.text)
		if body == nil || send == nil {
			t.Fatalf("%s: the event or its publish has another form than the test reads", b)
		}
		id := regexp.MustCompile(`"id": "([^"]+)"`).FindStringSubmatch(body[1])[1]
		readable(t, send[1], send[2]+":"+id, []byte(pyNames.Replace(body[1])))
	}
}

// TestSnippetsFitAScreen: the three ways to connect are at most 15 lines each.
func TestSnippetsFitAScreen(t *testing.T) {
	for _, lang := range []string{"go", "python"} {
		for _, b := range blocks(t, lang) {
			if n := strings.Count(b.text, "\n"); b.page == "README.md" && n > 15 {
				t.Errorf("%s: %d lines of %s, want at most 15", b, n, lang)
			}
		}
	}
}

// TestYAMLInThePagesLoads: every yaml block is a configuration of driftd, or begins
// by saying that it is a file of rules. (A block of another program's configuration
// is marked yml, and so are tests of rules, which pkg/config plays.)
func TestYAMLInThePagesLoads(t *testing.T) {
	for _, b := range blocks(t, "yaml") {
		none := func(string) (string, bool) { return "", false }
		parse := config.Parse
		if first, _, _ := strings.Cut(b.text, "\n"); strings.HasSuffix(first, ": a file of rules") {
			parse = config.ParseRules
		}
		c, err := parse(b.String(), []byte(b.text), config.Options{LookupEnv: none})
		if err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		if _, err := c.AlertRules(); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
}

// metricFile is the part of a file of Prometheus rules that the tests read.
type metricFile struct {
	Groups []struct {
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

var section = regexp.MustCompile(`(?m)^## (\w+)$`)

// TestEveryAlertHasItsRunbook, in the same order, and its test.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	var f metricFile
	text, err := os.ReadFile("deploy/prometheus/driftd.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("deploy/prometheus/driftd.rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var alerts, sections []string
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			alerts = append(alerts, r.Alert)
			if s := r.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity %q is neither page nor ticket", r.Alert, s)
			}
			if want := "docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
				t.Errorf("%s: runbook %q, want %q", r.Alert, r.Annotations["runbook"], want)
			}
			for _, empty := range []string{"exp_alerts: []", "exp_alerts:\n"} {
				at := regexp.MustCompile(`alertname: ` + r.Alert + `\b[,\s]+` + regexp.QuoteMeta(empty))
				if !at.Match(tests) {
					t.Errorf("%s has no test with %q", r.Alert, strings.TrimSpace(empty))
				}
			}
			for _, name := range metricNames(r.Expr) {
				if !known(name) {
					t.Errorf("%s uses %s, which driftd does not export", r.Alert, name)
				}
			}
		}
	}
	for _, m := range section.FindAllStringSubmatch(pages(t)["docs/runbook.md"], -1) {
		sections = append(sections, m[1])
	}
	if !slices.Equal(alerts, sections) {
		t.Errorf("docs/runbook.md has sections\n%v\nand the rules have alerts\n%v", sections, alerts)
	}
}

var metric = regexp.MustCompile(`\b(?:driftd_[a-z0-9_]+|process_[a-z0-9_]+)\b`)

func metricNames(text string) []string {
	return slices.Compact(slices.Sorted(slices.Values(metric.FindAllString(text, -1))))
}

// known tells whether a metric is in the catalogue.
func known(name string) bool {
	return slices.ContainsFunc(api.Catalogue(), func(f api.Family) bool {
		return f.Name == name || f.Type == "histogram" && f.Name+"_bucket" == name
	})
}

// TestMetricsInThePagesExist: a name that is written anywhere can be queried.
func TestMetricsInThePagesExist(t *testing.T) {
	for page, text := range pages(t) {
		for _, name := range metricNames(text) {
			if !known(name) {
				t.Errorf("%s names %s, which driftd does not export", page, name)
			}
		}
	}
}

// TestSystemdUnitNeverRestartsInVain: the exit codes that a restart cannot help
// are those of README.
func TestSystemdUnitNeverRestartsInVain(t *testing.T) {
	unit, err := os.ReadFile("deploy/systemd/driftd.service")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(unit, []byte("\nRestartPreventExitStatus=3 5 78\n")) {
		t.Error("RestartPreventExitStatus is not 3 5 78: store refused, store in use, bad configuration. Never 2: panics and the watchdog's SIGABRT end with it")
	}
}
