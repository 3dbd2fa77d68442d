package alert_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// report makes a closed hour of a group with two signals, "amount" of 900 values
// and "score", which no event gave.
func report(g drift.Group, reference string) *drift.Report {
	nan := math.NaN()
	amount := &stats.Numeric{}
	for range 900 {
		amount.Add(1)
	}
	shift := stats.Shift{M: 50_000, PSI: 0.31, PSIRaw: 0.33, PSIDebiased: 0.3, PSIP: 0.001, NoiseFloor: 0.01, KSLo: 0.12, KSHi: 0.13, KSP: 0.002, Chi2P: nan, JS: 0.05, Hellinger: 0.1, W1ClippedSD: 0.2, Unseen: nan}
	return &drift.Report{
		Window: &drift.Window{
			Group: g, Start: epoch, End: epoch.Add(time.Hour), State: drift.Closed, Events: 1000, Failed: 10,
			Signals: []drift.Signal{{Name: "amount", Type: drift.Numeric, Numeric: amount}},
		},
		Reference: reference, Approved: true, Drifting: 3, ErrorRatio: 0.01, LatencyP50: 10, LatencyP95: 20, LatencyP99: nan,
		Signals: []drift.SignalReport{
			{Name: "amount", Type: drift.Numeric, Feature: true, Missing: 0.1, Mean: 1, Shift: shift},
			{Name: "score", Type: drift.Numeric, Missing: 1, Mean: nan, Shift: shift},
		},
	}
}

func TestInputsOfAFeature(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Feature: "am*"})
	ins := r.Inputs([]*drift.Report{report(drift.Group{Model: "fraud", Version: "42"}, "b-1")}, nil)
	if len(ins) != 1 {
		t.Fatalf("got %d inputs, want 1", len(ins))
	}
	in := ins[0]
	if in.N != 900 || in.Baseline != "b-1" || !in.Approved || in.Window != window(0) || in.Key.Signal != "amount" {
		t.Errorf("got %+v", in)
	}
	got := map[string]float64{}
	for _, name := range alert.Variables() {
		if x, ok := in.Vars.Get(name); ok {
			got[name] = x
		}
	}
	want := map[string]float64{ // chi2_p, unseen_ratio and latency_p99 are NaN in the report
		"n": 900, "m": 50_000, "psi": 0.31, "psi_raw": 0.33, "psi_debiased": 0.3, "psi_p": 0.001, "noise_floor": 0.01,
		"ks_lo": 0.12, "ks_hi": 0.13, "ks_p": 0.002, "js": 0.05, "hellinger": 0.1, "reference_missing_ratio": 0, "w1_clipped_sd": 0.2, "missing_ratio": 0.1, "mean": 1,
		"drifting_features": 3, "error_ratio": 0.01, "events": 1000, "latency_p50": 10, "latency_p95": 20,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Without a reference nothing that compares is defined, whatever the report says.
func TestInputsWithoutReference(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2 or drifting_features > 1 or n > 0"})
	if !r.Compares() || !r.Feature() || !cmp.Equal(r.Variables(), []string{"psi", "drifting_features", "n"}) {
		t.Errorf("got %v, %v, %v", r.Compares(), r.Feature(), r.Variables())
	}
	ins := r.Inputs([]*drift.Report{report(drift.Group{Model: "fraud"}, "")}, nil)
	for _, name := range []string{"psi", "m", "drifting_features"} {
		if x, ok := ins[0].Vars.Get(name); ok {
			t.Errorf("%s is %v", name, x)
		}
	}
	if n, _ := ins[1].Vars.Get("n"); n != 0 || ins[1].N != 0 {
		t.Errorf("a signal that no event gave has n %v", n)
	}
}

func TestSelection(t *testing.T) {
	groups := []*drift.Report{
		report(drift.Group{Model: "fraud-eu", Version: "42"}, "b-1"),
		report(drift.Group{Model: "fraud-eu", Version: "43", Variant: 1}, "b-1"), // canary
		report(drift.Group{Model: "fraud-eu", Version: "44", Variant: 2}, "b-1"), // shadow
		report(drift.Group{Model: "fraud-eu", Version: "42", Segment: "channel=app"}, "b-1"),
	}
	total := report(drift.Group{Model: "fraud-eu"}, "b-1")
	tests := map[string]struct {
		spec alert.Spec
		want []string
	}{
		"features of all":         {alert.Spec{Expr: "psi > 1"}, []string{"R fraud-eu/42/primary amount", "R fraud-eu/42/primary score", "R fraud-eu/43/canary amount", "R fraud-eu/43/canary score", "R fraud-eu/44/shadow amount", "R fraud-eu/44/shadow score"}},
		"a feature selects":       {alert.Spec{Expr: "events > 1", Feature: "s?ore"}, []string{"R fraud-eu/42/primary score", "R fraud-eu/43/canary score", "R fraud-eu/44/shadow score"}},
		"whole model":             {alert.Spec{Expr: "events > 1"}, []string{"R fraud-eu"}},
		"model glob":              {alert.Spec{Expr: "events > 1", Model: "fraud-*"}, []string{"R fraud-eu"}},
		"model glob with middle":  {alert.Spec{Expr: "events > 1", Model: "f*d*e?"}, []string{"R fraud-eu"}},
		"other model":             {alert.Spec{Expr: "events > 1", Model: "fraud"}, nil},
		"other model, features":   {alert.Spec{Expr: "psi > 1", Model: "churn*"}, nil},
		"variant":                 {alert.Spec{Expr: "events > 1", Variant: "canary"}, []string{"R fraud-eu/43/canary"}},
		"version":                 {alert.Spec{Expr: "events > 1", Version: "4[2]"}, nil}, // brackets are no glob
		"every version":           {alert.Spec{Expr: "events > 1", Version: "*"}, []string{"R fraud-eu/42/primary", "R fraud-eu/43/canary", "R fraud-eu/44/shadow"}},
		"segment":                 {alert.Spec{Expr: "events > 1", Segment: "channel=*"}, []string{"R fraud-eu/42/primary{channel=app}"}},
		"windows of other length": {alert.Spec{Expr: "events > 1", Window: 5 * time.Minute}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Name = "R"
			r := mustCompile(t, test.spec)
			var got []string
			for _, in := range r.Inputs(groups, total) {
				got = append(got, alert.Series{Rule: r.Name(), Key: in.Key}.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	r := mustCompile(t, alert.Spec{Expr: "events > 1"})
	if !r.Watches("any") || mustCompile(t, alert.Spec{Expr: "events > 1", Model: "fraud-*"}).Watches("churn") {
		t.Error("a rule without a model watches all, with one only what matches")
	}
	if ins := r.Inputs(groups, nil); ins != nil {
		t.Errorf("got %v without a total", ins)
	}
	total.Window.State = drift.Open
	if ins := r.Inputs(groups, total); ins != nil {
		t.Errorf("got %v of an open window", ins)
	}
}

func TestVars(t *testing.T) {
	v := alert.NewVars(map[string]float64{"psi": 1, "recall": 2, "precision": math.NaN()})
	w := v
	w.Set("recall", 3)
	w.Set("psi", math.Inf(1))
	if x, ok := v.Get("recall"); x != 2 || !ok {
		t.Errorf("a copy's change shows: %v", x)
	}
	if _, ok := w.Get("psi"); ok {
		t.Error("an infinite value is defined")
	}
	w.Set("recall", math.NaN())
	for _, name := range []string{"recall", "precision", "n", "nothing"} {
		if _, ok := w.Get(name); ok {
			t.Errorf("%s is defined", name)
		}
	}
}

// TestWindowsBeforeTheBaseline: of a window that was counted in part before there was a
// baseline only what needs none is defined, whatever its report holds.
func TestWindowsBeforeTheBaseline(t *testing.T) {
	alone := []string{"n", "missing_ratio", "mean", "error_ratio", "events", "latency_p50", "latency_p95", "latency_p99"}
	values := map[string]float64{}
	for _, name := range alert.Variables() {
		values[name] = 1
	}
	for _, name := range alert.Variables() {
		r := mustCompile(t, alert.Spec{Expr: name + " == 1"})
		in := input(0, 'L')
		in.Vars = alert.NewVars(values)
		if want := slices.Contains(alone, name); r.Decides(in) != want {
			t.Errorf("%s is defined: %v, want %v", name, !want, want)
		}
	}
}

func TestSpecDefaults(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2"})
	s := r.Spec()
	if s.Severity != "ticket" || s.Reference != "baseline" || s.NoData != "keep" {
		t.Errorf("got %+v", s)
	}
}
