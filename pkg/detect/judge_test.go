package detect_test

import (
	"errors"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

// TestSumsThatAreGone: a change whose windows are not stored any more is recorded
// and tells nobody; one whose windows cannot be read decides nothing.
func TestSumsThatAreGone(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct{ err error }{"gone": {}, "cannot be read": {broken}} {
		t.Run(name, func(t *testing.T) {
			m := ready(t, 11)
			m.traffic.amount = 1
			base := &drift.Baseline{ID: m.state.Baseline(), State: drift.Approved, Parts: []drift.Part{*m.part}}
			for range 12 {
				w := m.traffic.window(m.part, m.at, m.config.Window, m.events)
				m.at = w.End
				j, err := m.state.Judge(&m.config, m.rows, base, w, func(time.Time) (*drift.Window, error) { return nil, c.err })
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Error(err)
					}
					return
				}
				m.rows.Take(&j.Decision)
				for _, change := range j.Changes {
					if c.err == nil && change.Kind == detect.Noted && change.New[0].Level == detect.Record {
						return
					}
					t.Errorf("%s: %s", change.Kind, change.Reason)
				}
			}
			t.Error("a shift of a standard deviation went by unseen")
		})
	}
}
