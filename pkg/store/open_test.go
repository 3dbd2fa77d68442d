package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

func TestNewStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var messages atomic.Int64
	options := store.Options{Log: func(level, message string) { messages.Add(1) }} // the production sizes
	s := open(t, dir, options)
	id := s.Identity()
	if len(id.UUID) != 36 || id.Schema != store.Schema || id.Created.IsZero() {
		t.Errorf("identity %+v", id)
	}
	if got, want := s.CommitLimit(), int64(1_050_000-64-3428); got != want { // 15 % of 7 MB; 3428 for the directory
		t.Errorf("a commit may have %d bytes, want %d", got, want)
	}
	for _, name := range []string{dir, filepath.Join(dir, "badger")} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, want 0700", name, info.Mode())
		}
	}
	size, err := s.SizeOnDisk()
	if s.Dir() != dir {
		t.Errorf("Dir is %s, want %s", s.Dir(), dir)
	}
	if err != nil || size <= 0 || size > 4<<20 { // the logs are 128 MiB long and sparse
		t.Errorf("an empty store occupies %d bytes, %v", size, err)
	}
	must(t, s.Close())
	must(t, s.Close())
	if messages.Load() == 0 {
		t.Error("Badger's messages did not reach Options.Log")
	}
	if again := open(t, dir, options).Identity(); again != id {
		t.Errorf("opened again it is %+v, was %+v", again, id)
	}
}

// The sidecar's Badger version is what go.mod pins.
func TestBadgerVersion(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	must(t, err)
	if want := "github.com/dgraph-io/badger/v4 " + open(t, t.TempDir(), small()).Identity().Badger; !strings.Contains(string(mod), want) {
		t.Errorf("go.mod does not pin %s", want)
	}
}

func TestLocked(t *testing.T) {
	t.Run("by driftd", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, small())
		_, err := store.Open(dir, small())
		if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("second open: %v, want ErrLocked and process %d", err, os.Getpid())
		}
		must(t, s.Close())
		open(t, dir, small())
	})
	t.Run("by another tool on Badger's files", func(t *testing.T) {
		dir := t.TempDir()
		must(t, open(t, dir, small()).Close())
		db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "badger")).WithLogger(nil))
		must(t, err)
		_, err = store.Open(dir, small())
		if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("open: %v, want ErrLocked and process %d", err, os.Getpid())
		}
		must(t, db.Close())
		open(t, dir, small())
	})
}

// A kill between create and first write leaves a file of zero bytes, on which
// Badger's Open fails (its issue 2207).
func TestEmptyFilesAreSwept(t *testing.T) {
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small())
			commit(t, s, func(b *store.Batch) { b.PutProgress(store.Progress{Seq: 7}) })
			must(t, s.Close())
			empty := filepath.Join(dir, "badger", name)
			must(t, os.WriteFile(empty, nil, 0o600))
			if name == "00099.mem" { // the log of this version does not mind; both did at some time
				if db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "badger")).WithLogger(nil)); err == nil {
					must(t, db.Close())
					t.Fatal("Badger opens with an empty file: the sweep is no longer needed")
				}
				must(t, os.Truncate(empty, 0)) // the failed open padded it
			}
			r, err := open(t, dir, small()).Resume()
			must(t, err)
			if r.Progress.Seq != 7 {
				t.Errorf("resumed from %d, want 7", r.Progress.Seq)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	const meta = "m/store"
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  error
	}{
		{"newer sidecar", func(t *testing.T, dir string) { sidecar(t, dir, func(id *store.Identity) { id.Schema++ }) }, store.ErrNewerSchema},
		{"newer inside", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "STORE.json")))
			raw(t, dir, func(txn *badger.Txn) error {
				return txn.Set([]byte(meta), seal([]byte(meta), fmt.Appendf(nil, `{"schema":%d}`, store.Schema+1)))
			})
		}, store.ErrNewerSchema},
		{"schema 0", func(t *testing.T, dir string) {
			raw(t, dir, func(txn *badger.Txn) error { return txn.Set([]byte(meta), seal([]byte(meta), []byte(`{}`))) })
		}, store.ErrDamaged},
		{"meta lost", func(t *testing.T, dir string) {
			raw(t, dir, func(txn *badger.Txn) error { return txn.Delete([]byte(meta)) })
		}, store.ErrDamaged},
		{"meta damaged", func(t *testing.T, dir string) {
			raw(t, dir, func(txn *badger.Txn) error { return txn.Set([]byte(meta), []byte("x")) })
		}, store.ErrDamaged},
		{"files exchanged", func(t *testing.T, dir string) { sidecar(t, dir, func(id *store.Identity) { id.UUID = "another" }) }, store.ErrDamaged},
		{"sidecar damaged", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "STORE.json"), []byte("{"), 0o600))
		}, store.ErrDamaged},
		{"Badger's files lost", func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, "badger"))) }, store.ErrDamaged},
		{"flipped bit in a table", func(t *testing.T, dir string) {
			table := tables(t, dir)[0]
			raw, err := os.ReadFile(table)
			must(t, err)
			raw[8] ^= 4
			must(t, os.WriteFile(table, raw, 0o600))
		}, store.ErrDamaged},
		{"table lost", func(t *testing.T, dir string) { must(t, os.Remove(tables(t, dir)[0])) }, store.ErrDamaged},
		{"foreign key in open panes", func(t *testing.T, dir string) {
			raw(t, dir, func(txn *badger.Txn) error { return txn.Set([]byte("o/"), []byte("x")) })
		}, store.ErrDamaged},
		{"foreign key in edges", func(t *testing.T, dir string) {
			raw(t, dir, func(txn *badger.Txn) error { return txn.Set([]byte("e/1"), []byte("x")) })
		}, store.ErrDamaged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, open(t, dir, small()).Close())
			test.spoil(t, dir)
			before, _ := os.ReadFile(filepath.Join(dir, "STORE.json"))
			if _, err := store.Open(dir, small()); !errors.Is(err, test.want) {
				t.Errorf("open: %v, want %v", err, test.want)
			}
			if after, _ := os.ReadFile(filepath.Join(dir, "STORE.json")); string(after) != string(before) {
				t.Error("STORE.json was changed")
			}
			if _, err := store.Open(dir, small()); !errors.Is(err, test.want) { // and the lock is free
				t.Errorf("second open: %v, want %v", err, test.want)
			}
		})
	}
}

func tables(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
	if err != nil || len(names) == 0 {
		t.Fatalf("tables %v, %v", names, err)
	}
	return names
}

func sidecar(t *testing.T, dir string, change func(*store.Identity)) {
	name := filepath.Join(dir, "STORE.json")
	raw, err := os.ReadFile(name)
	must(t, err)
	var id store.Identity
	must(t, json.Unmarshal(raw, &id))
	change(&id)
	raw, err = json.Marshal(id)
	must(t, err)
	must(t, os.WriteFile(name, raw, 0o600))
}

// Killed between the two writes of the first start, the sidecar is made again.
func TestLostSidecarIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	id := s.Identity()
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(dir, "STORE.json")))
	must(t, open(t, dir, small()).Close())
	sidecar(t, dir, func(got *store.Identity) {
		if *got != id {
			t.Errorf("sidecar %+v, want %+v", *got, id)
		}
	})
}

func TestOpenNeedsADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := store.Open(file, small()); err == nil {
		t.Error("a file was opened as a store")
	}
}

// After Close nothing runs, and nothing can be read or written.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := store.Open(t.TempDir(), store.Options{})
	must(t, err)
	commit(t, s, func(b *store.Batch) { b.PutProgress(store.Progress{Seq: 1}) })
	must(t, s.Close())
	// Badger's cache monitor is told to stop and not waited for.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
	if _, err := s.Resume(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("resume: %v, want ErrClosed", err)
	}
	if err := s.Commit(s.NewBatch()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit: %v, want ErrClosed", err)
	}
	if _, err := s.Sweep(t.Context(), store.Retention{Dead: time.Hour}, nil, epoch); !errors.Is(err, store.ErrClosed) {
		t.Errorf("sweep: %v, want ErrClosed", err)
	}
}

// Close waits for a reader, but not for ever; the files are left to it.
func TestCloseIsBounded(t *testing.T) {
	options := small()
	options.CloseTimeout = time.Millisecond
	s, err := store.Open(t.TempDir(), options)
	must(t, err)
	commit(t, s, func(b *store.Batch) {
		b.PutPane(&drift.Window{Group: fraud, Start: epoch, End: epoch.Add(time.Minute), State: drift.Closed})
	})
	for _, err := range s.Panes(store.Range{}) {
		must(t, err)
		if err := s.Close(); err == nil || !strings.Contains(err.Error(), "still busy") {
			t.Errorf("close below a reader: %v, want still busy", err)
		}
	}
}
