package drift

import (
	"fmt"
	"slices"

	"driftd.dev/driftd/pkg/stats"
)

// A sum is a window that is not full yet. There is one for each group and window
// length, mostly of few values, so the counts of its signals are packed: an eighth
// of what a Window takes.
type sum struct {
	window Window       // the Counts of its numeric signals are nil
	bins   []stats.Bins // of each signal; no bins where it has no counts
}

// add is Merge(&s.window, w), packed.
func (s *sum) add(w *Window) error {
	s.window.mergeTotals(w)
	if more := len(w.Signals) - len(s.window.Signals); more > 0 {
		s.window.Signals, s.bins = slices.Grow(s.window.Signals, more), slices.Grow(s.bins, more)
	}
	j := 0
	for i := range w.Signals {
		from := &w.Signals[i]
		for j < len(s.window.Signals) && s.window.Signals[j].Name < from.Name {
			j++
		}
		if j == len(s.window.Signals) || s.window.Signals[j].Name != from.Name {
			s.insert(j, from)
			continue
		}
		if err := s.merge(j, from); err != nil {
			return fmt.Errorf("merge %s of model %s: %w", from.Name, w.Group.Model, err)
		}
	}
	return nil
}

// insert puts a copy of a signal at place j.
func (s *sum) insert(j int, from *Signal) {
	signal, bins := pack(from)
	s.window.Signals = slices.Insert(s.window.Signals, j, signal)
	s.bins = slices.Insert(s.bins, j, bins)
}

// merge adds a signal to that at place j.
func (s *sum) merge(j int, from *Signal) error {
	to := &s.window.Signals[j]
	if to.Type == Numeric && from.Type == Numeric && to.Numeric.Edges != nil && to.Numeric.Edges.Same(from.Numeric.Edges) {
		to.Mismatched += from.Mismatched
		to.Numeric.Moments.Merge(from.Numeric.Moments)
		s.bins[j].Add(from.Numeric.Counts)
		return nil
	}
	if to.Type == Numeric { // other edges, or none, or another type: rare
		to.Numeric.Counts = s.bins[j].Counts()
	}
	if err := to.merge(from); err != nil {
		return err
	}
	*to, s.bins[j] = pack(to)
	return nil
}

// pack returns a copy of a signal and its counts apart.
func pack(s *Signal) (Signal, stats.Bins) {
	if s.Type != Numeric {
		return s.clone(), stats.Bins{}
	}
	out, n := *s, *s.Numeric
	n.Counts = nil
	out.Numeric = &n
	if s.Numeric.Counts == nil {
		return out, stats.Bins{}
	}
	bins := stats.NewBins(len(s.Numeric.Counts))
	bins.Add(s.Numeric.Counts)
	return out, bins
}

// unpack returns the window, which the caller owns; the sum must not be used again.
func (s *sum) unpack() *Window {
	for i := range s.window.Signals {
		if n := s.window.Signals[i].Numeric; n != nil {
			n.Counts = s.bins[i].Counts()
		}
	}
	return &s.window
}
