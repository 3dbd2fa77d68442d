package alert_test

import (
	"encoding/json"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

func TestHardLimits(t *testing.T) {
	rules := map[string]*alert.Rule{}
	for _, r := range alert.HardLimits(5 * time.Minute) {
		rules[r.Name()] = r
		if !r.HardLimit() || r.Spec().Severity != alert.SeverityPage || r.Spec().Window != 5*time.Minute {
			t.Errorf("%+v", r.Spec())
		}
	}
	tests := []struct {
		rule    string
		vars    map[string]float64
		windows int // until it fires; 0: never
	}{
		{alert.RuleSilent, map[string]float64{"events": 0}, 3},
		{alert.RuleSilent, map[string]float64{"events": 1}, 0},
		{alert.RuleFails, map[string]float64{"events": 20, "error_ratio": .51}, 2},
		{alert.RuleFails, map[string]float64{"events": 19, "error_ratio": 1}, 0},
		{alert.RuleLost, map[string]float64{"events": 50, "missing_ratio": .9, "reference_missing_ratio": .3}, 2},
		{alert.RuleLost, map[string]float64{"events": 50, "missing_ratio": 1, "reference_missing_ratio": .6}, 0},
		{alert.RuleLost, map[string]float64{"events": 50, "missing_ratio": 1}, 0}, // no reference
		{alert.RuleBroken, map[string]float64{"ks_lo": .51, "psi_debiased": 1}, 2},
		{alert.RuleBroken, map[string]float64{"ks_lo": .42, "psi_debiased": .9}, 0}, // a daily cycle
		{alert.RuleBroken, map[string]float64{"psi_debiased": 2.1}, 2},              // of categories
	}
	for _, test := range tests {
		r, fired := rules[test.rule], 0
		var s alert.State
		for n := 1; n <= 5 && fired == 0; n++ {
			end := epoch.Add(time.Duration(n) * 5 * time.Minute)
			in := alert.Input{Window: alert.Window{Start: end.Add(-5 * time.Minute), End: end, State: drift.Closed}, N: 100, Vars: alert.NewVars(test.vars), Approved: true}
			s, _ = r.Step(s, in)
			if s.Phase == alert.Firing {
				fired = n
			}
		}
		if fired != test.windows {
			t.Errorf("%s with %v fires after %d windows, want %d", test.rule, test.vars, fired, test.windows)
		}
	}
}

// A model that stops is missed, a quiet night is missed once.
func TestUsualTraffic(t *testing.T) {
	const size = 5 * time.Minute
	at := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC) // a Monday
	var u alert.Usual
	day := func(hour int) uint64 { // open from 8 to 20, with a stop from 14 to 15 on the second day
		if hour < 8 || hour >= 20 || at.Day() == 3 && hour == 14 {
			return 0
		}
		return 300
	}
	missed := map[string]int{}
	for at.Day() < 5 {
		events := day(at.Hour())
		at = at.Add(size)
		expected := u.Expects(at)
		u = u.Add(events, at)
		if raw, err := json.Marshal(u); err != nil || json.Unmarshal(raw, &u) != nil {
			t.Fatal(err)
		}
		if events == 0 && expected {
			missed[at.Add(-size).Format("02 15")]++
		}
	}
	if missed["02 20"] == 0 || missed["03 14"] == 0 {
		t.Errorf("missed at %v, want the first evening and the stop", missed)
	}
	if missed["03 20"] != 0 || missed["04 20"] != 0 || missed["04 03"] != 0 {
		t.Errorf("missed at %v: the second night is usual", missed)
	}
	var rare alert.Usual
	for range 1000 {
		rare = rare.Add(3, at)
	}
	if rare.Expects(at) {
		t.Error("3 events a window are expected, though a window has none in e^-3")
	}
	u.Empty[at.Hour()] = at.Add(-9 * 24 * time.Hour)
	if u.Mean = 100; !u.Expects(at) {
		t.Error("a silence of nine days ago is usual")
	}
}
