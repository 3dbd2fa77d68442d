package daemon

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// Goal G7 of the design: the loop stands still for at most 5 ms a checkpoint.
const maxPause = 5 * time.Millisecond

// benchModels of 20 features on 256 bins each are changed in every checkpoint.
const benchModels = 8

// BenchmarkCheckpointPause measures for how long a checkpoint stops the loop:
// everything that changed is encoded, nothing is written. It is inside the
// package because the pause is the daemon's own affair and no part of its API.
func BenchmarkCheckpointPause(b *testing.B) {
	l := newBenchLoop(b)
	bodies, at := benchBodies(b), uint64(0)
	add := func(n int) {
		batch := &stream.Batch{}
		for range n {
			body := bodies[at%benchModels]
			batch.Messages = append(batch.Messages, stream.Message{
				Seq: at + 1, Time: sim.Epoch.Add(time.Hour).UnixNano(), Subject: "ml.predictions." + benchName(at%benchModels) + ".1", Data: body.Append(nil, at),
			})
			at++
		}
		batch.Anchor.Seq = at
		if err := l.batch(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	checkpoint := func() (time.Duration, *commit) {
		start := time.Now()
		c, err := l.encode()
		took := time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		return took, c
	}
	add(100_000) // fills the bins
	_, c := checkpoint()
	if err := l.Store.Commit(c.batch); err != nil { // with the edges, once
		b.Fatal(err)
	}
	fastest := time.Hour
	var bytes int64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		c.batch.Reset()
		l.idle = c.batch
		add(64 * 1024 / 8) // so many between two checkpoints at 65k a second, all models
		b.StartTimer()
		var took time.Duration
		took, c = checkpoint()
		fastest = min(fastest, took)
		bytes = c.batch.Size()
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/op")
	b.ReportMetric(float64(bytes), "bytes")
	if fastest > maxPause {
		b.Errorf("the loop stands still for %v at best, must be at most %v", fastest, maxPause)
	}
}

func benchName(i uint64) string { return "bench" + string(rune('0'+i)) }

// benchBodies encode events of benchModels models that differ in their name only.
func benchBodies(b *testing.B) []*sim.Bodies {
	b.Helper()
	var out []*sim.Bodies
	for i := range uint64(benchModels) {
		s := sim.Bench()
		s.Models[0].Name = benchName(i)
		bodies, err := sim.NewBodies(s, i, 1024, time.Millisecond/10)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, bodies)
	}
	return out
}

// newBenchLoop is a daemon's loop that nobody runs, with approved baselines.
func newBenchLoop(b *testing.B) *loop {
	b.Helper()
	st, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	routes, err := alert.CompileRoutes(alert.RouteSpec{Receiver: SignalReceiver}, []string{SignalReceiver})
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(Options{
		Settings: Settings{Spec: drift.DefaultSpec(), Decoder: event.NewDecoder(nil, event.DefaultLimits), Routes: routes, ConfigHash: "bench"},
		Store:    st, Source: noSource{}, DeadLetters: noLetters{}, Checkpoint: never, Version: "bench", Log: zerolog.Nop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range uint64(benchModels) {
		s := sim.Bench()
		s.Models[0].Name = benchName(i)
		reference, err := sim.New(s, 100)
		if err != nil {
			b.Fatal(err)
		}
		builder := drift.NewBuilder(drift.BuilderOptions{Model: benchName(i)})
		for e := range reference.Reference(benchName(i), 5000) {
			builder.Add(e)
		}
		if err := d.loop.adopt(builder.Build(drift.Approved, drift.Origin{Kind: "import", Rows: builder.Rows()}), "imported", "bench"); err != nil {
			b.Fatal(err)
		}
	}
	return d.loop
}

type noSource struct{}

func (noSource) Run(context.Context, stream.Anchor, chan<- *stream.Batch) error { return nil }

type noLetters struct{}

func (noLetters) DeadLetter(time.Time, stream.DeadLetter) bool { return true }
func (noLetters) Flush(context.Context) error                  { return nil }

// BenchmarkLoop is the loop's whole share of an event: decode, count, judge,
// encode. Messages of 20 events (NDJSON) show what a message itself costs here;
// what they save on the way from NATS is several times as much.
func BenchmarkLoop(b *testing.B) {
	for _, rows := range []int{1, 20} {
		b.Run(map[int]string{1: "single", 20: "ndjson20"}[rows], func(b *testing.B) {
			l, bodies := newBenchLoop(b), benchBodies(b)[0]
			var seq, at uint64
			b.ReportAllocs()
			b.ResetTimer()
			for at < uint64(b.N) {
				b.StopTimer()
				batch := &stream.Batch{}
				for range 256 {
					var body []byte
					for range rows {
						body = append(bodies.Append(body, at), '\n')
						at++
					}
					seq++
					batch.Messages = append(batch.Messages, stream.Message{Seq: seq, Time: sim.Epoch.Add(1000 * time.Hour).UnixNano(), Subject: "ml.predictions.bench0.1", Data: body})
				}
				batch.Anchor.Seq = seq
				b.StartTimer()
				if err := l.batch(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				if l.counted >= DefaultCheckpoint().Events {
					c, err := l.encode()
					if err != nil {
						b.Fatal(err)
					}
					c.batch.Reset()
					l.idle = c.batch
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(at), "ns/event")
		})
	}
}

// never leaves checkpoints to the benchmark, which has no committer.
var never = Checkpoint{Every: time.Hour, Events: math.MaxInt, Bytes: math.MaxInt64}
