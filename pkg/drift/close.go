package drift

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// A span is one length of windows: seen by rules, kept as rollup, or both.
type span struct {
	length int64
	unit   int64 // what they are sums of: panes or rollups
	rules  bool
	rollup bool
}

// spans returns the lengths of the spec, ascending, the rollup among them.
func (s *Spec) spans() []span {
	var out []span
	for _, d := range s.Sizes {
		out = append(out, span{length: int64(d), unit: int64(s.Unit(d)), rules: true, rollup: d == RollupSize})
	}
	if !slices.Contains(s.Sizes, RollupSize) {
		out = append(out, span{length: int64(RollupSize), unit: int64(s.Pane), rollup: true})
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.length, b.length) })
	return out
}

// advance moves a model's watermark and closes what it passes.
func (g *Engine) advance(m *model, watermark int64, seq uint64) {
	if watermark <= m.watermark {
		return
	}
	if m.gap { // the lost messages were no younger than what has just come
		m.gapTo = max(m.gapTo, m.maxTime, watermark+int64(g.spec.Lateness))
	}
	m.watermark = watermark
	closed := floor(watermark, int64(g.spec.Pane))
	if closed <= m.closed {
		return
	}
	m.closed, m.gap = closed, false
	m.touch()
	for empty := 0; ; { // empty windows of one silence
		at := min(m.firstPaneEnd(int64(g.spec.Pane)), slices.Min(m.next))
		if at > closed {
			return
		}
		g.closePanes(m, at)
		for i, s := range g.spans {
			if m.next[i] != at {
				continue
			}
			if g.closeWindows(m, i, at, seq) {
				empty = 0
			} else {
				empty++
			}
			m.next[i] += s.length
		}
		if empty > g.spec.Limits.GapWindows {
			m.skip(g.spans, min(closed, m.firstPaneEnd(int64(g.spec.Pane))-1))
			empty = 0
		}
	}
}

// lossy reports whether messages of [start, end) may be lost.
func (m *model) lossy(start, end int64) bool {
	return m.gapTo != 0 && start <= m.gapTo && end > m.gapFrom
}

// firstPaneEnd returns the earliest end of an open pane.
func (m *model) firstPaneEnd(width int64) int64 {
	end := int64(math.MaxInt64)
	for _, grp := range m.groups {
		if len(grp.panes) > 0 {
			end = min(end, grp.panes[0].start+width)
		}
	}
	return end
}

// closePanes closes the panes that end at end and adds them to the sums.
func (g *Engine) closePanes(m *model, end int64) {
	start := end - int64(g.spec.Pane)
	for _, grp := range m.groups {
		if len(grp.panes) == 0 || grp.panes[0].start != start {
			continue
		}
		w := grp.panes[0].window(grp.Group, start, end, &scratch{})
		if w.State == Open {
			w.State = Closed
		}
		if m.lossy(start, end) {
			w.State = Incomplete
		}
		grp.panes = slices.Delete(grp.panes, 0, 1)
		g.panes = append(g.panes, w)
		for i, s := range g.spans {
			if s.unit == int64(g.spec.Pane) {
				g.sum(m, grp, i, w)
			}
		}
	}
}

// sum adds a closed pane or rollup to the window of span i that closes next.
func (g *Engine) sum(m *model, grp *group, i int, w *Window) {
	if grp.sums[i] == nil {
		end := m.next[i]
		grp.sums[i] = &sum{window: Window{Group: grp.Group, Start: time.Unix(0, end-g.spans[i].length).UTC(), End: time.Unix(0, end).UTC(), State: Closed}}
	}
	if err := grp.sums[i].add(w); err != nil && g.err == nil {
		g.err = fmt.Errorf("window of %v ending %v: %w", grp.Group, grp.sums[i].window.End, err)
	}
}

// closeWindows closes the windows of span i that end at end. It reports whether
// any had an event.
func (g *Engine) closeWindows(m *model, i int, end int64, seq uint64) bool {
	s := g.spans[i]
	lossy := m.lossy(end-s.length, end)
	var windows []*Window
	for _, grp := range m.groups {
		if grp.sums[i] == nil {
			continue
		}
		w := grp.sums[i].unpack()
		if lossy { // also if the panes with events are whole
			w.State = Incomplete
		}
		windows = append(windows, w)
		grp.sums[i] = nil
		if !s.rollup {
			continue
		}
		g.hours = append(g.hours, w)
		if s.length == int64(g.spec.Pane) {
			continue // added already, as a pane
		}
		for longer := i + 1; longer < len(g.spans); longer++ {
			if g.spans[longer].unit == s.length {
				g.sum(m, grp, longer, w)
			}
		}
	}
	if s.rules && (len(windows) > 0 || end > m.started) {
		g.closings = append(g.closings, Closing{
			Model: m.name, Size: time.Duration(s.length), Seq: seq, Windows: windows, Incomplete: lossy,
			Start: time.Unix(0, end-s.length).UTC(), End: time.Unix(0, end).UTC(),
		})
	}
	return len(windows) > 0
}

// skip passes over the windows of a long silence that end by until, save those
// that hold events: a rule's state does not change any more by one more of them.
func (m *model) skip(spans []span, until int64) {
	for i, s := range spans {
		if slices.ContainsFunc(m.groups, func(g *group) bool { return g.sums[i] != nil }) {
			continue
		}
		if next := floor(until, s.length) + s.length; next > m.next[i] {
			m.overflow.SkippedGap += uint64((next - m.next[i]) / s.length)
			m.next[i] = next
		}
	}
}
