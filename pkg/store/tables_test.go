package store_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/store"
)

// Whose tables were checked elsewhere does not check them again. What is damaged since
// is noticed all the same when it is read, and nothing behind it is lost.
func TestTablesChecked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	random := rand.New(rand.NewPCG(24, 1))
	mark := make([]byte, 64)
	for i := range mark {
		mark[i] = byte(random.Uint32())
	}
	for _, model := range []string{"fraud", "churn", "risk"} {
		commit(t, s, func(b *store.Batch) {
			b.PutLearning(model, 0, append([]byte(model), mark...))
			b.PutProgress(store.Progress{Seq: 1})
		})
	}
	records := verify(t, s).Records
	must(t, s.Close())
	flip(t, dir, append([]byte("churn"), mark...))

	if _, err := store.Open(dir, small()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("opened: %v, want ErrDamaged", err)
	}
	checked := small()
	checked.TablesChecked = true
	s = open(t, dir, checked)
	// The table of the records is whole, so it is the one finding: the directory knows
	// the checksum that the damaged record still has.
	if v := verify(t, s); v.Records != records || len(v.Damaged) != 1 || !strings.Contains(v.Damaged[0].Problem, "has checksum") {
		t.Errorf("%d of %d records, damaged %+v", v.Records, records, v.Damaged)
	}
}

// flip changes a bit in the only table that holds the text.
func flip(t *testing.T, dir string, text []byte) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
	must(t, err)
	for _, name := range tables {
		raw, err := os.ReadFile(name)
		must(t, err)
		if i := bytes.Index(raw, text); i >= 0 {
			raw[i] ^= 1
			must(t, os.WriteFile(name, raw, 0o600))
			return
		}
	}
	t.Fatalf("none of %d tables holds it", len(tables))
}
