package drift

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/stats"
)

// WindowStart returns where the window of a size begins that has t: the last multiple of
// the size since the Unix epoch at or before t, also before the epoch.
func WindowStart(t time.Time, size time.Duration) time.Time {
	return time.Unix(0, floor(t.UnixNano(), int64(size))).UTC()
}

// Merge adds src to dst. Counts are added as integers, so the order of merges
// does not matter; means are for display. Signals counted on different edges
// meet on the edges that both have; one counted before the model had a baseline
// makes the sum Learning for that signal (it keeps its moments and no counts).
// One whose type has changed is numeric, and its categories are mismatched.
//
// dst keeps its Group, Start and End. dst.State becomes the worse of the two.
// The error is a defect: counts that do not fit their edges.
func Merge(dst, src *Window) error {
	dst.mergeTotals(src)
	dst.Signals = slices.Grow(dst.Signals, max(0, len(src.Signals)-len(dst.Signals)))
	j := 0
	for i := range src.Signals {
		s := &src.Signals[i]
		for j < len(dst.Signals) && dst.Signals[j].Name < s.Name {
			j++
		}
		if j == len(dst.Signals) || dst.Signals[j].Name != s.Name {
			dst.Signals = slices.Insert(dst.Signals, j, s.clone())
			continue
		}
		if err := dst.Signals[j].merge(s); err != nil {
			return fmt.Errorf("merge %s of model %s: %w", s.Name, src.Group.Model, err)
		}
	}
	return nil
}

// mergeTotals adds everything but the signals.
func (w *Window) mergeTotals(src *Window) {
	w.Events += src.Events
	w.Failed += src.Failed
	w.Learning = w.Learning || src.Learning
	if src.State == Incomplete || w.State != Incomplete && src.State == Open {
		w.State = src.State
	}
	if src.FromSeq != 0 && (w.FromSeq == 0 || src.FromSeq < w.FromSeq) {
		w.FromSeq = src.FromSeq
	}
	w.ToSeq = max(w.ToSeq, src.ToSeq)
}

// Sum returns the sum of windows of one group as a window over the span of all;
// nil for none.
func Sum(windows []*Window) (*Window, error) {
	if len(windows) == 0 {
		return nil, nil
	}
	out := &Window{Group: windows[0].Group, Start: windows[0].Start, End: windows[0].End, State: Closed}
	for _, w := range windows {
		if w.Start.Before(out.Start) {
			out.Start = w.Start
		}
		if w.End.After(out.End) {
			out.End = w.End
		}
		if err := Merge(out, w); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Signal) clone() Signal {
	out := *s
	if s.Numeric != nil {
		out.Numeric = s.Numeric.Clone()
	}
	if s.Categorical != nil {
		out.Categorical = s.Categorical.Clone()
	}
	return out
}

func (s *Signal) merge(o *Signal) error {
	if s.Type != o.Type {
		s.conflict(o)
		return nil
	}
	s.Mismatched += o.Mismatched
	if s.Type == Categorical {
		return s.mergeCategories(o.Categorical)
	}
	a, b := s.Numeric, o.Numeric
	switch {
	case a.Edges == nil || b.Edges == nil:
		a.Edges, a.Counts = nil, nil
		a.Moments.Merge(b.Moments)
		return nil
	case !a.Edges.Same(b.Edges):
		common := intersect(a.Edges, b.Edges)
		var err error
		if a, err = a.Coarsen(common); err != nil {
			return err
		}
		if b, err = b.Coarsen(common); err != nil {
			return err
		}
		s.Numeric = a
	}
	return a.Merge(b)
}

// conflict adds a signal of the other type: a baseline changed the type in
// between. The sum is numeric and the categories are mismatched, in whatever
// order they come.
func (s *Signal) conflict(o *Signal) {
	numeric, named := s, o
	if s.Type == Categorical {
		numeric, named = o, s
	}
	sum := numeric.clone()
	sum.Mismatched += named.Mismatched + named.Categorical.N
	*s = sum
}

// intersect returns the edges that both have.
func intersect(a, b *stats.Edges) *stats.Edges {
	var common []float64
	other := b.Values()
	for _, x := range a.Values() {
		if _, ok := slices.BinarySearch(other, x); ok {
			common = append(common, x)
		}
	}
	edges, err := stats.NewEdges(common)
	if err != nil {
		panic(err) // a part of what ascends ascends
	}
	return edges
}

// mergeCategories adds categories. Two dictionaries have no common cells, so
// the sum of counts on different ones knows only how many values there were.
func (s *Signal) mergeCategories(o *stats.Categorical) error {
	c := s.Categorical
	if c.Dict == nil || o.Dict == nil || c.Dict.ID() != o.Dict.ID() {
		s.Categorical = &stats.Categorical{N: c.N + o.N}
		return nil
	}
	return c.Merge(o)
}

// Digest returns "sha256:" and the digest of everything in the window that is
// counted: its group, span and integers. Means and extremes are left out, since
// they depend on the order of additions.
func (w *Window) Digest() string {
	h := sha256.New()
	var buf []byte
	text := func(s string) { buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...) }
	ints := func(values ...uint64) {
		for _, v := range values {
			buf = binary.AppendUvarint(buf, v)
		}
	}
	text(w.Group.Model)
	text(w.Group.Version)
	text(w.Group.Segment)
	ints(uint64(w.Group.Variant), uint64(w.Start.UnixNano()), uint64(w.End.UnixNano()), w.Events, w.Failed)
	for i := range w.Signals {
		s := &w.Signals[i]
		text(s.Name)
		ints(uint64(s.Type), s.Mismatched)
		if s.Type == Numeric {
			n := s.Numeric
			ints(n.N, n.NaN, n.PosInf, n.NegInf)
			ints(n.Counts...)
		} else {
			c := s.Categorical
			ints(c.N, c.Other, c.Unseen)
			ints(c.Counts...)
		}
	}
	h.Write(buf)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Reference returns the reference of the named signal, nil if there is none.
func (p *Part) Reference(name string) *Reference {
	i, ok := slices.BinarySearchFunc(p.Signals, name, func(r Reference, name string) int { return strings.Compare(r.Name, name) })
	if !ok {
		return nil
	}
	return &p.Signals[i]
}

// Part returns the reference of a segment, nil if the baseline has none.
func (b *Baseline) Part(segment string) *Part {
	for i := range b.Parts {
		if b.Parts[i].Segment == segment {
			return &b.Parts[i]
		}
	}
	return nil
}

// quantile returns a quantile of a numeric signal for display, NaN if unknown.
func (w *Window) quantile(name string, p float64) float64 {
	s := w.Signal(name)
	if s == nil || s.Type != Numeric || s.Numeric.Edges == nil || s.Numeric.N == 0 {
		return math.NaN()
	}
	return s.Numeric.Quantile(p)
}
