package ledger

import (
	"cmp"
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
	// Earlier are those of the Order that this delivery takes the place of.
	Earlier []Delivery `json:"-"`
}

// Key is the delivery's idempotency key: the same on every attempt.
func (d Delivery) Key() string { return d.Entry.ID }

// Line is the chain of deliveries in which d has its place: that of its Order.
// A delivery without one is alone.
func (d Delivery) Line() string { return cmp.Or(d.Order, strconv.FormatUint(d.Seq, 10)) }

// Unheard reports whether d takes the place of deliveries of which the receiver
// never confirmed any: it hears of the matter for the first time.
func (d Delivery) Unheard() bool {
	return d.Receipt == "" && slices.ContainsFunc(d.Earlier, func(e Delivery) bool { return !e.Told })
}

// Due picks from all deliveries to one receiver, oldest first, at most limit
// that are to be sent now. What is behind a delivery of its Order that has to
// wait is not due either. With latest, one that has failed is not sent again
// once another is behind it in its Order: that one takes its place.
func Due(all iter.Seq[Delivery], now time.Time, limit int, latest bool) []Delivery {
	p := picker{now: now, latest: latest, lines: map[string]*line{}}
	for d := range all {
		if !latest && len(p.due) >= limit {
			break
		}
		p.add(d)
	}
	due := make([]Delivery, 0, min(limit, len(p.due)))
	for _, d := range p.due {
		if d != nil && len(due) < limit {
			due = append(due, *d)
		}
	}
	return due
}

type picker struct {
	now    time.Time
	latest bool
	due    []*Delivery // nil: taken back
	lines  map[string]*line
}

// A line is what was seen of one Order.
type line struct {
	told []Delivery
	held bool // one of it has to wait
	at   int  // of its last delivery in due, plus 1; 0: none
}

func (p *picker) add(d Delivery) {
	l := p.lines[d.Line()]
	if l == nil {
		l = &line{}
		p.lines[d.Line()] = l
	}
	if d.Told {
		l.told = append(l.told, d)
		return
	}
	var failed *Delivery // due, but d would take its place
	if p.latest && l.at > 0 && p.due[l.at-1].Attempt > 0 {
		failed = p.due[l.at-1]
	}
	if l.held = l.held || d.NextAt.After(p.now); l.held {
		if failed != nil {
			p.due[l.at-1], l.at = nil, 0
		}
		return
	}
	d.Earlier = slices.Clone(l.told)
	if failed != nil {
		d.Earlier = append(failed.Earlier, *failed)
		d.Attempt = max(d.Attempt, failed.Attempt)
	}
	for _, e := range slices.Backward(d.Earlier) {
		d.Receipt = cmp.Or(d.Receipt, e.Receipt)
	}
	if failed != nil {
		p.due[l.at-1] = &d
		return
	}
	p.due = append(p.due, &d)
	l.at = len(p.due)
}
