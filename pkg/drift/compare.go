package drift

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/stats"
)

// Gates of the share of missing values, which no distance sees: values that are
// not there. They are the field's 5 and 10 points, by the same evidence.
const (
	minorMissing    = 0.05
	materialMissing = 0.10
)

// goneShare and goneExpected say when a category counts as gone: at least 1 % of
// the reference, and so many expected that none by chance has p < .001.
const (
	goneShare    = 0.01
	goneExpected = 7
)

// Compare reports how far a window moved from a reference: a part of a baseline,
// or a MovingPart. name is the reference's, for the report. Without a reference
// (p nil: no baseline, or a segment that it has no part for) the report holds
// counts, rates and means only, whatever name and approved say.
//
// The verdicts are those of one report by itself: e-BH over its signals at .001
// and the effect gates of stats.DefaultGate. They are no alarms.
func Compare(p *Part, name string, approved bool, w *Window) *Report {
	r := &Report{
		Window: w, Reference: name, Approved: approved, Against: p, ErrorRatio: math.NaN(),
		LatencyP50: w.quantile(SignalLatency, .5), LatencyP95: w.quantile(SignalLatency, .95), LatencyP99: w.quantile(SignalLatency, .99),
	}
	if w.Events > 0 {
		r.ErrorRatio = float64(w.Failed) / float64(w.Events)
	}
	if p == nil {
		p, r.Reference, r.Approved = &Part{}, "", false
	}
	for i := range w.Signals {
		s := &w.Signals[i]
		r.Signals = append(r.Signals, compareSignal(p, p.Reference(s.Name), s, w))
	}
	for i := range p.Signals {
		if ref := &p.Signals[i]; w.Signal(ref.Name) == nil && w.Events > 0 {
			r.Signals = append(r.Signals, absent(p, ref, w))
		}
	}
	r.judge()
	return r
}

func ratio(n, of uint64) float64 {
	if of == 0 {
		return math.NaN()
	}
	return float64(n) / float64(of)
}

// compareSignal reports one signal that the window has.
func compareSignal(p *Part, ref *Reference, s *Signal, w *Window) SignalReport {
	nan := math.NaN()
	out := SignalReport{
		Name: s.Name, Type: s.Type, Feature: isFeature(s.Name), Missing: ratio(w.Missing(s), w.Events),
		Mean: nan, ReferenceMissing: nan, MissingP: nan, AdjustedP: nan,
	}
	if s.Type == Numeric && s.Numeric.N > 0 {
		out.Mean = s.Numeric.Mean
	}
	if ref == nil || ref.Type != s.Type {
		out.Shift, out.Verdict = stats.UndefinedShift(s.Values(), 0), Ignored
		return out
	}
	out.ReferenceMissing = ratio(ref.Missing, p.Rows)
	out.MissingP = stats.NewRateShift(w.Missing(s), w.Events, ref.Missing, p.Rows).PTwoSided
	if s.Type == Numeric {
		out.Shift = compareNumeric(ref, s.Numeric)
		return out
	}
	if s.Categorical.Dict == nil || ref.Categorical.Dict == nil || s.Categorical.Dict.ID() != ref.Categorical.Dict.ID() {
		out.Shift = stats.UndefinedShift(s.Values(), ref.Values())
		return out
	}
	out.Shift = stats.CompareCategorical(ref.Categorical, s.Categorical)
	if s.Categorical.New != nil {
		for _, h := range s.Categorical.New.Top() {
			out.New = append(out.New, h.Name)
		}
		out.New = out.New[:min(len(out.New), 5)]
	}
	out.Gone = gone(ref.Categorical, s.Categorical)
	return out
}

// compareNumeric compares on the edges that both sides have.
func compareNumeric(ref *Reference, cur *stats.Numeric) stats.Shift {
	base, aligned, ok := ref.Align(cur)
	if !ok {
		return stats.UndefinedShift(cur.N, ref.Numeric.N)
	}
	return stats.CompareNumeric(base, aligned, within(ref.PSI, cur.Edges), ref.Ties)
}

// Align returns a numeric reference and a window's values on the same edges:
// the window's, which the reference's contain unless an unrelated baseline has
// come since, or else those that both have. ok is false where one side was never
// counted.
func (r *Reference) Align(cur *stats.Numeric) (base, aligned *stats.Numeric, ok bool) {
	base = r.Numeric
	if cur.Edges == nil || base.Edges == nil {
		return nil, nil, false
	}
	if base.Edges.Same(cur.Edges) {
		return base, cur, true
	}
	common := intersect(base.Edges, cur.Edges)
	base, err := base.Coarsen(common)
	if err != nil {
		return nil, nil, false
	}
	aligned, err = cur.Coarsen(common)
	return base, aligned, err == nil
}

func percent(x float64) string { return fmt.Sprintf("%.3g %%", 100*x) }

// gone lists the reference's categories that should be there and are not, the
// most frequent first.
func gone(ref, cur *stats.Categorical) []string {
	var out []string
	for i, name := range ref.Dict.Categories {
		share := ratio(ref.Counts[i], ref.N)
		if share >= goneShare && share*float64(cur.N) >= goneExpected && cur.Counts[i] == 0 {
			out = append(out, name)
		}
	}
	return out
}

// absent reports a signal of the reference that no event of the window gave.
func absent(p *Part, ref *Reference, w *Window) SignalReport {
	return SignalReport{
		Name: ref.Name, Type: ref.Type, Feature: isFeature(ref.Name), Mean: math.NaN(), Missing: 1,
		ReferenceMissing: ratio(ref.Missing, p.Rows),
		MissingP:         stats.NewRateShift(w.Events, w.Events, ref.Missing, p.Rows).PTwoSided,
		Shift:            stats.UndefinedShift(0, ref.Values()),
	}
}

// judge gives every signal its verdict and counts the material ones.
func (r *Report) judge() {
	gate := stats.DefaultGate()
	var shifts []stats.Shift
	var missing []float64
	for i := range r.Signals {
		shifts = append(shifts, r.Signals[i].Shift)
		missing = append(missing, stats.EValue(r.Signals[i].MissingP))
	}
	judged, missing := gate.Judge(shifts), stats.EBH(missing)
	for i := range r.Signals {
		s := &r.Signals[i]
		if s.Verdict == Ignored {
			continue
		}
		s.AdjustedP = judged[i].Adjusted
		s.Verdict = verdicts[judged[i].Verdict]
		s.Because = judged[i].Reason
		if v, why := s.missingVerdict(gate, missing[i], r.Window.Events); v.weight() > s.Verdict.weight() {
			s.Verdict, s.Because = v, why
		}
		if s.Verdict == Material {
			r.Drifting++
		}
	}
}

var verdicts = map[stats.Verdict]Verdict{
	stats.Insufficient: Insufficient, stats.Stable: Stable, stats.Minor: Minor, stats.Material: Material,
}

// weight orders verdicts by how much they say.
func (v Verdict) weight() int {
	return slices.Index([]Verdict{Ignored, Insufficient, Stable, Minor, Material}, v)
}

// missingVerdict judges the share of missing values; Ignored if it says nothing.
func (s *SignalReport) missingVerdict(gate stats.Gate, adjusted float64, events uint64) (Verdict, string) {
	moved := math.Abs(s.Missing - s.ReferenceMissing)
	if events < gate.MinN || !(adjusted < gate.Alpha) || moved < minorMissing {
		return Ignored, ""
	}
	why := "missing " + percent(s.ReferenceMissing) + " -> " + percent(s.Missing)
	if moved < materialMissing {
		return Minor, why
	}
	return Material, why
}

// Sorted returns the signals by evidence and effect: material ones first, within
// a verdict the smaller p, then the larger effect, then the name.
func (r *Report) Sorted() []SignalReport {
	out := slices.Clone(r.Signals)
	slices.SortStableFunc(out, func(a, b SignalReport) int {
		return cmp.Or(
			cmp.Compare(b.Verdict.weight(), a.Verdict.weight()),
			cmp.Compare(a.AdjustedP, b.AdjustedP),
			cmp.Compare(b.PSIDebiased, a.PSIDebiased),
			strings.Compare(a.Name, b.Name))
	})
	return out
}
