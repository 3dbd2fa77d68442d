package notify

import (
	"context"
	"errors"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// An Outbox is the durable list of deliveries owed. Its methods are called
// from one goroutine per receiver, concurrently for different receivers.
type Outbox interface {
	// Due returns at most limit deliveries to the receiver whose NextAt is not
	// after now, oldest entry first, with Entry filled. A delivery behind one
	// of its Order that is not due yet is not due either. Ready does this for
	// an Outbox that can list all it owes.
	Due(receiver string, now time.Time, limit int) ([]ledger.Delivery, error)
	// Settle records what came of a delivery. d carries the new Attempt, NextAt
	// and LastError already. Delivered deletes it, Retry stores d in its place,
	// Dead moves it to the dead letters. Settling a delivery that is not owed
	// any more does nothing.
	Settle(d ledger.Delivery, o Outcome) error
	// Owed counts the deliveries not settled yet, due or not, and gives the
	// IssuedAt of the oldest (zero when there is none).
	Owed(receiver string) (n int, oldest time.Time, err error)
}

// Ready picks from all deliveries owed to one receiver, oldest first, those
// that Outbox.Due has to return.
func Ready(owed []ledger.Delivery, now time.Time, limit int) []ledger.Delivery {
	var due []ledger.Delivery
	held := map[string]bool{}
	for _, d := range owed {
		if len(due) == limit {
			break
		}
		if order := orderOf(d); d.NextAt.After(now) || held[order] {
			held[order] = true
			continue
		}
		due = append(due, d)
	}
	return due
}

// orderOf is the chain of deliveries in which d has its place; a delivery
// without an Order is alone.
func orderOf(d ledger.Delivery) string {
	if d.Order == "" {
		return d.Key()
	}
	return d.Order
}

// A Result says what has to happen to a delivery.
type Result uint8

// The results.
const (
	Delivered Result = iota + 1 // the receiver has confirmed
	Retry                       // try again at Outcome.At
	Dead                        // never try again
)

// String returns "delivered", "retry" or "dead".
func (r Result) String() string {
	switch r {
	case Delivered:
		return "delivered"
	case Retry:
		return "retry"
	case Dead:
		return "dead"
	}
	return "unknown"
}

// An Outcome is what came of one attempt.
type Outcome struct {
	Result Result
	Reason Reason    // why it failed; empty when delivered
	Err    error     // what the receiver said, without secrets; nil when delivered
	At     time.Time // of the next attempt; only with Retry
}

// A Reason is the class of a failure: the label `reason` of
// driftd_notifications_failed_total.
type Reason string

// The reasons.
const (
	ReasonNetwork     Reason = "network"      // no connection, reset, name not found
	ReasonTimeout     Reason = "timeout"      // no answer in time, or status 408
	ReasonRateLimited Reason = "rate_limited" // status 429: the whole receiver pauses
	ReasonServer      Reason = "server"       // status 5xx
	ReasonRejected    Reason = "rejected"     // any other status that is not 2xx: dead at once
	ReasonExpired     Reason = "expired"      // ExpiresAt has passed: dead
	ReasonEncode      Reason = "encode"       // the entry cannot be told to this kind of receiver: dead
	ReasonSecret      Reason = "secret"       // the receiver's secret cannot be read now, or is none
	ReasonStore       Reason = "store"        // our own Outbox failed; nothing is lost
)

// A Sink tells one receiver about one entry.
type Sink interface {
	// Send returns nil when the receiver has confirmed. An *Error says whether
	// and when to try again; any other error is retried as ReasonNetwork. It
	// may be called again for a delivery that did arrive.
	Send(ctx context.Context, d ledger.Delivery) error
}

// An Error is a failed Send. Its text holds no secret.
type Error struct {
	Reason     Reason
	Permanent  bool          // do not try again
	RetryAfter time.Duration // the receiver asked not to be called earlier; 0: it did not ask
	Err        error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// asError classes any error of a Sink.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Reason: ReasonTimeout, Err: err}
	}
	return &Error{Reason: ReasonNetwork, Err: err}
}

// unsendable is the Error of an entry that can never be sent.
func unsendable(err error) *Error {
	return &Error{Reason: ReasonEncode, Permanent: true, Err: err}
}
