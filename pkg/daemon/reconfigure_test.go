package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stream"
)

// TestAReloadIsARestart exchanges the settings in the middle of a story, while
// alerts fire, and finds the store as it is after a restart with these settings at
// the same message, to the last byte of the ledger; and so it does after a crash at
// every point of the commit that makes the exchange durable, and when nothing of the
// story has been committed before.
func TestAReloadIsARestart(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 25*time.Minute) // drift fires from minute 20 on
	middle := w.last()
	w.publishSpan(25*time.Minute, time.Hour)
	s := newSweep(w)
	other := func(o daemon.Options) daemon.Reconfiguration {
		r := daemon.Reconfiguration{Settings: o.Settings, Actor: "start"}
		r.Settings.ConfigHash = "test2"
		r.Settings.Spec.Models = []drift.ModelSpec{{Glob: "*", Segments: [][]string{{"channel"}}}}
		r.Settings.Detection = daemon.Detection{
			Window: 5 * time.Minute, Reference: 168, MinEvents: 50, Interval: 6 * time.Hour,
			Budget: func(string) *daemon.Budget {
				return &daemon.Budget{Name: "oncall", Receiver: "people", Pages: 2, Per: 30 * 24 * time.Hour, Weight: 1}
			},
		}
		r.Settings.Rules = s.rules(append(specs()[1:], alert.Spec{Name: "Late", Window: 5 * time.Minute, Expr: "events > 0", For: alert.Hold{Windows: 2}, Severity: "page"})...)
		return r
	}
	const uncommitted = "uncommitted" // instead of a point
	run := func(crashAt string, reload bool) account {
		dir := s.copyOf(s.prepared)
		st := open(t, dir)
		o := s.options(st)
		var armed atomic.Bool
		o.Probe = func(point string) error {
			if armed.Load() && point == crashAt {
				return errCrash
			}
			return nil
		}
		g := &gate{Source: o.Source, at: middle, open: make(chan struct{})}
		o.Source = g
		if crashAt == uncommitted {
			o.Checkpoint = daemon.Checkpoint{Every: time.Hour, Events: math.MaxInt, Bytes: math.MaxInt64}
		}
		d, stop := s.start(o)
		if crashAt == uncommitted {
			w.until(func() bool { return decoded(d) == middle }, "the middle is counted")
		} else {
			w.until(func() bool { return d.Snapshot().Stream.CommittedSeq == middle }, "the middle is committed")
		}
		if n := len(alerts(t, st, "FeatureDrift")); (n == 0) != (crashAt == uncommitted) {
			t.Fatalf("%d alerts on drift are committed before the middle", n)
		}
		armed.Store(true)
		if reload {
			if err := d.Reconfigure(t.Context(), other(o)); err != nil && !errors.Is(err, errCrash) && !errors.Is(err, daemon.ErrStopped) {
				t.Fatal(err)
			}
		}
		if reload && (crashAt == "" || crashAt == uncommitted) {
			close(g.open)
			w.until(func() bool { return decoded(d) == w.last() }, "the end is counted")
		}
		if !reload || crashAt != "" {
			if err := stop(); err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			st = open(t, dir)
			o = s.options(st)
			o.Settings = other(o).Settings
			d, stop = s.start(o)
		}
		w.caughtUp(d)
		w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if _, err := st.LedgerVerify(func(_, _ uint64) {}); err != nil {
			t.Error(err)
		}
		return w.account(st)
	}
	want := run("", false)
	if n := want.count("entry"); n < 8 {
		t.Fatalf("%d entries: the story shows nothing", n)
	}
	for _, point := range []string{"", daemon.PointEncoded, daemon.PointCommitted, daemon.PointTold, uncommitted} {
		if diff := cmp.Diff(want, run(point, true)); diff != "" {
			t.Errorf("reloaded, crash at %q (-restarted +reloaded):\n%.4000s", point, diff)
		}
	}
}

// decoded is how many messages a daemon has counted, committed or not.
func decoded(d *daemon.Daemon) (n uint64) {
	var text strings.Builder
	d.Snapshot().EventDelay.WritePrometheus(&text)
	_, count, _ := strings.Cut(text.String(), "driftd_event_delay_seconds_count ")
	_, _ = fmt.Sscan(count, &n)
	return n
}

// A gate lets messages up to one pass, and the others when it is opened.
type gate struct {
	daemon.Source
	at   uint64
	open chan struct{}
}

// Run implements daemon.Source.
func (g *gate) Run(ctx context.Context, from stream.Anchor, out chan<- *stream.Batch) error {
	in := make(chan *stream.Batch)
	ended := make(chan error, 1)
	go func() { ended <- g.Source.Run(ctx, from, in) }()
	for {
		var b *stream.Batch
		select {
		case b = <-in:
		case err := <-ended:
			return err
		}
		if n := slices.IndexFunc(b.Messages, func(m stream.Message) bool { return m.Seq > g.at }); n >= 0 {
			rest := &stream.Batch{Messages: slices.Clone(b.Messages[n:]), Anchor: b.Anchor}
			b.Messages, b.Anchor.Seq, b.Anchor.Time = b.Messages[:n], g.at, b.Messages[max(n, 1)-1].Time
			if n > 0 {
				select {
				case out <- b:
				case <-ctx.Done():
					return <-ended
				}
			}
			select {
			case <-g.open:
				g.at = math.MaxUint64
			case <-ctx.Done():
				return <-ended
			}
			b = rest
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return <-ended
		}
	}
}

// TestReconfigureRefuses: settings that cannot be used change nothing.
func TestReconfigureRefuses(t *testing.T) {
	w := newWorld(t, hour())
	s := newSweep(w)
	st := open(t, s.copyOf(s.prepared))
	defer st.Close()
	o := s.options(st)
	d, stop := s.start(o)
	w.caughtUp(d)
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*daemon.Settings){
		"no decoder":          func(s *daemon.Settings) { s.Decoder = nil },
		"another pane":        func(s *daemon.Settings) { s.Spec.Pane = 30 * time.Second },
		"two of one receiver": func(s *daemon.Settings) { s.Receivers = append(s.Receivers, s.Receivers[0]) },
	} {
		r := daemon.Reconfiguration{Settings: o.Settings, Actor: "ops", Changes: []ledger.SettingChange{{Path: "x", Kind: "changed"}}}
		r.Settings.Rules, r.Settings.ConfigHash = nil, "test2"
		change(&r.Settings)
		if err := d.Reconfigure(t.Context(), r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Reconfigure(late, daemon.Reconfiguration{Settings: o.Settings}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	now, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries, now); diff != "" || d.Snapshot().Config.Hash != "test" || len(d.Snapshot().Rules) != len(o.Rules) {
		t.Errorf("a refused exchange changed something: %+v %s", d.Snapshot().Config, diff)
	}
}
