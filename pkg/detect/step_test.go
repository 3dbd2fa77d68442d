package detect_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

func TestWindowsThatAreNotLookedAt(t *testing.T) {
	tests := map[string]struct {
		spoil func(*drift.Window)
		want  string
	}{
		"incomplete": {func(w *drift.Window) { w.State = drift.Incomplete }, "incomplete"},
		"open":       {func(w *drift.Window) { w.State = drift.Open }, "not a new closed window"},
		"learning":   {func(w *drift.Window) { w.Learning = true }, "before the baseline"},
		"old":        {func(w *drift.Window) { w.End = w.Start }, "not a new closed window"},
		"small":      {func(w *drift.Window) { w.Events = 49 }, "n 49 < 50"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := ready(t, 11)
			m.traffic.amount = 3
			w := m.traffic.window(m.part, m.at, time.Hour, m.events)
			test.spoil(w)
			before, rows := m.state.Standings(&m.config), m.rows.Len()
			if changes := m.judge(w); len(changes) > 0 || !strings.Contains(m.outcome.Skip, test.want) {
				t.Errorf("skip %q, changes %v, want skip %q", m.outcome.Skip, changes, test.want)
			}
			if !slices.Equal(before, m.state.Standings(&m.config)) || m.rows.Len() != rows {
				t.Error("the window left a trace")
			}
			if m.outcome.Explain() != "" || !math.IsNaN(m.outcome.Detectable) {
				t.Error("it says what it could have seen")
			}
		})
	}
}

// Small windows are added up until they have enough events, and judged then.
func TestSmallWindowsAreCarried(t *testing.T) {
	m := ready(t, 12)
	m.events = 20
	start := m.at
	for i := range 2 {
		m.next()
		if from := m.state.From(m.at); from != start || m.outcome.Skip == "" {
			t.Errorf("after %d small windows: from %v, skip %q, want from %v", i+1, from, m.outcome.Skip, start)
		}
	}
	m.next()
	if m.outcome.Skip != "" || m.outcome.Start != start || m.state.From(m.at) != m.at {
		t.Errorf("judged from %v (skip %q), next from %v; want %v", m.outcome.Start, m.outcome.Skip, m.state.From(m.at), start)
	}
	m.traffic.amount = 1
	if opened, _ := m.until(detect.Opened, 40); !opened.Page() {
		t.Errorf("opened %+v", opened)
	}
	m.traffic.amount, m.events = 0, 0
	for range detect.MaxSpan + 20 {
		m.next()
	}
	if from := m.state.From(m.at); m.at.Sub(from) != detect.MaxSpan*time.Hour {
		t.Errorf("a long silence is carried for %v, want %d windows", m.at.Sub(from), detect.MaxSpan)
	}
}

func TestDetectable(t *testing.T) {
	m := ready(t, 13)
	m.next()
	// 500 against 20,000 at one in 2160 windows * detectors: about .28 sd (statistics.md 4)
	if d := m.outcome.Detectable; d < .2 || d > .4 {
		t.Errorf("detectable %v", d)
	}
	if got := m.outcome.Explain(); !strings.HasPrefix(got, "this window could not have seen less than 0.") {
		t.Errorf("explained as %q", got)
	}
}

// What is decoded goes on as the original would have, bit for bit, through every
// phase; and the rows too.
func TestStateSurvivesARestart(t *testing.T) {
	one, two := newModel(t, 14), newModel(t, 14)
	for i := range detect.MinReference + 80 {
		switch i {
		case detect.MinReference + 10:
			one.traffic.amount, two.traffic.amount = .5, .5
		case detect.MinReference + 40:
			one.traffic.amount, two.traffic.amount = 0, 0
		case detect.MinReference + 60:
			one.events, two.events = 30, 30
		}
		fit, err := detect.DecodeFit(detect.AppendFit(nil, two.state.Fit()))
		if err != nil {
			t.Fatal(err)
		}
		data := encode(t, two.state)
		if two.state, err = detect.DecodeState(data, fit); err != nil {
			t.Fatal(err)
		}
		if again := encode(t, two.state); !bytes.Equal(again, data) {
			t.Fatalf("window %d: the state has two encodings", i)
		}
		rows := &detect.Rows{}
		for c := range two.rows.Chunks() {
			if err := rows.AddChunk(two.rows.AppendChunk(nil, c)); err != nil {
				t.Fatal(err)
			}
		}
		if rows.Len() != two.rows.Len() {
			t.Fatalf("%d rows come back as %d", two.rows.Len(), rows.Len())
		}
		two.rows = rows
		a, b := one.next(), two.next()
		if len(a) != len(b) || len(a) > 0 && a[0].Reason != b[0].Reason {
			t.Fatalf("window %d: %v, after a restart %v", i, a, b)
		}
		if !bytes.Equal(encode(t, one.state), encode(t, two.state)) {
			t.Fatalf("window %d: the states differ", i)
		}
	}
	if !bytes.Equal(detect.AppendFit(nil, one.state.Fit()), detect.AppendFit(nil, two.state.Fit())) {
		t.Error("the fits differ")
	}
}

func encode(t *testing.T, s *detect.State) []byte {
	t.Helper()
	data, err := detect.AppendState(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDamagedBytes(t *testing.T) {
	m := ready(t, 15)
	m.traffic.amount = .6
	m.until(detect.Opened, 8)
	fit, state, chunk := detect.AppendFit(nil, m.state.Fit()), encode(t, m.state), m.rows.AppendChunk(nil, 3)
	decoders := map[string]struct {
		data   []byte
		decode func([]byte) error
	}{
		"fit":   {fit, func(b []byte) error { _, err := detect.DecodeFit(b); return err }},
		"state": {state, func(b []byte) error { _, err := detect.DecodeState(b, m.state.Fit()); return err }},
		"rows":  {chunk, func(b []byte) error { return (&detect.Rows{}).AddChunk(b) }},
	}
	random := rand.New(rand.NewPCG(1, 5))
	for name, d := range decoders {
		if err := d.decode(d.data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range min(len(d.data), 500) {
			if err := d.decode(d.data[:n]); !errors.Is(err, detect.ErrCodec) {
				t.Fatalf("%s cut to %d bytes: %v, want %v", name, n, err, detect.ErrCodec)
			}
		}
		if err := d.decode(append(slices.Clone(d.data), 0)); !errors.Is(err, detect.ErrCodec) {
			t.Errorf("%s with a byte too many: %v", name, err)
		}
		for range 300 { // never a panic, nor memory without end
			bad := slices.Clone(d.data)
			bad[random.IntN(min(len(bad), 64))] = byte(random.Uint32())
			_ = d.decode(bad)
		}
		wrong := slices.Clone(d.data)
		wrong[0] = 99
		if err := d.decode(wrong); !errors.Is(err, detect.ErrCodec) {
			t.Errorf("%s of version 99: %v", name, err)
		}
	}
	other := newModel(t, 16)
	other.config.MaxDetectors = 3
	other.state = detect.NewState(&other.config, "b-2", other.part)
	if _, err := detect.DecodeState(state, other.state.Fit()); !errors.Is(err, detect.ErrCodec) {
		t.Errorf("a state with another fit: %v", err)
	}
	rows := &detect.Rows{Width: 3}
	if err := rows.AddChunk(chunk); !errors.Is(err, detect.ErrCodec) {
		t.Errorf("rows of another width: %v", err)
	}
}

// The list is a ring: after MaxRows windows the oldest rows give way, and the
// weekly calibration goes on.
func TestTheListIsARing(t *testing.T) {
	m := newModel(t, 17)
	m.part.Signals = m.part.Signals[:1] // amount
	m.state = detect.NewState(&m.config, "b-1", m.part)
	m.events = 60
	for range detect.MaxRows + 3*detect.ChunkRows {
		m.next()
		m.panes = m.panes[max(0, len(m.panes)-detect.MaxSpan):]
	}
	s := m.state.Status(&m.config)
	if m.rows.Len() != detect.MaxRows || s.Windows != detect.MaxRows || m.rows.Chunks() != detect.MaxRows/detect.ChunkRows {
		t.Errorf("%d rows, status %+v, want %d", m.rows.Len(), s, detect.MaxRows)
	}
	if s.Theta < .6 || s.Theta > 1.6 {
		t.Errorf("theta of independent windows = %v", s.Theta)
	}
	if s.Incident != nil {
		t.Errorf("an incident in 2,000 windows of nothing: %+v", s.Incident)
	}
}

func TestStatus(t *testing.T) {
	m := newModel(t, 18)
	m.config.MaxDetectors = 18
	m.state = detect.NewState(&m.config, "b-1", m.part)
	s := m.state.Status(&m.config)
	// 3 numeric signals of 4 detectors and 3 of 3 make 18, with 3 of numbers named zeros beyond
	if s.Judging || s.Guaranteed || s.Detectors != 18 || s.Dropped != 4 || s.Reference != detect.MinReference || s.Windows != 0 {
		t.Errorf("status %+v at the start", s)
	}
	for range detect.MinReference {
		m.next()
	}
	if s = m.state.Status(&m.config); !s.Judging || !s.Guaranteed || s.Windows != detect.MinReference || s.Last != m.at {
		t.Errorf("status %+v after the reference period", s)
	}
	// log(3 * 720 * 18)
	if least := math.Log(2160 * 18); s.Threshold < least-1e-9 || s.Threshold > 1.5*least {
		t.Errorf("threshold %v, want at least %v", s.Threshold, least)
	}
	m.traffic.amount = .6
	m.until(detect.Opened, 8)
	s = m.state.Status(&m.config)
	if s.Incident == nil || s.Incident.Level != detect.Page {
		t.Fatalf("status %+v in an incident", s)
	}
	s.Incident.Findings[0].Signal = "mine"
	if again := m.state.Status(&m.config); again.Incident.Findings[0].Signal == "mine" {
		t.Error("a status shares the state's memory")
	}
}

func TestWeights(t *testing.T) {
	m := ready(t, 19)
	m.config.Weights = map[string]float64{"amount": 0, "country": 10}
	m.traffic.amount = .6
	m.quiet(20)
	m.traffic.amount = 3
	m.quiet(4)
	threshold := map[string]float64{}
	for _, s := range m.state.Standings(&m.config) {
		threshold[s.Signal] = s.Threshold
	}
	if d := threshold["zeros"] - threshold["country"]; d < math.Log(10)-1e-9 {
		t.Errorf("ten times the weight lowers the threshold by %v, want log 10 at least", d)
	}
	m.traffic.news = .2
	m.until(detect.Opened, 8)
}

func TestConfigValidate(t *testing.T) {
	good := detect.DefaultConfig("m")
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := detect.Config{
		Window: 0, Pages: math.NaN(), Per: -1, Reference: 100, MaxDetectors: 0, Interval: -1,
		Weights: map[string]float64{"a": -1},
	}
	err := bad.Validate()
	for _, want := range []string{"window 0s", "NaN pages", "100 windows is shorter", "0 detectors", "interval -1ns", "weight -1 of a"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("faults %v do not tell %q", err, want)
		}
	}
	long := detect.DefaultConfig("m")
	long.Reference, long.Per = 3000, time.Minute
	if err := long.Validate(); err == nil || !strings.Contains(err.Error(), "longer than 2016") || !strings.Contains(err.Error(), "budget period") {
		t.Errorf("faults %v", err)
	}
}

func TestNames(t *testing.T) {
	for c := detect.Location; c <= detect.Failed; c++ {
		text, err := c.MarshalText()
		var back detect.Component
		if err != nil || back.UnmarshalText(text) != nil || back != c {
			t.Errorf("component %s comes back as %s", c, back)
		}
	}
	var c detect.Component
	if err := c.UnmarshalText([]byte("colour")); err == nil {
		t.Error("there is a component colour")
	}
	if got := detect.Component(99).String(); got != "component(99)" {
		t.Errorf("component 99 is %q", got)
	}
	for l := detect.None; l <= detect.Page; l++ {
		text, err := l.MarshalText()
		var back detect.Level
		if err != nil || back.UnmarshalText(text) != nil || back != l {
			t.Errorf("level %s comes back as %s", l, back)
		}
	}
}

// TestRawRowsAreDated: a row of the reference period begins with the day and the second
// of its window's middle, which tell the hour and the weekend.
func TestRawRowsAreDated(t *testing.T) {
	m := newModel(t, 17)
	for i := range 30 {
		middle := m.at.Add(m.config.Window / 2)
		m.next()
		midnight := middle.Truncate(24 * time.Hour)
		want := []float32{float32(midnight.Sub(time.Unix(0, 0)).Hours() / 24), float32(middle.Sub(midnight).Seconds())}
		if got := m.rows.Row(i)[:2]; !slices.Equal(got, want) {
			t.Fatalf("window %d, %v: day and second %v, want %v", i, middle, got, want)
		}
	}
}
