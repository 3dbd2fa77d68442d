package store_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

func verify(t *testing.T, s *store.Store) store.Verification {
	t.Helper()
	v, err := s.Verify(t.Context(), func(_, _ uint64) {})
	must(t, err)
	return v
}

func verifyNeeded(t *testing.T, s *store.Store, need store.Need) store.Verification {
	t.Helper()
	v, err := s.VerifyNeeded(t.Context(), need, func(_, _ uint64) {})
	must(t, err)
	return v
}

// always needs every window.
func always() store.Need {
	all := []store.Span{{From: epoch.AddDate(-100, 0, 0), To: epoch.AddDate(100, 0, 0)}}
	return store.Need{Panes: all, Hours: all, Days: all}
}

// Whatever writes keeps the directory: commits that put, replace, close and drop,
// settling, sweeping, and the same after a restart.
func TestDirectoryFollowsEveryWriter(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	var records uint64
	check := func(what string) {
		t.Helper()
		v := verify(t, s)
		if !v.OK() || v.Records == records {
			t.Errorf("after %s: %d records, before %d, damaged %+v", what, v.Records, records, v.Damaged)
		}
		if needed := verifyNeeded(t, s, always()); !needed.OK() || needed.Records != v.Records {
			t.Errorf("after %s: %d of %d records are needed, damaged %+v", what, needed.Records, v.Records, needed.Damaged)
		}
		records = v.Records
	}
	check("the first open")
	everything(t, s)
	check("commit, settle and sweep")
	src := newSource(3)
	w := src.window(fraud, epoch.Add(time.Hour), time.Minute, 40)
	commit(t, s, func(b *store.Batch) { b.PutOpen(w); b.PutOpen(w); b.PutLearning("fraud", 259, []byte("more")) })
	check("an open pane")
	must(t, s.Close())
	s = open(t, dir, small())
	commit(t, s, func(b *store.Batch) { b.PutPane(w); b.DeleteLearning("fraud"); b.PutDedup(3, nil) })
	check("closing and dropping")
	commit(t, s, func(b *store.Batch) {
		b.PutPane(w)
		b.PutPane(src.window(fraud, epoch.Add(2*time.Hour), time.Minute, 3))
	})
	check("a closed pane again") // the daemon does not, but nothing may go wrong
	_, err := s.Sweep(t.Context(), store.Retention{Panes: time.Minute}, map[string]time.Time{"fraud": epoch.Add(24 * time.Hour)}, epoch)
	must(t, err)
	check("sweeping")
}

// What nobody could see without the directory: the store opens, every value fits
// its checksum, and something is missing or old.
func TestVerifyFindsWhatIsMissing(t *testing.T) {
	var old []byte // m/progress of the first commit
	tests := []struct {
		name  string
		spoil func(*badger.Txn) error
		want  string
	}{
		{"nothing", func(*badger.Txn) error { return nil }, ""},
		{"a closed pane vanished", func(txn *badger.Txn) error { return remove(txn, "p/") }, "closed panes has 1 records, the directory of commit 5 counts 2"},
		{"a silence vanished", func(txn *badger.Txn) error { return remove(txn, "z/") }, "silences has 0 records"},
		{"the ledger vanished", func(txn *badger.Txn) error { return remove(txn, "l/") }, "ledger has 0 records"},
		{"an older record is back", func(txn *badger.Txn) error { return txn.Set([]byte("m/progress"), old) }, "identity and position is not the one"},
		{"a record too many", func(txn *badger.Txn) error {
			key := []byte("u/\x00\x00\x00\x09")
			return txn.Set(key, seal(key, []byte("12345678")))
		}, "ids seen has 2 records"},
		{"a record of no table", func(txn *badger.Txn) error { return txn.Set([]byte("?/1"), seal([]byte("?/1"), nil)) }, "no table"},
		{"a flipped bit", func(txn *badger.Txn) error {
			key := []byte("r/fraud\x00\x01\x00\x00\x00\x00\x00\x00\x01\x02")
			return txn.Set(key, append(seal(key, []byte("rows"))[:8], 'x'))
		}, "checksum"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small())
			everything(t, s)
			must(t, s.Close())
			raw(t, dir, func(txn *badger.Txn) error {
				old = seal([]byte("m/progress"), []byte(`{"seq":1}`))
				return test.spoil(txn)
			})
			v := verify(t, open(t, dir, small()))
			err := v.Err()
			if test.want == "" {
				must(t, err)
				return
			}
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("verified as %v, want %q in one line", err, test.want)
			}
		})
	}
}

func remove(txn *badger.Txn, prefix string) error {
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	it.Seek([]byte(prefix))
	return txn.Delete(it.Item().KeyCopy(nil))
}

func TestVerifyCanBeStopped(t *testing.T) {
	s := open(t, t.TempDir(), small())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ctx, func(_, _ uint64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("verify: %v, want canceled", err)
	}
}

// plain writes every closed pane as schemas before 4 did.
func plain(t *testing.T, txn *badger.Txn, w *drift.Window) {
	t.Helper()
	_, record := store.EncodeWindow(w)
	var keys [][]byte
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte("p/")})
	for it.Rewind(); it.Valid(); it.Next() {
		keys = append(keys, it.Item().KeyCopy(nil))
	}
	it.Close()
	for _, key := range keys {
		must(t, txn.Set(key, seal(key, append([]byte{1}, record...)))) // 1: the only chunk
	}
}

// shorten cuts the directory to the first tables, as schemas without shelves have it,
// and takes the day away that they did not have.
func shorten(txn *badger.Txn, tables int) error {
	return errors.Join(remove(txn, "y/"), redirect(txn, func(directory []byte) []byte { return directory[:8+16*tables] }))
}

// redirect replaces the directory.
func redirect(txn *badger.Txn, change func([]byte) []byte) error {
	key := []byte("m/directory")
	item, err := txn.Get(key)
	if err != nil {
		return err
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return err
	}
	return txn.Set(key, seal(key, change(value[5:])))
}

// A store of schema 1 has no directory: it gets one that describes what is there.
// That of schema 2 knows no detection. Their windows, and those of schema 3, are not
// packed. That of schema 4 knows no shelves, that of schema 5 no incidents. All are migrated once; a store of today's schema without a directory is damaged.
func TestMigration(t *testing.T) {
	tests := []struct {
		schema int
		lost   int                                    // records, beside those of incidents and silences
		undo   func(*badger.Txn, *drift.Window) error // what later schemas brought
	}{
		{1, 1, func(txn *badger.Txn, w *drift.Window) error {
			plain(t, txn, w)
			must(t, remove(txn, "y/"))
			return txn.Delete([]byte("m/directory"))
		}},
		{2, 1, func(txn *badger.Txn, _ *drift.Window) error { return shorten(txn, 14) }},
		{3, 1, func(txn *badger.Txn, _ *drift.Window) error { return shorten(txn, 16) }},
		{4, 1, func(txn *badger.Txn, _ *drift.Window) error { return shorten(txn, 16) }},
		{5, 0, func(txn *badger.Txn, _ *drift.Window) error {
			return redirect(txn, func(d []byte) []byte { return slices.Concat(d[:8+16*17], d[8+16*20:]) })
		}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("from %d", test.schema), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small())
			w := everything(t, s)
			commit(t, s, func(b *store.Batch) { b.DeleteDetection("fraud") })
			want := verify(t, s)
			want.Records -= uint64(test.lost + 3)
			older := s.Identity()
			older.Schema = test.schema
			body, err := json.Marshal(older)
			must(t, err)
			must(t, s.SetIdentity(body))
			must(t, s.Close())
			raw(t, dir, func(txn *badger.Txn) error {
				return errors.Join(remove(txn, "i/"), remove(txn, "t/"), remove(txn, "z/"), test.undo(txn, w))
			})
			must(t, os.WriteFile(filepath.Join(dir, "STORE.json"), body, 0o600))
			s = open(t, dir, small())
			if got := verifyNeeded(t, s, always()); !got.OK() {
				t.Errorf("the shelves of the migrated store: %+v", got.Damaged)
			}
			if got := verify(t, s); !got.OK() || got.Records != want.Records || s.Identity().Schema != store.Schema {
				t.Errorf("migrated to schema %d with %d records, want %d with %d; damaged %+v", s.Identity().Schema, got.Records, store.Schema, want.Records, got.Damaged)
			}
			for w, err := range s.Panes(store.Range{}) {
				must(t, err)
				if len(w.Signals) != 3 || w.Events != 301 || w.State != drift.Closed {
					t.Errorf("a pane came back as %+v", w)
				}
			}
			commit(t, s, func(b *store.Batch) { b.PutDetection("fraud", []byte("new")) })
			must(t, s.Close())
			sidecar(t, dir, func(id *store.Identity) {
				if id.Schema != store.Schema {
					t.Errorf("STORE.json says schema %d", id.Schema)
				}
			})
			s = open(t, dir, small())
			if got := verify(t, s); !got.OK() || got.Records != want.Records+1 {
				t.Errorf("%d records after one more, want %d; damaged %+v", got.Records, want.Records+1, got.Damaged)
			}
			must(t, s.Close())
			raw(t, dir, func(txn *badger.Txn) error { return txn.Delete([]byte("m/directory")) })
			if _, err := store.Open(dir, small()); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "directory is missing") {
				t.Errorf("open without a directory: %v, want ErrDamaged", err)
			}
		})
	}
}

// A migration must not make truth of what an older directory contradicts.
func TestMigrationOfALossyStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	everything(t, s)
	older := s.Identity()
	older.Schema = 4
	body, err := json.Marshal(older)
	must(t, err)
	must(t, s.SetIdentity(body))
	must(t, s.Close())
	must(t, os.WriteFile(filepath.Join(dir, "STORE.json"), body, 0o600))
	raw(t, dir, func(txn *badger.Txn) error {
		return errors.Join(remove(txn, "i/"), remove(txn, "t/"), shorten(txn, 16), remove(txn, "h/"))
	})
	for range 2 {
		if _, err := store.Open(dir, small()); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "the table of hours") {
			t.Errorf("migrated a store that lost an hour: %v, want ErrDamaged", err)
		}
	}
}

// history commits panes of ten days and hours of two hundred, of three groups.
func history(t *testing.T, dir string) (now time.Time) {
	s := open(t, dir, small())
	everything(t, s)
	now = epoch.AddDate(0, 0, 200)
	for _, version := range []string{"", "1", "2"} {
		g := drift.Group{Model: "fraud", Version: version}
		commit(t, s, func(b *store.Batch) {
			for at := now.AddDate(0, 0, -10); at.Before(now); at = at.Add(30 * time.Minute) {
				b.PutPane(&drift.Window{Group: g, Start: at, End: at.Add(30 * time.Minute), State: drift.Closed, Events: 1})
			}
		})
		commit(t, s, func(b *store.Batch) {
			for at := epoch; at.Before(now); at = at.Add(6 * time.Hour) {
				b.PutHour(&drift.Window{Group: g, Start: at, End: at.Add(time.Hour), State: drift.Closed, Events: 1})
			}
		})
	}
	must(t, s.Close())
	return now
}

// Of closed windows only what is needed is read, and nothing of that can be missing.
func TestVerifyNeeded(t *testing.T) {
	hourAt := func(at time.Time) []byte {
		key := append([]byte("h/fraud\x00\x011\x00\x01\x00\x00\x01"), make([]byte, 10)...)
		binary.BigEndian.PutUint64(key[len(key)-10:], uint64(at.UnixNano())^1<<63)
		return key
	}
	tests := []struct {
		name  string
		spoil func(txn *badger.Txn, now time.Time) error
		want  string // what VerifyNeeded finds
		later bool   // Verify finds something
	}{
		{"nothing", func(*badger.Txn, time.Time) error { return nil }, "", false},
		{"an hour of today vanished", func(txn *badger.Txn, now time.Time) error { return txn.Delete(hourAt(now.Add(-6 * time.Hour))) }, "the table of hours has", true},
		{"an hour of today is another", func(txn *badger.Txn, now time.Time) error {
			key := hourAt(now.Add(-6 * time.Hour))
			return txn.Set(key, seal(key, []byte("other")))
		}, "a record of the table of hours is not the one", true},
		{"an hour of last month vanished", func(txn *badger.Txn, now time.Time) error { return txn.Delete(hourAt(now.AddDate(0, 0, -30))) }, "", true},
		{"an old pane vanished", func(txn *badger.Txn, _ time.Time) error { return remove(txn, "p/fraud\x00\x011") }, "", true},
		{"the baseline vanished", func(txn *badger.Txn, _ time.Time) error { return remove(txn, "b/") }, "the table of baselines has 0", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			now := history(t, dir)
			raw(t, dir, func(txn *badger.Txn) error { return test.spoil(txn, now) })
			s := open(t, dir, small())
			need := store.Need{
				Panes: []store.Span{{From: now.Add(-2 * time.Hour), To: now}},
				Hours: []store.Span{{From: now.Add(-24 * time.Hour), To: now}},
			}
			var total uint64
			v, err := s.VerifyNeeded(t.Context(), need, func(_, n uint64) { total = n })
			must(t, err)
			switch err := v.Err(); {
			case test.want == "":
				must(t, err)
				// Of panes 3 in 64 hours of 240, of hours 2 in 64 days of 200: a twentieth.
				if all := verify(t, s).Records; v.Records != total || v.Records > all/10 {
					t.Errorf("%d records read of %d, %d were announced", v.Records, all, total)
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("verified as %v, want %q", err, test.want)
			}
			if found := !verify(t, s).OK(); found != test.later {
				t.Errorf("the whole store is damaged: %v, want %v", found, test.later)
			}
		})
	}
}
