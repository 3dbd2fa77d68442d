package detect

import (
	"math"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// unusual is how many times the typical size of a level, over as many windows, one
// has to be to be worth a page. Chance alone has normal levels beyond 4 once in
// 16,000, and few that are long are known of any signal.
const unusual = 4

// wandered reports whether a numeric signal is no farther off than quiet windows
// have been for as long, or might have been: what comes and goes by itself wakes
// nobody, however certain it is. r is the report of the panes since the alarm's
// change.
func (s *State) wandered(c *Config, o *Outcome, p *drift.Part, r *drift.Report, a *Alarm) bool {
	if a.Component != Location && a.Component != Spread || a.Gross || o.rows == nil {
		return false
	}
	prm, span := &s.fit.params[a.index], int(o.window+1-number(a.Since, c.Window))
	m := newMeter(p, r.Window, a.Signal)
	got := m.measure(a.Component)
	if span < 1 || got.value != got.value {
		return false
	}
	offset := float64(got.value) - prm.expected(a.Since, o.End, c.Window)
	now := math.Abs(float64(prm.scale(offset, got.n/float32(span))))
	typical, most := wander(s.levels(o.rows, a.index, span), span)
	return now < max(most, unusual*typical)
}

// levels returns a detector's standardised scores in the quiet windows of the
// list before the last ones, the oldest first: the residuals with their memory put
// back.
func (s *State) levels(rows *Rows, j, last int) []float32 {
	n, head := rows.Len(), 0
	if n == MaxRows {
		head = int(s.rows % MaxRows)
	}
	out, l, phi := make([]float32, 0, n), noLags(), &s.fit.params[j].phi
	for i := range max(0, n-last) {
		y := rows.Row((head + i) % n)[j] + float32(l.expect(phi))
		l.push(y)
		if y == y {
			out = append(out, y)
		}
	}
	return out
}

// wander returns the root mean square and the greatest size of the means over any
// span of consecutive values; 0 if there is none as long.
func wander(levels []float32, span int) (typical, most float64) {
	sum, squares := 0.0, 0.0
	for i, y := range levels {
		sum += float64(y)
		if i >= span {
			sum -= float64(levels[i-span])
		}
		if i >= span-1 {
			mean := sum / float64(span)
			most, squares = max(most, math.Abs(mean)), squares+mean*mean
		}
	}
	return math.Sqrt(squares / float64(max(1, len(levels)-span+1))), most
}

// expected returns the mean of what the season says of a score between two times.
func (p *param) expected(since, end time.Time, window time.Duration) float64 {
	sum, n := 0.0, 0.0
	for t := since; t.Before(end); t = t.Add(window) {
		row := rawRow(t.Add(window/2), nil)
		for k, x := range calendar(row[0], row[1], int(24*time.Hour/window)) {
			sum += float64(p.season[k]) * x
		}
		n++
	}
	return sum / max(1, n)
}
