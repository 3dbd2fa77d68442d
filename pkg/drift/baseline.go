package drift

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
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

	Multivariate Multivariate // watched together, from the rows added

	// MaxSegments bounds the parts for each list of Segments; 0: 32. They are
	// for the values that come first, as in an Engine.
	MaxSegments int
	// TiePoints bounds the points at which the laws of KS with ties are drawn,
	// 0.1 ms each; 0: no bound. Signals beyond it have the continuous law, which
	// is conservative.
	TiePoints int
}

// maxDistinct bounds the categories that a Builder tells apart; further ones
// are Other. So many are no categories but identities.
const maxDistinct = 1 << 18

// A Builder gathers reference events and makes a Baseline of them. It holds
// every number it is given: 8 bytes each.
type Builder struct {
	opts  BuilderOptions
	whole *rawPart
	parts map[string]*rawPart // the whole is ""
	row   row                 // of the last Add, to be used again

	gatherers []*gatherer
	touched   []*rawPart // parts of the last row
}

type rawPart struct {
	segment string
	rows    uint64
	columns map[string]*rawColumn
	offered map[*gatherer]uint64 // rows with a vector of each
}

// A rawColumn holds the values of one signal. What it is is known at the end:
// what most of its values are.
type rawColumn struct {
	name       string
	numbers    []float64
	moments    stats.Moments // of the not finite ones
	categories map[string]uint64
	named      uint64 // sum of categories
	invalid    uint64
	uncounted  uint64 // rows that had a value and were left out of numbers
}

// NewBuilder returns an empty Builder.
func NewBuilder(o BuilderOptions) *Builder {
	b := &Builder{opts: o, parts: map[string]*rawPart{}, gatherers: newGatherers(o.Multivariate)}
	b.whole = b.part("")
	return b
}

func (b *Builder) part(segment string) *rawPart {
	p := b.parts[segment]
	if p == nil {
		p = &rawPart{segment: segment, columns: map[string]*rawColumn{}, offered: map[*gatherer]uint64{}}
		b.parts[segment] = p
	}
	return p
}

// Rows returns the number of events added.
func (b *Builder) Rows() uint64 { return b.whole.rows }

// Add adds one reference event.
func (b *Builder) Add(e *event.Event) {
	b.row.reset()
	eachSignal(e, b.row.add)
	b.opts.Multivariate.eachVector(e, b.row.addVector)
	b.row.segments = append(b.row.segments, e.Segments...)
	b.add(&b.row)
}

func (b *Builder) add(r *row) {
	b.whole.add(r)
	b.touched = append(b.touched[:0], b.whole)
	most := 1 + cmp.Or(b.opts.MaxSegments, DefaultSpec().Limits.Segments)*len(b.opts.Segments)
	for _, names := range b.opts.Segments {
		name, ok := segmentName(names, r.segments)
		if ok && (b.parts[name] != nil || len(b.parts) < most) {
			b.part(name).add(r)
			b.touched = append(b.touched, b.part(name))
		}
	}
	for _, g := range b.gatherers {
		g.add(r, b.touched)
	}
}

// segmentName returns the name of the segment that the values make, if all
// parts of it are there.
func segmentName(names []string, segments []event.Segment) (string, bool) {
	b, ok := appendSegment(nil, names, segments)
	return string(b), ok
}

// appendSegment is segmentName into a buffer.
func appendSegment(dst []byte, names []string, segments []event.Segment) ([]byte, bool) {
	for i, name := range names {
		at := 0
		for at < len(segments) && segments[at].Name != name {
			at++
		}
		if at == len(segments) {
			return dst, false
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, name...), '='), segments[at].Value...)
	}
	return dst, true
}

func (p *rawPart) add(r *row) {
	p.rows++
	for i, name := range r.names {
		c := p.column(name)
		switch v := r.values[i]; v.Kind {
		case event.Number:
			c.number(v.Num)
		case event.Category:
			c.category(v.Str)
		default:
			c.invalid++
		}
	}
}

func (p *rawPart) column(name string) *rawColumn {
	c := p.columns[name]
	if c == nil {
		name = strings.Clone(name)
		c = &rawColumn{name: name}
		p.columns[name] = c
	}
	return c
}

func (c *rawColumn) number(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		c.moments.Add(x)
		return
	}
	c.numbers = append(c.numbers, x)
}

func (c *rawColumn) category(name string) {
	if _, known := c.categories[name]; !known {
		if c.categories == nil {
			c.categories = map[string]uint64{}
		}
		if name = strings.Clone(name); len(c.categories) >= maxDistinct {
			name = Other
		}
	}
	c.categories[name]++
	c.named++
}

// count returns how many values are numbers, finite or not.
func (c *rawColumn) count() uint64 { return uint64(len(c.numbers)) + c.moments.Total() }

// signal returns an empty summary of the type that most values have.
func (c *rawColumn) signal() Signal {
	if c.named > c.count() {
		return c.as(Categorical)
	}
	return c.as(Numeric)
}

// as returns an empty summary of a type; values of the other are mismatched.
func (c *rawColumn) as(t SignalType) Signal {
	s := Signal{Name: c.name, Type: t, Mismatched: c.invalid + c.named}
	if t == Categorical {
		s.Mismatched = c.invalid + c.count()
	}
	return s
}

// Build makes the baseline. The Builder must not be used again.
func (b *Builder) Build(state BaselineState, origin Origin) *Baseline {
	out := &Baseline{Model: b.opts.Model, Version: b.opts.Version, State: state, Origin: origin}
	var projections []Projection
	for _, g := range b.gatherers {
		if p, ok := g.learn(); ok {
			projections = append(projections, p)
		}
	}
	whole := b.reference(b.whole)
	whole.Projections = projections
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

// sorted returns the columns that have values, by name.
func (p *rawPart) sorted() []*rawColumn {
	out := make([]*rawColumn, 0, len(p.columns))
	for _, c := range p.columns {
		if c.count()+c.named > 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y *rawColumn) int { return strings.Compare(x.name, y.name) })
	return out
}

// reference makes the part of the whole, which fixes edges and dictionaries.
func (b *Builder) reference(p *rawPart) Part {
	out := Part{Rows: p.rows}
	for _, c := range p.sorted() {
		r := Reference{Signal: c.signal(), Feature: isFeature(c.name)}
		if r.Type == Categorical {
			_, r.Categorical = stats.BuildDictionary(c.categories, b.opts.Categories)
		} else {
			slices.Sort(c.numbers)
			k := liveK
			if b.opts.Fine || strings.HasPrefix(c.name, ScorePrefix) || c.name == SignalConfidence {
				k = fineK
			}
			var edges *stats.Edges
			edges, r.PSI = stats.BaselineEdges(c.numbers, k, b.keep(c.name)...)
			r.Numeric = c.on(edges)
		}
		out.add(r, c.uncounted)
	}
	b.ties(out.Signals)
	return out
}

// add appends a signal whose values are counted, but for some.
func (p *Part) add(r Reference, uncounted uint64) {
	r.Missing = p.Rows - min(p.Rows, r.Values()+r.NonFinite()+uncounted)
	p.Signals = append(p.Signals, r)
}

// ties draws the laws of KS. Where they are bounded, signals with the fewest
// points come first: it is for them that the continuous law is farthest off.
func (b *Builder) ties(signals []Reference) {
	points := map[*Reference]int{}
	var numeric []*Reference
	for i := range signals {
		if r := &signals[i]; r.Type == Numeric {
			numeric = append(numeric, r)
			for _, n := range r.Numeric.Counts {
				points[r] += int(min(n, 1))
			}
		}
	}
	slices.SortStableFunc(numeric, func(x, y *Reference) int { return cmp.Compare(points[x], points[y]) })
	left := cmp.Or(b.opts.TiePoints, math.MaxInt)
	for _, r := range numeric {
		if points[r] > left {
			continue
		}
		if r.Ties = stats.NewTieTable(r.Numeric, r.Numeric.Edges.ID()); r.Ties != nil {
			left -= points[r]
		}
	}
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
	out := Part{Segment: p.segment, Rows: p.rows, Projections: whole.Projections}
	for _, c := range p.sorted() {
		base := whole.Reference(c.name)
		r := Reference{Signal: c.as(base.Type), Feature: base.Feature, PSI: base.PSI, Ties: base.Ties}
		if r.Type == Categorical {
			r.Categorical = stats.NewCategorical(base.Categorical.Dict)
			for _, name := range slices.Sorted(maps.Keys(c.categories)) { // the sketches depend on the order
				r.Categorical.AddN(name, c.categories[name])
			}
		} else {
			r.Numeric = c.on(base.Numeric.Edges)
		}
		out.add(r, c.uncounted)
	}
	return out
}

// identity hashes what the baseline says and where it came from, but not who
// asked for it nor how far it is trusted.
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
	for _, p := range b.Projections() {
		text(p.Feature)
		text(p.Inputs...)
		h.Write(stats.AppendProjection(nil, p.Axes))
	}
	h.Write(ints)
	return "b-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// FromWindow makes a baseline of a closed window: a captured time range of the
// stream. The window must be counted on the edges of base, which it keeps; base
// may not be nil. It has one part, without the signals that base does not know:
// of those only moments were counted.
func FromWindow(w *Window, base *Baseline, origin Origin) *Baseline {
	part := MovingPart(w, base.Part(""))
	part.Segment = ""
	part.Signals = slices.DeleteFunc(part.Signals, func(r Reference) bool {
		return r.Type == Numeric && r.Numeric.Edges == nil || r.Type == Categorical && r.Categorical.Dict == nil
	})
	out := &Baseline{Model: w.Group.Model, State: Approved, Origin: origin, Parts: []Part{*part}}
	out.ID = out.identity()
	return out
}

// MovingPart makes a reference of another window: the previous one, or the same
// hour of last week. base, which may be nil, gives the cells of PSI.
func MovingPart(w *Window, base *Part) *Part {
	p := &Part{Segment: w.Group.Segment, Rows: w.Events}
	if base != nil {
		p.Projections = base.Projections
	}
	for i := range w.Signals {
		s := &w.Signals[i]
		r := Reference{Signal: s.clone(), Feature: isFeature(s.Name)}
		if base != nil {
			if old := base.Reference(s.Name); old != nil && old.Type == s.Type {
				r.Ties = old.Ties
				if s.Type == Numeric {
					r.PSI = within(old.PSI, s.Numeric.Edges)
				}
			}
		}
		p.add(r, 0)
	}
	return p
}

// within returns the cells as far as they are among the edges; nil for none.
func within(cells, edges *stats.Edges) *stats.Edges {
	if cells == nil || edges == nil {
		return nil
	}
	if edges.Contains(cells) {
		return cells
	}
	return intersect(cells, edges)
}
