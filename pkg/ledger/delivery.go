package ledger

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// A Delivery is what is still owed to one receiver for one entry. It is
// deleted when the receiver has confirmed, and moved to the dead letters when
// the receiver refused for good.
//
// Deliveries of one Order to one receiver are sent oldest first; a failing one
// holds back only its own Order.
type Delivery struct {
	Receiver  string    `json:"receiver"`
	Entry     Entry     `json:"-"`     // stored once, in the ledger
	Seq       uint64    `json:"seq"`   // Entry.Seq
	Order     string    `json:"order"` // the alert's dedup key; the entry's id otherwise
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"` // zero: never
	Attempt   int       `json:"attempt"`
	NextAt    time.Time `json:"next_at"` // not before; zero: at once
	LastError string    `json:"last_error,omitempty"`

	// Receipt is what the receiver answered and later deliveries of the Order
	// need, such as where a message stands. Only the receiver's sink reads it.
	Receipt string `json:"receipt,omitempty"`
	// Told: the receiver has confirmed. Nothing is owed any more; the delivery
	// stays for its Receipt until one behind it in the Order takes its place.
	Told bool `json:"told,omitempty"`
	// ToldAt is when, wall time.
	ToldAt time.Time `json:"told_at,omitzero"`
	// GoneAt is since when, wall time, the receiver was found not to be named any more.
	GoneAt time.Time `json:"gone_at,omitzero"`
	// Held are keys of alerts of a group that fired and were muted when it was told,
	// ascending: all of them, which is as many as fire in an incident at most.
	Held []string `json:"held,omitempty"`
	// Earlier are those of the Order that this delivery takes the place of.
	Earlier []Delivery `json:"-"`

	// Grouped: Order is the id of an incident, and Group is what is told.
	Grouped bool   `json:"grouped,omitempty"`
	Timing  Timing `json:"timing,omitzero"`
	// Severity is that of the incident when the delivery was issued.
	Severity string `json:"severity,omitempty"`
	// Closing: nothing of the incident fires for this receiver any more.
	Closing bool `json:"closing,omitempty"`
	// For are the receivers in whose place this one hears, since nobody has
	// acknowledged what they were told; it hears at NotBefore.
	For       []string  `json:"in_place_of,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	// Names of the time intervals within which the receiver is not told, and of those
	// outside of which it is not.
	MuteTimeIntervals   []string `json:"mute_time_intervals,omitempty"`
	ActiveTimeIntervals []string `json:"active_time_intervals,omitempty"`

	Group *Group `json:"-"`
	// Moot: there is nothing to tell any more. It is settled, and not sent.
	Moot bool `json:"-"`
	// Repeat: nothing has changed since the receiver was told, and it is to hear of it
	// again. One that is Told and no Repeat is due if nothing mutes what it has Held.
	Repeat bool `json:"-"`
}

// A Timing says when a group is told: Wait after its first change that was not, not
// before Interval has passed since the receiver was told last, but at once when what
// was told has become worse, and again after Repeat (zero: never) while it fires.
type Timing struct {
	Wait     time.Duration `json:"wait,omitempty"`
	Interval time.Duration `json:"interval,omitempty"`
	Repeat   time.Duration `json:"repeat,omitempty"`
}

// Key is the delivery's idempotency key: the same on every attempt.
func (d Delivery) Key() string {
	switch {
	case !d.Grouped:
		return d.Entry.ID
	case d.Told: // again
		return fmt.Sprintf("%s/%d/%d", d.Order, d.Seq, d.ToldAt.Unix())
	}
	return fmt.Sprintf("%s/%d", d.Order, d.Seq)
}

// Lead is the entry that a delivery speaks of: of a Group the first of its alerts.
func (d Delivery) Lead() Entry {
	if d.Group != nil && len(d.Group.Alerts) > 0 {
		return d.Group.Alerts[0]
	}
	return d.Entry
}

// Line is the chain of deliveries in which d has its place: that of its Order.
// A delivery without one is alone.
func (d Delivery) Line() string { return cmp.Or(d.Order, strconv.FormatUint(d.Seq, 10)) }

// Unheard reports whether the receiver hears of the matter for the first time: of
// what is not Grouped, whether d takes the place of deliveries of which it never
// confirmed any.
func (d Delivery) Unheard() bool {
	if d.Grouped {
		return !d.Told && !slices.ContainsFunc(d.Earlier, func(e Delivery) bool { return e.Told })
	}
	return d.Receipt == "" && slices.ContainsFunc(d.Earlier, func(e Delivery) bool { return !e.Told })
}

// Due picks from all deliveries to one receiver, oldest first, at most limit
// that are to be sent now. What is behind a delivery of its Order that has to
// wait is not due either. With latest only the last of each Order is: it takes the
// place of those before it, and of what is Grouped it is due when its Timing says so.
func Due(all iter.Seq[Delivery], now time.Time, limit int, latest bool) []Delivery {
	var due []Delivery
	lines := map[string]*line{}
	for d := range all {
		l := lines[d.Line()]
		if l == nil {
			l = &line{}
			lines[d.Line()] = l
		}
		switch {
		case d.Told:
			l.told = append(l.told, d)
		case latest:
			l.owed = append(l.owed, d)
		case l.held || d.NextAt.After(now):
			l.held = true
		default:
			due = append(due, d.behind(l.told))
		}
		if len(due) >= limit {
			return due
		}
	}
	if latest {
		for _, l := range lines {
			due = append(due, l.last(now)...)
		}
		slices.SortFunc(due, func(a, b Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return due[:min(limit, len(due))]
}

// A line is the deliveries of one Order.
type line struct {
	told, owed []Delivery
	held       bool // one of it has to wait, where all are told
}

// last returns the last delivery of a line if it is due.
func (l *line) last(now time.Time) []Delivery {
	if len(l.owed) == 0 {
		return l.repeat(now)
	}
	d := l.owed[len(l.owed)-1]
	d.For = slices.Clone(d.For)
	for _, o := range slices.Concat(l.told, l.owed) {
		for _, name := range o.For {
			if !slices.Contains(d.For, name) {
				d.For = append(d.For, name)
			}
		}
	}
	at := l.notBefore()
	if n := len(l.told); d.Grouped && (n == 0 || !worse(d.Severity, l.told[n-1].Severity)) {
		at = later(at, l.owed[0].IssuedAt.Add(d.Timing.Wait))
		if n > 0 {
			at = later(at, l.told[n-1].ToldAt.Add(d.Timing.Interval))
		}
	}
	for _, o := range l.owed {
		at = later(at, o.NextAt)
		d.Attempt = max(d.Attempt, o.Attempt)
	}
	if at.After(now) {
		return nil
	}
	return []Delivery{d.behind(slices.Concat(l.told, l.owed[:len(l.owed)-1]))}
}

// notBefore returns when the receiver may hear: at once of what is its own and, once it has
// heard, of all; in the place of others at the earliest time of what began.
func (l *line) notBefore() (at time.Time) {
	if len(l.told) > 0 {
		return at
	}
	for _, o := range l.owed {
		if len(o.For) == 0 {
			return o.NotBefore
		}
		at = Earlier(at, o.NotBefore)
	}
	return at
}

// repeat returns what was told if it may have to be told again.
func (l *line) repeat(now time.Time) []Delivery {
	d := l.told[len(l.told)-1]
	d.Repeat = d.Timing.Repeat > 0 && !d.ToldAt.Add(d.Timing.Repeat).After(now)
	if d.Closing || d.NextAt.After(now) || !d.Repeat && len(d.Held) == 0 {
		return nil
	}
	return []Delivery{d.behind(l.told)}
}

// behind returns d in the place of earlier ones of its line.
func (d Delivery) behind(earlier []Delivery) Delivery {
	d.Earlier = slices.DeleteFunc(slices.Clone(earlier), func(e Delivery) bool { return e.Seq == d.Seq })
	for _, e := range slices.Backward(earlier) {
		d.Receipt = cmp.Or(d.Receipt, e.Receipt)
	}
	return d
}

// Earlier returns the earlier of two times, of which zero is none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// severities, from the least to the worst.
var severities = []string{"info", "ticket", "page"}

func worse(a, b string) bool { return slices.Index(severities, a) > slices.Index(severities, b) }
