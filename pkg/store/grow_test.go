package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// bulk puts about so many bytes, and progress n.
func bulk(b *store.Batch, n uint64, bytes int) {
	const piece = 60_000
	for i := 0; i*piece < bytes; i++ {
		b.PutLearning("bulk", i, make([]byte, piece))
	}
	b.PutProgress(store.Progress{Seq: n})
}

// noted returns the size of memory tables that STORE.json has for the next start.
func noted(t *testing.T, dir string) int64 {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "STORE.json"))
	must(t, err)
	var file struct {
		MemTable int64 `json:"mem_table_bytes"`
	}
	must(t, json.Unmarshal(raw, &file))
	return file.MemTable
}

// A default store takes a commit of 10 MiB, the next start has the size at once, and one
// that needs less is back at the default at the start after it.
func TestGrow(t *testing.T) {
	dir := t.TempDir()
	var told []string
	var mu sync.Mutex
	o := store.Options{Log: func(_, message string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(message, "memory tables") {
			told = append(told, message)
		}
	}}
	s := open(t, dir, o)
	small := s.CommitLimit()
	commit(t, s, func(b *store.Batch) { bulk(b, 1, 10<<20) })
	grown := s.CommitLimit()
	if grown <= 10<<20 || grown > 20<<20 {
		t.Errorf("a commit may have %d bytes, want room for 10 MiB and not twice as much", grown)
	}
	mu.Lock()
	if len(told) != 1 || !strings.Contains(told[0], "106 MiB instead of 6") { // 7 MB doubled four times
		t.Errorf("the log says %q", told)
	}
	mu.Unlock()
	if v := verify(t, s); !v.OK() {
		t.Error(v.Err())
	}
	must(t, s.Close())

	starts := []struct {
		want int64
		use  func(*store.Store)
	}{
		{grown, func(s *store.Store) { // only reads: that says nothing of what is needed
			if r, err := s.Resume(); err != nil || r.Progress.Seq != 1 || len(r.Learning) != 175 { // of 60,000 bytes in 10 MiB
				t.Errorf("resumed at %d with %d pieces, %v", r.Progress.Seq, len(r.Learning), err)
			}
		}},
		{grown, func(s *store.Store) { commit(t, s, func(b *store.Batch) { bulk(b, 2, 100_000) }) }},
		{small, func(*store.Store) {}},
	}
	for i, start := range starts {
		s := open(t, dir, o)
		if got := s.CommitLimit(); got != start.want {
			t.Errorf("at start %d a commit may have %d bytes, want %d", i+2, got, start.want)
		}
		start.use(s)
		must(t, s.Close())
	}
}

// What no memory table takes is refused with the numbers, and nothing has changed.
func TestTooBigForAnyMemoryTable(t *testing.T) {
	s := open(t, t.TempDir(), small())
	before := s.CommitLimit()
	b := s.NewBatch()
	bulk(b, 1, int(s.CommitMost()))
	err := s.Commit(b)
	if !errors.Is(err, store.ErrTooBig) {
		t.Fatalf("commit of %d bytes: %v, want ErrTooBig", b.Size(), err)
	}
	for _, want := range []string{fmt.Sprint(b.Size()), fmt.Sprint(s.CommitMost()), "commit more often or raise limits"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %s: %v", want, err)
		}
	}
	if s.CommitLimit() != before {
		t.Errorf("a commit may have %d bytes now, %d before", s.CommitLimit(), before)
	}
	commit(t, s, func(b *store.Batch) { b.PutProgress(store.Progress{Seq: 1}) })
}

// Everything that reads or writes goes on while memory tables grow under it, and sees
// whole commits.
func TestGrowBesideEverything(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{MemTableBytes: 1 << 20})
	source := newSource(32)
	var chain ledger.Chain
	commit(t, s, func(b *store.Batch) {
		for _, w := range source.series(fraud, epoch, 50) {
			b.PutPane(w)
		}
		b.PutBaseline(source.baseline("b-1", 20))
		for _, e := range journal(t, &chain, "fraud", 50) {
			b.Append(e)
			b.Owe(ledger.Delivery{Receiver: "oncall", Seq: e.Seq})
		}
		b.PutProgress(store.Progress{Seq: 1, Chain: chain})
	})
	quiet := func(_, _ uint64) {}
	users := map[string]func() error{
		"windows": func() error { _, err := s.Windows(store.Query{Model: "fraud", Size: time.Hour}); return err },
		"panes": func() error {
			for _, err := range s.Panes(store.Range{}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"resume": func() error {
			r, err := s.Resume()
			if err == nil && len(r.Learning) > 0 && len(r.Learning) != int(r.Progress.Seq) {
				err = fmt.Errorf("%d pieces at commit %d", len(r.Learning), r.Progress.Seq)
			}
			return err
		},
		"ledger":   func() error { _, err := s.LedgerVerify(nil); return err },
		"baseline": func() error { _, err := s.Baseline("b-1"); return err },
		"verify": func() error {
			v, err := s.Verify(t.Context(), quiet)
			return errors.Join(err, v.Err())
		},
		"backup": func() error {
			_, err := s.Backup(t.Context(), io.Discard, quiet)
			if errors.Is(err, store.ErrReopened) {
				err = nil
			}
			return err
		},
		"sweep": func() error {
			_, err := s.Sweep(t.Context(), store.Retention{Panes: time.Hour, Hours: time.Hour, Days: time.Hour, Ledger: time.Hour, Dead: time.Hour},
				map[string]time.Time{"fraud": epoch.Add(80 * time.Minute)}, epoch)
			return err
		},
		"settle": func() error {
			due, err := s.Due("oncall", epoch.Add(time.Hour), 1, false, nil)
			if err == nil && len(due) > 0 {
				err = s.Settle(due[0], store.Outcome{Result: store.Delivered})
			}
			return err
		},
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	for name, use := range users {
		wg.Go(func() {
			for n := 0; !done.Load() || n == 0; n++ {
				if err := use(); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	b, before := s.NewBatch(), s.CommitLimit()
	for pieces := 2; pieces <= 64; pieces *= 2 {
		b.Reset()
		for i := range pieces {
			b.PutLearning("bulk", i, make([]byte, 60_000))
		}
		b.PutProgress(store.Progress{Seq: uint64(pieces), Chain: chain})
		if err := s.Commit(b); err != nil {
			t.Errorf("commit of %d bytes: %v", b.Size(), err)
			break
		}
	}
	done.Store(true)
	wg.Wait()
	if grown := s.CommitLimit(); grown < 16*before { // 64 pieces are 3.8 MB, of which 32 MiB take 15 %
		t.Errorf("a commit may have %d bytes, at first %d", grown, before)
	}
	must(t, s.Close())
	if v := verify(t, open(t, dir, small())); !v.OK() {
		t.Error(v.Err())
	}
}

// A backup whose reader has stopped reading holds up no commit.
func TestGrowUnderAStalledBackup(t *testing.T) {
	s := open(t, t.TempDir(), small())
	commit(t, s, func(b *store.Batch) { bulk(b, 1, 500_000) }) // more than is buffered
	began, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		_, err := s.Backup(t.Context(), writer(func(p []byte) (int, error) {
			once.Do(func() { close(began); <-goOn })
			return len(p), nil
		}), func(_, _ uint64) {})
		ended <- err
	}()
	<-began
	commit(t, s, func(b *store.Batch) { bulk(b, 2, 1<<20) })
	close(goOn)
	if err := <-ended; !errors.Is(err, store.ErrReopened) {
		t.Errorf("the backup ended with %v, want ErrReopened", err)
	}
	var whole bytes.Buffer
	if _, err := s.Backup(t.Context(), &whole, func(_, _ uint64) {}); err != nil {
		t.Error(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// One who reads for too long makes the commit fail, and nothing worse: the next try, or
// the next start, takes it.
func TestGrowWaitsForReadersOnlySoLong(t *testing.T) {
	dir := t.TempDir()
	o := small()
	o.GrowTimeout = time.Millisecond
	s := open(t, dir, o)
	commit(t, s, func(b *store.Batch) {
		b.PutPane(&drift.Window{Group: fraud, Start: epoch, End: epoch.Add(time.Minute), State: drift.Closed})
	})
	b := s.NewBatch()
	bulk(b, 1, 1<<20)
	for _, err := range s.Panes(store.Range{}) {
		must(t, err)
		if err := s.Commit(b); !errors.Is(err, store.ErrTooBig) || !strings.Contains(err.Error(), "reads") {
			t.Errorf("commit below a reader: %v, want ErrTooBig and why", err)
		}
	}
	if got := noted(t, dir); got != 8<<20 {
		t.Errorf("the next start has memory tables of %d bytes, want 8 MiB", got)
	}
	must(t, s.Commit(b))
}

// Whatever is left at a point of growing opens with all that was committed, and takes the
// commit. The store that failed in the middle says so to everybody.
func TestCrashWhileGrowing(t *testing.T) {
	boom := errors.New("boom")
	for _, point := range []string{store.BeforeGrow, store.WhileGrowing, store.AfterGrow} {
		t.Run(point, func(t *testing.T) {
			dir, left := t.TempDir(), t.TempDir()
			o, fired := small(), 0
			o.Crash = func(at string) error {
				if at != point || fired > 0 {
					return nil
				}
				fired++
				return errors.Join(boom, os.CopyFS(left, os.DirFS(dir))) // all that a kill would leave
			}
			s, err := store.Open(dir, o)
			must(t, err)
			commit(t, s, func(b *store.Batch) { bulk(b, 7, 300_000) })
			b := s.NewBatch()
			bulk(b, 8, 2<<20)
			if err := s.Commit(b); !errors.Is(err, boom) {
				t.Errorf("commit: %v, want boom", err)
			}
			if fired != 1 {
				t.Errorf("%s was passed %d times", point, fired)
			}
			_, err = s.Resume()
			if failed := errors.Is(err, store.ErrFailed); failed == (point == store.BeforeGrow) {
				t.Errorf("reading after %s: %v", point, err)
			}
			must(t, s.Close())
			s = open(t, left, small())
			if v := verify(t, s); !v.OK() {
				t.Error(v.Err())
			}
			if r, err := s.Resume(); err != nil || r.Progress.Seq != 7 || len(r.Learning) != 5 {
				t.Errorf("resumed at %d with %d pieces, %v; want 7 and 5", r.Progress.Seq, len(r.Learning), err)
			}
			commit(t, s, func(b *store.Batch) { bulk(b, 8, 2<<20) })
		})
	}
}
