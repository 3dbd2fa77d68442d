package incident

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// A TimeIntervalSpec is a TimeInterval as the operator wrote it, with the words of
// Alertmanager's configuration. Ranges are written first:last.
type TimeIntervalSpec struct {
	Times       []TimeRange
	Weekdays    []string       // names, such as monday:friday; the week begins on sunday
	DaysOfMonth []string       // 1 to 31, or from the end of the month -1 to -31
	Months      []string       // names, or 1 to 12
	Years       []string       // such as 2026:2028
	Location    *time.Location // nil: UTC
}

// A TimeRange is a part of a day: from the minute Start to before End, both HH:MM up
// to 24:00.
type TimeRange struct{ Start, End string }

// A rangeForm is how one of the lists of an interval is written.
type rangeForm struct {
	what       string
	words      []string // in place of numbers; the first stands for least
	least, max int      // of numbers; of what has names only, none is between them
	fromEnd    bool     // numbers below 0 count from the end
}

var (
	weekdayForm = rangeForm{what: "weekday such as monday", words: []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}, least: 0, max: -1}
	dayForm     = rangeForm{what: "day from 1 to 31, or from -31 to -1", least: 1, max: 31, fromEnd: true}
	monthForm   = rangeForm{what: "month such as january or 1", words: []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}, least: 1, max: 12}
	yearForm    = rangeForm{what: "year such as 2026", least: 1, max: 9999}
)

// CompileTimeInterval checks an interval. The error joins an *alert.Fault for
// everything that is wrong, its Field such as "weekdays[0]".
func CompileTimeInterval(spec TimeIntervalSpec) (TimeInterval, error) {
	out := TimeInterval{location: spec.Location}
	var faults []error
	fault := func(field string, i int, err error) {
		faults = append(faults, &alert.Fault{Field: fmt.Sprintf("%s[%d]", field, i), Message: err.Error()})
	}
	for i, r := range spec.Times {
		s, err := r.parse()
		if err != nil {
			fault("times", i, err)
		}
		out.times = append(out.times, s)
	}
	for _, list := range []struct {
		field string
		form  rangeForm
		texts []string
		into  *[]span
	}{
		{"weekdays", weekdayForm, spec.Weekdays, &out.weekdays},
		{"days_of_month", dayForm, spec.DaysOfMonth, &out.days},
		{"months", monthForm, spec.Months, &out.months},
		{"years", yearForm, spec.Years, &out.years},
	} {
		for i, text := range list.texts {
			s, err := list.form.parse(text)
			if err != nil {
				fault(list.field, i, err)
			}
			*list.into = append(*list.into, s)
		}
	}
	return out, errors.Join(faults...)
}

// parse returns the minutes of the day.
func (r TimeRange) parse() (span, error) {
	first, err := minuteOf(r.Start)
	if err != nil {
		return span{}, fmt.Errorf("start_time: %w", err)
	}
	end, err := minuteOf(r.End)
	if err != nil {
		return span{}, fmt.Errorf("end_time: %w", err)
	}
	if first >= end {
		return span{}, fmt.Errorf("start_time %s is not before end_time %s: a range over midnight is two, one up to 24:00 and one from 00:00", r.Start, r.End)
	}
	return span{first, end - 1}, nil
}

// minuteOf reads HH:MM, with both digits.
func minuteOf(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("expected a time such as 09:00, up to 24:00, found %.20q", text)
	}
	return at.Hour()*60 + at.Minute(), nil
}

// parse reads one entry, or two with a colon between.
func (f rangeForm) parse(text string) (span, error) {
	first, last, ranged := strings.Cut(text, ":")
	if !ranged {
		last = first
	}
	var s span
	var err error
	if s.first, err = f.number(first); err != nil {
		return s, err
	}
	if s.last, err = f.number(last); err != nil {
		return s, err
	}
	switch {
	case s.first < 0 && s.last > 0:
		return s, fmt.Errorf("%q counts from the end of the month to a day that counts from its beginning", text)
	case s.first > 0 && s.last < 0: // whether they are in order depends on the month; in the longest they must be
		if s.first > s.last+f.max+1 {
			return s, fmt.Errorf("%q ends before it begins in every month", text)
		}
	case s.first > s.last:
		return s, fmt.Errorf("%q ends before it begins: write two entries", text)
	}
	return s, nil
}

func (f rangeForm) number(text string) (int, error) {
	text = strings.TrimSpace(text)
	if i := slices.Index(f.words, strings.ToLower(text)); i >= 0 {
		return f.least + i, nil
	}
	n, err := strconv.Atoi(text)
	within := n >= f.least && n <= f.max || f.fromEnd && n <= -f.least && n >= -f.max
	if err != nil || !within {
		return 0, fmt.Errorf("expected a %s, found %.20q", f.what, text)
	}
	return n, nil
}
