package drift

import (
	"math"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// A model is what the engine holds about one model. Times are Unix nanoseconds.
type model struct {
	name    string
	spec    ModelSpec
	limits  *Limits
	signals signals
	layout  *layout // of the panes that begin from now on

	features resolver
	scores   resolver
	fixed    [len(fixedNames)]int32 // numbers of the signals that are neither

	groups  []*group // ascending
	recent  *group   // of the last event
	crowded int64    // closed when no version could be forgotten: none can be until it moves
	buffer  []byte   // for the name of a segment
	ordinal uint64   // of the event being counted, so that no vector is projected twice

	started     int64 // time of the first event, 0 before it
	watermark   int64
	closed      int64 // panes that start before it are closed
	maxTime     int64
	lastMessage int64 // JetStream time
	lastSeq     uint64
	next        []int64 // per span: end of the window that closes next
	sample      *sample // nil unless the model learns
	sinceSeq    uint64  // first message and event time since the active baseline
	since       int64
	labelled    uint64 // labels since then, and the sum of their keys
	labelSum    uint64
	sampleSum   uint64 // sum of the keys of the events counted since then
	overflow    Overflow
	dirty       bool
	grown       *int // of the engine
	weighed     bool // its own state is in grown
	gap         bool // messages are lost and no pane has closed since: gapTo is not known yet

	// Messages of event times in [gapFrom, gapTo] may be lost: panes and windows that
	// overlap it are incomplete, also those without an event. Both 0: none known.
	gapFrom, gapTo int64
}

// A group is one Group's open panes and the sums that will be its windows.
type group struct {
	Group
	panes    []*pane // ascending by start
	sums     []*sum  // per span: what is closed of the window that closes next
	segments map[string]*group
	parent   *group // the whole that a segment is part of
	lastSeen int64
	crowded  int64 // closed when no segment could be forgotten
}

type pane struct {
	tally
	start int64
}

func newModel(name string, spec ModelSpec, limits *Limits, grown *int) *model {
	m := &model{name: name, spec: spec, limits: limits, crowded: math.MinInt64, dirty: true, grown: grown}
	m.layout = &layout{signals: &m.signals}
	m.forget()
	return m
}

// forget drops what was resolved under another layout.
func (m *model) forget() {
	m.features = resolver{name: featureName, cache: map[*event.Shape][]int32{}}
	m.scores = resolver{name: scoreName, cache: map[*event.Shape][]int32{}}
	for i := range m.fixed {
		m.fixed[i] = unresolved
	}
	for i := range m.layout.projections {
		m.layout.projections[i].forget()
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
	start, named := floor(at, width), m.signals.bytes
	grp := m.group(e.Version, e.Variant)
	m.tally(grp, start, at, e, pos)
	overflow := m.overflow
	for _, names := range m.spec.Segments {
		if seg := m.segment(grp, names, e); seg != nil {
			m.tally(seg, start, at, e, pos)
		}
	}
	// A value is in as many panes as the event has segments, but it is one value.
	m.overflow.Features, m.overflow.Mismatched = overflow.Features, overflow.Mismatched
	m.sampleSum += key
	*m.grown += m.signals.bytes - named
	m.touch()
}

// touch says that the model's own state has changed.
func (m *model) touch() {
	if !m.weighed {
		*m.grown += m.stateBytes()
		m.weighed = true
	}
	m.dirty = true
}

// tally counts an event in one group's pane.
func (m *model) tally(grp *group, start, at int64, e *event.Event, pos Position) {
	p := grp.pane(start, m)
	grp.lastSeen = max(grp.lastSeen, at)
	p.events++
	if !p.dirty {
		// Twice: a varint that grows widens what was counted before.
		*m.grown += 2*p.bytes(grp.Group) + grownPane
		p.dirty = true
	}
	before := p.grown
	if p.fromSeq == 0 {
		p.fromSeq = pos.Seq
	}
	p.toSeq = pos.Seq
	index := m.features.resolve(e.Features, &m.signals)
	for i := range e.Values {
		v := &e.Values[i]
		if v.Kind == event.Null {
			continue
		}
		if index[i] == unresolved {
			index[i] = m.signal(featureName(e.Features.Names[i]), v.Kind)
		}
		if v.Kind == event.Vector {
			m.number(p, index[i], norm(e.Vector(i)))
			continue
		}
		m.value(p, index[i], v)
	}
	m.project(grp, p, e)
	m.outputs(p, e)
	*m.grown += p.grown - before + grownEvent
}

// outputs counts what the model gave: prediction, scores, confidence, latency,
// cost and error.
func (m *model) outputs(p *pane, e *event.Event) {
	switch e.Prediction.Kind {
	case event.Null:
	case event.Vector:
		m.number(p, m.fix(fixedPrediction, event.Number), norm(e.PredictionVector()))
	default:
		m.value(p, m.fix(fixedPrediction, e.Prediction.Kind), &e.Prediction)
	}
	index := m.scores.resolve(e.Scores, &m.signals)
	for i, x := range e.ScoreValues {
		if math.IsNaN(x) {
			continue
		}
		if index[i] == unresolved {
			index[i] = m.signal(scoreName(e.Scores.Names[i]), event.Number)
		}
		m.number(p, index[i], x)
	}
	m.measure(p, fixedConfidence, e.Confidence)
	m.measure(p, fixedLatency, e.LatencyMS)
	m.measure(p, fixedCost, e.Cost)
	failure := NoError
	if e.Failed {
		p.failed++
		failure = e.Error
	}
	p.category(int(m.fix(fixedError, event.Category)), failure)
}

// measure counts a number that is NaN when it is absent.
func (m *model) measure(p *pane, fixed int, x float64) {
	if !math.IsNaN(x) {
		m.number(p, m.fix(fixed, event.Number), x)
	}
}

func (m *model) number(p *pane, k int32, x float64) {
	switch {
	case k < 0:
		m.overflow.Features++
	case !p.number(int(k), x):
		m.overflow.Mismatched++
	}
}

// value counts one value of signal k that is no vector.
func (m *model) value(p *pane, k int32, v *event.Value) {
	switch {
	case v.Kind == event.Number:
		m.number(p, k, v.Num)
	case k == overLimit:
		m.overflow.Features++
	case v.Kind == event.Category:
		if !p.category(int(k), v.Str) {
			m.overflow.Mismatched++
		}
	default:
		m.overflow.Mismatched++
		if k != unresolved { // else a name that has had no value yet: it has no type to miss
			p.mismatch(int(k))
		}
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

// fix returns the number of a signal that is neither a feature nor a score.
// These are few and no publisher names them, so the limit is not for them.
func (m *model) fix(i int, kind event.ValueKind) int32 {
	if m.fixed[i] == unresolved {
		m.fixed[i] = m.lookup(fixedNames[i], kind)
	}
	return m.fixed[i]
}

// signal returns the number of a feature's or score's signal, which it defines
// if need be: unresolved while the value is neither a number nor a category,
// overLimit beyond the limit.
func (m *model) signal(name string, kind event.ValueKind) int32 {
	if _, known := m.signals.names[name]; !known && len(m.signals.defs) >= m.limits.Features {
		return overLimit
	}
	return m.lookup(name, kind)
}

func (m *model) lookup(name string, kind event.ValueKind) int32 {
	if k, ok := m.signals.names[name]; ok {
		return int32(k)
	}
	m.dirty = true
	switch kind {
	case event.Number, event.Vector:
		return int32(m.signals.define(name, Numeric))
	case event.Category:
		return int32(m.signals.define(name, Categorical))
	}
	return unresolved
}

// adopt makes b the baseline of the panes that begin from now on.
func (m *model) adopt(b *Baseline) {
	m.dirty = true
	if old := m.layout.baseline; old != nil && old.ID == b.ID { // approved: the same reference, trusted more
		m.layout.baseline = b
		return
	}
	m.layout = &layout{baseline: b, signals: &m.signals}
	for i := range b.Parts[0].Signals {
		ref := &b.Parts[0].Signals[i]
		if k, ok := m.signals.names[ref.Name]; !ok || m.signals.defs[k].Type != ref.Type {
			m.signals.define(ref.Name, ref.Type)
		}
	}
	m.sample = nil
	m.since, m.sinceSeq = m.maxTime, m.lastSeq
	m.labelled, m.labelSum, m.sampleSum = 0, 0, 0
	m.forget()
}
