package detect_test

import (
	"testing"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/detect/trial"
	"driftd.dev/driftd/pkg/drift"
)

// crowd is a model of many normal features.
type crowd struct {
	config  detect.Config
	traffic *trial.Traffic
	part    *drift.Part
	state   *detect.State
	rows    *detect.Rows
	panes   []*trial.Counts
	shift   []float64
}

func newCrowd(t *testing.T, features int, seed uint64) *crowd {
	t.Helper()
	world := trial.World{Name: "over", Jitter: .05}
	m := &crowd{config: detect.DefaultConfig("crowd"), traffic: trial.NewTraffic(world, features, 1000, seed), rows: &detect.Rows{}, shift: make([]float64, features)}
	m.config.Reference = 336
	var day []*trial.Counts
	for range 24 {
		day = append(day, m.traffic.Next(nil))
	}
	m.part = m.traffic.Reference(day...)
	m.state = detect.NewState(&m.config, "b", m.part)
	for range m.config.Reference {
		m.next()
	}
	return m
}

func (m *crowd) next() (*detect.Outcome, []detect.Change) {
	m.panes = append(m.panes, m.traffic.Next(m.shift))
	last := m.panes[len(m.panes)-1]
	o := m.state.Step(&m.config, m.rows, m.part, m.traffic.Window(last))
	var reports []*drift.Report
	for _, since := range o.Spans {
		from := len(m.panes) - int(o.End.Sub(since)/m.config.Window)
		reports = append(reports, drift.Compare(m.part, "b", true, m.traffic.Window(m.panes[from:]...)))
	}
	d := m.state.Settle(&m.config, o, m.part, reports)
	if d.Rows != nil {
		m.rows = d.Rows
	} else if d.Row != nil {
		m.rows.Put(d.Slot, d.Row)
	}
	return o, d.Changes
}

// A hundred of 100 features that moved by .1 sd are seen sooner than one of them
// would be, by their evidence together; one incident names several.
func TestDenseChange(t *testing.T) {
	alone, together := newCrowd(t, 100, 41), newCrowd(t, 100, 41)
	alone.shift[0] = .1
	for i := range together.shift {
		together.shift[i] = .1
	}
	first := func(m *crowd) (windows int, dense bool) {
		for i := 1; i <= 60; i++ {
			if o, _ := m.next(); len(o.Alarms) > 0 {
				return i, o.Alarms[0].Dense
			}
		}
		return 60, false
	}
	one, _ := first(alone)
	all, dense := first(together)
	if all > 6 || all >= one {
		t.Errorf("all features together took %d windows, one %d; want at most 6 and fewer than one", all, one)
	}
	if !dense {
		t.Error("no alarm was raised by many together")
	}
}

// A shift of many features is one incident, and lists what moved with the first.
func TestOneIncidentNamesManyFeatures(t *testing.T) {
	m := newCrowd(t, 40, 42)
	for i := range 30 {
		m.shift[i] = .4
	}
	opened := 0
	for range 30 {
		_, changes := m.next()
		for _, c := range changes {
			switch c.Kind {
			case detect.Opened:
				opened++
				if !c.Page() || len(c.New) < 5 {
					t.Errorf("opened %s with %d findings, want a page with several", c.Incident.Level, len(c.New))
				}
				seen := map[string]bool{}
				for _, f := range c.New {
					if seen[f.Signal] {
						t.Errorf("%s is listed twice", f.Signal)
					}
					seen[f.Signal] = true
				}
			case detect.Raised, detect.Resolved, detect.Superseded:
				t.Errorf("%s: %s", c.Kind, c.Reason)
			case detect.Extended, detect.Noted:
			}
		}
	}
	if opened != 1 {
		t.Errorf("%d incidents of one shift", opened)
	}
}
