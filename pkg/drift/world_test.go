package drift_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// t0 is where the tests' time begins: the start of an hour and of a day.
var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ns(after time.Duration) int64 { return t0.Add(after).UnixNano() }

// shapes are shared as a Decoder shares them.
var shapes = map[string]*event.Shape{}

func shape(names ...string) *event.Shape {
	key := strings.Join(names, "\x00")
	if shapes[key] == nil {
		shapes[key] = &event.Shape{Names: names}
	}
	return shapes[key]
}

var serial int

// prediction makes an event with a new id; pairs are feature names and values.
func prediction(model string, at time.Duration, pairs ...any) event.Event {
	serial++
	e := event.New(event.Prediction)
	e.ID, e.Model, e.Version, e.Time = fmt.Sprintf("id-%d", serial), model, "1", ns(at)
	var names []string
	for i := 0; i < len(pairs); i += 2 {
		names = append(names, pairs[i].(string))
		e.Values = append(e.Values, value(&e, pairs[i+1]))
	}
	e.Features = shape(names...)
	return e
}

func value(e *event.Event, x any) event.Value {
	switch x := x.(type) {
	case nil:
		return event.Value{}
	case float64:
		return event.Value{Kind: event.Number, Num: x} // event.Num makes Null of NaN
	case int:
		return event.Num(float64(x))
	case string:
		return event.Cat(x)
	case []float64:
		e.Vectors = append(e.Vectors, x)
		return event.Value{Kind: event.Vector, Num: float64(len(x))}
	}
	return event.Value{Kind: event.Invalid}
}

// testSpec closes quickly: panes of a minute, one minute of lateness.
func testSpec() drift.Spec {
	s := drift.DefaultSpec()
	s.Lateness = time.Minute
	s.Sizes = []time.Duration{5 * time.Minute, time.Hour, 100 * time.Minute, 3 * time.Hour}
	s.DedupIDs = 10_000
	return s
}

// A world is an Engine with a store in memory that survives its restarts.
type world struct {
	t      testing.TB
	spec   drift.Spec
	engine *drift.Engine
	seq    uint64
	told   []string // everything that the engine produced, one line each

	models    map[string][]byte
	baselines map[string]*drift.Baseline
	open      map[string]*drift.Window
	panes     []*drift.Window
	hours     []*drift.Window
	closings  []drift.Closing
	frozen    []*drift.Baseline
	samples   map[string]map[int][]byte
	seen      map[int][]uint64
}

func newWorld(t testing.TB, spec drift.Spec) *world {
	t.Helper()
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	return &world{
		t: t, spec: spec, engine: drift.NewEngine(spec), models: map[string][]byte{}, baselines: map[string]*drift.Baseline{},
		open: map[string]*drift.Window{}, samples: map[string]map[int][]byte{}, seen: map[int][]uint64{},
	}
}

// add sends one event as a message of its own that arrives at its time.
func (w *world) add(e event.Event) drift.Outcome {
	return w.send(e, time.Duration(e.Time-t0.UnixNano()))
}

// send sends one event as a message that arrives at some time.
func (w *world) send(e event.Event, arrival time.Duration) drift.Outcome {
	w.seq++
	pos := drift.Position{Seq: w.seq, Time: ns(arrival)}
	w.engine.Tick(pos)
	w.drain()
	outcome := w.engine.Add(&e, pos)
	w.told = append(w.told, fmt.Sprint(w.seq, outcome))
	w.drain()
	return outcome
}

// tick lets the stream's clock move without an event.
func (w *world) tick(arrival time.Duration) {
	w.seq++
	w.engine.Tick(drift.Position{Seq: w.seq, Time: ns(arrival)})
	w.drain()
}

func (w *world) drain() {
	if !w.engine.Pending() {
		return
	}
	d, err := w.engine.Drain()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range d.Panes {
		w.told = append(w.told, "pane "+dump(p))
		w.panes = append(w.panes, p)
		delete(w.open, key(p))
	}
	for _, h := range d.Hours {
		w.told = append(w.told, "hour "+dump(h))
		w.hours = append(w.hours, h)
	}
	for _, b := range d.Frozen {
		w.told = append(w.told, "frozen "+dumpBaseline(b))
		w.frozen = append(w.frozen, b)
		w.baselines[b.ID] = b
		delete(w.samples, b.Model)
	}
	for _, c := range d.Closings {
		var line strings.Builder
		line.WriteString(fmt.Sprint("closing ", c.Model, c.Size, c.Start, c.End, c.Seq))
		for _, x := range c.Windows {
			line.WriteString(" " + dump(x))
		}
		w.told = append(w.told, line.String())
		w.closings = append(w.closings, c)
	}
}

// adopt gives a model a baseline.
func (w *world) adopt(b *drift.Baseline) {
	w.t.Helper()
	if !w.engine.SetBaseline(b) {
		w.t.Fatalf("model %s refused its baseline", b.Model)
	}
	w.baselines[b.ID] = b
	delete(w.samples, b.Model)
}

func key(w *drift.Window) string { return fmt.Sprint(w.Group, w.Start.UnixNano()) }

// keep copies a window whose room is used again.
func keep(w *drift.Window) *drift.Window {
	out := *w
	out.Signals = slices.Clone(w.Signals)
	for i := range out.Signals {
		if n := out.Signals[i].Numeric; n != nil {
			out.Signals[i].Numeric = n.Clone()
		}
	}
	return &out
}

// checkpoint stores what has changed.
func (w *world) checkpoint() {
	w.engine.Dirty(drift.DirtySink{
		Open: func(p *drift.Window) { w.open[key(p)] = keep(p) },
		Model: func(m drift.ModelState) {
			b, err := json.Marshal(m)
			if err != nil {
				w.t.Fatal(err)
			}
			w.models[m.Model] = b
		},
		Sample: func(model string, n int, chunk []byte) {
			if w.samples[model] == nil {
				w.samples[model] = map[int][]byte{}
			}
			w.samples[model][n] = slices.Clone(chunk)
		},
		Seen: func(slot int, chunk []uint64) { w.seen[slot] = slices.Clone(chunk) },
	})
}

// snapshot is what a store would give back.
func (w *world) snapshot() drift.Snapshot {
	s := drift.Snapshot{Samples: map[string][][]byte{}, Closed: w.closed}
	for _, b := range w.models {
		var m drift.ModelState
		if err := json.Unmarshal(b, &m); err != nil {
			w.t.Fatal(err)
		}
		s.Models = append(s.Models, m)
	}
	for _, b := range w.baselines {
		s.Baselines = append(s.Baselines, b)
	}
	for _, p := range w.open {
		s.Open = append(s.Open, p)
	}
	slices.SortFunc(s.Open, func(a, b *drift.Window) int { return strings.Compare(key(a), key(b)) })
	for model, chunks := range w.samples {
		for n := range len(chunks) {
			s.Samples[model] = append(s.Samples[model], chunks[n])
		}
	}
	for _, c := range w.seen {
		s.Seen = append(s.Seen, c)
	}
	return s
}

// closed is the Snapshot's.
func (w *world) closed(g drift.Group, from, to time.Time, unit time.Duration) (*drift.Window, error) {
	kept := w.panes
	if unit == drift.RollupSize {
		kept = w.hours
	}
	var parts []*drift.Window
	for _, p := range kept {
		if p.Group == g && !p.Start.Before(from) && !p.End.After(to) {
			parts = append(parts, p)
		}
	}
	return drift.Sum(parts)
}

// restart goes on in a new Engine from what is stored.
func (w *world) restart() {
	w.t.Helper()
	w.checkpoint()
	w.engine = drift.NewEngine(w.spec)
	if err := w.engine.Restore(w.snapshot()); err != nil {
		w.t.Fatal(err)
	}
}

// windows returns the windows of one size that have closed.
func (w *world) windows(size time.Duration) (out []*drift.Window) {
	for _, c := range w.closings {
		if c.Size == size {
			out = append(out, c.Windows...)
		}
	}
	return out
}

// dump is everything in a window, to the last bit.
func dump(w *drift.Window) string {
	h := fnv.New64a()
	for i := range w.Signals {
		s := &w.Signals[i]
		fmt.Fprint(h, s.Name, s.Type, s.Mismatched)
		h.Write(encode(s))
	}
	return fmt.Sprint(w.Group, w.Start, w.End, w.State, w.Learning, w.Baseline, w.Events, w.Failed, w.FromSeq, w.ToSeq, len(w.Signals), h.Sum64())
}

func encode(s *drift.Signal) []byte {
	switch {
	case s.Type == drift.Numeric:
		return stats.AppendNumeric(nil, s.Numeric)
	case s.Categorical.Dict == nil:
		return fmt.Append(nil, s.Categorical.N)
	}
	return stats.AppendCategorical(nil, s.Categorical)
}

// dumpCounts is what of a window does not depend on the order of its events.
func dumpCounts(w *drift.Window) string {
	var b strings.Builder
	fmt.Fprint(&b, w.Group, w.Start.Unix(), w.End.Unix(), w.State, w.Learning, w.Baseline, w.Events, w.Failed)
	for i := range w.Signals {
		s := &w.Signals[i]
		fmt.Fprint(&b, "\n", s.Name, s.Type, s.Mismatched)
		if n := s.Numeric; n != nil {
			fmt.Fprint(&b, n.N, n.NaN, n.PosInf, n.NegInf, n.Min, n.Max, n.Counts)
		} else {
			fmt.Fprint(&b, s.Categorical.N, s.Categorical.Counts, s.Categorical.Other, s.Categorical.Unseen)
		}
	}
	return b.String()
}

func dumpBaseline(b *drift.Baseline) string {
	h := fnv.New64a()
	for _, p := range b.Parts {
		fmt.Fprint(h, p.Segment, p.Rows)
		for i := range p.Signals {
			r := &p.Signals[i]
			fmt.Fprint(h, r.Name, r.Type, r.Mismatched, r.Missing, r.Feature)
			h.Write(encode(&r.Signal))
			h.Write(stats.AppendTieTable(nil, r.Ties))
			if r.PSI != nil {
				h.Write(stats.AppendEdges(nil, r.PSI))
			}
		}
	}
	return fmt.Sprint(b.ID, b.Model, b.State, b.Origin, h.Sum64())
}

// same fails at the first line that differs.
func same(t testing.TB, got, want []string, what string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: line %d differs\n got %.600s\nwant %.600s", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines, want %d", what, len(got), len(want))
	}
}

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance || math.IsNaN(got) && math.IsNaN(want)
}

// baselineOf builds a baseline of events.
func baselineOf(model string, o drift.BuilderOptions, events ...event.Event) *drift.Baseline {
	o.Model = model
	b := drift.NewBuilder(o)
	for i := range events {
		b.Add(&events[i])
	}
	return b.Build(drift.Approved, drift.Origin{Kind: "import", Source: "test", Actor: "test", Rows: b.Rows()})
}
