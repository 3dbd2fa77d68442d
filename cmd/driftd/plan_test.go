package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/store"
)

// A small fleet, really run: three models of twenty numeric features in three
// roles of shape, six hours of event time.
const (
	fleetModels   = 3
	fleetFeatures = 20
	fleetHours    = 6
)

// fleetEvent makes one event; its values are normal, the baseline's too.
func fleetEvent(r *rand.Rand, shape *event.Shape, model string, id int, at time.Time) *event.Event {
	e := event.New(event.Prediction)
	e.ID, e.Model, e.Version, e.Time = fmt.Sprint(id), model, "1", at.UnixNano()
	e.Features = shape
	for range shape.Names {
		e.Values = append(e.Values, event.Value{Kind: event.Number, Num: r.NormFloat64()})
	}
	e.Prediction = event.Value{Kind: event.Number, Num: r.Float64()}
	e.Confidence, e.LatencyMS = r.Float64(), 10*r.ExpFloat64()
	return &e
}

// runFleet counts perMinute events of each model and returns what the engine
// holds and what its windows take in a store.
func runFleet(t *testing.T, perMinute int) (live, stored uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	shape := &event.Shape{}
	for i := range fleetFeatures {
		shape.Names = append(shape.Names, fmt.Sprintf("feature_%04d", i))
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	s, err := store.Open(dir, store.Options{MemTableBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	spec := drift.DefaultSpec()
	spec.DedupIDs = 0
	before := liveBytes()
	g := drift.NewEngine(spec)
	batch := s.NewBatch()
	for m := range fleetModels {
		b := drift.NewBuilder(drift.BuilderOptions{Model: fmt.Sprint("model-", m)})
		for i := range 3000 {
			b.Add(fleetEvent(r, shape, fmt.Sprint("model-", m), i, start))
		}
		base := b.Build(drift.Approved, drift.Origin{Kind: "import", Rows: b.Rows()})
		g.SetBaseline(base)
		batch.PutBaseline(base)
	}
	commit := func() {
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
		batch.Reset()
	}
	seq := uint64(0)
	for minute := range fleetHours*60 + 4 {
		for m := range fleetModels {
			for i := range perMinute {
				seq++
				at := start.Add(time.Duration(minute)*time.Minute + time.Duration(i)*time.Minute/time.Duration(perMinute))
				pos := drift.Position{Seq: seq, Time: at.UnixNano()}
				g.Tick(pos)
				if got := g.Add(fleetEvent(r, shape, fmt.Sprint("model-", m), int(seq), at), pos); got != drift.Counted {
					t.Fatalf("event %d is %v", seq, got)
				}
			}
		}
		d, err := g.Drain()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range d.Panes {
			batch.PutPane(w)
		}
		for _, w := range d.Hours {
			batch.PutHour(w)
		}
		commit()
	}
	live = liveBytes() - before
	runtime.KeepAlive(g)
	if err := s.Close(); err != nil { // flushes the tables
		t.Fatal(err)
	}
	return live, tables(t, dir)
}

// planAlone is the environment variable of the process that measures.
const planAlone = "DRIFTD_TEST_PLAN_ALONE"

// liveBytes collects until two collections find the same.
func liveBytes() uint64 {
	const near, tries = 16 << 10, 100
	var m runtime.MemStats
	last := uint64(0)
	for range tries {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if max(m.HeapAlloc, last)-min(m.HeapAlloc, last) < near {
			break
		}
		last = m.HeapAlloc
	}
	return m.HeapAlloc
}

// tables is the room that Badger's tables take on disk.
func tables(t *testing.T, dir string) (n uint64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "badger"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".sst" {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			n += uint64(info.Sys().(*syscall.Stat_t).Blocks) * 512
		}
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d bytes of tables, %v", n, err)
	}
	return n
}

// TestPlanAgainstARealStore: disk and live memory of the formulas are within a
// factor of two of a store that an engine really filled, sparse and dense. It runs
// in a process of its own: what other tests leave behind is freed while it measures.
func TestPlanAgainstARealStore(t *testing.T) {
	if os.Getenv(planAlone) == "" {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestPlanAgainstARealStore$", "-test.v")
		child.Env = append(os.Environ(), planAlone+"=1")
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "planned") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	for _, perMinute := range []int{5, 60} {
		t.Run(fmt.Sprint(perMinute, " events a minute"), func(t *testing.T) {
			live, stored := runFleet(t, perMinute)
			c := config.Default()
			c.Store.Retention.Panes, c.Store.Retention.Hourly = config.Duration(fleetHours*time.Hour), config.Duration(fleetHours*time.Hour)
			f := fleet{
				models: fleetModels, signals: fleetFeatures + planExtra, groups: 1, events: fleetModels * float64(perMinute) / 60,
				spec: c.DriftSpec(), keep: c.Store.Retention,
			}
			n := f.need()
			planned := n.DiskPanes + n.DiskHours + n.DiskBaselines
			t.Logf("disk %d, planned %.0f (%.2f); live %d, planned %.0f (%.2f)", stored, planned, planned/float64(stored), live, f.live(float64(perMinute)), f.live(float64(perMinute))/float64(live))
			if ratio := planned / float64(stored); ratio < 0.5 || ratio > 2 {
				t.Errorf("planned %.0f bytes of tables, really %d: %.2f times", planned, stored, ratio)
			}
			if ratio := f.live(float64(perMinute)) / float64(live); ratio < 0.5 || ratio > 2 {
				t.Errorf("planned %.0f bytes of memory, really %d: %.2f times", f.live(float64(perMinute)), live, ratio)
			}
		})
	}
}

// TestPlanGrows: twice the fleet, or twice the time, takes twice the room.
func TestPlanGrows(t *testing.T) {
	c := config.Default()
	one := fleet{models: 10, signals: 53, groups: 1, events: 100, eventBytes: 700, streamAge: time.Hour, spec: c.DriftSpec(), keep: c.Store.Retention}
	two := one
	two.models, two.events = 20, 200
	a, b := one.need(), two.need()
	for _, p := range []struct {
		name string
		a, b float64
	}{
		{"panes", a.DiskPanes, b.DiskPanes},
		{"hours", a.DiskHours, b.DiskHours},
		{"baselines", a.DiskBaselines, b.DiskBaselines},
		{"stream", a.StreamBytes, b.StreamBytes},
		{"series", float64(a.Series), float64(b.Series)},
	} {
		if r := p.b / p.a; r < 1.999 || r > 2.001 { // rounded up
			t.Errorf("%s: %.0f and %.0f: %.3f times, want 2", p.name, p.a, p.b, r)
		}
	}
	if want := 100 * 3600 * 780.0; a.StreamBytes != want { // an hour of 100 events/s of 700 bytes and planMessage
		t.Errorf("stream: %.0f bytes, want %.0f", a.StreamBytes, want)
	}
}

// TestPlanOfWhatIsWatchedTogether: a plan says as many signals and axes as a baseline
// really makes of vectors, below, at and above the number of axes.
func TestPlanOfWhatIsWatchedTogether(t *testing.T) {
	for _, length := range []int{2, 64, 65, 100} {
		var names []string
		shape := &event.Shape{}
		for i := range length {
			names = append(names, fmt.Sprintf("feature_%04d", i))
		}
		shape.Names = append(slices.Clone(names), "vector")
		watched := config.Multivariate{Features: names, Vectors: []string{"vector"}}
		builder := drift.NewBuilder(drift.BuilderOptions{Model: "model", Multivariate: drift.Multivariate(watched)})
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 500 {
			builder.Add(vectorEvent(r, shape, i))
		}
		w, err := builder.Build(drift.Approved, drift.Origin{Kind: "import"}).Part("").Count(func(yield func(*event.Event) bool) { yield(vectorEvent(r, shape, 0)) })
		if err != nil {
			t.Fatal(err)
		}
		o := planOptions{vectors: -1, length: length}
		together, axes := o.together([]config.Model{{Multivariate: &watched}})
		if want := len(shape.Names) + planExtra + together; len(w.Signals) != want {
			t.Errorf("vectors of %d: %d signals, a plan says %d", length, len(w.Signals), want)
		}
		if want := 2 * float64(length*min(length, 64)); axes != want {
			t.Errorf("vectors of %d: axes of %g numbers, want %g", length, axes, want)
		}
	}
}

// vectorEvent makes an event of which the last feature is a vector of the others.
func vectorEvent(r *rand.Rand, shape *event.Shape, id int) *event.Event {
	e := fleetEvent(r, shape, "model", id, time.Unix(0, 0))
	last := len(e.Values) - 1
	var vector []float64
	for _, v := range e.Values[:last] {
		vector = append(vector, v.Num)
	}
	e.Values[last] = event.Value{Kind: event.Vector, Num: 1}
	e.Vectors = [][]float64{vector}
	return e
}
