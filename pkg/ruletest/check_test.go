package ruletest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ruletest"
)

// A check that does not hold says what was wanted, what is, and how it came to be.
func TestDiff(t *testing.T) {
	test := given(t, amount, "0.01 0.12x2 0.3", `psi{model="fraud", feature="age"}`, "0.5x5", `n{model="fraud", feature="age"}`, "90x2 1000x5")
	test.Alerts = []ruletest.Alerts{at(3, "Drift",
		want(alert.Pending, "feature", "amount"),
		ruletest.Want{Phase: alert.Firing, Labels: set("feature", "country"), Reason: "psi", Annotations: set("summary", "moved")},
	)}
	got := run(t, world(t, drifts), test)
	want := []string{
		`- pending {feature="amount"}`,
		`+ firing {feature="amount", model="fraud", severity="page", team="risk"}: psi 0.12 > 0.1`,
		`- firing {feature="country"}: "psi" annotations {summary="moved"}`,
	}
	if diff := cmp.Diff(want, got.Checks[0].Diff); diff != "" || got.Checks[0].What != "alerts of Drift at 3h" {
		t.Errorf("%s\n%s", got.Checks[0].What, diff)
	}
	timeline := []string{
		"psi > 0.1; clear psi < 0.05; for 2; keep_firing_for 2",
		"Drift fraud amount",
		"   at  phase     flag  n     psi",
		"   1h  inactive  -     1000  0.01",
		"   2h  pending   -     1000  0.12",
		">  3h  firing    -     1000  0.12",
		"   4h  firing    -     1000  0.12",
	}
	if diff := cmp.Diff(timeline, got.Checks[0].Timeline); diff != "" {
		t.Error(diff)
	}
}

// What fires and is not wanted is told, and of many series the first three are shown.
func TestUnwanted(t *testing.T) {
	spec := drifts
	spec.For = alert.Hold{Duration: 90 * time.Minute}
	test := given(t, amount, "0.3x5", `psi{model="fraud", feature="b"}`, "0.3x5", `psi{model="fraud", feature="c"}`, "0.3x5", `psi{model="fraud", feature="d"}`, "0.3 _ 0.3x5")
	test.Faults = []ruletest.Fault{{Kind: ruletest.Incomplete, From: 4 * time.Hour, To: 5 * time.Hour}}
	test.Alerts = []ruletest.Alerts{at(5, "Drift", flagged(alert.Firing, "no_data", "feature", "b")), at(6, "Drift")}
	got := run(t, world(t, spec), test)
	if got.Failed() != 2 || len(got.Checks[0].Diff) != 5 || len(got.Checks[1].Diff) != 4 {
		t.Fatalf("%+v", got)
	}
	if first := got.Checks[0].Diff[:2]; first[0] != `- firing {feature="b"} flag no_data` || !strings.HasPrefix(first[1], `+ firing {feature="b", model="fraud", severity="page", team="risk"} flag none: psi 0.3 > 0.1`) {
		t.Errorf("%q", first)
	}
	text := strings.Join(got.Checks[1].Timeline, "\n")
	if strings.Count(text, "Drift fraud ") != 3 || !strings.HasSuffix(text, "and 1 more series") || !strings.Contains(text, "for 1h30m") || !strings.Contains(text, "incomplete window") {
		t.Error(text)
	}

	test = given(t, `psi{model="other", feature="a"}`, "0.3x5")
	spec.Model, test.Alerts = "fraud", []ruletest.Alerts{at(2, "Drift", want(alert.Firing))}
	if c := run(t, world(t, spec), test).Checks[0]; c.OK() || c.Timeline[0] != "no window had anything that such an alert could be about" {
		t.Errorf("%+v", c)
	}
}

// Of several series that could be meant the one that stands as is wanted is taken.
func TestCandidates(t *testing.T) {
	test := given(t, amount, "0.01x5", `psi{model="fraud", feature="b"}`, "0.3x5", `psi{model="fraud", feature="c"}`, "0.01 0.3x5")
	test.Alerts = []ruletest.Alerts{
		at(2, "Drift", want(alert.Pending, "model", "fraud"), want(alert.Firing, "model", "fraud"), want(alert.Inactive, "model", "fraud"), want(alert.Inactive, "model", "none")),
	}
	passes(t, world(t, drifts), test)
}

func TestMessages(t *testing.T) {
	w := world(t, drifts, alert.Spec{Name: "Quietly", Expr: "psi > 0.1", Notify: alert.NotifyShadow})
	var err error
	w.Routes, err = alert.CompileRoutes(alert.RouteSpec{Receiver: "chat", Routes: []alert.RouteSpec{
		{Receiver: "pager", Match: map[string]string{"severity": "page"}, Continue: true}, {Receiver: "risk", Matchers: []string{`team="risk"`}},
	}}, []string{"chat", "pager", "risk"})
	if err != nil {
		t.Fatal(err)
	}
	test := given(t, amount, "0.3x1 0.01x1 0.3x1")
	start, end := ruletest.Message{Labels: set("alertname", "Drift", "feature", "amount"), Status: "firing"}, ruletest.Message{Status: "resolved", At: 4 * time.Hour}
	test.Messages = []ruletest.Messages{
		{Receiver: "pager", At: time.Hour},
		{Receiver: "pager", At: 3 * time.Hour, Wants: []ruletest.Message{start}},
		{Receiver: "risk", Wants: []ruletest.Message{start, end, start}},
		{Receiver: "chat"},
	}
	passes(t, w, test)

	test.Messages = []ruletest.Messages{{Receiver: "risk", Wants: []ruletest.Message{start, {Status: "resolved", At: 5 * time.Hour}, start}}, {Receiver: "chat", At: time.Hour, Wants: []ruletest.Message{start}}}
	got := run(t, w, test)
	want := []string{"- resolved {} at 5h", `+ resolved page Drift {feature="amount", model="fraud", severity="page", team="risk"} at 4h`}
	if diff := cmp.Diff(want, got.Checks[0].Diff); diff != "" || got.Checks[0].What != "messages to risk in all" {
		t.Errorf("%s\n%s", got.Checks[0].What, diff)
	}
	if diff := cmp.Diff([]string{`- firing Drift {feature="amount"}`}, got.Checks[1].Diff); diff != "" || got.Checks[1].What != "messages to chat until 1h" {
		t.Errorf("%s\n%s", got.Checks[1].What, diff)
	}
}
