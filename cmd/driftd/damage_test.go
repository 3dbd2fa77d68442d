package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

// A spoiled store is refused, or what is left of it is what some commit made: then
// the stream is read from there and nothing is wrong in the end. It never gives
// another number, and nobody is shown a stack trace. reliability.md R6.
func TestDamagedStores(t *testing.T) {
	bases, gold := soundStores(t)
	driftd, err := exec.LookPath("driftd") // this test binary, by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(2026, 11))
	var mu sync.Mutex
	count := map[string]int{}
	t.Run("damage", func(t *testing.T) {
		for n := range damages {
			files := bases[n%len(bases)].clone()
			what := files.spoil(random)
			t.Run(fmt.Sprintf("%d %s", n, what), func(t *testing.T) {
				t.Parallel()
				dir := files.write(t)
				result := judge(t, driftd, dir, gold)
				mu.Lock()
				defer mu.Unlock()
				count[result]++
			})
		}
	})
	t.Logf("%d damages: %v", damages, count)
	if count["refused"] == 0 || count["sound"] == 0 {
		t.Errorf("the damages do not tell good from bad: %v", count)
	}
}

// judge lets a fresh process verify a store and returns what it said.
func judge(t *testing.T, driftd, dir string, gold map[uint64]string) string {
	t.Helper()
	start := time.Now()
	cmd := exec.Command(driftd, "store", "verify", "--store", dir, "-o", "json")
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if line := problem.String(); exit.ExitCode() != 3 || strings.Count(line, "\n") != 1 || strings.Contains(line, "goroutine ") {
			t.Errorf("exit %d with\n%.2000s", exit.ExitCode(), line)
		}
		var v verdict
		if err := json.Unmarshal(out.Bytes(), &v); err != nil || v.OK || len(v.Damaged) == 0 {
			t.Errorf("verdict %+v, %v", v, err)
		}
		return "refused"
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir, store.Options{Compactors: -1})
	if err != nil {
		t.Errorf("verified, but: %v", err)
		return "wrong"
	}
	defer s.Close()
	seq, digest := contents(t, s)
	if digest != gold[seq] {
		t.Errorf("verified, but the store of commit %d is not what that commit made:\n got %.300s\nwant %.300s", seq, digest, gold[seq])
		return "wrong"
	}
	return "sound"
}

// soundStores writes a store commit by commit. It returns its files as a kill and
// as a clean end leave them, and the contents after each commit.
func soundStores(t *testing.T) (bases []files, gold map[uint64]string) {
	t.Helper()
	const commits = 60 // of 40 KiB, in memory tables of 1 MiB: more than one log
	dir := t.TempDir()
	s, err := store.Open(dir, store.Options{MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	gold = map[uint64]string{0: ""}
	_, gold[0] = contents(t, s)
	random := rand.New(rand.NewPCG(7, 7))
	var chain ledger.Chain
	b := s.NewBatch()
	for n := uint64(1); n <= commits; n++ {
		b.Reset()
		for i := range 4 {
			b.PutOpen(countedWindow(random, i, drift.Open))
		}
		b.PutPane(countedWindow(random, 10+int(n), drift.Closed))
		e, err := chain.Append(ledger.Draft{Time: day, StreamSeq: n, Kind: ledger.KindAlert, Model: "fraud", Body: ledger.Alert{Reason: fmt.Sprint(n)}})
		if err != nil {
			t.Fatal(err)
		}
		b.Append(e)
		b.Owe(ledger.Delivery{Receiver: "oncall", Seq: e.Seq})
		chunk := make([]byte, 32<<10)
		for i := range chunk {
			chunk[i] = byte(random.Uint32())
		}
		b.PutLearning("churn", int(n), chunk)
		b.PutDedup(int(n%3), []uint64{n, random.Uint64()})
		b.PutProgress(store.Progress{Seq: n, Chain: chain})
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
		var seq uint64
		if seq, gold[n] = contents(t, s); seq != n {
			t.Fatalf("commit %d reads as %d", n, seq)
		}
	}
	killed := read(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return []files{killed, read(t, dir)}, gold
}

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func countedWindow(random *rand.Rand, i int, state drift.WindowState) *drift.Window {
	h := stats.NewNumeric(stats.BuildEdges([]float64{1, 2, 3, 4, 5, 6, 7, 8}, 8))
	for range 50 {
		h.Add(9 * random.Float64())
	}
	return &drift.Window{
		Group: drift.Group{Model: "fraud", Version: "1"}, Start: day.Add(time.Duration(i) * time.Minute), End: day.Add(time.Duration(i+1) * time.Minute),
		State: state, Events: 50, Signals: []drift.Signal{{Name: "amount", Type: drift.Numeric, Numeric: h}},
	}
}

// contents returns a store's position and all that it holds as text.
func contents(t *testing.T, s *store.Store) (seq uint64, text string) {
	t.Helper()
	r, err := s.Resume()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Progress, r.Dedup)
	for _, w := range r.Open {
		fmt.Fprintln(&b, "open", w.Start, w.Digest())
	}
	for w, err := range s.Panes(store.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, "pane", w.Start, w.Digest())
	}
	entries, err := s.Entries(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintln(&b, "entry", e.Seq, e.Hash)
	}
	owed, _, err := s.Owed("oncall")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, "owed", owed)
	for _, c := range r.Learning {
		fmt.Fprintf(&b, "chunk %d %x\n", c.N, c.Data[:8])
	}
	return r.Progress.Seq, b.String()
}

// A file is its content up to the last byte that is not zero, and its length:
// Badger's logs are long and sparse.
type file struct {
	used []byte
	size int64
}

// files are those of a store, by name.
type files map[string]file

func read(t *testing.T, dir string) files {
	t.Helper()
	out := files{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = file{bytes.Clone(bytes.TrimRight(content, "\x00")), int64(len(content))}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (f files) clone() files {
	out := files{}
	maps.Copy(out, f)
	return out
}

func (f files) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "badger"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, file := range f {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, file.used, 0o600), os.Truncate(path, file.size)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// spoil damages one file and says how.
func (f files) spoil(random *rand.Rand) string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	name := names[random.IntN(len(names))]
	old := f[name]
	used := append(bytes.Clone(old.used), 0) // one byte at least
	at := random.IntN(len(used))
	kind := []string{"truncated", "flipped", "zeroed", "emptied", "deleted"}[random.IntN(5)]
	switch kind {
	case "truncated":
		f[name] = file{used[:at], int64(at)}
	case "flipped":
		used[at] ^= 1 << random.IntN(8)
		f[name] = file{used, max(old.size, int64(len(used)))}
	case "zeroed":
		clear(used[at:min(len(used), at+4096)])
		f[name] = file{used, max(old.size, int64(len(used)))}
	case "emptied":
		f[name] = file{}
	case "deleted":
		delete(f, name)
	}
	return fmt.Sprintf("%s %s at %d", kind, filepath.Base(name), at)
}
