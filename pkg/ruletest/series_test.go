package ruletest_test

import (
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ruletest"
)

var drifts = alert.Spec{
	Name: "Drift", Expr: "psi > 0.1", Clear: "psi < 0.05", For: alert.Hold{Windows: 2}, KeepFiringFor: alert.Hold{Windows: 2}, Severity: "page",
	Labels: map[string]string{"team": "risk"}, Annotations: map[string]string{"summary": "moved"},
}

const amount = `psi{model="fraud", feature="amount"}`

// A series goes through all phases, and each is the one at the time that is looked at.
func TestPhases(t *testing.T) {
	test := given(t, amount, "0.01 0.3x1 0.07 0.01x1")
	test.Alerts = []ruletest.Alerts{
		at(1, "Drift", want(alert.Inactive)),
		at(2, "Drift", want(alert.Pending, "feature", "amount")),
		at(3, "Drift", ruletest.Want{Phase: alert.Firing, Labels: set("model", "fraud", "team", "risk", "severity", "page"), Annotations: set("summary", "moved"), Reason: "psi 0.3 > 0.1", Flag: ruletest.NoFlag}),
		at(4, "Drift", want(alert.Firing)),
		at(5, "Drift", ruletest.Want{Phase: alert.Recovering, Reason: "psi 0.01 < 0.05"}),
		at(6, "Drift", want(alert.Resolved)),
	}
	passes(t, world(t, drifts), test)
}

// What is undefined decides nothing, of what is stale there is nothing to decide.
func TestUndefinedAndStale(t *testing.T) {
	lost := drifts
	lost.Name, lost.NoData, lost.NoDataFor = "Lost", alert.NoDataResolve, alert.Hold{Windows: 2}
	test := given(t, amount, "0.3x1 _ stale _ stale stale")
	test.Alerts = []ruletest.Alerts{
		at(3, "Drift", flagged(alert.Firing, "undefined")), at(4, "Drift", flagged(alert.Firing, "no_data")), at(7, "Drift", want(alert.Firing)),
		at(6, "Lost", flagged(alert.Firing, "no_data")), at(7, "Lost", want(alert.Resolved)),
	}
	passes(t, world(t, drifts, lost), test)

	gone := given(t, amount, "0.01 _ stale")
	gone.Alerts = []ruletest.Alerts{
		at(2, "Drift", flagged(alert.Inactive, "undefined")), at(3, "Drift", want(alert.Inactive)), // nothing is remembered of it
	}
	passes(t, world(t, drifts), gone)
}

// What driftd says of rules by itself: that they have no data, after the gap that is
// usual for a model where they do not say, and that they cannot decide.
func TestAlertsAboutRules(t *testing.T) {
	rule := drifts
	rule.Name, rule.NoData, rule.UndecidedFor = "Watched", alert.NoDataAlert, alert.Hold{Windows: 3}
	rule.Model = "fraud"
	w := world(t, rule)
	w.ExpectedGap = func(string) time.Duration { return 3 * time.Hour }
	test := given(t, amount, "0.01 stale stale stale 0.01 _x4 0.01x2")
	test.Alerts = []ruletest.Alerts{
		at(3, alert.RuleNoData, want(alert.Pending, "rule", "Watched")), at(4, alert.RuleNoData, want(alert.Firing, "rule", "Watched", "model", "fraud")),
		at(5, alert.RuleNoData, want(alert.Resolved)),
		at(7, alert.RuleUndecided), at(8, alert.RuleUndecided, ruletest.Want{Phase: alert.Firing, Labels: set("rule", "Watched", "severity", "ticket"), Reason: "cannot be evaluated"}),
		at(10, alert.RuleUndecided, want(alert.Resolved)),
	}
	passes(t, w, test)
	test.Alerts = []ruletest.Alerts{at(4, alert.RuleNoData)}
	c := run(t, w, test).Checks[0]
	if text := strings.Join(append(c.Diff, c.Timeline...), "\n"); !strings.Contains(text, `+ firing {model="fraud", rule="Watched", severity="page", team="risk"}: no events for the rule Watched`) || !strings.Contains(text, drifts.Expr) {
		t.Error(text)
	}
}

// How many values there are is what series say, N where they do not, and no more
// than there are events.
func TestCounts(t *testing.T) {
	few := alert.Spec{Name: "Few", Model: "few", Expr: "n == 120 and events == 120 and psi > 0"}
	many := alert.Spec{Name: "Many", Model: "many", Expr: "n == 1000 and events == 1000 and psi > 0"}
	own := alert.Spec{Name: "Own", Model: "own", Expr: "n == 300 and events == 500 and psi > 0"}
	test := given(t, `psi{model="few", feature="a"}`, "1", `events{model="few"}`, "120", `psi{model="many", feature="a"}`, "1",
		`psi{model="own", feature="a"}`, "1", `events{model="own"}`, "500", `n{model="own", feature="a"}`, "300")
	test.Alerts = []ruletest.Alerts{at(1, "Few", want(alert.Firing)), at(1, "Many", want(alert.Firing)), at(1, "Own", want(alert.Firing))}
	passes(t, world(t, few, many, own), test)

	test = given(t, amount, "0.3x1")
	test.N, test.Alerts = 99, []ruletest.Alerts{at(2, "Drift", flagged(alert.Inactive, "insufficient"))} // a signal needs 100
	passes(t, world(t, drifts), test)
}

// Groups are judged apart, and the whole model is the sum of what is not in shadow.
func TestGroups(t *testing.T) {
	whole := alert.Spec{Name: "Whole", Expr: "events == 1400"}
	canary := alert.Spec{Name: "Canary", Variant: "canary", Expr: "error_ratio > 0.1 and events == 400"}
	segment := alert.Spec{Name: "Segment", Segment: "channel=*", Expr: "psi > 0.1"}
	test := given(t,
		`error_ratio{model="fraud", model_version="41"}`, "0.2",
		`events{model="fraud", model_version="42", variant="canary"}`, "400", `error_ratio{model="fraud", model_version="42", variant="canary"}`, "0.2",
		`error_ratio{model="fraud", model_version="43", variant="shadow"}`, "0.2",
		`psi{model="fraud", model_version="41", segment="channel=app", feature="a"}`, "0.2", `psi{model="fraud", model_version="41", feature="a"}`, "0.2",
	)
	test.Alerts = []ruletest.Alerts{
		at(1, "Whole", want(alert.Firing, "model", "fraud")), at(1, "Canary", want(alert.Firing, "model_version", "42", "variant", "canary")),
		at(1, "Segment", want(alert.Firing, "segment", "channel=app")),
	}
	passes(t, world(t, whole, canary, segment), test)
}

func TestFaultsOfSeries(t *testing.T) {
	silent := alert.Spec{Name: "Silent", Expr: "events == 0"}
	test := given(t, amount, "0.3x9", `psi{model="fraud", model_version="41", feature="age"}`, "0.3x9", `psi{model="fraud", model_version="42", variant="canary", feature="age"}`, "0.3x9")
	test.Faults = []ruletest.Fault{
		{Kind: ruletest.Unapproved, Model: "fraud", To: 4 * time.Hour},
		{Kind: ruletest.Incomplete, From: time.Hour, To: 2 * time.Hour},
		{Kind: ruletest.MissingFeature, Feature: "age", From: 3 * time.Hour, To: 4 * time.Hour},
		{Kind: ruletest.NoEvents, Model: "fraud", From: 4 * time.Hour, To: 5 * time.Hour},
		{Kind: ruletest.NoEvents, Model: "other"},
		{Kind: ruletest.NewVersion, Version: "43", From: 6 * time.Hour},
	}
	ticket := func(phase alert.Phase, flag string) []ruletest.Want {
		return []ruletest.Want{flagged(phase, flag, "feature", "amount"), flagged(phase, flag, "model_version", "41"), flagged(phase, flag, "model_version", "42")}
	}
	test.Alerts = []ruletest.Alerts{
		at(1, "Drift", ticket(alert.Pending, ruletest.NoFlag)...),
		at(2, "Drift", ticket(alert.Pending, "incomplete")...), // the second hot window does not count
		at(3, "Drift", ruletest.Want{Phase: alert.Firing, Labels: set("feature", "amount", "severity", "ticket"), Reason: "is not approved"}, want(alert.Firing, "model_version", "41"), want(alert.Firing, "model_version", "42")),
		at(4, "Drift", flagged(alert.Firing, ruletest.NoFlag, "feature", "amount"), flagged(alert.Firing, "no_data", "model_version", "41"), flagged(alert.Firing, "no_data", "model_version", "42")),
		at(5, "Drift", ticket(alert.Firing, "no_data")...),
		at(4, "Silent"), at(5, "Silent", want(alert.Firing)), at(6, "Silent", want(alert.Resolved)),
		at(7, "Drift", want(alert.Firing, "feature", "amount"), flagged(alert.Firing, "no_data", "model_version", "41"), want(alert.Firing, "model_version", "42"), want(alert.Pending, "model_version", "43")),
		at(8, "Drift", want(alert.Firing, "feature", "amount"), want(alert.Firing, "model_version", "41"), want(alert.Firing, "model_version", "42"), want(alert.Firing, "model_version", "43")),
	}
	passes(t, world(t, drifts, silent), test)
}

// A share of a fault belongs to events; a test of nothing has one window.
func TestFaultValidate(t *testing.T) {
	good := []ruletest.Fault{
		{Kind: ruletest.Incomplete, Share: 1},
		{Kind: ruletest.NoEvents, Share: .5},
		{Kind: ruletest.Late, Share: .5, From: 1, To: 2},
		{Kind: ruletest.MissingFeature, Share: 1, Feature: "a"},
		{Kind: ruletest.NewVersion, Share: 1, Version: "2"},
	}
	for _, f := range good {
		if err := f.Validate(); err != nil {
			t.Errorf("%+v: %v", f, err)
		}
	}
	bad := []ruletest.Fault{
		{Kind: ruletest.Incomplete},
		{Kind: ruletest.Incomplete, Share: .5},
		{Kind: ruletest.Incomplete, Share: 1, From: 2, To: 1},
		{Kind: ruletest.Incomplete, Share: 1, Feature: "a"},
		{Kind: ruletest.MissingFeature, Share: 1},
		{Kind: ruletest.NewVersion, Share: 1},
		{Kind: ruletest.NoEvents, Share: 2},
		{Kind: ruletest.NoEvents, Share: 1, Version: "2"},
	}
	for _, f := range bad {
		if f.Validate() == nil {
			t.Errorf("%+v is allowed", f)
		}
	}
}
