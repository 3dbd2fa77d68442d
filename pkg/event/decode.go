package event

import (
	"hash"
	"strings"
	"unsafe"
)

// Batch collects the events of any number of messages. Reset keeps its memory,
// and ends the validity of every slice in its Events.
type Batch struct {
	Events  []Event
	Rejects []Reject // lines, elements and rows refused in messages which were not

	values   []Value
	scores   []float64
	segments []Segment
	floats   []float64
	vectors  [][]float64
}

// Reset empties the batch.
func (b *Batch) Reset() {
	clear(b.Events) // or they would keep their messages alive
	b.Events, b.Rejects = b.Events[:0], b.Rejects[:0]
	b.values, b.scores, b.segments = b.values[:0], b.scores[:0], b.segments[:0]
	b.floats, b.vectors = b.floats[:0], b.vectors[:0]
}

// mark is a state of a Batch to which a refused event takes it back.
type mark struct{ events, rejects, values, scores, segments, floats, vectors int }

func (b *Batch) mark() mark {
	return mark{len(b.Events), len(b.Rejects), len(b.values), len(b.scores), len(b.segments), len(b.floats), len(b.vectors)}
}

func (b *Batch) rollback(m mark) {
	clear(b.Events[m.events:]) // they may hold what no policy has seen
	b.Events, b.Rejects = b.Events[:m.events], b.Rejects[:m.rejects]
	b.values, b.scores, b.segments = b.values[:m.values], b.scores[:m.scores], b.segments[:m.segments]
	b.floats, b.vectors = b.floats[:m.floats], b.vectors[:m.vectors]
}

// Decoder turns messages into Events. It is not safe for concurrent use: give
// each worker its own.
type Decoder struct {
	policy   *Policy
	limits   Limits
	subjects SubjectTemplate

	// Memory of earlier messages.
	producers map[producerKey]*producer
	last      *producer
	shapes    int                             // remembered, of Limits.Shapes
	nameBytes int                             // spent on names
	order     [KPI + 1][len(fieldNames)]field // which field followed which last time
	day       [10]byte                        // the date whose number is days
	days      int64
	subject   parsedSubject
	mac       hash.Hash
	arena     []byte
	scratch   []byte
	seq       []int32

	// The message being decoded.
	b        *Batch
	s        string
	kind     Kind
	fault    fault
	row      int // index in rows where a fault was found, else -1
	pieces   int // rows, elements and lines so far
	top, sub frame
	base     Event     // the fields beside rows
	vector   []float64 // the last vector read
	raw      []Segment // as sent; finish copies what the policy allows to the batch
	inArray  bool      // it is a JSON array of events

	// Coats; see DecodeWrapped.
	wrapping Wrapping
	coat     *coat // nil = the message is bare
}

// parsedSubject is the last subject and what it says.
type parsedSubject struct {
	text, model string
	kind        Kind
	ok          bool
}

// NewDecoder returns a Decoder which applies a Policy (nil = count everything)
// and keeps within limits (zero fields = defaults). Its subject template is
// DefaultSubjects.
func NewDecoder(p *Policy, l Limits) *Decoder {
	if p == nil {
		p = countAll()
	}
	return &Decoder{policy: p, limits: l.withDefaults(), producers: map[producerKey]*producer{}}
}

// SetSubjects changes the subject template.
func (d *Decoder) SetSubjects(t SubjectTemplate) {
	d.subjects = t
	d.subject = parsedSubject{}
}

// Decode appends the events of one message to b. kind is what the message
// reports; 0 takes it from the subject. subject may be "" (nothing to agree
// with) and need not fit the template where kind is given.
//
// The result is nil where at least one event was good; refused lines, elements
// and rows are then in b.Rejects. Else it is the (first) reason, and b is as
// before. The caller must not change data afterwards, as Events alias it.
func (d *Decoder) Decode(b *Batch, kind Kind, subject string, data []byte) *Reject {
	d.b, d.s, d.kind, d.pieces = b, unsafe.String(unsafe.SliceData(data), len(data)), kind, 0
	d.fault, d.row, d.inArray = fault{}, -1, false
	if subject != d.subject.text {
		k, model, _, ok := d.subjects.Parse(subject)
		d.subject = parsedSubject{text: strings.Clone(subject), model: model, kind: k, ok: ok}
	}
	before := b.mark()
	r := d.message()
	if r != nil {
		b.rollback(before)
	}
	d.b, d.s, d.vector = nil, "", nil
	clear(d.raw)
	d.raw = d.raw[:0]
	if d.base.Kind != 0 { // it keeps its message alive, and has not seen the policy
		d.base = Event{}
	}
	return r
}

func (d *Decoder) message() *Reject {
	if d.kind == 0 && d.subject.ok {
		d.kind = d.subject.kind
	}
	if d.kind == 0 || d.kind > KPI {
		d.fail(Schema, 0, "subject %q does not tell predictions from outcomes and kpis; publish on %s",
			shorten(d.subject.text), d.subjects.String())
		return d.whole("", 0)
	}
	i := 0
	if strings.HasPrefix(d.s, "\uFEFF") {
		i = len("\uFEFF")
	}
	i = skipSpace(d.s, i)
	if i == len(d.s) {
		d.fail(Decode, i, "empty message; send one JSON object, an array of them, or one a line")
		return d.whole("", 0)
	}
	if d.s[i] == '[' {
		d.inArray = true
		return d.array(i)
	}
	return d.lines(i)
}

// whole is the recorded fault as the fate of the whole message.
func (d *Decoder) whole(unit string, number int) *Reject {
	r := d.reject(unit, number, -1)
	return &r
}

// lines reads values which are separated by line breaks, of which one alone is
// the common case. After a fault it goes on with the next line if that starts
// an object, so that a bad line of NDJSON costs no other.
func (d *Decoder) lines(i int) *Reject {
	s := d.s
	rejects, events := len(d.b.Rejects), len(d.b.Events)
	line, counted := 1, 0 // the line of s[counted]
	for n := 0; i < len(s); n++ {
		start, before := i, d.b.mark()
		end := d.piece(i)
		if end >= 0 {
			end = d.endOfLine(end)
		}
		if end < 0 {
			d.b.rollback(before)
			next := nextLine(s, start)
			if n == 0 && next < 0 {
				return d.whole("", 0)
			}
			line += strings.Count(s[counted:start], "\n")
			counted = start
			if d.pieces > d.limits.Rows {
				return d.whole("line ", line)
			}
			d.b.Rejects = append(d.b.Rejects, d.reject("line ", line, n))
			if next < 0 {
				break
			}
			end = next
		}
		i = end
	}
	return d.anyGood(rejects, events)
}

// endOfLine checks that the value which ends before i ends its line, and
// returns where the next one starts, len(d.s) if there is none.
func (d *Decoder) endOfLine(i int) int {
	j := skipSpace(d.s, i)
	if j == len(d.s) || strings.IndexByte(d.s[i:j], '\n') >= 0 {
		return j
	}
	return d.fail(Decode, j, "%s after the end of the value; send one value a line, or an array", charName(d.s[j]))
}

// nextLine returns the start of the first line after start which is not blank,
// -1 if there is none or it does not open an object.
func nextLine(s string, start int) int {
	n := strings.IndexByte(s[start:], '\n')
	if n < 0 {
		return -1
	}
	i := skipSpace(s, start+n)
	if i < len(s) && s[i] == '{' {
		return i
	}
	return -1
}

// anyGood decides about a message of several events: without a good one, its
// first refusal is the whole message's.
func (d *Decoder) anyGood(rejects, events int) *Reject {
	b := d.b
	if len(b.Events) > events || len(b.Rejects) == rejects || d.coat != nil && d.coat.partial {
		return nil
	}
	first := b.Rejects[rejects]
	first.Row = -1
	return &first
}

// array reads a JSON array of events. Its grammar must hold throughout; an
// element which breaks another rule is refused alone.
func (d *Decoder) array(i int) *Reject {
	s := d.s
	rejects, events := len(d.b.Rejects), len(d.b.Events)
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == ']' {
		d.fail(Schema, i, "array without events; send at least one")
		return d.whole("", 0)
	}
	for n := 0; ; n++ {
		before := d.b.mark()
		end := d.piece(i)
		if end < 0 {
			d.b.rollback(before)
			if d.pieces > d.limits.Rows {
				return d.whole("", 0)
			}
			if end = d.passOver(i, "element ", n); end < 0 {
				return d.whole("element ", n)
			}
		}
		i = skipSpace(s, end)
		if i < len(s) && s[i] == ',' {
			i = skipSpace(s, i+1)
			continue
		}
		if i >= len(s) || s[i] != ']' {
			d.badNext(i, ']')
			return d.whole("", 0)
		}
		if i = skipSpace(s, i+1); i < len(s) {
			d.fail(Decode, i, "%s after the end of the array", charName(s[i]))
			return d.whole("", 0)
		}
		return d.anyGood(rejects, events)
	}
}

// passOver notes the recorded fault under a number and returns the end of the
// value at i. If that has none, the new fault replaces the recorded one.
func (d *Decoder) passOver(i int, unit string, n int) int {
	r := d.reject(unit, n, n)
	d.row = -1
	end := d.skip(i, 0)
	if end >= 0 {
		d.b.Rejects = append(d.b.Rejects, r)
	}
	return end
}

// piece reads the object at i: an event, or a batch of rows. On a fault it
// returns -1 and leaves what it appended to the caller to roll back.
func (d *Decoder) piece(i int) int {
	d.row = -1
	if d.count(i) < 0 {
		return -1
	}
	b := d.b
	b.Events = append(b.Events, blank)
	at := len(b.Events) - 1
	f := &d.top
	*f = frame{ev: &b.Events[at], start: i, featuresAt: -1, rowsAt: -1}
	f.ev.Kind = d.kind
	end := d.object(f, i)
	if end < 0 {
		return -1
	}
	if f.rowsAt < 0 {
		return d.finish(f, end)
	}
	b.Events = b.Events[:at]
	if d.rows(f) < 0 {
		return -1
	}
	return end
}

// count counts one more row, element or line.
func (d *Decoder) count(i int) int {
	if d.pieces++; d.pieces > d.limits.Rows {
		return d.fail(Limit, i, "more than %d events in one message; send smaller batches", d.limits.Rows)
	}
	return i
}

// rows reads the array at f.rowsAt. Its grammar was checked when it was passed
// over, because fields which follow it are inherited as well.
func (d *Decoder) rows(f *frame) int {
	s := d.s
	d.base = *f.ev
	f.ev = &d.base
	i := skipSpace(s, f.rowsAt+1)
	if s[i] == ']' {
		return d.fail(Schema, i, "rows is empty; send at least one")
	}
	d.pieces-- // the object around the rows is no event
	events, first := len(d.b.Events), fault{}
	for n := 0; ; n++ {
		before := d.b.mark()
		if d.count(i) < 0 {
			return -1
		}
		end := d.oneRow(f, i, n)
		if end < 0 {
			d.b.rollback(before)
			if n == 0 {
				first = d.fault
			}
			end = d.passOver(i, "row ", n)
		}
		if i = skipSpace(s, end); s[i] == ']' {
			break
		}
		i = skipSpace(s, i+1)
	}
	if len(d.b.Events) == events { // then the first row was bad, too
		d.fault, d.row = first, 0
		return -1
	}
	return i
}

// oneRow reads row n, which starts as a copy of the fields beside rows.
func (d *Decoder) oneRow(f *frame, i, n int) int {
	b := d.b
	b.Events = append(b.Events, d.base)
	r := &d.sub
	*r = *f
	r.ev, r.seen, r.start, r.inRow, r.rowsAt = &b.Events[len(b.Events)-1], 0, i, true, -1
	r.ev.Row = int32(n)
	r.have &^= 1 << fieldID
	if n > 0 {
		r.ev.UnknownFields = 0 // those beside rows count once
	}
	end := d.object(r, i)
	if end < 0 {
		return -1
	}
	if r.have&(1<<fieldID) != 0 {
		r.ev.Row = -1 // the row's own id is its identity
	}
	return d.finish(r, end)
}
