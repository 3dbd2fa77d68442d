package ruletest_test

import (
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ruletest"
)

// silence returns a silence of fraud's between two windows.
func silence(kind incident.SilenceKind, from, to int, matchers ...string) ruletest.Silence {
	if len(matchers) == 0 {
		matchers = []string{"model=fraud"}
	}
	return ruletest.Silence{Kind: kind, Matchers: matchers, StartsAt: time.Duration(from) * time.Hour, EndsAt: time.Duration(to) * time.Hour, Comment: "new prices"}
}

// fails runs a test of which a check must not hold, as a mutant of one that passes.
func fails(t *testing.T, what string, w *ruletest.World, test ruletest.Test) {
	t.Helper()
	if run(t, w, test).Failed() == 0 {
		t.Errorf("%s is not noticed", what)
	}
}

// What a silence holds is told when it ends, if it still fires; of what was told the
// end is told at once. Machines hear of everything.
func TestSilences(t *testing.T) {
	w := people(t, alert.RouteSpec{
		Receiver: "chat", GroupBy: []string{"model"}, GroupWait: new(time.Duration(0)), RepeatInterval: new(72 * time.Hour),
		Routes: []alert.RouteSpec{{Receiver: "boss", Matchers: []string{"model=none"}}, {Receiver: "machine", Matchers: []string{"model!=none"}, Continue: true}, {Receiver: "chat", Matchers: []string{"model!=none"}}},
	}, alert.Spec{Name: "Drift", Expr: "psi > 0.1"})
	test := given(t, amount, "0.01 0.3x6 0.01x3", `psi{model="churn", feature="age"}`, "0.3x2 0.01x8", `psi{model="late", feature="age"}`, "0.01x3 0.3 0.01x8")
	test.Silences = []ruletest.Silence{
		silence(incident.KindSilence, 1, 4), silence(incident.KindSilence, 3, 5), // one after another
		silence(incident.KindSilence, 2, 9, "model=churn"), silence(incident.KindSilence, 0, 9, `model=~"late|later"`), silence(incident.KindSilence, 0, 1, "model=nobody"),
	}
	test.Silences[1].EndsAt += 20 * time.Minute
	fraud, churn := set("model", "fraud"), set("model", "churn")
	test.Messages = []ruletest.Messages{
		{Receiver: "chat", Wants: []ruletest.Message{
			{Status: "firing", At: time.Hour, Labels: churn},
			{Status: "resolved", At: 4 * time.Hour, Labels: churn},
			{Status: "firing", At: 5*time.Hour + 20*time.Minute, Labels: fraud, Firing: 1},
			{Status: "resolved", At: 9 * time.Hour, Labels: fraud, Ended: 1},
		}},
		{Receiver: "machine", Wants: []ruletest.Message{
			{Status: "firing", At: time.Hour, Labels: churn},
			{Status: "firing", At: 2 * time.Hour, Labels: fraud},
			{Status: "resolved", At: 4 * time.Hour, Labels: churn},
			{Status: "firing", At: 5 * time.Hour, Labels: set("model", "late")},
			{Status: "resolved", At: 6 * time.Hour, Labels: set("model", "late")},
			{Status: "resolved", At: 9 * time.Hour, Labels: fraud},
		}},
	}
	passes(t, w, test)
	mutants := map[string]func(all []ruletest.Silence){
		"a silence that does not match":       func(all []ruletest.Silence) { all[1].Matchers = []string{"model=other"} },
		"a silence that ends early":           func(all []ruletest.Silence) { all[1].EndsAt -= time.Minute },
		"a silence that begins late":          func(all []ruletest.Silence) { all[0].StartsAt = 2*time.Hour + 1 },
		"a gap between two silences":          func(all []ruletest.Silence) { all[1].StartsAt = 4*time.Hour + 1 },
		"a silence that ends as it must not":  func(all []ruletest.Silence) { all[3].EndsAt = 4 * time.Hour },
		"a silence of what was told to begin": func(all []ruletest.Silence) { all[2].StartsAt = 0 },
	}
	for name, change := range mutants {
		mutant := test
		mutant.Silences = slices.Clone(test.Silences)
		change(mutant.Silences)
		fails(t, name, w, mutant)
	}
}

// What begins in a maintenance is recorded, told to nobody and acted upon by nothing.
// What still fires on data behind it starts anew.
func TestMaintenance(t *testing.T) {
	w := people(t, toChat(), alert.Spec{Name: "Drift", Expr: "psi > 0.1", For: alert.Hold{Windows: 2}, Actions: []string{alert.ActionRetrain}})
	test := given(t, amount, "0.01 0.3x6 0.01x3")
	test.Silences = []ruletest.Silence{silence(incident.KindMaintenance, 1, 4)}
	muted := want(alert.Firing)
	muted.Muted = new(true)
	anew := want(alert.Firing)
	anew.Muted, anew.Reason = new(false), "psi 0.3 > 0.1"
	test.Alerts = []ruletest.Alerts{at(3, "Drift", muted), at(4, "Drift", muted), at(5, "Drift"), at(6, "Drift", anew)}
	test.Messages = []ruletest.Messages{{Receiver: "chat", Wants: []ruletest.Message{{Status: "firing", At: 6 * time.Hour}, {Status: "resolved", At: 9 * time.Hour}}}}
	test.Actions = []ruletest.Action{
		{At: 3 * time.Hour, Model: "fraud", Kind: alert.ActionRetrain, Want: ruletest.Absent}, {At: 6 * time.Hour, Model: "fraud", Kind: alert.ActionRetrain, Want: ruletest.Issued},
	}
	passes(t, w, test)
	for name, change := range map[string]func(*ruletest.Silence){
		"a maintenance that does not match": func(s *ruletest.Silence) { s.Matchers = []string{"feature=age"} },
		"a maintenance that ends early":     func(s *ruletest.Silence) { s.EndsAt -= time.Hour },
		"a maintenance that ends late":      func(s *ruletest.Silence) { s.EndsAt++ },
		"a maintenance that begins late":    func(s *ruletest.Silence) { s.StartsAt = 3 * time.Hour },
		"an expected change":                func(s *ruletest.Silence) { s.Kind = incident.KindExpected },
		"a silence":                         func(s *ruletest.Silence) { s.Kind = incident.KindSilence },
	} {
		mutant := test
		mutant.Silences = slices.Clone(test.Silences)
		change(&mutant.Silences[0])
		fails(t, name, w, mutant)
	}
	test.Alerts[0].Wants, test.Alerts[3].Wants = []ruletest.Want{anew}, []ruletest.Want{muted}
	got := run(t, w, test)
	for i, wanted := range map[int][]string{
		0: {`- firing {} not muted: "psi 0.3 > 0.1"`, `+ firing {feature="amount", model="fraud", severity="ticket"} muted: psi 0.3 > 0.1`},
		3: {`- firing {} muted`, `+ firing {feature="amount", model="fraud", severity="ticket"} not muted: psi 0.3 > 0.1`},
	} {
		if diff := got.Checks[i].Diff; !slices.Equal(diff, wanted) {
			t.Errorf("got %q, want %q", diff, wanted)
		}
	}
}

// What is gone when a maintenance ends fires no longer.
func TestNothingIsLeftOfAMaintenance(t *testing.T) {
	w := people(t, toChat(), alert.Spec{Name: "Drift", Expr: "psi > 0.1", KeepFiringFor: alert.Hold{Windows: 5}})
	test := given(t, amount, "0.3x2 stale stale", `psi{model="fraud", feature="age"}`, "0.01x5")
	test.Silences = []ruletest.Silence{silence(incident.KindMaintenance, 0, 3)}
	gone := want(alert.Inactive, "feature", "amount")
	gone.Muted = new(false)
	test.Alerts = []ruletest.Alerts{at(3, "Drift", want(alert.Firing)), at(4, "Drift", gone)}
	test.Messages = []ruletest.Messages{{Receiver: "chat"}}
	passes(t, w, test)
}

// What begins in an expected change is a ticket with its comment. Actions follow.
func TestExpected(t *testing.T) {
	w := people(t, toChat(), alert.Spec{
		Name: "Drift", Expr: "psi > 0.1", Severity: "page", Annotations: map[string]string{"summary": "it moved"}, Actions: []string{alert.ActionRetrain}, KeepFiringFor: alert.Hold{Windows: 2},
	})
	test := given(t, amount, "0.01 0.3x2 0.01x3 0.3x2 0.01")
	test.Silences = []ruletest.Silence{silence(incident.KindExpected, 1, 2)}
	lowered := want(alert.Firing, "severity", "ticket")
	lowered.Reason, lowered.Annotations = "sent as ticket, not page: new prices", set("expected", "new prices", "summary", "it moved")
	later := lowered // annotations stay while it fires
	later.Reason, later.Phase = "psi 0.01", alert.Recovering
	page := want(alert.Firing, "severity", "page")
	page.Annotations = set("summary", "it moved")
	test.Alerts = []ruletest.Alerts{at(2, "Drift", lowered), at(5, "Drift", later), at(9, "Drift", page)}
	test.Messages = []ruletest.Messages{{Receiver: "chat", At: 9 * time.Hour, Wants: []ruletest.Message{
		{Status: "firing", At: 2 * time.Hour, Severity: "ticket"}, {Status: "resolved", Severity: "ticket"}, {Status: "firing", At: 9 * time.Hour, Severity: "page"},
	}}}
	test.Actions = []ruletest.Action{{At: 2 * time.Hour, Model: "fraud", Kind: alert.ActionRetrain, Want: ruletest.Issued}}
	passes(t, w, test)
	test.Silences[0].EndsAt = test.Silences[0].StartsAt
	fails(t, "an expected change that never is", w, test)
}

// Routes tell in their times only, by the clock of a location. Tests begin on a
// Thursday, 2026-01-01.
func TestTimesOfRoutes(t *testing.T) {
	office, err := incident.CompileTimeInterval(incident.TimeIntervalSpec{
		Times: []incident.TimeRange{{Start: "09:30", End: "17:00"}}, Weekdays: []string{"monday:friday"}, Location: time.FixedZone("CET", 3600),
	})
	if err != nil {
		t.Fatal(err)
	}
	friday, err := incident.CompileTimeInterval(incident.TimeIntervalSpec{DaysOfMonth: []string{"2"}})
	if err != nil {
		t.Fatal(err)
	}
	w := people(t, toChat([]string{"office"}, []string{"holiday"}), alert.Spec{Name: "Drift", Expr: "psi > 0.1"})
	w.TimeIntervals = incident.TimeIntervals{"office": {office}, "holiday": {friday}}
	test := given(t, amount, "0.3x6 0.01x4 0.3x4 0.01x3 0.3x120")
	test.Messages = []ruletest.Messages{{Receiver: "chat", Wants: []ruletest.Message{
		// What began and ended before 08:30 UTC is not told.
		{Status: "firing", At: 13 * time.Hour},
		{Status: "resolved", At: 19 * time.Hour},                              // an end is told at any time
		{Status: "firing", At: 4*24*time.Hour + 8*time.Hour + 30*time.Minute}, // what began on Thursday at 22:00, on Monday
	}}}
	passes(t, w, test)
	w.TimeIntervals["holiday"] = nil
	fails(t, "a holiday that is none", w, test)
	w.TimeIntervals = incident.TimeIntervals{"office": {office}, "holiday": {office}}
	fails(t, "a holiday every day", w, test)
}

// toChat routes everything to chat, in some times and not in others.
func toChat(times ...[]string) alert.RouteSpec {
	chat := alert.RouteSpec{Receiver: "chat", Matchers: []string{"model!=none"}}
	if len(times) > 0 {
		chat.ActiveTimeIntervals, chat.MuteTimeIntervals = times[0], times[1]
	}
	return alert.RouteSpec{
		Receiver: "boss", GroupBy: []string{"model"}, GroupWait: new(time.Duration(0)), RepeatInterval: new(200 * time.Hour),
		Routes: []alert.RouteSpec{{Receiver: "machine", Matchers: []string{"model=none"}}, chat},
	}
}

// The silence of a model is an alert once it is longer than is usual.
func TestModelSilent(t *testing.T) {
	w := people(t, toChat(), alert.Spec{Name: "Drift", Expr: "psi > 0.1"})
	w.Rules = append(w.Rules, alert.HardLimits(time.Hour)[0])
	w.ExpectedGap = func(model string) time.Duration { return map[string]time.Duration{"fraud": 3 * time.Hour}[model] }
	test := given(t, amount, "0.01x2 stale stale stale stale 0.01x3", `psi{model="churn", feature="age"}`, "0.01")
	test.Alerts = []ruletest.Alerts{at(5, alert.RuleSilent), at(6, alert.RuleSilent, want(alert.Firing, "model", "fraud", "severity", "page")), at(9, alert.RuleSilent)}
	passes(t, w, test)

	counted := ruletest.Test{Name: "counted", Window: time.Hour, Traffic: []ruletest.Traffic{traffic(200)}, Faults: []ruletest.Fault{{Kind: ruletest.NoEvents, From: 2 * time.Hour, To: 7 * time.Hour}}}
	counted.Alerts = []ruletest.Alerts{at(4, alert.RuleSilent), at(5, alert.RuleSilent, want(alert.Firing, "model", "fraud")), at(10, alert.RuleSilent)}
	passes(t, w, counted)
	w.ExpectedGap = nil
	fails(t, "a model of which nobody knows how long it may be silent", w, counted)
}
