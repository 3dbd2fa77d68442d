package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// told counts the alerts of a rule on letters of input.
func told(r *alert.Rule, letters string) (starts, ends int, last alert.State) {
	for i, letter := range []rune(letters) {
		var changes []alert.Change
		last, changes = r.Step(last, input(i, letter))
		for _, c := range changes {
			if c.Fired() {
				starts++
			}
			if c.Resolved() {
				ends++
			}
		}
	}
	return starts, ends, last
}

// A value that crosses its threshold 200 times, hot for one window of each period,
// and then is quiet for two days. docs/rules.md has this table.
func TestFlapping(t *testing.T) {
	tests := []struct {
		window time.Duration
		keep   alert.Hold
		period int // windows
		starts int
	}{
		{time.Hour, alert.DefaultKeepFiringFor, 2, 1},  // never two quiet windows
		{time.Hour, alert.DefaultKeepFiringFor, 3, 2},  // 2, then never 4
		{time.Hour, alert.DefaultKeepFiringFor, 6, 3},  // 2, 4, then never 8
		{time.Hour, alert.DefaultKeepFiringFor, 12, 4}, // 2, 4, 8, then never 16
		{time.Hour, alert.DefaultKeepFiringFor, 24, 5}, // 2, 4, 8, 16, then never 24
		{time.Hour, alert.Hold{Windows: 1}, 2, 2},      // 1, then never 2
		{time.Hour, alert.Hold{Duration: 6 * time.Hour}, 12, 2},
		{time.Hour, alert.Hold{Duration: 48 * time.Hour}, 24, 1},
		{time.Hour, alert.Hold{}, 2, 200},                    // as asked for
		{24 * time.Hour, alert.DefaultKeepFiringFor, 3, 200}, // a day of quiet is less than keep_firing_for
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%v every %d of %v", test.keep, test.period, test.window), func(t *testing.T) {
			r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", KeepFiringFor: test.keep, Window: test.window})
			letters := strings.Repeat("H"+strings.Repeat("q", test.period-1), 200) + strings.Repeat("q", 48)
			starts, ends, _ := told(r, letters)
			if starts != test.starts || ends != test.starts {
				t.Errorf("%d starts, %d ends, want %d of each", starts, ends, test.starts)
			}
		})
	}
}

// Of any period up to a day, little or much of it hot, there are at most 5 alerts in
// 200 crossings of hourly windows.
func TestFlappingOfAnyPeriod(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", KeepFiringFor: alert.DefaultKeepFiringFor})
	for period := 2; period <= 24; period++ {
		for _, hot := range []int{1, max(1, period/2), period - 1} {
			wave := strings.Repeat("H", hot) + strings.Repeat("q", period-hot)
			if starts, _, _ := told(r, strings.Repeat(wave, 200)); starts < 1 || starts > 5 {
				t.Errorf("%s: %d starts", wave, starts)
			}
		}
	}
}

// What flapped is forgiven when it was quiet for a day, and is marked until then.
func TestFlapsAreForgiven(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", KeepFiringFor: alert.DefaultKeepFiringFor})
	restart := "Hqq" + strings.Repeat("q", 20) + "H"
	_, _, s := told(r, restart)
	if s.Flaps() != 1 {
		t.Errorf("%d flaps of a series that fired twice in a day", s.Flaps())
	}
	if starts, ends, _ := told(r, restart+"qqq"); starts != 2 || ends != 1 {
		t.Errorf("%d starts and %d ends; after one flap four windows must be quiet", starts, ends)
	}
	_, changes := r.Step(s, input(len(restart), 'q'))
	if len(changes) != 1 || changes[0].Flaps != 1 {
		t.Errorf("changes %+v do not say that it flaps", changes)
	}
	if _, _, s := told(r, "Hqq"+strings.Repeat("q", 24)+"H"); s.Flaps() != 0 {
		t.Errorf("%d flaps a day after the end", s.Flaps())
	}
	// Pending over the end of the day, too.
	slow := mustCompile(t, alert.Spec{Expr: "psi > 0.2", For: alert.Hold{Windows: 2, Of: 20}, KeepFiringFor: alert.DefaultKeepFiringFor})
	_, _, s = told(slow, "HHqq"+strings.Repeat("q", 20)+"H"+strings.Repeat("q", 10)+"H")
	if s.Phase != alert.Firing || s.Flaps() != 0 {
		t.Errorf("%v with %d flaps 31 windows after the end", s.Phase, s.Flaps())
	}
}

// The series of a rule's limit does not flap either.
func TestOverflowFlaps(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Limit: 1, KeepFiringFor: alert.DefaultKeepFiringFor})
	states := map[alert.Series]alert.State{}
	starts := 0
	for i := range 200 {
		next, changes := r.StepAll(states, pass(i, psis{"a": .5, "b": .3 * float64(i%2)}))
		alert.Apply(states, next)
		for _, c := range changes {
			if c.Series == overflowSeries && c.Fired() {
				starts++
			}
		}
	}
	if starts != 1 {
		t.Errorf("%d starts of the overflow, want 1", starts)
	}
}
