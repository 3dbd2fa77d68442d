package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/config"
)

// before is a configuration of which the cases of TestChanges change something.
const before = `nats: {url: "nats://driftd:c4n4ry@nats.example:4222"}
store: {retention: {ledger: 400d}}
defaults: {owner: ml, segments: [channel]}
models:
  - {name: "fraud-*", owner: risk}
  - {name: churn, features: {zip: {type: categorical}}}
rules:
  - {alert: Drift, expr: psi > 0.1, severity: ticket, labels: {team: risk}}
  - {alert: Silence, expr: events == 0}
routes: {receiver: slack, routes: [{match: {model: churn}, receiver: hook}]}
receivers:
  - {name: slack, slack: {webhook_url: "https://hooks.slack.example/c4n4ry"}}
  - {name: hook, webhook: {url: "https://hooks.example/c4n4ry", secret_file: c4}}
`

func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		replace, by string
		want        []string // "!" first: it takes a restart
	}{
		"nothing":           {"owner: ml", `owner: "ml"`, nil},
		"scalar":            {"psi > 0.1", "psi > 0.2", []string{"rules[Drift].expr: psi > 0.1 -> psi > 0.2"}},
		"duration":          {"ledger: 400d", "ledger: 90d", []string{"store.retention.ledger: 400d -> 90d"}},
		"list of texts":     {"segments: [channel]", "segments: [[channel, country]]", []string{"defaults.segments: [channel] -> [[channel, country]]"}},
		"rule added":        {"rules:", "rules:\n  - {alert: New, expr: n > 1}", []string{"rules[New] added"}},
		"rule removed":      {"  - {alert: Silence, expr: events == 0}\n", "", []string{"rules[Silence] removed"}},
		"rule renamed":      {"alert: Silence", "alert: Quiet", []string{"rules[Silence] removed", "rules[Quiet] added"}},
		"key added":         {"{team: risk}", "{team: risk, on: call}", []string{"rules[Drift].labels.on added"}},
		"key removed":       {", labels: {team: risk}", "", []string{"rules[Drift].labels removed"}},
		"optional removed":  {", owner: risk", "", []string{"models[fraud-*].owner removed"}},
		"order":             {"  - {name: \"fraud-*\", owner: risk}\n  - {name: churn, features: {zip: {type: categorical}}}", "  - {name: churn, features: {zip: {type: numeric}}}\n  - {name: \"fraud-*\", owner: risk}", []string{"models[churn].features.zip.type: categorical -> numeric", "models reordered"}},
		"route":             {"{model: churn}", "{model: fraud}", []string{"routes.routes[0].match.model: churn -> fraud"}},
		"secret":            {"slack.example/c4n4ry", "slack.example/c4n4ry2", []string{"receivers[slack].slack.webhook_url: <secret> -> <secret>"}},
		"address":           {"hooks.example/c4n4ry", "hooks.example/c4n4ry2", []string{"receivers[hook].webhook.url: <secret> -> <secret>"}},
		"kind of receiver":  {`slack: {webhook_url: "https://hooks.slack.example/c4n4ry"}`, "nats: {}", []string{"receivers[slack].slack removed", "receivers[slack].nats added"}},
		"restart: address":  {"nats.example", "nats2.example", []string{"!nats.url: <secret> -> <secret>"}},
		"restart: window":   {"defaults:", "windows: {lateness: 3m}\ndefaults:", []string{"!windows.lateness: 2m -> 3m"}},
		"restart: nested":   {"defaults:", "http: {tls: {cert_file: a, key_file: b}}\ndefaults:", []string{`!http.tls.cert_file: "" -> a`, `!http.tls.key_file: "" -> b`}},
		"restart: one leaf": {"store: {", "store: {dir: /srv, ", []string{"!store.dir: ./data -> /srv"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(before, c.replace, c.by, 1)
			if text == before {
				t.Fatalf("%q is not in the file", c.replace)
			}
			old, next := load(t, before, nil), load(t, text, nil)
			var got []string
			restart := 0
			for _, change := range old.Changes(next) {
				line := change.String()
				if change.Restart {
					line = "!" + line
					restart++
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(strings.Join(got, "\n"), "c4n4ry") {
				t.Error("a secret is shown")
			}
			err := old.Reloadable(next)
			if restart == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if fs := faults(t, err); len(fs) != restart {
				t.Errorf("%d faults, want %d: %v", len(fs), restart, err)
			}
		})
	}
}

// TestReloadableSaysWhere: faults stand where the new file has what cannot be
// changed, or at the first line when it has it no more.
func TestReloadableSaysWhere(t *testing.T) {
	old := load(t, before, nil)
	next := load(t, "store: {dir: /srv}\nwindows:\n  sizes: [5m, 1h]\n", nil)
	want := []string{
		"driftd.yaml:1:1: nats.url was changed, which takes a restart: restart driftd, or undo it to reload the rest",
		"driftd.yaml:1:14: store.dir was changed from ./data to /srv, which takes a restart: restart driftd, or undo it to reload the rest",
		"driftd.yaml:3:10: windows.sizes was changed from [5m, 1h, 24h] to [5m, 1h], which takes a restart: restart driftd, or undo it to reload the rest",
	}
	var got []string
	for _, f := range faults(t, old.Reloadable(next)) {
		got = append(got, f.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f := config.Default().Fault("store.dir", "gone"); f.Error() != "store.dir: gone" {
		t.Errorf("without a file: %v", f)
	}
}
