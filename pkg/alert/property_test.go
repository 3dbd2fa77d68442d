package alert_test

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// randomSpec is a rule with anything that a state may have to remember.
func randomSpec(rng *rand.Rand) alert.Spec {
	holds := []alert.Hold{{}, {Windows: 1}, {Windows: 2}, {Windows: 4}, {Duration: 150 * time.Minute}}
	some := func(more ...alert.Hold) alert.Hold {
		all := append(more, holds...)
		return all[rng.IntN(len(all))]
	}
	spec := alert.Spec{
		Expr: "psi > 0.2", For: some(alert.Hold{Windows: 2, Of: 4}, alert.Hold{Windows: 3, Of: 64}), KeepFiringFor: some(), UndecidedFor: some(),
		NoData: []string{alert.NoDataKeep, alert.NoDataResolve, alert.NoDataAlert, alert.NoDataOK}[rng.IntN(4)],
		Limit:  rng.IntN(4), MinN: new(uint64(rng.IntN(2) * 100)), Clear: []string{"", "psi < 0.05"}[rng.IntN(2)],
	}
	if spec.NoData == alert.NoDataResolve || spec.NoData == alert.NoDataAlert {
		spec.NoDataFor = some()
	}
	return spec
}

// randomPass is a window in which anything may be the matter.
func randomPass(rng *rand.Rand, i int) alert.Pass {
	p := alert.Pass{Model: "fraud", Window: window(i), Gap: 3 * time.Hour, Missed: rng.IntN(20) == 0}
	p.Window.State = []drift.WindowState{drift.Closed, drift.Closed, drift.Closed, drift.Incomplete}[rng.IntN(4)]
	p.Window.Learning = i < 5 && rng.IntN(2) == 0
	if rng.IntN(6) == 0 {
		return p
	}
	for _, feature := range []string{"a", "b", "c", "d", "e"} {
		if rng.IntN(8) == 0 {
			continue
		}
		in := input(i, 'q')
		in.Key.Signal, in.Window, in.Approved = feature, p.Window, rng.IntN(3) > 0
		in.N = []uint64{0, 50, 5000, 5000, 5000}[rng.IntN(5)]
		in.Vars.Set("psi", []float64{0.01, 0.1, 0.3, 0.5, math.NaN()}[rng.IntN(5)])
		in.Vars.Set("events", float64(in.N))
		p.Inputs = append(p.Inputs, in)
	}
	return p
}

// reloadAll is what a restart does to the states of a rule on one model.
func reloadAll(t *testing.T, states map[alert.Series]alert.State) map[alert.Series]alert.State {
	t.Helper()
	out := map[alert.Series]alert.State{}
	for series, s := range states {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back alert.State
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		out[series] = back
	}
	return out
}

// Every timer is in the State: a daemon that is started anew after each window says
// what one that never stops says.
func TestARestartAfterEachWindowChangesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6)) // any seed; fixed so that a failure repeats
	seen := map[string]int{}
	for range 100 {
		spec := randomSpec(rng)
		r := mustCompile(t, spec)
		direct, restarted := map[alert.Series]alert.State{}, map[alert.Series]alert.State{}
		for i := range 120 {
			p := randomPass(rng, i)
			next, want := r.StepAll(direct, p)
			alert.Apply(direct, next)
			restarted = reloadAll(t, restarted)
			next, got := r.StepAll(restarted, p)
			alert.Apply(restarted, next)
			if len(want)+len(got) == 0 && maps.Equal(direct, restarted) {
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" || !maps.Equal(direct, restarted) {
				t.Fatalf("%+v, window %d: %s\nstates %v\nstates %v", spec, i, diff, direct, restarted)
			}
			for _, c := range want {
				switch {
				case c.Fired():
					seen["start of "+c.Series.Alertname()]++
					if c.Flaps > 0 {
						seen["flap"]++
					}
				case c.Resolved():
					seen["end of "+c.Series.Alertname()]++
				}
			}
		}
	}
	// A walk that meets none of these proves nothing of them.
	for _, what := range []string{
		"start of AmountDrift", "end of AmountDrift", "start of NoData", "end of NoData",
		"start of DriftdRuleCannotDecide", "end of DriftdRuleCannotDecide", "flap",
	} {
		if seen[what] < 20 {
			t.Errorf("%d times: %s", seen[what], what)
		}
	}
}

// At each series alerts begin once and end once, whatever happens, and what neither
// fires nor is remembered takes no room.
func TestStartsAndEndsAlternate(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8)) // any seed; fixed so that a failure repeats
	for range 100 {
		r := mustCompile(t, randomSpec(rng))
		states, firing := map[alert.Series]alert.State{}, map[alert.Series]bool{}
		for i := range 120 {
			next, changes := r.StepAll(states, randomPass(rng, i))
			alert.Apply(states, next)
			for _, c := range changes {
				if c.Fired() == firing[c.Series] && (c.Fired() || c.Resolved()) || c.Resolved() && !firing[c.Series] {
					t.Fatalf("%s: %v to %v, firing before: %v", c.Series, c.From, c.To, firing[c.Series])
				}
				if c.Fired() || c.Resolved() {
					firing[c.Series] = c.Fired()
				}
			}
			for series, s := range states {
				if firing[series] != s.Active() || s.Active() && s.FiredAt.IsZero() {
					t.Fatalf("%s is %v, told firing: %v", series, s.Phase, firing[series])
				}
			}
		}
	}
}
