//go:build real

package daemon_test

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// TestFullFileSystem fills a file system of 96 MB, on which Badger dies of SIGBUS
// when it writes, beside a daemon that counts. It needs root, to mount.
func TestFullFileSystem(t *testing.T) {
	for name, mount := range map[string]func(t *testing.T, dir string){"tmpfs": mountTmpfs, "ext4": mountExt4} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mount(t, dir)
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			fullFileSystem(t, dir)
		})
	}
}

func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatalf("mount a tmpfs: %v: run as root", err)
	}
}

// mountExt4 makes a file system in a file. ext4 gives blocks to a sparse file when
// they are written back, so that a full disk shows later than on tmpfs.
func mountExt4(t *testing.T, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "ext4")
	for _, command := range [][]string{
		{"truncate", "-s", "96M", image},
		{"mkfs.ext4", "-q", "-F", image},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: run as root, with loop devices: %s", command, err, out)
		}
	}
}

func fullFileSystem(t *testing.T, dir string) {
	const reserve = 24 << 20
	w := newWorld(t, hour())
	st, err := store.Open(filepath.Join(dir, "store"), store.Options{MemTableBytes: 4 << 20, ReserveBytes: reserve, ReservePercent: 25})
	if err != nil {
		t.Fatal(err)
	}
	o := w.options(st)
	o.Checkpoint.Events, o.Checkpoint.Bytes = 300, 300<<10
	o.Spec.DedupIDs = 10_000
	ballast := filepath.Join(dir, "ballast")
	fill(t, dir, ballast, reserve-(1<<20)) // before anything is read
	d, stop := w.start(o)
	w.paused(d)
	if got := d.Snapshot().Stream.CommittedSeq; got != 0 {
		t.Errorf("%d committed on a full disk", got)
	}
	for round := range 3 {
		before := d.Snapshot().Stream.CommittedSeq
		if before == w.last() {
			break
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		w.until(func() bool { return d.Snapshot().Stream.CommittedSeq > before }, "the daemon goes on")
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("round %d: went on after %v", round, took)
		}
		fill(t, dir, ballast, reserve/2)
		w.until(func() bool {
			s := d.Snapshot()
			return s.Disk.State == "paused" || s.Stream.CommittedSeq == w.last()
		}, "the daemon pauses")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	a := accountOf(t, st)
	if got := a.Total(drift.Counted); got != a.Decoded || a.Accepted != w.last() {
		t.Errorf("%d counted of %d decoded in %d messages, want all of %d", got, a.Decoded, a.Accepted, w.last())
	}
	v, err := st.Verify(t.Context(), func(_, _ uint64) {})
	if err != nil || !v.OK() {
		t.Errorf("the store after it: %+v, %v", v, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// fill writes a file until only so much is free.
func fill(t *testing.T, dir, name string, leave int64) {
	t.Helper()
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	n := int64(disk.Bavail)*disk.Bsize - leave
	if err := os.WriteFile(name, make([]byte, min(max(n, 0), math.MaxInt32)), 0o600); err != nil {
		t.Fatal(err)
	}
}
