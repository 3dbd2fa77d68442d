package daemon_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
)

// A disk is one whose free space the test decides.
type disk struct{ free, asked atomic.Int64 }

func (d *disk) options() store.Options {
	return store.Options{MemTableBytes: 32 << 20, ReserveBytes: 50 << 20, Free: func(string) (int64, error) {
		d.asked.Add(1)
		return d.free.Load(), nil
	}}
}

// TestDiskFull takes the room away in the middle of the stream: the daemon stays
// up, commits and reads nothing, says so, and goes on by itself when there is room
// again. In the end no number differs.
func TestDiskFull(t *testing.T) {
	s := newSweep(newWorld(t, hour()))
	want := s.end(s.copyOf(s.prepared))
	dir := s.copyOf(s.prepared)
	var room disk
	room.free.Store(1 << 30)
	st, err := store.Open(dir, room.options())
	if err != nil {
		t.Fatal(err)
	}
	o := s.options(st)
	o.Checkpoint.Every, o.Checkpoint.Events = time.Hour, 700
	d, stop := s.start(o)
	s.until(func() bool { return d.Snapshot().Stream.CommittedSeq > 2000 }, "message 2000 is committed")
	room.free.Store(99 << 20) // of 50 MiB, twice is low
	if got := d.Snapshot().Disk.State; got != "low" {
		t.Errorf("with 99 MiB the disk is %q, want low", got)
	}
	room.free.Store(49 << 20)
	s.paused(d)
	before := d.Snapshot().Stream.CommittedSeq
	if before == s.last() {
		t.Fatal("the stream was over before the disk was full")
	}
	room.free.Store(55 << 20) // above the reserve, below 1.2 of it
	asked := room.asked.Load()
	s.until(func() bool { d.Snapshot(); return room.asked.Load() > asked+300 }, "the daemon has looked at the disk again")
	if got := d.Snapshot(); got.Disk.State != "paused" || got.Stream.CommittedSeq != before {
		t.Errorf("with 55 MiB the disk is %q and %d committed, want paused and %d", got.Disk.State, got.Stream.CommittedSeq, before)
	}
	room.free.Store(61 << 20)
	start := time.Now()
	s.until(func() bool { return d.Snapshot().Stream.CommittedSeq > before }, "the daemon goes on")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("went on after %v", took)
	}
	if slices.Contains(d.Snapshot().NotReady, "disk") {
		t.Error("it goes on and is not ready")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.end(dir)); diff != "" {
		t.Errorf("a full disk changed the store (-without +with):\n%.3000s", diff)
	}
}

// TestStopWithAFullDisk stops while there is no room for the last checkpoint: what
// it held is read again.
func TestStopWithAFullDisk(t *testing.T) {
	s := newSweep(newWorld(t, hour()))
	want := s.end(s.copyOf(s.prepared))
	dir := s.copyOf(s.prepared)
	var room disk
	room.free.Store(1 << 30)
	st, err := store.Open(dir, room.options())
	if err != nil {
		t.Fatal(err)
	}
	o := s.options(st)
	o.Checkpoint.Events = 700
	d, stop := s.start(o)
	s.until(func() bool { return d.Snapshot().Stream.CommittedSeq > 2000 }, "message 2000 is committed")
	room.free.Store(10 << 20)
	s.paused(d)
	start := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(start); took > stopWithin {
		t.Errorf("stopped in %v", took)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.end(dir)); diff != "" {
		t.Errorf("the stop changed the store (-without +with):\n%.3000s", diff)
	}
}

// paused waits until the daemon pauses for want of room.
func (w *world) paused(d *daemon.Daemon) {
	w.t.Helper()
	w.until(func() bool { return d.Snapshot().Disk.State == "paused" }, "the daemon pauses")
	if !slices.Contains(d.Snapshot().NotReady, "disk") {
		w.t.Error("paused, but ready")
	}
}
