package daemon_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

func none(_, _ uint64) {}

// backup takes a backup of an open store.
func (w *world) backup(st *store.Store) ([]byte, store.Backup) {
	w.t.Helper()
	var file bytes.Buffer
	head, err := st.Backup(w.t.Context(), &file, none)
	if err != nil {
		w.t.Fatal(err)
	}
	return file.Bytes(), head
}

// restore makes a store of a backup.
func (w *world) restore(file []byte) (dir string) {
	w.t.Helper()
	dir = w.t.TempDir()
	if _, err := store.Restore(w.t.Context(), dir, bytes.NewReader(file), store.Options{MemTableBytes: 32 << 20}, none); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// TestBackupUnderLoad takes backups while a daemon counts. Each is restored and
// catches up with the stream: its numbers are those of the book that the publisher
// kept, and of the daemon that was never stopped.
func TestBackupUnderLoad(t *testing.T) {
	backups := 4
	if race {
		backups = 2
	}
	w := emptyWorld(t, hour())
	base, dir := w.baselines(), t.TempDir()
	w.prepare(dir)
	b := newBook(base)
	b.segments["fraud"] = "channel"
	x := newTraffic(w, b)
	x.rate.Store(3000)
	st := open(t, dir)
	o := w.options(st)
	o.Spec, o.Checkpoint.Events = killSpec(), 200
	d, stop := w.start(o)
	published := make(chan error, 1)
	go func() { published <- x.publish() }()
	var files [][]byte
	var seqs []uint64
	for len(files) < backups {
		before := d.Snapshot().Stream.CommittedSeq
		w.until(func() bool { return d.Snapshot().Stream.CommittedSeq > before+1000 }, "1,000 more messages are committed")
		file, head := w.backup(st)
		if head.Progress.Seq <= before {
			t.Errorf("a backup at message %d, when %d were committed", head.Progress.Seq, before)
		}
		files, seqs = append(files, file), append(seqs, head.Progress.Seq)
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want := w.account(st)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("backups at messages %d of %d", seqs, x.seq)
	if !slices.IsSorted(seqs) || seqs[len(seqs)-1] >= x.seq {
		t.Errorf("backups at %d of %d messages: not all were taken under load", seqs, x.seq)
	}
	for _, file := range files {
		st := open(t, w.restore(file))
		o := w.options(st)
		o.Spec = killSpec()
		d, stop := w.start(o)
		w.caughtUp(d)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.compare(t, st)
		x.compareAccount(st)
		if diff := cmp.Diff(want, w.account(st)); diff != "" {
			t.Errorf("restored and caught up (-never stopped +restored):\n%.3000s", diff)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestoreBehindTheStream restores a backup that is older than what the stream
// still holds: the gap is in the ledger, its windows are incomplete, and what is
// there counts.
func TestRestoreBehindTheStream(t *testing.T) {
	const before, lost, after = 12*time.Minute + 30*time.Second, 13 * time.Minute, 30 * time.Minute
	w := emptyWorld(t, hour())
	w.publishSpan(0, before)
	st := open(t, newSweep(w).prepared)
	o := w.options(st)
	o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0", Clear: "events < 0", Severity: "page"})
	d, stop := w.start(o)
	w.caughtUp(d)
	file, head := w.backup(st)
	w.publishSpan(before, lost)
	w.caughtUp(d)
	if err := errors.Join(stop(), st.Close(), purge(w, w.conn.JetStream())); err != nil {
		t.Fatal(err)
	}
	missing := w.last() - head.Progress.Seq
	w.publishSpan(lost, after)

	st = open(t, w.restore(file))
	rules := o.Rules
	o = w.options(st)
	o.Rules = rules
	d, stop = w.start(o)
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if a := accountOf(t, st); a.Gap != missing || a.Accepted != w.last()-missing {
		t.Errorf("%d messages are booked as a gap and %d accepted, want %d and %d", a.Gap, a.Accepted, missing, w.last()-missing)
	}
	w.checkEpoch(st, stream.CauseRemoved, 0)
	w.checkIncomplete(st)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// rebuildConfig is for a daemon that learns its baselines from the stream.
const rebuildConfig = `
store: {dir: %DIR%}
nats: {url: "%URL%"}
http: {listen: "127.0.0.1:0"}
windows: {sizes: [5m, 1h], decide: 5m}
baselines: {min_rows: 500, min_span: 15m}
routes: {receiver: people}
receivers: [{name: people, nats: {}}]
rules:
  - {alert: Busy, window: 5m, expr: events > 10, for: 2, severity: page}
`

func (w *world) config(dir, more string) *config.Config {
	w.t.Helper()
	text := bytes.ReplaceAll([]byte(rebuildConfig+more), []byte("%DIR%"), []byte(dir))
	c, err := config.Parse("driftd.yaml", bytes.ReplaceAll(text, []byte("%URL%"), []byte(w.server.URL())), config.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestRebuild makes a store from the stream alone, cut off once: it is the one that a
// daemon has made of the same messages, but that it owes nobody anything.
func TestRebuild(t *testing.T) {
	w := newWorld(t, hour())
	extras := daemon.Extras{Version: "test", Log: zerolog.Nop(), Store: store.Options{MemTableBytes: 32 << 20, ReserveBytes: -1}, Checkpoint: daemon.Checkpoint{Every: 50 * time.Millisecond, Events: 500, Bytes: 4 << 20}}
	first := w.config(t.TempDir(), "")
	i, err := daemon.Start(t.Context(), first, extras)
	if err != nil {
		t.Fatal(err)
	}
	end := runInstance(t, i)
	w.caughtUp(i.Daemon)
	end()
	want := w.accountIn(first.Store.Dir)
	if want.count("baseline") == 0 || want.count("entry") < 3 {
		t.Fatalf("%d baselines and %d entries: nothing is proved", want.count("baseline"), want.count("entry"))
	}
	if _, err := daemon.Rebuild(t.Context(), first, extras, none); !errors.Is(err, store.ErrOccupied) {
		t.Errorf("over a store: %v, want ErrOccupied", err)
	}

	second := w.config(t.TempDir(), "")
	commits, cut := 0, extras
	cut.Store.Crash = func(point string) error {
		if commits++; commits > 10 && point == store.BeforeCommit {
			return errCrash
		}
		return nil
	}
	if _, err := daemon.Rebuild(t.Context(), second, cut, none); !errors.Is(err, errCrash) {
		t.Fatalf("the rebuild that was to be cut off: %v", err)
	}
	if _, err := os.Stat(filepath.Join(second.Store.Dir, "badger")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a rebuild is in place: %v", err)
	}
	begun := false
	var from uint64
	r, err := daemon.Rebuild(t.Context(), second, extras, func(done, _ uint64) {
		if !begun {
			begun, from = true, done
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if from == 0 || r.FirstSeq != 1 || r.LastSeq != w.last() || int(r.Entries) != want.count("entry") || r.Forgotten == 0 {
		t.Errorf("went on at %d: %+v; want messages 1 to %d, %d entries, and something forgotten", from, r, w.last(), want.count("entry"))
	}
	if diff := cmp.Diff(want, w.accountIn(second.Store.Dir)); diff != "" {
		t.Errorf("rebuilt (-counted once +rebuilt):\n%.3000s", diff)
	}
	st := open(t, second.Store.Dir)
	names, err := st.Receivers()
	if err := errors.Join(err, st.Close()); err != nil || len(names) > 0 {
		t.Errorf("%v are owed something: %v", names, err)
	}
}

// A rebuild that was begun with other rules begins anew.
func TestRebuildWithOtherRules(t *testing.T) {
	w := newWorld(t, hour())
	extras := daemon.Extras{Version: "test", Log: zerolog.Nop(), Store: store.Options{MemTableBytes: 32 << 20, ReserveBytes: -1, Crash: func(point string) error {
		if point == store.AfterCommit {
			return errCrash
		}
		return nil
	}}}
	dir := t.TempDir()
	if _, err := daemon.Rebuild(t.Context(), w.config(dir, ""), extras, none); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	extras.Store.Crash = nil
	other := w.config(dir, "  - {alert: Quiet, window: 5m, expr: events == 0}\n")
	if _, err := daemon.Rebuild(t.Context(), other, extras, none); err != nil {
		t.Fatal(err)
	}
	st := open(t, dir)
	r, err := st.Resume()
	if err := errors.Join(err, st.Close()); err != nil || r.Progress.ConfigHash != other.DecisionHash() || r.Progress.Seq != w.last() {
		t.Errorf("rebuilt to %d of %d by configuration %s: %v", r.Progress.Seq, w.last(), r.Progress.ConfigHash, err)
	}
}

// accountIn is account of a closed store.
func (w *world) accountIn(dir string) account {
	w.t.Helper()
	st := open(w.t, dir)
	defer st.Close()
	return w.account(st)
}
