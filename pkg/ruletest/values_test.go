package ruletest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ruletest"
	"driftd.dev/driftd/pkg/sim"
)

var (
	undefined = ruletest.Value{Kind: ruletest.Undefined}
	stale     = ruletest.Value{Kind: ruletest.Stale}
)

func numbers(all ...float64) (out []ruletest.Value) {
	for _, x := range all {
		out = append(out, ruletest.Value{X: x})
	}
	return out
}

// The first four are the examples of Prometheus' documentation of rule tests.
func TestParseValues(t *testing.T) {
	tests := map[string][]ruletest.Value{
		"-2+4x3":        numbers(-2, 2, 6, 10),
		" 1-2x4":        numbers(1, -1, -3, -5, -7),
		" 1x4":          numbers(1, 1, 1, 1, 1),
		" 1 _x3 stale":  append(numbers(1), undefined, undefined, undefined, stale),
		"0.5 _ 1e-3x0":  {{X: .5}, undefined, {X: .001}},
		"1e2-1e1x1 _x0": numbers(100, 90),
	}
	for text, want := range tests {
		got, err := ruletest.ParseValues(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"":                  "there are no values",
		"often":             `"often" is no value`,
		"_xmany":            "write _x3",
		"NaN":               `"NaN" is no value`,
		"inf":               `"inf" is no value`,
		"1x70000":           `"1x70000" is no value`,
		"1.2.3x2":           `"1.2.3x2" is no value`,
		"1x9000 1x9000 _x5": "at most 10000",
	} {
		if _, err := ruletest.ParseValues(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestParseSeries(t *testing.T) {
	variable, key, err := ruletest.ParseSeries(`psi{ model = "fraud", model_version="7",variant="canary", segment="a=\"b\",c=d", feature="amount"}`)
	want := drift.Key{Group: drift.Group{Model: "fraud", Version: "7", Variant: event.Canary, Segment: `a="b",c=d`}, Signal: "amount"}
	if diff := cmp.Diff(want, key); err != nil || variable != "psi" || diff != "" {
		t.Errorf("%s: %v\n%s", variable, err, diff)
	}
	for text, want := range map[string]string{
		"":                                  "is no variable of rules",
		`psy{model="a"}`:                    `"psy" is no variable of rules: there are n, m, psi,`,
		"psi":                               `write the series as psi{model="fraud"}`,
		"psi{}":                             "needs the label model",
		`psi{model=fraud}`:                  "labels are name=\"value\"",
		`psi{model="fraud"`:                 "labels are name=\"value\"",
		`psi{model="fraud"} 3`:              "labels are name=\"value\"",
		`psi{model="a", version="7"}`:       `not "version"`,
		`psi{model="a", variant="blue"}`:    "is none of primary, canary, shadow",
		`psi{model="a", variant="canary"}`:  "add model_version",
		`psi{model="a", alertname="Drift"}`: `not "alertname"`,
	} {
		if _, _, err := ruletest.ParseSeries(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestParseChange(t *testing.T) {
	tests := map[string]sim.Injection{
		"amount+0.25sd":     {Feature: "amount", Effect: sim.Shift, Amount: .25},
		"amount*1.3":        {Feature: "amount", Effect: sim.Factor, Amount: 1.3},
		"age:missing=0.3":   {Feature: "age", Effect: sim.Nulls, Amount: .3},
		"country:new=.1,XX": {Feature: "country", Effect: sim.NewCategory, Amount: .1, Category: "XX"},
		"country:gone=DE":   {Feature: "country", Effect: sim.DropCategory, Category: "DE"},
		"amount:inf=0.01":   {Feature: "amount", Effect: sim.Infinities, Amount: .01},
	}
	for text, want := range tests {
		got, err := ruletest.ParseChange(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"amount":                          "write FEATURE+0.25sd",
		"amount:inf=1e999":                "is no share",
		"amount*1.3@2026-01-05T12:00:00Z": "say from when by from",
		"amount:missing=3":                "a share is above 0",
		"amount+0.25sd@tomorrow":          "is no time",
	} {
		if _, err := ruletest.ParseChange(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// Whatever is written, it is read or refused.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"0.05x10 0.3 _x2 stale", `psi{model="fraud", feature="amount"}`, "amount+0.25sd", "country:new=0.1,XX"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if values, err := ruletest.ParseValues(text); err == nil && (len(values) == 0 || len(values) > ruletest.MaxWindows) {
			t.Errorf("%d values of %q", len(values), text)
		}
		if variable, key, err := ruletest.ParseSeries(text); err == nil && (variable == "" || key.Model == "") {
			t.Errorf("%q: %q of %+v", text, variable, key)
		}
		if change, err := ruletest.ParseChange(text); err == nil && (change.Effect == 0 || change.Feature == "") {
			t.Errorf("%q: %+v", text, change)
		}
	})
}
