package incident

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// A Book holds the incidents that are open, and what of them is to be told. It is not
// safe for concurrent use.
type Book struct {
	open    map[string]*Incident
	of      map[string]string // dedup key of what fires -> id of its incident
	touched map[string]map[string]Owed
	weight  int64                // of touched
	clones  map[string]*Incident // of those that have not changed since
}

// An Owed is a change that a receiver is to hear of.
type Owed struct {
	Target alert.Target
	Seq    uint64 // of the last ledger entry that concerns it
}

// A Touch is an incident that has changed, and who is to hear of it, by name.
type Touch struct {
	*Incident
	Owed []Owed
}

// NewBook returns the book of the incidents that are open among all. They belong to
// the book from then on.
func NewBook(all []*Incident) *Book {
	b := &Book{open: map[string]*Incident{}, of: map[string]string{}, touched: map[string]map[string]Owed{}, clones: map[string]*Incident{}}
	for _, i := range all {
		if !i.Open() {
			continue
		}
		b.open[i.ID] = i
		for k := range i.Members {
			if m := &i.Members[k]; m.Firing() {
				b.of[m.Key] = i.ID
			}
		}
	}
	return b
}

// Open returns a copy of every open incident, ascending by id.
func (b *Book) Open() []*Incident {
	out := make([]*Incident, 0, len(b.open))
	for _, id := range slices.Sorted(maps.Keys(b.open)) {
		if b.clones[id] == nil {
			b.clones[id] = b.open[id].Clone()
		}
		out = append(out, b.clones[id])
	}
	return out
}

// Firing returns the alert of a dedup key if it fires.
func (b *Book) Firing(key string) (m Member, firing bool) {
	i := b.open[b.of[key]]
	if i == nil {
		return m, false
	}
	return *i.member(key), true
}

// Keys returns the dedup keys of all that fires, ascending.
func (b *Book) Keys() []string { return slices.Sorted(maps.Keys(b.of)) }

// Of returns the id of the incident of an alert that fires, "" for none.
func (b *Book) Of(key string) string { return b.of[key] }

// Severity returns that of the worst alert that an open incident has had, "" for none.
func (b *Book) Severity(id string) string {
	if i := b.open[id]; i != nil {
		return i.Severity
	}
	return ""
}

// Place returns the incident that a new alert of a group belongs to, "" if it opens
// one: the last of its group that takes others. One that somebody looks after takes
// no page: a receiver that updates what is acknowledged would not wake anybody.
func (b *Book) Place(group map[string]string, shadow bool, severity string) string {
	var best *Incident
	for _, i := range b.open {
		if i.takes(shadow, severity) && maps.Equal(i.Group, group) && (best == nil || i.after(best)) {
			best = i
		}
	}
	return idOf(best)
}

// Related returns the incident of other models of an owner in which one of the same
// signals began to move at the same time, give or take within; "" for none.
func (b *Book) Related(owner string, moved []Moved, shadow bool, severity string, within time.Duration) string {
	if owner == "" {
		return ""
	}
	var best *Incident
	for _, i := range b.open {
		if i.takes(shadow, severity) && i.shares(owner, moved, within) && (best == nil || best.after(i)) {
			best = i
		}
	}
	return idOf(best)
}

func idOf(i *Incident) string {
	if i == nil {
		return ""
	}
	return i.ID
}

func (i *Incident) after(o *Incident) bool {
	return cmp.Or(i.Opened.Compare(o.Opened), cmp.Compare(i.ID, o.ID)) > 0
}

// takes reports whether a new alert may join.
func (i *Incident) takes(shadow bool, severity string) bool {
	return i.Open() && !i.Closed && i.Shadow == shadow && i.Firing() < maxMembers && (i.Acknowledged == nil || severity != alert.SeverityPage)
}

// shares reports whether a signal of an alert of the owner that fires began to move
// with one of moved.
func (i *Incident) shares(owner string, moved []Moved, within time.Duration) bool {
	for k := range i.Members {
		m := &i.Members[k]
		if !m.Firing() || m.Labels["owner"] != owner {
			continue
		}
		for _, a := range m.Moved {
			if slices.ContainsFunc(moved, func(b Moved) bool { return a.Signal == b.Signal && a.Since.Sub(b.Since).Abs() <= within }) {
				return true
			}
		}
	}
	return false
}

// Put takes an alert as it is now, at an event time. One that is new joins the
// incident of the id, or opens it with the group if there is none; id and group of
// one that is known are ignored. targets hear of the change; m.Receivers are set to
// their names.
func (b *Book) Put(id string, group map[string]string, shadow bool, m Member, at time.Time, targets []alert.Target) *Incident {
	m.Receivers = nil
	for _, t := range targets {
		m.Receivers = append(m.Receivers, t.Receiver)
	}
	m.Moved = m.Moved[:min(len(m.Moved), maxMoved)]
	if known := b.of[m.Key]; known != "" {
		id = known
	}
	i := b.open[id]
	if i == nil {
		i = &Incident{ID: id, Group: group, Shadow: shadow, Opened: at}
		b.open[id] = i
	}
	i.put(m, at)
	if m.Firing() {
		b.of[m.Key] = id
	} else {
		delete(b.of, m.Key)
	}
	b.touch(id, m.Seq, targets)
	return i
}

// touch notes who is to hear of what has changed.
func (b *Book) touch(id string, seq uint64, targets []alert.Target) {
	owed := b.touched[id]
	if owed == nil {
		owed = map[string]Owed{}
		b.touched[id] = owed
		b.weight += incidentWeight + memberWeight*int64(len(b.open[id].Members))
	}
	b.weight += memberWeight // of one more, and of deliveries
	for _, t := range targets {
		if t.Escalate == nil { // another route may have led there too
			t.Escalate = owed[t.Receiver].Target.Escalate
		}
		owed[t.Receiver] = Owed{Target: t, Seq: seq}
	}
	delete(b.clones, id)
}

// Address lets others hear of an alert that fires, beside those who do: at once, as
// the ledger entry seq says, and of its end.
func (b *Book) Address(key string, targets []alert.Target, seq uint64) {
	i := b.open[b.of[key]]
	if i == nil || len(targets) == 0 {
		return
	}
	m := i.member(key)
	m.Receivers = slices.Clone(m.Receivers) // clones share them
	for _, t := range targets {
		m.Receivers = append(m.Receivers, t.Receiver)
	}
	i.Seq = max(i.Seq, seq)
	b.touch(i.ID, seq, targets)
}

// Close lets no other alert join the incident of an alert that fires.
func (b *Book) Close(key string) {
	if i := b.open[b.of[key]]; i != nil {
		i.Closed = true
		b.touch(i.ID, 0, nil)
	}
}

// Acknowledge notes that somebody looks after an open incident. Everybody who was
// told hears of it at once; it is not repeated to them. False: it is not open.
func (b *Book) Acknowledge(id string, ack Acknowledgement, seq uint64) bool {
	i := b.open[id]
	if i == nil {
		return false
	}
	i.Acknowledged, i.Seq = &ack, max(i.Seq, seq)
	var targets []alert.Target
	for k := range i.Members {
		for _, r := range i.Members[k].Receivers {
			if i.Members[k].Firing() && !slices.ContainsFunc(targets, func(t alert.Target) bool { return t.Receiver == r }) {
				targets = append(targets, alert.Target{Receiver: r})
			}
		}
	}
	b.touch(id, seq, targets)
	return true
}

// Touched returns what has changed since it was asked last, ascending by id, with
// Incident.Issued set to now where it was not. Incidents that have ended leave the
// book.
func (b *Book) Touched(now time.Time) []Touch {
	out := make([]Touch, 0, len(b.touched))
	for _, id := range slices.Sorted(maps.Keys(b.touched)) {
		i := b.open[id]
		if i.Issued.IsZero() {
			i.Issued = now.UTC()
		}
		t := Touch{Incident: i}
		for _, name := range slices.Sorted(maps.Keys(b.touched[id])) {
			t.Owed = append(t.Owed, b.touched[id][name])
			i.escalate(b.touched[id][name].Target, now)
		}
		out = append(out, t)
		if !i.Open() {
			delete(b.open, id)
			delete(b.clones, id)
		}
	}
	clear(b.touched)
	b.weight = 0
	return out
}

// What an incident and each of its alerts take at most in a store, about: labels are
// short, and there are few.
const (
	incidentWeight = 1 << 10
	memberWeight   = 512
)

// Weight returns about how many bytes the store needs for what Touched would return.
func (b *Book) Weight() int64 { return b.weight }
