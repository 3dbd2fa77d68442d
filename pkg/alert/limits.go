package alert

import (
	"fmt"
	"slices"
	"time"
)

// Names of the alerts that driftd raises by itself: for models with a budget, and
// of what rules cannot judge. No rule of an operator may have them.
const (
	RuleDrift  = "ModelDrift"   // found within the budget: package detect
	RuleSilent = "ModelSilent"  // no events where there usually are some
	RuleFails  = "ModelFails"   // most predictions are errors
	RuleLost   = "SignalLost"   // a signal lacks most of its values
	RuleBroken = "SignalBroken" // a signal has hardly anything in common with its baseline

	RuleNoData    = "NoData"                 // what a rule with NoDataAlert judges has no events any more
	RuleUndecided = "DriftdRuleCannotDecide" // a rule could not be evaluated for Spec.UndecidedFor
)

// OwnRules are the names that driftd keeps for itself.
var OwnRules = []string{RuleDrift, RuleSilent, RuleFails, RuleLost, RuleBroken, RuleNoData, RuleUndecided}

// HardLimits are the rules that need no calibration, for windows of the given
// size: what is wrong whatever is normal. But for RuleSilent they stand in until
// the drift of a model can be judged; RuleSilent is for models that Usual says
// should have had events.
//
// Their thresholds are far beyond a daily cycle of one standard deviation, whose
// peak is .38 from its mean by KS, and each asks for two windows in a row: a
// single one can be that far off in heavy-tailed traffic (statistics.md 5.2).
func HardLimits(window time.Duration) []*Rule {
	specs := []Spec{
		{Name: RuleSilent, Expr: "events == 0", For: Hold{Windows: 3}},
		{Name: RuleFails, Expr: "error_ratio > 0.5 and events >= 20", Clear: "error_ratio < 0.25", For: Hold{Windows: 2}},
		{
			Name: RuleLost, Variant: "primary", Feature: "*", MinN: new(uint64), For: Hold{Windows: 2}, Limit: 3,
			Expr: "missing_ratio > reference_missing_ratio + 0.5 and events >= 50", Clear: "missing_ratio < reference_missing_ratio + 0.25",
		},
		{
			Name: RuleBroken, Variant: "primary", Feature: "*", For: Hold{Windows: 2}, Limit: 3,
			Expr: "ks_lo > 0.5 or psi_debiased > 2", Clear: "ks_lo < 0.4 and psi_debiased < 1.5",
		},
	}
	rules := make([]*Rule, len(specs))
	for i, s := range specs {
		s.Window, s.Severity, s.KeepFiringFor = window, SeverityPage, DefaultKeepFiringFor
		r, err := Compile(s)
		if err != nil {
			panic(fmt.Sprintf("the hard limit %s: %v", s.Name, err)) // a defect of the table above
		}
		rules[i] = r
	}
	return rules
}

// HardLimit reports whether a rule is one of HardLimits.
func (r *Rule) HardLimit() bool { return slices.Contains(OwnRules, r.spec.Name) }

// Usual is how much traffic a model has, so that silence can be told from a
// quiet night. It is plain data and survives JSON unchanged.
type Usual struct {
	Mean  float64       `json:"mean"`            // events a window, an exponential mean over 16
	Empty [24]time.Time `json:"empty"`           // last window without events, by the hour of the day, of silences that have ended
	Since []time.Time   `json:"since,omitempty"` // windows without events of a silence that lasts
}

const (
	usualEvents = 20                 // a window that usually has so many is empty by chance in e^-20
	usualMemory = 8 * 24 * time.Hour // a silence of last week was usual
	usualWindow = 16
	silenceKept = 24 // windows of a silence, one an hour
)

// Add counts a closed window.
func (u Usual) Add(events uint64, end time.Time) Usual {
	u.Mean += (float64(events) - u.Mean) / usualWindow
	if events > 0 {
		for _, t := range u.Since {
			u.Empty[t.Hour()] = t
		}
		u.Since = nil
		return u
	}
	end = end.UTC()
	if n := len(u.Since); n > 0 && u.Since[n-1].Hour() == end.Hour() || n == silenceKept {
		return u
	}
	u.Since = append(slices.Clip(u.Since), end)
	return u
}

// Expects reports whether a window that ends now should have had events: there
// usually are enough, and at this hour none was without any last week.
func (u Usual) Expects(end time.Time) bool {
	last := u.Empty[end.UTC().Hour()]
	return u.Mean >= usualEvents && (last.IsZero() || end.Sub(last) > usualMemory)
}
