package event

import (
	"slices"
	"strings"
)

// producer is what the Decoder remembers of one (model, version): the rules
// which apply to it, and the names it sends.
type producer struct {
	model, version string
	rules          *modelRules
	features       nameTable
	scores         nameTable
}

type producerKey struct{ model, version string }

// producerOf returns the memory of a model and version. When Limits.Shapes
// producers are known, further ones are remembered only until the next.
func (d *Decoder) producerOf(model, version string) *producer {
	if p := d.last; p != nil && p.model == model && p.version == version {
		return p
	}
	p := d.producers[producerKey{model, version}]
	if p == nil {
		p = d.newProducer(model, version)
	}
	d.last = p
	return p
}

func (d *Decoder) newProducer(model, version string) *producer {
	p := &producer{model: strings.Clone(model), version: strings.Clone(version)}
	p.rules = d.policy.forModel(p.model)
	p.features.rules = p.rules
	if len(d.producers) >= d.limits.Shapes {
		p.features.transient, p.scores.transient = true, true
	} else {
		d.producers[producerKey{p.model, p.version}] = p
	}
	p.features.reset()
	p.scores.reset()
	return p
}

// nameTable holds the names of one kind of object of one producer, and the
// order in which they came last: each name predicts the next.
type nameTable struct {
	rules     *modelRules // of the features; nil for scores, which have no policy
	names     []name      // names[0] stands for the start of the object
	index     map[string]int32
	gen       uint32 // the number of the object being read, to find duplicates
	last      *order // the order of the last object
	orders    map[uint64][]*order
	transient bool // rebuilt for each object, because a bound was reached
}

type name struct {
	text  string
	token token
	next  int32  // the name which followed last time; 0 = not known
	gen   uint32 // the object in which it was last seen
	plain bool   // no rule: the value is taken as it is
	rule  rule
}

// order is one sequence of names and the Shape which consumers see, without
// the dropped ones.
type order struct {
	seq   []int32
	shape *Shape
}

// reset forgets every name.
//
//go:noinline
func (t *nameTable) reset() {
	t.names = append(t.names[:0], name{token: noToken})
	t.index = map[string]int32{}
	t.orders = map[uint64][]*order{}
	t.last, t.gen = nil, 0
}

// begin starts an object.
func (t *nameTable) begin() {
	t.gen++
	if t.gen == 0 { // wrapped: no name may look as if seen in this object
		for i := range t.names {
			t.names[i].gen = 0
		}
		t.gen = 1
	}
}

// lookup finds or adds a name. It returns -1 where the Decoder may not remember
// more names: the object is then read again with a transient table.
func (d *Decoder) lookup(t *nameTable, text string) int32 {
	if i, ok := t.index[text]; ok {
		return i
	}
	if !t.transient {
		cost := 2*len(text) + nameCost
		if d.nameBytes+cost > d.limits.Shapes*nameBytesPerShape {
			return -1
		}
		d.nameBytes += cost
		text = strings.Clone(text) // outlives the message
	}
	n := name{text: text, token: noToken, plain: true, rule: rule{action: Count}}
	if quoted := AppendString(nil, text); len(quoted) == len(text)+2 {
		n.token = newToken(string(append(quoted, ':'))) // with escapes there are many spellings
	}
	if t.rules != nil {
		n.rule = t.rules.field(text)
		n.plain = n.rule.plain()
	}
	i := int32(len(t.names))
	t.names = append(t.names, n)
	t.index[text] = i
	return i
}

// A Decoder remembers names up to 8 KiB for each shape it may remember; a name
// costs its two copies and about 160 bytes of structures.
const (
	nameBytesPerShape = 8 << 10
	nameCost          = 160
)

// shapeOf returns the Shape for the names just read. When nothing but
// predicted names came and as many as last time, the order is that of the last
// object: each of its names still predicts the next one.
func (d *Decoder) shapeOf(t *nameTable, seq []int32, predicted bool) *Shape {
	if predicted && t.last != nil && len(t.last.seq) == len(seq) {
		return t.last.shape
	}
	if t.transient {
		return t.shape(seq, true)
	}
	h := hashOrder(seq)
	for _, o := range t.orders[h] {
		if slices.Equal(o.seq, seq) {
			t.last = o
			return o.shape
		}
	}
	if d.shapes >= d.limits.Shapes {
		t.last = nil
		return t.shape(seq, true)
	}
	d.shapes++
	o := &order{seq: slices.Clone(seq), shape: t.shape(seq, false)}
	t.orders[h] = append(t.orders[h], o)
	t.last = o
	return o.shape
}

func (t *nameTable) shape(seq []int32, transient bool) *Shape {
	s := &Shape{Names: make([]string, 0, len(seq)), Transient: transient}
	for _, i := range seq {
		if t.names[i].rule.action != Drop {
			s.Names = append(s.Names, t.names[i].text)
		}
	}
	return s
}

// hashOrder is FNV-1a over the numbers of the names.
func hashOrder(seq []int32) uint64 {
	h := uint64(14695981039346656037)
	for _, i := range seq {
		h = (h ^ uint64(uint32(i))) * 1099511628211
	}
	return h
}
