package drift

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// Resolutions of reference-quantile histograms, by statistics.md section 0.
const (
	liveK = 256  // features
	fineK = 1024 // scores, and both sides of an offline comparison
)

// BuilderOptions say what a Builder builds.
type BuilderOptions struct {
	Model      string
	Version    string
	Fine       bool                      // every signal at K = 1024, not only scores
	Categories int                       // counted by name; 0: 256
	Segments   [][]string                // as in ModelSpec; parts for the values found
	Extra      func(string) *stats.Edges // edges of an older baseline to keep, nil for none
}

// A Builder gathers reference events and makes a Baseline of them. It holds
// every number it is given: 8 bytes each.
type Builder struct {
	opts  BuilderOptions
	whole *rawPart
	parts map[string]*rawPart
}

type rawPart struct {
	segment string
	rows    uint64
	columns map[string]*rawColumn
}

type rawColumn struct {
	def        SignalDef
	numbers    []float64
	moments    stats.Moments // of the not finite ones
	categories map[string]uint64
	mismatched uint64
}

// NewBuilder returns an empty Builder.
func NewBuilder(o BuilderOptions) *Builder {
	b := &Builder{opts: o, parts: map[string]*rawPart{}}
	b.whole = b.part("")
	return b
}

func (b *Builder) part(segment string) *rawPart {
	p := b.parts[segment]
	if p == nil {
		p = &rawPart{segment: segment, columns: map[string]*rawColumn{}}
		b.parts[segment] = p
	}
	return p
}

// Rows returns the number of events added.
func (b *Builder) Rows() uint64 { return b.whole.rows }

// Add adds one reference event.
func (b *Builder) Add(e *event.Event) {
	var r row
	eachSignal(e, func(name string, feature bool, v event.Value) {
		r.names, r.features, r.values = append(r.names, name), append(r.features, feature), append(r.values, v)
	})
	r.segments = e.Segments
	b.add(&r)
}

func (b *Builder) add(r *row) {
	b.whole.add(r)
	for _, names := range b.opts.Segments {
		if name, ok := segmentName(names, r.segments); ok {
			b.part(name).add(r)
		}
	}
}

// segmentName returns the name of the segment that the values make, if all
// parts of it are there.
func segmentName(names []string, segments []event.Segment) (string, bool) {
	var b strings.Builder
	for i, name := range names {
		at := slices.IndexFunc(segments, func(s event.Segment) bool { return s.Name == name })
		if at < 0 {
			return "", false
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(segments[at].Value)
	}
	return b.String(), true
}

func (p *rawPart) add(r *row) {
	p.rows++
	for i, name := range r.names {
		v := r.values[i]
		c := p.columns[name]
		if c == nil {
			name = strings.Clone(name)
			c = &rawColumn{def: SignalDef{Name: name, Type: Numeric, Feature: r.features[i]}}
			if v.Kind == event.Category {
				c.def.Type, c.categories = Categorical, map[string]uint64{}
			}
			p.columns[name] = c
		}
		switch {
		case v.Kind == event.Category && c.def.Type == Categorical:
			if _, known := c.categories[v.Str]; !known {
				v.Str = strings.Clone(v.Str)
			}
			c.categories[v.Str]++
		case v.Kind == event.Number && c.def.Type == Numeric:
			if math.IsNaN(v.Num) || math.IsInf(v.Num, 0) {
				c.moments.Add(v.Num)
			} else {
				c.numbers = append(c.numbers, v.Num)
			}
		default:
			c.mismatched++
		}
	}
}

// Build makes the baseline. The Builder must not be used again.
func (b *Builder) Build(state BaselineState, origin Origin) *Baseline {
	out := &Baseline{Model: b.opts.Model, Version: b.opts.Version, State: state, Origin: origin}
	whole := b.reference(b.whole)
	out.Parts = append(out.Parts, whole)
	for _, p := range b.parts {
		if p != b.whole {
			out.Parts = append(out.Parts, b.segment(p, &whole))
		}
	}
	slices.SortFunc(out.Parts, func(x, y Part) int { return strings.Compare(x.Segment, y.Segment) })
	out.ID = out.identity()
	return out
}

func (p *rawPart) sorted() []*rawColumn {
	out := make([]*rawColumn, 0, len(p.columns))
	for _, c := range p.columns {
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y *rawColumn) int { return strings.Compare(x.def.Name, y.def.Name) })
	return out
}

// reference makes the part of the whole, which fixes edges and dictionaries.
func (b *Builder) reference(p *rawPart) Part {
	out := Part{Rows: p.rows}
	for _, c := range p.sorted() {
		r := Reference{Signal: Signal{Name: c.def.Name, Type: c.def.Type, Mismatched: c.mismatched}, Feature: c.def.Feature}
		if c.def.Type == Categorical {
			_, r.Categorical = stats.BuildDictionary(c.categories, b.opts.Categories)
		} else {
			slices.Sort(c.numbers)
			k := liveK
			if b.opts.Fine || strings.HasPrefix(c.def.Name, ScorePrefix) || c.def.Name == SignalConfidence {
				k = fineK
			}
			var edges *stats.Edges
			edges, r.PSI = stats.BaselineEdges(c.numbers, k, b.keep(c.def.Name)...)
			r.Numeric = c.on(edges)
			r.Ties = stats.NewTieTable(r.Numeric, edges.ID())
		}
		r.Missing = p.rows - min(p.rows, r.Values()+r.NonFinite())
		out.Signals = append(out.Signals, r)
	}
	return out
}

// keep returns the edges of an older baseline, so that what was counted on them
// can still be compared exactly. They are given up when they are too many.
func (b *Builder) keep(name string) []float64 {
	const most = 3 * fineK
	if b.opts.Extra == nil {
		return nil
	}
	if old := b.opts.Extra(name); old != nil && old.Bins() <= most {
		return old.Values()
	}
	return nil
}

// on counts the column on given edges.
func (c *rawColumn) on(edges *stats.Edges) *stats.Numeric {
	n := stats.NewNumeric(edges)
	n.AddColumn(c.numbers)
	n.Moments.Merge(c.moments)
	return n
}

// segment counts a segment on the edges and dictionaries of the whole.
func (b *Builder) segment(p *rawPart, whole *Part) Part {
	out := Part{Segment: p.segment, Rows: p.rows}
	for _, c := range p.sorted() {
		base := whole.Reference(c.def.Name)
		if base == nil || base.Type != c.def.Type {
			continue
		}
		r := Reference{Signal: Signal{Name: c.def.Name, Type: c.def.Type, Mismatched: c.mismatched}, Feature: c.def.Feature, PSI: base.PSI, Ties: base.Ties}
		if c.def.Type == Categorical {
			r.Categorical = stats.NewCategorical(base.Categorical.Dict)
			for name, n := range c.categories {
				r.Categorical.AddN(name, n)
			}
		} else {
			r.Numeric = c.on(base.Numeric.Edges)
		}
		r.Missing = p.rows - min(p.rows, r.Values()+r.NonFinite())
		out.Signals = append(out.Signals, r)
	}
	return out
}

// identity hashes what the baseline says and where it came from.
func (b *Baseline) identity() string {
	h := sha256.New()
	text := func(parts ...string) {
		for _, s := range parts {
			h.Write(appendText(nil, s))
		}
	}
	o := b.Origin
	text("driftd/baseline/1", b.Model, b.Version, o.Kind, o.Source, o.Digest)
	var ints []byte
	ints = binary.BigEndian.AppendUint64(ints, uint64(nanos(o.From)))
	ints = binary.BigEndian.AppendUint64(ints, uint64(nanos(o.To)))
	ints = binary.BigEndian.AppendUint64(ints, o.Rows)
	for _, p := range b.Parts {
		w := Window{Group: Group{Segment: p.Segment}, Events: p.Rows}
		for _, r := range p.Signals {
			w.Signals = append(w.Signals, r.Signal)
			if r.Type == Numeric {
				ints = binary.BigEndian.AppendUint64(ints, r.Numeric.Edges.ID())
			} else {
				ints = binary.BigEndian.AppendUint64(ints, r.Categorical.Dict.ID())
			}
		}
		text(w.Digest())
	}
	h.Write(ints)
	return "b-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// FromWindow makes a baseline of a closed window: a captured time range of the
// stream. It needs a window counted on the edges of base, which it keeps, and
// has one part. base may not be nil.
func FromWindow(w *Window, base *Baseline, origin Origin) *Baseline {
	out := &Baseline{Model: w.Group.Model, State: Approved, Origin: origin, Parts: []Part{*MovingPart(w, base.Part(""))}}
	out.Parts[0].Segment = ""
	out.ID = out.identity()
	return out
}

// MovingPart makes a reference of another window: the previous one, or the same
// hour of last week. base gives the cells of PSI.
func MovingPart(w *Window, base *Part) *Part {
	p := &Part{Segment: w.Group.Segment, Rows: w.Events}
	for i := range w.Signals {
		s := &w.Signals[i]
		r := Reference{Signal: s.clone(), Missing: w.Missing(s)}
		if base != nil {
			if old := base.Reference(s.Name); old != nil && old.Type == s.Type {
				r.PSI, r.Ties, r.Feature = old.PSI, old.Ties, old.Feature
			}
		}
		p.Signals = append(p.Signals, r)
	}
	return p
}
