package trial_test

import (
	"errors"
	"math"
	"testing"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/detect/trial"
)

// small is a trial of a few seconds for all worlds: 40 features, 700 windows.
func small() trial.Options {
	o := trial.DefaultOptions()
	o.Features, o.Windows, o.Replicates, o.Seed = 40, 700, 7, 3
	return o
}

// The goals of statistics.md 9.4, in small: at most one false page a budget
// period, and .25 sd within 6 windows, 12 in the world with seasons.
func TestNullWorlds(t *testing.T) {
	for _, w := range trial.Worlds() {
		t.Run(w.Name, func(t *testing.T) {
			t.Parallel()
			r, err := trial.Run(w, small())
			if err != nil {
				t.Fatal(err)
			}
			if rate := r.PerBudget(r.Pages); rate > 1 {
				t.Errorf("%d false pages, %.2f a budget period", r.Pages, rate)
			}
			if rate := r.PerBudget(r.Alarms); rate > 2.1 { // two, of which the effect has kept none from paging
				t.Errorf("%d false alarms, %.2f a budget period", r.Alarms, rate)
			}
			most := 6.0
			if w.Name == "season" {
				most = 12
			}
			if !(r.Delays[1] <= most) {
				t.Errorf("a shift of .25 sd took %v windows, want at most %v", r.Delays[1], most)
			}
			if !(r.Delays[2] <= 5) {
				t.Errorf("a shift of .5 sd took %v windows, want at most 5", r.Delays[2])
			}
			if !math.IsNaN(r.Delays[0]) {
				t.Errorf("a shift of .1 sd, distance .04, paged after %v windows", r.Delays[0])
			}
			if r.Theta < .7 {
				t.Errorf("theta %v", r.Theta)
			}
		})
	}
}

// A jitter that remembers (phi = .8) raises at most twice the alarms that the
// level allows: 2,000 windows at one in A = 3 * 720 / 12 = 180 are 11.
func TestAutocorrelation(t *testing.T) {
	o := small()
	o.Features, o.Windows, o.Replicates, o.Pages = 15, 2000, 0, 12
	r, err := trial.Run(trial.World{Name: "ar", Jitter: 0.05, AR: 0.8}, o)
	if err != nil {
		t.Fatal(err)
	}
	if nominal := 2000.0 / 180; float64(r.Alarms) > 2*nominal {
		t.Errorf("%d false alarms, want at most twice %.1f", r.Alarms, nominal)
	}
}

// The rules of other tools are wrong as often as statistics.md 5.3 says.
func TestRules(t *testing.T) {
	o := small()
	o.Features = 200
	want := map[string][2][2]float64{ // by rule: least and most of iid, of over
		"KS p < .05, any feature":            {{990, 1000}, {990, 1000}},
		"KS p < .05 / features (Bonferroni)": {{10, 80}, {970, 1000}},
		"PSI > .2":                           {{0, 0}, {0, 10}},
		"Wasserstein / sd > .1, any feature": {{200, 1000}, {990, 1000}},
	}
	worlds := trial.Worlds()
	iid, over := trial.RunRules(worlds[0], o, 30, 100), trial.RunRules(worlds[1], o, 30, 100)
	checked := 0
	for i, rule := range trial.Rules() {
		if w, ok := want[rule.Name]; ok {
			checked++
			for k, got := range []float64{iid[i], over[i]} {
				if got < w[k][0] || got > w[k][1] {
					t.Errorf("%s: %v of 1000 in %s, want %v", rule.Name, got, worlds[k].Name, w[k])
				}
			}
		}
	}
	if checked != len(want) {
		t.Errorf("%d of %d rules were there", checked, len(want))
	}
}

func TestATrialIsAFunctionOfItsSeed(t *testing.T) {
	o := small()
	o.Features, o.Windows, o.Reference = 4, 60, detect.MinReference
	a, errA := trial.Run(trial.Worlds()[3], o)
	b, errB := trial.Run(trial.Worlds()[3], o)
	if errA != nil || errB != nil || a.Theta != b.Theta || a.Alarms != b.Alarms {
		t.Errorf("%+v (%v) and %+v (%v)", a, errA, b, errB)
	}
	o.Seed++
	if c, err := trial.Run(trial.Worlds()[3], o); err != nil || c.Theta == a.Theta {
		t.Errorf("another seed gives theta %v, too (%v)", c.Theta, err)
	}
}

func TestStop(t *testing.T) {
	o := small()
	o.Features = 2
	stop, n := errors.New("stop"), 0
	o.Around = func(decide func()) error {
		decide()
		if n++; n == 5 {
			return stop
		}
		return nil
	}
	if _, err := trial.Run(trial.Worlds()[0], o); !errors.Is(err, stop) || n != 5 {
		t.Errorf("after %d windows: %v, want %v after 5", n, err, stop)
	}
	o.Around, o.Reference = nil, 100
	if _, err := trial.Run(trial.Worlds()[0], o); err == nil {
		t.Error("a reference period that does not end passed")
	}
}
