package detect_test

import (
	"testing"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/detect/trial"
	"driftd.dev/driftd/pkg/drift"
)

// BenchmarkDecision judges a window of 200 numeric features, 800 detectors,
// against a full calibration list; and for comparison it makes the report of the
// same window, which every closing needs. The goal is 5 ms (statistics.md 9.2).
func BenchmarkDecision(b *testing.B) {
	world := trial.World{Name: "over", Jitter: .05}
	traffic := trial.NewTraffic(world, 200, 1000, 1)
	part := traffic.Reference(traffic.Next(nil), traffic.Next(nil))
	config := detect.DefaultConfig("bench")
	config.Reference = detect.MinReference
	state, rows := detect.NewState(&config, "b", part), &detect.Rows{}
	next := func() *drift.Window { return traffic.Window(traffic.Next(nil)) }
	decide := func(w *drift.Window) {
		o := state.Step(&config, rows, part, w)
		d := state.Settle(&config, o, part, make([]*drift.Report, len(o.Spans)))
		if d.Rows != nil {
			rows = d.Rows
		} else if d.Row != nil {
			rows.Put(d.Slot, d.Row)
		}
	}
	for range detect.MinReference {
		decide(next())
	}
	for i := detect.MinReference; i < detect.MaxRows; i++ { // a full list, of copies
		rows.Put(i, append([]float32(nil), rows.Row(i%detect.MinReference)...))
	}
	b.Run("decision", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w := next()
			b.StartTimer()
			decide(w)
		}
	})
	b.Run("report", func(b *testing.B) {
		w := next()
		for b.Loop() {
			drift.Compare(part, "b", true, w)
		}
	})
}
