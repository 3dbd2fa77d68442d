package detect_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
)

// A daily cycle of one standard deviation is in the reference period of a week:
// the day after is no alarm, and a shift beside the cycle is one.
func TestDailyCycle(t *testing.T) {
	m := newModel(t, 31)
	m.traffic.level = func(hour int) float64 { return math.Sin(2 * math.Pi * float64(hour) / 24) }
	m.config.Pages = 100 // a level at which one in 24 hours would be a scandal
	for range detect.MinReference {
		m.next()
	}
	alarms := 0
	for range 24 {
		for _, c := range m.next() {
			if c.Kind != detect.Resolved {
				alarms++
			}
		}
	}
	if alarms > 1 {
		t.Errorf("%d alarms in a day like all days", alarms)
	}
	m.traffic.amount = .6
	if _, windows := m.until(detect.Opened, 24); windows > 12 {
		t.Errorf("a shift of .6 sd in a cycle of 1 sd took %d windows", windows)
	}
}

// What moves every weekend is a season: on a Saturday it explains a part of how far a
// value is up, and on a Monday that it should be down.
func TestWeekends(t *testing.T) {
	for day, up := range map[time.Weekday]bool{time.Saturday: true, time.Monday: false} {
		t.Run(day.String(), func(t *testing.T) {
			m := newModel(t, 34)
			m.config.Reference = 3 * 7 * 24
			level := func() float64 {
				if d := m.at.Weekday(); d == time.Saturday || d == time.Sunday {
					return .8
				}
				return 0
			}
			for range m.config.Reference {
				m.traffic.amount = level()
				m.next()
			}
			for m.at.Weekday() != day {
				m.traffic.amount = level()
				m.next()
			}
			m.traffic.amount = level() + 2
			opened, _ := m.until(detect.Opened, 6)
			// .8 sd in 2 of 7 days: a Saturday is 4/7 sd above the mean, of which .408/sd is .23
			// by KS, and a Monday 1.6/7 below it, .09.
			e, f := opened.New[0].Effect, opened.New[0]
			if f.Signal != "amount" || f.Component != detect.Location || up && !(e.Season > .15) || !up && !(e.Season < -.05 && e.Season > -.15) {
				t.Errorf("%s %s, season %g: %s", f.Signal, f.Component, e.Season, f.Reason)
			}
		})
	}
}

// A tenth of the traffic in a category nobody has seen is always flagged.
func TestNewCategoryIsAlwaysFlagged(t *testing.T) {
	for seed := range uint64(10) {
		m := ready(t, 100+seed)
		m.traffic.news = .1
		opened, windows := m.until(detect.Opened, 8)
		if !opened.Page() || opened.New[0].Signal != "country" || windows > 6 {
			t.Errorf("seed %d: after %d windows %s by %v", seed, windows, opened.Incident.Level, found(opened.New))
		}
	}
}

// Scores of unchanged windows are standard normals whatever the column: a
// constant, a 3 % binary and a column of 60 % zeros reject at 5 % as a normal
// one does, within 2 points.
func TestColumnsOfTiesRejectAsOften(t *testing.T) {
	m := ready(t, 32)
	m.config.Pages = 1e-9 // nothing is an alarm: only scores count
	const windows = 700
	rejected, scored := map[detect.Detector]int{}, map[detect.Detector]int{}
	for range windows {
		m.next()
		m.panes = nil
		for j, z := range m.outcome.Scores() {
			d := m.state.Fit().Detectors[j]
			if !math.IsNaN(z) {
				scored[d]++
				if math.Abs(z) > 1.959964 {
					rejected[d]++
				}
			}
		}
	}
	for _, d := range []detect.Detector{
		{"constant", detect.Location},
		{"constant", detect.Missing},
		{"binary", detect.Location},
		{"zeros", detect.Location},
		{"zeros", detect.Spread},
		{"amount", detect.Location},
		{"country", detect.Categories},
		{"country", detect.Unseen},
		{"error", detect.Failed},
	} {
		if share := float64(rejected[d]) / float64(scored[d]); !(share >= .03 && share <= .07) || scored[d] != windows {
			t.Errorf("%s rejects %.1f %% of %d unchanged windows, want 5 +- 2", d, 100*share, scored[d])
		}
	}
	if d := (detect.Detector{Signal: "binary", Component: detect.Spread}); scored[d] != 0 {
		t.Errorf("two values have a spread in %d windows", scored[d])
	}
}

// A ramp to .5 sd over a week is seen on its way, and paged when it matters:
// .2 sd are a distance of .08.
func TestRamp(t *testing.T) {
	m := ready(t, 33)
	m.events = 1000
	began := m.at
	m.traffic.level = func(hour int) float64 {
		return .5 * min(1, float64(hour-int(began.Unix()/3600))/168)
	}
	noticed, paged := 0, 0
	for i := 1; paged == 0 && i <= 168; i++ {
		for _, c := range m.next() {
			if noticed == 0 {
				noticed = i
			}
			if c.Page() {
				paged = i
			}
		}
	}
	// statistics.md 5.3: noticed at window 31 among 400 detectors of jittery windows
	if noticed == 0 || noticed > 60 {
		t.Errorf("the ramp was noticed in window %d", noticed)
	}
	if paged == 0 || paged > 140 {
		t.Errorf("the ramp was paged in window %d", paged)
	}
}

// One number of 1e9, NaN or infinity in a thousand is no drift.
func TestMadValuesAreNoDrift(t *testing.T) {
	m := ready(t, 34)
	m.events = 1000
	for i, mad := range []float64{1e9, -1e9, math.NaN(), math.Inf(1), math.Inf(-1), 1e9, 1e9, 1e9} {
		w := m.traffic.window(m.part, m.at, time.Hour, m.events-1)
		w.Events++
		w.Signal("amount").Numeric.Add(mad)
		m.at = w.End
		for _, c := range m.judge(w) {
			if c.Kind != detect.Noted {
				t.Errorf("window %d: one value of %v: %s", i, mad, c.Reason)
			}
		}
	}
}

// A feature that moves ten times as much in the second half of the reference
// period is not what the procedure assumes: it is restless, nothing is called
// guaranteed, and it needs more evidence than the others, which do not.
func TestWhatCannotBeGuaranteed(t *testing.T) {
	m := newModel(t, 35)
	scale := .02
	m.traffic.level = func(hour int) float64 { // a level for six hours
		return scale * rand.New(rand.NewPCG(35, uint64(hour/6))).NormFloat64()
	}
	for i := range detect.MinReference {
		if i == detect.MinReference/2 {
			scale = .3
		}
		m.next()
	}
	s := m.state.Status(&m.config)
	if !s.Judging || s.Guaranteed || s.Restless == 0 || s.Restless > 2 {
		t.Errorf("status %+v, want amount restless and no guarantee", s)
	}
	alarms := 0
	for range 400 {
		for _, c := range m.next() {
			if c.Kind != detect.Resolved {
				alarms++
			}
		}
	}
	if alarms > 2 {
		t.Errorf("%d alarms in 400 windows that are as they were", alarms)
	}
	m.traffic.news = .1
	if _, windows := m.until(detect.Opened, 8); windows > 6 {
		t.Errorf("a new category took %d windows beside a restless feature", windows)
	}
}
