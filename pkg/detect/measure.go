package detect

import (
	"fmt"
	"math"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// A Component is what a detector watches about a signal.
type Component uint8

// The components. Their numbers are stored.
const (
	Location   Component = iota + 1 // of numbers: whether they are greater or smaller
	Spread                          // of numbers: whether they are farther from the middle
	Categories                      // the mix of categories
	Unseen                          // share of values that the baseline never had
	Missing                         // share of events without a usable value
	NonFinite                       // share of events whose value is NaN or infinite
	Failed                          // share of events with an error
	components
)

var componentNames = [components]string{
	Location: "location", Spread: "spread", Categories: "categories", Unseen: "unseen",
	Missing: "missing", NonFinite: "non_finite", Failed: "failed",
}

// String returns the component's name in reports, "component(9)" if there is none.
func (c Component) String() string {
	if c < components && componentNames[c] != "" {
		return componentNames[c]
	}
	return fmt.Sprintf("component(%d)", uint8(c))
}

// MarshalText returns the component's name.
func (c Component) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a component's name.
func (c *Component) UnmarshalText(text []byte) error {
	for i, name := range componentNames {
		if name != "" && name == string(text) {
			*c = Component(i)
			return nil
		}
	}
	return fmt.Errorf("there is no component %q", text)
}

// rate reports whether the component is a share of events.
func (c Component) rate() bool { return c >= Unseen }

// values reports whether the component is about the values that are there.
func (c Component) values() bool { return c != Missing && c != NonFinite }

// A Detector is the unit of evidence: one component of one signal.
type Detector struct {
	Signal    string    `json:"signal"`
	Component Component `json:"component"`
}

// String returns "amount location".
func (d Detector) String() string { return d.Signal + " " + d.Component.String() }

// minValues is the least number of values a score is made of.
const minValues = 10

// A measure is what one window says to one detector. Its values are float32
// because they are stored by the million; NaN stands for not measured.
type measure struct {
	value float32 // the score
	n     float32 // its precision: the variance under no change is 1/n
	gross float32 // distance that needs no statistics to matter; 0 where another detector has it
}

var unmeasured = measure{float32(math.NaN()), float32(math.NaN()), float32(math.NaN())}

// detectors lists what can be watched against a reference, ascending by signal
// and component, and how many were beyond the limit.
func detectors(p *drift.Part, limit int) (out []Detector, dropped int) {
	for i := range p.Signals {
		r := &p.Signals[i]
		for _, c := range componentsOf(r) {
			if len(out) == limit {
				dropped++
				continue
			}
			out = append(out, Detector{Signal: r.Name, Component: c})
		}
	}
	return out, dropped
}

// componentsOf lists the components of a signal, ascending. An error is a
// category that is never missing: what counts is whether there is one.
func componentsOf(r *drift.Reference) []Component {
	switch {
	case r.Type == drift.Numeric:
		return []Component{Location, Spread, Missing, NonFinite}
	case r.Name == drift.SignalError && r.Categorical.Dict != nil:
		return []Component{Categories, Unseen, Failed}
	}
	return []Component{Categories, Unseen, Missing}
}

// measureAll scores a window for every detector, into dst.
func measureAll(p *drift.Part, w *drift.Window, watched []Detector, dst []measure) {
	for i := 0; i < len(watched); {
		end := i + 1
		for end < len(watched) && watched[end].Signal == watched[i].Signal {
			end++
		}
		m := newMeter(p, w, watched[i].Signal)
		for ; i < end; i++ {
			dst[i] = m.measure(watched[i].Component)
		}
	}
}

// A meter scores one signal of one window.
type meter struct {
	part   *drift.Part
	window *drift.Window
	ref    *drift.Reference
	cur    *drift.Signal // nil if no event gave it
	smooth stats.Smooth
	ks     float64
	ready  bool // smooth and ks are computed
}

func newMeter(p *drift.Part, w *drift.Window, signal string) *meter {
	return &meter{part: p, window: w, ref: p.Reference(signal), cur: w.Signal(signal)}
}

func (m *meter) measure(c Component) measure {
	if m.ref == nil || m.cur != nil && m.cur.Type != m.ref.Type {
		return unmeasured
	}
	switch {
	case c.rate():
		k, n, p0, ok := m.rate(c)
		if !ok || n < minValues {
			return unmeasured
		}
		gross := math.Abs(float64(k)/float64(n) - p0)
		return measure{float32(stats.RateScore(k, n, p0)), float32(n), float32(gross)}
	case m.cur == nil || m.cur.Values() < minValues:
		return unmeasured
	case c == Categories:
		if m.cur.Categorical.Dict == nil || m.ref.Categorical.Dict == nil {
			return unmeasured
		}
		mix := stats.NewMix(m.ref.Categorical, m.cur.Categorical)
		return measure{float32(mix.Score), 1, float32(mix.Move)}
	case m.ref.Type != drift.Numeric:
		return unmeasured
	}
	m.compare()
	n := float32(m.cur.Numeric.N)
	if c == Spread {
		return measure{float32(m.smooth.Spread), n, 0}
	}
	return measure{float32(m.smooth.Location), n, float32(m.ks)}
}

// compare computes what both components of a numeric signal need.
func (m *meter) compare() {
	if m.ready {
		return
	}
	m.ready, m.ks, m.smooth = true, math.NaN(), stats.Smooth{Location: math.NaN(), Spread: math.NaN()}
	if base, cur, ok := m.ref.Align(m.cur.Numeric); ok {
		m.smooth, m.ks = stats.NewSmooth(base, cur), stats.NewKS(base, cur).Lo
	}
}

// rate returns the hits and trials of a rate, and its share in the reference.
func (m *meter) rate(c Component) (k, n uint64, p0 float64, ok bool) {
	w, rows := m.window, float64(m.part.Rows)
	switch {
	case c == Missing && m.cur == nil:
		return w.Events, w.Events, float64(m.ref.Missing) / rows, rows > 0
	case c == Missing:
		return w.Missing(m.cur), w.Events, float64(m.ref.Missing) / rows, rows > 0
	case c == NonFinite && m.cur == nil:
		return 0, w.Events, float64(m.ref.NonFinite()) / rows, rows > 0
	case c == NonFinite:
		return min(w.Events, m.cur.NonFinite()), w.Events, float64(m.ref.NonFinite()) / rows, rows > 0
	case c == Failed:
		return w.Failed, w.Events, float64(failures(m.ref.Categorical)) / rows, rows > 0
	case m.cur == nil || m.cur.Categorical.Dict == nil || m.ref.Categorical.Dict == nil:
		return 0, 0, 0, false
	}
	return m.cur.Categorical.Unseen, m.cur.Categorical.N, m.ref.Categorical.Dict.UnseenRate(), true
}

// failures counts the values of the signal error that are one.
func failures(c *stats.Categorical) uint64 {
	if rank := c.Dict.Index(drift.NoError); rank >= 0 {
		return c.N - c.Counts[rank]
	}
	return c.N
}
