package event

import (
	"math"
	"math/bits"
	"strconv"
)

// pow10 holds the powers of ten which a float64 represents exactly.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// decimal is a number literal as mantissa * 10^exp, with its sign apart. exact
// is false where the mantissa has more digits than a uint64 holds for sure.
type decimal struct {
	mantissa uint64
	exp      int
	negative bool
	exact    bool
}

// parseNumber reads the number literal at i, correctly rounded. A magnitude
// above the largest float64 becomes ±Inf, -0 becomes 0. end is -1 if the
// literal is not JSON.
//
// The fast path is exact because mantissa and power of ten both are, and one
// IEEE operation rounds once (Clinger 1990). strconv does the rest.
func parseNumber(s string, i int) (x float64, end int) {
	start := i
	if s[i] == '-' {
		start++
	}
	if start+8 > len(s) {
		return parseNumberSlow(s, i)
	}
	w := load8(s, start)
	n := digitsIn(w)
	m, j, places := eightDigits(w, n), start+n, 0
	if n < 8 && s[j] == '.' && j+9 <= len(s) {
		w = load8(s, j+1)
		if places = digitsIn(w); places > 0 {
			m = m*shift8[places] + eightDigits(w, places)
			j += 1 + places
		}
	}
	// The common literal: no exponent, no leading zero, at most 7 digits before
	// the point and 8 after it, and so below 2^53. All others are read again.
	if n-1 >= 7 || n < 1 || s[start] == '0' && n > 1 || j >= len(s) || s[j] > '-' && (s[j]|0x20 == 'e' || s[j] == '.' || s[j]-'0' < 10) {
		return parseNumberSlow(s, i)
	}
	x = float64(int64(m))
	if places > 0 {
		x /= pow10[places]
	}
	if start > i && m != 0 {
		x = -x
	}
	return x, j
}

// opensNumber marks the bytes with which a number begins. It is a table so that
// the one branch on it does not depend on the sign, which is as random as data.
var opensNumber = func() (t [256]bool) {
	for _, c := range "-0123456789" {
		t[c] = true
	}
	return t
}()

// shift8 holds the powers of ten by which up to eight digits move a number.
var shift8 = [9]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// digitsIn returns how many of the eight bytes of w, from the first (lowest) on,
// are digits. A byte is one if its high half is 3 and stays 3 when 6 is added;
// the carry of a byte which is none can only reach bytes after it.
func digitsIn(w uint64) int {
	const high, three = 0xF0F0F0F0F0F0F0F0, 0x3030303030303030
	return bits.TrailingZeros64((w&high^three)|((w+0x0606060606060606)&high^three)) / 8
}

// eightDigits is the number which the first n bytes of w spell, n from 0 to 8:
// they are moved to the end, behind zeros, and added up in pairs, in fours and
// in eights (D. Lemire, "Quickly parsing eight digits").
func eightDigits(w uint64, n int) uint64 {
	w <<= 64 - 8*uint(n) // 64 for n = 0, which Go defines to give 0
	w = (w & 0x0F0F0F0F0F0F0F0F) * 2561 >> 8
	w = (w & 0x00FF00FF00FF00FF) * 6553601 >> 16
	return (w & 0x0000FFFF0000FFFF) * 42949672960001 >> 32
}

func parseNumberSlow(s string, i int) (x float64, end int) {
	dec, end := parseDecimal(s, i)
	if end < 0 {
		return 0, -1
	}
	return dec.float(s[i:end]), end
}

// float returns the nearest float64; literal is the text it was read from.
func (dec decimal) float(literal string) float64 {
	if !dec.exact || dec.mantissa > 1<<53 || dec.exp > 22 || dec.exp < -22 {
		x, _ := strconv.ParseFloat(literal, 64) // out of range: ±Inf, as wanted
		return x + 0                            // -0 + 0 is +0
	}
	x := float64(dec.mantissa)
	if dec.exp < 0 {
		x /= pow10[-dec.exp]
	} else {
		x *= pow10[dec.exp]
	}
	if dec.negative && x != 0 {
		return -x
	}
	return x
}

// parseDecimal reads the number literal at i.
func parseDecimal(s string, i int) (dec decimal, end int) {
	if i < len(s) && s[i] == '-' {
		dec.negative = true
		i++
	}
	start, m := i, uint64(0)
	for i < len(s) && s[i]-'0' < 10 {
		m = m*10 + uint64(s[i]-'0')
		i++
	}
	if i == start || (s[start] == '0' && i > start+1) {
		return dec, -1
	}
	digits := i - start
	if i < len(s) && s[i] == '.' {
		i++
		start = i
		for i < len(s) && s[i]-'0' < 10 {
			m = m*10 + uint64(s[i]-'0')
			i++
		}
		if i == start {
			return dec, -1
		}
		digits += i - start
		dec.exp = start - i
	}
	dec.mantissa, dec.exact = m, digits <= 19
	if i < len(s) && s[i]|0x20 == 'e' {
		e, after := parseExponent(s, i+1)
		if after < 0 {
			return dec, -1
		}
		dec.exp += e
		i = after
	}
	return dec, i
}

// parseExponent reads the part after the e. Beyond a million it stops adding:
// no literal within a message's size can make up for that many zeros.
func parseExponent(s string, i int) (e, end int) {
	negative := false
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		negative = s[i] == '-'
		i++
	}
	start := i
	for i < len(s) && s[i]-'0' < 10 {
		if e < 1e6 {
			e = e*10 + int(s[i]-'0')
		}
		i++
	}
	if i == start {
		return 0, -1
	}
	if negative {
		e = -e
	}
	return e, i
}

// badNumber says what is wrong with the literal at i.
func (d *Decoder) badNumber(i int) int {
	s := d.s
	j := i
	if s[j] == '-' {
		j++
	}
	switch {
	case j < len(s) && s[j] == '0' && j+1 < len(s) && s[j+1]-'0' < 10:
		return d.fail(Decode, i, "a number has no leading zeros in JSON; remove them, or send a string if it is a code")
	case j < len(s) && s[j]-'0' < 10:
		return d.fail(Decode, i, "number ends after its point or e; write 1.0 or 1e5")
	case j >= len(s):
		return d.fail(Decode, j, "message ends inside a number; is it cut off?")
	}
	return d.badValue(i)
}

// numberText is the canonical text of a number as a category: plain decimal
// notation with the fewest digits from 1e-7 up to 1e21, else with an exponent.
func (d *Decoder) numberText(x float64) string {
	format := byte('f')
	if a := math.Abs(x); a != 0 && (a < 1e-7 || a >= 1e21) {
		format = 'g'
	}
	return d.keep(strconv.AppendFloat(d.room(32), x, format, -1, 64))
}

// literalText is numberText for a literal. Integers are taken digit for digit,
// without allocation and without loss above 2^53: numeric ids are long.
func (d *Decoder) literalText(literal string) string {
	digits := literal
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if digits == "0" {
		return "0"
	}
	for i := 0; i < len(digits); i++ {
		if digits[i]-'0' > 9 {
			x, _ := parseNumber(literal, 0)
			return d.numberText(x)
		}
	}
	return literal
}

// scaled returns dec * 10^shift as an int64, truncated toward zero. ok is false
// where it does not fit or the mantissa is not exact.
func (dec decimal) scaled(shift int) (v int64, ok bool) {
	e := dec.exp + shift
	m := dec.mantissa
	if !dec.exact {
		return 0, false
	}
	for ; e < 0 && m > 0; e++ {
		m /= 10
	}
	for ; e > 0 && m > 0; e-- {
		hi, lo := bits.Mul64(m, 10)
		if hi > 0 {
			return 0, false
		}
		m = lo
	}
	if m > math.MaxInt64 {
		return 0, false
	}
	if dec.negative {
		return -int64(m), true
	}
	return int64(m), true
}
