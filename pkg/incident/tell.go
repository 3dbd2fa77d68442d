package incident

import (
	"cmp"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// Deliveries returns what is owed for a change at a wall time: one to each receiver
// of incidents that is to hear of it, and to whom it escalates.
func (t Touch) Deliveries(now time.Time, grouped func(receiver string) bool) (out []ledger.Delivery) {
	for _, o := range t.Owed {
		if !grouped(o.Target.Receiver) {
			continue
		}
		d := ledger.Delivery{
			Receiver: o.Target.Receiver, Seq: o.Seq, Order: t.ID, IssuedAt: now.UTC(), Grouped: true, Timing: ledger.Timing(o.Target.Timing),
			MuteTimeIntervals: o.Target.MuteTimeIntervals, ActiveTimeIntervals: o.Target.ActiveTimeIntervals,
		}
		if v := t.Of(o.Target.Receiver, Heard{}, func(*Member) bool { return false }); v.Open() {
			d.Severity = v.Severity // an end is not worse than what was told, whatever has ended
		}
		out = append(out, d)
		if up := o.Target.Escalate; up != nil && !t.Hears(up.Receiver) {
			d.For, d.Receiver, d.NotBefore = d.Receiver, up.Receiver, t.Issued.Add(up.After)
			d.MuteTimeIntervals, d.ActiveTimeIntervals = nil, nil
			out = append(out, d)
		}
	}
	return out
}

// Tell fills in what a delivery about the incident tells now, but for the entries of
// its Group, which are those of the View's Listed. due: it is to be sent, or settled
// if it is moot.
func (i *Incident) Tell(d *ledger.Delivery, muted func(*Member) bool) (v View, due bool) {
	heard := heardOf(d)
	d.Repeat = d.Repeat && i.Acknowledged == nil // somebody looks after it
	v = i.Of(cmp.Or(d.For, d.Receiver), heard, muted)
	switch {
	case !v.Open() && len(v.Held) > 0: // what was told stands
		return v, false
	case heard.Seq == 0 && (len(v.Ended) == 0 || d.For != "") && !v.Open(), // nobody has heard of it, and nobody need
		heard.Seq == 0 && d.For != "" && i.Acknowledged != nil:
		d.Moot = true
		return v, true
	case !v.Fresh && d.Told && (!d.Repeat || i.Acknowledged != nil): // nothing new, and who looks after it need not be reminded
		return v, false
	case !v.Fresh && !d.Told && d.Entry.Kind == ledger.KindAlert:
		d.Moot = len(v.Held) == 0
		return v, d.Moot
	}
	d.Repeat = d.Repeat && !v.Fresh
	d.Closing, d.Severity, d.Held = !v.Open(), v.Severity, v.Held
	d.Group = &ledger.Group{
		Incident: i.ID, Labels: i.Group, Status: v.Status(), Severity: v.Severity, Opened: i.Opened, Firing: len(v.Firing), Ended: len(v.Ended),
	}
	if i.Acknowledged != nil {
		d.Group.Acknowledged = i.Acknowledged.By
	}
	return v, true
}

// heardOf returns what a receiver was told before d.
func heardOf(d *ledger.Delivery) (h Heard) {
	if d.Told {
		return Heard{Seq: d.Seq, Held: d.Held}
	}
	for _, e := range d.Earlier {
		if e.Told && e.Seq > h.Seq {
			h = Heard{Seq: e.Seq, Held: e.Held}
		}
	}
	return h
}
