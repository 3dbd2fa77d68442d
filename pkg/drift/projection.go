package drift

import (
	"slices"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// ProjectionPrefix begins the names of the signals that a Projection gives. Of
// the group of features they are "pca.1", "pca.2", ..., "pca.residual",
// "pca.mahalanobis" and "pca.norm"; of the vector feature v they are "pca.v.1",
// ..., "pca.v.residual", "pca.v.mahalanobis" and "pca.v.cosine".
const ProjectionPrefix = "pca."

// Multivariate names what is watched together, beside each feature by itself: a
// change of how features go together, or of where embeddings lie, can leave
// every single distribution as it was.
type Multivariate struct {
	Features []string // numeric features that make one vector, standardised
	Vectors  []string // features that are vectors
}

// A Projection is how a part's events give further numeric signals: what its
// axes say of a vector. It was learned from rows that the part does not count.
type Projection struct {
	Feature string   // the vector feature, "" for the group
	Inputs  []string // the features of the group, in the order of components; nil for a vector
	Axes    *stats.Projection
}

// Signals returns the names of the signals that the projection gives.
func (p *Projection) Signals() []string {
	prefix := ProjectionPrefix
	if p.Feature != "" {
		prefix += p.Feature + "."
	}
	names := p.Axes.Names()
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// Projections returns those of the baseline, which all of its parts share.
func (b *Baseline) Projections() []Projection {
	if len(b.Parts) == 0 {
		return nil
	}
	return b.Parts[0].Projections
}

// SetProjections gives a baseline that is being decoded its projections.
func (b *Baseline) SetProjections(all []Projection) {
	for i := range b.Parts {
		b.Parts[i].Projections = all
	}
}

// names returns the features that the projection needs.
func (p *Projection) names() []string {
	if p.Feature != "" {
		return []string{p.Feature}
	}
	return p.Inputs
}

// A projector applies a Projection to events. It belongs to a layout: panes that
// began under another baseline are counted with that one's axes.
type projector struct {
	*Projection
	signals []int32 // numbers of the signals, unresolved for one that the model does not have
	places  map[*event.Shape][]int32
	last    *event.Shape
	at      []int32 // of last: where the features are, -1 for absent

	out, scratch, x []float64
	event           uint64 // the last event applied to
	found           bool   // it had the vector
}

// projectors returns the layout's projectors, made when they are asked for
// first: by then the signals of a restored model are known.
func (l *layout) projectors() []projector {
	if l.projected || l.baseline == nil {
		return l.projections
	}
	l.projected = true
	all := l.baseline.Projections()
	for i := range all {
		p := projector{Projection: &all[i], places: map[*event.Shape][]int32{}}
		for _, name := range p.Signals() {
			k, ok := l.signals.names[name]
			if !ok {
				k = unresolved
			}
			p.signals = append(p.signals, int32(k))
		}
		p.out, p.scratch = make([]float64, len(p.signals)), make([]float64, p.Axes.Dim())
		p.x = make([]float64, len(p.Inputs))
		l.projections = append(l.projections, p)
	}
	return l.projections
}

// project counts the signals of an event's vectors. An event without the
// vector, or with one of another length or a number that is not finite, gives
// none of them: they are missing there.
func (m *model) project(grp *group, p *pane, e *event.Event) {
	if grp.parent == nil { // an event is counted for the whole first, then for its segments
		m.ordinal++
	}
	for i := range p.layout.projectors() {
		d := &p.layout.projections[i]
		if d.event != m.ordinal {
			d.event, d.found = m.ordinal, d.apply(e)
		}
		if !d.found {
			continue
		}
		for k, x := range d.out {
			if d.signals[k] != unresolved {
				m.number(p, d.signals[k], x)
			}
		}
	}
}

// apply projects an event's vector and reports whether it has one.
func (d *projector) apply(e *event.Event) bool {
	if e.Features == nil {
		return false
	}
	x, at := d.x, d.place(e.Features)
	if d.Feature != "" {
		if at[0] < 0 {
			return false
		}
		x = e.Vector(int(at[0]))
	} else {
		for k, i := range at {
			if i < 0 || e.Values[i].Kind != event.Number {
				return false
			}
			x[k] = e.Values[i].Num
		}
	}
	return len(x) == d.Axes.Dim() && d.Axes.Apply(d.out, d.scratch, x)
}

// forget drops what is known of shapes.
func (d *projector) forget() {
	clear(d.places)
	d.last, d.at = nil, nil
}

// place returns where a shape has the projection's features.
func (d *projector) place(s *event.Shape) []int32 {
	if d.last == s {
		return d.at
	}
	at := d.places[s]
	if at == nil {
		for _, name := range d.names() {
			at = append(at, int32(slices.Index(s.Names, name)))
		}
		if s.Transient {
			return at
		}
		d.places[s] = at
	}
	d.last, d.at = s, at
	return at
}
