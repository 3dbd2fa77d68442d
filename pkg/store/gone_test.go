package store_test

import (
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// What a receiver is owed that nobody names any more is given up a week after it was found
// so, and pins the ledger no longer; one that is named again by then is owed it as before.
func TestSweepGone(t *testing.T) {
	const week = 7 * 24 * time.Hour
	s := open(t, t.TempDir(), small())
	var chain ledger.Chain
	entries := record(t, s, &chain, "fraud", 6)
	for _, receiver := range []string{"stays", "goes", "comes back"} {
		owe(t, s, entries[1:3], receiver, func(e ledger.Entry) string { return e.ID })
	}
	gone := []string{"goes", "comes back"}
	sweep := func(at time.Duration) map[string]int {
		t.Helper()
		named := func(receiver string) bool { return !strings.Contains(strings.Join(gone, " "), receiver) }
		given, err := s.SweepGone(t.Context(), named, week, epoch.Add(at))
		must(t, err)
		return given
	}
	count := func(receiver string) int {
		t.Helper()
		n, _, err := s.Owed(receiver)
		must(t, err)
		return n
	}
	due, err := s.Due("goes", epoch, 1, false, nil)
	must(t, err)
	due[0].Receipt = "where it stands"
	must(t, s.Settle(due[0], store.Outcome{Result: store.Delivered, At: epoch})) // stays, as told
	if given := sweep(0); len(given) > 0 {
		t.Errorf("gave up %v at first sight", given)
	}
	gone = gone[:1]
	sweep(time.Hour)
	gone = append(gone, "comes back")
	sweep(2 * time.Hour)
	if given := sweep(week - 1); len(given) > 0 {
		t.Errorf("gave up %v too early", given)
	}
	if given := sweep(week); len(given) != 1 || given["goes"] != 1 || count("goes") != 0 || count("stays") != 2 {
		t.Errorf("gave up %v; %d are owed to who has gone, %d to who stays", given, count("goes"), count("stays"))
	}
	if n := count("comes back"); n != 2 {
		t.Errorf("%d are owed to who was named again meanwhile, want 2", n)
	}
	names, err := s.Receivers()
	must(t, err)
	if got := strings.Join(names, ", "); got != "comes back, stays" {
		t.Errorf("something is kept for %s", got)
	}
	dead, err := s.DeadLetters(0)
	must(t, err)
	if len(dead) != 1 || dead[0].Seq != 3 || dead[0].LastError != "the receiver is not in the configuration since "+ledger.TimeText(epoch) {
		t.Errorf("dead letters %+v", dead)
	}
	sweep(week + 2*time.Hour)
	for range 2 {
		due, err := s.Due("stays", epoch, 1, false, nil)
		must(t, err)
		must(t, s.Settle(due[0], store.Outcome{Result: store.Delivered, At: epoch}))
	}
	// Once the dead letters have outlived their time too, nothing pins the ledger.
	swept, err := s.Sweep(t.Context(), store.Retention{Ledger: time.Minute, Dead: time.Hour}, map[string]time.Time{"fraud": epoch.Add(week)}, epoch.Add(2*week))
	must(t, err)
	if swept != (store.Swept{Dead: 3, Entries: 6}) {
		t.Errorf("swept %+v", swept)
	}
}

// An incident says that a receiver which has gone was told nothing of it.
func TestGoneFromAnIncident(t *testing.T) {
	m := newMatter(t, timing(0, 0, 0))
	m.happens("a")
	for _, at := range []time.Duration{0, time.Hour} {
		_, err := m.SweepGone(t.Context(), func(string) bool { return false }, time.Hour, epoch.Add(at))
		must(t, err)
	}
	told, err := m.Told("a")
	must(t, err)
	if len(told) != 1 || told[0].Receiver != "people" || !strings.HasPrefix(told[0].Error, "the receiver is not in the configuration") {
		t.Errorf("told %+v", told)
	}
	m.happens("-a")
	if got := m.hears("people", 2*time.Hour); got != "unheard" {
		t.Errorf("named again, it heard %q; want that it has fired and ended", got)
	}
}
