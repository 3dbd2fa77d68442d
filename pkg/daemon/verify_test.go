package daemon_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
)

// TestVerifyBeforeAnybodyIsTold starts on a store that owes alerts: a sound one is
// verified and pays, one from which a record vanished stops the daemon, and nobody
// has heard anything.
func TestVerifyBeforeAnybodyIsTold(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	st := open(t, dir)
	o := w.options(st)
	o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0"})
	o.Receivers = nil // what is owed stays owed
	d, stop := w.start(o)
	w.caughtUp(d)
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
	lossy := w.copyOf(dir)
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(lossy, "badger")).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		it.Seek([]byte("p/"))
		return txn.Delete(it.Item().KeyCopy(nil))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}

	st = open(t, lossy)
	o = w.options(st)
	o.Verify = true
	if d, err = daemon.New(o); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(d.Snapshot().NotReady, "verify") {
		t.Error("ready before the store is verified")
	}
	if err := errors.Join(d.Run(t.Context()), st.Close()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("run on a damaged store: %v, want ErrDamaged", err)
	}
	if n := w.heard.len(); n != 0 {
		t.Errorf("%d deliveries from a damaged store", n)
	}

	st = open(t, dir)
	o = w.options(st)
	o.Verify = true
	d, stop = w.start(o)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "the debts of the sound store are paid")
	if slices.Contains(d.Snapshot().NotReady, "verify") || w.heard.len() == 0 {
		t.Error("the sound store is not ready, or nobody was told")
	}
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
}
