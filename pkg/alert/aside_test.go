package alert_test

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

func besides(signal string) alert.Series {
	return alert.Series{Rule: "AmountDrift", Key: drift.Key{Group: drift.Group{Model: "fraud"}, Signal: signal}}
}

// letterPass makes the i-th window of one series from a letter of input; '-' has no
// series, '~' none and may have lost messages, 'M' misses what the rule asks for,
// 'l' is learning.
func letterPass(i int, letter rune) alert.Pass {
	p := alert.Pass{Model: "fraud", Window: window(i)}
	switch letter {
	case '-':
		return p
	case '~':
		p.Window.State = drift.Incomplete
		return p
	case 'M':
		p.Missed = true
		return p
	case 'l':
		p.Window.Learning, letter = true, '?'
	}
	in := input(i, letter)
	in.Vars.Set("events", 5000)
	p.Window.State, p.Inputs = in.Window.State, []alert.Input{in}
	return p
}

// play returns a picture of a series after each letter, and what changed.
func play(r *alert.Rule, series alert.Series, letters string, gap time.Duration) (pictures []string, changes []alert.Change) {
	states := map[alert.Series]alert.State{}
	for i, letter := range []rune(letters) {
		p := letterPass(i, letter)
		p.Gap = gap
		next, all := r.StepAll(states, p)
		alert.Apply(states, next)
		pictures = append(pictures, picture(states[series]))
		for _, c := range all {
			if c.Series == series {
				changes = append(changes, c)
			}
		}
	}
	return pictures, changes
}

func TestNoData(t *testing.T) {
	three := alert.Hold{Windows: 3}
	tests := map[string]struct {
		spec    alert.Spec
		gap     time.Duration
		windows string
		want    string
	}{
		"after two windows":            {alert.Spec{}, 0, "q--q", "I P F D"},
		"after no_data_for":            {alert.Spec{NoDataFor: three}, 5 * time.Hour, "q---q", "I P P F D"},
		"after the model's own gap":    {alert.Spec{}, 4 * time.Hour, "q----q", "I P P P F D"},
		"nothing was ever there":       {alert.Spec{}, 0, "-----q", "I I I I I I"},
		"in a row":                     {alert.Spec{}, 0, "q-q-q--", "I P I P I P F"},
		"lost messages are no silence": {alert.Spec{}, 0, "q~~~--", "I I I I P F"},
		"a lossy window ends nothing":  {alert.Spec{}, 0, "q--~q", "I P F F D"},
		"too few are data":             {alert.Spec{}, 0, "qnnn", "I I I I"},
		"undefined is data":            {alert.Spec{}, 0, "q???", "I I I I"},
		"it flaps":                     {alert.Spec{KeepFiringFor: alert.DefaultKeepFiringFor}, 0, "q--q--q-q", "I P F D P F R F R"},
		"seen is remembered":           {alert.Spec{}, 0, "q--" + strings.Repeat("q", 25) + "--", "I P F " + strings.Repeat("D ", 24) + "I P F"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Expr, test.spec.NoData = "psi > 0.2", alert.NoDataAlert
			got, _ := play(mustCompile(t, test.spec), besides(alert.NoDataSignal), test.windows, test.gap)
			if diff := cmp.Diff(strings.Fields(test.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The alert on silence is one of its own: the rule's stays as it is, and asks for
// nothing.
func TestNoDataIsAnAlertOfItsOwn(t *testing.T) {
	r := mustCompile(t, alert.Spec{
		Expr: "psi > 0.2", NoData: alert.NoDataAlert, Severity: "page", Actions: []string{"retrain"}, Labels: map[string]string{"team": "risk"},
	})
	if got, _ := play(r, seriesOf("amount"), "H---q", 0); !cmp.Equal(got, strings.Fields("F F0 F0 F0 D")) {
		t.Errorf("the rule's own series: %v", got)
	}
	_, changes := play(r, besides(alert.NoDataSignal), "H---q", 0)
	var fired, ended []alert.Change
	for _, c := range changes {
		if c.Fired() {
			fired = append(fired, c)
		}
		if c.Resolved() {
			ended = append(ended, c)
		}
	}
	if len(fired) != 1 || len(ended) != 1 {
		t.Fatalf("%d starts and %d ends: %+v", len(fired), len(ended), changes)
	}
	want := map[string]string{"alertname": "NoData", "rule": "AmountDrift", "model": "fraud", "severity": "page", "team": "risk"}
	for _, c := range []alert.Change{fired[0], ended[0]} {
		if diff := cmp.Diff(want, c.LabelSet()); diff != "" || c.Actions != nil || c.Unapproved || len(c.Stats) > 0 {
			t.Errorf("actions %v, stats %v, unapproved %v, labels %s", c.Actions, c.Stats, c.Unapproved, diff)
		}
	}
	if fired[0].Reason != "no events for the rule AmountDrift to judge" || ended[0].Reason != "there are events again" || fired[0].At != window(2).End {
		t.Errorf("at %v for %q, until %q", fired[0].At, fired[0].Reason, ended[0].Reason)
	}
	if got := r.Spec().Labels; !maps.Equal(got, map[string]string{"team": "risk"}) {
		t.Errorf("the rule's labels have become %v", got)
	}
}

func TestUndecided(t *testing.T) {
	three := alert.Hold{Windows: 3}
	day := strings.Repeat("q", 24)
	tests := map[string]struct {
		spec    alert.Spec
		windows string
		want    string
	}{
		"undefined for three":     {alert.Spec{UndecidedFor: three}, "q????q", "I P P F F D"},
		"never, if so configured": {alert.Spec{}, "q?????", "I I I I I I"},
		"decided starts over":     {alert.Spec{UndecidedFor: three}, "??q???", "P P I P P F"},
		"no events say nothing":   {alert.Spec{UndecidedFor: three}, "?-?--?", "P P P P P F"},
		"too few say nothing":     {alert.Spec{UndecidedFor: three}, "?nnn??", "P P P P P F"},
		"learning says nothing":   {alert.Spec{UndecidedFor: three}, "lllll???", "I I I I I P P F"},
		"nothing is selected":     {alert.Spec{UndecidedFor: three}, "MMMMq", "P P F F D"},
		"last week needs a week":  {alert.Spec{UndecidedFor: three, Reference: alert.ReferenceSameHourLastWeek}, "????", "P P P P"},
		"never on all models":     {alert.Spec{UndecidedFor: three, Model: "*"}, "?????", "I I I I I"},
		"no more on all models":   {alert.Spec{UndecidedFor: three, Model: "*"}, "q???q", "I P P F D"},
		"forgotten":               {alert.Spec{UndecidedFor: three}, "???" + day + "q?", "P P F " + strings.Repeat("D ", 24) + "I P"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Expr = "psi > 0.2"
			if test.spec.Model == "" {
				test.spec.Model = "fraud"
			}
			got, changes := play(mustCompile(t, test.spec), besides(alert.UndecidedSignal), test.windows, 0)
			if diff := cmp.Diff(strings.Fields(test.want), got); diff != "" {
				t.Error(diff)
			}
			for _, c := range changes {
				if c.LabelSet()["alertname"] != alert.RuleUndecided || c.LabelSet()["rule"] != "AmountDrift" {
					t.Errorf("labels %v", c.LabelSet())
				}
				if c.Fired() && (c.Severity != "ticket" || !strings.HasPrefix(c.Reason, "the rule AmountDrift ")) {
					t.Errorf("a %s for %q", c.Severity, c.Reason)
				}
			}
		})
	}
	week := mustCompile(t, alert.Spec{Model: "fraud", Expr: "psi > 0.2", UndecidedFor: three, Reference: alert.ReferenceSameHourLastWeek})
	if got, _ := play(week, besides(alert.UndecidedSignal), strings.Repeat("?", 171), 0); got[169] != "P" || got[170] != "F" {
		t.Errorf("of 171 hours, a week and three, the last are %v", got[168:]) // 7 x 24 + 3
	}
}

// One series that can be judged is enough: a rule on every feature need not fit each.
func TestOneDecidedSeriesIsEnough(t *testing.T) {
	r := mustCompile(t, alert.Spec{Model: "fraud", Expr: "psi > 0.2", UndecidedFor: alert.Hold{Windows: 1}})
	for psi, want := range map[float64]bool{0.1: false, math.NaN(): true} {
		_, changes := r.StepAll(nil, pass(0, psis{"a": math.NaN(), "b": psi}))
		if fired := strings.Contains(summary(changes), alert.UndecidedSignal); fired != want {
			t.Errorf("with psi %v of b: %s", psi, summary(changes))
		}
	}
}

// A rule that names a model and selects none of its segments or features passes for
// silence otherwise. One on all models is not meant for each.
func TestARuleThatSelectsNothing(t *testing.T) {
	tests := map[string]struct {
		spec alert.Spec
		want bool
	}{
		"an unknown segment":   {alert.Spec{Model: "fraud", Segment: "channel=tv"}, true},
		"an unknown feature":   {alert.Spec{Model: "fraud", Feature: "amuont"}, true},
		"of some models":       {alert.Spec{Model: "fr*", Feature: "amuont"}, true},
		"of all models":        {alert.Spec{Feature: "amuont"}, false},
		"no canary runs":       {alert.Spec{Model: "fraud", Variant: "canary", Feature: "amuont"}, false},
		"another version runs": {alert.Spec{Model: "fraud", Version: "41", Feature: "amuont"}, false},
		"of another model":     {alert.Spec{Model: "churn", Feature: "amuont"}, false},
		"what is there":        {alert.Spec{Model: "fraud", Version: "42"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Expr, test.spec.UndecidedFor = "events > 0", alert.Hold{Windows: 1}
			r := mustCompile(t, test.spec)
			j := alert.Judge{Rules: []*alert.Rule{r}, Baseline: &drift.Baseline{ID: "b-1"}}
			w := &drift.Window{
				Group: drift.Group{Model: "fraud", Version: "42", Variant: event.Primary}, Start: epoch, End: epoch.Add(time.Hour), State: drift.Closed, Events: 10,
			}
			c := &drift.Closing{Model: "fraud", Start: w.Start, End: w.End, Size: time.Hour, Windows: []*drift.Window{w}}
			base, err := j.See(c, alert.ReferenceBaseline)
			if err != nil {
				t.Fatal(err)
			}
			var got bool
			for f, err := range j.Findings(c, base, func(*alert.Rule) map[alert.Series]alert.State { return nil }) {
				if err != nil {
					t.Fatal(err)
				}
				for _, ch := range f.Changes {
					got = got || ch.Fired() && ch.Series.Signal == alert.UndecidedSignal
				}
			}
			if got != test.want {
				t.Errorf("told %v, want %v", got, test.want)
			}
		})
	}
}

// The silence of a model is told by its own measure, if it has one.
func TestGapOfSilence(t *testing.T) {
	silent := alert.HardLimits(time.Hour)[0]
	for gap, want := range map[time.Duration]int{0: 3, 30 * time.Minute: 1, 5 * time.Hour: 5} {
		states := map[alert.Series]alert.State{}
		for i := range 8 {
			in := input(i, 'q')
			in.Key, in.N, in.Vars = drift.Key{Group: drift.Group{Model: "fraud"}}, 0, alert.NewVars(map[string]float64{"events": 0})
			next, changes := silent.StepAll(states, alert.Pass{Model: "fraud", Window: window(i), Inputs: []alert.Input{in}, Gap: gap})
			alert.Apply(states, next)
			if fired := len(changes) > 0 && changes[0].Fired(); fired != (i+1 == want) {
				t.Errorf("gap %v: fired is %v after %d windows", gap, fired, i+1)
			}
		}
	}
}

// Series beside the conditions go with what they are for.
func TestSelectsAsides(t *testing.T) {
	plain := mustCompile(t, alert.Spec{Model: "fraud", Expr: "psi > 0.2"})
	full := mustCompile(t, alert.Spec{Model: "fraud", Expr: "psi > 0.2", Limit: 1, NoData: alert.NoDataAlert, UndecidedFor: alert.Hold{Windows: 1}})
	for _, signal := range []string{alert.OverflowSignal, alert.NoDataSignal, alert.UndecidedSignal} {
		if plain.Selects(besides(signal)) || !full.Selects(besides(signal)) {
			t.Errorf("%s: selected %v without its key, %v with it", signal, plain.Selects(besides(signal)), full.Selects(besides(signal)))
		}
		other := besides(signal)
		if other.Model = "churn"; full.Selects(other) {
			t.Errorf("%s of another model is selected", signal)
		}
	}
	if s := seriesOf("amount"); !plain.Selects(s) {
		t.Error("its own series is not selected")
	}
}
