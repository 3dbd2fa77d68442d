package store_test

import (
	"fmt"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

// pane is a minute of 1,000 events with the given number of numeric features
// in 257 bins.
func pane(features int) *drift.Window {
	src := newSource(1)
	w := &drift.Window{Group: fraud, Start: epoch, End: epoch.Add(time.Minute), State: drift.Open, Events: 1000}
	for i := range features {
		h := stats.NewNumeric(src.edges[2])
		for range 1000 {
			h.Add(src.random.NormFloat64())
		}
		w.Signals = append(w.Signals, drift.Signal{Name: fmt.Sprintf("feature_%03d", i), Type: drift.Numeric, Numeric: h})
	}
	return w
}

func BenchmarkEncodeWindow(b *testing.B) {
	for _, features := range []int{20, 200} {
		b.Run(fmt.Sprint(features), func(b *testing.B) {
			s, w := open(b, b.TempDir(), small()), pane(features)
			commit(b, s, func(batch *store.Batch) { batch.PutOpen(w) }) // with the edges
			batch := s.NewBatch()
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				batch.PutOpen(w)
			}
			b.ReportMetric(float64(batch.Size()), "bytes")
		})
	}
}

func BenchmarkDecodeWindow(b *testing.B) {
	s := open(b, b.TempDir(), small())
	commit(b, s, func(batch *store.Batch) { batch.PutOpen(pane(20)) })
	b.ReportAllocs()
	for b.Loop() {
		if windows, err := s.Windows(store.Query{Model: "fraud", Size: time.Minute}); err != nil || len(windows) != 1 {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is a checkpoint of 4 MiB, synced.
func BenchmarkCommit(b *testing.B) {
	s := open(b, b.TempDir(), store.Options{})
	batch, w := s.NewBatch(), pane(20)
	for i := 0; batch.Size() < 4<<20; i++ {
		w.Start, w.End = epoch.Add(time.Duration(i)*time.Minute), epoch.Add(time.Duration(i+1)*time.Minute)
		batch.PutOpen(w)
	}
	b.SetBytes(batch.Size())
	for b.Loop() {
		must(b, s.Commit(batch))
	}
	b.ReportMetric(float64(batch.Len()), "keys")
}
