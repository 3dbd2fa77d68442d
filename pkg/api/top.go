package api

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// Which features have series of their own on /metrics. All of them always have
// their part in the model's aggregates.
const (
	AllFeatures = "all"
	TopFeatures = "top"  // those that rules name, and of each model the topSize that moved most
	NoFeatures  = "none" // the outputs of models only
)

// Of each model so many features have series of their own, and one that has them
// keeps them until it ranks below topKeep: a set that changed with every scrape
// would leave Prometheus with series full of holes.
const (
	topSize = 20
	topKeep = 30
)

// A topSet remembers which features of each model have series. What it holds
// depends on the reports that it was shown alone.
type topSet struct {
	mode string

	mu     sync.Mutex // guards the field below
	chosen map[string]map[string]bool
}

// choose returns for each model the signals that have series; nil stands for all.
func (t *topSet) choose(s *Snapshot) map[string]map[string]bool {
	if t.mode == AllFeatures {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := make(map[string]map[string]bool, len(s.Models))
	out := make(map[string]map[string]bool, len(s.Models))
	rules := slices.DeleteFunc(slices.Clone(s.Rules), func(r *alert.Rule) bool { return r.Spec().Feature == "" })
	for i := range s.Models {
		m := &s.Models[i]
		signals := signalScores(m)
		shown := map[string]bool{}
		for name := range signals {
			if isOutput(name) || t.mode == TopFeatures && named(rules, m.Model, name) {
				shown[name] = true
				delete(signals, name)
			}
		}
		if t.mode == TopFeatures {
			next[m.Model] = rank(signals, t.chosen[m.Model])
			maps.Copy(shown, next[m.Model])
		}
		out[m.Model] = shown
	}
	t.chosen = next // models that are gone are forgotten
	return out
}

// signalScores says of every signal of a model how far it moved at most: in PSI or
// in the share of missing values, whichever is more, over its last windows.
func signalScores(m *Model) map[string]float64 {
	out := map[string]float64{}
	for _, r := range m.Reports {
		if r.Window.Group.Segment != "" {
			continue
		}
		for k := range r.Signals {
			s := &r.Signals[k]
			moved := 0.0
			for _, x := range [...]float64{s.PSIDebiased, math.Abs(s.Missing - s.ReferenceMissing)} {
				if finite(x) {
					moved = max(moved, x)
				}
			}
			out[s.Name] = max(out[s.Name], moved)
		}
	}
	return out
}

// isOutput reports whether a signal is one of the few that every model has.
func isOutput(name string) bool {
	switch name {
	case drift.SignalPrediction, drift.SignalConfidence, drift.SignalLatency, drift.SignalError, drift.SignalCost:
		return true
	}
	return false
}

// named reports whether a rule that watches the model names the signal, by itself
// and not by a glob.
func named(rules []*alert.Rule, model, signal string) bool {
	return slices.ContainsFunc(rules, func(r *alert.Rule) bool { return r.Spec().Feature == signal && r.Watches(model) })
}

// rank returns the topSize signals that moved most; those of before come first as
// long as they are among the topKeep.
func rank(scores map[string]float64, before map[string]bool) map[string]bool {
	order := slices.SortedFunc(maps.Keys(scores), func(a, b string) int {
		return cmp.Or(cmp.Compare(scores[b], scores[a]), strings.Compare(a, b))
	})
	out := map[string]bool{}
	for _, name := range order[:min(len(order), topKeep)] {
		if before[name] {
			out[name] = true
		}
	}
	for _, name := range order {
		if len(out) >= topSize {
			break
		}
		out[name] = true
	}
	return out
}
