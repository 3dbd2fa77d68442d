package incident_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

func everybody(string) bool                { return true }
func nothingIsMuted(*incident.Member) bool { return false }

// Who hears of incidents is owed one delivery of a change, whom it escalates to a
// later one, and who hears of alerts none.
func TestDeliveries(t *testing.T) {
	b := incident.NewBook(nil)
	put(b, fires("a", 1, alert.SeverityTicket, 0), 0, people, alert.Target{Receiver: "machine"})
	put(b, fires("b", 2, alert.SeverityPage, 0), 0, pager)
	got := b.Touched(start)[0].Deliveries(minute(1), func(receiver string) bool { return receiver != "machine" })
	want := []ledger.Delivery{
		{Receiver: "pager", Seq: 2, Order: "a", IssuedAt: minute(1), Grouped: true, Severity: "page"},
		{Receiver: "people", Seq: 1, Order: "a", IssuedAt: minute(1), Grouped: true, Severity: "ticket", Timing: ledger.Timing{Wait: time.Minute}},
		{Receiver: "boss", For: []string{"pager"}, Seq: 2, Order: "a", IssuedAt: minute(1), Grouped: true, Severity: "page", NotBefore: start.Add(time.Hour)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Who hears of it anyway is not told again for somebody else.
	put(b, fires("c", 3, alert.SeverityPage, 1), 1, pager, alert.Target{Receiver: "boss"})
	if got := b.Touched(minute(1))[0].Deliveries(minute(1), everybody); len(got) != 2 || got[0].Receiver != "boss" || got[0].For != nil || got[1].Receiver != "pager" {
		t.Errorf("owed %+v", got)
	}
	// Its end is no worse than what fired last, so that it does not come before its time.
	for n, key := range []string{"b", "c", "a"} {
		put(b, ends(fires(key, 1, alert.SeverityTicket, 0), uint64(n+4), 5), 5, people)
	}
	if got := b.Touched(minute(5))[0].Deliveries(minute(5), everybody); len(got) != 1 || got[0].Severity != "" {
		t.Errorf("owed at the end %+v", got)
	}
}

// Whom it escalates to hears so long after what fires for the receiver was first to be
// told, of the end at once, and of several receivers' alerts at the earliest time.
func TestEscalations(t *testing.T) {
	boss := func(b *incident.Book, at int) (out []ledger.Delivery) {
		for _, touch := range b.Touched(minute(at)) {
			for _, d := range touch.Deliveries(minute(at), everybody) {
				if d.Receiver == "boss" {
					out = append(out, d)
				}
			}
		}
		return out
	}
	b := incident.NewBook(nil)
	chat := alert.Target{Receiver: "chat", Escalate: &alert.Escalation{After: 2 * time.Hour, Receiver: "boss"}}
	put(b, fires("a", 1, alert.SeverityTicket, 0), 0, people)
	if got := boss(b, 0); len(got) > 0 {
		t.Errorf("owed %+v of a ticket that nobody escalates", got)
	}
	page := fires("b", 2, alert.SeverityPage, 30)
	put(b, page, 30, pager)
	put(b, page, 30, alert.Target{Receiver: "pager"}) // by another route, that does not escalate
	put(b, fires("c", 3, alert.SeverityTicket, 30), 30, chat)
	got := boss(b, 30)
	if len(got) != 1 || !got[0].NotBefore.Equal(minute(90)) || got[0].Seq != 3 || len(got[0].For) != 2 || got[0].Severity != alert.SeverityPage {
		t.Fatalf("owed %+v, want one delivery for both, an hour later", got)
	}
	// Routes that know nobody above any more do not keep the end from who was told.
	put(b, ends(page, 4, 40), 40, alert.Target{Receiver: "pager"})
	if got := boss(b, 40); len(got) != 1 || !got[0].NotBefore.IsZero() || !slices.Equal(got[0].For, []string{"pager"}) {
		t.Errorf("owed %+v at the end", got)
	}
	put(b, fires("d", 5, alert.SeverityPage, 50), 50, pager)
	if got := boss(b, 50); len(got) != 1 || !got[0].NotBefore.Equal(minute(110)) {
		t.Errorf("owed %+v of the next page", got)
	}
	// That somebody looks after it is told to the boss too, if he was told before.
	b.Acknowledge("a", incident.Acknowledgement{By: "ada"}, 6)
	if got := boss(b, 55); len(got) != 1 || got[0].Seq != 6 || len(got[0].For) != 2 {
		t.Errorf("owed %+v of the acknowledgement", got)
	}
}

// What a delivery tells is decided when it is to be sent: by what the receiver knows,
// what fires by then, and what is muted.
func TestTell(t *testing.T) {
	firing := func(b *incident.Book) { put(b, fires("a", 1, alert.SeverityPage, 0), 0, people) }
	over := func(b *incident.Book) { firing(b); put(b, ends(fires("a", 1, alert.SeverityPage, 0), 2, 5), 5, people) }
	looked := func(b *incident.Book) { firing(b); acknowledge(b) }
	muted := func(*incident.Member) bool { return true }
	joined := func(b *incident.Book) { looked(b); put(b, fires("b", 3, alert.SeverityTicket, 1), 1, people) }
	onlyB := func(m *incident.Member) bool { return m.Key == "b" }
	entry := ledger.Entry{Kind: ledger.KindAlert}
	toldOf := func(seq uint64) []ledger.Delivery { return []ledger.Delivery{{Seq: seq, Told: true}} }
	for name, c := range map[string]struct {
		do    func(*incident.Book)
		d     ledger.Delivery
		muted func(*incident.Member) bool
		due   bool
		moot  bool
		tells string // the group's status
	}{
		"the start":                          {do: firing, d: ledger.Delivery{Entry: entry}, due: true, tells: "firing"},
		"the end, after the start":           {do: over, d: ledger.Delivery{Entry: entry, Earlier: toldOf(1)}, due: true, tells: "resolved"},
		"over before it could be told":       {do: over, d: ledger.Delivery{Entry: entry}, due: true, tells: "resolved"},
		"over before it escalates":           {do: over, d: ledger.Delivery{Entry: entry, Receiver: "boss", For: []string{"people"}}, due: true, moot: true},
		"somebody looks after it":            {do: looked, d: ledger.Delivery{Entry: entry, Receiver: "boss", For: []string{"people"}}, due: true, moot: true},
		"nobody does":                        {do: firing, d: ledger.Delivery{Entry: entry, Receiver: "boss", For: []string{"people"}}, due: true, tells: "firing"},
		"an acknowledgement":                 {do: looked, d: ledger.Delivery{Entry: ledger.Entry{Kind: ledger.KindNote}, Earlier: toldOf(1)}, due: true, tells: "firing"},
		"muted":                              {do: firing, d: ledger.Delivery{Entry: entry}, muted: muted},
		"muted, and over":                    {do: over, d: ledger.Delivery{Entry: entry}, muted: muted, due: true, moot: true},
		"known already":                      {do: firing, d: ledger.Delivery{Entry: entry, Earlier: toldOf(1)}, due: true, moot: true},
		"again":                              {do: firing, d: ledger.Delivery{Seq: 1, Entry: entry, Told: true, Repeat: true}, due: true, tells: "firing"},
		"told, and nothing new":              {do: firing, d: ledger.Delivery{Seq: 1, Entry: entry, Told: true}},
		"again, and somebody looks after it": {do: looked, d: ledger.Delivery{Seq: 2, Entry: entry, Told: true, Repeat: true}},
		"acknowledged, one is muted still": {
			do: joined, d: ledger.Delivery{Seq: 2, Entry: ledger.Entry{Kind: ledger.KindNote}, Told: true, Held: []string{"b"}}, muted: onlyB,
		},
		"acknowledged, one is not muted any more": {
			do: joined, d: ledger.Delivery{Seq: 2, Entry: ledger.Entry{Kind: ledger.KindNote}, Told: true, Held: []string{"b"}}, due: true, tells: "firing",
		},
		"what was muted is not any more":    {do: firing, d: ledger.Delivery{Seq: 1, Entry: entry, Told: true, Held: []string{"a"}}, due: true, tells: "firing"},
		"of a receiver that hears of other": {do: firing, d: ledger.Delivery{Entry: entry, Receiver: "other"}, due: true, moot: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := incident.NewBook(nil)
			c.do(b)
			if c.d.Receiver == "" {
				c.d.Receiver = "people"
			}
			if c.muted == nil {
				c.muted = nothingIsMuted
			}
			i := b.Touched(start)[0].Incident
			v, due := i.Tell(&c.d, c.muted)
			tells := ""
			if c.d.Group != nil {
				tells = c.d.Group.Status
				if c.d.Group.Incident != "a" || c.d.Group.Firing != len(v.Firing) || c.d.Group.Ended != len(v.Ended) || (c.d.Group.Acknowledged == "ada") != (i.Acknowledged != nil) {
					t.Errorf("group %+v of %+v", c.d.Group, v)
				}
			}
			if due != c.due || c.d.Moot != c.moot || tells != c.tells || c.d.Closing != (tells == "resolved") {
				t.Errorf("due %v, moot %v, tells %q, closing %v: want %+v", due, c.d.Moot, tells, c.d.Closing, c)
			}
		})
	}
}
