package daemon

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
)

// forgetful is a receiver that must be told again of what fires.
type forgetful struct{ told [][]ledger.Delivery }

func (*forgetful) Send(context.Context, ledger.Delivery) error { return nil }

func (f *forgetful) Refresh(_ context.Context, firing []ledger.Delivery) error {
	f.told = append(f.told, firing)
	return nil
}

// TestRefreshRepeatsWhatFires: an Alertmanager resolves an alert that it does
// not hear of for four minutes (alerting.md 1.4), so each is repeated every
// minute, oldest first, to those who were told and to nobody else.
func TestRefreshRepeatsWhatFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &forgetful{}
		d := &Daemon{Options: Options{Store: threeEntries(t), Log: zerolog.Nop()}}
		d.settings.Store(&Settings{Receivers: []notify.Receiver{{Name: "am", Sink: sink}}})
		ended := incident.Member{Key: "d", Seq: 2, Receivers: []string{"am"}, EndsAt: time.Unix(1, 0)}
		d.open.Store(&[]*incident.Incident{
			{Members: []incident.Member{{Key: "a", Seq: 3, Receivers: []string{"nats", "am"}}, {Key: "b", Seq: 2, Receivers: []string{"nats"}}}},
			{Members: []incident.Member{{Key: "c", Seq: 1, Receivers: []string{"am"}}, ended}},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*refreshEvery+time.Second)
		defer cancel()
		if err := d.refresh(ctx); err != nil {
			t.Fatal(err)
		}
		if len(sink.told) != 2 {
			t.Fatalf("told %d times in two minutes, want 2", len(sink.told))
		}
		for _, firing := range sink.told {
			if len(firing) != 2 || firing[0].Seq != 1 || firing[1].Seq != 3 {
				t.Errorf("told of %v, want the entries 1 and 3", firing)
			}
		}
	})
}

// What fires for longer than the ledger is kept is repeated all the same.
func TestRefreshOfWhatTheLedgerHasNot(t *testing.T) {
	d := &Daemon{Options: Options{Store: threeEntries(t), Log: zerolog.Nop()}}
	if _, err := d.Store.Sweep(t.Context(), store.Retention{Ledger: time.Second}, map[string]time.Time{"fraud": time.Unix(100, 0)}, time.Unix(100, 0)); err != nil {
		t.Fatal(err)
	}
	old := incident.Member{Key: "a", Seq: 1, Model: "fraud", Labels: map[string]string{"alertname": "Busy"}, Receivers: []string{"am"}}
	d.open.Store(&[]*incident.Incident{{Members: []incident.Member{old}}})
	firing, err := d.firingFor("am")
	if err != nil || len(firing) != 1 || firing[0].Seq != 1 {
		t.Fatalf("%+v: %v", firing, err)
	}
	var a ledger.Alert
	if err := json.Unmarshal(firing[0].Entry.Body, &a); err != nil || a.Rule != "Busy" || a.Model != "fraud" || a.Status != "firing" {
		t.Errorf("%+v: %v", a, err)
	}
}

// threeEntries is a store whose ledger has three entries.
func threeEntries(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{MemTableBytes: 8 << 20, Compactors: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	var chain ledger.Chain
	b := st.NewBatch()
	for range 3 {
		e, err := chain.Append(ledger.Draft{Time: time.Unix(1, 0), Kind: ledger.KindAlert, Body: ledger.Alert{Type: "alert"}})
		if err != nil {
			t.Fatal(err)
		}
		b.Append(e)
	}
	b.PutProgress(store.Progress{Stream: "ML", Chain: chain})
	if err := st.Commit(b); err != nil {
		t.Fatal(err)
	}
	return st
}
