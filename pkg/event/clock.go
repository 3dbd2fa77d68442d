package event

import "math"

// The span of Event.Time, in Unix seconds: from 1678-01-01T00:00:00Z to the
// last whole second an int64 of nanoseconds holds, 2262-04-11T23:47:15Z.
const (
	firstSecond = -9214560000
	lastSecond  = 9223372035
)

// time reads the value of a time field: Unix nanoseconds, 0 for null and zero.
func (d *Decoder) time(i int) (int64, int) {
	s := d.s
	if i < len(s) && s[i] == '"' {
		t, end := d.text(i)
		if end < 0 {
			return 0, -1
		}
		ns, problem := d.parseTime(t)
		if problem != "" {
			return 0, d.fail(Schema, i, "%s", problem)
		}
		return ns, end
	}
	if i >= len(s) || s[i] != '-' && s[i]-'0' > 9 {
		return 0, d.wrongType(i, "an RFC 3339 text or a number")
	}
	dec, end := parseDecimal(s, i)
	if end < 0 {
		return 0, d.badNumber(i)
	}
	ns, ok := epoch(dec, s[i:end])
	if !ok {
		return 0, d.fail(Schema, i, "time is outside the years 1678 to 2262; send seconds, ms, us or ns since 1970")
	}
	return ns, end
}

// epoch converts a number to Unix nanoseconds; its magnitude tells the unit.
// Whole and fractional literals of up to 19 digits are converted exactly.
func epoch(dec decimal, literal string) (int64, bool) {
	x := dec.float(literal)
	shift := 0
	switch a := math.Abs(x); {
	case a < 1e11:
		shift = 9
	case a < 1e14:
		shift = 6
	case a < 1e17:
		shift = 3
	}
	ns, ok := dec.scaled(shift)
	if !ok {
		f := x * pow10[shift]
		if !(f >= firstSecond*1e9 && f <= lastSecond*1e9) {
			return 0, false
		}
		ns = int64(f)
	}
	return ns, ns >= firstSecond*1e9 && ns <= lastSecond*1e9
}

const timeHelp = "; send RFC 3339 such as 2026-11-22T21:00:00.123Z"

// parseTime reads RFC 3339. problem is "" or says what to do.
func (d *Decoder) parseTime(t string) (ns int64, problem string) {
	if len(t) < len("2006-01-02T15:04:05Z") || t[4] != '-' || t[7] != '-' || t[13] != ':' || t[16] != ':' {
		return 0, "time is not a date and time with an offset" + timeHelp
	}
	if t[10] != 'T' && t[10] != 't' && t[10] != ' ' {
		return 0, "time has no T between date and time" + timeHelp
	}
	day, ok := d.date(t[:10])
	if !ok {
		return 0, "time has no such day" + timeHelp
	}
	h, m, sec := two(t[11:]), two(t[14:]), two(t[17:])
	if h > 23 || m > 59 || sec > 60 { // 60 is a leap second: Unix time gives it the next second's number
		return 0, "time has no such hour, minute or second" + timeHelp
	}
	frac, i := fraction(t, 19)
	offset, ok := int64(0), t[i:] == "Z"
	if !ok {
		offset, ok = zone(t[i:])
	}
	if !ok {
		return 0, "time does not end with Z or an offset such as +01:00" + timeHelp
	}
	unix := day*86400 + int64(h*3600+m*60+sec) - offset
	if unix < firstSecond || unix > lastSecond {
		return 0, "time is outside the years 1678 to 2262" + timeHelp
	}
	return unix*1e9 + frac, ""
}

// fraction reads the optional fraction of a second at i, cut to nanoseconds. A
// point without digits is left where it is, for zone to refuse.
func fraction(t string, i int) (ns int64, end int) {
	if i+1 >= len(t) || t[i] != '.' || t[i+1]-'0' > 9 {
		return 0, i
	}
	digits := 0
	for i++; i < len(t) && t[i]-'0' < 10; i++ {
		if digits < 9 {
			ns = ns*10 + int64(t[i]-'0')
			digits++
		}
	}
	return ns * int64(pow10[9-digits]), i
}

// zone reads Z or ±hh:mm, which must be all there is, in seconds east.
func zone(t string) (int64, bool) {
	if t == "Z" || t == "z" {
		return 0, true
	}
	if len(t) != 6 || t[3] != ':' || t[0] != '+' && t[0] != '-' {
		return 0, false
	}
	h, m := two(t[1:]), two(t[4:])
	if h > 23 || m > 59 {
		return 0, false
	}
	sec := int64(h*3600 + m*60)
	if t[0] == '-' {
		sec = -sec
	}
	return sec, true
}

// two reads two digits; anything else gives a number above every bound here.
func two(t string) int {
	a, b := t[0]-'0', t[1]-'0'
	if a > 9 || b > 9 {
		return 1000
	}
	return int(a)*10 + int(b)
}

// date returns the days since 1970 of yyyy-mm-dd. Events come in order of time,
// so the last answer nearly always serves.
func (d *Decoder) date(t string) (int64, bool) {
	if string(d.day[:]) == t {
		return d.days, true
	}
	y, m, day := two(t)*100+two(t[2:]), two(t[5:]), two(t[8:])
	if y > 9999 || m < 1 || m > 12 || day < 1 || day > monthDays(y, m) {
		return 0, false
	}
	copy(d.day[:], t)
	d.days = daysFromCivil(y, m, day)
	return d.days, true
}

func monthDays(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysFromCivil counts the days from 1970-01-01 in the Gregorian calendar for
// years from 1 (H. Hinnant, "chrono-compatible low-level date algorithms"). Of
// year 0 it is only right that the result is far outside the span of Event.Time.
func daysFromCivil(y, m, day int) int64 {
	if m <= 2 {
		y-- // the year starts in March, so that the leap day is its last
		m += 12
	}
	era, yoe := y/400, y%400
	doy := (153*(m-3)+2)/5 + day - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
}
