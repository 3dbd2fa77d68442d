package event

import (
	"math"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Kind says what an event reports. The zero Kind is no kind.
type Kind uint8

// The kinds of events.
const (
	Prediction Kind = iota + 1 // what a model answered
	Outcome                    // what turned out to be true, or what people thought of it
	KPI                        // a number of the business
)

// String returns "prediction", "outcome", "kpi", or "unknown".
func (k Kind) String() string {
	switch k {
	case Prediction:
		return "prediction"
	case Outcome:
		return "outcome"
	case KPI:
		return "kpi"
	}
	return "unknown"
}

// ParseKind reads the names which String writes.
func ParseKind(s string) (Kind, bool) {
	for k := Prediction; k <= KPI; k++ {
		if s == k.String() {
			return k, true
		}
	}
	return 0, false
}

// Variant is the part a model version plays in a rollout.
type Variant uint8

// The variants; absent means Primary.
const (
	Primary Variant = iota
	Canary
	Shadow
)

var variantNames = [...]string{"primary", "canary", "shadow"}

// String returns "primary", "canary", "shadow", or "unknown".
func (v Variant) String() string {
	if int(v) < len(variantNames) {
		return variantNames[v]
	}
	return "unknown"
}

// ParseVariant reads the names which String writes.
func ParseVariant(s string) (Variant, bool) {
	for i, name := range variantNames {
		if s == name {
			return Variant(i), true
		}
	}
	return 0, false
}

// ValueKind says which fields of a Value count.
type ValueKind uint8

// The kinds of values.
const (
	Null     ValueKind = iota // JSON null, or absent
	Number                    // Num: finite, or ±Inf where the literal overflows; never NaN or -0
	Category                  // Str: a string, or true and false
	Vector                    // Num: the length; the components are in Event.Vectors
	Invalid                   // a value of a type the field cannot have; carries no content
)

var valueKindNames = [...]string{"null", "number", "category", "vector", "invalid"}

// String returns the kind's name in lower case.
func (k ValueKind) String() string {
	if int(k) < len(valueKindNames) {
		return valueKindNames[k]
	}
	return "unknown"
}

// Part says which half of a prediction an Event is. Servers log request and
// response apart; a Joiner makes one Whole event of the two.
type Part uint8

// The parts.
const (
	Whole    Part = iota
	Request       // features
	Response      // prediction and scores
)

// String returns "whole", "request", "response", or "unknown".
func (p Part) String() string {
	switch p {
	case Whole:
		return "whole"
	case Request:
		return "request"
	case Response:
		return "response"
	}
	return "unknown"
}

// Value is one feature's value, a prediction or a label.
type Value struct {
	Kind ValueKind
	Num  float64
	Str  string
}

// Num returns a Number; NaN becomes Null and -0 becomes 0, as in decoding.
func Num(x float64) Value {
	if math.IsNaN(x) {
		return Value{}
	}
	return Value{Kind: Number, Num: x + 0} // -0 + 0 is +0
}

// Cat returns a Category.
func Cat(s string) Value { return Value{Kind: Category, Str: s} }

// Shape is the list of names in one producer's key order. The Decoder hands
// out the same pointer for the same list as long as it lives, so a consumer may
// cache columns by pointer, unless Transient: then the Decoder's bound on
// shapes was reached and the pointer is for this event alone.
type Shape struct {
	Names     []string
	Transient bool
}

// Segment is a slice of the traffic, such as channel = app.
type Segment struct{ Name, Value string }

// Event is one filtered observation. NaN in a float and "" in a string mean
// absent. It is read-only outside this package; slices are the Batch's.
type Event struct {
	Kind Kind
	Part Part  // which half of a prediction it is, where request and response are told apart
	Row  int32 // index in rows where that is part of the identity, else -1

	ID, Model, Version string
	Variant            Variant
	Time               int64 // Unix nanoseconds; 0 = absent: take the time of receipt

	Features   *Shape  // nil = absent; dropped features do not appear
	Values     []Value // parallel to Features.Names
	Prediction Value

	Scores      *Shape
	ScoreValues []float64 // parallel to Scores.Names; NaN where null or not a number

	Confidence, LatencyMS, Cost float64
	Failed                      bool   // error was given and is not null, false, 0, "" or []
	Error                       string // its text, where it was a text

	EntityID, TraceID string
	Segments          []Segment

	// Vectors holds the components of the Vector values in the order of Values,
	// then those of Prediction. See Vector and PredictionVector.
	Vectors [][]float64

	PredictionID, Name, Source, Annotator, Explanation, Currency string

	Label Value
	Value float64

	UnknownFields int // top-level fields which the schema does not know
}

// New returns an Event of a kind with every field absent, to be filled and
// written with AppendJSON. (The zero Event has Row 0 and floats 0, not absent.)
func New(k Kind) Event {
	e := blank
	e.Kind = k
	return e
}

var blank = Event{Row: -1, Confidence: math.NaN(), LatencyMS: math.NaN(), Cost: math.NaN(), Value: math.NaN()}

// Vector returns the components of Values[i], nil if that is no Vector.
func (e *Event) Vector(i int) []float64 {
	if i < 0 || i >= len(e.Values) || e.Values[i].Kind != Vector {
		return nil
	}
	at := 0
	for _, v := range e.Values[:i] {
		if v.Kind == Vector {
			at++
		}
	}
	if at >= len(e.Vectors) {
		return nil
	}
	return e.Vectors[at]
}

// PredictionVector returns the components of Prediction, nil if it is no Vector.
func (e *Event) PredictionVector() []float64 {
	if e.Prediction.Kind != Vector || len(e.Vectors) == 0 {
		return nil
	}
	return e.Vectors[len(e.Vectors)-1]
}

// AppendIdentity appends the id by which outcomes name the event: id, or
// id#row for a row without an id of its own.
func (e *Event) AppendIdentity(dst []byte) []byte {
	dst = append(dst, e.ID...)
	if e.Row >= 0 {
		dst = append(dst, '#')
		dst = strconv.AppendInt(dst, int64(e.Row), 10)
	}
	return dst
}

// Key returns the identity for deduplication: the xxhash64 of kind, model, id
// and row, each but the last followed by a NUL, kind as one byte and row as
// four bytes little-endian. It is 0 if and only if the event has no id
// (outcomes and KPIs may omit it): such an event has no identity and must not
// be taken for a duplicate of another.
func (e *Event) Key() uint64 {
	if e.ID == "" {
		return 0
	}
	var h xxhash.Digest
	h.Reset()
	head, nul := [2]byte{byte(e.Kind), 0}, [1]byte{}
	_, _ = h.Write(head[:]) // a Digest never fails
	_, _ = h.WriteString(e.Model)
	_, _ = h.Write(nul[:])
	_, _ = h.WriteString(e.ID)
	r := uint32(e.Row)
	tail := [5]byte{0, byte(r), byte(r >> 8), byte(r >> 16), byte(r >> 24)}
	_, _ = h.Write(tail[:])
	if k := h.Sum64(); k != 0 {
		return k
	}
	return 1 // 0 is taken; one hash in 2^64 may share
}
