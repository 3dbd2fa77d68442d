package detect_test

import (
	"fmt"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/detect/trial"
	"driftd.dev/driftd/pkg/drift"
)

// A model lives through a reference period; then one of its features shifts.
func Example() {
	traffic := trial.NewTraffic(trial.World{Jitter: .05}, 5, 1000, 1) // of five features f000 to f004
	var panes []*trial.Counts
	next := func(shift ...float64) *drift.Window {
		panes = append(panes, traffic.Next(shift))
		return traffic.Window(panes[len(panes)-1])
	}
	next()
	baseline := traffic.Reference(panes...)

	config := detect.DefaultConfig("fraud")
	config.Reference = detect.MinReference
	state, rows := detect.NewState(&config, "b-1", baseline), &detect.Rows{}
	judge := func(w *drift.Window) []detect.Change {
		outcome := state.Step(&config, rows, baseline, w)
		var reports []*drift.Report
		for _, since := range outcome.Spans { // what the alarms want to see
			from := len(panes) - int(outcome.End.Sub(since)/config.Window)
			reports = append(reports, drift.Compare(baseline, "b-1", true, traffic.Window(panes[from:]...)))
		}
		decision := state.Settle(&config, outcome, baseline, reports)
		if decision.Rows != nil {
			rows = decision.Rows // the reference period is over
		} else if decision.Row != nil {
			rows.Put(decision.Slot, decision.Row)
		}
		return decision.Changes
	}
	for range detect.MinReference + 24 {
		judge(next(0, 0, 0, 0, 0))
	}
	fmt.Printf("judging: %v, guaranteed: %v\n", state.Status(&config).Judging, state.Status(&config).Guaranteed)
	for hour := 1; hour <= 6; hour++ {
		for _, c := range judge(next(0, 0, 0.5, 0, 0)) {
			fmt.Printf("hour %d: %s %s: %s since hour %d\n", hour, c.Kind, c.Incident.Level, c.New[0].Detector, hour+1-int(c.At.Sub(c.New[0].Since).Hours()))
		}
	}
	// Output:
	// judging: true, guaranteed: true
	// hour 4: opened page: f002 location since hour 1
}
