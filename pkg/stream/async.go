package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// asyncPublisher sends messages without waiting for each PubAck, and sends again
// what was not acknowledged. Every message must carry a Nats-Msg-Id: a repeat
// whose first copy did arrive is then dropped by the server.
//
// Bound: window messages without an outcome; send then blocks, trySend refuses.
// send, trySend, flush and close belong to one goroutine.
type asyncPublisher struct {
	js       jetstream.JetStream
	attempts int           // per message, including the first
	pause    time.Duration // before the second attempt; doubles
	slots    chan struct{} // one token per message without an outcome
	changed  chan struct{} // capacity 1: a failure to look at, or a free slot

	mu     sync.Mutex
	tries  map[*nats.Msg]*try // of messages that failed at least once
	failed []*nats.Msg        // to be sent again or given up
	counts PublishCounters
	lost   error // the first message given up since the last flush
}

// try is the history of a message that failed.
type try struct {
	count  int
	last   error
	queued bool // in failed: nats.go may report one failure twice, by return value and by callback
}

// PublishCounters count messages of a publisher since its start.
type PublishCounters struct {
	Sent       uint64 // distinct messages accepted
	Acked      uint64 // stored, or known to be stored
	Duplicates uint64 // of Acked: the server had the Nats-Msg-Id already
	Retried    uint64 // sent again
	Failed     uint64 // given up
}

type asyncOptions struct {
	window, attempts int
	ackWait, pause   time.Duration
}

func newAsyncPublisher(conn *Conn, o asyncOptions) (*asyncPublisher, error) {
	p := &asyncPublisher{
		attempts: o.attempts, pause: o.pause,
		slots: make(chan struct{}, o.window), changed: make(chan struct{}, 1),
		tries: make(map[*nats.Msg]*try),
	}
	js, err := jetstream.New(conn.nc,
		jetstream.WithPublishAsyncMaxPending(o.window+1), // our own window is the bound: nats.go must not stall before it
		jetstream.WithPublishAsyncTimeout(o.ackWait),
		jetstream.WithPublishAsyncAckHandler(p.acked),
		jetstream.WithPublishAsyncErrHandler(p.refused))
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	p.js = js
	return p, nil
}

// send hands m to the server, first waiting for room in the window.
func (p *asyncPublisher) send(ctx context.Context, m *nats.Msg) error {
	for {
		select {
		case p.slots <- struct{}{}:
			p.publish(m)
			return nil
		default:
		}
		if err := p.resend(ctx); err != nil {
			return err
		}
		select {
		case p.slots <- struct{}{}:
			p.publish(m)
			return nil
		case <-p.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// trySend hands m to the server if the window has room.
func (p *asyncPublisher) trySend(m *nats.Msg) bool {
	select {
	case p.slots <- struct{}{}:
		p.publish(m)
		return true
	default:
		return false
	}
}

func (p *asyncPublisher) publish(m *nats.Msg) {
	p.mu.Lock()
	p.counts.Sent++
	p.mu.Unlock()
	if _, err := p.js.PublishMsgAsync(m); err != nil {
		p.refused(p.js, m, err)
	}
}

// acked runs on nats.go's goroutine.
func (p *asyncPublisher) acked(_ jetstream.JetStream, m *nats.Msg, ack *jetstream.PubAck) {
	p.mu.Lock()
	p.counts.Acked++
	if ack.Duplicate {
		p.counts.Duplicates++
	}
	if len(p.tries) > 0 {
		delete(p.tries, m)
	}
	p.mu.Unlock()
	p.release()
}

// refused runs on nats.go's goroutine, or on the caller's when nothing was sent.
// It only takes note: resend decides.
func (p *asyncPublisher) refused(_ jetstream.JetStream, m *nats.Msg, err error) {
	p.mu.Lock()
	t := p.tries[m]
	if t == nil {
		t = new(try)
		p.tries[m] = t
	}
	t.last = err
	if !t.queued {
		t.queued = true
		t.count++
		p.failed = append(p.failed, m)
	}
	p.mu.Unlock()
	signal(p.changed)
}

func (p *asyncPublisher) release() {
	<-p.slots
	signal(p.changed)
}

// resend sends again what failed, after a pause that doubles with the attempts of
// the message that failed most often, and gives up what failed too often.
func (p *asyncPublisher) resend(ctx context.Context) error {
	worst := p.giveUp()
	if worst == 0 {
		return nil
	}
	select {
	case <-time.After(min(p.pause<<min(worst-1, 10), 2*time.Second)):
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	again := p.failed
	p.failed = nil
	for _, m := range again {
		p.tries[m].queued = false
	}
	p.counts.Retried += uint64(len(again))
	p.mu.Unlock()
	for _, m := range again {
		if _, err := p.js.PublishMsgAsync(m); err != nil {
			p.refused(p.js, m, err)
		}
	}
	return nil
}

// giveUp ends the messages that have no attempt left and returns the largest
// number of attempts among the others, 0 when there is none.
func (p *asyncPublisher) giveUp() (worst int) {
	p.mu.Lock()
	kept := p.failed[:0]
	ended := 0
	for _, m := range p.failed {
		t := p.tries[m]
		if t.count < p.attempts && !errors.Is(t.last, nats.ErrMaxPayload) && !errors.Is(t.last, nats.ErrConnectionClosed) {
			kept = append(kept, m)
			worst = max(worst, t.count)
			continue
		}
		delete(p.tries, m)
		ended++
		if p.lost == nil {
			p.lost = fmt.Errorf("publish %s on %s, attempt %d: %w", m.Header.Get(nats.MsgIdHdr), m.Subject, t.count, t.last)
		}
	}
	clear(p.failed[len(kept):])
	p.failed = kept
	p.counts.Failed += uint64(ended)
	p.mu.Unlock()
	for range ended {
		p.release()
	}
	return worst
}

// flush waits until every message has an outcome. It returns the first failure
// since the last flush, or ctx's error.
func (p *asyncPublisher) flush(ctx context.Context) error {
	for len(p.slots) > 0 {
		if err := p.resend(ctx); err != nil {
			return err
		}
		if len(p.slots) == 0 {
			break
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return fmt.Errorf("flush of %d messages: %w", len(p.slots), ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lost := p.lost
	p.lost = nil
	return lost
}

func (p *asyncPublisher) counters() PublishCounters {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// close lets go of the reply subscription; what has no outcome stays without one.
func (p *asyncPublisher) close() { p.js.CleanupPublisher() }
