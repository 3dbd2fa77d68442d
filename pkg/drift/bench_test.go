package drift_test

import (
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// BenchmarkAdd counts decoded events of 20 features on edges of a baseline: the
// loop's share of the cost of an event, without decoding.
func BenchmarkAdd(b *testing.B) {
	s, err := sim.New(sim.Bench(), 1)
	if err != nil {
		b.Fatal(err)
	}
	builder := drift.NewBuilder(drift.BuilderOptions{Model: "bench"})
	events := make([]event.Event, 10_000)
	for i := range events {
		events[i] = event.New(event.Prediction)
		s.Next(&events[i])
		builder.Add(&events[i])
	}
	g := drift.NewEngine(drift.DefaultSpec())
	base := builder.Build(drift.Approved, drift.Origin{Kind: "import"})
	base.Model = events[0].Model
	g.SetBaseline(base)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := &events[i%len(events)]
		e.ID = ""
		e.Time = start + int64(i)*int64(time.Millisecond)
		g.Tick(drift.Position{Seq: uint64(i + 1), Time: e.Time})
		g.Add(e, drift.Position{Seq: uint64(i + 1), Time: e.Time})
		if g.Pending() {
			g.Drain()
		}
	}
}
