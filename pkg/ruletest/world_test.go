package ruletest_test

import (
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ruletest"
	"driftd.dev/driftd/pkg/sim"
)

// world returns the rules, on windows of an hour where they do not say, and at once
// in and out of firing.
func world(t *testing.T, specs ...alert.Spec) *ruletest.World {
	t.Helper()
	w := &ruletest.World{Count: drift.DefaultSpec()}
	for _, s := range specs {
		if s.Window == 0 {
			s.Window = time.Hour
		}
		if s.For == (alert.Hold{}) {
			s.For = alert.Hold{Windows: 1}
		}
		if s.KeepFiringFor == (alert.Hold{}) {
			s.KeepFiringFor = alert.Hold{Windows: 1}
		}
		r, err := alert.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		w.Rules = append(w.Rules, r)
	}
	return w
}

// given returns a test of series, written as name, values, name, values.
func given(t *testing.T, pairs ...string) ruletest.Test {
	t.Helper()
	test := ruletest.Test{Name: t.Name(), Window: time.Hour}
	for i := 0; i < len(pairs); i += 2 {
		var s ruletest.Series
		var err error
		if s.Variable, s.Key, err = ruletest.ParseSeries(pairs[i]); err != nil {
			t.Fatal(err)
		}
		if s.Values, err = ruletest.ParseValues(pairs[i+1]); err != nil {
			t.Fatal(err)
		}
		test.Series = append(test.Series, s)
	}
	return test
}

// at wants a rule to stand so after a number of windows.
func at(windows int, rule string, wants ...ruletest.Want) ruletest.Alerts {
	return ruletest.Alerts{At: time.Duration(windows) * time.Hour, Name: rule, Wants: wants}
}

func want(phase alert.Phase, labels ...string) ruletest.Want {
	return ruletest.Want{Phase: phase, Labels: set(labels...)}
}

// flagged wants it so with a flag.
func flagged(phase alert.Phase, flag string, labels ...string) ruletest.Want {
	return ruletest.Want{Phase: phase, Flag: flag, Labels: set(labels...)}
}

func set(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// passes runs a test of which every check must hold.
func passes(t *testing.T, w *ruletest.World, test ruletest.Test) {
	t.Helper()
	got := run(t, w, test)
	for _, c := range got.Checks {
		if !c.OK() {
			t.Errorf("%s\n%s\n%s", c.What, strings.Join(c.Diff, "\n"), strings.Join(c.Timeline, "\n"))
		}
	}
	if len(got.Checks) != len(test.Alerts)+len(test.Messages)+len(test.Actions) {
		t.Errorf("%d checks of %+v", len(got.Checks), test)
	}
}

func run(t *testing.T, w *ruletest.World, test ruletest.Test) ruletest.Result {
	t.Helper()
	got, err := w.Run(test)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// traffic is a model of a numeric and a categorical feature.
func traffic(events int, changes ...sim.Injection) ruletest.Traffic {
	return ruletest.Traffic{
		Model: sim.Model{
			Name: "fraud", Versions: []sim.Version{{Name: "41", Share: 1}},
			Features: []sim.Feature{{Name: "amount", Dist: sim.Normal{Mean: 50, Sigma: 10}}, {Name: "country", Categories: []sim.Category{{Name: "DE", Weight: 6}, {Name: "FR", Weight: 4}}}},
		},
		Events: events, Seed: 1, Changes: changes,
	}
}
