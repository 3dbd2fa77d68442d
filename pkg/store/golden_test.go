package store_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

var update = flag.Bool("update", false, "rewrite testdata/keys.golden")

// everything puts at least one record into each table, and returns a closed window.
func everything(t *testing.T, s *store.Store) *drift.Window {
	edges := stats.BuildEdges([]float64{1, 2, 3}, 2)
	dict, _ := stats.BuildDictionary(map[string]uint64{"DE": 2, "FR": 1}, 10)
	number := stats.NewNumeric(edges)
	number.AddColumn([]float64{1, 2.5, -7})
	country := stats.NewCategorical(dict)
	country.AddN("DE", 300)
	country.Add("XK")
	g := drift.Group{Model: "fraud", Version: "a\x00b", Variant: event.Canary, Segment: "channel=app"}
	w := &drift.Window{
		Group: g, Start: epoch, End: epoch.Add(time.Minute), State: drift.Closed, Baseline: "b-0123", Events: 301, Failed: 1, FromSeq: 7, ToSeq: 9,
		Signals: []drift.Signal{
			{Name: "amount", Type: drift.Numeric, Numeric: number},
			{Name: "country", Type: drift.Categorical, Categorical: country, Mismatched: 2},
			{Name: "zip", Type: drift.Categorical, Categorical: &stats.Categorical{N: 5}},
		},
	}
	hour, old, early, running := *w, *w, *w, *w
	hour.End, hour.State = epoch.Add(time.Hour), drift.Incomplete
	old.Start, old.End = epoch.Add(-70*time.Hour), epoch.Add(-69*time.Hour) // becomes a day
	early.Start, early.End = time.Unix(-60, 0), time.Unix(0, 0)             // sorts before 1970
	running.Start, running.End = epoch.Add(time.Minute), epoch.Add(2*time.Minute)
	running.State, running.Learning = drift.Open, true
	var chain ledger.Chain
	entry, err := chain.Append(ledger.Draft{Time: epoch, StreamSeq: 9, Kind: ledger.KindConfig, Body: ledger.ConfigChange{Type: "config", Hash: "h", Actor: "ada"}})
	must(t, err)
	delivery := ledger.Delivery{Receiver: "oncall", Entry: entry, Seq: 1, Order: entry.ID, IssuedAt: epoch}
	other := delivery
	other.Receiver = "slack"
	grouped := delivery
	grouped.Receiver, grouped.Order, grouped.Grouped = "people", "01", true
	commit(t, s, func(b *store.Batch) {
		b.PutPane(w)
		b.PutPane(&early)
		b.PutHour(&hour)
		b.PutHour(&old)
		b.PutOpen(&running)
		b.PutModel(drift.ModelState{Model: "fraud"})
		b.PutBaseline(&drift.Baseline{ID: "b-0123", Model: "fraud", Parts: []drift.Part{{Signals: []drift.Reference{
			{Signal: w.Signals[0], Missing: 3, PSI: edges, Feature: true},
		}}}})
		b.PutAlert(alert.Series{Rule: "AmountDrift", Key: drift.Key{Group: g, Signal: "amount"}}, alert.State{Phase: alert.Firing})
		b.Append(entry)
		b.Owe(delivery)
		b.Owe(other)
		b.PutProgress(store.Progress{Stream: "ML", Seq: 9, Chain: chain})
		b.PutDedup(3, []uint64{1, 0xfedcba9876543210})
		b.PutLearning("fraud", 258, []byte("rows"))
		b.PutDetection("fraud", []byte("detectors"))
		b.PutFit("fraud", []byte("season"))
		b.PutNotes("fraud", "notes")
		b.PutRows("fraud", 7, []byte("scores"))
		b.PutIncident(&incident.Incident{ID: "01", Members: []incident.Member{{Key: "01", Seq: 1, Receivers: []string{"people"}}}})
		b.Owe(grouped)
		b.PutSilence(incident.Silence{ID: "01KDVDNA3V13G04SQZY2NCRS4Q", Kind: incident.KindSilence})
	})
	due, err := s.Due("people", epoch, 9, true, nil)
	must(t, err)
	must(t, s.Settle(due[0], store.Outcome{Result: store.Delivered, At: epoch}))
	must(t, s.Settle(other, store.Outcome{Result: store.Dead, At: epoch}))
	_, err = s.Sweep(t.Context(), store.Retention{Ledger: time.Hour, Hours: 24 * time.Hour}, map[string]time.Time{"": epoch.Add(48 * time.Hour), "fraud": epoch}, epoch)
	must(t, err) // both deliveries still need the entry: the anchor stays away
	return w
}

// The whole key map, byte by byte, as keys.go documents it. JSON values are
// left out: their types belong to other packages.
func TestKeyMapIsGolden(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	everything(t, s)
	must(t, s.Close())
	raw(t, dir, func(txn *badger.Txn) error {
		return txn.Set([]byte("m/anchor"), seal([]byte("m/anchor"), []byte(`{"seq":0}`)))
	})
	var got strings.Builder
	tables := map[string]bool{}
	raw(t, dir, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			value, err := it.Item().ValueCopy(nil)
			must(t, err)
			if string(seal(key, value[5:])) != string(value) {
				t.Errorf("key %q: the envelope is not the documented one", key)
			}
			tables[string(key[:2])] = true
			payload := value[5:]
			switch key[0] {
			case 'm', 's', 'a', 'd', 'x', 'i', 't', 'z': // JSON
				payload = nil
			case 'b': // JSON behind its length, then binary; in front of it the mark of the last chunk
				head, n := binary.Uvarint(payload[1:])
				payload = payload[1+n+int(head):]
			}
			fmt.Fprintf(&got, "%q\n\t%x\n", key, payload)
		}
		return nil
	})
	for _, table := range []string{"m/", "s/", "o/", "p/", "h/", "e/", "c/", "b/", "a/", "l/", "d/", "x/", "u/", "r/", "f/", "k/", "y/", "i/", "t/", "z/"} {
		if !tables[table] {
			t.Errorf("nothing is in table %s", table)
		}
	}
	if len(tables) != 20 {
		t.Errorf("%d tables, the key map names 20", len(tables))
	}
	golden := filepath.Join("testdata", "keys.golden")
	if *update {
		must(t, os.WriteFile(golden, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got.String() != string(want) {
		t.Errorf("the key map changed. If that is meant, it is a new Schema; then go test -update.\n got %s\nwant %s", got.String(), want)
	}
}

// What everything puts is what Resume and the views give back.
func TestResumeGivesEverythingBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	fresh, err := s.Resume()
	must(t, err)
	if !fresh.Fresh || fresh.Progress.Seq != 0 || len(fresh.Models) != 0 {
		t.Errorf("an empty store resumes from %+v", fresh)
	}
	everything(t, s)
	must(t, s.Close())
	r, err := open(t, dir, small()).Resume()
	must(t, err)
	raw, err := json.Marshal([]any{
		r.Fresh, r.Progress.Seq, r.Progress.Chain.Seq, len(r.Models), r.Models[0].Model, len(r.Open), r.Open[0].State, r.Open[0].Learning,
		len(r.Baselines), r.Baselines[0].ID, r.Alerts[0].Series.String(), r.Alerts[0].State.Phase, r.Dedup, r.Learning, len(r.Silences), r.Silences[0].ID,
	})
	must(t, err)
	want := `[false,9,1,1,"fraud",1,0,true,1,"b-0123","AmountDrift fraud/a\u0000b/canary{channel=app} amount","firing",` +
		`[{"Slot":3,"IDs":[1,18364758544493064720]}],[{"Model":"fraud","N":258,"Data":"cm93cw=="}],1,"01KDVDNA3V13G04SQZY2NCRS4Q"]`
	if string(raw) != want {
		t.Errorf("resumed from\n got %s\nwant %s", raw, want)
	}
}
