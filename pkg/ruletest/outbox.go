package ruletest

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// An outbox tells receivers what they are owed, as package store keeps it and package
// notify sends it: every receiver takes everything at once. Its clock is the test's:
// windows are known when they end.
type outbox struct {
	world     *World
	quiet     incident.Quiet
	start     time.Time
	now       time.Time
	seq       uint64 // of what would be the ledger
	book      *incident.Book
	incidents map[string]*incident.Incident // also those that have ended
	owed      map[string][]ledger.Delivery  // by receiver, ascending by Seq
	acks      []Ack                         // those still to come, ascending
	sent      []told
}

// told is a Message and who got it.
type told struct {
	receiver string
	Message
}

func newOutbox(w *World, t *Test, silences *incident.Silences) *outbox {
	return &outbox{
		world: w, quiet: incident.Quiet{Silences: silences, TimeIntervals: w.TimeIntervals}, start: t.Start, now: t.Start, book: incident.NewBook(nil), incidents: map[string]*incident.Incident{}, owed: map[string][]ledger.Delivery{},
		acks: slices.SortedStableFunc(slices.Values(t.Acks), func(a, b Ack) int { return cmp.Compare(a.At, b.At) }),
	}
}

// put takes the start or the end of an alert of which people are told.
func (o *outbox) put(ch *alert.Change, labels map[string]string) {
	o.seq++
	targets := o.world.Routes.Targets(labels)
	group := incident.GroupOf(targets[0].GroupBy, labels)
	m := incident.Member{Key: ch.DedupKey, Seq: o.seq, Model: ch.Series.Model, Labels: labels, Severity: ch.Severity, StartsAt: ch.StartsAt}
	status := "firing"
	if ch.Resolved() {
		m.EndsAt, status = ch.EndsAt, "resolved"
	}
	id := cmp.Or(o.book.Of(m.Key), o.book.Place(group, false, m.Severity), m.Key)
	i := o.book.Put(id, group, false, m, ch.At, targets)
	o.incidents[i.ID] = i
	for _, t := range targets {
		if !o.world.grouped(t.Receiver) {
			o.sent = append(o.sent, told{t.Receiver, Message{Labels: labels, Status: status, Severity: m.Severity, At: ch.At.Sub(o.start), Alerts: []map[string]string{labels}}})
		}
	}
}

func (w *World) grouped(receiver string) bool { return w.Grouped != nil && w.Grouped(receiver) }

// flush owes what the windows that end now have changed.
func (o *outbox) flush() { o.touched(ledger.KindAlert) }

// touched owes what has changed, by entries of a kind.
func (o *outbox) touched(kind ledger.Kind) {
	for _, t := range o.book.Touched(o.now) {
		for _, d := range t.Deliveries(o.now, o.world.grouped) {
			d.Entry.Kind = kind
			o.owe(d)
		}
	}
}

// acknowledge lets somebody look after incidents: all who were told hear of it.
func (o *outbox) acknowledge(a Ack) {
	for _, i := range o.book.Open() {
		if contains(i.Group, a.Labels) {
			o.seq++
			o.book.Acknowledge(i.ID, incident.Acknowledgement{By: a.By, At: o.now}, o.seq)
		}
	}
	o.touched(ledger.KindNote)
}

// owe keeps a delivery, over one of the same entry.
func (o *outbox) owe(d ledger.Delivery) {
	all := o.owed[d.Receiver]
	i, found := slices.BinarySearchFunc(all, d.Seq, func(d ledger.Delivery, seq uint64) int { return cmp.Compare(d.Seq, seq) })
	if found {
		all[i] = d
	} else {
		o.owed[d.Receiver] = slices.Insert(all, i, d)
	}
}

// advance lets time pass, and tells what becomes due until then.
func (o *outbox) advance(until time.Time) {
	for {
		o.deliver()
		next := o.next()
		if next.IsZero() || next.After(until) {
			break
		}
		o.now = next
		for len(o.acks) > 0 && !o.start.Add(o.acks[0].At).After(o.now) {
			o.acknowledge(o.acks[0])
			o.acks = o.acks[1:]
		}
	}
	o.now = until
}

// next returns the earliest time from now on at which something may be due, zero for
// none: ledger.Due says whether it is.
func (o *outbox) next() (next time.Time) {
	consider := func(at time.Time) {
		if at.After(o.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, a := range o.acks {
		consider(o.start.Add(a.At))
	}
	for _, all := range o.owed {
		for _, d := range all {
			consider(d.NotBefore)
			consider(o.quiet.Next(&d, o.now))
			consider(d.IssuedAt.Add(d.Timing.Wait))
			if d.Told {
				consider(d.ToldAt.Add(d.Timing.Interval))
				consider(d.ToldAt.Add(d.Timing.Repeat))
			}
		}
	}
	return next
}

// deliver tells every receiver what is due now.
func (o *outbox) deliver() {
	for _, receiver := range slices.Sorted(maps.Keys(o.owed)) {
		for _, d := range ledger.Due(slices.Values(o.owed[receiver]), o.now, math.MaxInt, true) {
			if view, due := o.incidents[d.Order].Tell(&d, func(m *incident.Member) bool { return o.quiet.Mutes(&d, m, o.now) }); due {
				o.settle(d, view)
			}
		}
	}
}

// settle tells a delivery and forgets those whose place it took.
func (o *outbox) settle(d ledger.Delivery, v incident.View) {
	o.owed[d.Receiver] = slices.DeleteFunc(o.owed[d.Receiver], func(e ledger.Delivery) bool {
		taken := slices.ContainsFunc(d.Earlier, func(earlier ledger.Delivery) bool { return earlier.Seq == e.Seq })
		return e.Seq == d.Seq || taken && !(d.Moot && e.Told)
	})
	if d.Moot {
		return
	}
	m := Message{
		Labels: d.Group.Labels, Status: d.Group.Status, Severity: d.Group.Severity, At: o.now.Sub(o.start), Firing: d.Group.Firing, Ended: d.Group.Ended,
		Acknowledged: d.Group.Acknowledged,
	}
	for _, member := range v.Listed() {
		m.Alerts = append(m.Alerts, member.Labels)
	}
	o.sent = append(o.sent, told{d.Receiver, m})
	if d.Group.Open() {
		d.Told, d.ToldAt, d.Attempt = true, o.now, 0
		o.owe(d)
	}
}
