package drift_test

import (
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// Amounts rise by half against the reference: the window that the watermark
// closes is reported as material.
func ExampleEngine() {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	features := &event.Shape{Names: []string{"amount"}}
	payment := func(i int, factor float64) event.Event {
		e := event.New(event.Prediction)
		e.ID, e.Model, e.Version = fmt.Sprint(i), "fraud", "41"
		e.Time = start.Add(time.Duration(i) * time.Second).UnixNano()
		e.Features, e.Values = features, []event.Value{event.Num(factor * float64(20+i%60))}
		return e
	}
	reference := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	for i := range 1000 {
		e := payment(i, 1)
		reference.Add(&e)
	}
	engine := drift.NewEngine(drift.DefaultSpec())
	engine.SetBaseline(reference.Build(drift.Approved, drift.Origin{Kind: "import"}))

	for i := range 900 { // 15 minutes
		e := payment(i, 1.5)
		pos := drift.Position{Seq: uint64(i + 1), Time: e.Time}
		engine.Tick(pos)
		engine.Add(&e, pos)
	}
	closed, err := engine.Drain()
	if err != nil {
		panic(err)
	}
	baseline := engine.Baseline("fraud")
	for _, c := range closed.Closings {
		for _, w := range c.Windows {
			amount := drift.Compare(baseline.Part(w.Group.Segment), baseline.ID, true, w).Signals[0]
			fmt.Printf("%s to %s: %d events, %s is %s (ks %.2f)\n",
				w.Start.Format("15:04"), w.End.Format("15:04"), w.Events, amount.Name, amount.Verdict, amount.KSLo)
		}
	}
	// Output:
	// 00:00 to 00:05: 300 events, amount is material (ks 0.45)
	// 00:05 to 00:10: 300 events, amount is material (ks 0.45)
}
