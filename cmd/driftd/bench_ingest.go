package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

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

const benchReference = 20_000 // rows of the baseline

// benchIngest starts the server, runs the rounds and removes everything.
func (e *env) benchIngest(ctx context.Context, o benchOptions) (r benchResult, err error) {
	e.collectMore(ctx)
	start := time.Now()
	dir, err := os.MkdirTemp(o.dir, "driftd-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	work := int64(o.events) * int64(1+2*o.rounds)
	p := e.newProgress("bench ingest", "events", work)
	defer p.end()
	server, err := startBench(ctx, benchStream{filepath.Join(dir, "jetstream"), o.events, o.rows}, func(n int) { p.at(int64(n)) })
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, server.stop(ctx)) }()
	conn, err := stream.Connect(stream.Options{URL: server.URL, MustConnect: true})
	if err != nil {
		return r, err
	}
	defer conn.Close()
	b, err := newBench(ctx, conn, o, server.Filled)
	if err != nil {
		return r, err
	}
	b.store = dir
	log := e.logger()
	var bare, whole []benchRun
	for i := 0; i < o.rounds && (i == 0 || time.Since(start) < o.within); i++ {
		run, err := b.bare(ctx)
		if err != nil {
			return r, err
		}
		bare = append(bare, run)
		p.at(int64(o.events + (2*i+1)*b.events))
		if run, err = b.whole(ctx, i); err != nil {
			return r, err
		}
		whole = append(whole, run)
		log.Debug().Int("round", i+1).Dur("bare_ms", bare[i].wall).Dur("bare_cpu_ms", bare[i].cpu).
			Dur("whole_ms", run.wall).Dur("whole_cpu_ms", run.cpu).Msg("round")
		p.at(int64(o.events + (2*i+2)*b.events))
	}
	r = summarize(b.events, bare, whole)
	r.Features, r.EventBytes, r.Lost, r.RSS = b.features, server.EventBytes, b.lost, peakRSS()
	return r, b.stopProfile()
}

// A bench is what the rounds share.
type bench struct {
	benchOptions
	conn     *stream.Conn
	stream   string
	messages int // in the stream
	events   int // in them
	features int
	baseline *drift.Baseline
	rules    []*alert.Rule
	store    string // folder of the stores
	lost     int64
	profile  *os.File
}

func newBench(ctx context.Context, conn *stream.Conn, o benchOptions, events int) (*bench, error) {
	info, err := conn.JetStream().Stream(ctx, stream.InputStream().Name)
	if err != nil {
		return nil, err
	}
	b := &bench{benchOptions: o, conn: conn, stream: info.CachedInfo().Config.Name, messages: int(info.CachedInfo().State.Msgs), events: events}
	scenario := sim.Bench()
	model := scenario.Models[0]
	b.features = len(model.Features)
	reference, err := sim.New(scenario, 2)
	if err != nil {
		return nil, err
	}
	builder := drift.NewBuilder(drift.BuilderOptions{Model: model.Name, Segments: b.segmentsOf()})
	for e := range reference.Reference(model.Name, benchReference) {
		builder.Add(e)
	}
	b.baseline = builder.Build(drift.Approved, drift.Origin{Kind: "import", Source: "bench", Rows: builder.Rows()})
	if b.rules, err = benchRules(); err != nil {
		return nil, err
	}
	return b, b.startProfile()
}

// benchRules are a rule on every signal, one on silence and one on every version.
func benchRules() (rules []*alert.Rule, err error) {
	for _, spec := range []alert.Spec{
		{Name: "Drift", Window: 5 * time.Minute, Expr: "psi_debiased > 0.1 and n >= 1000", For: alert.Hold{Windows: 2}, Severity: "page", Actions: []string{"retrain"}},
		{Name: "Silence", Window: 5 * time.Minute, Expr: "events == 0", For: alert.Hold{Windows: 3}, Severity: "page"},
		{Name: "Errors", Variant: "*", Window: 5 * time.Minute, Expr: "error_ratio > 0.05 and events >= 50", Severity: "page", Actions: []string{"rollback"}},
	} {
		rule, err := alert.Compile(spec)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// segmentsOf lists what every event is counted by beside the whole.
func (b *bench) segmentsOf() [][]string {
	if !b.segments {
		return nil
	}
	return [][]string{{"channel"}}
}

// bareGC is the collector's setting for bare runs. With the default the tiny heap
// of a consumer that keeps nothing is collected so often that a third of its CPU
// time is the collector's, which would flatter the daemon: 2.4 us an event
// against 1.6.
const bareGC = 400

// bare reads the stream and does nothing.
func (b *bench) bare(ctx context.Context) (benchRun, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(bareGC))
	return measured(func() error {
		_, err := stream.BareConsume(ctx, b.conn.JetStream(), b.stream, b.messages)
		return err
	})
}

// whole runs the daemon over the stream, from an empty store with a baseline to
// the moment at which everything is durable and the daemon has stopped.
func (b *bench) whole(ctx context.Context, round int) (run benchRun, err error) {
	st, err := store.Open(filepath.Join(b.store, "store-"+strconv.Itoa(round)), store.Options{})
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	o, source, err := b.options(st)
	if err != nil {
		return run, err
	}
	d, err := daemon.New(o)
	if err != nil {
		return run, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	if err := d.ImportBaseline(ctx, b.baseline, nil, "bench"); err != nil {
		stop()
		return run, errors.Join(err, <-ended)
	}
	run, err = measured(func() error {
		close(source.start)
		select {
		case <-source.done:
			stop()
			return <-ended
		case err := <-ended:
			return errors.Join(errors.New("the daemon stopped early"), err)
		}
	})
	if err != nil {
		return run, err
	}
	account := d.Snapshot().Account
	b.lost += int64(b.events) - int64(account.Total(drift.Counted))
	return run, account.Balance(uint64(b.messages))
}

// options are the daemon's as serve has them by default.
func (b *bench) options(st *store.Store) (daemon.Options, *benchSource, error) {
	reader, err := stream.NewReader(b.conn, stream.DefaultReaderOptions(b.stream))
	if err != nil {
		return daemon.Options{}, nil, err
	}
	letters, err := stream.NewPublisher(b.conn, stream.DefaultPublisherOptions())
	if err != nil {
		return daemon.Options{}, nil, err
	}
	routes, err := alert.CompileRoutes(alert.RouteSpec{Receiver: daemon.SignalReceiver}, []string{daemon.SignalReceiver})
	if err != nil {
		return daemon.Options{}, nil, err
	}
	source := &benchSource{Reader: reader, last: uint64(b.messages), start: make(chan struct{}), done: make(chan struct{})}
	spec := drift.DefaultSpec()
	spec.Models = []drift.ModelSpec{{Glob: "*", Segments: b.segmentsOf()}}
	return daemon.Options{
		Settings: daemon.Settings{
			Spec: spec, Decoder: event.NewDecoder(nil, event.DefaultLimits), Rules: b.rules, Routes: routes,
			Receivers: []notify.Receiver{{Name: daemon.SignalReceiver, Sink: discard{}}}, ConfigHash: "bench",
		},
		Store: st, Source: source, DeadLetters: letters, Status: reader.Status,
		Checkpoint: daemon.DefaultCheckpoint(), Version: "bench", Log: zerolog.Nop(),
	}, source, nil
}

// discard is a receiver that takes everything at once.
type discard struct{}

func (discard) Send(context.Context, ledger.Delivery) error { return nil }

// A benchSource is a reader that begins when told and says when the daemon has
// taken the last message.
type benchSource struct {
	*stream.Reader
	last  uint64
	start chan struct{} // closed by the bench
	done  chan struct{} // closed when the last message was taken
}

// Run implements daemon.Source.
func (s *benchSource) Run(ctx context.Context, from stream.Anchor, out chan<- *stream.Batch) error {
	select {
	case <-s.start:
	case <-ctx.Done():
		return nil
	}
	batches, ended := make(chan *stream.Batch), make(chan error, 1)
	go func() { ended <- s.Reader.Run(ctx, from, batches) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for complete := false; ; {
		select {
		case b := <-batches:
			complete = b.Anchor.Seq >= s.last
			select {
			case out <- b:
			case <-ctx.Done():
			}
		case <-tick.C:
			// What the loop took from out it applies before it looks up again.
			if complete && len(out) == 0 {
				close(s.done)
				return <-ended
			}
		case err := <-ended:
			return err
		}
	}
}

// measured runs f and takes the time and this process's CPU time.
func measured(f func() error) (benchRun, error) {
	runtime.GC() // nobody pays for the garbage of the run before
	start, cpu := time.Now(), cpuTime()
	err := f()
	return benchRun{wall: time.Since(start), cpu: cpuTime() - cpu}, err
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // it cannot fail for oneself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS returns the largest resident size of this process so far, in MiB. On
// Linux getrusage would also count the process that execed this one, such as
// `go run`.
func peakRSS() float64 {
	if f, err := os.Open("/proc/self/status"); err == nil {
		defer func() { _ = f.Close() }() // only read
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if kib, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
				if n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(kib, "kB"))); err == nil {
					return float64(n) / 1024
				}
			}
		}
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Maxrss) / (1 << 20) // bytes on macOS
}

func (b *bench) startProfile() (err error) {
	if b.benchOptions.profile == "" {
		return nil
	}
	if b.profile, err = os.Create(b.benchOptions.profile); err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(b.profile); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

func (b *bench) stopProfile() error {
	if b.profile == nil {
		return nil
	}
	pprof.StopCPUProfile()
	return b.profile.Close()
}
