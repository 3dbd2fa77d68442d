package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// A closed pane takes the place of the open one, however many values that had.
func TestClosingForgetsTheOpenPane(t *testing.T) {
	options := small()
	options.MemTableBytes = 32 << 20
	src := newSource(3)
	long, short := src.window(fraud, epoch, time.Minute, 1500), src.window(fraud, epoch, time.Minute, 2)
	for _, reopen := range []bool{false, true} {
		t.Run(fmt.Sprintf("reopened %v", reopen), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, options)
			again := func() {
				if reopen {
					must(t, s.Close())
					s = open(t, dir, options)
				}
			}
			commit(t, s, func(b *store.Batch) { b.PutOpen(long) })
			again()
			commit(t, s, func(b *store.Batch) { b.PutOpen(short) })
			again()
			r, err := s.Resume()
			must(t, err)
			if len(r.Open) != 1 || dump(r.Open[0]) != dump(short) {
				t.Fatalf("%d open panes, want the short one", len(r.Open))
			}
			commit(t, s, func(b *store.Batch) { b.PutOpen(long); b.PutPane(short) })
			must(t, s.Close())
			n := 0
			raw(t, dir, func(txn *badger.Txn) error {
				it := txn.NewIterator(badger.DefaultIteratorOptions)
				defer it.Close()
				for it.Seek([]byte("o/")); it.ValidForPrefix([]byte("o/")); it.Next() {
					n++
				}
				return nil
			})
			if n != 0 {
				t.Errorf("%d keys of the open pane are left", n)
			}
		})
	}
}

func TestFaultsOfABatchStick(t *testing.T) {
	s := open(t, t.TempDir(), small())
	w := newSource(1).series(fraud, epoch, 1)[0]
	with := func(change func(*drift.Window)) *drift.Window {
		c := *w
		change(&c)
		return &c
	}
	tests := []struct {
		name string
		put  func(*store.Batch)
		want string
	}{
		{"open pane as closed", func(b *store.Batch) { b.PutPane(with(func(w *drift.Window) { w.State = drift.Open })) }, "it is open"},
		{"open hour", func(b *store.Batch) {
			b.PutHour(with(func(w *drift.Window) { w.State, w.End = drift.Open, epoch.Add(time.Hour) }))
		}, "it is open"},
		{"minute as hour", func(b *store.Batch) { b.PutHour(w) }, "not a full hour"},
		{"crooked hour", func(b *store.Batch) {
			b.PutHour(with(func(w *drift.Window) { w.Start, w.End = epoch.Add(time.Minute), epoch.Add(61*time.Minute) }))
		}, "not a full hour"},
		{"not JSON", func(b *store.Batch) { b.PutProgress(store.Progress{Counters: []byte("{")}) }, "m/progress"},
		{"alert that is not JSON", func(b *store.Batch) {
			b.PutAlert(alert.Series{Rule: "R"}, alert.State{Phase: alert.Firing, Peak: alert.Peak{Effect: math.NaN()}})
		}, "a/R"},
		{"long value", func(b *store.Batch) { b.PutLearning("fraud", 1, make([]byte, 1<<20)) }, "batch is too big"},
		{"long key", func(b *store.Batch) { b.PutModel(drift.ModelState{Model: strings.Repeat("m", 70_000)}) }, "exceeded 65000"}, // Badger's limit
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := s.NewBatch()
			b.PutDedup(1, []uint64{1})
			test.put(b)
			b.PutDedup(2, []uint64{1})
			if err := s.Commit(b); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("commit: %v, want %q", err, test.want)
			}
			r, err := s.Resume()
			must(t, err)
			if len(r.Dedup) != 0 {
				t.Error("part of the batch was committed")
			}
			b.Reset()
			if b.Len() != 0 || b.Size() != 0 || b.Err() != nil {
				t.Errorf("after Reset: %d keys, %d bytes, %v", b.Len(), b.Size(), b.Err())
			}
			must(t, s.Commit(b))
		})
	}
}

// A batch below the limit fits as things are, one over it makes the memory tables grow.
func TestCommitLimit(t *testing.T) {
	s := open(t, t.TempDir(), small())
	fill := func(limit int64) *store.Batch {
		b := s.NewBatch()
		for i := 0; b.Size()+10_000+60 < limit; i++ {
			b.PutLearning("fraud", i, make([]byte, 10_000))
		}
		b.PutLearning("rest", 0, make([]byte, max(0, limit-b.Size()-60)))
		return b
	}
	limit := s.CommitLimit()
	b := fill(limit - 1)
	if b.Size() < limit-100 {
		t.Fatalf("%d bytes do not test the limit of %d", b.Size(), limit)
	}
	must(t, s.Commit(b))
	if s.CommitLimit() != limit {
		t.Errorf("a commit of %d bytes made the limit of %d bytes %d", b.Size(), limit, s.CommitLimit())
	}
	b = fill(limit + 100)
	must(t, s.Commit(b))
	if got := s.CommitLimit(); got < 2*limit || got > 3*limit { // tables twice as large, less what each transaction needs
		t.Errorf("a commit of %d bytes made the limit of %d bytes %d", b.Size(), limit, got)
	}
	if r, err := s.Resume(); err != nil || len(r.Learning) != 63 { // 62 of 10,000 bytes and a rest in 628,821
		t.Errorf("%d chunks were committed, %v", len(r.Learning), err)
	}
}

func TestDedupAndLearning(t *testing.T) {
	s := open(t, t.TempDir(), small())
	commit(t, s, func(b *store.Batch) {
		b.PutDedup(1, []uint64{1, 2})
		b.PutDedup(2, []uint64{3})
		for i := range 3 {
			b.PutLearning("fraud", i, []byte{byte(i)})
			b.PutLearning("fraud2", i, []byte{byte(i)})
		}
	})
	commit(t, s, func(b *store.Batch) {
		b.PutDedup(1, nil)
		b.PutDedup(2, []uint64{4})
		b.PutLearning("fraud", 9, []byte("gone as well"))
		b.DeleteLearning("fraud")
		b.PutLearning("fraud", 1, []byte("new"))
	})
	r, err := s.Resume()
	must(t, err)
	if got, want := fmt.Sprint(r.Dedup), "[{2 [4]}]"; got != want {
		t.Errorf("dedup %s, want %s", got, want)
	}
	if got, want := fmt.Sprintf("%v", r.Learning), "[{fraud 1 [110 101 119]} {fraud2 0 [0]} {fraud2 1 [1]} {fraud2 2 [2]}]"; got != want { // "new"
		t.Errorf("learning %s, want %s", got, want)
	}
}

// Blocks longer than a value come back whole, also after one became shorter.
func TestDetection(t *testing.T) {
	s := open(t, t.TempDir(), small())
	long := bytes.Repeat([]byte("0123456789"), 20_000)
	commit(t, s, func(b *store.Batch) {
		b.PutDetection("fraud", long)
		b.PutFit("fraud", []byte("season"))
		b.PutDetection("fraud2", []byte("other"))
		b.PutRows("fraud", 0, long)
		b.PutRows("fraud", 1, []byte("one"))
		b.PutRows("fraud2", 0, []byte("other"))
	})
	commit(t, s, func(b *store.Batch) {
		b.PutDetection("fraud", []byte("short"))
		b.PutRows("fraud", 0, long[:70_000])
	})
	check := func(model, state, fit string, want map[int][]byte) {
		t.Helper()
		r, err := s.Resume()
		must(t, err)
		if got := r.Detection[model]; string(got.State) != state || string(got.Fit) != fit {
			t.Errorf("detection of %s: %.20q and %q, want %q and %q", model, got.State, got.Fit, state, fit)
		}
		got, err := s.Rows(model)
		must(t, err)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("rows of %s: %d blocks, want %d", model, len(got), len(want))
		}
	}
	check("fraud", "short", "season", map[int][]byte{0: long[:70_000], 1: []byte("one")})
	commit(t, s, func(b *store.Batch) { b.DeleteDetection("fraud"); b.PutRows("fraud", 2, []byte("new")) })
	check("fraud", "", "", map[int][]byte{2: []byte("new")})
	check("fraud2", "other", "", map[int][]byte{0: []byte("other")})
}

func TestAlerts(t *testing.T) {
	s := open(t, t.TempDir(), small())
	a := alert.Series{Rule: "A", Key: drift.Key{Group: fraud, Signal: "amount"}}
	b := alert.Series{Rule: "B", Key: drift.Key{Group: drift.Group{Model: "fraud"}}}
	firing := alert.State{Phase: alert.Firing, FiredAt: epoch, DedupKey: "k"}
	commit(t, s, func(batch *store.Batch) { batch.PutAlert(b, firing); batch.PutAlert(a, firing) })
	check := func(want ...store.Alert) {
		t.Helper()
		got, err := s.Alerts()
		must(t, err)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("alerts %v, want %v", got, want)
		}
	}
	check(store.Alert{Series: a, State: firing}, store.Alert{Series: b, State: firing})
	commit(t, s, func(batch *store.Batch) { batch.PutAlert(a, alert.State{}) }) // zero needs no storage
	check(store.Alert{Series: b, State: firing})
	commit(t, s, func(batch *store.Batch) { batch.DeleteAlert(b) })
	check()
}

var errCrash = errors.New("crash")

// Before the commit point nothing is there, behind it everything is; a batch
// committed again after the first changes nothing but what it says.
func TestCrashPoints(t *testing.T) {
	for point, want := range map[string]uint64{store.BeforeCommit: 1, store.AfterCommit: 2} {
		t.Run(point, func(t *testing.T) {
			dir, armed := t.TempDir(), false
			options := small()
			options.Crash = func(at string) error {
				if armed && at == point {
					return errCrash
				}
				return nil
			}
			s := open(t, dir, options)
			put := func(seq uint64) error {
				b := s.NewBatch()
				b.PutProgress(store.Progress{Seq: seq})
				b.PutDedup(0, []uint64{seq})
				return s.Commit(b)
			}
			must(t, put(1))
			armed = true
			if err := put(2); !errors.Is(err, errCrash) {
				t.Errorf("commit: %v, want the crash", err)
			}
			must(t, s.Close())
			r, err := open(t, dir, small()).Resume()
			must(t, err)
			if r.Progress.Seq != want || r.Dedup[0].IDs[0] != want {
				t.Errorf("resumed from %d with ids %v, want %d", r.Progress.Seq, r.Dedup, want)
			}
		})
	}
}

// After a commit that failed half way nobody knows what the disk holds.
func TestFailedCommitIsFinal(t *testing.T) {
	s, err := store.Open(t.TempDir(), small())
	must(t, err)
	must(t, s.Break())
	b := s.NewBatch()
	b.PutProgress(store.Progress{Seq: 1})
	if err := s.Commit(b); err == nil || errors.Is(err, store.ErrFailed) {
		t.Errorf("first commit: %v, want Badger's own error", err)
	}
	if err := s.Commit(b); !errors.Is(err, store.ErrFailed) {
		t.Errorf("second commit: %v, want ErrFailed", err)
	}
	must(t, s.Close())
}

func TestDiskGuard(t *testing.T) {
	free := int64(100 << 20)
	options := small()
	options.ReserveBytes = 50 << 20
	options.Free = func(string) (int64, error) { return free, nil }
	dir := t.TempDir()
	s := open(t, dir, options)
	put := func() error {
		b := s.NewBatch()
		b.PutProgress(store.Progress{Seq: 1})
		return s.Commit(b)
	}
	free = 49 << 20
	if err := put(); !errors.Is(err, store.ErrNoSpace) || !strings.Contains(err.Error(), "49 MiB") {
		t.Errorf("commit: %v, want ErrNoSpace", err)
	}
	free = 50 << 20
	must(t, put())
	must(t, s.Close())
	free = 0
	if _, err := store.Open(dir, options); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("open: %v, want ErrNoSpace", err)
	}
	options.Free = nil
	options.ReserveBytes = math.MaxInt64 // the disk has less, asked for real
	if _, err := store.Open(dir, options); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("open: %v, want ErrNoSpace", err)
	}
}

// Every kind of damage is an error that names the key, never a value or a gap.
func TestDamage(t *testing.T) {
	src := newSource(4)
	pane, base := src.series(fraud, epoch, 1)[0], src.baseline("b-1", 6)
	const paneKey, edges = "p/fraud", "e/"
	first := func(txn *badger.Txn, prefix string) (key, value []byte) {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		it.Seek([]byte(prefix))
		value, err := it.Item().ValueCopy(nil)
		must(t, err)
		return it.Item().KeyCopy(nil), value
	}
	payload := func(prefix string, change func([]byte) []byte) func(*badger.Txn) error {
		return func(txn *badger.Txn) error {
			key, value := first(txn, prefix)
			return txn.Set(key, seal(key, change(value[5:])))
		}
	}
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	grow := func(b []byte) []byte { return append(b, 0) }
	tests := []struct {
		name  string
		spoil func(*badger.Txn) error
		names string
	}{
		{"flipped bit", func(txn *badger.Txn) error {
			key, value := first(txn, paneKey)
			value[9] ^= 1
			return txn.Set(key, value)
		}, "p/fraud"},
		{"unknown envelope", func(txn *badger.Txn) error {
			key, value := first(txn, paneKey)
			value[0] = 9
			return txn.Set(key, value)
		}, "p/fraud"},
		{"value under another key", func(txn *badger.Txn) error {
			key, value := first(txn, paneKey)
			key[len(key)-4] ^= 1
			return txn.Set(key, value)
		}, "p/fraud"},
		{"empty value", func(txn *badger.Txn) error {
			key, _ := first(txn, paneKey)
			return txn.Set(key, nil)
		}, "p/fraud"},
		{"pane cut", payload(paneKey, cut), "p/fraud"},
		{"pane grown", payload(paneKey, grow), "p/fraud"},
		{"pane of nothing", payload(paneKey, func([]byte) []byte { return nil }), "p/fraud"},
		{"pane without header", payload(paneKey, func([]byte) []byte { return []byte{1} }), "p/fraud"},
		{"pane in no known state", payload(paneKey, func([]byte) []byte { return []byte{1, 60, 9, 0, 0, 1, 1, 1, 1} }), "p/fraud"},
		{"signal of no known form", payload(paneKey, func([]byte) []byte { return []byte{1, 60, 1, 0, 0, 1, 1, 1, 1, 1, 'x', 9, 0} }), "form 9"},
		{"signal without id", payload(paneKey, func([]byte) []byte { return []byte{1, 60, 1, 0, 0, 1, 1, 1, 1, 1, 'x', 1, 0} }), "p/fraud"},
		{"learning signal of unknown flags", payload(paneKey, func([]byte) []byte { return []byte{1, 60, 1, 0, 0, 1, 1, 1, 1, 1, 'x', 3, 0, 1, 1, 1, 8} }), "flags"},
		{"learning signal cut", payload(paneKey, func([]byte) []byte { return []byte{1, 60, 1, 0, 0, 1, 1, 1, 1, 1, 'x', 3, 0, 1, 1, 1, 1} }), "p/fraud"},
		{"last chunk missing", payload(paneKey, func(b []byte) []byte { b[0] = 0; return b }), "chunk 1"},
		{"first chunk missing", func(txn *badger.Txn) error {
			key, value := first(txn, paneKey)
			must(t, txn.Delete(key))
			other := bytes.Clone(key)
			other[len(other)-1] = 1
			return txn.Set(other, seal(other, value[5:]))
		}, "chunk 0"},
		{"key cut", func(txn *badger.Txn) error {
			key, value := first(txn, paneKey)
			key = key[:len(key)-3]
			return txn.Set(key, seal(key, value[5:]))
		}, "p/fraud"},
		{"edges lost", func(txn *badger.Txn) error {
			for {
				key, _ := first(txn, edges)
				if !bytes.HasPrefix(key, []byte(edges)) {
					return nil
				}
				must(t, txn.Delete(key))
			}
		}, "e/"},
		{"edges cut", payload(edges, cut), "e/"},
		{"edges grown", payload(edges, grow), "e/"},
		{"other edges", payload(edges, func(b []byte) []byte { return append(b[:1], 0) }), "edges "},
		{"other dictionary", payload("c/", func(b []byte) []byte { return append(b[:1], 0, 0, 0, 0, 0) }), "dictionary "},
		{"baseline cut", payload("b/", cut), "b/"},
		{"baseline grown", payload("b/", grow), "b/"},
		{"baseline without head", payload("b/", func([]byte) []byte { return []byte{1, 200, 1} }), "b/"},
		{"baseline with a foreign head", payload("b/", func([]byte) []byte { return []byte{1, 1, '{'} }), "b/"},
		{"progress is not JSON", payload("m/progress", func([]byte) []byte { return []byte("{") }), "m/progress"},
		{"model is not JSON", payload("s/", func([]byte) []byte { return []byte("\x01{") }), "s/"},
		{"alert is not JSON", payload("a/", func([]byte) []byte { return []byte("\x01{") }), "a/"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small())
			commit(t, s, func(b *store.Batch) {
				b.PutPane(pane)
				b.PutBaseline(base)
				b.PutModel(drift.ModelState{Model: "fraud"})
				b.PutProgress(store.Progress{Seq: 1})
				b.PutAlert(alert.Series{Rule: "A"}, alert.State{Phase: alert.Firing})
			})
			must(t, s.Close())
			raw(t, dir, test.spoil)
			s = open(t, dir, small())
			_, err := s.Resume()
			if err == nil {
				_, err = s.Windows(store.Query{Model: "fraud", Size: time.Minute})
			}
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), test.names) {
				t.Errorf("read: %v, want ErrDamaged that names %s", err, test.names)
			}
		})
	}
}

// Readers see whole commits while the loop writes: every window and the
// progress of one snapshot agree.
func TestReadersSeeWholeCommits(t *testing.T) {
	s := open(t, t.TempDir(), small())
	const rounds, windows = 60, 8
	write := func(b *store.Batch, round int) {
		for i := range windows {
			b.PutOpen(&drift.Window{Group: fraud, Start: epoch.Add(time.Duration(i) * time.Minute), End: epoch.Add(time.Duration(i+1) * time.Minute), Events: uint64(round)})
		}
		b.PutProgress(store.Progress{Seq: uint64(round)})
	}
	commit(t, s, func(b *store.Batch) { write(b, 0) })
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				r, err := s.Resume()
				if err != nil || len(r.Open) != windows {
					t.Errorf("%d windows, %v", len(r.Open), err)
					return
				}
				for _, w := range r.Open {
					if w.Events != r.Progress.Seq {
						t.Errorf("window of round %d beside progress %d", w.Events, r.Progress.Seq)
						return
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	b := s.NewBatch()
	for round := range rounds {
		b.Reset()
		write(b, round)
		must(t, s.Commit(b))
	}
	close(done)
	readers.Wait()
}
