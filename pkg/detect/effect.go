package detect

import (
	"fmt"
	"math"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// effectOf measures how far a detector's component moved in a report's window.
func effectOf(p *drift.Part, r *drift.Report, d Detector) Effect {
	m := newMeter(p, r.Window, d.Signal)
	if m.ref == nil || m.cur != nil && m.cur.Type != m.ref.Type {
		return Effect{}
	}
	if d.Component.rate() {
		e := m.rateEffect(d.Component)
		if d.Component == Unseen && e.N > 0 {
			e.Moved = foremost(newcomers(m.cur.Categorical))
		}
		return e
	}
	got := m.measure(d.Component)
	if m.cur == nil || got.value != got.value {
		return Effect{}
	}
	e := Effect{N: m.cur.Values()}
	var gone []string
	for i := range r.Signals {
		if s := &r.Signals[i]; s.Name == d.Signal {
			e.PSI, gone = finite(s.PSIDebiased), s.Gone
		}
	}
	if d.Component == Categories {
		e.Distance, e.Moved = finite(float64(got.gross)), foremost(moves(m.ref.Categorical, m.cur.Categorical, gone))
		return e
	}
	e.Distance, e.Sign = finite(m.ks), sign(float64(got.value))
	return e
}

// distanceOfLocation is the distance of a small shift of normal values for each
// unit of the score of their location: phi(0) / (sqrt 12 phi(0) / sqrt 2).
const distanceOfLocation = 0.408

// withoutSeason takes out of a location's effect what the season alone would have
// brought between since and end, so that a shift is not hidden by the hours it
// fell into, nor made of them. PSI goes with the square of a shift.
func (s *State) withoutSeason(c *Config, e Effect, j int, since, end time.Time) Effect {
	if s.fit.params == nil || s.fit.Detectors[j].Component != Location || e.Distance == 0 {
		return e
	}
	e.Season = distanceOfLocation * s.fit.params[j].seasonBetween(since, end, c.Window)
	if e.Season == 0 {
		return e
	}
	signed := float64(e.Sign)*e.Distance - e.Season
	ratio := signed / e.Distance
	e.Distance, e.Sign = math.Abs(signed), sign(signed)
	e.PSI *= ratio * ratio
	return e
}

// seasonBetween returns the mean of what the season adds to a score, relative to
// its mean over a week.
func (p *param) seasonBetween(since, end time.Time, window time.Duration) float64 {
	if p.season == ([terms]float32{p.season[0]}) {
		return 0
	}
	return p.expected(since, end, window) - float64(p.meanSeason())
}

// rateEffect compares the share in the window with that in the baseline.
func (m *meter) rateEffect(c Component) Effect {
	k, n, p0, ok := m.rate(c)
	if !ok || n == 0 {
		return Effect{}
	}
	e := Effect{N: n, Share: float64(k) / float64(n), Baseline: p0}
	e.Distance, e.Sign = math.Abs(e.Share-p0), sign(e.Share-p0)
	of := m.part.Rows
	if c == Unseen {
		of = m.ref.Values()
	}
	hits := min(of, uint64(math.Round(p0*float64(of))))
	e.PSI = finite(stats.NewPSI([]uint64{hits, of - hits}, []uint64{k, n - k}).Debiased)
	return e
}

func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

func sign(x float64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// level says what an effect of a component is worth.
func (g *Gates) level(e Effect, c Component) Level {
	switch {
	case g.Page.passed(e, c):
		return Page
	case g.Ticket.passed(e, c):
		return Ticket
	}
	return Record
}

func (g Gate) passed(e Effect, c Component) bool {
	return e.Distance >= g.Distance || e.PSI >= g.PSI && (!c.rate() || e.Distance >= g.Rate)
}

// reason is the finding in one clause.
func (f *Finding) reason() string {
	e, text := &f.Effect, f.Signal
	switch f.Component {
	case Location:
		text += direction(e.Sign, " moved up", " moved down", " moved")
	case Spread:
		text += direction(e.Sign, " spread out", " drew together", " changed its spread")
	case Categories:
		text += " changed its mix" + list(e.Moved)
	case Unseen:
		text += ": values unknown to the baseline" + list(e.Moved)
	case Missing:
		text += " is missing"
	case NonFinite:
		text += " is not finite"
	case Failed:
		text += " rate"
	}
	if f.Component.rate() {
		text += fmt.Sprintf(" in %.3g %% of events (%.3g %% in the baseline)", 100*e.Share, 100*e.Baseline)
	} else {
		text += fmt.Sprintf(" by a distance of %.3g (psi_debiased %.3g)", e.Distance, e.PSI)
		if e.Season != 0 {
			text += " beside the season"
		}
	}
	return text + fmt.Sprintf(", n %d", e.N)
}

func direction(sign int, up, down, neither string) string {
	switch sign {
	case 1:
		return up
	case -1:
		return down
	}
	return neither
}
