package incident

import (
	"slices"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// Deliveries returns what is owed for a change at a wall time: one to each receiver
// of incidents that is to hear of it, and to whom it escalates.
func (t Touch) Deliveries(now time.Time, grouped func(receiver string) bool) (out []ledger.Delivery) {
	var escalated []ledger.Delivery // each receiver once
	for _, o := range t.Owed {
		if !grouped(o.Target.Receiver) {
			continue
		}
		d := ledger.Delivery{
			Receiver: o.Target.Receiver, Seq: o.Seq, Order: t.ID, IssuedAt: now.UTC(), Grouped: true, Timing: ledger.Timing(o.Target.Timing),
			MuteTimeIntervals: o.Target.MuteTimeIntervals, ActiveTimeIntervals: o.Target.ActiveTimeIntervals,
		}
		if v := t.Of([]string{o.Target.Receiver}, Heard{}, func(*Member) bool { return false }); v.Open() {
			d.Severity = v.Severity // an end is not worse than what was told, whatever has ended
		}
		out = append(out, d)
		if up := t.Escalated[o.Target.Receiver]; up.To != "" && !t.Hears(up.To) {
			d.For, d.Receiver, d.NotBefore = []string{d.Receiver}, up.To, up.At
			d.MuteTimeIntervals, d.ActiveTimeIntervals = nil, nil
			escalated = merged(escalated, d)
		}
	}
	return append(out, escalated...)
}

// merged adds an escalation: several of one change to one receiver are one delivery, at
// the earliest of their times.
func merged(all []ledger.Delivery, d ledger.Delivery) []ledger.Delivery {
	k := slices.IndexFunc(all, func(o ledger.Delivery) bool { return o.Receiver == d.Receiver })
	if k < 0 {
		return append(all, d)
	}
	o := &all[k]
	o.For, o.Seq = append(o.For, d.For...), max(o.Seq, d.Seq)
	o.NotBefore = ledger.Earlier(o.NotBefore, d.NotBefore)
	if rank(d.Severity) > rank(o.Severity) {
		o.Severity = d.Severity
	}
	return all
}

// Tell fills in what a delivery about the incident tells now, but for the entries of
// its Group, which are those of the View's Listed. due: it is to be sent, or settled
// if it is moot.
func (i *Incident) Tell(d *ledger.Delivery, muted func(*Member) bool) (v View, due bool) {
	heard := heardOf(d)
	d.Repeat = d.Repeat && i.Acknowledged == nil // somebody looks after it
	escalated, of := len(d.For) > 0 && !i.Hears(d.Receiver), []string{d.Receiver}
	if escalated {
		of = d.For
	}
	v = i.Of(of, heard, muted)
	switch {
	case !v.Open() && len(v.Held) > 0: // what was told stands
		return v, false
	case heard.Seq == 0 && (len(v.Ended) == 0 || escalated) && !v.Open(), // nobody has heard of it, and nobody need
		heard.Seq == 0 && escalated && i.Acknowledged != nil:
		d.Moot = true
		return v, true
	case !v.Fresh && d.Told && !d.Repeat:
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
	d.Group.Fires, d.Group.Ends = fires(v.Firing), fires(v.Ended)
	if i.Acknowledged != nil {
		d.Group.Acknowledged = i.Acknowledged.By
	}
	return v, true
}

// fires lists alerts, the worst first and then by start, whether they fire or not.
func fires(all []*Member) []ledger.Fire {
	all = slices.SortedFunc(slices.Values(all), (*Member).worse)
	out := make([]ledger.Fire, len(all))
	for k, m := range all {
		out[k] = ledger.Fire{Key: m.Key, Severity: m.Severity}
	}
	return out
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
