package summary_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/summary"
)

// BenchmarkBuild tells a window of 50 numeric features and 5,000 events: with the report
// that it needs, and how long its message is.
func BenchmarkBuild(b *testing.B) {
	const features, rows = 50, 5000
	chance := rand.New(rand.NewPCG(1, 2))
	names := make([]string, features)
	for i := range names {
		names[i] = fmt.Sprintf("feature_%02d", i)
	}
	builder := drift.NewBuilder(drift.BuilderOptions{Model: "wide"})
	shape := &event.Shape{Names: names}
	for i := range rows {
		e := event.New(event.Prediction)
		e.ID, e.Model, e.Time, e.Features = fmt.Sprint(i), "wide", t0.UnixNano()+int64(i), shape
		for range names {
			e.Values = append(e.Values, event.Num(chance.NormFloat64()))
		}
		builder.Add(&e)
	}
	base := builder.Build(drift.Approved, drift.Origin{Kind: "import"})
	w := &drift.Window{Group: drift.Group{Model: "wide", Version: "1"}, Start: t0, End: t0.Add(time.Hour), State: drift.Closed, Events: rows}
	for _, name := range names {
		n := stats.NewNumeric(base.Part("").Reference(name).Numeric.Edges)
		for range rows {
			n.Add(chance.NormFloat64())
		}
		w.Signals = append(w.Signals, drift.Signal{Name: name, Type: drift.Numeric, Numeric: n})
	}
	bytes := 0
	for b.Loop() {
		messages, err := summary.Build(w, drift.Compare(base.Part(""), base.ID, true, w), summary.Options{MinCount: 11})
		if err != nil {
			b.Fatal(err)
		}
		bytes = len(messages[0].Body)
	}
	b.ReportMetric(float64(bytes), "B/message")
}
