package ledger

import "time"

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
}

// Key is the delivery's idempotency key: the same on every attempt.
func (d Delivery) Key() string { return d.Entry.ID }
