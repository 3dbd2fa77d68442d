package store_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// Whatever bytes are under a key, reading them gives a value or ErrDamaged, and
// what can be read as a window is written back to a window that reads the same.
func FuzzDecode(f *testing.F) {
	s := open(f, f.TempDir(), small())
	src := newSource(21)
	panes := []*drift.Window{src.window(fraud, epoch, time.Minute, 6), src.window(drift.Group{Model: "a\x00b"}, epoch, time.Hour, 0)}
	base := src.baseline("b-1", 3)
	commit(f, s, func(b *store.Batch) {
		b.PutPane(panes[0])
		b.PutBaseline(base)
	})
	seed := func(key, record []byte) { f.Add(key, record) }
	for _, w := range panes {
		seed(store.EncodeWindow(w))
		seed(store.PackWindow(w))
	}
	seed(store.EncodeBaseline(s.NewBatch(), base))
	var chain ledger.Chain
	seed(store.EncodeEntry(journal(f, &chain, "fraud", 1)[0]))
	f.Fuzz(func(t *testing.T, key, record []byte) {
		if len(key) < 2 {
			return // Badger holds no key without a table
		}
		w, err := s.DecodeWindow(key, record)
		if err == nil {
			for _, encode := range []func(*drift.Window) (key, record []byte){store.EncodeWindow, store.PackWindow} {
				again, second := encode(w)
				back, err := s.DecodeWindow(again, second)
				if err != nil || dump(back) != dump(w) || !bytes.Equal(again[2:], key[2:]) {
					t.Errorf("%q reads as\n%s\nwritten again as\n%s\n%v", key, dump(w), dump(back), err)
				}
			}
		}
		_, baseErr := s.DecodeBaseline(key, record)
		_, entryErr := store.DecodeEntry(key, record)
		for _, err := range []error{err, baseErr, entryErr} {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				t.Errorf("%q: %v, want ErrDamaged", key, err)
			}
		}
	})
}
