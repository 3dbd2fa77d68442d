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

// BenchmarkFreeze is what the loop waits for when a model has learned: a sample
// of 20,000 rows of 20 features becomes a baseline.
func BenchmarkFreeze(b *testing.B) {
	s, err := sim.New(sim.Bench(), 1)
	if err != nil {
		b.Fatal(err)
	}
	spec := drift.DefaultSpec()
	spec.Sample.MinRows, spec.Sample.MinSpan, spec.Lateness = uint64(spec.Sample.MaxRows), 0, 24*time.Hour
	events := make([]event.Event, spec.Sample.MaxRows)
	for i := range events {
		events[i] = event.New(event.Prediction)
		s.Next(&events[i])
	}
	for b.Loop() {
		b.StopTimer()
		g := drift.NewEngine(spec)
		last := len(events) - 1
		for i := range events[:last] {
			g.Add(&events[i], drift.Position{Seq: uint64(i + 1), Time: events[i].Time})
		}
		b.StartTimer()
		g.Add(&events[last], drift.Position{Seq: uint64(last + 1), Time: events[last].Time})
		if d, err := g.Drain(); err != nil || len(d.Frozen) != 1 {
			b.Fatal(len(d.Frozen), err)
		}
	}
}
