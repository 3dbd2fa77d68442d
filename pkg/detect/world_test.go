package detect_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// traffic draws the events of a small model with every kind of signal. What is
// set is wrong with it from then on.
type traffic struct {
	random  *rand.Rand
	amount  float64           // added to a standard normal
	zeros   float64           // added to what is not zero
	level   func(int) float64 // added to amount at an hour; nil for nothing
	news    float64           // share of events from a country nobody has seen
	newName string            // of that country; "NEW" if empty
	merged  bool              // US is FR
	absent  float64           // share of events without amount
	nan     float64           // share of events whose amount is NaN
	failed  float64           // share of events with an error, beyond 1 %
	binary  float64           // added to the share of ones, 3 %
	broken  float64           // share of events whose constant is not 7
	nothing bool              // no event has amount at all
}

// signals are those of traffic; a test may do with fewer.
var signals = []string{"amount", "binary", "constant", "country", drift.SignalError, "zeros"}

func (tr *traffic) event(hour int, yield func(name string, v event.Value)) (failed bool) {
	number := func(name string, x float64) { yield(name, event.Value{Kind: event.Number, Num: x}) }
	text := func(name, s string) { yield(name, event.Value{Kind: event.Category, Str: s}) }
	r := tr.random
	amount := r.NormFloat64() + tr.amount
	if tr.level != nil {
		amount += tr.level(hour)
	}
	switch u := r.Float64(); {
	case tr.nothing || u < tr.absent:
	case u < tr.absent+tr.nan:
		number("amount", math.NaN())
	default:
		number("amount", amount)
	}
	binary, constant, zeros := 0.0, 7.0, 0.0
	if r.Float64() < .03+tr.binary {
		binary = 1
	}
	if r.Float64() < tr.broken {
		constant = 8
	}
	if r.Float64() >= .6 {
		zeros = math.Exp(r.NormFloat64()) + tr.zeros
	}
	number("binary", binary)
	number("constant", constant)
	number("zeros", zeros)
	country := []string{"DE", "DE", "DE", "FR", "FR", "US"}[r.IntN(6)]
	if tr.merged && country == "US" {
		country = "FR"
	}
	if r.Float64() < tr.news {
		country = cmp.Or(tr.newName, "NEW")
	}
	text("country", country)
	if failed = r.Float64() < .01+tr.failed; failed {
		text(drift.SignalError, "timeout")
	} else {
		text(drift.SignalError, drift.NoError)
	}
	return failed
}

// part is the whole of a baseline of so many events.
func (tr *traffic) part(events int) *drift.Part {
	numbers, names := map[string][]float64{}, map[string]map[string]uint64{}
	for i := range events {
		tr.event(i, func(name string, v event.Value) {
			if v.Kind == event.Number {
				numbers[name] = append(numbers[name], v.Num)
				return
			}
			if names[name] == nil {
				names[name] = map[string]uint64{}
			}
			names[name][v.Str]++
		})
	}
	p := &drift.Part{Rows: uint64(events)}
	for _, name := range signals {
		ref := drift.Reference{Feature: name != drift.SignalError}
		ref.Name = name
		if xs, ok := numbers[name]; ok {
			slices.Sort(xs)
			edges, deciles := stats.BaselineEdges(xs, 256)
			ref.Type, ref.PSI, ref.Numeric = drift.Numeric, deciles, stats.BuildNumeric(xs, edges)
			ref.Missing = p.Rows - ref.Numeric.N
		} else {
			ref.Type = drift.Categorical
			_, ref.Categorical = stats.BuildDictionary(names[name], 0)
		}
		p.Signals = append(p.Signals, ref)
	}
	return p
}

// window draws one window on the edges of a part.
func (tr *traffic) window(p *drift.Part, start time.Time, length time.Duration, events int) *drift.Window {
	w := &drift.Window{Group: drift.Group{Model: "m"}, Start: start, End: start.Add(length), State: drift.Closed, Events: uint64(events)}
	for i := range p.Signals {
		s := drift.Signal{Name: p.Signals[i].Name, Type: p.Signals[i].Type}
		if s.Type == drift.Numeric {
			s.Numeric = stats.NewNumeric(p.Signals[i].Numeric.Edges)
		} else {
			s.Categorical = stats.NewCategorical(p.Signals[i].Categorical.Dict)
		}
		w.Signals = append(w.Signals, s)
	}
	for range events {
		if tr.event(int(start.Unix()/3600), func(name string, v event.Value) {
			switch s := w.Signal(name); {
			case s == nil: // not part of this test's model
			case v.Kind == event.Number:
				s.Numeric.Add(v.Num)
			default:
				s.Categorical.Add(v.Str)
			}
		}) {
			w.Failed++
		}
	}
	w.Signals = slices.DeleteFunc(w.Signals, func(s drift.Signal) bool { return s.Values()+s.NonFinite() == 0 })
	return w
}

var epoch = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) // a Monday

// model is what the daemon is to detect: it keeps rows and panes, and hands them over.
type model struct {
	t        *testing.T
	config   detect.Config
	traffic  *traffic
	part     *drift.Part
	state    *detect.State
	rows     *detect.Rows
	panes    []*drift.Window
	at       time.Time
	events   int // a window
	approved bool
	outcome  *detect.Outcome // of the last window
}

// newModel returns a model whose reference period begins.
func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	m := &model{
		t: t, config: detect.DefaultConfig("m"), traffic: &traffic{random: rand.New(rand.NewPCG(seed, 1))},
		rows: &detect.Rows{}, at: epoch, events: 500, approved: true,
	}
	m.config.Reference = detect.MinReference
	if err := m.config.Validate(); err != nil {
		t.Fatal(err)
	}
	m.part = m.traffic.part(20_000)
	m.state = detect.NewState(&m.config, "b-1", m.part)
	return m
}

// ready returns a model whose reference period is over.
func ready(t *testing.T, seed uint64) *model {
	t.Helper()
	m := newModel(t, seed)
	for range detect.MinReference {
		if changes := m.next(); len(changes) > 0 {
			t.Fatalf("a change in the reference period: %+v", changes)
		}
	}
	if !m.state.Status(&m.config).Judging {
		t.Fatal("the reference period has not ended")
	}
	return m
}

// next draws a window and has it judged.
func (m *model) next() []detect.Change {
	m.t.Helper()
	w := m.traffic.window(m.part, m.at, m.config.Window, m.events)
	m.at = w.End
	return m.judge(w)
}

// judge has the model look at a window.
func (m *model) judge(w *drift.Window) []detect.Change {
	m.t.Helper()
	m.panes = append(m.panes, w)
	base := &drift.Baseline{ID: m.state.Baseline(), Parts: []drift.Part{*m.part}}
	if m.approved {
		base.State = drift.Approved
	}
	j, err := m.state.Judge(&m.config, m.rows, base, w, func(from time.Time) (*drift.Window, error) { return m.sum(from), nil })
	if err != nil {
		m.t.Fatal(err)
	}
	m.outcome = j.Outcome
	m.rows.Take(&j.Decision)
	for _, c := range j.Changes {
		m.told(c)
	}
	return j.Changes
}

// told checks that a change lists nothing twice: what is beside its alarms is about
// other signals, or about something else of a signal.
func (m *model) told(c detect.Change) {
	m.t.Helper()
	absent := func(f detect.Finding) bool { return f.Component == detect.Missing || f.Component == detect.NonFinite }
	for i, f := range c.New {
		for _, g := range c.New[:i] {
			if f.Connected && g.Connected && f.Signal == g.Signal && absent(f) == absent(g) {
				m.t.Errorf("%s lists %s of %s beside %s", c.Kind, f.Component, f.Signal, g.Component)
			}
		}
	}
}

// sum adds up the panes from a time on.
func (m *model) sum(from time.Time) *drift.Window {
	m.t.Helper()
	i := slices.IndexFunc(m.panes, func(w *drift.Window) bool { return !w.Start.Before(from) })
	sum, err := drift.Sum(m.panes[i:])
	if err != nil {
		m.t.Fatal(err)
	}
	return sum
}

// until draws windows until a change of a kind comes, and returns it and their number.
func (m *model) until(kind detect.ChangeKind, most int) (detect.Change, int) {
	m.t.Helper()
	for i := range most {
		for _, c := range m.next() {
			if c.Kind == kind {
				return c, i + 1
			}
		}
	}
	m.t.Fatalf("no change %q in %d windows", kind, most)
	return detect.Change{}, 0
}

// quiet draws windows in which nothing may be told.
func (m *model) quiet(windows int) {
	m.t.Helper()
	m.quietOr(detect.Noted, windows)
}

// quietOr draws windows in which nothing may be told but changes of a kind.
func (m *model) quietOr(kind detect.ChangeKind, windows int) {
	m.t.Helper()
	for i := range windows {
		for _, c := range m.next() {
			if c.Kind != detect.Noted && c.Kind != kind {
				m.t.Errorf("window %d: %s %s: %s", i, c.Kind, c.Incident.Level, c.Reason)
			}
		}
	}
}

// restart replaces the state by what is stored of it.
func (m *model) restart() {
	m.t.Helper()
	state, err := detect.DecodeState(encode(m.t, m.state), m.state.Fit())
	if err != nil {
		m.t.Fatal(err)
	}
	m.state = state
}
