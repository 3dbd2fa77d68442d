package drift

import (
	"math"
	"time"

	"driftd.dev/driftd/pkg/stats"
)

// columnRows is how many values of a signal are gathered before they are
// counted together. Looked up one by one, the edges of many models push each
// other out of the cache: 100 ns a value against 6.
const columnRows = 256

// A layout fixes how the signals of a model are counted: on which edges, by
// which dictionary. Panes keep the layout that they began with, so a new
// baseline never changes the meaning of counts. Signals are only ever added.
type layout struct {
	baseline *Baseline // nil while the model learns
	slots    []slot
}

type slot struct {
	def   SignalDef
	edges *stats.Edges
	dict  *stats.Dictionary
}

// add appends a signal; it is counted without edges if the baseline lacks it.
func (l *layout) add(def SignalDef) {
	s := slot{def: def}
	if l.baseline != nil {
		if ref := l.baseline.Parts[0].Reference(def.Name); ref != nil && ref.Type == def.Type {
			if ref.Type == Numeric {
				s.edges = ref.Numeric.Edges
			} else {
				s.dict = ref.Categorical.Dict
			}
		}
	}
	if s.edges == nil && def.Name == SignalLatency && def.Type == Numeric {
		s.edges = latencyEdges
	}
	l.slots = append(l.slots, s)
}

// latencyEdges count latencies that no baseline covers, so that quantiles are
// known from the first event on: 8 bins an octave from 16 us to 35 min, which
// puts a quantile within 4.5 %.
var latencyEdges = octaves(-6, 21, 8)

func octaves(from, to, perOctave int) *stats.Edges {
	var values []float64
	for i := from * perOctave; i <= to*perOctave; i++ {
		values = append(values, math.Exp2(float64(i)/float64(perOctave)))
	}
	edges, err := stats.NewEdges(values)
	if err != nil {
		panic(err) // powers of two ascend
	}
	return edges
}

// id names the layout's baseline, "" while there is none.
func (l *layout) id() string {
	if l.baseline == nil {
		return ""
	}
	return l.baseline.ID
}

// A tally is a pane, or any other window, while events are added to it.
type tally struct {
	layout     *layout
	events     uint64
	failed     uint64
	fromSeq    uint64
	toSeq      uint64
	incomplete bool
	dirty      bool   // changed since the last checkpoint
	cells      []cell // by signal index; shorter than the layout until needed
}

// A cell counts one signal: a numeric one in column, counts and moments, a
// categorical one in categories.
type cell struct {
	column     []float64
	counts     []uint32 // nil while the signal has no edges
	moments    stats.Moments
	categories *stats.Categorical // without a Dict while the signal has none: only N
	mismatched uint64
}

func (t *tally) cell(i int) *cell {
	for len(t.cells) <= i {
		t.cells = append(t.cells, cell{})
	}
	return &t.cells[i]
}

// number counts a value of signal i.
func (t *tally) number(i int, x float64) {
	c := t.cell(i)
	if t.layout.slots[i].def.Type != Numeric {
		c.mismatched++
		return
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		c.moments.Add(x)
		return
	}
	c.column = append(c.column, x)
	if len(c.column) == columnRows {
		t.flush(i)
	}
}

// flush counts the gathered values of signal i.
func (t *tally) flush(i int) {
	c := &t.cells[i]
	if len(c.column) == 0 {
		return
	}
	if edges := t.layout.slots[i].edges; edges != nil {
		if c.counts == nil {
			c.counts = make([]uint32, edges.Bins())
		}
		edges.AddColumn(c.counts, c.column)
	}
	c.moments.AddColumn(c.column)
	c.column = c.column[:0]
}

// category counts a category of signal i.
func (t *tally) category(i int, name string) {
	c, s := t.cell(i), &t.layout.slots[i]
	switch {
	case s.def.Type != Categorical:
		c.mismatched++
	case s.dict == nil:
		if c.categories == nil {
			c.categories = &stats.Categorical{}
		}
		c.categories.N++
	default:
		if c.categories == nil {
			c.categories = stats.NewCategorical(s.dict)
		}
		c.categories.Add(name)
	}
}

// mismatch counts a value that is neither a number nor a category.
func (t *tally) mismatch(i int) { t.cell(i).mismatched++ }

// size bounds the bytes that the tally takes in the store.
func (t *tally) size() int {
	const header, perSignal, outsideDictionary = 128, 96, 8 << 10
	n := header
	for i := range t.cells {
		c := &t.cells[i]
		values := int(min(c.moments.N, 1<<20)) + len(c.column)
		n += perSignal + min(3*len(c.counts), 4*values)
		if c.categories != nil {
			n += 3 * len(c.categories.Counts)
			if c.categories.Distinct != nil {
				n += outsideDictionary
			}
		}
	}
	return n
}

// window returns the tally as a Window; the caller owns it. order lists the
// signal indices by name.
func (t *tally) window(g Group, start, end int64, order []int) *Window {
	w := &Window{
		Group: g, Start: time.Unix(0, start).UTC(), End: time.Unix(0, end).UTC(),
		Learning: t.layout.baseline == nil, Baseline: t.layout.id(), Events: t.events, Failed: t.failed, FromSeq: t.fromSeq, ToSeq: t.toSeq,
		Signals: make([]Signal, 0, len(t.cells)),
	}
	if t.incomplete {
		w.State = Incomplete
	}
	for _, i := range order {
		if i >= len(t.cells) {
			continue
		}
		t.flush(i)
		if s, any := t.signal(i); any {
			w.Signals = append(w.Signals, s)
		}
	}
	return w
}

// signal returns the summary of signal i, and whether any event gave one.
func (t *tally) signal(i int) (Signal, bool) {
	c, def := &t.cells[i], t.layout.slots[i]
	s := Signal{Name: def.def.Name, Type: def.def.Type, Mismatched: c.mismatched}
	if def.def.Type == Numeric {
		s.Numeric = &stats.Numeric{Moments: c.moments}
		if c.counts != nil {
			s.Numeric.Edges, s.Numeric.Counts = def.edges, widen(c.counts)
		} else if def.edges != nil {
			s.Numeric.Edges, s.Numeric.Counts = def.edges, make([]uint64, def.edges.Bins())
		}
		return s, s.Values()+s.NonFinite()+s.Mismatched > 0
	}
	switch {
	case c.categories != nil:
		s.Categorical = c.categories.Clone()
	case def.dict != nil:
		s.Categorical = stats.NewCategorical(def.dict)
	default:
		s.Categorical = &stats.Categorical{}
	}
	return s, s.Categorical.N+s.Mismatched > 0
}

func widen(counts []uint32) []uint64 {
	if counts == nil {
		return nil
	}
	out := make([]uint64, len(counts))
	for i, c := range counts {
		out[i] = uint64(c)
	}
	return out
}

// load continues from a window that tally.window gave; index finds its signals.
func (t *tally) load(w *Window, index func(*Signal) int) {
	t.events, t.failed, t.fromSeq, t.toSeq = w.Events, w.Failed, w.FromSeq, w.ToSeq
	t.incomplete = w.State == Incomplete
	for i := range w.Signals {
		s := &w.Signals[i]
		c := t.cell(index(s))
		c.mismatched = s.Mismatched
		if s.Type == Numeric {
			c.moments, c.counts = s.Numeric.Moments, narrow(s.Numeric.Counts)
			continue
		}
		c.categories = s.Categorical
	}
}

func narrow(counts []uint64) []uint32 {
	if counts == nil {
		return nil
	}
	out := make([]uint32, len(counts))
	for i, c := range counts {
		out[i] = uint32(c) // a pane's own counts: they were uint32 before
	}
	return out
}
