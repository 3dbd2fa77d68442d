package trial

import (
	"math"
	"slices"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// A Rule is how another tool, or a person in a hurry, would raise an alarm.
type Rule struct {
	Name string
	// hot says whether a window is an alarm, and knows what came before.
	hot func(*ruleWindow) bool
}

// A ruleWindow is one window of a world as rules see it.
type ruleWindow struct {
	shifts    []stats.Shift
	reference []stats.Shift // of the same feature, over the reference windows: reference[window*features+feature]
	streak    []int         // windows in a row in which a feature had PSI > .2
}

// Rules returns the rules of statistics.md 5.3: single-window tests and
// distances as the tools of the field have them.
func Rules() []Rule {
	anyFeature := func(hot func(stats.Shift) bool) func(*ruleWindow) bool {
		return func(w *ruleWindow) bool { return slices.ContainsFunc(w.shifts, hot) }
	}
	ksBelow := func(alpha float64) func(stats.Shift) bool { return func(s stats.Shift) bool { return s.KSP < alpha } }
	return []Rule{
		{"KS p < .05, any feature", anyFeature(ksBelow(.05))},
		{"KS p < .05 / features (Bonferroni)", func(w *ruleWindow) bool { return anyFeature(ksBelow(.05 / float64(len(w.shifts))))(w) }},
		{"KS p < 1 / (features x 720)", func(w *ruleWindow) bool { return anyFeature(ksBelow(1 / float64(720*len(w.shifts))))(w) }},
		{"PSI > .1", anyFeature(func(s stats.Shift) bool { return s.PSI > .1 })},
		{"PSI > .2", anyFeature(func(s stats.Shift) bool { return s.PSI > .2 })},
		{"PSI > .2 in 3 windows", (*ruleWindow).persistent},
		{"PSI > mean + 3 sd of the reference", (*ruleWindow).threeSigma},
		{"Wasserstein / sd > .1, any feature", anyFeature(func(s stats.Shift) bool { return s.W1ClippedSD > .1 })},
		{"Wasserstein / sd > .1, half of the features", func(w *ruleWindow) bool {
			hot := 0
			for _, s := range w.shifts {
				if s.W1ClippedSD > .1 {
					hot++
				}
			}
			return 2*hot >= len(w.shifts)
		}},
	}
}

func (w *ruleWindow) persistent() bool {
	for _, n := range w.streak {
		if n >= 3 {
			return true
		}
	}
	return false
}

func (w *ruleWindow) threeSigma() bool {
	features := len(w.shifts)
	for f, s := range w.shifts {
		n, sum, squares := 0.0, 0.0, 0.0
		for i := f; i < len(w.reference); i += features {
			psi := w.reference[i].PSI
			n, sum, squares = n+1, sum+psi, squares+psi*psi
		}
		mean := sum / n
		if s.PSI > mean+3*math.Sqrt(max(0, squares/n-mean*mean)) {
			return true
		}
	}
	return false
}

// RunRules returns, for each of Rules, the false windows in a thousand of a
// world: after so many reference windows, over so many others.
func RunRules(w World, o Options, reference, windows int) []float64 {
	r := newRun(w, o)
	seen := ruleWindow{streak: make([]int, o.Features)}
	for range reference {
		seen.reference = append(seen.reference, r.shifts()...)
	}
	rules := Rules()
	out := make([]float64, len(rules))
	for range windows {
		seen.shifts = r.shifts()
		for f, s := range seen.shifts {
			seen.streak[f]++
			if !(s.PSI > .2) {
				seen.streak[f] = 0
			}
		}
		for i, rule := range rules {
			if rule.hot(&seen) {
				out[i] += 1000 / float64(windows)
			}
		}
	}
	return out
}

// shifts draws a window and compares it with the baseline.
func (r *run) shifts() []stats.Shift {
	report := drift.Compare(r.part, "", true, r.traffic.Window(r.traffic.Next(nil)))
	out := make([]stats.Shift, len(report.Signals))
	for i := range report.Signals {
		out[i] = report.Signals[i].Shift
	}
	return out
}
