package event

import (
	"fmt"
	"strconv"
	"strings"
)

// Reason says why an event did not count. The strings are the outward names.
type Reason string

// The reasons of contract section 2. The Decoder gives Decode, Schema,
// SubjectMismatch, TooLarge and Limit; the others are given further on.
const (
	Decode          Reason = "decode"
	Schema          Reason = "schema"
	UnknownModel    Reason = "unknown_model"
	SubjectMismatch Reason = "subject_mismatch"
	Duplicate       Reason = "duplicate"
	Late            Reason = "late"
	Future          Reason = "future"
	TooLarge        Reason = "too_large"
	Limit           Reason = "limit"
)

// Reasons lists every Reason, for tables of counters.
func Reasons() []Reason {
	return []Reason{Decode, Schema, UnknownModel, SubjectMismatch, Duplicate, Late, Future, TooLarge, Limit}
}

// Reject is a refused message, line, element or row. Detail says where (line,
// row, byte offset in the message, field) and what to do; it holds names of
// fields but never a value of one, so it may be logged.
type Reject struct {
	Reason Reason
	Detail string
	Row    int32 // index of the line, element or row in the message; -1 = all of it
}

// Error makes a Reject an error: "decode: byte 17: ...".
func (r *Reject) Error() string { return string(r.Reason) + ": " + r.Detail }

// Limits bound what one message may cost. Zero fields take their default.
type Limits struct {
	EventBytes  int // of one event or row; longer ones are too_large
	Depth       int // of nesting, the event itself being 1; 5 to 1000
	Features    int // of one event, and scores, and segments
	StringBytes int // of ids, names and category texts
	Rows        int // rows, elements or lines in a message
	Shapes      int // key orders remembered by a Decoder; further ones are Transient
	Vector      int // numbers of one vector; a longer one is Invalid
}

// DefaultLimits are the limits of the contract.
var DefaultLimits = Limits{
	EventBytes: 256 << 10, Depth: 32, Features: 2048, StringBytes: 1024, Rows: 65536, Shapes: 1024, Vector: 4096,
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.EventBytes, DefaultLimits.EventBytes)
	set(&l.Depth, DefaultLimits.Depth)
	set(&l.Features, DefaultLimits.Features)
	set(&l.StringBytes, DefaultLimits.StringBytes)
	set(&l.Rows, DefaultLimits.Rows)
	set(&l.Shapes, DefaultLimits.Shapes)
	set(&l.Vector, DefaultLimits.Vector)
	l.Depth = max(5, min(l.Depth, 1000)) // rows with vectors need 5; skipping recurses
	return l
}

// fault is the first thing wrong with the value being read. It is kept in the
// Decoder, not returned, so that the paths without faults carry one int.
type fault struct {
	reason Reason
	off    int
	field  string
	what   string
}

// fail records a fault and returns -1, the end of every failed read. Inlined it
// would take registers and stack from the loops that call it: 4 % of the time to decode.
//
//go:noinline
func (d *Decoder) fail(reason Reason, off int, format string, args ...any) int {
	d.fault = fault{reason: reason, off: off, what: fmt.Sprintf(format, args...)}
	return -1
}

// in adds the field to the recorded fault, outermost last, and returns -1.
//
//go:noinline
func (d *Decoder) in(field string) int {
	field = shorten(field)
	if d.fault.field == "" {
		d.fault.field = field
	} else {
		d.fault.field = field + "." + d.fault.field
	}
	return -1
}

// reject turns the recorded fault into a Reject. unit and number say which
// line, element or row it is in ("" = the only one), d.row which row of that.
func (d *Decoder) reject(unit string, number, index int) Reject {
	f, c := d.fault, d.coat
	var b strings.Builder
	if c != nil {
		b.WriteString(c.name + ", ")
		number, index = c.locate(unit, d.row, number, index, &f)
	}
	if unit != "" {
		b.WriteString(unit + strconv.Itoa(number) + ", ")
	}
	if d.row >= 0 {
		b.WriteString("row " + strconv.Itoa(d.row) + ", ")
	}
	switch {
	case c == nil:
		b.WriteString("byte " + strconv.Itoa(f.off) + ", ")
	case c.bytes >= 0:
		b.WriteString("byte " + strconv.Itoa(f.off+c.bytes) + ", ")
	}
	if f.field != "" {
		b.WriteString(strings.ToValidUTF8(f.field, "\uFFFD") + ", ")
	}
	return Reject{Reason: f.reason, Detail: strings.TrimSuffix(b.String(), ", ") + ": " + f.what, Row: int32(index)}
}

// locate turns places in the JSON which a coat was rewritten to into places in
// the message, and says why a part of it could not be rewritten.
func (c *coat) locate(unit string, row, number, index int, f *fault) (int, int) {
	at := number
	if unit == "" {
		at = row
	}
	if what := c.fault[at]; what != "" {
		*f = fault{reason: Schema, what: what}
		if reason := c.reasons[at]; reason != "" {
			f.reason = reason
		}
	}
	if unit == "element " && number < len(c.index) {
		number = c.index[number]
		if index >= 0 {
			index = number
		}
	}
	return number, index
}

// shorten keeps names in messages readable, whoever chose them.
func shorten(name string) string {
	const most = 64
	if len(name) > most {
		return name[:most] + "..."
	}
	return name
}
