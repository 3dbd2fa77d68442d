package alert

import (
	"slices"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A Memory holds closed windows of one model for as long as moving references ask
// for them: the Past of a Judge that has no store behind it.
type Memory struct {
	keep    time.Duration
	windows []pastWindow
}

type pastWindow struct {
	*drift.Window
	whole bool
}

// NewMemory returns an empty Memory of what the rules may ask for, which is
// nothing if none has a moving reference.
func NewMemory(rules []*Rule) *Memory {
	m := &Memory{}
	for _, r := range rules {
		switch spec := r.Spec(); spec.Reference {
		case ReferencePreviousWindow:
			m.keep = max(m.keep, 2*spec.Window)
		case ReferenceSameHourLastWeek:
			m.keep = max(m.keep, week+spec.Window)
		}
	}
	return m
}

// Add remembers the windows of a closing and their sum, after they were judged.
func (m *Memory) Add(c *drift.Closing, total *drift.Window) {
	if m.keep == 0 {
		return
	}
	m.windows = slices.DeleteFunc(m.windows, func(w pastWindow) bool { return w.End.Add(m.keep).Before(c.End) })
	for _, w := range c.Windows {
		m.windows = append(m.windows, pastWindow{w, false})
	}
	if total.Events > 0 {
		m.windows = append(m.windows, pastWindow{total, true})
	}
}

// Past is a Past. Its error is always nil.
func (m *Memory) Past(w *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
	for _, p := range m.windows {
		if p.whole == whole && p.Group == w.Group && p.Start.Equal(start) && p.End.Sub(p.Start) == w.End.Sub(w.Start) {
			return p.Window, nil
		}
	}
	return nil, nil
}
