package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/config"
)

// What is written of a rule's time is what it runs by.
func TestTimesOfARule(t *testing.T) {
	type times struct {
		For, Keep, NoDataFor, Undecided alert.Hold
		NoData                          string
	}
	defaults := times{Keep: alert.Hold{Windows: 2}, Undecided: alert.Hold{Windows: 12}, NoData: alert.NoDataKeep}
	tests := map[string]struct {
		text string // of the rule, behind its expression
		want func(*times)
	}{
		"nothing said":            {"", func(*times) {}},
		"for windows":             {", for: 3", func(w *times) { w.For.Windows = 3 }},
		"for some of the last":    {", for: 3 of 5", func(w *times) { w.For = alert.Hold{Windows: 3, Of: 5} }},
		"for event time":          {", for: 2h", func(w *times) { w.For.Duration = 2 * time.Hour }},
		"at the first quiet one":  {", keep_firing_for: 0", func(w *times) { w.Keep = alert.Hold{} }},
		"kept for event time":     {", keep_firing_for: 1d", func(w *times) { w.Keep = alert.Hold{Duration: 24 * time.Hour} }},
		"may be unable to decide": {", undecided_for: 0", func(w *times) { w.Undecided = alert.Hold{} }},
		"alert without data": {", no_data: alert, no_data_for: 3h", func(w *times) {
			w.NoData, w.NoDataFor.Duration = alert.NoDataAlert, 3*time.Hour
		}},
		"quiet without data": {", no_data: ok", func(w *times) { w.NoData = alert.NoDataOK }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := load(t, `rules: [{alert: A, expr: "events > 0"`+test.text+"}]", nil)
			rules, err := c.AlertRules()
			if err != nil {
				t.Fatal(err)
			}
			spec, want := rules[0].Spec(), defaults
			test.want(&want)
			if diff := cmp.Diff(want, times{spec.For, spec.KeepFiringFor, spec.NoDataFor, spec.UndecidedFor, spec.NoData}); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c, load(t, string(c.Effective()), nil), equal); diff != "" {
				t.Errorf("printed and read again (-file +Effective):\n%s", diff)
			}
		})
	}
}

func TestHoldsThatAreNone(t *testing.T) {
	for _, text := range []string{"3 of", "of 5", "3 of 5 windows", "3  of 5", "-1 of 5", "3 of -5", "3of5", "+3 of 5", "all"} {
		if c, err := parse(`rules: [{alert: A, expr: "events > 0", for: "`+text+`"}]`, nil); err == nil {
			t.Errorf("for: %s is read as %+v", text, c.Rules[0].For)
		}
	}
}

func TestExpectedGap(t *testing.T) {
	c := load(t, "defaults: {expected_gap: 1h}\nmodels: [{name: nightly, expected_gap: 26h}, {name: fraud}]", nil)
	for model, want := range map[string]time.Duration{"nightly": 26 * time.Hour, "fraud": time.Hour, "other": time.Hour} {
		if got := c.Model(model).ExpectedGap; got.Std() != want {
			t.Errorf("%s: %s, want %s", model, got, want)
		}
	}
	if got := config.Default().Model("fraud").ExpectedGap; got != 0 {
		t.Errorf("%s without a word of it, want none", got)
	}
}
