package event

import (
	"math"
	"strings"
)

// featuresField reads the features if the model is known, and with it the
// rules; else it notes where they are, for finish to read them.
func (d *Decoder) featuresField(f *frame, i int) int {
	if i >= len(d.s) || d.s[i] != '{' {
		return d.wrongType(i, `an object such as {"amount": 73.1}`)
	}
	f.featuresAt, f.readFor = i, ""
	if f.ev.Model == "" {
		return d.skip(i, 1)
	}
	return d.features(f, d.producerOf(f.ev.Model, f.ev.Version))
}

// again is what a read returns that must start over with a transient table.
const again = -2

// features reads the object at f.featuresAt under the rules of a producer.
func (d *Decoder) features(f *frame, p *producer) int {
	b := d.b
	before := b.mark()
	t := &p.features
	if t.transient {
		t.reset()
	}
	end := d.featureObject(f, t)
	if end == again {
		b.rollback(before)
		t = &nameTable{rules: p.rules, transient: true}
		t.reset()
		end = d.featureObject(f, t)
	}
	f.readFor = p.model
	return end
}

// nameKey reads the key at i of an object with the names of t: the name which
// followed prev last time is compared as a whole token first.
func (d *Decoder) nameKey(t *nameTable, prev int32, i int) (id int32, predicted bool, after int) {
	if id = t.names[prev].next; id != 0 {
		if n := &t.names[id]; n.token.at(d.s, i) {
			if n.gen == t.gen {
				return 0, false, d.twice(n.text, i)
			}
			n.gen = t.gen
			return id, true, skipSpace(d.s, i+n.token.n)
		}
	}
	text, after := d.key(i)
	if after < 0 {
		return 0, false, -1
	}
	if len(text) > d.limits.StringBytes {
		return 0, false, d.fail(Limit, i, "name longer than %d bytes", d.limits.StringBytes)
	}
	next := id
	if id = d.lookup(t, text); id < 0 {
		return 0, false, again
	}
	n := &t.names[id]
	if n.gen == t.gen {
		return 0, false, d.twice(text, i)
	}
	n.gen = t.gen
	if id != next {
		t.names[prev].next = id
		t.last = nil // the guesses no longer spell it, even if this object is refused
	}
	return id, id == next, after
}

// twice refuses a name which its object has already.
//
//go:noinline
func (d *Decoder) twice(name string, i int) int {
	return d.fail(Decode, i, "key %q occurs twice; parsers disagree on which one counts", shorten(name))
}

// featureObject reads the object at f.featuresAt with the names of t.
func (d *Decoder) featureObject(f *frame, t *nameTable) int {
	s, b := d.s, d.b
	first, firstVector := len(b.values), len(b.vectors)
	t.begin()
	seq, allPredicted := d.seq[:0], true
	i := skipSpace(s, f.featuresAt+1)
	if i < len(s) && s[i] == '}' {
		i++
	} else {
		n := &t.names[0]
		for prev := int32(0); ; {
			id, after := n.next, 0
			n = &t.names[id]
			if n.token.at(s, i) && n.gen != t.gen { // as nameKey, without the call
				n.gen, after = t.gen, skipSpace(s, i+n.token.n)
			} else {
				predicted := false
				if id, predicted, after = d.nameKey(t, prev, i); after < 0 {
					return after
				}
				n, allPredicted = &t.names[id], allPredicted && predicted
			}
			if len(seq) >= d.limits.Features {
				return d.fail(Limit, i, "more than %d features", d.limits.Features)
			}
			prev, seq = id, append(seq, id)
			if n.plain && after < len(s) && opensNumber[s[after]] { // most features, without a call more
				var x float64
				if x, i = parseNumber(s, after); i < 0 {
					d.badNumber(after)
					return d.in(n.text)
				}
				b.values = append(b.values, Value{Kind: Number, Num: x})
			} else if n.plain && after < len(s) && s[after] == '"' {
				var v Value
				if v, i = d.category(after); i < 0 {
					return d.in(n.text)
				}
				b.values = append(b.values, v)
			} else if n.plain && strings.HasPrefix(s[after:], "null") {
				b.values = append(b.values, Value{})
				i = after + len("null")
			} else if i = d.feature(n, after); i < 0 {
				return d.in(n.text)
			}
			i = skipSpace(s, i)
			if i < len(s) && s[i] == ',' {
				i = skipSpace(s, i+1)
				continue
			}
			if i < len(s) && s[i] == '}' {
				i++
				break
			}
			return d.badNext(i, '}')
		}
	}
	d.seq = seq
	f.ev.Features = d.shapeOf(t, seq, allPredicted)
	f.ev.Values = b.values[first:len(b.values):len(b.values)]
	f.vectors = b.vectors[firstVector:len(b.vectors):len(b.vectors)]
	return i
}

// category reads the string at i as a category; too long a text is none.
func (d *Decoder) category(i int) (Value, int) {
	t, end := d.text(i)
	if len(t) > d.limits.StringBytes {
		return Value{Kind: Invalid}, end
	}
	return Value{Kind: Category, Str: t}, end
}

// feature reads one value and appends it as its rule allows.
func (d *Decoder) feature(n *name, i int) int {
	b := d.b
	if n.rule.action == Drop {
		return d.skip(i, 2)
	}
	v, end := d.value(i, &n.rule, 2)
	if end < 0 {
		return -1
	}
	if v.Kind == Vector {
		b.vectors = append(b.vectors, d.vector)
	}
	b.values = append(b.values, v)
	return end
}

// value reads any value as a rule allows. Components of a Vector are left in
// d.vector, which is nil for all others. depth is that of the object around it.
func (d *Decoder) value(i int, r *rule, depth int) (Value, int) {
	s := d.s
	d.vector = nil
	if i >= len(s) {
		return Value{}, d.badValue(i)
	}
	switch c := s[i]; {
	case opensNumber[c]:
		return d.numberValue(i, r)
	case c == '"':
		t, end := d.text(i)
		if end >= 0 && len(t) > d.limits.StringBytes {
			return Value{Kind: Invalid}, end
		}
		return d.typed(t, r), end
	case c == 't':
		return d.typed("true", r), d.literal(i, "true")
	case c == 'f':
		return d.typed("false", r), d.literal(i, "false")
	case c == 'n':
		return Value{}, d.literal(i, "null")
	case c == '[' && r.action != HMAC && r.typ == Auto:
		return d.vectorValue(i, r, depth)
	}
	return Value{Kind: Invalid}, d.skip(i, depth) // objects, and what is no value
}

// The rules of values which no policy names. Rules go by pointer: to copy one
// costs more than to read a bool.
var (
	counted     = rule{action: Count}
	categorical = rule{action: Count, typ: CategoricalType}
)

// numberValue reads a number. As a category or a pseudonym its text counts,
// not the nearest float64.
func (d *Decoder) numberValue(i int, r *rule) (Value, int) {
	s := d.s
	x, end := parseNumber(s, i)
	if end < 0 {
		return Value{}, d.badNumber(i)
	}
	if r.action == Bucket {
		x = bucket(x, r.width)
	}
	switch {
	case r.action == HMAC:
		return Cat(d.pseudonym(d.literalText(s[i:end]))), end
	case r.typ == CategoricalType && r.action == Bucket:
		return Cat(d.numberText(x)), end
	case r.typ == CategoricalType:
		if end-i > d.limits.StringBytes {
			return Value{Kind: Invalid}, end
		}
		return Cat(d.literalText(s[i:end])), end
	}
	return Value{Kind: Number, Num: x}, end
}

// typed is a text as a rule allows it.
func (d *Decoder) typed(t string, r *rule) Value {
	if r.typ == NumericType || r.action == Bucket {
		return Value{Kind: Invalid}
	}
	if r.action == HMAC {
		t = d.pseudonym(t)
	}
	return Cat(t)
}

// vectorValue reads an array of numbers; with anything else in it, or with too
// many of them, it is Invalid.
func (d *Decoder) vectorValue(i int, r *rule, depth int) (Value, int) {
	s, b := d.s, d.b
	start, first := i, len(b.floats)
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == ']' {
		d.vector = []float64{}
		return Value{Kind: Vector}, i + 1
	}
	for {
		if i >= len(s) || !opensNumber[s[i]] {
			b.floats = b.floats[:first]
			return Value{Kind: Invalid}, d.skip(start, depth)
		}
		x, end := parseNumber(s, i)
		if end < 0 {
			return Value{}, d.badNumber(i)
		}
		if r.action == Bucket {
			x = bucket(x, r.width)
		}
		if len(b.floats)-first == d.limits.Vector {
			b.floats = b.floats[:first]
			return Value{Kind: Invalid}, d.skip(start, depth)
		}
		b.floats = append(b.floats, x)
		i = skipSpace(s, end)
		if i < len(s) && s[i] == ',' {
			i = skipSpace(s, i+1)
			continue
		}
		if i >= len(s) || s[i] != ']' {
			return Value{}, d.badNext(i, ']')
		}
		d.vector = b.floats[first:len(b.floats):len(b.floats)]
		return Value{Kind: Vector, Num: float64(len(d.vector))}, i + 1
	}
}

// scores reads the object at i: numbers by name.
func (d *Decoder) scores(f *frame, i int) int {
	if i >= len(d.s) || d.s[i] != '{' {
		return d.wrongType(i, `an object such as {"fraud": 0.87, "ok": 0.13}`)
	}
	t := &d.producerOf(f.ev.Model, f.ev.Version).scores
	first := len(d.b.scores)
	if t.transient {
		t.reset()
	}
	end := d.scoreObject(f.ev, t, i)
	if end == again {
		d.b.scores = d.b.scores[:first]
		t = &nameTable{transient: true}
		t.reset()
		end = d.scoreObject(f.ev, t, i)
	}
	return end
}

func (d *Decoder) scoreObject(ev *Event, t *nameTable, i int) int {
	s, b := d.s, d.b
	first := len(b.scores)
	t.begin()
	seq, allPredicted := d.seq[:0], true
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		i++
	} else {
		n := &t.names[0]
		for prev := int32(0); ; {
			id, after := n.next, 0
			n = &t.names[id]
			if n.token.at(s, i) && n.gen != t.gen { // as nameKey, without the call
				n.gen, after = t.gen, skipSpace(s, i+n.token.n)
			} else {
				predicted := false
				if id, predicted, after = d.nameKey(t, prev, i); after < 0 {
					return after
				}
				n, allPredicted = &t.names[id], allPredicted && predicted
			}
			if len(seq) >= d.limits.Features {
				return d.fail(Limit, i, "more than %d scores", d.limits.Features)
			}
			prev, seq = id, append(seq, id)
			if i = d.score(after); i < 0 {
				return d.in(n.text)
			}
			i = skipSpace(s, i)
			if i < len(s) && s[i] == ',' {
				i = skipSpace(s, i+1)
				continue
			}
			if i < len(s) && s[i] == '}' {
				i++
				break
			}
			return d.badNext(i, '}')
		}
	}
	d.seq = seq
	ev.Scores = d.shapeOf(t, seq, allPredicted)
	ev.ScoreValues = b.scores[first:len(b.scores):len(b.scores)]
	return i
}

// score reads one score: NaN where it is no number.
func (d *Decoder) score(i int) int {
	s := d.s
	x, end := math.NaN(), 0
	if i < len(s) && opensNumber[s[i]] {
		if x, end = parseNumber(s, i); end < 0 {
			return d.badNumber(i)
		}
	} else {
		end = d.skip(i, 2)
	}
	d.b.scores = append(d.b.scores, x)
	return end
}

// segments reads the object at i: texts, numbers and bools by name.
func (d *Decoder) segments(ev *Event, i int) int {
	s := d.s
	if i >= len(s) || s[i] != '{' {
		return d.wrongType(i, `an object such as {"channel": "app"}`)
	}
	first := len(d.raw)
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		ev.Segments = nil
		return i + 1
	}
	for n := 0; ; n++ {
		at := i
		name, after := d.key(i)
		if after < 0 {
			return -1
		}
		if n >= maxSegments || len(name) > d.limits.StringBytes {
			return d.fail(Limit, at, "more than %d segments, or a name longer than %d bytes", maxSegments, d.limits.StringBytes)
		}
		for _, g := range d.raw[first:] {
			if g.Name == name {
				return d.twice(name, at)
			}
		}
		value, end := d.segment(after)
		if end < 0 {
			return d.in(name)
		}
		if value != "" {
			d.raw = append(d.raw, Segment{Name: name, Value: value})
		}
		i = skipSpace(s, end)
		if i < len(s) && s[i] == ',' {
			i = skipSpace(s, i+1)
			continue
		}
		if i < len(s) && s[i] == '}' {
			ev.Segments = d.raw[first:len(d.raw):len(d.raw)]
			return i + 1
		}
		return d.badNext(i, '}')
	}
}

// maxSegments bounds the segments of an event, and the search for duplicates.
const maxSegments = 64

// segment reads the value of a segment as text; null and "" are absent.
func (d *Decoder) segment(i int) (string, int) {
	if i < len(d.s) && d.s[i] == '"' {
		return d.short(i)
	}
	v, end := d.value(i, &categorical, 2)
	if end >= 0 && v.Kind == Invalid {
		return "", d.fail(Schema, i, "must be a string, a number or a bool")
	}
	return v.Str, end
}
