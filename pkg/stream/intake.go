package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrBusy says that an Intake has as many messages on their way as it may have:
// the server is slower than the publishers.
var ErrBusy = errors.New("too many events wait for their acknowledgement")

// ErrNotAllowed says that the server's permissions refuse a subject to driftd.
var ErrNotAllowed = errors.New("NATS does not allow driftd to publish there: its user needs the permission (docs/access.md)")

// IntakeOptions bound an Intake; zero values stand for the defaults named.
type IntakeOptions struct {
	Window  int           // messages without a PubAck; 16,384
	AckWait time.Duration // after which a message counts as not stored; 1 s
}

// Validate reports every fault of o at once.
func (o IntakeOptions) Validate() error {
	if o.Window < 0 || o.AckWait < 0 {
		return errors.New("intake: options must not be negative")
	}
	return nil
}

// An Intake publishes events on behalf of many goroutines, such as HTTP handlers,
// each of which waits for the PubAcks of its own. It sends nothing twice: whoever
// owes the events repeats them, under the same ids. Safe for concurrent use.
//
// Bound: Window messages without an outcome. Publish never waits for room.
type Intake struct {
	conn   *Conn
	js     jetstream.JetStream
	window int
	wait   time.Duration
}

// NewIntake prepares an intake.
func NewIntake(conn *Conn, o IntakeOptions) (*Intake, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	i := &Intake{conn: conn, window: o.Window, wait: o.AckWait}
	if i.window == 0 {
		i.window = 16384
	}
	if i.wait == 0 {
		i.wait = time.Second
	}
	js, err := jetstream.New(conn.nc,
		// Requests look at what is pending and then add to it, not both at once:
		// nats.go must not stall between.
		jetstream.WithPublishAsyncMaxPending(4*i.window),
		jetstream.WithPublishAsyncTimeout(i.wait))
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	i.js = js
	return i, nil
}

// Publish stores events and waits for their PubAcks, until ctx ends. It returns
// the indices of those that the stream had already, by their Nats-Msg-Id. After an error
// some may be stored; the same events again are harmless. ErrBusy says that none
// was sent.
func (i *Intake) Publish(ctx context.Context, events []OutgoingEvent) (duplicates []int, err error) {
	if i.js.PublishAsyncPending()+len(events) > i.window {
		return nil, ErrBusy
	}
	began := time.Now()
	acks := make([]jetstream.PubAckFuture, len(events))
	for n := range events {
		if acks[n], err = i.js.PublishMsgAsync(events[n].message(), jetstream.WithRetryAttempts(0)); err != nil {
			return nil, fmt.Errorf("publish on %s: %w", events[n].Subject, err)
		}
	}
	for n, ack := range acks {
		duplicate, err := i.await(ctx, ack, events[n].Subject, began)
		if err != nil {
			return duplicates, fmt.Errorf("publish on %s: %w", events[n].Subject, err)
		}
		if duplicate {
			duplicates = append(duplicates, n)
		}
	}
	return duplicates, nil
}

// await waits for one PubAck. There is none for a message that the permissions refuse:
// the server says so aside.
func (i *Intake) await(ctx context.Context, ack jetstream.PubAckFuture, subject string, began time.Time) (duplicate bool, err error) {
	for {
		at, next := i.conn.refusal(subject)
		if !at.Before(began) {
			return false, ErrNotAllowed
		}
		select {
		case a := <-ack.Ok():
			return a.Duplicate, nil
		case err := <-ack.Err():
			return false, err
		case <-ctx.Done():
			return false, fmt.Errorf("no acknowledgement: %w", ctx.Err())
		case <-next:
		}
	}
}

// Close releases the intake. What has no outcome stays without one.
func (i *Intake) Close() { i.js.CleanupPublisher() }

// message is the event on the wire.
func (e *OutgoingEvent) message() *nats.Msg {
	h := e.Header
	if h == nil {
		h = make(nats.Header, 1)
	}
	h[nats.MsgIdHdr] = []string{headerText(e.Kind + ":" + e.ID)}
	return &nats.Msg{Subject: e.Subject, Header: h, Data: e.Data}
}
