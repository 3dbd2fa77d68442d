package daemon_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/sim"
)

// TestSilenceByTheModelsOwnGap: a model without a budget falls silent for half an hour.
// Its silence is told after the gap that is usual for it, once by driftd's own rule
// and once beside the rule that has nothing to judge, which stays as it is.
func TestSilenceByTheModelsOwnGap(t *testing.T) {
	s := calibrated()
	s.Length, s.Injections = 2*time.Hour, []sim.Injection{{Model: "fraud", Effect: sim.Silence, From: time.Hour, To: 90 * time.Minute}}
	w := newWorld(t, s)
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	o := w.options(st)
	o.ExpectedGap = func(string) time.Duration { return 20 * time.Minute }
	o.Rules = append(w.rules(
		alert.Spec{Name: "Busy", Window: 5 * time.Minute, Feature: "amount", Expr: "mean > 0", NoData: alert.NoDataAlert, Severity: "page"},
	), alert.HardLimits(5*time.Minute)...)
	if err := w.run(o); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range driftOf(t, st) {
		got = append(got, fmt.Sprintf("%s %s %v %q %v", a.Rule, a.Status, a.Window.End.Sub(s.Start), a.Feature, a.Labels))
	}
	want := []string{ // windows of five minutes; one more is quiet before ModelSilent ends
		`Busy firing 5m0s "amount" map[]`,
		`NoData firing 1h20m0s "" map[rule:Busy]`,
		`ModelSilent firing 1h20m0s "" map[]`,
		`NoData resolved 1h35m0s "" map[rule:Busy]`,
		`ModelSilent resolved 1h40m0s "" map[]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestExpectedGapsAreWatched: one word of how long a model may be silent sets the hard
// limits up, without a budget.
func TestExpectedGapsAreWatched(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"{}": 0, "defaults: {expected_gap: 1h}": time.Hour, "models: [{name: fraud, expected_gap: 26h}]": 26 * time.Hour,
	} {
		c, err := config.Parse("driftd.yaml", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := daemon.Decisions(c)
		if err != nil {
			t.Fatal(err)
		}
		watched := slices.ContainsFunc(s.Rules, func(r *alert.Rule) bool { return r.Name() == alert.RuleSilent })
		if got := s.ExpectedGap("fraud"); got != want || watched != (want > 0) {
			t.Errorf("%s: a gap of %v, want %v; watched: %v", text, got, want, watched)
		}
	}
}

// TestARuleThatCannotDecideIsWithdrawn: what driftd says of a rule ends with the rule.
func TestARuleThatCannotDecideIsWithdrawn(t *testing.T) {
	s := calibrated()
	s.Length, s.Injections = time.Hour, nil
	w := newWorld(t, s)
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	o := w.options(st)
	o.Rules = w.rules(alert.Spec{
		Name: "Typo", Window: 5 * time.Minute, Model: "fraud", Feature: "amuont", Expr: "psi_debiased > 0.1", Severity: "page",
		UndecidedFor: alert.Hold{Windows: 3}, Labels: map[string]string{"team": "risk"},
	})
	if err := w.run(o); err != nil {
		t.Fatal(err)
	}
	o.Rules = nil
	if err := w.run(o); err != nil {
		t.Fatal(err)
	}
	got := alerts(t, st, alert.RuleUndecided)
	if len(got) != 2 || got[0].Status != "firing" || got[1].Status != "resolved" || got[1].DedupKey != got[0].DedupKey {
		t.Fatalf("alerts %+v", got)
	}
	for i, reason := range []string{
		"the rule Typo selects nothing of the model's events: look at its feature and segment", "the rule was removed from the configuration",
	} {
		if a := got[i]; a.Reason != reason || a.Severity != "ticket" || !cmp.Equal(a.Labels, map[string]string{"team": "risk", "rule": "Typo"}) {
			t.Errorf("%s %s for %q with labels %v, want %q", a.Severity, a.Status, a.Reason, a.Labels, reason)
		}
	}
}
