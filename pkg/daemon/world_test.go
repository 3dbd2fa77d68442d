package daemon_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A world is a real JetStream server with a stream of seeded traffic, and what
// a daemon must make of it.
type world struct {
	t        *testing.T
	scenario sim.Scenario
	server   *stream.Embedded
	conn     *stream.Conn
	heard    *sink
	learns   bool // no baselines are imported
}

// newWorld starts a server and publishes the whole scenario.
func newWorld(t *testing.T, s sim.Scenario) *world {
	t.Helper()
	w := emptyWorld(t, s)
	w.publish()
	return w
}

// emptyWorld starts a server on which nothing has been published.
func emptyWorld(t *testing.T, s sim.Scenario) *world {
	t.Helper()
	noLeaks(t)
	server, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := stream.Connect(stream.Options{InProcess: server, MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for _, spec := range []stream.StreamSpec{stream.InputStream(), stream.SignalStream()} {
		if _, err := stream.EnsureStream(t.Context(), conn.JetStream(), spec); err != nil {
			t.Fatal(err)
		}
	}
	return &world{t: t, scenario: s, server: server, conn: conn, heard: &sink{got: map[string]int{}}}
}

// noLeaks fails the test if goroutines are left when everything that the test
// has opened since is closed.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		const patience = 5 * time.Second // servers and Badger end theirs in the background
		for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before the test:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

func (w *world) publish() { w.publishSpan(0, math.MaxInt64) }

// publishSpan publishes the predictions of a span of the scenario, and the
// outcomes between them.
func (w *world) publishSpan(from, to time.Duration) {
	w.t.Helper()
	w.publishWhere(func(_ string, at time.Duration) bool { return at >= from && at < to })
}

// publishWhere publishes the predictions of models at times of the scenario, and the
// outcomes behind them.
func (w *world) publishWhere(takes func(model string, at time.Duration) bool) {
	w.t.Helper()
	p, err := stream.NewEventPublisher(w.conn, stream.EventPublisherOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Close()
	var subjects event.SubjectTemplate
	start := w.scenario.Start.UnixNano()
	inside := false
	w.each(func(e *event.Event) {
		if e.Kind == event.Prediction {
			inside = takes(e.Model, time.Duration(e.Time-start))
		}
		if !inside {
			return
		}
		if err := p.Publish(w.t.Context(), stream.OutgoingEvent{
			Subject: subjects.Subject(e), Kind: e.Kind.String(), ID: e.ID, Data: event.AppendJSON(nil, e),
		}); err != nil {
			w.t.Fatal(err)
		}
	})
	if err := p.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// each yields every event of the scenario.
func (w *world) each(yield func(*event.Event)) {
	w.t.Helper()
	s, err := sim.New(w.scenario, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	var e event.Event
	for s.Next(&e) {
		yield(&e)
	}
}

// baselines makes a reference for every model of the scenario.
func (w *world) baselines() []*drift.Baseline { return w.baselinesOf(2, 5000) }

func (w *world) baselinesOf(seed uint64, rows int) []*drift.Baseline {
	w.t.Helper()
	var out []*drift.Baseline
	for _, m := range w.scenario.Models {
		s, err := sim.New(w.scenario, seed)
		if err != nil {
			w.t.Fatal(err)
		}
		b := drift.NewBuilder(drift.BuilderOptions{Model: m.Name})
		for e := range s.Reference(m.Name, rows) {
			b.Add(e)
		}
		out = append(out, b.Build(drift.Approved, drift.Origin{Kind: "import", Source: "sim", Rows: b.Rows()}))
	}
	return out
}

// specs are one rule of each sort: on a feature, on a model, on a group.
func specs() []alert.Spec {
	return []alert.Spec{
		{Name: "FeatureDrift", Window: 5 * time.Minute, Expr: "psi_debiased > 0.1 and n >= 100", For: alert.Hold{Windows: 2}, Clear: "psi_debiased < 0.05", Severity: "page", Actions: []string{"retrain"}},
		{Name: "Silence", Window: 5 * time.Minute, Expr: "events == 0", For: alert.Hold{Windows: 3}, Severity: "page"},
		{Name: "CanaryErrors", Window: 5 * time.Minute, Variant: "canary", Expr: "error_ratio > 0.05 and events >= 50", For: alert.Hold{Windows: 2}, Severity: "page", Actions: []string{"rollback"}},
	}
}

func compile(specs ...alert.Spec) ([]*alert.Rule, error) {
	var out []*alert.Rule
	for _, spec := range specs {
		r, err := alert.Compile(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (w *world) rules(specs ...alert.Spec) []*alert.Rule {
	w.t.Helper()
	rules, err := compile(specs...)
	if err != nil {
		w.t.Fatal(err)
	}
	return rules
}

// sink is a receiver that remembers what it was told.
type sink struct {
	mu  sync.Mutex
	got map[string]int // by idempotency key
}

func (s *sink) Send(_ context.Context, d ledger.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[d.Key()]++
	return nil
}

// options assemble a daemon on a store.
func (w *world) options(st *store.Store) daemon.Options {
	w.t.Helper()
	reader, err := stream.NewReader(w.conn, stream.DefaultReaderOptions("ML"))
	if err != nil {
		w.t.Fatal(err)
	}
	letters, err := stream.NewPublisher(w.conn, stream.DefaultPublisherOptions())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(letters.Close)
	routes, err := alert.CompileRoutes(alert.RouteSpec{Receiver: "people"}, []string{"people"})
	if err != nil {
		w.t.Fatal(err)
	}
	spec := drift.DefaultSpec()
	spec.DedupIDs = 100_000
	spec.Sample.MinRows, spec.Sample.MinSpan = 500, 15*time.Minute // for worlds that learn
	return daemon.Options{
		Settings: daemon.Settings{
			Spec: spec, Decoder: event.NewDecoder(nil, event.DefaultLimits), Rules: w.rules(specs()...), Routes: routes,
			Receivers:  []notify.Receiver{{Name: daemon.SignalReceiver, Sink: w.heard}, {Name: "people", Sink: w.heard}},
			ConfigHash: "test",
		},
		Store: st, Source: reader, DeadLetters: letters, Status: reader.Status,
		Checkpoint: daemon.Checkpoint{Every: 50 * time.Millisecond, Events: 4096, Bytes: 4 << 20},
		Version:    "test", Log: zerolog.Nop(),
	}
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	st, err := store.Open(dir, store.Options{MemTableBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// start runs a daemon. stop ends it and returns what Run returned; if Run ends by
// itself, so does the test.
func (w *world) start(o daemon.Options) (d *daemon.Daemon, stop func() error) {
	w.t.Helper()
	d, err := daemon.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return d, func() error {
		cancel()
		return <-ended
	}
}

// last returns the last sequence of the stream.
func (w *world) last() uint64 {
	w.t.Helper()
	info, err := w.conn.JetStream().Stream(w.t.Context(), "ML")
	if err != nil {
		w.t.Fatal(err)
	}
	return info.CachedInfo().State.LastSeq
}

// caughtUp waits until the whole stream is committed.
func (w *world) caughtUp(d *daemon.Daemon) {
	w.t.Helper()
	last := w.last()
	w.until(func() bool { return d.Snapshot().Stream.CommittedSeq == last }, "message %d is committed", last)
}

// until waits for a condition.
func (w *world) until(holds func() bool, what string, args ...any) {
	w.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("waited a minute until "+what, args...)
		}
	}
}

// run runs a daemon until it has committed the whole stream, and stops it.
func (w *world) run(o daemon.Options) error {
	w.t.Helper()
	d, err := daemon.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	if len(d.Snapshot().Models) == 0 && !w.learns {
		for _, b := range w.baselines() {
			if err := d.ImportBaseline(ctx, b, nil, "test"); err != nil {
				cancel()
				return fmt.Errorf("%w (import: %w)", <-ended, err)
			}
		}
	}
	last := w.last()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case err := <-ended:
			if err == nil {
				err = fmt.Errorf("stopped at %d of %d", d.Snapshot().Stream.CommittedSeq, last)
			}
			return err
		case <-tick.C:
		}
		if d.Snapshot().Stream.CommittedSeq == last {
			cancel()
			return <-ended
		}
	}
}
