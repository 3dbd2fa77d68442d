package incident_test

import (
	"testing"
	"time"

	"driftd.dev/driftd/pkg/incident"
)

type intervalSpec = incident.TimeIntervalSpec

func interval(t *testing.T, spec intervalSpec) incident.TimeInterval {
	t.Helper()
	out, err := incident.CompileTimeInterval(spec)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	out, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The examples of Alertmanager's documentation (configuration, time_interval), and
// the corners of each list. 2026-03-02 is a Monday.
func TestTimeIntervalContains(t *testing.T) {
	berlin, sydney := zone(t, "Europe/Berlin"), zone(t, "Australia/Sydney")
	hours := func(start, end string) []incident.TimeRange { return []incident.TimeRange{{Start: start, End: end}} }
	for name, c := range map[string]struct {
		spec    intervalSpec
		in, out []string // RFC 3339
	}{
		"empty": {intervalSpec{}, []string{"2026-03-02T00:00:00Z", "1999-12-31T23:59:59Z"}, nil},
		"times": {
			intervalSpec{Times: hours("06:00", "23:59")},
			[]string{"2026-03-02T06:00:00Z", "2026-03-02T23:58:59.9Z", "2026-03-02T08:00:00+02:00"},
			[]string{"2026-03-02T05:59:59Z", "2026-03-02T23:59:00Z"},
		},
		"up to midnight": {intervalSpec{Times: hours("17:00", "24:00")}, []string{"2026-03-02T17:00:00Z", "2026-03-02T23:59:59Z"}, []string{"2026-03-02T16:59:59Z", "2026-03-03T00:00:00Z"}},
		"over midnight, in two": {
			intervalSpec{Times: append(hours("22:00", "24:00"), hours("00:00", "06:00")...)},
			[]string{"2026-03-02T22:00:00Z", "2026-03-03T00:00:00Z", "2026-03-03T05:59:00Z"},
			[]string{"2026-03-02T21:59:00Z", "2026-03-03T06:00:00Z"},
		},
		"weekdays": {
			intervalSpec{Weekdays: []string{"monday:wednesday", "Saturday", "sunday"}},
			[]string{"2026-03-02T00:00:00Z", "2026-03-04T23:59:59Z", "2026-03-07T12:00:00Z", "2026-03-08T12:00:00Z"},
			[]string{"2026-03-05T00:00:00Z", "2026-03-06T12:00:00Z"},
		},
		"days of the month": {
			intervalSpec{DaysOfMonth: []string{"1:5", "-3:-1"}},
			[]string{"2026-03-01T00:00:00Z", "2026-03-05T23:59:59Z", "2026-03-29T00:00:00Z", "2026-02-26T00:00:00Z", "2028-02-27T00:00:00Z"},
			[]string{"2026-03-06T00:00:00Z", "2026-03-28T23:59:59Z", "2026-02-25T00:00:00Z", "2028-02-26T12:00:00Z"},
		},
		"days that short months lack": {
			intervalSpec{DaysOfMonth: []string{"30:31"}},
			[]string{"2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"},
			[]string{"2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-29T00:00:00Z"},
		},
		"days from the end of a long month": {intervalSpec{DaysOfMonth: []string{"-31:-30"}}, []string{"2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-04-01T00:00:00Z"}, []string{"2026-02-01T00:00:00Z", "2026-04-02T00:00:00Z"}},
		"from a day to the last":            {intervalSpec{DaysOfMonth: []string{"15:-1"}}, []string{"2026-02-15T00:00:00Z", "2026-02-28T00:00:00Z"}, []string{"2026-02-14T00:00:00Z"}},
		"months": {
			intervalSpec{Months: []string{"1:3", "may:August", "december"}},
			[]string{"2026-01-01T00:00:00Z", "2026-03-31T23:59:59Z", "2026-05-01T00:00:00Z", "2026-08-31T00:00:00Z", "2026-12-31T23:59:59Z"},
			[]string{"2026-04-01T00:00:00Z", "2026-09-01T00:00:00Z", "2026-11-30T23:59:59Z"},
		},
		"years":   {intervalSpec{Years: []string{"2020:2022", "2030"}}, []string{"2020-01-01T00:00:00Z", "2022-12-31T23:59:59Z", "2030-06-01T00:00:00Z"}, []string{"2019-12-31T23:59:59Z", "2023-01-01T00:00:00Z"}},
		"holiday": {intervalSpec{DaysOfMonth: []string{"25"}, Months: []string{"december"}, Location: sydney}, []string{"2026-12-24T13:00:00Z", "2026-12-25T12:59:59Z"}, []string{"2026-12-24T12:59:59Z", "2026-12-25T13:00:00Z"}},
		"office hours": {
			intervalSpec{Times: hours("09:00", "17:00"), Weekdays: []string{"monday:friday"}, Location: berlin},
			[]string{"2026-03-02T08:00:00Z", "2026-03-02T15:59:59Z", "2026-06-01T07:00:00Z"}, // winter, then summer
			[]string{"2026-03-02T07:59:59Z", "2026-03-02T16:00:00Z", "2026-06-01T15:00:00Z", "2026-03-07T12:00:00Z"},
		},
		// On 2026-03-29 clocks in Berlin go from 02:00 to 03:00 at 01:00Z: the hour is not there.
		"the hour that spring skips": {
			intervalSpec{Times: hours("02:00", "03:00"), Location: berlin},
			[]string{"2026-03-28T01:00:00Z", "2026-03-28T01:59:59Z", "2026-03-30T00:00:00Z"},
			[]string{"2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		},
		// On 2026-10-25 they go back from 03:00 to 02:00 at 01:00Z: the hour is there twice.
		"the hour that autumn repeats": {
			intervalSpec{Times: hours("02:00", "03:00"), Location: berlin},
			[]string{"2026-10-25T00:00:00Z", "2026-10-25T00:59:59Z", "2026-10-25T01:00:00Z", "2026-10-25T01:59:59Z"},
			[]string{"2026-10-24T23:59:59Z", "2026-10-25T02:00:00Z"},
		},
		"a day of 23 hours": {
			intervalSpec{Weekdays: []string{"sunday"}, Location: berlin},
			[]string{"2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z"},
			[]string{"2026-03-28T22:59:59Z", "2026-03-29T22:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := interval(t, c.spec)
			for want, texts := range map[bool][]string{true: c.in, false: c.out} {
				for _, text := range texts {
					at, err := time.Parse(time.RFC3339, text)
					if err != nil {
						t.Fatal(err)
					}
					if got := i.Contains(at); got != want {
						t.Errorf("%s: got %v", text, got)
					}
				}
			}
		})
	}
}

func TestTimeIntervalFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spec intervalSpec
		want string
	}{
		"time without zero":  {intervalSpec{Times: []incident.TimeRange{{Start: "9:00", End: "17:00"}}}, "times[0]: start_time: expected"},
		"time past midnight": {intervalSpec{Times: []incident.TimeRange{{Start: "09:00", End: "24:01"}}}, "times[0]: end_time: expected"},
		"no end":             {intervalSpec{Times: []incident.TimeRange{{Start: "09:00"}}}, "times[0]: end_time: expected"},
		"over midnight":      {intervalSpec{Times: []incident.TimeRange{{Start: "22:00", End: "06:00"}}}, "times[0]: start_time 22:00 is not before"},
		"empty time":         {intervalSpec{Times: []incident.TimeRange{{Start: "22:00", End: "22:00"}}}, "times[0]: start_time 22:00 is not before"},
		"weekday":            {intervalSpec{Weekdays: []string{"monday", "mon"}}, "weekdays[1]: expected a weekday"},
		"weekday by number":  {intervalSpec{Weekdays: []string{"1"}}, "weekdays[0]: expected a weekday"},
		"weekend":            {intervalSpec{Weekdays: []string{"saturday:sunday"}}, `weekdays[0]: "saturday:sunday" ends before`},
		"day 0":              {intervalSpec{DaysOfMonth: []string{"0"}}, "days_of_month[0]: expected a day"},
		"day 32":             {intervalSpec{DaysOfMonth: []string{"1:32"}}, "days_of_month[0]: expected a day"},
		"day -32":            {intervalSpec{DaysOfMonth: []string{"-32"}}, "days_of_month[0]: expected a day"},
		"days backwards":     {intervalSpec{DaysOfMonth: []string{"5:1"}}, `days_of_month[0]: "5:1" ends before`},
		"from the end on":    {intervalSpec{DaysOfMonth: []string{"-5:3"}}, `days_of_month[0]: "-5:3" counts from the end`},
		"never":              {intervalSpec{DaysOfMonth: []string{"31:-2"}}, `days_of_month[0]: "31:-2" ends before it begins in every`},
		"month":              {intervalSpec{Months: []string{"13"}}, "months[0]: expected a month"},
		"months backwards":   {intervalSpec{Months: []string{"november:february"}}, `months[0]: "november:february" ends`},
		"year":               {intervalSpec{Years: []string{"soon"}}, "years[0]: expected a year"},
		"all at once":        {intervalSpec{Weekdays: []string{"x"}, Years: []string{"0"}}, "weekdays[0]: expected; years[0]: expected"},
		"three parts":        {intervalSpec{Years: []string{"2020:2021:2022"}}, "years[0]: expected"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := incident.CompileTimeInterval(c.spec)
			checkFaults(t, err, c.want)
		})
	}
}

func TestTimeIntervalsMuted(t *testing.T) {
	all := incident.TimeIntervals{
		"weekends":   {interval(t, intervalSpec{Weekdays: []string{"saturday", "sunday"}})},
		"mornings":   {interval(t, intervalSpec{Times: []incident.TimeRange{{Start: "06:00", End: "09:00"}}}), interval(t, intervalSpec{Times: []incident.TimeRange{{Start: "09:00", End: "12:00"}}})},
		"afternoons": {interval(t, intervalSpec{Times: []incident.TimeRange{{Start: "12:00", End: "18:00"}}})},
	}
	monday, saturday := noon.Add(-2*time.Hour), noon.AddDate(0, 0, 5).Add(-2*time.Hour) // both at 10:00
	for name, c := range map[string]struct {
		mute, active []string
		at           time.Time
		want         string
	}{
		"no names":               {nil, nil, monday, ""},
		"muted":                  {[]string{"mornings"}, nil, monday, "in time interval mornings"},
		"muted by the second":    {[]string{"weekends", "mornings"}, nil, monday, "in time interval mornings"},
		"not muted":              {[]string{"afternoons"}, nil, monday, ""},
		"active":                 {nil, []string{"afternoons", "mornings"}, monday, ""},
		"not active":             {nil, []string{"afternoons", "weekends"}, monday, "outside of time interval afternoons, weekends"},
		"active and muted":       {[]string{"weekends"}, []string{"mornings"}, saturday, "in time interval weekends"},
		"a name that is no more": {[]string{"holidays"}, nil, monday, ""},
	} {
		if got, ok := all.Muted(c.mute, c.active, c.at); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, ok, c.want)
		}
	}
}

// FuzzTimeInterval: whatever is accepted as a list contains, of each month, only what
// its first and last day allow, and nothing panics.
func FuzzTimeInterval(f *testing.F) {
	for _, seed := range []string{"1:5", "-3:-1", "monday:friday", "may:8", "2026", "31:-1", "", ":", "0"} {
		f.Add(seed, int64(1_772_452_800))
	}
	f.Fuzz(func(t *testing.T, text string, second int64) {
		at := time.Unix(second%(1<<40), 0)
		for _, spec := range []intervalSpec{{Weekdays: []string{text}}, {DaysOfMonth: []string{text}}, {Months: []string{text}}, {Years: []string{text}}, {Times: []incident.TimeRange{{Start: text, End: "24:00"}}}} {
			i, err := incident.CompileTimeInterval(spec)
			if err != nil {
				continue
			}
			if got, again := i.Contains(at), i.Contains(at.UTC()); got != again {
				t.Errorf("%+v: %v in one zone, %v in UTC", spec, got, again)
			}
		}
	})
}
