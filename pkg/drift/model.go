package drift

import (
	"math"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// A model is what the engine holds about one model. Times are Unix nanoseconds.
type model struct {
	name   string
	spec   ModelSpec
	limits *Limits
	layout *layout
	names  map[string]int // signal name -> index in layout.slots
	order  []int          // indices, ascending by name

	features resolver
	scores   resolver
	fixed    [len(fixedNames)]int32 // indices of the signals that are not features nor scores

	groups []*group // ascending
	recent *group   // of the last event

	started     int64 // time of the first event, 0 before it
	watermark   int64
	closed      int64 // panes that start before it are closed
	maxTime     int64
	lastMessage int64 // JetStream time
	lastSeq     uint64
	next        []int64 // per size: end of the window that closes next
	sample      *sample // nil unless the model learns
	sinceSeq    uint64  // first message and event time since the active baseline
	since       int64
	labelled    uint64 // labels since then, and the sum of their keys
	labelSum    uint64
	sampleSum   uint64 // sum of the keys of the events counted since then
	overflow    Overflow
	dirty       bool
	gap         bool // panes that open before the next watermark step are incomplete
}

// A group is one Group's open panes and the sums that will be its windows.
type group struct {
	Group
	panes    []*pane   // ascending by start
	sums     []*Window // per size: closed panes of the window that closes next
	segments map[string]*group
	parent   *group // the whole that a segment is part of
	lastSeen int64
}

type pane struct {
	tally
	start int64
}

// A resolver remembers the signal indices of the names of each shape.
type resolver struct {
	name  func(string) string // of the signal, from the name in the event
	cache map[*event.Shape][]int32
	last  *event.Shape
	index []int32 // of last
}

const unresolved, overLimit = -1, -2

const (
	fixedPrediction = iota
	fixedConfidence
	fixedLatency
	fixedError
	fixedCost
)

var fixedNames = [...]string{SignalPrediction, SignalConfidence, SignalLatency, SignalError, SignalCost}

func newModel(name string, spec ModelSpec, limits *Limits) *model {
	m := &model{name: name, spec: spec, limits: limits, layout: &layout{}, dirty: true}
	m.forget()
	m.names = map[string]int{}
	return m
}

// forget drops what was resolved under another layout.
func (m *model) forget() {
	m.features = resolver{name: featureName, cache: map[*event.Shape][]int32{}}
	m.scores = resolver{name: scoreName, cache: map[*event.Shape][]int32{}}
	for i := range m.fixed {
		m.fixed[i] = unresolved
	}
}

func clock(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// floor rounds down to a multiple of d since the Unix epoch, also before it.
func floor(t, d int64) int64 {
	r := t % d
	if r < 0 {
		r += d
	}
	return t - r
}

// labels notes a label for the next retraining manifest.
func (m *model) labels(key uint64) {
	m.labelled++
	m.labelSum += key
	m.dirty = true
}

// count adds an event to its group's pane and to those of its segments.
func (m *model) count(e *event.Event, at int64, key uint64, pos Position, width int64) {
	start := floor(at, width)
	grp := m.group(e.Version, e.Variant)
	m.tally(grp, start, at, e, pos)
	for _, names := range m.spec.Segments {
		if seg := m.segment(grp, names, e); seg != nil {
			m.tally(seg, start, at, e, pos)
		}
	}
	m.sampleSum += key
	m.dirty = true
}

// tally counts an event in one group's pane.
func (m *model) tally(grp *group, start, at int64, e *event.Event, pos Position) {
	p := grp.pane(start, m)
	grp.lastSeen = max(grp.lastSeen, at)
	p.events++
	p.dirty = true
	if p.fromSeq == 0 {
		p.fromSeq = pos.Seq
	}
	p.toSeq = pos.Seq
	index := m.features.resolve(e.Features, m.names)
	for i := range e.Values {
		v := &e.Values[i]
		if v.Kind == event.Null {
			continue
		}
		if index[i] == unresolved && v.Kind != event.Invalid {
			index[i] = m.signal(featureName(e.Features.Names[i]), v.Kind, true)
		}
		if v.Kind == event.Vector {
			m.number(p, index[i], norm(e.Vector(i)))
			continue
		}
		m.value(p, index[i], v)
	}
	m.outputs(p, e)
}

// outputs counts what the model gave: prediction, scores, confidence, latency,
// error and cost.
func (m *model) outputs(p *pane, e *event.Event) {
	switch e.Prediction.Kind {
	case event.Null:
	case event.Vector:
		m.number(p, m.fix(fixedPrediction, event.Number), norm(e.PredictionVector()))
	default:
		m.value(p, m.fix(fixedPrediction, e.Prediction.Kind), &e.Prediction)
	}
	if e.Scores != nil {
		index := m.scores.resolve(e.Scores, m.names)
		for i, x := range e.ScoreValues {
			if math.IsNaN(x) {
				continue
			}
			if index[i] == unresolved {
				index[i] = m.signal(scoreName(e.Scores.Names[i]), event.Number, false)
			}
			m.number(p, index[i], x)
		}
	}
	for i, x := range [...]float64{fixedConfidence: e.Confidence, fixedLatency: e.LatencyMS, fixedCost: e.Cost} {
		if i != fixedPrediction && i != fixedError && !math.IsNaN(x) {
			m.number(p, m.fix(i, event.Number), x)
		}
	}
	failure := NoError
	if e.Failed {
		p.failed++
		failure = e.Error
	}
	if k := m.fix(fixedError, event.Category); k >= 0 {
		p.category(int(k), failure)
	}
}

func (m *model) number(p *pane, k int32, x float64) {
	if k >= 0 {
		p.number(int(k), x)
		return
	}
	m.overflow.Features++
}

// value counts one value of the signal with index k.
func (m *model) value(p *pane, k int32, v *event.Value) {
	switch {
	case k < 0:
		m.overflow.Features++
	case v.Kind == event.Number:
		p.number(int(k), v.Num)
	case v.Kind == event.Category:
		p.category(int(k), v.Str)
	default:
		p.mismatch(int(k))
	}
}

// norm is the Euclidean length of a vector: what is watched of it.
func norm(components []float64) float64 {
	sum := 0.0
	for _, x := range components {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// resolve returns the signal indices of a shape's names, as far as known. The
// caller fills in what is unresolved.
func (r *resolver) resolve(s *event.Shape, names map[string]int) []int32 {
	if s == nil {
		return nil
	}
	if r.last == s {
		return r.index
	}
	index := r.cache[s]
	if index == nil {
		index = make([]int32, len(s.Names))
		for i, n := range s.Names {
			index[i] = unresolved
			if k, ok := names[r.name(n)]; ok {
				index[i] = int32(k)
			}
		}
		if s.Transient {
			return index
		}
		r.cache[s] = index
	}
	r.last, r.index = s, index
	return index
}

// fix returns the index of a signal that is neither a feature nor a score.
func (m *model) fix(i int, kind event.ValueKind) int32 {
	if m.fixed[i] == unresolved {
		if k, ok := m.names[fixedNames[i]]; ok {
			m.fixed[i] = int32(k)
		} else {
			m.fixed[i] = m.signal(fixedNames[i], kind, false)
		}
	}
	return m.fixed[i]
}

func scoreName(class string) string { return ScorePrefix + class }

// featureName keeps a feature apart from the signals of the model itself.
func featureName(name string) string {
	if slices.Contains(fixedNames[:], name) || strings.HasPrefix(name, ScorePrefix) || strings.HasPrefix(name, FeaturePrefix) {
		return FeaturePrefix + name
	}
	return name
}

// signal returns the index of a signal, added if need be, or overLimit.
func (m *model) signal(name string, kind event.ValueKind, feature bool) int32 {
	if k, ok := m.names[name]; ok {
		return int32(k)
	}
	if len(m.layout.slots) >= m.limits.Features {
		return overLimit
	}
	def := SignalDef{Name: strings.Clone(name), Type: Numeric, Feature: feature}
	if kind == event.Category {
		def.Type = Categorical
	}
	return int32(m.define(def))
}

// define adds a signal to the layout. A signal of the same name but another
// type keeps its index for the panes that began with it.
func (m *model) define(def SignalDef) int {
	k := len(m.layout.slots)
	m.layout.add(def)
	m.names[def.Name] = k
	at, _ := slices.BinarySearchFunc(m.order, def.Name, func(i int, name string) int {
		return strings.Compare(m.layout.slots[i].def.Name, name)
	})
	m.order = slices.Insert(m.order, at, k)
	m.dirty = true
	return k
}

// adopt makes b the baseline of the panes that begin from now on.
func (m *model) adopt(b *Baseline) {
	if m.layout.id() == b.ID { // approved: the same reference, trusted more
		m.layout.baseline = b
		return
	}
	old := m.layout.slots
	m.layout = &layout{baseline: b}
	for _, s := range old {
		m.layout.add(s.def)
	}
	for _, ref := range b.Parts[0].Signals {
		if k, ok := m.names[ref.Name]; !ok || m.layout.slots[k].def.Type != ref.Type {
			m.define(SignalDef{Name: ref.Name, Type: ref.Type, Feature: ref.Feature})
		}
	}
	m.sample = nil
	m.since, m.sinceSeq = m.maxTime, m.lastSeq
	m.labelled, m.labelSum, m.sampleSum = 0, 0, 0
	m.forget()
	m.dirty = true
}
