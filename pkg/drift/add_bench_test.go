package drift_test

import (
	"fmt"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// BenchmarkAddModels counts events of 20 features of many models in turn, with
// the table of a million ids on, and with a segment: what BenchmarkAdd costs when
// nothing is in the cache.
func BenchmarkAddModels(b *testing.B) {
	for _, c := range []struct {
		name     string
		models   int
		segments [][]string
	}{
		{"1", 1, nil},
		{"1segment", 1, [][]string{{"channel"}}},
		{"64", 64, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			spec := drift.DefaultSpec()
			spec.Models = []drift.ModelSpec{{Glob: "*", Segments: c.segments}}
			g := drift.NewEngine(spec)
			var events []event.Event
			for i := range c.models {
				events = append(events, benchModel(b, g, fmt.Sprintf("bench%d", i))...)
			}
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
			b.ReportAllocs()
			var id [12]byte
			for i := 0; b.Loop(); i++ {
				e := &events[i*1001%len(events)] // the next model, another event
				for k, n := len(id)-1, i; k >= 0; k, n = k-1, n/10 {
					id[k] = byte('0' + n%10)
				}
				e.ID, e.Time = string(id[:]), start+int64(i)*int64(time.Millisecond)
				pos := drift.Position{Seq: uint64(i + 1), Time: e.Time}
				g.Tick(pos)
				if got := g.Add(e, pos); got != drift.Counted {
					b.Fatalf("event %d is %v", i, got)
				}
				if g.Pending() {
					if _, err := g.Drain(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// benchModel gives the engine a baseline of a model and returns events of it.
func benchModel(b *testing.B, g *drift.Engine, name string) []event.Event {
	b.Helper()
	scenario := sim.Bench()
	scenario.Models[0].Name = name
	s, err := sim.New(scenario, 1)
	if err != nil {
		b.Fatal(err)
	}
	builder := drift.NewBuilder(drift.BuilderOptions{Model: name})
	events := make([]event.Event, 1000)
	for i := range events {
		events[i] = event.New(event.Prediction)
		s.Next(&events[i])
		builder.Add(&events[i])
	}
	g.SetBaseline(builder.Build(drift.Approved, drift.Origin{Kind: "import"}))
	return events
}
