package alert

import (
	"maps"
	"math"
	"slices"
)

// variable is an index in the catalogue of variables that every rule knows.
type variable uint8

const (
	varN variable = iota
	varM
	varPSI
	varPSIRaw
	varPSIDebiased
	varPSIP
	varNoiseFloor
	varKSLo
	varKSHi
	varKSP
	varChi2P
	varJS
	varHellinger
	varW1ClippedSD
	varMissingRatio
	varReferenceMissing
	varUnseenRatio
	varMean
	varDriftingFeatures
	varErrorRatio
	varEvents
	varLatencyP50
	varLatencyP95
	varLatencyP99
	variables
)

// catalogue names the variables (contract section 2). A variable of a feature
// makes its rule a feature-level one; one that needs a reference is undefined
// while the model learns.
var catalogue = [variables]struct {
	name      string
	feature   bool
	reference bool
}{
	varN:                {name: "n", feature: true},
	varM:                {name: "m", feature: true, reference: true},
	varPSI:              {name: "psi", feature: true, reference: true},
	varPSIRaw:           {name: "psi_raw", feature: true, reference: true},
	varPSIDebiased:      {name: "psi_debiased", feature: true, reference: true},
	varPSIP:             {name: "psi_p", feature: true, reference: true},
	varNoiseFloor:       {name: "noise_floor", feature: true, reference: true},
	varKSLo:             {name: "ks_lo", feature: true, reference: true},
	varKSHi:             {name: "ks_hi", feature: true, reference: true},
	varKSP:              {name: "ks_p", feature: true, reference: true},
	varChi2P:            {name: "chi2_p", feature: true, reference: true},
	varJS:               {name: "js", feature: true, reference: true},
	varHellinger:        {name: "hellinger", feature: true, reference: true},
	varW1ClippedSD:      {name: "w1_clipped_sd", feature: true, reference: true},
	varMissingRatio:     {name: "missing_ratio", feature: true},
	varReferenceMissing: {name: "reference_missing_ratio", feature: true, reference: true},
	varUnseenRatio:      {name: "unseen_ratio", feature: true, reference: true},
	varMean:             {name: "mean", feature: true},
	varDriftingFeatures: {name: "drifting_features", reference: true},
	varErrorRatio:       {name: "error_ratio"},
	varEvents:           {name: "events"},
	varLatencyP50:       {name: "latency_p50"},
	varLatencyP95:       {name: "latency_p95"},
	varLatencyP99:       {name: "latency_p99"},
}

// lookup returns the catalogue's index of a name.
func lookup(name string) (variable, bool) {
	for i := range catalogue {
		if catalogue[i].name == name {
			return variable(i), true
		}
	}
	return 0, false
}

// Variables returns the names that every condition may use, in the order of the
// contract.
func Variables() []string {
	names := make([]string, variables)
	for i := range catalogue {
		names[i] = catalogue[i].name
	}
	return names
}

// Vars holds the values of a rule's variables for one window. In the zero Vars
// every variable is undefined.
type Vars struct {
	values  [variables]float64
	defined uint32
	metrics map[string]float64 // of names outside the catalogue; replaced, never changed
}

// NewVars returns Vars that hold the given values.
func NewVars(values map[string]float64) Vars {
	var v Vars
	for name, x := range values {
		v.Set(name, x)
	}
	return v
}

// Set defines a variable. A value that is NaN or infinite makes it undefined:
// no decision can rest on it, and no ledger entry could hold it. A name outside
// the catalogue is one of the metrics that were declared to Compile.
func (v *Vars) Set(name string, x float64) {
	if i, ok := lookup(name); ok {
		v.set(i, x)
		return
	}
	m := maps.Clone(v.metrics) // a copy of these Vars may share the map
	if m == nil {
		m = make(map[string]float64, 1)
	}
	if finite(x) {
		m[name] = x
	} else {
		delete(m, name)
	}
	v.metrics = m
}

// Get returns a variable's value and whether it is defined.
func (v *Vars) Get(name string) (float64, bool) {
	if i, ok := lookup(name); ok {
		return v.values[i], v.has(i)
	}
	x, ok := v.metrics[name]
	return x, ok
}

func (v *Vars) set(i variable, x float64) {
	if finite(x) {
		v.values[i] = x
		v.defined |= 1 << i
		return
	}
	v.values[i] = 0
	v.defined &^= 1 << i
}

func (v *Vars) has(i variable) bool { return v.defined>>i&1 == 1 }

// withoutReference returns the variables that need no reference.
func (v Vars) withoutReference() Vars {
	for i := range catalogue {
		if catalogue[i].reference {
			v.defined &^= 1 << i
		}
	}
	return v
}

// pick returns the defined ones of the named variables.
func (v *Vars) pick(names []string) map[string]float64 {
	out := make(map[string]float64, len(names))
	for _, name := range names {
		if x, ok := v.Get(name); ok {
			out[name] = x
		}
	}
	return out
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// suggest returns the candidate that name was probably meant to be, "" if none
// is near: at most two edits away, or a third of its letters; or the shortest
// candidate that begins with it.
func suggest(name string, candidates []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := edits(name, c); d < distance && d < len(c) {
			best, distance = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range candidates {
		if len(name) > 1 && len(c) > len(name) && c[:len(name)] == name && (best == "" || len(c) < len(best)) {
			best = c
		}
	}
	return best
}

// edits is the Levenshtein distance of two short names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
