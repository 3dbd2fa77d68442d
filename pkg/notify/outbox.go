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
	// Due returns what ledger.Due picks of all deliveries to the receiver, with
	// Entry filled.
	Due(receiver string, now time.Time, limit int, latest bool) ([]ledger.Delivery, error)
	// Settle records what came of a delivery. d carries the new Attempt, NextAt,
	// LastError and Receipt already. Delivered deletes it, or keeps it as told if
	// it has a Receipt; Retry stores d in its place; Dead moves it to the dead
	// letters. Delivered and Dead end those of d.Earlier too, at the same moment.
	// Settling a delivery that is not owed any more does nothing.
	Settle(d ledger.Delivery, o Outcome) error
	// Hurry lets what is owed to the receiver wait for no other attempt: as if none
	// had been made.
	Hurry(receiver string) error
	// Owed counts the deliveries not told yet, due or not, and gives the
	// IssuedAt of the oldest (zero when there is none).
	Owed(receiver string) (n int, oldest time.Time, err error)
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
	At     time.Time // of the next attempt with Retry, of this one otherwise
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
	ReasonRedirect    Reason = "redirect"     // status 3xx: never followed
	ReasonRejected    Reason = "rejected"     // any other status that is not 2xx: dead at once
	ReasonExpired     Reason = "expired"      // ExpiresAt has passed: dead
	ReasonEncode      Reason = "encode"       // the entry cannot be told to this kind of receiver: dead
	ReasonSecret      Reason = "secret"       // the receiver's secret cannot be read now, or is none
	ReasonStore       Reason = "store"        // our own Outbox failed; nothing is lost
)

// A Sink tells one receiver about one entry. Its methods may be called from
// several goroutines.
type Sink interface {
	// Send returns nil when the receiver has confirmed. An *Error says whether
	// and when to try again; any other error is retried as ReasonNetwork. It
	// may be called again for a delivery that did arrive.
	Send(ctx context.Context, d ledger.Delivery) error
}

// A Threader is a Sink that builds on what its receiver answered earlier in an
// Order, such as Slack's, which changes the message that it posted.
type Threader interface {
	Sink
	// SendThread is Send for d.Receipt, and returns the receipt to remember: also
	// together with an error, when a part of the work is done. Nothing is
	// remembered of an Order by an empty one.
	SendThread(ctx context.Context, d ledger.Delivery) (receipt string, err error)
}

// An Error is a failed Send. Its text holds no secret.
type Error struct {
	Reason     Reason
	Permanent  bool          // do not try again
	RetryAfter time.Duration // the receiver asked not to be called earlier; 0: it did not ask
	Status     int           // of HTTP; 0 without an answer
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
