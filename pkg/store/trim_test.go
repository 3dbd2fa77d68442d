package store_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/store"
)

// resident returns how many bytes of files with the ending this process has mapped and
// holds in memory, by smaps.
func resident(t *testing.T, dir, ending string) (bytes int) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	must(t, err)
	file, err := os.Open("/proc/self/smaps")
	must(t, err)
	defer file.Close()
	counts := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if first, _, _ := strings.Cut(line, " "); !strings.HasSuffix(first, ":") { // the addresses of the next mapping
			counts = strings.Contains(line, dir) && strings.HasSuffix(line, ending)
		}
		if size, ok := strings.CutPrefix(line, "Rss:"); ok && counts {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(size, "kB")))
			must(t, err)
			bytes += kib << 10
		}
	}
	return bytes
}

// TestTrim: what verifying maps is resident until it is trimmed, beside compactions that
// remove tables and readers that read them, and everything is still there.
func TestTrim(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{MemTableBytes: 1 << 20, Compactors: 2})
	source := newSource(32)
	fill := func(from int) {
		for i := range 12 {
			commit(t, s, func(b *store.Batch) {
				for _, w := range source.series(fraud, epoch.Add(time.Duration(from+i)*20*time.Minute), 20) {
					b.PutPane(w)
				}
			})
		}
	}
	fill(0)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := s.Trim(); err != nil {
				ended <- err
				return
			}
		}
	}()
	for i := 1; i < 8; i++ {
		fill(12 * i)
		if v := verify(t, s); !v.OK() {
			t.Fatal(v.Err())
		}
	}
	close(stop)
	must(t, <-ended)
	if v := verify(t, s); !v.OK() {
		t.Fatal(v.Err())
	}
	before := resident(t, dir, ".sst")
	if before < 256<<10 {
		t.Errorf("%d bytes of tables are resident after a verification", before)
	}
	after := before
	for until := time.Now().Add(20 * time.Second); after > before/4; { // compactions go on, and what they write is theirs
		must(t, s.Trim())
		if after = resident(t, dir, ".sst"); time.Now().After(until) {
			t.Fatalf("%d bytes of tables were resident, %d are after Trim", before, after)
		}
	}
	if v := verify(t, s); !v.OK() {
		t.Error(v.Err())
	}
}
