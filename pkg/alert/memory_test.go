package alert_test

import (
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// A memory holds what moving references ask for, of the right group and length, and
// forgets it when nobody can ask any more.
func TestMemory(t *testing.T) {
	compile := func(reference string) *alert.Rule {
		r, err := alert.Compile(alert.Spec{Name: "R", Window: time.Hour, Expr: "psi > 1", Reference: reference})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	closing := func(hour int) (*drift.Closing, *drift.Window) {
		from := start.Add(time.Duration(hour) * time.Hour)
		w := &drift.Window{Group: drift.Group{Model: "m", Version: "1"}, Start: from, End: from.Add(time.Hour), Events: 1}
		total := *w
		total.Group.Version = ""
		return &drift.Closing{Model: "m", Size: time.Hour, Start: w.Start, End: w.End, Windows: []*drift.Window{w}}, &total
	}
	for reference, kept := range map[string]int{alert.ReferenceBaseline: 0, alert.ReferencePreviousWindow: 2, alert.ReferenceSameHourLastWeek: 169} {
		m := alert.NewMemory([]*alert.Rule{compile(reference)})
		for hour := range 200 {
			m.Add(closing(hour))
		}
		last, whole := closing(199)
		for back := range 200 {
			at := last.Start.Add(-time.Duration(back) * time.Hour)
			w, err := m.Past(last.Windows[0], false, at)
			total, totalErr := m.Past(whole, true, at)
			if err != nil || totalErr != nil || (w != nil) != (back <= kept && kept > 0) || (total != nil) != (w != nil) {
				t.Fatalf("%s, %d windows back: %v and %v, %v, %v", reference, back, w, total, err, totalErr)
			}
			if w != nil && !w.Start.Equal(at) {
				t.Errorf("%s: got the window of %s, want %s", reference, w.Start, at)
			}
		}
		longer := *last.Windows[0]
		longer.End = longer.End.Add(time.Hour)
		if w, _ := m.Past(&longer, false, last.Start); w != nil {
			t.Errorf("%s: a window of another length", reference)
		}
	}
}
