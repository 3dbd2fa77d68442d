package incident

import (
	"slices"
	"strings"
	"time"
)

// A TimeInterval is a recurring set of moments, as Alertmanager has it. A moment is
// in it if each of its lists that is not empty has an entry for the moment; all
// ranges include both ends, but that of times excludes its end. The zero value
// contains every moment.
type TimeInterval struct {
	times    []span // minutes of the day
	weekdays []span // 0 is Sunday
	days     []span // of the month; -1 is the last
	months   []span
	years    []span
	location *time.Location // nil: UTC
}

type span struct{ first, last int }

func (s span) has(n int) bool { return n >= s.first && n <= s.last }

// Contains reports whether a moment is in the interval, by the clock of its
// location: what that clock skips is in no interval, and what it repeats is twice.
func (t TimeInterval) Contains(at time.Time) bool {
	at = t.local(at)
	length := daysIn(at)
	return within(t.times, at.Hour()*60+at.Minute()) &&
		within(t.weekdays, int(at.Weekday())) &&
		within(t.months, int(at.Month())) &&
		within(t.years, at.Year()) &&
		(len(t.days) == 0 || slices.ContainsFunc(t.days, func(d span) bool { return d.ofMonth(length).has(at.Day()) }))
}

// Next returns the earliest moment after another at which Contains may answer
// otherwise: where one of the times begins or ends, at midnight, or where the clock of
// the location is put forward or back.
func (t TimeInterval) Next(after time.Time) time.Time {
	const day = 24 * time.Hour
	at := t.local(after)
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	wait := day - clock
	for _, s := range t.times {
		for _, minute := range []int{s.first, s.last + 1} {
			if bound := time.Duration(minute) * time.Minute; bound > clock {
				wait = min(wait, bound-clock)
			}
		}
	}
	next := after.Add(wait) // unless the clock is put before then
	if _, put := at.ZoneBounds(); !put.IsZero() && put.Before(next) {
		next = put
	}
	return next
}

// local returns a moment by the clock of the interval's location.
func (t TimeInterval) local(at time.Time) time.Time {
	if t.location == nil {
		return at.UTC()
	}
	return at.In(t.location)
}

func within(spans []span, n int) bool {
	return len(spans) == 0 || slices.ContainsFunc(spans, func(s span) bool { return s.has(n) })
}

// daysIn returns the length of a moment's month in days.
func daysIn(at time.Time) int {
	return time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// ofMonth counts from the first day of a month what is counted from its end. What
// lies before the first day begins with it.
func (s span) ofMonth(length int) span {
	if s.first < 0 {
		s.first = max(1, s.first+length+1)
	}
	if s.last < 0 {
		s.last += length + 1
	}
	return s
}

// TimeIntervals are lists of intervals by name; a moment is in a list if it is in one
// of it.
type TimeIntervals map[string][]TimeInterval

// Muted says why a route with these names under mute_time_intervals and
// active_time_intervals tells nobody at a moment; ok is false if it tells.
func (t TimeIntervals) Muted(mute, active []string, at time.Time) (reason string, ok bool) {
	contains := func(name string) bool {
		return slices.ContainsFunc(t[name], func(i TimeInterval) bool { return i.Contains(at) })
	}
	if i := slices.IndexFunc(mute, contains); i >= 0 {
		return "in time interval " + mute[i], true
	}
	if len(active) > 0 && !slices.ContainsFunc(active, contains) {
		return "outside of time interval " + strings.Join(active, ", "), true
	}
	return "", false
}
