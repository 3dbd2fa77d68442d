package detect

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

const (
	// maxSpans bounds the sums of panes that one window may ask for.
	maxSpans = 8
	// maxDense bounds the detectors that an alarm of many together names.
	maxDense = 20
	// looks is how many windows in a row the effect of an alarm is looked at. If it
	// did not matter by then the evidence begins anew: what has been gathered
	// against a small change would hide when a great one began.
	looks = 12
	// forgotten is how long a change that did not matter is remembered, so that it
	// is noted once.
	forgotten = 24
)

// Step looks at a closed window of the whole model: the sum since From(start) of
// what closed. p is the whole of the baseline that the state was made for, rows
// are all of the model's. It returns what Settle needs; nothing is decided yet.
//
// Special cases are: a window that is open, incomplete, counted in part before
// the baseline, or not later than the last one is not looked at; one with fewer
// than MinEvents waits for the next.
func (s *State) Step(c *Config, rows *Rows, p *drift.Part, w *drift.Window) *Outcome {
	last := s.last
	o := s.look(c, rows, p, w)
	if o.Skip != "" {
		return o
	}
	if s.fit.Frozen {
		s.recalibrate(c, rows)
		s.judge(c, rows, o, skipped(last, o, c.Window))
		s.alarm(c, o)
	}
	return o
}

// look scores a window, unless it is one that nothing is to be learned from.
func (s *State) look(c *Config, rows *Rows, p *drift.Part, w *drift.Window) *Outcome {
	o := &Outcome{Start: w.Start.UTC(), End: w.End.UTC(), Detectable: math.NaN(), window: number(w.End, c.Window) - 1, rows: rows}
	if o.Skip = s.skip(c, w); o.Skip != "" {
		return o
	}
	s.carry, s.last = time.Time{}, o.End
	o.measures = make([]measure, len(s.live))
	measureAll(p, w, s.fit.Detectors, o.measures)
	o.Detectable = stats.MinimumDetectableEffect(w.Events, p.Rows, 1/(c.level()*float64(max(1, len(s.live)))))
	return o
}

// skip says why a window is not looked at, "" if it is.
func (s *State) skip(c *Config, w *drift.Window) string {
	switch {
	case w.State == drift.Open || !s.last.IsZero() && !w.End.After(s.last):
		return "not a new closed window"
	case w.State == drift.Incomplete:
		s.carry = time.Time{}
		return "incomplete: messages of its time are lost"
	case w.Learning:
		s.carry = time.Time{}
		return "counted in part before the baseline"
	case w.Events < c.MinEvents:
		s.carry = w.Start.UTC()
		if earliest := w.End.Add(-MaxSpan * c.Window).UTC(); s.carry.Before(earliest) {
			s.carry = earliest
		}
		return fmt.Sprintf("n %d < %d: it waits for the next window", w.Events, c.MinEvents)
	}
	return ""
}

// skipped returns how many windows did not come between the last and this one.
func skipped(last time.Time, o *Outcome, window time.Duration) int64 {
	if last.IsZero() {
		return memoryOrder
	}
	return max(0, int64(o.End.Sub(last)/window)-1)
}

// number returns the number of the window that starts at a time.
func number(t time.Time, window time.Duration) uint32 {
	return uint32(t.UnixNano() / int64(window))
}

// starts returns when a window starts.
func starts(number uint32, window time.Duration) time.Time {
	return time.Unix(0, int64(number)*int64(window)).UTC()
}

// middle returns the time of day that a window stands for.
func (o *Outcome) middle() time.Time { return o.Start.Add(o.End.Sub(o.Start) / 2) }

// judge turns the scores into residuals, ranks and evidence.
func (s *State) judge(c *Config, rows *Rows, o *Outcome, skipped int64) {
	row := rawRow(o.middle(), nil)
	x := calendar(row[0], row[1], int(24*time.Hour/c.Window))
	o.residual, o.z = make([]float32, len(s.live)), make([]float64, len(s.live))
	for j := range s.live {
		l, prm := &s.live[j], &s.fit.params[j]
		l.lags.skip(skipped)
		y := prm.standardise(o.measures[j], x)
		o.residual[j] = y - float32(l.lags.expect(&prm.phi))
		l.lags.push(y)
	}
	places := rows.rank(o.residual)
	first := number(o.Start, c.Window)
	for j := range s.live {
		o.z[j] = math.NaN()
		if e := o.residual[j]; e == e {
			p := &places[j]
			o.z[j] = rankScore(int(p.below), int(p.upTo), int(p.of), chance(c.Model, s.fit.Detectors[j], o.End))
		}
		if l := &s.live[j]; l.level != Page {
			l.add(o.z[j], first)
		}
	}
}

// chance returns the uniform number in (0, 1) that breaks ties: a function of
// model, detector and window alone, so that a replay breaks them alike.
func chance(model string, d Detector, end time.Time) float64 {
	var buf [128]byte
	b := append(buf[:0], model...)
	b = append(append(b, 0), d.Signal...)
	b = append(b, 0, byte(d.Component))
	b = binary.BigEndian.AppendUint64(b, uint64(end.UnixNano()))
	return (float64(xxhash.Sum64(b)>>11) + 0.5) / (1 << 53)
}

// alarm collects the detectors whose evidence or distance is enough.
func (s *State) alarm(c *Config, o *Outcome) {
	weights := c.weights(s.fit.Detectors)
	for j := range s.live {
		if a, ok := s.gross(c, o, j); ok && s.live[j].level != Page && weights[j] > 0 {
			o.Alarms = append(o.Alarms, a)
		}
	}
	s.evident(c, o, weights)
	slices.SortStableFunc(o.Alarms, func(a, b Alarm) int { return cmp.Compare(b.weight(), a.weight()) })
	o.span()
}

// weights returns the share of each detector in the budget: they sum to 1.
func (c *Config) weights(watched []Detector) []float64 {
	out := make([]float64, len(watched))
	sum := 0.0
	for j, d := range watched {
		w, set := c.Weights[d.Signal]
		if !set {
			w = 1
		}
		out[j] = w
		sum += w
	}
	for j := range out {
		out[j] /= max(sum, math.SmallestNonzeroFloat64)
	}
	return out
}

// gross reports a detector that is far off for the second window in a row.
func (s *State) gross(c *Config, o *Outcome, j int) (Alarm, bool) {
	l, m := &s.live[j], o.measures[j]
	switch bound := max(c.Gates.Gross, 1.5*float64(s.fit.params[j].gross)); {
	case m.gross != m.gross:
		return Alarm{}, false
	case float64(m.gross) <= bound:
		l.run = 0
		return Alarm{}, false
	}
	l.run = min(l.run+1, 2)
	a := s.newAlarm(c, o, j)
	a.Gross = true
	a.Since = starts(max(1, number(o.Start, c.Window))-1, c.Window)
	return a, l.run == 2
}

// evident adds the detectors whose evidence reaches their threshold, and those
// that do so together: sum(w R) reaches the level of the whole model.
func (s *State) evident(c *Config, o *Outcome, weights []float64) {
	level := math.Log(c.level())
	together := 0.0
	for j := range s.live {
		l := &s.live[j]
		if weights[j] == 0 || l.level == Page {
			continue
		}
		threshold := s.law.threshold(level - math.Log(weights[j]))
		if l.logR() < threshold {
			l.over = 0
			together += weights[j] * math.Exp(l.logR())
			continue
		}
		if l.over++; l.run < 2 {
			a := s.newAlarm(c, o, j)
			a.Threshold = threshold
			o.Alarms = append(o.Alarms, a)
		}
	}
	// What calibration adds to the threshold of one, it adds to that of all.
	mean := math.Log(float64(max(1, len(s.live))))
	if math.Log(together) < s.law.threshold(level+mean)-mean {
		s.together = 0
	} else if s.together = min(s.together+1, looks+1); s.together <= looks {
		s.dense(c, o, weights, together)
	}
	for j := range s.live {
		if l := &s.live[j]; l.level == Record && l.over == 0 && s.together == 0 && l.age >= forgotten {
			l.level = None
		}
	}
}

// dense adds the detectors that make up nine tenths of the evidence of all that
// are no alarm by themselves.
func (s *State) dense(c *Config, o *Outcome, weights []float64, together float64) {
	var share []float64
	var which []int
	for j := range s.live {
		if l := &s.live[j]; l.level != Page && l.over == 0 && weights[j] > 0 {
			share, which = append(share, weights[j]*math.Exp(l.logR())), append(which, j)
		}
	}
	by := make([]int, len(share))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(a, b int) int { return cmp.Compare(share[b], share[a]) })
	had := 0.0
	for _, i := range by[:min(maxDense, len(by))] {
		if had >= 0.9*together {
			return
		}
		had += share[i]
		a := s.newAlarm(c, o, which[i])
		a.Dense = true
		o.Alarms = append(o.Alarms, a)
	}
}

func (s *State) newAlarm(c *Config, o *Outcome, j int) Alarm {
	l := &s.live[j]
	first := l.change(number(o.Start, c.Window))
	if earliest := o.window + 1 - min(o.window+1, MaxSpan); first < earliest {
		first = earliest
	}
	return Alarm{
		Detector: s.fit.Detectors[j], index: j, Since: starts(first, c.Window),
		LogR: max(0, l.logR()),
	}
}

// weight orders alarms: what is broken comes before all evidence.
func (a *Alarm) weight() float64 {
	if a.Gross {
		return a.LogR + math.Log(most) // more than any evidence
	}
	return a.LogR
}

// span gives every alarm the panes to look at: those since its own change for
// the strongest, the nearest of those for the rest.
func (o *Outcome) span() {
	for _, a := range o.Alarms {
		if len(o.Spans) < maxSpans && !slices.ContainsFunc(o.Spans, a.Since.Equal) {
			o.Spans = append(o.Spans, a.Since)
		}
	}
	slices.SortFunc(o.Spans, time.Time.Compare)
	for i := range o.Alarms {
		a := &o.Alarms[i]
		for k, t := range o.Spans {
			if t.Sub(a.Since).Abs() < o.Spans[a.span].Sub(a.Since).Abs() {
				a.span = k
			}
		}
		a.Since = o.Spans[a.span]
	}
}

// Compare orders detectors by signal and component.
func (d Detector) Compare(e Detector) int {
	return cmp.Or(strings.Compare(d.Signal, e.Signal), cmp.Compare(d.Component, e.Component))
}
