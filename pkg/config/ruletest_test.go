package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ruletest"
	"driftd.dev/driftd/pkg/sim"
)

// Every key is read, and what was read is played.
func TestLoadRuleTests(t *testing.T) {
	got, err := config.LoadRuleTests("testdata/ruletest/whole_test.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []ruletest.Test{{
		Name: "series", Start: time.Date(2026, 3, 1, 5, 0, 0, 0, time.UTC), Window: time.Hour, N: 500,
		Series: []ruletest.Series{{
			Variable: "psi_debiased", Key: drift.Key{Group: drift.Group{Model: "fraud", Version: "7", Variant: event.Canary, Segment: "channel=app"}, Signal: "amount"},
			Values: []ruletest.Value{{X: .2}, {Kind: ruletest.Undefined}, {Kind: ruletest.Stale}},
		}},
		Alerts: []ruletest.Alerts{{Line: 11, At: time.Hour, Name: "Drift"}},
	}, {
		Name: "events", Window: 5 * time.Minute,
		Traffic: []ruletest.Traffic{{
			Events: 300, Seed: 4, Baseline: drift.Frozen, Rows: 5000,
			Model: sim.Model{
				Name:     "fraud",
				Versions: []sim.Version{{Name: "41", Share: .9, Latency: sim.Constant(200)}, {Name: "42", Variant: event.Canary, Share: .1, ErrorRate: .05}},
				Features: []sim.Feature{{Name: "amount", Dist: sim.Normal{Mean: 50, Sigma: 10}, Missing: .01}, {Name: "country", Categories: []sim.Category{{Name: "DE", Weight: 2}, {Name: "FR", Weight: 1}}}},
				Segments: []sim.Feature{{Name: "channel", Categories: []sim.Category{{Name: "app", Weight: 1}}}, {Name: "plan", Categories: []sim.Category{{Name: "pro", Weight: 1}}}},
				Score:    sim.Score{Positive: "fraud", Negative: "ok", Bias: -1, Noise: .5, Confidence: true},
			},
			Changes: []sim.Injection{
				{Model: "fraud", Feature: "amount", Effect: sim.Shift, Amount: .5, From: 5 * time.Minute, To: 2 * time.Hour},
				{Model: "fraud", Version: "42", Effect: sim.Errors, Amount: .3},
				{Model: "fraud", Segment: event.Segment{Name: "channel", Value: "app"}, Effect: sim.Latency, Amount: 2},
				{Model: "fraud", Effect: sim.ScoreShift, Amount: 1.5},
			},
		}, {Model: sim.Model{Name: "trial-1", Versions: []sim.Version{{Name: "1", Share: 1}}}, Events: 100, Baseline: drift.Learning}},
		Faults: []ruletest.Fault{
			{Kind: ruletest.NoEvents, Model: "fraud", Share: .5, From: 15 * time.Minute},
			{Kind: ruletest.MissingFeature, Feature: "amount", Share: 1, From: 20 * time.Minute, To: 25 * time.Minute},
			{Kind: ruletest.NewVersion, Version: "43", Share: 1, From: 30 * time.Minute},
		},
		Alerts: []ruletest.Alerts{{Line: 34, At: 5 * time.Minute, Name: "Slow", Wants: []ruletest.Want{
			{Labels: map[string]string{"model": "fraud"}, Annotations: map[string]string{}, Phase: alert.Firing, Flag: ruletest.NoFlag, Reason: "latency_p95", Muted: new(false)},
			{Labels: map[string]string{"model": "trial-1"}, Phase: alert.Inactive},
		}}},
		Messages: []ruletest.Messages{
			{Line: 38, Receiver: "chat", Wants: []ruletest.Message{{
				Labels: map[string]string{"model": "fraud"}, Status: "firing", Severity: "ticket", At: 330 * time.Second, Firing: 1, Alerts: []map[string]string{{"alertname": "Slow"}},
			}}},
			{Line: 39, Receiver: "pager", At: 10 * time.Minute},
			{Line: 40, Receiver: "chat", At: 5 * time.Minute},
			{Line: 41, Receiver: "chat", Wants: []ruletest.Message{{Status: "firing"}}},
		},
		Acks: []ruletest.Ack{{At: 5 * time.Minute, Labels: map[string]string{"model": "other"}, By: "ada"}},
		Silences: []ruletest.Silence{
			{Kind: incident.KindSilence, Matchers: []string{"model=nobody"}, EndsAt: 5 * time.Minute, Comment: "works"},
			{Kind: incident.KindMaintenance, Matchers: []string{`model=~"other|another"`, "feature!=amount"}, StartsAt: 5 * time.Minute, EndsAt: 20 * time.Minute, Comment: "backfill"},
		},
		Actions: []ruletest.Action{{Line: 46, At: 5 * time.Minute, Model: "fraud", Kind: "retrain", Want: ruletest.Absent}},
	}}
	if diff := cmp.Diff(want, got.Tests); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(got.Lines, []int{6, 12}) || len(got.World.Rules) != 3 || got.World.Rules[2].Name() != alert.RuleSilent || got.World.Rules[2].Spec().Window != 5*time.Minute || !got.World.OnTrial("trial-1") || got.World.OnTrial("fraud") {
		t.Errorf("lines %v, %d rules", got.Lines, len(got.World.Rules))
	}
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	if _, muted := got.World.TimeIntervals.Muted(nil, []string{"weekends"}, monday); !muted {
		t.Error("on Monday it is a weekend")
	}
	for _, test := range got.Tests {
		result, err := got.World.Run(test)
		if err != nil || result.Failed() > 0 {
			t.Errorf("%+v, %v", result, err)
		}
	}
}

// What is wrong with a file of tests has its place in the file.
func TestRuleTestFaults(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("rules.yaml", "- {alert: Drift, window: 1h, expr: psi > 0.1}\n")
	write("broken.yaml", "- {alert: Drift, window: 1h, expr: psy > 0.1}\n")
	const series = `input_series: [{series: 'psi{model="a", feature="b"}', values: 1x3}]`
	const looks = "alert_rule_test: [{eval_time: 1, alertname: Drift}]"
	in := func(lines ...string) string {
		return "rule_files: [rules.yaml]\nwindow: 1h\ntests:\n  - name: x\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	tests := map[string]string{
		"":                                       "1:1: the file is empty",
		"tests: []\n":                            "1:1: neither rule_files nor config",
		"rule_files: [rules.yaml]\n":             `1:1: "tests" is missing`,
		"rule_files: [broken.yaml]\ntests: []\n": "broken.yaml:1:36: unknown variable \"psy\"",
		"rule_files: [rules.yaml]\ntest: []\n":   `unknown field "test"`,
		"rule_files: [rules.yaml, rules.yaml]\ntests: []\n": `1:13: there are two rules "Drift"`,
		in(looks):  "4:5: neither input_series nor input_events",
		in(series): "4:5: none of alert_rule_test, notifications and actions",
		in(series, "alert_rule_test: [{eval_time: 0, alertname: Drift}]"):                                     "6:35: look after 1 to 10000 windows of 1h",
		in(series, "alert_rule_test: [{eval_time: 1, alertname: Drifts}]"):                                    `6:49: there is no rule "Drifts" — did you mean "Drift"?`,
		in("window: 5m", series, looks):                                                                       "7:49: Drift judges windows of 1h, and values are of 5m: give the test window: 1h",
		in("start: 2026-01-01T00:30:00Z", series, looks):                                                      "5:12: windows of 1h start at multiples of their length",
		in("start: today", series, looks):                                                                     "5:12: expected a time such as",
		in(`input_series: [{series: 'psi{model="a"', values: 1x3}]`, looks):                                   "5:29: \"\": labels are name=",
		in(`input_series: [{series: 'psi{model="a"}', values: often}]`, looks):                                "5:55: \"often\" is no value",
		in("input_events: [{model: a, events: 0}]", looks):                                                    "5:20: events: 0 a window",
		in("input_events: [{model: a, events: 9, features: {x: gamma}}]", looks):                              "5:56: \"gamma\" is no distribution",
		in("input_events: [{model: a, events: 9, versions: [{version: v, latency: fast}]}]", looks):           "is no distribution",
		in("input_events: [{model: a, events: 9, changes: [{inject: x}]}]", looks):                            `5:61: inject "x": write FEATURE+0.25sd`,
		in("input_events: [{model: a, events: 9, changes: [{from: 1}]}]", looks):                              "a change is one of inject, errors, latency and scores",
		in("input_events: [{model: a, events: 9, changes: [{errors: 0.1, segment: app}]}]", looks):            "write a segment as channel=app",
		in("input_events: [{model: a, events: 9}]", series, looks):                                            "5:28: a has input_series too",
		in(series, "faults: [{fault: late, from: 2, to: 1}]", looks):                                          "6:14: it ends before it begins",
		in(series, "silences: [{matchers: [model=a], ends_at: 3}]", looks):                                    `6:16: "comment" is missing`,
		in(series, "silences: [{matchers: [model=a], starts_at: 3, ends_at: 3h, comment: x}]", looks):         "6:61: it must be after starts_at",
		in(series, "silences: [{matchers: [model=a, =b], ends_at: 3, comment: x}]", looks):                    `6:37: matcher "=b" does not start with a label`,
		in(series, "silences: [{kind: quiet, matchers: [model=a], ends_at: 3, comment: x}]", looks):           "6:23: expected silence, maintenance or expected",
		in(series, "faults: [{fault: lost}]", looks):                                                          "6:22: expected incomplete, late, no_events, missing_feature, unapproved or new_version",
		in(series, "notifications: [{receiver: chat}]"):                                                       `6:32: there is no receiver "chat"`,
		in(series, "actions: [{eval_time: 1, model: a, action: retrain, exp: maybe}]"):                        "6:62: expected issued, suppressed or none",
		in(series, "alert_rule_test: [{eval_time: 1, alertname: Drift, exp_alerts: [{exp_state: burning}]}]"): "expected inactive, pending, firing, recovering or resolved",
		in(series, "alert_rule_test: [{eval_time: 1, alertname: Drift, exp_alerts: [{exp_flag: strange}]}]"):  "expected none, no_data, undefined, insufficient or incomplete",
		in("input_events: [{model: a, events: 9, baseline: {state: great}}]", looks):                          "expected approved, frozen or none",
	}
	for text, want := range tests {
		_, err := config.LoadRuleTests(write("x_test.yaml", text), config.Options{})
		if fs := faults(t, err); len(fs) != 1 || !strings.Contains(fs[0].Error(), want) {
			t.Errorf("%s\ngot %v\nwant %s", text, err, want)
		}
	}
	for _, text := range []string{"rule_files: [none.yaml]\ntests: []\n", "config: none.yaml\ntests: []\n"} {
		if _, err := config.LoadRuleTests(write("x_test.yaml", text), config.Options{}); err == nil || !strings.Contains(err.Error(), "none.yaml") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := config.LoadRuleTests(filepath.Join(folder, "none_test.yaml"), config.Options{}); err == nil {
		t.Error("a file that is not there was read")
	}
}

// The examples of docs/rule-tests.md are tests: the first holds, and fails as it is
// shown there with another threshold; the others are parts of one.
func TestDocumentedRuleTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/rule-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split(string(page), "\n```") {
		if text, ok := strings.CutPrefix(part, "yml\n"); ok && i%2 == 1 {
			blocks = append(blocks, text)
		}
	}
	if len(blocks) != 5 {
		t.Fatalf("%d examples", len(blocks))
	}
	folder := t.TempDir()
	play := func(rule, text string) (got []ruletest.Check) {
		for name, content := range map[string]string{
			"drift.yaml":      "- {alert: FeatureDrift, window: 1h, expr: " + rule + ", for: 2, keep_firing_for: 1}\n",
			"receivers.yaml":  "receivers: [{name: chat, webhook: {url: \"http://127.0.0.1:1\"}}]\nroutes: {receiver: chat}\n",
			"drift_test.yaml": text,
		} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		tests, err := config.LoadRuleTests(filepath.Join(folder, "drift_test.yaml"), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range tests.Tests {
			result, err := tests.World.Run(test)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, result.Checks...)
		}
		return got
	}
	for _, c := range play("psi_debiased > 0.1 and n >= 500", blocks[0]) {
		if !c.OK() {
			t.Errorf("%s: %v", c.What, c.Diff)
		}
	}
	failed := play("psi_debiased > 0.35 and n >= 500", blocks[0])[0]
	for _, line := range slices.Concat(failed.Diff, failed.Timeline) {
		if !strings.Contains(string(page), line+"\n") {
			t.Errorf("docs/rule-tests.md does not show the line %q", line)
		}
	}
	whole := "config: receivers.yaml\nrule_files: [drift.yaml]\nwindow: 1h\ntests:\n  - name: x\n" + strings.Join(blocks[1:], "\n")
	if got := play("psi_debiased > 0.1 and n >= 500", whole); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}
