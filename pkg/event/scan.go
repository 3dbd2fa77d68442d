package event

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// The scanner reads RFC 8259 from a string at an index and returns the index
// after what it read, or -1 with Decoder.fault set. It never looks back.

// plainByte marks the bytes which a string literal may hold as they are and
// which need no further look: printable ASCII but quote and backslash.
var plainByte = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// load8 returns the eight bytes of s from i on, the first lowest. The caller has
// checked that 0 <= i and i+8 <= len(s): here nobody does, for speed.
func load8(s string, i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))[:])
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// notPlain is 0 if all eight bytes of w are plain; else its lowest bit is the
// highest of the first byte which is not: the subtractions borrow from later
// bytes alone. Flipping bit 1 swaps quote (0x22) with the space below it, so that
// one test for less than 0x21 finds quotes and control characters.
func notPlain(w uint64) uint64 {
	return (w | ((w ^ ones*2) - ones*0x21) | ((w ^ ones*'\\') - ones)) & highs
}

// plainEnd returns the index of the first byte from j on which is not plain.
func plainEnd(s string, j int) int {
	for j+16 <= len(s) { // two words a turn, for long texts such as trace ids
		m, next := notPlain(load8(s, j)), notPlain(load8(s, j+8))
		if m|next != 0 {
			if m == 0 {
				m, j = next, j+8
			}
			return j + bits.TrailingZeros64(m)/8
		}
		j += 16
	}
	for j < len(s) && plainByte[s[j]] {
		j++
	}
	return j
}

// token is the text of a key with its quotes and colon, cut into words which
// are compared without a call.
type token struct {
	head, tail, mask uint64 // tail: of the last eight bytes, where there are more than eight
	n, room          int    // length; bytes of the message that a comparison reads
	text             string
}

// noToken matches nothing: no message is so long.
var noToken = token{room: 1 << 40}

func newToken(text string) token {
	t := token{n: len(text), room: max(len(text), 8), text: text, mask: 1<<64 - 1}
	if t.n < 8 {
		t.mask = 1<<(8*t.n) - 1
		t.head = load8(text+"\x00\x00\x00\x00\x00\x00\x00\x00", 0)
		return t
	}
	t.head, t.tail = load8(text, 0), load8(text, t.n-8)
	return t
}

// at reports whether s has the token at i. Within eight bytes of the end of s
// it may say no: the caller then reads the key the long way.
func (t *token) at(s string, i int) bool {
	return i+t.room <= len(s) && load8(s, i)&t.mask == t.head &&
		(t.n <= 8 || load8(s, i+t.n-8) == t.tail && (t.n <= 16 || s[i:i+t.n] == t.text))
}

// skipSpace returns the index of the first byte from i on which is not JSON
// white space, len(s) if there is none.
func skipSpace(s string, i int) int {
	for i < len(s) && s[i] <= ' ' && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// text reads the string literal at i and returns its content, which aliases
// the message unless it holds escapes.
func (d *Decoder) text(i int) (string, int) {
	s := d.s
	if i >= len(s) || s[i] != '"' {
		return "", d.badValue(i)
	}
	j := i + 1
	if j+8 <= len(s) { // most texts are short: the first word without a call
		if m := notPlain(load8(s, j)); m != 0 {
			j += bits.TrailingZeros64(m) / 8
		} else {
			j = plainEnd(s, j+8)
		}
	} else {
		j = plainEnd(s, j)
	}
	if j < len(s) && s[j] == '"' {
		return s[i+1 : j], j + 1
	}
	end, escaped := d.textEnd(j)
	if end < 0 {
		return "", -1
	}
	if !escaped {
		return s[i+1 : end-1], end
	}
	return d.unescape(s[i+1 : end-1]), end
}

// textEnd validates the rest of a string literal from j and returns the index
// after its closing quote, and whether it holds an escape.
func (d *Decoder) textEnd(j int) (end int, escaped bool) {
	s := d.s
	for j < len(s) {
		c := s[j]
		switch {
		case plainByte[c]:
			j = plainEnd(s, j+1)
		case c == '"':
			return j + 1, escaped
		case c == '\\':
			escaped = true
			n := escapeLen(s[j:])
			if n == 0 {
				return d.fail(Decode, j, `invalid escape; JSON knows \" \\ \/ \b \f \n \r \t and \u with four hex digits`), false
			}
			j += n
		case c < 0x20:
			return d.fail(Decode, j, `control character 0x%02x inside a string; escape it as \u%04x`, c, c), false
		default:
			r, n := utf8.DecodeRuneInString(s[j:])
			if r == utf8.RuneError && n == 1 {
				return d.fail(Decode, j, "invalid UTF-8 (byte 0x%02x); send text as UTF-8", c), false
			}
			j += n
		}
	}
	return d.fail(Decode, len(s), "message ends inside a string; is it cut off?"), false
}

// escapeLen returns the length of the escape at the start of s, 0 if invalid.
func escapeLen(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(s); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads the four digits of an escape \u at the start of s.
func hex4(s string) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for i := 2; i < 6; i++ {
		c := s[i]
		switch {
		case c-'0' < 10:
			c -= '0'
		case c-'a' < 6:
			c -= 'a' - 10
		case c-'A' < 6:
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape resolves the escapes of a validated literal. A surrogate without
// its partner becomes U+FFFD, as in encoding/json.
func (d *Decoder) unescape(s string) string {
	buf := d.room(len(s)) // no escape is shorter than what it stands for
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			buf = append(buf, s[i])
			i++
			continue
		}
		if s[i+1] != 'u' {
			buf = append(buf, simpleEscape(s[i+1]))
			i += 2
			continue
		}
		r, _ := hex4(s[i:])
		i += 6
		if r >= 0xD800 && r < 0xE000 {
			low, ok := hex4(s[i:])
			if r < 0xDC00 && ok && low >= 0xDC00 && low < 0xE000 {
				r = (r-0xD800)<<10 | (low - 0xDC00) + 0x10000
				i += 6
			} else {
				r = utf8.RuneError
			}
		}
		buf = utf8.AppendRune(buf, r)
	}
	return d.keep(buf)
}

func simpleEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // " \ /
}

// arenaChunk is the size of the blocks which hold unescaped and rewritten text.
// They are written once and never reused, so that such strings live as long as
// those which alias the message; the collector takes them back.
const arenaChunk = 16 << 10

// room returns an empty slice with space for n bytes; keep makes a string of it.
func (d *Decoder) room(n int) []byte {
	if cap(d.arena)-len(d.arena) < n {
		d.arena = make([]byte, 0, max(n, arenaChunk))
	}
	return d.arena[len(d.arena):]
}

// keep seals what was appended to room's slice and returns it as a string.
// Where the appends outgrew the room, the bytes are elsewhere already.
func (d *Decoder) keep(buf []byte) string {
	if len(buf) == 0 {
		return ""
	}
	if n := len(d.arena); unsafe.SliceData(buf) == unsafe.SliceData(d.arena[n:]) {
		d.arena = d.arena[:n+len(buf)]
	}
	return unsafe.String(&buf[0], len(buf)) // nobody writes these bytes again
}

// literal reads true, false or null at i.
func (d *Decoder) literal(i int, word string) int {
	if end := i + len(word); end <= len(d.s) && d.s[i:end] == word {
		return end
	}
	return d.badValue(i)
}

// skip validates the value at i without keeping anything of it. depth is that
// of the container around it.
func (d *Decoder) skip(i, depth int) int {
	s := d.s
	if i >= len(s) {
		return d.badValue(i)
	}
	switch c := s[i]; {
	case c == '"':
		return d.skipText(i)
	case c == '-' || c-'0' < 10:
		_, end := parseNumber(s, i)
		if end < 0 {
			return d.badNumber(i)
		}
		return end
	case c == '{' || c == '[':
		return d.skipContainer(i, depth+1)
	case c == 't':
		return d.literal(i, "true")
	case c == 'f':
		return d.literal(i, "false")
	case c == 'n':
		return d.literal(i, "null")
	}
	return d.badValue(i)
}

func (d *Decoder) skipText(i int) int {
	end, _ := d.textEnd(plainEnd(d.s, i+1))
	return end
}

// skipContainer validates the object or array at i, which is at the given depth.
func (d *Decoder) skipContainer(i, depth int) int {
	if depth > d.limits.Depth {
		return d.fail(Decode, i, "nested deeper than %d levels; flatten it", d.limits.Depth)
	}
	s := d.s
	object := s[i] == '{'
	closing := s[i] + 2 // both pairs are two apart in ASCII
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == closing {
		return i + 1
	}
	for {
		if object {
			if i = d.skipKey(i); i < 0 {
				return -1
			}
		}
		if i = d.skip(i, depth); i < 0 {
			return -1
		}
		i = skipSpace(s, i)
		if i < len(s) && s[i] == closing {
			return i + 1
		}
		if i >= len(s) || s[i] != ',' {
			return d.badNext(i, closing)
		}
		i = skipSpace(s, i+1)
	}
}

// skipKey validates a key, its colon and white space.
func (d *Decoder) skipKey(i int) int {
	if i >= len(d.s) || d.s[i] != '"' {
		return d.badKey(i)
	}
	if i = d.skipText(i); i < 0 {
		return -1
	}
	return d.colon(i)
}

// key reads a key, its colon and the white space around it.
func (d *Decoder) key(i int) (string, int) {
	if i >= len(d.s) || d.s[i] != '"' {
		return "", d.badKey(i)
	}
	name, i := d.text(i)
	if i < 0 {
		return "", -1
	}
	return name, d.colon(i)
}

func (d *Decoder) colon(i int) int {
	i = skipSpace(d.s, i)
	if i >= len(d.s) || d.s[i] != ':' {
		return d.badNext(i, ':')
	}
	return skipSpace(d.s, i+1)
}

// The functions below are reached by faulty messages alone: they find the words
// which help the publisher.

// badKey reports what stands in the place of a key.
func (d *Decoder) badKey(i int) int {
	if i >= len(d.s) {
		return d.fail(Decode, i, "message ends inside an object; is it cut off?")
	}
	switch d.s[i] {
	case '}':
		return d.fail(Decode, i, "comma before }; remove it")
	case '\'':
		return d.fail(Decode, i, "single quotes are not JSON; use double quotes (Python: json.dumps, not str)")
	}
	return d.fail(Decode, i, "%s where a key in double quotes belongs", charName(d.s[i]))
}

// badNext reports what stands in the place of a comma, colon or closing bracket.
func (d *Decoder) badNext(i int, want byte) int {
	if i >= len(d.s) {
		return d.fail(Decode, i, "message ends where %q belongs; is it cut off?", want)
	}
	if want == ':' {
		return d.fail(Decode, i, "%s where ':' belongs", charName(d.s[i]))
	}
	return d.fail(Decode, i, "%s where ',' or %q belongs", charName(d.s[i]), want)
}

var wrongWords = []struct{ word, what string }{
	{"NaN", "NaN is not JSON; send null (Python: json.dumps(..., allow_nan=False) finds it)"},
	{"-NaN", "NaN is not JSON; send null"},
	{"nan", "nan is not JSON; send null"},
	{"-nan", "nan is not JSON; send null"},
	{"Infinity", "Infinity is not JSON; send null, or 1e999 to have it counted as infinite"},
	{"-Infinity", "-Infinity is not JSON; send null, or -1e999 to have it counted as infinite"},
	{"inf", "inf is not JSON; send null, or 1e999 to have it counted as infinite"},
	{"-inf", "-inf is not JSON; send null, or -1e999 to have it counted as infinite"},
	{"Inf", "Inf is not JSON; send null, or 1e999 to have it counted as infinite"},
	{"-Inf", "-Inf is not JSON; send null, or -1e999 to have it counted as infinite"},
	{"None", "None is not JSON; send null (Python: json.dumps, not str)"},
	{"True", "True is not JSON; send true (Python: json.dumps, not str)"},
	{"False", "False is not JSON; send false (Python: json.dumps, not str)"},
	{"undefined", "undefined is not JSON; send null"},
	{"'", "single quotes are not JSON; use double quotes (Python: json.dumps, not str)"},
	{"+", "a number has no leading + in JSON; remove it"},
	{".", "a number has a digit before its point in JSON; write 0.5"},
	{"//", "comments are not JSON; remove them"},
	{"/*", "comments are not JSON; remove them"},
	{"]", "comma before ]; remove it"},
	{"}", "a value is missing here"},
	{",", "a value is missing here"},
}

// badValue reports what stands in the place of a value.
func (d *Decoder) badValue(i int) int {
	if i >= len(d.s) {
		return d.fail(Decode, i, "message ends where a value belongs; is it cut off?")
	}
	for _, w := range wrongWords {
		if strings.HasPrefix(d.s[i:], w.word) {
			return d.fail(Decode, i, "%s", w.what)
		}
	}
	return d.fail(Decode, i, "%s where a value belongs", charName(d.s[i]))
}

// charName names a byte of the message: one character is no secret.
func charName(c byte) string {
	if c > 0x20 && c < 0x7f {
		return "'" + string(rune(c)) + "'"
	}
	const digits = "0123456789abcdef"
	return "byte 0x" + string([]byte{digits[c>>4], digits[c&15]})
}
