package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// A matter is an incident in a store, as the daemon keeps it.
type matter struct {
	*testing.T
	*store.Store
	chain  ledger.Chain
	book   *incident.Book
	target alert.Target
	muted  map[string]bool // keys of alerts
	now    time.Time
}

func newMatter(t *testing.T, target alert.Target) *matter {
	t.Helper()
	target.Receiver = "people"
	return &matter{T: t, Store: open(t, t.TempDir(), small()), book: incident.NewBook(nil), target: target, muted: map[string]bool{}, now: epoch}
}

func (m *matter) mute(_ *ledger.Delivery, a *incident.Member) bool { return m.muted[a.Key] }

// happens lets alerts start ("a") or end ("-a") in one transaction; "!" acknowledges.
func (m *matter) happens(what ...string) {
	m.Helper()
	b := m.NewBatch()
	for _, w := range what {
		draft := ledger.Draft{Time: epoch, Kind: ledger.KindAlert, Model: "fraud", Body: ledger.Alert{Type: "alert"}}
		if w == "!" {
			draft.Kind = ledger.KindConfig // any that is no alert
		}
		e, err := m.chain.Append(draft)
		must(m, err)
		b.Append(e)
		if w == "!" {
			m.book.Acknowledge("a", incident.Acknowledgement{By: "ada", At: m.now}, e.Seq)
			continue
		}
		a := incident.Member{Key: w[len(w)-1:], Seq: e.Seq, Severity: "ticket", StartsAt: epoch}
		if a.Key == "p" {
			a.Severity = "page"
		}
		if w[0] == '-' {
			a.EndsAt = epoch
		}
		m.book.Put("a", nil, false, a, epoch, []alert.Target{m.target})
	}
	for _, t := range m.book.Touched(m.now) {
		b.PutIncident(t.Incident)
		for _, o := range t.Owed {
			d := ledger.Delivery{
				Receiver: "people", Seq: o.Seq, Order: t.ID, IssuedAt: m.now, Grouped: true, Timing: ledger.Timing(o.Target.Timing),
				Severity: t.Of([]string{"people"}, incident.Heard{}, func(*incident.Member) bool { return false }).Severity,
			}
			b.Owe(d)
			if up := o.Target.Escalate; up != nil {
				d.Receiver, d.For, d.NotBefore = up.Receiver, []string{"people"}, t.Issued.Add(up.After)
				b.Owe(d)
			}
		}
	}
	b.PutProgress(store.Progress{Chain: m.chain})
	must(m, m.Commit(b))
}

// hears has a receiver take what is due at a time after the start, and returns it as
// "status: firing/ended", "" for nothing.
func (m *matter) hears(receiver string, at time.Duration) string {
	m.Helper()
	m.now = epoch.Add(at)
	due, err := m.Due(receiver, m.now, 9, true, m.mute)
	must(m, err)
	if len(due) == 0 {
		return ""
	}
	d := due[0]
	must(m, m.Settle(d, store.Outcome{Result: store.Delivered, At: m.now}))
	switch {
	case d.Moot:
		return m.hears(receiver, at)
	case d.Repeat:
		return "again"
	case d.Unheard() && !d.Group.Open():
		return "unheard"
	}
	text := d.Group.Status + ":"
	for _, e := range d.Group.Alerts {
		text += " " + string(rune('0'+e.Seq))
	}
	if d.Group.Acknowledged != "" {
		text += " by " + d.Group.Acknowledged
	}
	return text
}

func timing(wait, interval, repeat time.Duration) alert.Target {
	return alert.Target{Timing: alert.Timing{Wait: wait, Interval: interval, Repeat: repeat}}
}

// What a receiver hears of an incident, and when.
func TestWhatIsDueOfAnIncident(t *testing.T) {
	const s = time.Second
	type step struct {
		at    time.Duration
		do    func(*matter)
		hears string // by people
	}
	happens := func(what ...string) func(*matter) { return func(m *matter) { m.happens(what...) } }
	mute := func(keys ...string) func(*matter) {
		return func(m *matter) {
			clear(m.muted)
			for _, k := range keys {
				m.muted[k] = true
			}
		}
	}
	for name, c := range map[string]struct {
		target alert.Target
		steps  []step
	}{
		"at once": {timing(0, 0, 0), []step{
			{0, happens("a"), "firing: 1"}, {1 * s, nil, ""}, {2 * s, happens("-a"), "resolved: 2"}, {3 * s, nil, ""},
		}},
		"one message for many": {timing(0, 0, 0), []step{{0, happens("a", "b", "p"), "firing: 3 1 2"}, {1 * s, happens("-b"), "firing: 3 1 4"}}},
		"waits for others": {timing(30*s, 0, 0), []step{
			{0, happens("a"), ""}, {20 * s, happens("b"), ""}, {29 * s, nil, ""}, {30 * s, nil, "firing: 1 2"},
		}},
		"not too often": {timing(0, 300*s, 0), []step{
			{0, happens("a"), "firing: 1"}, {10 * s, happens("b"), ""}, {20 * s, happens("-b"), ""}, {300 * s, nil, "firing: 1 3"},
		}},
		"at once when it becomes worse":                 {timing(0, 300*s, 0), []step{{0, happens("a"), "firing: 1"}, {10 * s, happens("p"), "firing: 2 1"}}},
		"at once when it becomes worse, without others": {timing(30*s, 300*s, 0), []step{{0, happens("a"), ""}, {30 * s, nil, "firing: 1"}, {40 * s, happens("p"), "firing: 2 1"}, {50 * s, happens("b"), ""}}},
		"flaps within the interval":                     {timing(0, 300*s, 0), []step{{0, happens("a"), "firing: 1"}, {10 * s, happens("-a"), ""}, {300 * s, nil, "resolved: 2"}}},
		"starts and ends in the wait":                   {timing(30*s, 0, 0), []step{{0, happens("a"), ""}, {10 * s, happens("-a"), ""}, {30 * s, nil, "unheard"}, {99 * s, nil, ""}}},
		"again": {timing(0, 0, 3600*s), []step{
			{0, happens("a"), "firing: 1"},
			{3599 * s, nil, ""},
			{3600 * s, nil, "again"},
			{7199 * s, nil, ""},
			{7200 * s, nil, "again"},
			{7300 * s, happens("-a"), "resolved: 2"},
			{20000 * s, nil, ""},
		}},
		"not again when acknowledged": {timing(0, 300*s, 3600*s), []step{
			{0, happens("a"), "firing: 1"},
			{10 * s, happens("!"), "firing: 1 by ada"},
			{9999 * s, nil, ""},
			{10000 * s, happens("b"), "firing: 1 3 by ada"},
			{99999 * s, nil, ""},
		}},
		"muted from the start": {timing(0, 0, 0), []step{
			{0, mute("a"), ""}, {1 * s, happens("a"), ""}, {9 * s, mute(), "firing: 1"}, {10 * s, nil, ""},
		}},
		"muted all the time": {timing(0, 0, 0), []step{{0, mute("a"), ""}, {1 * s, happens("a"), ""}, {2 * s, happens("-a"), ""}, {9 * s, mute(), ""}}},
		"muted, its end is told": {timing(0, 0, 0), []step{
			{0, happens("a"), "firing: 1"}, {1 * s, mute("a"), ""}, {2 * s, happens("-a"), "resolved: 2"},
		}},
		"one of two muted": {timing(0, 0, 0), []step{
			{0, mute("b"), ""}, {1 * s, happens("a", "b"), "firing: 1"}, {2 * s, nil, ""}, {3 * s, mute(), "firing: 1 2"}, {4 * s, nil, ""},
		}},
		"a muted one joins": {timing(0, 0, 0), []step{
			{0, happens("a"), "firing: 1"}, {1 * s, mute("b"), ""}, {2 * s, happens("b"), ""}, {3 * s, mute(), "firing: 1 2"},
		}},
		"a muted one joins and ends": {timing(0, 0, 0), []step{
			{0, happens("a"), "firing: 1"}, {1 * s, mute("b"), ""}, {2 * s, happens("b"), ""}, {3 * s, happens("-b"), "firing: 1 3"}, {4 * s, mute(), ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMatter(t, c.target)
			for _, st := range c.steps {
				m.now = epoch.Add(st.at)
				if st.do != nil {
					st.do(m)
				}
				if got := m.hears("people", st.at); got != st.hears {
					t.Fatalf("after %v: hears %q, want %q", st.at, got, st.hears)
				}
			}
		})
	}
}

// next returns the one delivery that is due to people.
func (m *matter) next(at time.Duration) ledger.Delivery {
	m.Helper()
	m.now = epoch.Add(at)
	due, err := m.Due("people", m.now, 9, true, m.mute)
	must(m, err)
	if len(due) != 1 {
		m.Fatalf("after %v %d are due, want 1", at, len(due))
	}
	return due[0]
}

// What was muted when a receiver was told is told later, also if that fails at first.
func TestWhatWasMutedIsToldAfterAFailure(t *testing.T) {
	m := newMatter(t, timing(0, 0, 0))
	m.muted["b"] = true
	m.happens("a", "b")
	if got := m.hears("people", time.Second); got != "firing: 1" {
		t.Fatalf("hears %q", got)
	}
	clear(m.muted)
	d := m.next(2 * time.Second)
	d.Attempt, d.NextAt = 1, epoch.Add(time.Minute)
	must(t, m.Settle(d, store.Outcome{Result: store.Retry, At: d.NextAt}))
	for _, c := range []struct {
		at   time.Duration
		want string
	}{{59 * time.Second, ""}, {time.Minute, "firing: 1 2"}, {time.Hour, ""}} {
		if got := m.hears("people", c.at); got != c.want {
			t.Errorf("after %v: %q, want %q", c.at, got, c.want)
		}
	}
}

// A receiver that refuses for good what came later hears of the end all the same, and
// of where its message stands.
func TestARefusalLeavesWhatWasTold(t *testing.T) {
	for name, later := range map[string]func(*matter){
		"one that joins": func(m *matter) { m.happens("b") },
		"a repetition":   func(m *matter) { m.now = m.now.Add(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMatter(t, timing(0, 0, time.Hour))
			m.happens("a")
			d := m.next(0)
			d.Receipt = "message 1"
			must(t, m.Settle(d, store.Outcome{Result: store.Delivered, At: m.now}))
			later(m)
			at := m.now.Sub(epoch)
			must(t, m.Settle(m.next(at), store.Outcome{Result: store.Dead, At: m.now}))
			if dead, err := m.DeadLetters(0); err != nil || len(dead) != 1 {
				t.Errorf("%d dead letters: %v", len(dead), err)
			}
			if got := m.hears("people", at); got != "" {
				t.Errorf("hears %q at once", got)
			}
			m.happens("-a", "-b")
			end := m.next(at + time.Second)
			if end.Receipt != "message 1" || end.Unheard() || end.Group.Open() {
				t.Errorf("receipt %q, unheard %v, group %+v", end.Receipt, end.Unheard(), end.Group)
			}
			end.Receipt = "" // nothing changes that message any more
			must(t, m.Settle(end, store.Outcome{Result: store.Delivered, At: m.now}))
			if names, err := m.Receivers(); err != nil || len(names) > 0 {
				t.Errorf("something stays for %q: %v", names, err)
			}
		})
	}
}

// What waits for those who mute it is owed and not late, also in an incident of which
// the receiver was told.
func TestWhatIsMutedIsNotLate(t *testing.T) {
	m := newMatter(t, timing(0, 0, 0))
	m.happens("a")
	m.hears("people", time.Second)
	m.muted["b"] = true
	m.happens("b")
	owed := func(what string, late bool) {
		t.Helper()
		n, oldest, err := m.OwedNow("people", epoch.Add(time.Hour), m.mute)
		if err != nil || n != 1 || late == oldest.IsZero() {
			t.Errorf("%s: %d owed, the oldest since %v: %v", what, n, oldest, err)
		}
	}
	owed("muted", false)
	clear(m.muted)
	owed("not muted", true)
}

// An incident stays as long as something about it is owed: a receiver may be away for
// longer than the ledger is kept.
func TestWhatIsOwedIsNotSwept(t *testing.T) {
	m := newMatter(t, timing(0, 0, 0))
	m.happens("a", "-a")
	sweep := func(want int) {
		t.Helper()
		swept, err := m.Sweep(t.Context(), store.Retention{Ledger: time.Hour}, map[string]time.Time{"fraud": epoch.Add(24 * time.Hour)}, epoch)
		if err != nil || swept.Incidents != want {
			t.Errorf("%d incidents swept, want %d: %v", swept.Incidents, want, err)
		}
	}
	sweep(0)
	if got := m.hears("people", time.Second); got != "unheard" {
		t.Errorf("hears %q", got)
	}
	sweep(1)
}

// What fires for longer than the ledger is kept is told as the incident knows it.
func TestWhatFiresForLongerThanTheLedgerIsKept(t *testing.T) {
	m := newMatter(t, timing(0, 0, time.Hour))
	for n, what := range []string{"a", "b", "-b"} {
		m.happens(what)
		m.hears("people", time.Duration(n)*time.Second)
	}
	swept, err := m.Sweep(t.Context(), store.Retention{Ledger: time.Hour}, map[string]time.Time{"fraud": epoch.Add(24 * time.Hour)}, epoch)
	if err != nil || swept.Entries != 2 {
		t.Fatalf("%d entries swept, want 2: %v", swept.Entries, err)
	}
	d := m.next(2 * time.Hour)
	if !d.Repeat || len(d.Group.Alerts) != 1 || d.Group.Alerts[0].Seq != 1 {
		t.Fatalf("repeated %v: %+v", d.Repeat, d.Group)
	}
	var a ledger.Alert
	must(t, json.Unmarshal(d.Group.Alerts[0].Body, &a))
	if a.Status != "firing" || a.DedupKey != "a" || a.Severity != "ticket" || !a.StartsAt.Equal(epoch) {
		t.Errorf("told %+v", a)
	}
}

// Who hears in somebody's place hears late, and only what nobody has acknowledged.
func TestEscalationIsDue(t *testing.T) {
	target := alert.Target{Escalate: &alert.Escalation{After: time.Minute, Receiver: "boss"}}
	t.Run("nobody acknowledges", func(t *testing.T) {
		m := newMatter(t, target)
		m.happens("a")
		for _, c := range []struct {
			at   time.Duration
			want string
		}{{59 * time.Second, ""}, {time.Minute, "firing: 1"}, {time.Hour, ""}} {
			if got := m.hears("boss", c.at); got != c.want {
				t.Errorf("after %v: %q, want %q", c.at, got, c.want)
			}
		}
		m.happens("-a")
		if got := m.hears("boss", time.Hour); got != "resolved: 2" {
			t.Errorf("at the end: %q", got)
		}
	})
	for name, what := range map[string]string{"acknowledged": "!", "ended": "-a"} {
		t.Run(name, func(t *testing.T) {
			m := newMatter(t, target)
			m.happens("a")
			m.happens(what)
			if got := m.hears("boss", time.Hour); got != "" {
				t.Errorf("hears %q", got)
			}
			if n, _, err := m.Owed("boss"); err != nil || n > 0 {
				t.Errorf("%d are owed to the boss: %v", n, err)
			}
		})
	}
}

// What was told is kept with the incident, and both are swept when they are old.
func TestToldIsKeptAndSwept(t *testing.T) {
	m := newMatter(t, timing(0, 0, 0))
	m.happens("a")
	if owed, err := m.OwedAbout("a"); err != nil || len(owed) != 1 || owed[0].Receiver != "people" || owed[0].Seq != 1 {
		t.Errorf("owed %+v: %v", owed, err)
	}
	m.hears("people", time.Second)
	if owed, err := m.OwedAbout("a"); err != nil || len(owed) > 0 {
		t.Errorf("owed what was told %+v: %v", owed, err)
	}
	m.happens("-a")
	due, err := m.Due("people", m.now, 9, true, nil)
	must(t, err)
	due[0].Attempt, due[0].LastError = 3, "refused"
	must(t, m.Settle(due[0], store.Outcome{Result: store.Dead, At: m.now}))
	told, err := m.Told("a")
	must(t, err)
	want := []store.Told{
		{Receiver: "people", Seq: 1, At: epoch.Add(time.Second)},
		{Receiver: "people", Seq: 2, At: epoch.Add(time.Second), Closing: true, Attempts: 3, Error: "refused"},
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %+v, want %+v", told, want)
	}
	sweep := func(after time.Duration) int {
		swept, err := m.Sweep(t.Context(), store.Retention{Ledger: time.Hour}, map[string]time.Time{"fraud": epoch.Add(after)}, epoch)
		must(t, err)
		return swept.Incidents
	}
	if early, late := sweep(59*time.Minute), sweep(time.Hour); early != 0 || late != 1 {
		t.Errorf("swept %d early and %d late", early, late)
	}
	if told, err := m.Told("a"); err != nil || len(told) > 0 {
		t.Errorf("told %+v after the sweep: %v", told, err)
	}
	if v := verify(t, m.Store); !v.OK() {
		t.Errorf("damaged: %+v", v.Damaged)
	}
}

// BenchmarkDue is a look at what is owed to a receiver that was away for long: ten
// thousand deliveries about few incidents or about as many, and all of them muted.
func BenchmarkDue(b *testing.B) {
	const owed = 10_000
	for _, c := range []struct {
		name      string
		incidents int
		muted     bool
	}{{"few", 10, false}, {"many", owed, false}, {"muted", owed, true}} {
		b.Run(c.name, func(b *testing.B) {
			s := open(b, b.TempDir(), store.Options{})
			var chain ledger.Chain
			batch := s.NewBatch()
			for n := range owed {
				e, err := chain.Append(ledger.Draft{Time: epoch, Kind: ledger.KindAlert, Model: "fraud", Body: ledger.Alert{Type: "alert"}})
				must(b, err)
				batch.Append(e)
				id := fmt.Sprint("i", n%c.incidents)
				book := incident.NewBook(nil)
				batch.PutIncident(book.Put(id, nil, false, incident.Member{Key: id, Seq: e.Seq, Severity: "ticket", StartsAt: epoch}, epoch, []alert.Target{{Receiver: "people"}}))
				batch.Owe(ledger.Delivery{Receiver: "people", Seq: e.Seq, Order: id, IssuedAt: epoch, Grouped: true, Severity: "ticket"})
				if n%1000 == 999 {
					batch.PutProgress(store.Progress{Chain: chain})
					must(b, s.Commit(batch))
					batch = s.NewBatch()
				}
			}
			mute := func(*ledger.Delivery, *incident.Member) bool { return c.muted }
			b.ReportAllocs()
			for b.Loop() {
				due, err := s.Due("people", epoch, 64, true, mute)
				if err != nil || c.muted != (len(due) == 0) {
					b.Fatalf("%d are due: %v", len(due), err)
				}
			}
		})
	}
}

// However many alerts of an incident are muted when a receiver is told of another, all
// of them are told when nothing mutes them any more, and none that has ended by then.
func TestAllThatWasMutedIsTold(t *testing.T) {
	const many = 1500
	m := newMatter(t, timing(0, 0, 0))
	key := func(n int) string { return fmt.Sprintf("01KDVDNA3V13G04SQZY2NC%04d", n) } // as long as those of the ledger
	change := func(first int, ends time.Time) {
		commit(t, m.Store, func(b *store.Batch) {
			for n := range first {
				e, err := m.chain.Append(ledger.Draft{Time: epoch, Kind: ledger.KindAlert, Model: "wide", Body: ledger.Alert{Type: "alert"}})
				must(t, err)
				b.Append(e)
				m.book.Put("a", nil, false, incident.Member{Key: key(n), Seq: e.Seq, Severity: "ticket", StartsAt: epoch, EndsAt: ends}, epoch, []alert.Target{m.target})
				m.muted[key(n)] = true
			}
			b.PutProgress(store.Progress{Chain: m.chain})
		})
	}
	change(many, time.Time{})
	m.happens("p")
	if got := m.next(0).Group; got.Firing != 1 {
		t.Fatalf("told of %d alerts, want the one that is not muted", got.Firing)
	}
	m.hears("people", time.Second)
	change(many/3, epoch)
	m.happens("q")
	if got := m.next(2 * time.Second).Group; got.Firing != 2 || got.Ended != 0 {
		t.Errorf("told of %d that fire and %d that have ended, want two: the ended ones began and ended muted", got.Firing, got.Ended)
	}
	m.hears("people", 2*time.Second)
	clear(m.muted)
	if got := m.next(3 * time.Second).Group; got.Firing != 2+many-many/3 || got.Ended != 0 {
		t.Errorf("told of %d that fire and %d that have ended, want %d and none", got.Firing, got.Ended, 2+many-many/3)
	}
}
