package config

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
)

// TimeIntervals is a list of recurring intervals that routes know by name, with the
// keys of Alertmanager.
type TimeIntervals struct {
	Name          string         `json:"name" config:"required" jsonschema:"what routes call it"`
	TimeIntervals []TimeInterval `json:"time_intervals" jsonschema:"a moment is in the list if it is in one of these"`
}

// TimeInterval is a recurring set of moments: those that each of its keys contains.
type TimeInterval struct {
	Times       []TimeRange `json:"times,omitempty" jsonschema:"parts of the day; over midnight it takes two"`
	Weekdays    []string    `json:"weekdays,omitempty" jsonschema:"sunday to saturday, or ranges such as monday:friday; the week begins on sunday"`
	DaysOfMonth []string    `json:"days_of_month,omitempty" jsonschema:"1 to 31, or from the end of the month -1 to -31, or ranges such as -3:-1"`
	Months      []string    `json:"months,omitempty" jsonschema:"january to december or 1 to 12, or ranges such as may:august"`
	Years       []string    `json:"years,omitempty" jsonschema:"years, or ranges such as 2026:2028"`
	Location    string      `json:"location,omitempty" jsonschema:"time zone such as Europe/Berlin; UTC if absent"`
}

// TimeRange is a part of a day.
type TimeRange struct {
	StartTime string `json:"start_time" config:"required" jsonschema:"first minute, HH:MM"`
	EndTime   string `json:"end_time" config:"required" jsonschema:"the minute after the last, HH:MM up to 24:00"`
}

// compile returns the interval, or an *alert.Fault for everything wrong with it, joined.
func (t TimeInterval) compile() (incident.TimeInterval, error) {
	location, wrong := time.LoadLocation(t.Location)
	if wrong != nil {
		wrong = &alert.Fault{Field: "location", Message: fmt.Sprintf("%q is no time zone: write one such as Europe/Berlin", t.Location)}
	}
	spec := incident.TimeIntervalSpec{Weekdays: t.Weekdays, DaysOfMonth: t.DaysOfMonth, Months: t.Months, Years: t.Years, Location: location}
	for _, r := range t.Times {
		spec.Times = append(spec.Times, incident.TimeRange{Start: r.StartTime, End: r.EndTime})
	}
	out, err := incident.CompileTimeInterval(spec)
	return out, errors.Join(err, wrong)
}

// Intervals compiles the time intervals. Its error joins everything that Validate would
// have found.
func (c *Config) Intervals() (incident.TimeIntervals, error) {
	out := incident.TimeIntervals{}
	var faults []error
	for _, list := range c.TimeIntervals {
		for _, t := range list.TimeIntervals {
			compiled, err := t.compile()
			faults = append(faults, err)
			out[list.Name] = append(out[list.Name], compiled)
		}
	}
	return out, errors.Join(faults...)
}

func (v *validator) intervals(c *Config) {
	first := map[string]bool{}
	for i, list := range c.TimeIntervals {
		path := fmt.Sprintf("time_intervals[%d]", i)
		v.named(path+".name", list.Name, "time interval", first)
		if len(list.TimeIntervals) == 0 {
			v.fault(path+".time_intervals", "it contains no moment: list one interval at least")
		}
		for k, t := range list.TimeIntervals {
			_, err := t.compile()
			v.alertFaults(fmt.Sprintf("%s.time_intervals[%d].", path, k), err)
		}
	}
}

// alertFaults reports the faults that alert and incident find, below a path.
func (v *validator) alertFaults(path string, err error) {
	var f *alert.Fault
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			v.alertFaults(path, err)
		}
	} else if errors.As(err, &f) {
		v.fault(path+f.Field, "%s", f.Message)
	}
}

// routeIntervals checks the names of a route's intervals.
func (v *validator) routeIntervals(path string, r Route, c *Config, root bool) {
	var known []string
	for _, list := range c.TimeIntervals {
		known = append(known, list.Name)
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"mute_time_intervals", r.MuteTimeIntervals}, {"active_time_intervals", r.ActiveTimeIntervals}} {
		if root && len(list.names) > 0 {
			v.fault(path+"."+list.key, "the first route takes every alert at all times: put time intervals into the routes below it")
			continue
		}
		for i, name := range list.names {
			if !slices.Contains(known, name) {
				v.fault(fmt.Sprintf("%s.%s[%d]", path, list.key, i), "there is no time interval %q%s", name, suggest(name, known))
			}
		}
	}
}
