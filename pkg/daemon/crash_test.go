package daemon_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// hour is the demo's story in an hour: every kind of entry, few enough events
// to run it dozens of times.
func hour() sim.Scenario {
	return sim.Demo(sim.Story{
		AmountFrom: 10 * time.Minute, AmountTo: 30 * time.Minute,
		ChurnFrom: 12 * time.Minute, ChurnTo: 30 * time.Minute,
		CanaryFrom: 30 * time.Minute, CanaryTo: 45 * time.Minute,
		Length: time.Hour, Rate: 0.5,
	})
}

// nothing is a Source that never delivers.
type nothing struct{}

func (nothing) Run(ctx context.Context, _ stream.Anchor, _ chan<- *stream.Batch) error {
	<-ctx.Done()
	return nil
}

// prepare makes a store that holds the baselines and has read nothing.
func (w *world) prepare(dir string) {
	w.t.Helper()
	st := open(w.t, dir)
	defer st.Close()
	o := w.options(st)
	o.Source = nothing{}
	d, err := daemon.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for _, b := range w.baselines() {
		if err := d.ImportBaseline(ctx, b, "test"); err != nil {
			w.t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
}

// An account is everything a store says in the end that must not depend on
// crashes: every window's digest, every rule's state, every entry's hash.
type account struct {
	windows []string
	alerts  []store.Alert
	entries []ledger.Hash
}

func (w *world) account(st *store.Store) account {
	w.t.Helper()
	var a account
	for _, m := range w.scenario.Models {
		windows, err := st.Windows(store.Query{Model: m.Name, Size: time.Minute})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, win := range windows {
			a.windows = append(a.windows, win.Digest())
		}
	}
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		a.entries = append(a.entries, e.Hash)
	}
	if a.alerts, err = st.Alerts(); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (a account) equal(b account) bool {
	return slices.Equal(a.windows, b.windows) && slices.Equal(a.entries, b.entries) && slices.Equal(a.alerts, b.alerts)
}

var errCrash = errors.New("crash")

// crashAt runs the stream with a crash at the n-th point, and then to its end.
// It returns what is in the store, and the point; "" if there was no n-th. spoil,
// if not nil, may change the store between the two runs.
func (w *world) crashAt(n int, spoil func(*store.Store)) (account, string) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.prepare(dir)
	st, point := open(w.t, dir), ""
	o := w.options(st)
	o.Checkpoint.Events = 1024
	seen := 0
	o.Probe = func(at string) error {
		if seen++; seen != n {
			return nil
		}
		point = at
		return errCrash
	}
	err := w.run(o)
	if point == "" && err != nil || point != "" && !errors.Is(err, errCrash) {
		w.t.Fatalf("run with a crash at point %d: %v", n, err)
	}
	if point != "" {
		if err := st.Close(); err != nil {
			w.t.Fatal(err)
		}
		st = open(w.t, dir)
		if spoil != nil {
			spoil(st)
		}
		if err := w.run(w.options(st)); err != nil {
			w.t.Fatalf("run after a crash at %s (%d): %v", point, n, err)
		}
	}
	defer st.Close()
	return w.account(st), point
}

// TestCrashAtEveryPoint crashes at each named point of every checkpoint: nothing
// in the store may tell that it happened.
func TestCrashAtEveryPoint(t *testing.T) {
	w := newWorld(t, hour())
	want, _ := w.crashAt(0, nil)
	if len(want.entries) < 6 || len(want.windows) < 100 {
		t.Fatalf("only %d entries and %d windows: the story did not happen", len(want.entries), len(want.windows))
	}
	points := map[string]int{}
	for n := 1; ; n += 2 { // two of the three points alternate, so that each is met
		got, point := w.crashAt(n, nil)
		if point == "" {
			break
		}
		points[point]++
		if !got.equal(want) {
			t.Errorf("crash at %s (%d): %d windows, %d alerts, %d entries differ from the run without a crash", point, n, len(got.windows), len(got.alerts), len(got.entries))
		}
	}
	for _, p := range []string{daemon.PointEncoded, daemon.PointCommitted, daemon.PointTold} {
		if points[p] < 3 {
			t.Errorf("point %s was met %d times: the sweep proves nothing there", p, points[p])
		}
	}
	t.Logf("crashes by point: %v", points)
}
