package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Action is what happens to a field's value before anyone sees it.
type Action uint8

// The actions, from none to strictest: where several rules name a field, the
// strictest counts, so a rule of one model can tighten the global one and never
// loosen it.
const (
	Unset  Action = iota // the policy's default
	Count                // as it is
	Bucket               // numbers rounded down to a multiple of the width; text dropped
	HMAC                 // a pseudonym: "kid:" and 128 bits of HMAC-SHA-256 in hex
	Drop                 // never read
)

var actionNames = [...]string{"", "count", "bucket", "hmac", "drop"}

// String returns the action's name in configuration.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

// ParseAction reads "count", "bucket", "hmac" and "drop".
func ParseAction(s string) (Action, bool) {
	for i, name := range actionNames {
		if i > 0 && s == name {
			return Action(i), true
		}
	}
	return Unset, false
}

// ValueType overrides how a feature's JSON type is understood.
type ValueType uint8

// The types of features.
const (
	Auto            ValueType = iota // by the JSON type of each value
	NumericType                      // numbers; text is Invalid
	CategoricalType                  // text; numbers by their shortest text: 17.0 is 17
)

// FieldRule says what to do with the field of a name.
type FieldRule struct {
	Action      Action
	BucketWidth float64 // > 0 and finite, with Bucket
	Type        ValueType
}

// ModelPolicy adds rules for the models whose name matches Glob; see Match.
type ModelPolicy struct {
	Glob   string
	Fields map[string]FieldRule
}

// PolicySpec is what the operator wrote. A rule applies to the feature of its
// name and to the event's own field of that name: entity_id, trace_id, a
// segment, error, annotator, explanation, prediction, label, source, id and
// prediction_id (the last two only with HMAC, because an event needs its
// identity). Default applies to features without a rule, and to entity_id,
// trace_id, segments, error, annotator and explanation without one.
type PolicySpec struct {
	Default Action // Unset = Count; Bucket is refused, for it has no width
	Fields  map[string]FieldRule
	HMACKey []byte // at least 16 bytes where any action is HMAC
	Models  []ModelPolicy
}

// Policy is a checked PolicySpec: immutable and safe to share. A nil Policy
// counts everything.
type Policy struct {
	def    rule
	fields map[string]FieldRule
	models []ModelPolicy
	key    []byte
	kid    string
	simple *modelRules // of every model, where no rule is for some models
}

// NewPolicy checks a spec and reports all its faults at once.
func NewPolicy(spec PolicySpec) (*Policy, error) {
	var faults []error
	hashed := spec.Default == HMAC
	if spec.Default == Bucket {
		faults = append(faults, errors.New("privacy default: bucket needs a width for each field; use count, hmac or drop"))
	}
	check := func(where string, fields map[string]FieldRule) {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			r := fields[name]
			hashed = hashed || r.Action == HMAC
			if r.Action > Drop || r.Type > CategoricalType {
				faults = append(faults, fmt.Errorf("%s field %q: unknown action or type", where, name))
			}
			if w := r.BucketWidth; r.Action == Bucket && (!(w > 0) || math.IsInf(w, 0)) {
				faults = append(faults, fmt.Errorf("%s field %q: bucket width is %v; give a number above 0", where, name, w))
			}
		}
	}
	check("privacy", spec.Fields)
	for _, m := range spec.Models {
		check(fmt.Sprintf("model %q", m.Glob), m.Fields)
	}
	if hashed && len(spec.HMACKey) < 16 {
		faults = append(faults, fmt.Errorf("privacy hmac key: %d bytes; give at least 16 random ones", len(spec.HMACKey)))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	p := &Policy{
		def: rule{action: max(spec.Default, Count)}, fields: maps.Clone(spec.Fields),
		models: slices.Clone(spec.Models), key: slices.Clone(spec.HMACKey),
	}
	for i := range p.models {
		p.models[i].Fields = maps.Clone(p.models[i].Fields)
	}
	if len(p.key) > 0 {
		sum := sha256.Sum256(append([]byte("driftd key id\x00"), p.key...))
		p.kid = hex.EncodeToString(sum[:4])
	}
	if len(p.models) == 0 {
		p.simple = p.forModel("")
	}
	return p, nil
}

// countAll is the Policy of those who give none.
func countAll() *Policy {
	r := rule{action: Count}
	return &Policy{def: r, simple: &modelRules{def: r}}
}

// KeyID names the HMAC key without telling it: 8 hex digits, "" without a key.
// It is the part before the colon of every pseudonym.
func (p *Policy) KeyID() string {
	if p == nil {
		return ""
	}
	return p.kid
}

// rule is a FieldRule after the defaults: action is never Unset.
type rule struct {
	action Action
	typ    ValueType
	width  float64
}

func (r rule) plain() bool { return r.action == Count && r.typ == Auto }

// modelRules is the Policy as it applies to one model.
type modelRules struct {
	def    rule
	fields map[string]rule
	text   bool // some rule may touch the event's own fields: look at them
}

func (p *Policy) forModel(model string) *modelRules {
	if p.simple != nil {
		return p.simple
	}
	m := &modelRules{def: p.def}
	merged := map[string]FieldRule{}
	add := func(fields map[string]FieldRule) {
		for name, r := range fields {
			old, had := merged[name]
			if had {
				r = stricter(old, r)
			}
			merged[name] = r
		}
	}
	add(p.fields)
	for _, mp := range p.models {
		if Match(mp.Glob, model) {
			add(mp.Fields)
		}
	}
	m.fields = make(map[string]rule, len(merged))
	for name, r := range merged {
		if r.Action == Unset {
			r.Action = m.def.action
		}
		m.fields[name] = rule{action: r.Action, typ: r.Type, width: r.BucketWidth}
	}
	m.text = len(m.fields) > 0 || m.def.action != Count
	return m
}

// stricter merges a later rule into an earlier one: the stricter action (of two
// buckets the wider), the later type unless Auto.
func stricter(a, b FieldRule) FieldRule {
	out := a
	switch {
	case b.Action > a.Action:
		out.Action, out.BucketWidth = b.Action, b.BucketWidth
	case b.Action == Bucket && a.Action == Bucket:
		out.BucketWidth = max(a.BucketWidth, b.BucketWidth)
	}
	if b.Type != Auto {
		out.Type = b.Type
	}
	return out
}

// field returns the rule of a feature, a segment or another deniable field.
func (m *modelRules) field(name string) rule {
	if r, ok := m.fields[name]; ok {
		return r
	}
	return m.def
}

// named returns the rule of a field which the default leaves alone.
func (m *modelRules) named(name string) rule {
	if r, ok := m.fields[name]; ok {
		return r
	}
	return rule{action: Count}
}

// apply turns a value as read into a value as allowed. Drop is the caller's.
func (d *Decoder) apply(v Value, r rule) Value {
	switch r.action {
	case HMAC:
		switch v.Kind {
		case Number:
			v = Cat(d.pseudonym(d.numberText(v.Num)))
		case Category:
			v.Str = d.pseudonym(v.Str)
		case Vector:
			v = Value{Kind: Invalid}
		}
	case Bucket:
		switch v.Kind {
		case Number:
			v.Num = bucket(v.Num, r.width)
		case Category:
			v = Value{Kind: Invalid}
		}
	}
	return v
}

// applyText is apply for the event's own text fields; "" = absent.
func (d *Decoder) applyText(s string, r rule) string {
	if s == "" {
		return s
	}
	switch r.action {
	case Drop:
		return ""
	case HMAC:
		return d.pseudonym(s)
	case Bucket:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(x) {
			return ""
		}
		return d.numberText(bucket(x, r.width))
	}
	return s
}

// bucket rounds down to a multiple of width. Infinities stay; the sum with 0
// makes -0 into 0.
func bucket(x, width float64) float64 {
	if math.IsInf(x, 0) {
		return x
	}
	return math.Floor(x/width)*width + 0
}

// pseudonym is kid:hex(HMAC-SHA-256(key, s)[:16]). 128 bits are enough against
// collisions and too many to try without the key; deleting the key unlinks all.
func (d *Decoder) pseudonym(s string) string {
	if d.mac == nil {
		d.mac = hmac.New(sha256.New, d.policy.key)
	}
	d.mac.Reset()
	d.scratch = append(d.scratch[:0], s...)
	_, _ = d.mac.Write(d.scratch) // a hash never fails
	sum := d.mac.Sum(d.scratch[:0])
	d.scratch = sum
	buf := d.room(len(d.policy.kid) + 1 + 32)
	buf = append(buf, d.policy.kid...)
	buf = append(buf, ':')
	buf = hex.AppendEncode(buf, sum[:16])
	return d.keep(buf)
}
