package sim_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

func TestParseFeature(t *testing.T) {
	tests := map[string]sim.Feature{
		"normal(50, 10)":                             {Name: "x", Dist: sim.Normal{Mean: 50, Sigma: 10}},
		" lognormal( 3.87,0.55 ) unit=100":           {Name: "x", Dist: sim.LogNormal{Mu: 3.87, Sigma: .55}, Unit: 100},
		"uniform(-1, 1) missing=0.25":                {Name: "x", Dist: sim.Uniform{Low: -1, High: 1}, Missing: .25},
		"constant(7)":                                {Name: "x", Dist: sim.Constant(7)},
		"integer(zero_inflated(.9, exponential(2)))": {Name: "x", Dist: sim.Integer{Dist: sim.ZeroInflated{Zero: .9, Dist: sim.Exponential{Mean: 2}}}},
		"mixture(0.8, normal(0, 1), normal(5, 1))":   {Name: "x", Dist: sim.Mixture{Share: .8, A: sim.Normal{Sigma: 1}, B: sim.Normal{Mean: 5, Sigma: 1}}},
		"categories(DE=60, a=b=40) missing=0.02":     {Name: "x", Categories: []sim.Category{{Name: "DE", Weight: 60}, {Name: "a=b", Weight: 40}}, Missing: .02},
	}
	for text, want := range tests {
		got, err := sim.ParseFeature("x", text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
}

func TestParseFeatureRefuses(t *testing.T) {
	tests := map[string]string{
		"":                         "is no distribution such as",
		"normal":                   "is no distribution such as",
		"normal(1, 2":              "a bracket is not closed",
		"normal(1)":                "normal takes 2 arguments, not 1",
		"normal(1, two)":           `normal: "two" is no number`,
		"normal(1, -2)":            "must be above 0",
		"gamma(1, 2)":              `"gamma" is no distribution`,
		"integer(gamma(1, 2))":     `integer: "gamma" is no distribution`,
		"integer(normal(0, 1) x)":  `"x" behind the distribution`,
		"categories(DE)":           "write NAME=WEIGHT",
		"categories(DE=0)":         "must be above 0",
		"normal(1, 2) missing=1.5": "must be between 0 and 1",
		"normal(1, 2) gone=1":      "gone is none of missing and unit",
		"normal(1, 2) often":       "write missing=0.1",
	}
	for text, want := range tests {
		if _, err := sim.ParseFeature("x", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// Infinities come in their share, and move nothing else of the stream.
func TestInfinities(t *testing.T) {
	draw := func(injections ...sim.Injection) (values []float64) {
		st, err := sim.New(sim.Scenario{
			Name: "infinities", Start: sim.Epoch, Length: time.Hour, Injections: injections,
			Models: []sim.Model{{Name: "m", Rate: 1, Even: true, Versions: []sim.Version{{Name: "1", Share: 1}}, Features: []sim.Feature{{Name: "x", Dist: sim.Normal{Sigma: 1}}}}},
		}, 1)
		if err != nil {
			t.Fatal(err)
		}
		for e := (event.Event{}); st.Next(&e); {
			values = append(values, e.Values[0].Num)
		}
		return values
	}
	plain, faulty := draw(), draw(sim.Injection{Model: "m", Feature: "x", Effect: sim.Infinities, Amount: .2})
	gone := 0
	for i, x := range faulty {
		if math.IsInf(x, 1) {
			gone++
		} else if x != plain[i] {
			t.Fatalf("value %d is %v, was %v", i, x, plain[i])
		}
	}
	if n := float64(len(faulty)); math.Abs(float64(gone)-.2*n) > 4*math.Sqrt(n*.2*.8) { // four standard deviations of a binomial
		t.Errorf("%d of %d values are infinite, want a fifth", gone, len(faulty))
	}
	_, err := sim.New(sim.Scenario{
		Name: "infinities", Start: sim.Epoch,
		Models:     []sim.Model{{Name: "m", Rate: 1, Versions: []sim.Version{{Name: "1", Share: 1}}, Features: []sim.Feature{{Name: "c", Categories: []sim.Category{{Name: "a", Weight: 1}}}}}},
		Injections: []sim.Injection{{Model: "m", Feature: "c", Effect: sim.Infinities, Amount: .2}},
	}, 1)
	if err == nil || !strings.Contains(err.Error(), "is not numeric") {
		t.Errorf("infinities in categories: got %v", err)
	}
}
