package dataset

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Kind says what a Cell holds.
type Kind uint8

// The kinds of a cell. Integer is a number whose exact value is also in Int.
const (
	Null Kind = iota
	Number
	Integer
	Bool
	String
	Time
	Nested // an array or a deep object: its text, never compared
)

var kindNames = [...]string{"null", "number", "integer", "bool", "string", "time", "nested"}

// String returns the kind's name.
func (k Kind) String() string { return kindNames[k] }

// Cell is one value of a row.
type Cell struct {
	Kind Kind
	Num  float64 // Number, Integer; ±Inf allowed, never NaN (NaN is read as Null)
	Int  int64   // Integer; Bool: 0 or 1; Time: unix nanoseconds, the least or the greatest int64 beyond what they can say
	Str  string  // String, Nested; may be kept by the caller
}

// Float returns the cell as a number. A string holding a number counts as one,
// so that a column overridden to numeric can be read from any format.
func (c Cell) Float() (float64, bool) {
	switch c.Kind {
	case Number, Integer:
		return c.Num, true
	case Bool:
		return float64(c.Int), true
	case String:
		return parseNumber(strings.TrimSpace(c.Str))
	}
	return 0, false
}

// Text returns the cell as a category: strings as they are, booleans as true and
// false, numbers in their shortest decimal form (17 and 17.0 are one category),
// times in RFC 3339. Null is "".
func (c Cell) Text() string {
	switch c.Kind {
	case Integer:
		return strconv.FormatInt(c.Int, 10)
	case Number:
		if c.Num == math.Trunc(c.Num) && math.Abs(c.Num) < 1e15 {
			return strconv.FormatInt(int64(c.Num), 10)
		}
		return strconv.FormatFloat(c.Num, 'g', -1, 64)
	case Bool:
		return strconv.FormatBool(c.Int != 0)
	case Time:
		return time.Unix(0, c.Int).UTC().Format(time.RFC3339Nano)
	}
	return c.Str
}

// UnixNano returns the cell as a point in time: a Time, an ISO date or RFC 3339
// string (UTC where it names no zone), or epoch seconds, milliseconds,
// microseconds or nanoseconds by magnitude. ok is false of what is none, and of years
// before 1678 and after 2261, as sentinels such as 9999-12-31 have them.
func (c Cell) UnixNano() (int64, bool) {
	switch c.Kind {
	case Time:
		return c.Int, c.Int != math.MinInt64 && c.Int != math.MaxInt64
	case String:
		return parseTime(strings.TrimSpace(c.Str))
	case Integer, Number:
		return epoch(c.Num, c.Int, c.Kind == Integer)
	}
	return 0, false
}

// epoch reads a number as seconds, ms, us or ns: 1e11 seconds is the year 5138,
// and 1e11 ms is 1973, so the factors of a thousand cannot be confused for any
// time between 1973 and 5138.
func epoch(f float64, i int64, exact bool) (int64, bool) {
	a := math.Abs(f)
	unit := int64(1)
	switch {
	case a < 1e11:
		unit = 1e9
	case a < 1e14:
		unit = 1e6
	case a < 1e17:
		unit = 1e3
	case a >= 9.2e18 || a != a:
		return 0, false
	}
	if exact {
		return i * unit, math.Abs(f)*float64(unit) < 9.2e18
	}
	ns := f * float64(unit)
	return int64(ns), math.Abs(ns) < 9.2e18
}

// missing lists, in lower case where case does not matter, the texts of a CSV
// cell that mean "no value", as pandas reads them.
var missing = map[string]bool{
	"": true, "NA": true, "N/A": true, "n/a": true, "#N/A": true, "#NA": true, "<NA>": true,
	"NaN": true, "nan": true, "-NaN": true, "-nan": true, "null": true, "NULL": true, "Null": true, "None": true, "NaT": true,
}

// Missing reports whether a CSV cell means "no value": after trimming spaces it
// is empty or one of NA, N/A, n/a, #N/A, #NA, <NA>, NaN, nan, -NaN, -nan, null,
// NULL, Null, None, NaT.
func Missing(text string) bool {
	return len(text) <= 4 && missing[text] || text != "" && text[0] <= ' ' && missing[strings.TrimSpace(text)]
}

// parseNumber reads a decimal number. Hexadecimal, underscores and NaN are text;
// a literal beyond the float range is ±Inf; integers with a leading zero ("02134")
// are codes, not numbers.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 400 {
		return 0, false
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" {
		return 0, false
	}
	switch c := digits[0]; {
	case c == '0' && len(digits) > 1 && digits[1] >= '0' && digits[1] <= '9':
		return 0, false
	case c >= '0' && c <= '9' || c == '.':
		for i := range len(digits) {
			if c := digits[i]; (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
				return 0, false
			}
		}
	case strings.EqualFold(digits, "inf"), strings.EqualFold(digits, "infinity"):
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f + 0, true // -0 becomes +0, as in events
}

// parseInteger reads an integer literal exactly.
func parseInteger(s string) (int64, bool) {
	if s == "" || len(s) > 20 || !(s[0] == '-' && len(s) > 1 || s[0] >= '0' && s[0] <= '9') {
		return 0, false
	}
	if d := strings.TrimPrefix(s, "-"); d[0] == '0' && len(d) > 1 {
		return 0, false
	}
	i, err := strconv.ParseInt(s, 10, 64)
	return i, err == nil
}

// textCell reads a CSV field whose column has no known type yet, or is numeric. Str is left empty.
func textCell(s string) Cell {
	if Missing(s) {
		return Cell{}
	}
	t := s
	if t[0] <= ' ' || t[len(t)-1] <= ' ' {
		t = strings.TrimSpace(t)
	}
	if i, ok := parseInteger(t); ok {
		return Cell{Kind: Integer, Num: float64(i), Int: i}
	}
	if f, ok := parseNumber(t); ok {
		return Cell{Kind: Number, Num: f}
	}
	switch t {
	case "true", "True", "TRUE":
		return Cell{Kind: Bool, Int: 1}
	case "false", "False", "FALSE":
		return Cell{Kind: Bool}
	}
	return Cell{Kind: String} // the caller sets Str: s must not escape
}

var timeLayouts = []string{
	"2006-01-02", time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006/01/02", "2006/01/02 15:04:05",
}

// parseTime reads what readTime does, in nanoseconds, which years outside of
// 1678..2261 do not fit.
func parseTime(s string) (int64, bool) {
	t, ok := readTime(s)
	return t.UnixNano(), ok && t.Year() >= 1678 && t.Year() <= 2261
}

// readTime reads an ISO 8601 date or time of any year; without a zone it is UTC.
func readTime(s string) (time.Time, bool) {
	if len(s) < 10 || len(s) > 40 || s[0] < '0' || s[0] > '9' || s[4] != '-' && s[4] != '/' {
		return time.Time{}, false
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// timeCell returns the time so many units after 1970, held to what nanoseconds can say.
func timeCell(n int64, unit time.Duration) Cell {
	ns := n * int64(unit)
	switch most := math.MaxInt64 / int64(unit); {
	case n > most:
		ns = math.MaxInt64
	case n < -most:
		ns = math.MinInt64
	}
	return Cell{Kind: Time, Int: ns}
}
