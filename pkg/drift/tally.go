package drift

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/stats"
)

// columnRows is how many values of a signal are gathered before they are
// counted together. Looked up one by one, the edges of many models push each
// other out of the cache: 100 ns a value against 6.
const columnRows = 256

// A tally is a pane, or any other window, while events are added to it.
type tally struct {
	layout     *layout
	events     uint64
	failed     uint64
	fromSeq    uint64
	toSeq      uint64
	incomplete bool
	dirty      bool   // changed since the last checkpoint
	grown      int    // bytes that values can have added to size, ever
	cells      []cell // by signal number; shorter than the layout until needed
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
		t.grown += grownCell + len(t.layout.slot(len(t.cells)).def.Name)
		t.cells = append(t.cells, cell{})
	}
	return &t.cells[i]
}

// number counts a value of signal i, and reports whether it is of its type.
func (t *tally) number(i int, x float64) bool {
	c := t.cell(i)
	if t.layout.slot(i).def.Type != Numeric {
		c.mismatched++
		return false
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		c.moments.Add(x)
		return true
	}
	t.grown += grownNumber
	c.column = append(c.column, x)
	if len(c.column) == columnRows {
		t.flush(i)
	}
	return true
}

// flush counts the gathered values of signal i.
func (t *tally) flush(i int) {
	c := &t.cells[i]
	if edges := t.layout.slot(i).edges; edges != nil {
		if c.counts == nil {
			c.counts = make([]uint32, edges.Bins())
		}
		edges.AddColumn(c.counts, c.column)
	}
	c.moments.AddColumn(c.column)
	c.column = c.column[:0]
}

// category counts a category of signal i, and reports whether it is of its type.
func (t *tally) category(i int, name string) bool {
	c, s := t.cell(i), t.layout.slot(i)
	if s.def.Type != Categorical {
		c.mismatched++
		return false
	}
	t.grown += grownCategory
	if c.categories == nil {
		c.categories = s.categorical()
		t.grown += gapSize * len(c.categories.Counts)
	}
	if s.dict == nil {
		c.categories.N++
	} else {
		c.categories.Add(name)
	}
	return true
}

// categorical returns an empty summary on the slot's dictionary, if it has one.
func (s *slot) categorical() *stats.Categorical {
	if s.dict == nil {
		return &stats.Categorical{}
	}
	return stats.NewCategorical(s.dict)
}

// mismatch counts a value that is neither a number nor a category.
func (t *tally) mismatch(i int) { t.cell(i).mismatched++ }

// gapSize is the bytes of an empty run of bins.
const gapSize = 3

// What a value can add to the bytes that a tally takes, keys of chunks included:
// a number two varints, a category a name that the dictionary lacks.
const (
	grownCell     = 160
	grownNumber   = 9
	grownCategory = 160
)

// size bounds the bytes that the tally takes in the store, its key aside.
func (t *tally) size() int {
	const (
		header = 80  // of the window
		signal = 48  // of each: length of the name, form, id of the edges, four floats
		heavy  = 150 // a name that the dictionary lacks, cut at 128 bytes
		sketch = 4 << 10
	)
	n := header
	for i := range t.cells {
		c, slot := &t.cells[i], t.layout.slot(i)
		n += signal + len(slot.def.Name) + varintLen(c.mismatched) + varintLen(c.moments.N+uint64(len(c.column))) +
			varintLen(c.moments.NaN) + varintLen(c.moments.PosInf) + varintLen(c.moments.NegInf)
		if slot.edges != nil {
			bins, values := slot.edges.Bins(), c.moments.N+uint64(len(c.column))
			width := varintLen(values)
			// Of the runs of empty bins few are so long that their length takes two bytes.
			n += gapSize + bins/128 + min(bins*max(width, 2), int(min(values, 1<<20))*(1+width))
		}
		if s := c.categories; s != nil {
			n += len(s.Counts) * max(varintLen(s.N), gapSize)
			n += heavy*int(min(s.Unseen, 64)) + int(min(3*(s.Unseen+s.Other), sketch))
		}
	}
	return n
}

func varintLen(x uint64) int { return max(1, (bits.Len64(x)+6)/7) }

// scratch is room for the signals of windows, to be used again: hundreds of panes
// are written at a checkpoint and forgotten.
type scratch struct {
	signals  []Signal
	numerics []stats.Numeric
	counts   []uint64
	used     int // of counts
}

// clear makes room for the signals of a tally. What was made before is void.
func (s *scratch) clear(t *tally) {
	bins := 0
	for i := range t.cells {
		if edges := t.layout.slot(i).edges; edges != nil {
			bins += edges.Bins()
		}
	}
	s.signals = slices.Grow(s.signals[:0], len(t.cells))
	s.numerics = slices.Grow(s.numerics[:0], len(t.cells))
	s.counts = slices.Grow(s.counts[:0], bins)[:bins]
	clear(s.counts)
	s.used = 0
}

// numeric returns an empty histogram.
func (s *scratch) numeric(edges *stats.Edges) *stats.Numeric {
	n := stats.Numeric{Edges: edges}
	if edges != nil {
		from := s.used
		s.used += edges.Bins()
		n.Counts = s.counts[from:s.used:s.used]
	}
	s.numerics = append(s.numerics, n)
	return &s.numerics[len(s.numerics)-1]
}

// window returns the tally as a Window, whose signals are in room.
func (t *tally) window(g Group, start, end int64, room *scratch) *Window {
	room.clear(t)
	w := &Window{
		Group: g, Start: time.Unix(0, start).UTC(), End: time.Unix(0, end).UTC(),
		Learning: t.layout.baseline == nil, Baseline: t.layout.id(),
		Events: t.events, Failed: t.failed, FromSeq: t.fromSeq, ToSeq: t.toSeq,
		Signals: room.signals,
	}
	if t.incomplete {
		w.State = Incomplete
	}
	for _, i := range t.layout.signals.order {
		if i >= len(t.cells) {
			continue
		}
		s, any := t.signal(i, room)
		if !any {
			continue
		}
		if last := len(w.Signals) - 1; last >= 0 && w.Signals[last].Name == s.Name {
			w.Signals[last].conflict(&s) // the type changed while the pane was open
			continue
		}
		w.Signals = append(w.Signals, s)
	}
	return w
}

// signal returns the summary of signal i, and whether any event gave one.
func (t *tally) signal(i int, room *scratch) (Signal, bool) {
	c, slot := &t.cells[i], t.layout.slot(i)
	s := Signal{Name: slot.def.Name, Type: slot.def.Type, Mismatched: c.mismatched}
	if s.Type == Numeric {
		s.Numeric = room.numeric(slot.edges)
		s.Numeric.Moments = c.moments
		for i, n := range c.counts {
			s.Numeric.Counts[i] = uint64(n)
		}
		s.Numeric.AddColumn(c.column)
		return s, s.Values()+s.NonFinite()+s.Mismatched > 0
	}
	if c.categories != nil {
		s.Categorical = c.categories.Clone()
	} else {
		s.Categorical = slot.categorical()
	}
	return s, s.Categorical.N+s.Mismatched > 0
}

// load continues from a window that tally.window gave; number finds its signals
// and is unresolved where it does not.
func (t *tally) load(w *Window, number func(*Signal) int) bool {
	t.events, t.failed, t.fromSeq, t.toSeq = w.Events, w.Failed, w.FromSeq, w.ToSeq
	t.incomplete = w.State == Incomplete
	for i := range w.Signals {
		s := &w.Signals[i]
		k := number(s)
		if k == unresolved {
			return false
		}
		c := t.cell(k)
		c.mismatched = s.Mismatched
		if s.Type == Numeric {
			c.moments, c.counts = s.Numeric.Moments, narrow(s.Numeric.Counts)
			continue
		}
		c.categories = s.Categorical.Clone()
	}
	return true
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
