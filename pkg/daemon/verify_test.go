package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/sim"
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
	st = open(t, w.lossy(dir))
	o = w.options(st)
	o.Verify = true
	d, err := daemon.New(o)
	if err != nil {
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

// lossy copies a store and takes a closed pane from it behind its back.
func (w *world) lossy(dir string) string { return w.without(dir, "p/") }

// without copies a store and takes the first record of a prefix from it.
func (w *world) without(dir, prefix string) string {
	w.t.Helper()
	lossy := w.copyOf(dir)
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(lossy, "badger")).WithLogger(nil))
	if err != nil {
		w.t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		it.Seek([]byte(prefix))
		return txn.Delete(it.Item().KeyCopy(nil))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		w.t.Fatal(err)
	}
	return lossy
}

// TestHistoryIsVerifiedLater starts on a store that lost an hour of the week before
// last, of which no decision is made: it begins its work, and is stopped.
func TestHistoryIsVerifiedLater(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	st := open(t, dir)
	d, stop := w.start(w.options(st))
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	at := sim.Epoch.AddDate(0, 0, -10)
	b := st.NewBatch()
	b.PutHour(&drift.Window{Group: drift.Group{Model: "aged"}, Start: at, End: at.Add(time.Hour), State: drift.Closed, Events: 1})
	if err := errors.Join(st.Commit(b), st.Close()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		table string
		ready bool
	}{{"an old hour", "h/aged", true}, {"the last pane", "p/", false}} {
		t.Run(test.name, func(t *testing.T) {
			st := open(t, w.without(dir, test.table))
			var log bytes.Buffer
			o := w.options(st)
			o.Verify, o.Log = true, zerolog.New(zerolog.SyncWriter(&log))
			d, err := daemon.New(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := errors.Join(d.Run(ctx), st.Close()); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("run: %v, want ErrDamaged", err)
			}
			if ready := strings.Contains(log.String(), "what decisions are made of is verified"); ready != test.ready {
				t.Errorf("ready in between: %v, want %v", ready, test.ready)
			}
			if !slices.Contains(d.Snapshot().NotReady, "verify") {
				t.Error("ready in the end")
			}
		})
	}
}

// TestVerifyEvery reads a store again and again while it counts, and stops a daemon
// whose store lost a record.
func TestVerifyEvery(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	st := open(t, dir)
	o := w.options(st)
	o.VerifyEvery = 10 * time.Millisecond
	d, stop := w.start(o)
	var first time.Time
	w.until(func() bool { first = d.Snapshot().Verified; return !first.IsZero() }, "the store is verified")
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Verified.After(first) }, "the store is verified again")
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}

	st = open(t, w.lossy(dir))
	o = w.options(st)
	o.VerifyEvery = 10 * time.Millisecond
	d, err := daemon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := errors.Join(d.Run(ctx), st.Close()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("run on a store that lost a record: %v, want ErrDamaged", err)
	}
}
