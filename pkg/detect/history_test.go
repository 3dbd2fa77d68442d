package detect_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

// A past that is given at once teaches what living through it teaches.
func TestLearnIsLivingThroughIt(t *testing.T) {
	lived := ready(t, 21)
	state, rows, err := detect.Learn(&lived.config, "b-1", lived.part, lived.panes)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(detect.AppendFit(nil, state.Fit()), detect.AppendFit(nil, lived.state.Fit())) {
		t.Error("the fits differ")
	}
	if !bytes.Equal(encode(t, state), encode(t, lived.state)) {
		t.Error("the states differ")
	}
	if rows.Len() != lived.rows.Len() || !bytes.Equal(rows.AppendChunk(nil, 2), lived.rows.AppendChunk(nil, 2)) {
		t.Error("the rows differ")
	}
	lived.state, lived.rows = state, rows
	lived.traffic.amount = .6
	lived.until(detect.Opened, 8)
}

func TestLearnFromAShortPast(t *testing.T) {
	m := newModel(t, 22)
	var past []*drift.Window
	add := func(events int) {
		past = append(past, m.traffic.window(m.part, m.at, time.Hour, events))
		m.at = m.at.Add(time.Hour)
	}
	for range 100 {
		add(500)
	}
	add(30) // waits for the next
	add(30)
	past[7].State = drift.Incomplete
	state, rows, err := detect.Learn(&m.config, "b-1", m.part, past)
	if err != nil {
		t.Fatal(err)
	}
	if s := state.Status(&m.config); s.Judging || s.Windows != 100 || rows.Len() != 100 {
		t.Errorf("status %+v, %d rows, want 100 windows of a reference period", s, rows.Len())
	}
	m.state, m.rows, m.panes = state, rows, past
	for range detect.MinReference - 100 {
		m.next()
	}
	if s := m.state.Status(&m.config); !s.Judging {
		t.Errorf("status %+v after %d windows", s, detect.MinReference)
	}
}

// A long past is used beyond Config.Reference, its latest windows if it is too long.
func TestLearnFromALongPast(t *testing.T) {
	m := newModel(t, 23)
	m.part.Signals = m.part.Signals[:1]
	var past []*drift.Window
	for range detect.MaxRows + 100 {
		past = append(past, m.traffic.window(m.part, m.at, time.Hour, 60))
		m.at = m.at.Add(time.Hour)
	}
	state, rows, err := detect.Learn(&m.config, "b-1", m.part, past)
	if err != nil {
		t.Fatal(err)
	}
	if s := state.Status(&m.config); !s.Judging || rows.Len() != detect.MaxRows || s.Last != m.at {
		t.Errorf("status %+v, %d rows", s, rows.Len())
	}
}

// A new baseline is watched at once, with the old one's calibration list.
func TestInherit(t *testing.T) {
	m := ready(t, 24)
	m.traffic.amount = .6 // what the new baseline is made of
	part := m.traffic.part(20_000)
	old, rows := m.state, m.rows
	m.state, m.rows = detect.Inherit(old, rows, &m.config, "b-2", part)
	m.part, m.panes = part, nil
	s := m.state.Status(&m.config)
	if !s.Judging || !s.Inherited || s.Guaranteed || s.Baseline != "b-2" || s.Windows != detect.MinReference {
		t.Errorf("status %+v of an heir", s)
	}
	m.quiet(150) // .6 sd is normal now
	m.traffic.amount = 1.2
	opened, windows := m.until(detect.Opened, 10)
	if !opened.Page() || windows > 8 {
		t.Errorf("after %d windows opened %+v", windows, opened)
	}
}

// Detectors that the old baseline did not know begin their list; those that only
// it knew are gone.
func TestInheritOtherSignals(t *testing.T) {
	m := ready(t, 25)
	part := *m.part
	part.Signals = slices.Clone(part.Signals[1:]) // no amount
	for i := range part.Signals {
		if part.Signals[i].Name == "zeros" {
			part.Signals[i].Name = "zeroes"
		}
	}
	state, rows := detect.Inherit(m.state, m.rows, &m.config, "b-2", &part)
	if got, want := len(state.Fit().Detectors), len(m.state.Fit().Detectors)-4; got != want || rows.Width != want {
		t.Errorf("%d detectors, rows of %d, want %d", got, rows.Width, want)
	}
	rename := func(w *drift.Window) *drift.Window {
		for i := range w.Signals {
			if w.Signals[i].Name == "zeros" {
				w.Signals[i].Name = "zeroes"
			}
		}
		return w
	}
	m.state, m.rows, m.panes = state, rows, nil
	old := m.part
	next := func() []detect.Change {
		m.part = old
		w := rename(m.traffic.window(old, m.at, time.Hour, m.events))
		m.at, m.part = w.End, &part
		return m.judge(w)
	}
	for range 200 {
		if changes := next(); len(changes) > 0 && changes[0].Kind != detect.Noted {
			t.Fatalf("a new signal without a past: %+v", changes)
		}
	}
	m.traffic.zeros = 2
	for range 20 {
		for _, c := range next() {
			if c.Kind == detect.Opened {
				return
			}
		}
	}
	t.Error("a shift of a new signal was not seen after 200 windows of it")
}

func TestInheritFromALearner(t *testing.T) {
	m := newModel(t, 26)
	for range 30 {
		m.next()
	}
	state, rows := detect.Inherit(m.state, m.rows, &m.config, "b-2", m.part)
	if s := state.Status(&m.config); s.Judging || s.Windows != 0 || rows.Len() != 0 {
		t.Errorf("status %+v, %d rows: who has judged nothing has nothing to give", s, rows.Len())
	}
}
