package detect

import (
	"math"
	"time"
)

// A Fit is what the reference period taught about each detector, so that a live
// score can be told from the hour, the traffic and the window before. It is
// immutable once frozen, belongs to one baseline, and is stored when it changes.
type Fit struct {
	Baseline  string        // id of the baseline that the scores are against
	Window    time.Duration // length of the windows
	Detectors []Detector    // ascending by signal and component
	Dropped   int           // detectors beyond Config.MaxDetectors
	Frozen    bool          // the reference period is over
	Inherited bool          // taken over from another baseline's, not measured on this one

	params []param // parallel to Detectors, nil until frozen
}

// A param is what is known of one detector.
type param struct {
	season [terms]float32       // level, weekend and harmonics of the score
	tau2   float32              // variance of the score beyond that of counting
	phi    [memoryOrder]float32 // memory
	gross  float32              // greatest gross distance of the reference period
}

// leastResidual is the size below which a residual is rounding: scores that are
// equal must rank as equal.
const leastResidual = 1e-6

// standardise returns a score without its season, in standard deviations.
func (p *param) standardise(m measure, x [terms]float64) float32 {
	expected := 0.0
	for i, c := range p.season {
		expected += float64(c) * x[i]
	}
	return p.scale(float64(m.value)-expected, m.n)
}

func (p *param) scale(residual float64, n float32) float32 {
	if math.Abs(residual) < leastResidual {
		residual = 0
	}
	return float32(residual / math.Sqrt(1/float64(n)+float64(p.tau2)))
}

// A history is the raw rows of a reference period, by columns.
type history struct {
	x       [][terms]float64
	skipped []int64 // windows that did not come before each
	scores  [][]measure
	watched []Detector
}

// read takes the raw rows apart.
func read(rows *Rows, watched []Detector, window time.Duration) *history {
	h := &history{watched: watched, scores: make([][]measure, len(watched))}
	perDay := int(24 * time.Hour / window)
	last := math.NaN()
	for i := range rows.Len() {
		row := rows.Row(i)
		day, second := row[0], row[1]
		h.x = append(h.x, calendar(day, second, perDay))
		at := (float64(day)*24*60*60 + float64(second)) / window.Seconds()
		skipped := int64(0)
		if step := math.Round(at - last); step > 1 {
			skipped = int64(step) - 1
		}
		last = at
		h.skipped = append(h.skipped, skipped)
		for j := range watched {
			at := rawHead + 2*j
			h.scores[j] = append(h.scores[j], measure{value: row[at], n: row[at+1]})
		}
	}
	return h
}

// An estimate is the params of all detectors and the residuals of their windows:
// what was fitted without its own influence, the rest as it comes.
type estimate struct {
	params []param
	e      [][]float32 // by detector, then window
	lags   []lags      // after the last window
}

// estimate fits the first windows of a history and returns the residuals of all.
func (h *history) estimate(fitted int) estimate {
	out := estimate{params: make([]param, len(h.watched)), e: make([][]float32, len(h.watched)), lags: make([]lags, len(h.watched))}
	cycles := h.cycles(fitted)
	y := make([][]float32, len(h.watched))
	memory := make([]autocorrelation, len(h.watched))
	for j := range h.watched {
		y[j] = cycles[j].standardised(h, j, &out.params[j], fitted)
		l := noLags()
		for i, v := range y[j][:fitted] {
			l.skip(h.skipped[i])
			memory[j].add(v, &l)
			l.push(v)
		}
	}
	for c := range components {
		var each []autocorrelation
		var which []int
		for j, d := range h.watched {
			if d.Component == c {
				each, which = append(each, memory[j]), append(which, j)
			}
		}
		for i, phi := range memories(each) {
			out.params[which[i]].phi = phi
		}
	}
	for j := range h.watched {
		l := noLags()
		out.e[j] = make([]float32, len(y[j]))
		for i, v := range y[j] {
			l.skip(h.skipped[i])
			out.e[j][i] = v - float32(l.expect(&out.params[j].phi))
			l.push(v)
		}
		out.lags[j] = l
	}
	return out
}

// A cycle is one detector's regression on the calendar.
type cycle struct {
	gram   *gram
	use    []bool // windows in which it was measured, of the fitted ones
	coef   [terms]float64
	n      int
	mean   float64
	around float64 // sum of squares around the mean
	left   float64 // sum of squares around the season
	keep   bool    // the season explains enough
}

// leastSeason is the share of variance, adjusted for the number of terms, from
// which on a season is taken out (statistics.md 5.2).
const leastSeason = 0.05

// cycles fits every detector's season and decides which are worth it: where it
// explains a detector, or its component over all detectors.
func (h *history) cycles(fitted int) []cycle {
	out := make([]cycle, len(h.watched))
	whole := make([]bool, fitted)
	for i := range whole {
		whole[i] = true
	}
	shared := newGram(h.x[:fitted], whole)
	var pooled [components]cycle
	var freedom [components]float64
	for j, d := range h.watched {
		out[j] = h.cycle(j, fitted, whole, &shared)
		c, rest := &out[j], &pooled[d.Component]
		if c.n > c.gram.rank {
			rest.around += c.around / float64(c.n-1)
			rest.left += c.left / float64(c.n-c.gram.rank)
			freedom[d.Component]++
		}
	}
	for j, d := range h.watched {
		c, rest := &out[j], &pooled[d.Component]
		own := c.n > c.gram.rank && c.left/float64(c.n-c.gram.rank) < (1-leastSeason)*c.around/float64(c.n-1)
		all := freedom[d.Component] > 0 && rest.left < (1-leastSeason)*rest.around
		c.keep = c.n > 2*c.gram.rank && (own || all)
	}
	return out
}

func (h *history) cycle(j, fitted int, whole []bool, shared *gram) cycle {
	c := cycle{gram: shared, use: whole}
	var xy [terms]float64
	for i, m := range h.scores[j][:fitted] {
		v := float64(m.value)
		if v != v {
			if c.gram == shared {
				c.use, c.gram = make([]bool, fitted), nil
				copy(c.use, whole[:i])
			}
			continue
		}
		c.use[i] = true
		c.n++
		c.mean += v
		for k := range terms {
			xy[k] += v * h.x[i][k]
		}
	}
	if c.gram == nil {
		g := newGram(h.x[:fitted], c.use)
		c.gram = &g
	}
	if c.n == 0 {
		return c
	}
	c.mean /= float64(c.n)
	c.coef = c.gram.solve(xy)
	for i, m := range h.scores[j][:fitted] {
		if c.use[i] {
			d, r := float64(m.value)-c.mean, float64(m.value)-dot(c.coef, h.x[i])
			c.around += d * d
			c.left += r * r
		}
	}
	return c
}

// standardised fills in a detector's season and scale, and returns its scores
// without them.
func (c *cycle) standardised(h *history, j int, p *param, fitted int) []float32 {
	if !c.keep {
		c.coef = [terms]float64{c.mean}
	}
	for k, v := range c.coef {
		p.season[k] = float32(v)
	}
	residuals := make([]float64, len(h.scores[j]))
	squares, counting := 0.0, 0.0
	for i, m := range h.scores[j] {
		r := float64(m.value)
		for k := range terms {
			r -= float64(p.season[k]) * h.x[i][k] // as a live window will be judged
		}
		if i < fitted && c.use[i] {
			r /= 1 - c.influence(h.x[i])
			squares += r * r
			counting += 1 / float64(m.n)
		}
		residuals[i] = r
	}
	if c.n > 0 {
		p.tau2 = float32(max(0, (squares-counting)/float64(c.n)))
	}
	out := make([]float32, len(residuals))
	for i, r := range residuals {
		out[i] = p.scale(r, h.scores[j][i].n)
	}
	return out
}

func (c *cycle) influence(x [terms]float64) float64 {
	if c.keep {
		return c.gram.leverage(x)
	}
	return min(0.9, 1/float64(c.n))
}

// freeze ends the reference period: it fits the raw rows and returns the
// residuals that take their place. How often quiet evidence rises is tried
// before, with the fit of the first half on the second.
func (s *State) freeze(c *Config, raw *Rows) *Rows {
	h := read(raw, s.fit.Detectors, c.Window)
	half := raw.Len() / 2
	s.calibrate(replay(h.estimate(half).e, s.trial(c), half))
	final := h.estimate(raw.Len())
	for j := range final.params {
		final.params[j].gross = s.live[j].gross
		s.live[j].lags = final.lags[j]
	}
	fit := *s.fit
	fit.Frozen, fit.params = true, final.params
	s.fit = &fit
	return transpose(final.e, raw.Len())
}

// transpose makes rows of columns.
func transpose(columns [][]float32, rows int) *Rows {
	out := &Rows{Width: len(columns), Data: make([]float32, rows*len(columns))}
	for j, column := range columns {
		for i, v := range column {
			out.Data[i*out.Width+j] = v
		}
	}
	return out
}

// recalibrate measures once a week how often quiet evidence rises, on the list
// as it is now: the first half of it against the second.
func (s *State) recalibrate(c *Config, rows *Rows) {
	week := uint32(max(1, 7*24*time.Hour/c.Window))
	if s.rows-s.calibrated < week || rows.Len() < MinReference {
		return
	}
	columns := make([][]float32, rows.Width)
	for j := range columns {
		columns[j] = make([]float32, rows.Len())
	}
	head := 0
	if rows.Len() == MaxRows {
		head = int(s.rows % MaxRows)
	}
	for i := range rows.Len() {
		for j, v := range rows.Row((head + i) % rows.Len()) {
			columns[j][i] = v
		}
	}
	s.calibrate(replay(columns, s.trial(c), rows.Len()/2))
}

func (s *State) calibrate(law calibration, worths []float32) {
	s.law, s.calibrated = law, s.rows
	for j, w := range worths {
		s.live[j].worth = w
	}
}

// trial returns the chance that breaks ties in a replay.
func (s *State) trial(c *Config) func(detector, window int) float64 {
	return func(j, i int) float64 {
		return chance(c.Model, s.fit.Detectors[j], time.Unix(0, int64(i)*int64(c.Window)))
	}
}
