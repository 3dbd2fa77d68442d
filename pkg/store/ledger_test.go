package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

func record(t testing.TB, s *store.Store, chain *ledger.Chain, model string, n int) []ledger.Entry {
	t.Helper()
	entries := journal(t, chain, model, n)
	commit(t, s, func(b *store.Batch) {
		for _, e := range entries {
			b.Append(e)
		}
		b.PutProgress(store.Progress{Chain: *chain})
	})
	return entries
}

func TestLedger(t *testing.T) {
	s := open(t, t.TempDir(), small())
	if head, err := s.Head(); err != nil || head != (ledger.Chain{}) {
		t.Errorf("head of an empty ledger %v, %v", head, err)
	}
	if tip, err := s.LedgerVerify(nil); err != nil || tip != (ledger.Chain{}) {
		t.Errorf("an empty ledger verifies to %v, %v", tip, err)
	}
	var chain ledger.Chain
	entries := record(t, s, &chain, "fraud", 300) // more than 255: the order is by number
	got, err := s.Entries(0, 0)
	must(t, err)
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	got, err = s.Entries(255, 3)
	must(t, err)
	if len(got) != 3 || got[0].Seq != 255 || got[2].Seq != 257 {
		t.Errorf("3 entries from 255: %d from %d", len(got), got[0].Seq)
	}
	e, err := s.Entry(300)
	if err != nil || e.Hash != chain.Hash {
		t.Errorf("entry 300 has %v, %v, want the tip", e.Hash, err)
	}
	if _, err := s.Entry(301); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("entry 301: %v, want ErrNotFound", err)
	}
	if head, err := s.Head(); err != nil || head != chain {
		t.Errorf("head %v, %v, want %v", head, err, chain)
	}
	calls, last := 0, uint64(0)
	tip, err := s.LedgerVerify(func(done, total uint64) {
		if calls++; total != 300 {
			t.Errorf("%d in total, want 300", total)
		}
		last = done
	})
	if err != nil || tip != chain || calls != 300 || last != 300 {
		t.Errorf("verified to %v, %v in %d calls up to %d", tip, err, calls, last)
	}
}

func TestLedgerVerifyFindsTheFault(t *testing.T) {
	key := func(seq byte) []byte { return []byte{'l', '/', 0, 0, 0, 0, 0, 0, 0, seq} }
	payload := func(txn *badger.Txn, seq byte) []byte {
		item, err := txn.Get(key(seq))
		must(t, err)
		value, err := item.ValueCopy(nil)
		must(t, err)
		return value[5:]
	}
	tests := []struct {
		name  string
		spoil func(*badger.Txn) error
		want  error
		names string
	}{
		{"body changed and sealed again", func(txn *badger.Txn) error {
			p := payload(txn, 4)
			p[len(p)-2] ^= 1
			return txn.Set(key(4), seal(key(4), p))
		}, ledger.ErrBroken, "entry 4"},
		{"entry lost", func(txn *badger.Txn) error { return txn.Delete(key(5)) }, ledger.ErrBroken, "entry 5"},
		{"last entry lost", func(txn *badger.Txn) error { return txn.Delete(key(9)) }, ledger.ErrBroken, "entry 8"},
		{"first entry lost", func(txn *badger.Txn) error { return txn.Delete(key(1)) }, ledger.ErrBroken, "entry 1"},
		{"entries exchanged", func(txn *badger.Txn) error {
			return txn.Set(key(3), seal(key(3), payload(txn, 2)))
		}, ledger.ErrBroken, "entry 3"},
		{"flipped bit", func(txn *badger.Txn) error { return txn.Set(key(6), payload(txn, 6)) }, store.ErrDamaged, `l/`},
		{"entry cut", func(txn *badger.Txn) error { return txn.Set(key(6), seal(key(6), payload(txn, 6)[:70])) }, store.ErrDamaged, `l/`},
		{"foreign key", func(txn *badger.Txn) error { return txn.Set([]byte("l/x"), seal([]byte("l/x"), nil)) }, store.ErrDamaged, `l/x`},
		{"progress is not JSON", func(txn *badger.Txn) error {
			return txn.Set([]byte("m/progress"), seal([]byte("m/progress"), []byte("{")))
		}, store.ErrDamaged, "m/progress"},
		{"anchor is not JSON", func(txn *badger.Txn) error {
			return txn.Set([]byte("m/anchor"), seal([]byte("m/anchor"), []byte("{")))
		}, store.ErrDamaged, "m/anchor"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small())
			var chain ledger.Chain
			record(t, s, &chain, "fraud", 9)
			must(t, s.Close())
			raw(t, dir, test.spoil)
			_, err := open(t, dir, small()).LedgerVerify(nil)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.names) {
				t.Errorf("verify: %v, want %v that names %s", err, test.want, test.names)
			}
		})
	}
}

func owe(t testing.TB, s *store.Store, entries []ledger.Entry, receiver string, order func(ledger.Entry) string) {
	t.Helper()
	commit(t, s, func(b *store.Batch) {
		for _, e := range entries {
			b.Owe(ledger.Delivery{Receiver: receiver, Entry: e, Seq: e.Seq, Order: order(e), IssuedAt: e.Time})
		}
	})
}

func seqs(deliveries []ledger.Delivery) string {
	var out strings.Builder
	for _, d := range deliveries {
		out.WriteString(fmt.Sprint(d.Seq, " "))
	}
	return out.String()
}

func TestDeliveries(t *testing.T) {
	s := open(t, t.TempDir(), small())
	var chain ledger.Chain
	entries := record(t, s, &chain, "fraud", 6)
	byParity := func(e ledger.Entry) string { return fmt.Sprint(e.Seq % 2) }
	owe(t, s, entries, "oncall", byParity)
	owe(t, s, entries[:2], "on\x00call", func(ledger.Entry) string { return "" })
	now := epoch.Add(time.Hour)
	due := func(receiver string, limit int) []ledger.Delivery {
		t.Helper()
		d, err := s.Due(receiver, now, limit, false, nil)
		must(t, err)
		return d
	}
	all := due("oncall", 64)
	if seqs(all) != "1 2 3 4 5 6 " || all[0].Key() != entries[0].ID || string(all[5].Entry.Body) != string(entries[5].Body) {
		t.Fatalf("due %s with %q first", seqs(all), all[0].Key())
	}
	if got := seqs(due("oncall", 2)); got != "1 2 " {
		t.Errorf("due with a limit of 2: %s", got)
	}
	if names, err := s.Receivers(); err != nil || fmt.Sprintf("%q", names) != `["on\x00call" "oncall"]` {
		t.Errorf("receivers %q, %v", names, err)
	}
	// 1 must wait, and holds back 3 and 5; 2 is done.
	all[0].Attempt, all[0].NextAt, all[0].LastError = 1, now.Add(time.Minute), "503"
	must(t, s.Settle(all[0], store.Outcome{Result: store.Retry, At: now}))
	must(t, s.Settle(all[1], store.Outcome{Result: store.Delivered, At: now}))
	if got := seqs(due("oncall", 64)); got != "4 6 " {
		t.Errorf("due behind a delivery that waits: %s, want 4 6", got)
	}
	now = now.Add(time.Minute)
	if d := due("oncall", 64); seqs(d) != "1 3 4 5 6 " || d[0].Attempt != 1 || d[0].LastError != "503" {
		t.Errorf("due a minute later: %+v", d)
	}
	n, oldest, err := s.Owed("oncall")
	if err != nil || n != 5 || !oldest.Equal(entries[0].Time) {
		t.Errorf("owed %d since %v, %v, want 5 since %v", n, oldest, err, entries[0].Time)
	}
	must(t, s.Settle(all[0], store.Outcome{Result: store.Dead, At: now}))
	dead, err := s.DeadLetters(0)
	must(t, err)
	if len(dead) != 1 || dead[0].Seq != 1 || !dead[0].DiedAt.Equal(now) || dead[0].LastError != "503" || dead[0].Key() != entries[0].ID {
		t.Errorf("dead letters %+v", dead)
	}
	must(t, s.Settle(all[0], store.Outcome{Result: store.Retry, At: now})) // no longer owed: nothing happens
	if got := seqs(due("oncall", 64)); got != "3 4 5 6 " {
		t.Errorf("due at last: %s", got)
	}
	if err := s.Settle(all[2], store.Outcome{}); err == nil {
		t.Error("a delivery was settled with no result")
	}
	// Without an Order each is alone.
	alone := due("on\x00call", 64)
	alone[0].NextAt = now.Add(time.Hour)
	must(t, s.Settle(alone[0], store.Outcome{Result: store.Retry}))
	if got := seqs(due("on\x00call", 64)); got != "2 " {
		t.Errorf("due without order: %s, want 2", got)
	}
	if n, oldest, err := s.Owed("nobody"); n != 0 || !oldest.IsZero() || err != nil {
		t.Errorf("nobody is owed %d since %v, %v", n, oldest, err)
	}
}

// TestReceipts follows one matter: told with a receipt, changed, and ended.
func TestReceipts(t *testing.T) {
	s := open(t, t.TempDir(), small())
	var chain ledger.Chain
	entries := record(t, s, &chain, "fraud", 5)
	order := func(e ledger.Entry) string { return []string{"a", "b"}[min(1, e.Seq/4)] } // 1 2 3, 4 5
	owe(t, s, entries[:1], "chat", order)
	due := func() []ledger.Delivery {
		t.Helper()
		d, err := s.Due("chat", epoch, 9, true, nil)
		must(t, err)
		return d
	}
	settle := func(d ledger.Delivery, r store.Result) {
		t.Helper()
		must(t, s.Settle(d, store.Outcome{Result: r, At: epoch}))
	}
	pending := func(want int) {
		t.Helper()
		if n, _, err := s.Owed("chat"); err != nil || n != want {
			t.Errorf("%d owed, want %d: %v", n, want, err)
		}
	}
	first := due()[0]
	first.Receipt = "m1"
	settle(first, store.Delivered)
	pending(0)
	owe(t, s, entries[1:2], "chat", order)
	owe(t, s, entries[3:4], "chat", order)
	if d := due(); seqs(d) != "2 4 " || d[0].Receipt != "m1" || len(d[0].Earlier) != 1 {
		t.Fatalf("behind a receipt: %+v", d)
	}
	second := due()[0]
	second.Attempt, second.Receipt = 1, "m2" // half done
	settle(second, store.Retry)
	owe(t, s, entries[2:3], "chat", order)
	owe(t, s, entries[4:], "chat", order)
	third := due()[0]
	if third.Seq != 3 || third.Receipt != "m2" || len(third.Earlier) != 2 || third.Unheard() {
		t.Fatalf("in the place of what failed: %+v", third)
	}
	third.Receipt = ""
	settle(third, store.Delivered)
	pending(2)
	// Nothing was told of the other; what dies takes it along.
	last := due()
	if len(last) != 1 || last[0].Seq != 5 || !last[0].Unheard() {
		t.Fatalf("unheard: %+v", last)
	}
	settle(last[0], store.Dead)
	pending(0)
	dead, err := s.DeadLetters(0)
	must(t, err)
	if names, err := s.Receivers(); err != nil || len(names) != 0 || len(dead) != 2 || dead[0].Seq != 4 || dead[1].Seq != 5 {
		t.Errorf("kept for %q (%v), dead %+v", names, err, dead)
	}
}

func TestDeliveryWithoutEntryIsDamage(t *testing.T) {
	s := open(t, t.TempDir(), small())
	owe(t, s, []ledger.Entry{{Seq: 7}}, "oncall", func(ledger.Entry) string { return "" })
	if _, err := s.Due("oncall", epoch, 1, false, nil); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("due: %v, want ErrDamaged", err)
	}
	must(t, s.Settle(ledger.Delivery{Receiver: "oncall", Seq: 7}, store.Outcome{Result: store.Dead, At: epoch}))
	if _, err := s.DeadLetters(1); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("dead letters: %v, want ErrDamaged", err)
	}
}

// The ledger loses its beginning only, nothing that is owed, and verifies from
// the anchor on.
func TestSweepOfTheLedger(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{MemTableBytes: 8 << 20})
	var chain ledger.Chain
	entries := record(t, s, &chain, "fraud", 1500) // one a minute, 512 a transaction
	owe(t, s, entries[1200:1202], "oncall", func(ledger.Entry) string { return "" })
	keep := store.Retention{Ledger: time.Hour, Dead: time.Hour}
	sweep := func(mark time.Duration, now time.Time) store.Swept {
		t.Helper()
		swept, err := s.Sweep(t.Context(), keep, map[string]time.Time{"fraud": epoch.Add(mark)}, now)
		must(t, err)
		if tip, err := s.LedgerVerify(nil); err != nil || tip != chain {
			t.Errorf("verified to %v, %v", tip, err)
		}
		return swept
	}
	if got := sweep(0, epoch); got != (store.Swept{}) {
		t.Errorf("swept %+v before anything is old", got)
	}
	if got := sweep(1160*time.Minute, epoch); got.Entries != 1100 {
		t.Errorf("swept %+v, want entries of the first 1100 minutes", got)
	}
	if anchor, err := s.Anchor(); err != nil || anchor.Seq != 1100 || anchor.Hash != entries[1099].Hash {
		t.Errorf("anchor %v, %v, want entry 1100", anchor, err)
	}
	if got := sweep(5000*time.Minute, epoch); got.Entries != 100 { // entry 1201 is owed
		t.Errorf("swept %+v, want the 100 entries before what is owed", got)
	}
	due, err := s.Due("oncall", epoch.Add(9999*time.Hour), 9, false, nil)
	must(t, err)
	must(t, s.Settle(due[0], store.Outcome{Result: store.Dead, At: epoch}))
	must(t, s.Settle(due[1], store.Outcome{Result: store.Delivered, At: epoch}))
	if got := sweep(5000*time.Minute, epoch.Add(time.Hour)); got != (store.Swept{}) { // dead for an hour, not longer
		t.Errorf("swept %+v, want nothing before a dead letter", got)
	}
	if got := sweep(5000*time.Minute, epoch.Add(time.Hour+1)); got != (store.Swept{Dead: 1, Entries: 300}) {
		t.Errorf("swept %+v, want the dead letter and the rest", got)
	}
	more := record(t, s, &chain, "", 2) // of no model: the latest watermark counts
	if got := sweep(5000*time.Minute, epoch); got.Entries != 2 || more[1].Seq != 1502 {
		t.Errorf("swept %+v, want the entries of no model", got)
	}
}

func TestSweepCanBeStopped(t *testing.T) {
	s := open(t, t.TempDir(), small())
	var chain ledger.Chain
	record(t, s, &chain, "fraud", 3)
	commit(t, s, func(b *store.Batch) {
		for _, w := range newSource(1).series(fraud, epoch, 3) {
			b.PutPane(w)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	marks := map[string]time.Time{"fraud": epoch.Add(9999 * time.Hour)}
	for _, keep := range []store.Retention{{Panes: 1}, {Ledger: 1}} {
		if swept, err := s.Sweep(ctx, keep, marks, epoch); !errors.Is(err, context.Canceled) || swept != (store.Swept{}) {
			t.Errorf("sweep %+v, %v, want canceled", swept, err)
		}
	}
	swept, err := s.Sweep(t.Context(), store.Retention{Hours: time.Hour, Panes: time.Hour}, marks, epoch)
	if err != nil || swept != (store.Swept{Panes: 3}) {
		t.Errorf("sweep %+v, %v, want 3 panes", swept, err)
	}
}
