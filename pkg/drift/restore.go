package drift

import (
	"fmt"
	"slices"
	"time"
)

// state returns what is persisted of the model.
func (m *model) state() ModelState {
	st := ModelState{
		Model: m.name, Started: clock(m.started), Watermark: clock(m.watermark), MaxTime: clock(m.maxTime),
		LastMessage: clock(m.lastMessage), LastSeq: m.lastSeq, Gap: m.gap, GapFrom: clock(m.gapFrom), GapTo: clock(m.gapTo), Since: clock(m.since), SinceSeq: m.sinceSeq,
		Labels: Tracked{m.labelled, m.labelSum}, Samples: m.sampleSum, Baseline: m.layout.id(), Overflow: m.overflow,
		Signals: slices.Clone(m.signals.defs),
	}
	for _, grp := range m.groups {
		st.Groups = append(st.Groups, GroupState{grp.Group, clock(grp.lastSeen)})
	}
	if s := m.sample; s != nil {
		st.Sample = &SampleState{Seen: s.seen, Kept: uint64(len(s.rows)), Threshold: s.threshold, Chunks: s.chunks, From: clock(s.from), To: clock(s.to)}
	}
	return st
}

// A Snapshot is what an Engine is restored from: the last checkpoint.
type Snapshot struct {
	Models    []ModelState
	Baselines []*Baseline // active ones, and those that open panes count on
	Open      []*Window
	Samples   map[string][][]byte // chunks by model, in order
	Seen      [][]uint64
	// Closed returns the sum of what is closed of a group in [from, to), nil if
	// there is nothing: what the windows that are open hold so far. It must add
	// up windows of length unit, panes or rollups, in the order of time.
	Closed func(g Group, from, to time.Time, unit time.Duration) (*Window, error)
}

// Restore fills a new engine with the state of a checkpoint.
func (g *Engine) Restore(s Snapshot) error {
	baselines := map[string]*Baseline{}
	for _, b := range s.Baselines {
		baselines[b.ID] = b
	}
	for _, st := range s.Models {
		if err := g.restoreModel(st, baselines, s); err != nil {
			return fmt.Errorf("restore model %s: %w", st.Model, err)
		}
	}
	for _, w := range s.Open {
		m := g.models[w.Group.Model]
		if m == nil || m.find(w.Group) == nil {
			return fmt.Errorf("restore pane of %v at %v: its group is unknown", w.Group, w.Start)
		}
		base, ok := baselines[w.Baseline]
		if !ok && w.Baseline != "" {
			return fmt.Errorf("restore pane of %v at %v: baseline %s is missing", w.Group, w.Start, w.Baseline)
		}
		if !m.restorePane(m.find(w.Group), w, base) {
			return fmt.Errorf("restore pane of %v at %v: it has a signal that the model does not know", w.Group, w.Start)
		}
	}
	g.seen.Restore(s.Seen)
	return nil
}

func (g *Engine) restoreModel(st ModelState, baselines map[string]*Baseline, s Snapshot) error {
	spec, _ := g.spec.model(st.Model) // a model no longer configured keeps its past
	m := g.newModel(st.Model, spec)
	m.started, m.watermark, m.maxTime = nanos(st.Started), nanos(st.Watermark), nanos(st.MaxTime)
	m.lastMessage, m.lastSeq = nanos(st.LastMessage), st.LastSeq
	m.since, m.sinceSeq = nanos(st.Since), st.SinceSeq
	m.labelled, m.labelSum, m.sampleSum = st.Labels.Count, st.Labels.Sum, st.Samples
	m.overflow, m.gap = st.Overflow, st.Gap
	m.gapFrom, m.gapTo = nanos(st.GapFrom), nanos(st.GapTo)
	if st.Baseline != "" {
		b := baselines[st.Baseline]
		if b == nil {
			return fmt.Errorf("baseline %s is missing", st.Baseline)
		}
		m.layout.baseline, m.sample = b, nil
	}
	for _, def := range st.Signals {
		m.signals.define(def.Name, def.Type)
	}
	if m.started != 0 {
		g.align(m)
	}
	if st.Sample != nil {
		sample, err := restoreSample(*st.Sample, s.Samples[st.Model])
		if err != nil {
			return err
		}
		m.sample = sample
		g.learned += sample.bytes
	}
	for _, gs := range st.Groups {
		if err := g.restoreGroup(m, gs, s); err != nil {
			return err
		}
	}
	m.dirty = false
	return nil
}

func (g *Engine) restoreGroup(m *model, gs GroupState, s Snapshot) error {
	var parent *group
	if gs.Group.Segment != "" {
		whole := gs.Group
		whole.Segment = ""
		parent = m.find(whole) // "" sorts before its segments
	}
	grp := m.insert(gs.Group, parent)
	grp.lastSeen = nanos(gs.LastSeen)
	for i, span := range g.spans {
		from, to := m.next[i]-span.length, m.closed
		to = floor(to, span.unit)
		if from >= to {
			continue
		}
		w, err := s.Closed(gs.Group, time.Unix(0, from).UTC(), time.Unix(0, to).UTC(), time.Duration(span.unit))
		if err != nil {
			return err
		}
		if w != nil {
			g.sum(m, grp, i, w)
		}
	}
	return g.err
}

// restorePane opens a pane again, on the edges that it was counted on. It
// reports whether all of its signals are known.
func (m *model) restorePane(grp *group, w *Window, base *Baseline) bool {
	start, open := nanos(w.Start), m.layout
	if base != m.layout.baseline {
		m.layout = &layout{baseline: base, signals: &m.signals}
	}
	p := grp.pane(start, m)
	m.layout = open
	return p.load(w, func(s *Signal) int {
		for _, i := range m.signals.order {
			if def := m.signals.defs[i]; def.Name == s.Name && def.Type == s.Type {
				return i
			}
		}
		return unresolved
	})
}

// SetBaseline makes b the reference of its model from now on; panes that are
// open keep counting on the edges they began with. It returns false if the model
// is unknown and may not be added.
func (g *Engine) SetBaseline(b *Baseline) bool {
	m, _ := g.model(b.Model)
	if m == nil {
		return false
	}
	g.adopt(m, b)
	return true
}

// adopt gives a model its reference, and what its sample took to the others.
func (g *Engine) adopt(m *model, b *Baseline) {
	if m.sample != nil {
		g.learned -= m.sample.bytes
	}
	m.adopt(b)
}

// Baseline returns the model's active baseline, nil while it learns.
func (g *Engine) Baseline(model string) *Baseline {
	if m := g.models[model]; m != nil {
		return m.layout.baseline
	}
	return nil
}

// Model returns the state of one model.
func (g *Engine) Model(name string) (ModelState, bool) {
	m := g.models[name]
	if m == nil {
		return ModelState{}, false
	}
	return m.state(), true
}
