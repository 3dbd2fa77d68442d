package config_test

import (
	"strings"
	"testing"
	"time"
)

const withIntervals = `
time_intervals:
  - name: office
    time_intervals:
      - times: [{start_time: "09:00", end_time: "17:00"}]
        weekdays: ["monday:friday"]
        location: America/New_York
      - {days_of_month: [-1], months: [12], years: [2026]}
  - {name: always, time_intervals: [{}]}
routes:
  receiver: a
  routes: [{match: {severity: page}, active_time_intervals: [office], mute_time_intervals: [always]}]
receivers: [{name: a, nats: {}}]
`

// Intervals hold by the clock of their location, by name.
func TestTimeIntervals(t *testing.T) {
	c := load(t, withIntervals, nil)
	intervals, err := c.Intervals()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"2026-03-02T13:59:00Z": false, "2026-03-02T14:00:00Z": true, "2026-03-02T21:59:00Z": true, "2026-03-02T22:00:00Z": false, // 09:00 to 17:00 in winter
		"2026-07-06T13:00:00Z": true, "2026-07-06T21:00:00Z": false, // in summer
		"2026-12-31T23:59:00Z": true, "2027-12-31T12:00:00Z": false,
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		// 2027-12-31 is a Friday: the office is asked at 07:00.
		if _, muted := intervals.Muted(nil, []string{"office"}, at); muted == want {
			t.Errorf("%s: muted %v", text, muted)
		}
	}
	if reason, muted := intervals.Muted([]string{"always"}, nil, time.Time{}); !muted || reason != "in time interval always" {
		t.Errorf("%q, %v", reason, muted)
	}
	if _, err := c.AlertRoutes(); err != nil {
		t.Error(err)
	}
	c.TimeIntervals[1].TimeIntervals[0].Weekdays = []string{"someday"}
	if _, err := c.Intervals(); err == nil || !strings.Contains(err.Error(), "someday") {
		t.Errorf("got %v", err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "time_intervals[1].time_intervals[0].weekdays[0]") {
		t.Errorf("got %v", err)
	}
}

// A reload may exchange the intervals.
func TestTimeIntervalsCanBeReloaded(t *testing.T) {
	changed := strings.Replace(withIntervals, `"17:00"`, `"18:00"`, 1)
	changes := load(t, withIntervals, nil).Changes(load(t, changed, nil))
	if len(changes) != 1 || changes[0].Restart || !strings.HasPrefix(changes[0].Path, "time_intervals[office].time_intervals[0].times[09:00]") {
		t.Errorf("changes %v", changes)
	}
}
