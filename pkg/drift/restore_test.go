package drift_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// A message of a log is an event with its arrival, or a command.
type message struct {
	event    event.Event
	arrival  time.Duration
	gap      bool
	baseline *drift.Baseline
}

// hostileLog is the demo's traffic made difficult: out of order, repeated, from
// the future, late, with vectors, infinities, objects, new features, more
// versions than there is room for, silences, gaps, and baselines that replace
// each other while panes are open, one of which changes types.
func hostileLog(t testing.TB, seed uint64, length time.Duration, rate float64) []message {
	t.Helper()
	story := sim.DefaultStory
	story.Length, story.Rate = length, rate
	s, err := sim.New(sim.Demo(story), seed)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	base := drift.NewBuilder(drift.BuilderOptions{Model: "churn", Segments: segmentLists})
	for e := range s.Reference("churn", 300) {
		base.Add(e)
	}
	imported := base.Build(drift.Frozen, drift.Origin{Kind: "import"})
	approved := *imported
	approved.State = drift.Approved
	odd := baselineOf("churn", drift.BuilderOptions{},
		prediction("churn", 0, "country", 1, "tenure_months", "long", "never_seen", 3), prediction("churn", 0, "country", 2, "tenure_months", "short"))
	var log []message
	for e := event.New(event.Prediction); s.Next(&e); e = event.New(event.Prediction) {
		arrival := time.Duration(e.Time - t0.UnixNano())
		if quiet := arrival % (2 * time.Hour); quiet > 80*time.Minute && quiet < 95*time.Minute && e.Model != "fraud" {
			continue // a silence that only ticks end
		}
		if e.Kind == event.Prediction {
			disturb(&e, random)
		}
		log = append(log, message{event: e, arrival: arrival})
		if random.IntN(20) == 0 {
			log = append(log, message{event: e, arrival: arrival})
		}
		if random.IntN(400) == 0 {
			log = append(log, message{gap: true})
		}
	}
	for i := range log { // out of order by a few messages
		j := min(i+random.IntN(6), len(log)-1)
		log[i].event, log[j].event = log[j].event, log[i].event
	}
	at := func(i int, b *drift.Baseline) { log[len(log)*i/10].baseline = b }
	at(2, imported)
	at(3, &approved)
	at(5, odd)
	at(7, imported)
	return log
}

var segmentLists = [][]string{{"channel"}, {"channel", "plan"}, {"plan"}}

// disturb makes an event of a well-behaved model hard to digest.
func disturb(e *event.Event, random *rand.Rand) {
	e.Values = append([]event.Value{}, e.Values...)
	odd := []event.Value{{Kind: event.Invalid}, event.Cat("odd"), event.Num(math.Inf(1)), event.Num(math.NaN()), {}, event.Num(-7)}
	switch random.IntN(12) {
	case 0:
		e.Values[random.IntN(len(e.Values))] = odd[random.IntN(len(odd))]
	case 1:
		e.Version = fmt.Sprint("v", random.IntN(5))
	case 2:
		e.Segments = append([]event.Segment{}, event.Segment{Name: "plan", Value: fmt.Sprint(random.IntN(6))}, event.Segment{Name: "channel", Value: fmt.Sprint(random.IntN(4))})
	case 3:
		names := append(append([]string{}, e.Features.Names...), fmt.Sprint("extra", random.IntN(9)), "", "prediction")
		e.Features, e.Vectors = shape(names...), [][]float64{{3, 4}}
		e.Values = append(e.Values, odd[random.IntN(len(odd))], event.Value{Kind: event.Vector, Num: 2}, event.Cat("x"))
	case 4:
		e.Time += int64(time.Duration(random.IntN(11)-6) * time.Minute)
	case 5:
		e.Variant = event.Shadow
	case 7:
		if random.IntN(9) == 0 {
			e.Model = "one too many"
		}
	case 6:
		e.Prediction = odd[random.IntN(len(odd))]
	}
}

func hostileSpec() drift.Spec {
	s := testSpec()
	s.Models = []drift.ModelSpec{{Glob: "*", Segments: segmentLists}}
	s.Limits = drift.Limits{Models: 3, Features: 48, Versions: 3, Segments: 2, Categories: 8, GapWindows: 10}
	s.DedupIDs = 1
	s.Sample = drift.SampleSpec{MinRows: 150, MinSpan: 20 * time.Minute, MaxRows: 100, Bytes: 150_000}
	return s
}

// play runs a log; the engine is restarted before the messages that restart
// names, and checkpointed without restart where checkpoint says.
func play(t testing.TB, log []message, restart, checkpoint func(i int) bool) *world {
	t.Helper()
	w := newWorld(t, hostileSpec())
	for i := range log {
		if restart(i) {
			w.restart()
		} else if checkpoint(i) {
			w.checkpoint()
		}
		w.take(&log[i])
	}
	w.state()
	return w
}

// take plays one message.
func (w *world) take(m *message) {
	switch {
	case m.gap:
		w.engine.Gap()
	default:
		w.send(m.event, m.arrival)
	}
	if m.baseline != nil {
		w.adopt(m.baseline)
		w.told = append(w.told, fmt.Sprint("adopted ", m.baseline.ID, w.engine.Watermark(m.baseline.Model)))
	}
}

// state tells what the engine holds at the end.
func (w *world) state() {
	for _, m := range w.engine.Models() {
		if m.Sample != nil {
			m.Sample.Chunks = 0 // how it is cut depends on the checkpoints
			w.told = append(w.told, fmt.Sprintf("%+v", *m.Sample))
			m.Sample = nil
		}
		w.told = append(w.told, fmt.Sprintf("%+v", m))
	}
}

func never(int) bool { return false }

// An engine that is restarted, at whatever messages, tells exactly what one
// tells that never stops: windows to the last bit of their means, closings with
// the messages that caused them, baselines, outcomes and states.
func TestRestoreAnywhere(t *testing.T) {
	for seed := range uint64(2) {
		log := hostileLog(t, seed, 4*time.Hour+10*time.Minute, .03)
		want := play(t, log, never, never)
		if len(want.frozen) == 0 || len(want.hours) == 0 {
			t.Fatalf("seed %d: %d baselines were learned and %d hours closed: the log shows nothing", seed, len(want.frozen), len(want.hours))
		}
		random := rand.New(rand.NewPCG(seed, 2))
		for _, every := range []int{1500, 150} {
			got := play(t, log, func(int) bool { return random.IntN(every) == 0 }, func(int) bool { return random.IntN(100) == 0 })
			same(t, got.told, want.told, fmt.Sprintf("seed %d, a restart in %d messages", seed, every))
		}
	}
}

// The same at every single message of a short log.
func TestRestoreEverywhere(t *testing.T) {
	log := hostileLog(t, 9, 14*time.Minute, .05)
	want := play(t, log, never, never)
	got := play(t, log, func(int) bool { return true }, never)
	same(t, got.told, want.told, "a restart before every message")
}

func TestRestoreRefusesWhatDoesNotFit(t *testing.T) {
	w := newWorld(t, testSpec())
	w.add(prediction("m", 0, "x", 1))
	w.checkpoint()
	good := w.snapshot()
	window := func(change func(*drift.Window)) drift.Snapshot {
		p := *good.Open[0]
		p.Signals = append([]drift.Signal{}, p.Signals...)
		change(&p)
		s := good
		s.Open = []*drift.Window{&p}
		return s
	}
	model := func(change func(*drift.ModelState)) drift.Snapshot {
		m := good.Models[0]
		change(&m)
		s := good
		s.Models = []drift.ModelState{m}
		return s
	}
	failing := good
	failing.Closed = func(drift.Group, time.Time, time.Time, time.Duration) (*drift.Window, error) {
		return nil, fmt.Errorf("disk")
	}
	failing.Models = model(func(m *drift.ModelState) { m.Watermark = m.Watermark.Add(2 * time.Minute) }).Models
	chunks := model(func(m *drift.ModelState) { s := *m.Sample; s.Chunks = 2; m.Sample = &s })
	damaged := good
	damaged.Samples = map[string][][]byte{"m": {{200, 1, 2}}}
	for name, s := range map[string]drift.Snapshot{
		"a pane of an unknown group":       window(func(p *drift.Window) { p.Group.Version = "2" }),
		"a pane of an unknown baseline":    window(func(p *drift.Window) { p.Baseline = "b-0" }),
		"a pane with an unknown signal":    window(func(p *drift.Window) { p.Signals[0].Name = "y" }),
		"a model with an unknown baseline": model(func(m *drift.ModelState) { m.Baseline = "b-0" }),
		"a store that fails":               failing,
		"a sample that lacks a chunk":      chunks,
		"a sample that is damaged":         damaged,
	} {
		if err := drift.NewEngine(testSpec()).Restore(s); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	if err := drift.NewEngine(testSpec()).Restore(good); err != nil {
		t.Error(err)
	}
}
