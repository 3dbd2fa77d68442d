package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// EventPublisherOptions configure an EventPublisher; zero values stand for the
// defaults named.
type EventPublisherOptions struct {
	Window   int           // messages without a PubAck; 1,000
	Attempts int           // per message, including the first; 10
	AckWait  time.Duration // for one PubAck before sending again; 5 s
	Pause    time.Duration // before the second attempt, doubling to 2 s; 100 ms
}

// Validate reports every fault of o at once.
func (o EventPublisherOptions) Validate() error {
	if o.Window < 0 || o.Attempts < 0 || o.AckWait < 0 || o.Pause < 0 {
		return errors.New("event publisher: options must not be negative")
	}
	return nil
}

func (o EventPublisherOptions) async() asyncOptions {
	a := asyncOptions{window: o.Window, attempts: o.Attempts, ackWait: o.AckWait, pause: o.Pause}
	if a.window == 0 {
		a.window = 1000
	}
	if a.attempts == 0 {
		a.attempts = 10
	}
	if a.ackWait == 0 {
		a.ackWait = 5 * time.Second
	}
	if a.pause == 0 {
		a.pause = 100 * time.Millisecond
	}
	return a
}

// OutgoingEvent is one event to publish.
type OutgoingEvent struct {
	Subject string      // built by the caller from its template
	Kind    string      // prediction, outcome or kpi; req or res of a half
	ID      string      // of the event; Nats-Msg-Id is <kind>:<id>
	Data    []byte      // must not be changed before Flush
	Header  nats.Header // more headers; nil = none. It becomes the publisher's.
}

// EventPublisher publishes events with PubAcks, as every publisher of events
// should: a core publish into a stream lost 7-14 % of 300,000 events silently
// under load. Its methods, except Counters, belong to one goroutine. After a
// retry the order of messages may differ.
type EventPublisher struct{ async *asyncPublisher }

// NewEventPublisher prepares a publisher.
func NewEventPublisher(conn *Conn, o EventPublisherOptions) (*EventPublisher, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	a, err := newAsyncPublisher(conn, o.async())
	if err != nil {
		return nil, err
	}
	return &EventPublisher{async: a}, nil
}

// Publish sends e, blocking while the window is full. Its outcome shows in
// Counters and in the error of the next Flush; the error here is only ctx's.
func (p *EventPublisher) Publish(ctx context.Context, e OutgoingEvent) error {
	return p.async.send(ctx, e.message())
}

// Flush waits until every event has been stored or given up, and returns the
// first failure since the last Flush.
func (p *EventPublisher) Flush(ctx context.Context) error { return p.async.flush(ctx) }

// Counters returns the counts so far. Safe for concurrent use.
func (p *EventPublisher) Counters() PublishCounters { return p.async.counters() }

// Close releases the publisher; Flush first.
func (p *EventPublisher) Close() { p.async.close() }
