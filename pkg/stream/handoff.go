package stream

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// handoff stands between the session that receives messages and the goroutine
// that sends batches to the daemon. It decides the size of batches: a batch is
// due when its last message was the stream's newest (the server says how many are
// pending), when it is full, or after lingerTime. So a slow stream is handed over
// message by message, and a backlog in full batches.
//
// Bound: queueBound batches; then put blocks, the client stops pulling and the
// backlog stays in the stream.
type handoff struct {
	maxMessages, maxBytes int
	wake                  chan struct{} // capacity 1: there is something to send
	room                  chan struct{} // capacity 1: a batch was taken

	mu     sync.Mutex
	owner  *session // whose messages are taken; late callbacks of ended sessions are refused
	anchor Anchor   // after the newest message in the queue
	queue  []*Batch // oldest first; the last one is open
	due    bool     // the open batch may go
	gaps   uint64   // sequences lost
	skips  uint64   // sequences filtered
	epochs uint64

	committed uint64 // the sequence up to which the daemon has told us that it is durable
	owed      []owed // acknowledgements of the present session, in the order of delivery
}

const (
	queueBound = 2
	lingerTime = 5 * time.Millisecond // longest wait of a message for company
)

func newHandoff(o ReaderOptions, a Anchor) *handoff {
	return &handoff{
		maxMessages: o.BatchMessages, maxBytes: o.BatchBytes, anchor: a,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// put appends a message. It returns false when s is over: the message was not
// taken and will be read again.
func (h *handoff) put(s *session, p position, msg jetstream.Msg) bool {
	for {
		h.mu.Lock()
		if h.owner != s {
			h.mu.Unlock()
			return false
		}
		if b := h.open(); b != nil {
			ring := h.append(b, s, p, msg)
			h.mu.Unlock()
			if ring {
				signal(h.wake)
			}
			return true
		}
		h.mu.Unlock()
		signal(h.wake)
		select {
		case <-h.room:
		case <-s.quit:
			return false
		}
	}
}

// append adds a message to the open batch b and says whether the sender should
// look. h.mu is held.
func (h *handoff) append(b *Batch, s *session, p position, msg jetstream.Msg) bool {
	s.delivered = p.consumer
	if s.ack != nil {
		h.owed = append(h.owed, owed{p.seq, msg.Reply()})
	}
	next := h.anchor.Seq + 1
	if p.seq < next {
		return false // a stream that wants acknowledgements gives again what has none; never count twice
	}
	if p.seq > next {
		if s.filtered {
			b.Filtered += p.seq - next
			h.skips += p.seq - next
		} else {
			b = h.notice(h.anchor.gap(CauseMissing, p.seq-1))
		}
	}
	first := len(b.Messages) == 0
	data := msg.Data()
	b.Messages = append(b.Messages, Message{Seq: p.seq, Time: p.time, Subject: msg.Subject(), Data: data, Header: msg.Headers()})
	b.Bytes += len(data)
	h.anchor.Seq, h.anchor.Time = p.seq, p.time
	b.Anchor.Seq, b.Anchor.Time = p.seq, p.time
	last := p.pending == 0
	h.due = h.due || last
	return first || last || h.full(b)
}

// open returns the batch to append to, nil when the queue is at its bound. h.mu
// is held.
func (h *handoff) open() *Batch {
	if n := len(h.queue); n > 0 && !h.full(h.queue[n-1]) {
		return h.queue[n-1]
	}
	if len(h.queue) >= queueBound {
		return nil
	}
	b := newBatch(h.anchor)
	h.queue = append(h.queue, b)
	return b
}

func (h *handoff) full(b *Batch) bool {
	return len(b.Messages) >= h.maxMessages || b.Bytes >= h.maxBytes
}

// notice puts n in order behind what was received so far and returns its batch.
// It may exceed the bound by one batch, so that it never blocks. h.mu is held.
func (h *handoff) notice(n Notice) *Batch {
	switch {
	case n.Kind == NewEpoch:
		h.epochs++
		h.committed, h.owed = n.Anchor.Seq, nil
	case n.Kind == Gap:
		h.gaps += n.Count
	}
	h.anchor = n.Anchor
	if k := len(h.queue); k > 0 && h.queue[k-1].absorb(n) {
		return h.queue[k-1]
	}
	b := newBatch(n.Anchor)
	b.Notice = &n
	h.queue = append(h.queue, b)
	return b
}

// report queues a notice from outside a session.
func (h *handoff) report(n Notice) {
	h.mu.Lock()
	h.notice(n)
	h.due = true
	h.mu.Unlock()
	signal(h.wake)
}

// skip records that no message up to and including seq is of interest, provided
// that the session has taken everything that the server had delivered to it.
func (h *handoff) skip(s *session, delivered, seq uint64, t int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owner != s || s.delivered != delivered || seq <= h.anchor.Seq {
		return
	}
	b := h.open()
	if b == nil {
		return
	}
	n := seq - h.anchor.Seq
	b.Filtered += n
	h.skips += n
	h.anchor.Seq, h.anchor.Time = seq, t
	b.Anchor = h.anchor
	h.due = true
	signal(h.wake)
}

// begin makes s the session whose messages are taken; nil takes none. After it
// returns no callback of an earlier session can change anything.
func (h *handoff) begin(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s != nil {
		h.owed = nil // to a consumer that is no more
	}
	h.owner = s
	h.due = h.due || len(h.queue) > 0
	signal(h.wake)
}

// take returns the oldest batch that may go, or nil; lingered makes a partial
// batch due. pending is true when messages wait for company.
func (h *handoff) take(lingered bool) (b *Batch, pending bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		return nil, false
	}
	b = h.queue[0]
	if len(h.queue) == 1 && !h.due && !lingered && !h.full(b) {
		return nil, true
	}
	n := copy(h.queue, h.queue[1:])
	h.queue[n] = nil
	h.queue = h.queue[:n]
	if n == 0 {
		h.due = false
	}
	signal(h.room)
	return b, n > 0
}

// run sends batches to out until ctx ends.
func (h *handoff) run(ctx context.Context, out chan<- *Batch) {
	linger := time.NewTimer(time.Hour)
	defer linger.Stop()
	lingered := false
	for {
		b, pending := h.take(lingered)
		lingered = false
		if b != nil {
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
			continue
		}
		linger.Reset(time.Hour)
		if pending {
			linger.Reset(lingerTime)
		}
		select {
		case <-h.wake:
		case <-linger.C:
			lingered = true
		case <-ctx.Done():
			return
		}
	}
}

// position returns the anchor after the newest message received.
func (h *handoff) position() Anchor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.anchor
}

// signal leaves one note in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// doubt reports that some of first..last may have been lost although it was
// counted as filtered.
func (h *handoff) doubt(s *session, first, last uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owner != s {
		return
	}
	h.notice(Notice{Kind: Gap, Cause: CauseOverrun, From: first, To: last, Anchor: h.anchor})
	h.due = true
	signal(h.wake)
}
