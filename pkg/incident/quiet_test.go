package incident_test

import (
	"testing"
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// A delivery is muted by the times of its route and by silences, until they end.
func TestQuiet(t *testing.T) {
	later := silence(incident.KindSilence, "model=fraud")
	later.ID, later.StartsAt, later.EndsAt = "02", noon.Add(5*time.Hour), noon.Add(6*time.Hour)
	maintenance := silence(incident.KindMaintenance, "model=fraud")
	maintenance.ID, maintenance.EndsAt = "03", noon.Add(7*time.Hour)
	night := interval(t, intervalSpec{Times: []incident.TimeRange{{Start: "15:00", End: "16:30"}}})
	q := incident.Quiet{Silences: set(t, silence(incident.KindSilence), later, maintenance), TimeIntervals: incident.TimeIntervals{"tea": {night}}}
	fraud, churn := &incident.Member{Labels: map[string]string{"model": "fraud"}}, &incident.Member{Labels: map[string]string{"model": "churn"}}
	plain, timed, inverse := &ledger.Delivery{}, &ledger.Delivery{MuteTimeIntervals: []string{"tea"}}, &ledger.Delivery{ActiveTimeIntervals: []string{"tea"}}
	for name, c := range map[string]struct {
		d    *ledger.Delivery
		m    *incident.Member
		at   time.Duration
		want bool
		next time.Duration // after noon; 0: never
	}{
		"silenced":              {plain, fraud, time.Hour, true, 2 * time.Hour},
		"another model":         {plain, churn, time.Hour, false, 2 * time.Hour},
		"between":               {plain, fraud, 3 * time.Hour, false, 5 * time.Hour},
		"silenced again":        {plain, fraud, 5 * time.Hour, true, 6 * time.Hour},
		"behind all":            {plain, fraud, 6 * time.Hour, false, 0},
		"in the interval":       {timed, churn, 3 * time.Hour, true, 4*time.Hour + 30*time.Minute},
		"behind the interval":   {timed, churn, 4*time.Hour + 30*time.Minute, false, 5 * time.Hour},
		"in the active one":     {inverse, churn, 3 * time.Hour, false, 4*time.Hour + 30*time.Minute},
		"outside of the active": {inverse, churn, 7 * time.Hour, true, 12 * time.Hour}, // midnight
	} {
		at := noon.Add(c.at)
		if got := q.Mutes(c.d, c.m, at); got != c.want {
			t.Errorf("%s: muted %v", name, got)
		}
		if got := q.Next(c.d, at); c.next == 0 && !got.IsZero() || c.next != 0 && !got.Equal(noon.Add(c.next)) {
			t.Errorf("%s: next at %v", name, got)
		}
	}
	if (incident.Quiet{}).Mutes(timed, fraud, noon) || !(incident.Quiet{}).Next(plain, noon).IsZero() {
		t.Error("nothing is quiet")
	}
}

// Between a moment and Next nothing changes, also where clocks are put forward and
// back: in Berlin on 2026-03-29 and 2026-10-25, in Lord Howe by half an hour.
func TestTimeIntervalNext(t *testing.T) {
	lord := zone(t, "Australia/Lord_Howe")
	for name, c := range map[string]struct {
		spec  intervalSpec
		start time.Time
		steps int // to Next in three days, counted by hand
	}{
		"all":             {intervalSpec{}, noon, 3},
		"weekdays":        {intervalSpec{Weekdays: []string{"tuesday"}}, noon, 3},
		"times":           {intervalSpec{Times: []incident.TimeRange{{Start: "09:00", End: "17:00"}, {Start: "22:00", End: "24:00"}}}, noon, 12},
		"put forward":     {intervalSpec{Times: []incident.TimeRange{{Start: "02:30", End: "05:00"}}, Location: zone(t, "Europe/Berlin")}, time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), 9}, // 02:30 is not there, and the change is
		"put back":        {intervalSpec{Times: []incident.TimeRange{{Start: "02:15", End: "02:45"}}, Location: zone(t, "Europe/Berlin")}, time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC), 12},
		"by half an hour": {intervalSpec{Times: []incident.TimeRange{{Start: "01:40", End: "01:50"}}, Location: lord}, time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC), 12},
	} {
		in := interval(t, c.spec)
		next, steps := in.Next(c.start), 0
		for at := c.start; at.Before(c.start.Add(72 * time.Hour)); at = at.Add(time.Minute) {
			if !at.Before(next) {
				if !at.Equal(next) {
					t.Fatalf("%s: %v is no whole minute", name, next)
				}
				next, steps = in.Next(at), steps+1
			} else if in.Contains(at) != in.Contains(at.Add(-time.Minute)) && at.After(c.start) {
				t.Errorf("%s: it changes at %v, and Next is %v", name, at, next)
			}
		}
		if steps != c.steps {
			t.Errorf("%s: %d steps, want %d", name, steps, c.steps)
		}
	}
	odd := noon.Add(17*time.Second + 3)
	if got := interval(t, intervalSpec{Times: []incident.TimeRange{{Start: "12:01", End: "13:00"}}}).Next(odd); !got.Equal(noon.Add(time.Minute)) {
		t.Errorf("after %v comes %v", odd, got)
	}
}
