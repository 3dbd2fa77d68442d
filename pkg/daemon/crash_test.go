package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
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
	w.prepareWith(dir, w.baselines())
}

func (w *world) prepareWith(dir string, baselines []*drift.Baseline) {
	w.t.Helper()
	st := open(w.t, dir)
	defer st.Close()
	o := w.options(st)
	o.Source = nothing{}
	d, stop := w.start(o)
	for _, b := range baselines {
		if err := d.ImportBaseline(w.t.Context(), b, nil, "test"); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		w.t.Fatal(err)
	}
}

// An account is everything a store says in the end that must not depend on
// crashes or on where checkpoints fell, as lines of text.
type account []string

func (w *world) account(st *store.Store) (a account) {
	w.t.Helper()
	line := func(what string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		a = append(a, what+" "+string(text))
	}
	for _, m := range w.scenario.Models {
		for _, size := range []time.Duration{time.Minute, time.Hour} {
			windows, err := st.Windows(store.Query{Model: m.Name, Size: size})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, win := range windows {
				line("window", []any{win.Group, win.Start, win.State, win.Learning, win.Baseline, win.Digest()})
			}
		}
	}
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		line("entry", e)
	}
	r, err := st.Resume()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range incidents(w.t, st) {
		i.Issued = time.Time{} // wall time
		line("incident", i)
	}
	line("seq", r.Progress.Seq)
	line("account", accountOf(w.t, st))
	for _, b := range r.Baselines {
		line("baseline", []any{b.ID, b.State})
	}
	for _, m := range r.Models {
		line("model", m)
	}
	for _, model := range slices.Sorted(maps.Keys(r.Detection)) {
		d := r.Detection[model]
		rows, err := st.Rows(model)
		if err != nil {
			w.t.Fatal(err)
		}
		line("detection "+model, []any{xxhash.Sum64(d.State), xxhash.Sum64(d.Fit), string(d.Notes), len(rows), xxhash.Sum64String(fmt.Sprint(rows))})
	}
	for _, alert := range r.Alerts {
		line("alert", alert)
	}
	for _, d := range r.Dedup {
		line("dedup", d)
	}
	return a
}

func (a account) count(what string) (n int) {
	for _, line := range a {
		if strings.HasPrefix(line, what+" ") {
			n++
		}
	}
	return n
}

// A sweep runs one stream again and again, each time with a crash somewhere else.
type sweep struct {
	*world
	prepared string // a store to begin with
}

func newSweep(w *world) sweep {
	w.t.Helper()
	s := sweep{w, w.t.TempDir()}
	if !w.learns {
		w.prepare(s.prepared)
	}
	return s
}

// copyOf copies a store, which may be open as long as nothing is being written.
func (w *world) copyOf(dir string) string {
	w.t.Helper()
	out := w.t.TempDir()
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		w.t.Fatal(err)
	}
	return out
}

var errCrash = errors.New("crash")

// run runs the stream on a store until its end, or until probe fails. probe is
// called at the daemon's points and at the store's.
func (s sweep) run(dir string, probe func(point string) error) (err error) {
	s.t.Helper()
	st, err := store.Open(dir, store.Options{MemTableBytes: 16 << 20, Crash: probe})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	o := s.options(st)
	o.Checkpoint.Events = 2048 // about seven checkpoints
	o.Probe = probe
	return s.world.run(o)
}

// end runs the stream to its end and returns what is in the store then.
func (s sweep) end(dir string) account {
	s.t.Helper()
	if err := s.run(dir, nil); err != nil {
		s.t.Fatal(err)
	}
	st := open(s.t, dir)
	defer st.Close()
	return s.world.account(st)
}

// crash runs the stream with a crash at the n-th point that counts, and returns
// the store and the point; "" if there was no n-th. at, if not nil, is called
// first: before the point counts.
func (s sweep) crash(n int, counts func(point string) bool, at func(dir, point string)) (dir, point string) {
	s.t.Helper()
	dir = s.copyOf(s.prepared)
	seen := 0
	err := s.run(dir, func(p string) error {
		if at != nil {
			at(dir, p)
		}
		if !counts(p) {
			return nil
		}
		if seen++; seen != n {
			return nil
		}
		point = p
		return errCrash
	})
	if point == "" && err != nil || point != "" && !errors.Is(err, errCrash) {
		s.t.Fatalf("run with a crash at point %d: %v", n, err)
	}
	return dir, point
}

// points are where a daemon can crash, in the order of one checkpoint.
var points = []string{daemon.PointEncoded, store.BeforeCommit, store.AfterCommit, daemon.PointCommitted, daemon.PointTold}

// all crashes at every step-th point and wants to find want in the end.
func (s sweep) all(want account, step, least int) {
	s.t.Helper()
	met := map[string]int{}
	if race {
		step, least = 13, 0 // the detector needs the paths, not every crash
	}
	for n := 1; ; n += step {
		dir, point := s.crash(n, func(string) bool { return true }, nil)
		if point == "" {
			break
		}
		met[point]++
		if diff := cmp.Diff(want, s.end(dir)); diff != "" {
			s.t.Errorf("crash at %s (%d) changed the store (-without +with):\n%.3000s", point, n, diff)
		}
	}
	s.t.Logf("crashes by point: %v", met)
	for _, p := range points {
		if met[p] < least {
			s.t.Errorf("point %s was met %d times, want %d: the sweep proves nothing there", p, met[p], least)
		}
	}
}

// TestCrashAtEveryPoint crashes at each named point of the checkpoints: nothing
// in the store may tell that it happened.
func TestCrashAtEveryPoint(t *testing.T) {
	s := newSweep(newWorld(t, hour()))
	want := s.end(s.copyOf(s.prepared))
	if want.count("entry") < 6 || want.count("window") < 100 || want.count("alert") == 0 {
		t.Fatalf("only %d entries, %d windows and %d alerts: the story did not happen", want.count("entry"), want.count("window"), want.count("alert"))
	}
	s.all(want, 3, 2) // five points a checkpoint: every third one meets each of them
	if race {
		return
	}
	s.mutants(want)
}

// mutants are two daemons that do not write the cursor and the data together.
// Whatever checkpoint they are killed in, the comparison must notice.
func (s sweep) mutants(want account) {
	s.t.Helper()
	const each = 2 // every second checkpoint: each takes three runs of half a second
	for n := 1; ; n += each {
		before, seen := "", 0
		after, point := s.crash(n, func(p string) bool { return p == store.AfterCommit }, func(dir, p string) {
			if p != store.BeforeCommit {
				return
			}
			if seen++; seen == n {
				before = s.copyOf(dir)
			}
		})
		if point == "" {
			if n <= 3*each {
				s.t.Errorf("%d checkpoints: the mutants prove nothing", n-1)
			}
			return
		}
		old, lost := s.progress(before), s.progress(after)
		if lost.Seq == old.Seq {
			continue // the commit had no messages in it
		}
		s.setProgress(before, lost)
		s.setProgress(after, old)
		for mutant, dir := range map[string]string{"cursor before data": before, "data before cursor": after} {
			if s.survives(dir, want) {
				s.t.Errorf("mutant %q, killed between messages %d and %d, was not noticed", mutant, old.Seq, lost.Seq)
			}
		}
	}
}

// survives reports whether a store that a mutant has left leads to the right end.
func (s sweep) survives(dir string, want account) bool {
	s.t.Helper()
	if err := s.run(dir, nil); err != nil {
		return false // the daemon noticed by itself
	}
	st := open(s.t, dir)
	defer st.Close()
	return slices.Equal(want, s.world.account(st))
}

func (w *world) progress(dir string) store.Progress {
	w.t.Helper()
	st := open(w.t, dir)
	defer st.Close()
	r, err := st.Resume()
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Progress
}

func (w *world) setProgress(dir string, p store.Progress) {
	w.t.Helper()
	st := open(w.t, dir)
	defer st.Close()
	b := st.NewBatch()
	b.PutProgress(p)
	if err := st.Commit(b); err != nil {
		w.t.Fatal(err)
	}
}

// TestCrashWhileLearning crashes before, at and after the moment at which the
// models freeze their own baselines.
func TestCrashWhileLearning(t *testing.T) {
	w := newWorld(t, hour())
	w.learns = true
	s := newSweep(w)
	want := s.end(s.copyOf(s.prepared))
	if n := want.count("baseline"); n != len(w.scenario.Models) {
		t.Fatalf("%d baselines, want one a model", n)
	}
	s.all(want, 4, 1) // coprime to five points a checkpoint
}

// TestCrashInAPaneOfAnOldBaseline stops in the middle of panes that count on a
// baseline which is not the active one any more.
func TestCrashInAPaneOfAnOldBaseline(t *testing.T) {
	ends := map[bool]account{}
	w := emptyWorld(t, hour())
	w.publishSpan(0, 20*time.Minute+30*time.Second) // the middle of a pane
	first := newSweep(w)
	second := w.baselinesOf(3, 4000) // other rows than the first: other edges
	var dirs []string
	for range 2 {
		dir := w.copyOf(first.prepared)
		dirs = append(dirs, dir)
		st := open(t, dir)
		d, stop := w.start(w.options(st))
		w.caughtUp(d)
		for _, b := range second {
			if err := d.ImportBaseline(t.Context(), b, nil, "test"); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(stop(), st.Close()); err != nil {
			t.Fatal(err)
		}
	}
	w.publishSpan(20*time.Minute+30*time.Second, time.Hour)
	for i, dir := range dirs {
		crashed := i == 1
		if crashed { // again in the middle, with the pane still open in the store
			seen := 0
			if err := first.run(dir, func(p string) error {
				if seen++; seen == len(points)+2 {
					return errCrash
				}
				return nil
			}); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
		}
		ends[crashed] = first.end(dir)
	}
	if diff := cmp.Diff(ends[false], ends[true]); diff != "" {
		t.Errorf("the crash changed the store (-without +with):\n%.3000s", diff)
	}
	if n := ends[false].count("baseline"); n != 2*len(second) {
		t.Errorf("%d baselines, want %d", n, 2*len(second))
	}
	old, id := 0, fmt.Sprintf("%q", w.baselines()[0].ID)
	for _, line := range ends[false] {
		if strings.HasPrefix(line, "window") && strings.Contains(line, id) {
			old++
		}
	}
	if old < 20 { // minutes before the change
		t.Errorf("%d panes on the old baseline, want at least 20", old)
	}
}
