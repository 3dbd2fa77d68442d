package ruletest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ruletest"
	"driftd.dev/driftd/pkg/sim"
)

// counts is a rule that fires on windows of so many events.
func counts(name string, events int) alert.Spec {
	return alert.Spec{Name: name, Expr: fmt.Sprintf("events == %d", events)}
}

// Each window has as many events as it should, also where they do not divide it, and
// what happens later changes nothing before.
func TestTrafficIsExact(t *testing.T) {
	for _, events := range []int{1, 700, 1000, 3601} {
		test := ruletest.Test{Name: "exact", Window: time.Hour, Traffic: []ruletest.Traffic{traffic(events)}}
		for k := 1; k <= 30; k++ {
			test.Alerts = append(test.Alerts, at(k, "All", want(alert.Firing, "model", "fraud")))
		}
		passes(t, world(t, counts("All", events)), test)
	}
}

func TestFaultsOfTraffic(t *testing.T) {
	w := world(t, counts("All", 600), counts("Half", 300), counts("None", 0),
		alert.Spec{Name: "New", Version: "42", Expr: "events == 600"},
		alert.Spec{Name: "Gone", Feature: "amount", Expr: "missing_ratio == 1", MinN: new(uint64)},
		alert.Spec{Name: "Drift", Feature: "amount", Expr: "psi_debiased > 0.1", Severity: "page"},
	)
	from := func(kind ruletest.FaultKind, hour int) ruletest.Fault {
		return ruletest.Fault{Kind: kind, From: time.Duration(hour) * time.Hour, To: time.Duration(hour+1) * time.Hour}
	}
	half, late, missing, version := from(ruletest.NoEvents, 1), from(ruletest.Late, 2), from(ruletest.MissingFeature, 5), from(ruletest.NewVersion, 6)
	half.Share, late.Share, missing.Feature, version.Version = .5, .5, "amount", "42"
	test := ruletest.Test{
		Name: "faults", Window: time.Hour,
		Traffic: []ruletest.Traffic{traffic(600, sim.Injection{Feature: "amount", Effect: sim.Shift, Amount: 1, From: 7 * time.Hour, To: 9 * time.Hour})},
		Faults:  []ruletest.Fault{half, late, from(ruletest.Late, 3), from(ruletest.NoEvents, 4), missing, version, from(ruletest.Incomplete, 7), from(ruletest.Unapproved, 8)},
		Alerts: []ruletest.Alerts{
			at(1, "All", want(alert.Firing)), at(2, "All", want(alert.Resolved)),
			at(2, "Half", want(alert.Firing)), at(3, "Half", want(alert.Firing)), at(4, "Half", want(alert.Resolved)),
			at(4, "None", want(alert.Firing)), at(5, "None", want(alert.Firing)), at(6, "None", want(alert.Resolved)),
			at(5, "Gone"), at(6, "Gone", want(alert.Firing)), at(7, "Gone", want(alert.Firing, "model_version", "41"), want(alert.Inactive, "model_version", "42")),
			at(6, "New"), at(7, "New", want(alert.Firing, "model_version", "42")),
			at(8, "Drift", flagged(alert.Inactive, "incomplete", "model_version", "41")),
			at(9, "Drift", want(alert.Firing, "severity", "ticket")),
		},
	}
	passes(t, w, test)
}

// Without a reference nothing is compared, and with one that nobody approved a page
// is a ticket.
func TestBaselines(t *testing.T) {
	w := world(t, alert.Spec{Name: "Drift", Feature: "amount", Expr: "psi_debiased > 0.1", Severity: "page"}, alert.Spec{Name: "Mean", Feature: "amount", Expr: "mean > 55"})
	shifted := traffic(600, sim.Injection{Feature: "amount", Effect: sim.Shift, Amount: 1, From: 2 * time.Hour})
	for state, severity := range map[drift.BaselineState]string{"": "page", drift.Approved: "page", drift.Frozen: "ticket", drift.Learning: ""} {
		tr := shifted
		tr.Baseline = state
		test := ruletest.Test{Name: "baseline", Window: time.Hour, Traffic: []ruletest.Traffic{tr}, Alerts: []ruletest.Alerts{
			at(2, "Drift"), at(2, "Mean"), at(3, "Mean", want(alert.Firing)), at(40, "Drift"),
		}}
		if severity != "" {
			test.Alerts[3] = at(40, "Drift", want(alert.Firing, "severity", severity))
		}
		passes(t, w, test)
	}
}

// Rules of other lengths and of moving references are judged as they are live.
func TestOtherWindows(t *testing.T) {
	w := world(t,
		alert.Spec{Name: "Jump", Feature: "amount", Expr: "psi_debiased > 0.1", Reference: alert.ReferencePreviousWindow},
		alert.Spec{Name: "Short", Window: 5 * time.Minute, Expr: "events == 100", For: alert.Hold{Windows: 3}},
		alert.Spec{Name: "Day", Window: 24 * time.Hour, Expr: "events == 28800"},
	)
	tr := traffic(1200, sim.Injection{Feature: "amount", Effect: sim.Shift, Amount: 1, From: 10 * time.Hour})
	test := ruletest.Test{Name: "windows", Window: time.Hour, Traffic: []ruletest.Traffic{tr}, Alerts: []ruletest.Alerts{
		at(10, "Jump"), at(11, "Jump", want(alert.Firing)), at(12, "Jump", want(alert.Resolved)),
		{At: 10 * time.Minute, Name: "Short", Wants: []ruletest.Want{want(alert.Pending)}},
		{At: 15 * time.Minute, Name: "Short", Wants: []ruletest.Want{want(alert.Firing)}},
		at(23, "Day"), at(24, "Day", want(alert.Firing)),
	}}
	passes(t, w, test)
}

// Windows longer than a day begin where those of the engine do: at multiples since the
// Unix epoch, a Thursday.
func TestWeeks(t *testing.T) {
	week := 7 * 24 * time.Hour
	w := world(t, alert.Spec{Name: "Week", Window: week, Expr: "events == 500"})
	test := ruletest.Test{
		Name: "weeks", Start: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), Window: week, Traffic: []ruletest.Traffic{traffic(500)},
		Alerts: []ruletest.Alerts{{At: week, Name: "Week", Wants: []ruletest.Want{want(alert.Firing)}}, {At: 2 * week, Name: "Week", Wants: []ruletest.Want{want(alert.Firing)}}},
	}
	passes(t, w, test)
	if got := ruletest.Align(test.Start, week); got.Weekday() != time.Thursday || test.Start.Sub(got) >= week {
		t.Errorf("the week of %s begins at %s", test.Start, got)
	}
}

// Segments are those of the configuration, or each by itself.
func TestSegments(t *testing.T) {
	spec := alert.Spec{Name: "Cut", Segment: "*", Expr: "events > 0"}
	tr := traffic(600)
	tr.Model.Segments = []sim.Feature{{Name: "channel", Categories: []sim.Category{{Name: "app", Weight: 1}}}, {Name: "plan", Categories: []sim.Category{{Name: "pro", Weight: 1}}}}
	test := ruletest.Test{Name: "segments", Window: time.Hour, Traffic: []ruletest.Traffic{tr}}

	w := world(t, spec)
	test.Alerts = []ruletest.Alerts{at(1, "Cut", want(alert.Firing, "segment", "channel=app"), want(alert.Firing, "segment", "plan=pro"))}
	passes(t, w, test)

	w.Count.Models = []drift.ModelSpec{{Glob: "fr*", Segments: [][]string{{"channel", "plan"}}}}
	test.Alerts = []ruletest.Alerts{at(1, "Cut", want(alert.Firing, "segment", "channel=app,plan=pro"))}
	passes(t, w, test)
}

// The same test gives the same, and another seed other events.
func TestSeeds(t *testing.T) {
	w := world(t, alert.Spec{Name: "Mean", Feature: "amount", Expr: "mean > 1000"})
	failing := func(seed uint64) string {
		tr := traffic(600)
		tr.Seed = seed
		got := run(t, w, ruletest.Test{Name: "seed", Window: time.Hour, Traffic: []ruletest.Traffic{tr}, Alerts: []ruletest.Alerts{at(1, "Mean", want(alert.Firing))}})
		return strings.Join(got.Checks[0].Timeline, "\n")
	}
	if a, b, c := failing(1), failing(1), failing(2); a != b || a == c {
		t.Errorf("seed 1 twice, and 2:\n%s\n%s\n%s", a, b, c)
	}
}

func TestTrafficRefuses(t *testing.T) {
	bad := map[string]func(*ruletest.Traffic){
		"events: 0 a window":    func(tr *ruletest.Traffic) { tr.Events = 0 },
		"a baseline of -1 rows": func(tr *ruletest.Traffic) { tr.Rows = -1 },
		"no versions":           func(tr *ruletest.Traffic) { tr.Model.Versions = nil },
		`no feature "amuont"`: func(tr *ruletest.Traffic) {
			tr.Changes = []sim.Injection{{Model: "fraud", Feature: "amuont", Effect: sim.Shift}}
		},
		`"country" is not numeric`: func(tr *ruletest.Traffic) {
			tr.Changes = []sim.Injection{{Model: "fraud", Feature: "country", Effect: sim.Shift}}
		},
	}
	for want, change := range bad {
		tr := traffic(600)
		change(&tr)
		if err := tr.Validate(time.Hour); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if tr := traffic(600); tr.Validate(time.Hour) != nil {
		t.Errorf("good traffic: %v", tr.Validate(time.Hour))
	}
	long := ruletest.Test{Name: "long", Window: time.Hour, Traffic: []ruletest.Traffic{traffic(1_000_000)}, Alerts: []ruletest.Alerts{at(30, "R")}}
	odd := ruletest.Test{Name: "odd", Window: 90 * time.Second, Traffic: []ruletest.Traffic{traffic(10)}, Alerts: []ruletest.Alerts{at(1, "R")}}
	none := ruletest.Test{Name: "none", Window: time.Hour, Traffic: []ruletest.Traffic{traffic(10, sim.Injection{Feature: "x", Effect: sim.Shift})}, Alerts: []ruletest.Alerts{at(1, "R")}}
	for want, test := range map[string]ruletest.Test{`test "long": events of fraud: 30 windows of 1000000 are more than`: long, "not a multiple of the pane": odd, `no feature "x"`: none} {
		if _, err := world(t, counts("R", 1)).Run(test); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A canary that fails is taken back, once an hour at most, and a retrain is asked for
// once; neither of a model on trial, nor on a reference that nobody approved.
func TestActions(t *testing.T) {
	specs := []alert.Spec{
		{Name: "Fails", Variant: "canary", Expr: "error_ratio > 0.1", Actions: []string{alert.ActionRollback}},
		{Name: "Drift", Feature: "amount", Expr: "psi_debiased > 0.1", Actions: []string{alert.ActionRetrain}},
	}
	tr := traffic(2000,
		sim.Injection{Version: "42", Effect: sim.Errors, Amount: .3, From: 2 * time.Hour, To: 3 * time.Hour},
		sim.Injection{Feature: "amount", Effect: sim.Shift, Amount: 1, From: 4 * time.Hour, To: 5 * time.Hour},
		sim.Injection{Feature: "amount", Effect: sim.Shift, Amount: 1, From: 7 * time.Hour, To: 8 * time.Hour})
	tr.Model.Versions = append(tr.Model.Versions, sim.Version{Name: "42", Variant: event.Canary, Share: .2})
	decided := func(hour int, kind, want, reason string) ruletest.Action {
		return ruletest.Action{At: time.Duration(hour) * time.Hour, Model: "fraud", Kind: kind, Want: want, Reason: reason}
	}
	test := ruletest.Test{Name: "actions", Window: time.Hour, Traffic: []ruletest.Traffic{tr}, Actions: []ruletest.Action{
		decided(2, alert.ActionRollback, ruletest.Absent, ""),
		decided(3, alert.ActionRollback, ruletest.Issued, "Fails: error_ratio"),
		decided(3, alert.ActionRetrain, ruletest.Absent, ""),
		decided(5, alert.ActionRetrain, ruletest.Issued, "Drift amount: psi_debiased"),
		decided(8, alert.ActionRetrain, ruletest.Suppressed, "is still open"),
	}}
	passes(t, world(t, specs...), test)

	unapproved := test
	unapproved.Faults = []ruletest.Fault{{Kind: ruletest.Unapproved}}
	unapproved.Actions = []ruletest.Action{decided(5, alert.ActionRetrain, ruletest.Suppressed, "is not approved"), decided(3, alert.ActionRollback, ruletest.Issued, "")}
	passes(t, world(t, specs...), unapproved)

	trial := world(t, specs...)
	trial.OnTrial = func(model string) bool { return model == "fraud" }
	test.Actions = []ruletest.Action{decided(3, alert.ActionRollback, ruletest.Absent, ""), decided(5, alert.ActionRetrain, ruletest.Absent, "")}
	test.Alerts = []ruletest.Alerts{at(5, "Drift", want(alert.Firing, "model_version", "41"), want(alert.Firing, "model_version", "42"))}
	passes(t, trial, test)

	test.Actions = []ruletest.Action{decided(5, alert.ActionRetrain, ruletest.Issued, "of course")}
	test.Alerts = nil
	got := run(t, world(t, specs...), test)
	if diff := strings.Join(got.Checks[0].Diff, "\n"); !strings.HasPrefix(diff, "- issued: of course\n+ issued: Drift amount: psi_debiased ") || got.Failed() != 1 || got.Checks[0].What != "retrain of fraud at 5h" {
		t.Errorf("%+v", got)
	}
}
