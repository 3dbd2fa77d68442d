package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"
)

// The state of a Joiner, for checkpoints; integers are uvarints unless said
// otherwise, a text is its length and its bytes:
//
//	byte 1                        form
//	varint clock
//	7 counts                      as in JoinStats, up to OverflowResponses
//	shapes, each: byte 1 if transient, number of names, the names
//	halves in order of arrival, each:
//	  byte part, varint row, varint arrival, text model, text id,
//	  1 + number of the shape of features and of scores (0 = none),
//	  text packed fields
//
// The packed fields of a half: byte kind, byte variant, byte flags (1 failed),
// varint time, texts version, error, entity_id, trace_id, 8-byte little-endian
// floats confidence, latency_ms, cost, then values of features, the prediction,
// scores (8 bytes each), segments (pairs of texts), vectors (lists of 8-byte
// floats), unknown fields; each list after its length. A value is its kind and,
// of Number and Vector, 8 bytes, of Category a text.
const joinForm = 1

// AppendState appends the state.
func (j *Joiner) AppendState(dst []byte) []byte {
	dst = append(dst, joinForm)
	dst = binary.AppendVarint(dst, j.clock)
	for _, n := range j.stats.counts() {
		dst = binary.AppendUvarint(dst, *n)
	}
	index := map[*Shape]uint64{}
	var shapes []*Shape
	live := 0
	for _, h := range j.queue[j.head:] {
		if h.gone {
			continue
		}
		live++
		for _, s := range []*Shape{h.features, h.scores} {
			if s != nil && index[s] == 0 {
				shapes = append(shapes, s)
				index[s] = uint64(len(shapes))
			}
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(shapes)))
	for _, s := range shapes {
		transient := byte(0)
		if s.Transient {
			transient = 1
		}
		dst = binary.AppendUvarint(append(dst, transient), uint64(len(s.Names)))
		for _, name := range s.Names {
			dst = appendText(dst, name)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(live))
	for _, h := range j.queue[j.head:] {
		if h.gone {
			continue
		}
		dst = append(dst, byte(h.part))
		dst = binary.AppendVarint(dst, int64(h.key.row))
		dst = binary.AppendVarint(dst, h.arrival)
		dst = appendText(appendText(dst, h.key.model), h.key.id)
		dst = binary.AppendUvarint(dst, index[h.features])
		dst = binary.AppendUvarint(dst, index[h.scores])
		dst = appendText(dst, h.packed)
	}
	return dst
}

// counts are the fields which AppendState writes.
func (s *JoinStats) counts() [7]*uint64 {
	return [...]*uint64{
		&s.Received, &s.Joined, &s.Duplicate, &s.ExpiredRequests, &s.ExpiredResponses,
		&s.OverflowRequests, &s.OverflowResponses,
	}
}

var errJoinState = errors.New("joiner state: damaged")

// LoadState replaces what the Joiner holds and has counted by a state; the
// limits stay its own. On an error it is as before.
func (j *Joiner) LoadState(data []byte) error {
	r := unpacker{s: string(data)}
	if form := r.byte(); r.bad || form != joinForm {
		return fmt.Errorf("joiner state: form %d, want %d", form, joinForm)
	}
	fresh := NewJoiner(j.limits)
	fresh.clock = r.varint()
	for _, n := range fresh.stats.counts() {
		*n = r.uvarint()
	}
	shapes := make([]*Shape, 1, 16)
	for range r.length() {
		s := &Shape{Names: make([]string, 0, 8), Transient: r.byte() == 1}
		for range r.length() {
			s.Names = append(s.Names, r.text())
		}
		shapes = append(shapes, s)
	}
	for range r.length() {
		h := &heldPart{part: Part(r.byte())}
		h.key.row = int32(r.varint())
		h.arrival = r.varint()
		h.key.model, h.key.id = r.text(), r.text()
		features, scores := r.uvarint(), r.uvarint()
		h.packed = r.text()
		if r.bad || h.part != Request && h.part != Response || features >= uint64(len(shapes)) || scores >= uint64(len(shapes)) {
			return errJoinState
		}
		h.features, h.scores = shapes[features], shapes[scores]
		if _, twice := fresh.parts[h.key]; twice || !h.sound() {
			return errJoinState
		}
		fresh.add(h)
	}
	if r.bad || r.s != "" {
		return errJoinState
	}
	*j = *fresh
	return nil
}

// sound reports whether the packed fields can be read.
func (h *heldPart) sound() bool {
	var b Batch
	e, ok := h.read(&b)
	return ok && (e.Features == nil) == (h.features == nil)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloat(dst []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
}

func appendValue(dst []byte, v Value) []byte {
	dst = append(dst, byte(v.Kind))
	switch v.Kind {
	case Number, Vector:
		dst = appendFloat(dst, v.Num)
	case Category:
		dst = appendText(dst, v.Str)
	}
	return dst
}

// packPart appends the fields of a half which heldPart has not.
func packPart(dst []byte, e *Event) []byte {
	flags := byte(0)
	if e.Failed {
		flags = 1
	}
	dst = append(dst, byte(e.Kind), byte(e.Variant), flags)
	dst = binary.AppendVarint(dst, e.Time)
	for _, s := range [...]string{e.Version, e.Error, e.EntityID, e.TraceID} {
		dst = appendText(dst, s)
	}
	for _, x := range [...]float64{e.Confidence, e.LatencyMS, e.Cost} {
		dst = appendFloat(dst, x)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Values)))
	for _, v := range e.Values {
		dst = appendValue(dst, v)
	}
	dst = appendValue(dst, e.Prediction)
	dst = binary.AppendUvarint(dst, uint64(len(e.ScoreValues)))
	for _, x := range e.ScoreValues {
		dst = appendFloat(dst, x)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Segments)))
	for _, g := range e.Segments {
		dst = appendText(appendText(dst, g.Name), g.Value)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Vectors)))
	for _, v := range e.Vectors {
		dst = binary.AppendUvarint(dst, uint64(len(v)))
		for _, x := range v {
			dst = appendFloat(dst, x)
		}
	}
	return binary.AppendUvarint(dst, uint64(e.UnknownFields))
}

// unpack makes the event of a half again; its slices are b's, its texts the
// half's.
func (h *heldPart) unpack(b *Batch) Event {
	e, _ := h.read(b) // packed by us, or found sound
	return e
}

func (h *heldPart) read(b *Batch) (Event, bool) {
	r := unpacker{s: h.packed}
	e := blank
	e.Part, e.Row, e.Model, e.ID = h.part, h.key.row, h.key.model, h.key.id
	e.Features, e.Scores = h.features, h.scores
	e.Kind, e.Variant = Kind(r.byte()), Variant(r.byte())
	e.Failed = r.byte() == 1
	e.Time = r.varint()
	e.Version, e.Error, e.EntityID, e.TraceID = r.text(), r.text(), r.text(), r.text()
	e.Confidence, e.LatencyMS, e.Cost = r.float(), r.float(), r.float()
	first, vectors := len(b.values), 0
	for range r.length() {
		v := r.value()
		if v.Kind == Vector {
			vectors++
		}
		b.values = append(b.values, v)
	}
	e.Values = b.values[first:len(b.values):len(b.values)]
	if e.Prediction = r.value(); e.Prediction.Kind == Vector {
		vectors++
	}
	first = len(b.scores)
	for range r.length() {
		b.scores = append(b.scores, r.float())
	}
	e.ScoreValues = b.scores[first:len(b.scores):len(b.scores)]
	first = len(b.segments)
	for range r.length() {
		b.segments = append(b.segments, Segment{Name: r.text(), Value: r.text()})
	}
	e.Segments = b.segments[first:len(b.segments):len(b.segments)]
	first = len(b.vectors)
	for range r.length() {
		start := len(b.floats)
		for range r.length() {
			b.floats = append(b.floats, r.float())
		}
		b.vectors = append(b.vectors, b.floats[start:len(b.floats):len(b.floats)])
	}
	e.Vectors = b.vectors[first:len(b.vectors):len(b.vectors)]
	e.UnknownFields = int(r.uvarint())
	fits := func(s *Shape, n int) bool { return s == nil && n == 0 || s != nil && len(s.Names) == n }
	return e, !r.bad && r.s == "" && fits(e.Features, len(e.Values)) && fits(e.Scores, len(e.ScoreValues)) &&
		len(e.Vectors) == vectors && e.Kind == Prediction && e.Variant <= Shadow
}

// unpacker reads what the functions above wrote; after a fault it is bad and
// everything is zero.
type unpacker struct {
	s   string
	bad bool
}

func (r *unpacker) take(n uint64) string {
	if r.bad || n > uint64(len(r.s)) {
		r.bad, r.s = true, ""
		return ""
	}
	out := r.s[:n]
	r.s = r.s[n:]
	return out
}

func (r *unpacker) byte() byte {
	if t := r.take(1); t != "" {
		return t[0]
	}
	return 0
}

func (r *unpacker) uvarint() uint64 {
	head := r.s[:min(len(r.s), binary.MaxVarintLen64)]
	v, n := binary.Uvarint(unsafe.Slice(unsafe.StringData(head), len(head)))
	if n <= 0 {
		r.bad, r.s = true, ""
		return 0
	}
	r.s = r.s[n:]
	return v
}

func (r *unpacker) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// length reads the length of a list, each element of which takes a byte or more.
func (r *unpacker) length() int {
	n := r.uvarint()
	if n > uint64(len(r.s)) {
		r.bad, r.s = true, ""
		return 0
	}
	return int(n)
}

func (r *unpacker) text() string { return r.take(r.uvarint()) }

func (r *unpacker) float() float64 {
	t := r.take(8)
	if t == "" {
		return 0
	}
	return math.Float64frombits(load8(t, 0))
}

func (r *unpacker) value() Value {
	v := Value{Kind: ValueKind(r.byte())}
	switch v.Kind {
	case Number, Vector:
		v.Num = r.float()
	case Category:
		v.Str = r.text()
	case Null, Invalid:
	default:
		r.bad = true
	}
	return v
}
