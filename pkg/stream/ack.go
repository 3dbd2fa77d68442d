package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Streams with work-queue or interest retention delete what is acknowledged, and so
// cannot be read by sequence alone. With ReaderOptions.Durable the Reader
// acknowledges every message, but only when the daemon has told that it is
// committed; what comes again is skipped by its sequence, as ever. A kill between
// the commit and the acknowledgement changes no number.
//
// Every session begins with a consumer of its own here too: an older one would give
// again what it has delivered only after its AckWait, and newer messages before. A
// work queue keeps its messages without a consumer, so the old one is deleted first,
// as it must be. A stream with interest retention keeps what some consumer has yet to
// acknowledge, so the new one is made first, under the other of two names.

// ackWait is long, since redelivery is not how lost messages are found.
const ackWait = time.Hour

// An owed is one acknowledgement that waits for a commit.
type owed struct {
	seq   uint64
	reply string
}

// open creates the consumer of a session on a stream that was verified.
func (r *Reader) open(ctx context.Context, s *session, info *jetstream.StreamInfo) (jetstream.Consumer, error) {
	if r.opts.Durable == "" {
		return r.consumer(ctx, s, s.hand.position().Seq+1)
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.RequestTimeout)
	defer cancel()
	s.ack = r.acknowledge
	names := [2]string{r.opts.Durable + "-1", r.opts.Durable + "-2"}
	cfg := jetstream.ConsumerConfig{
		Name: names[0], Durable: names[0], AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: -1,
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	if info.Config.Retention == jetstream.WorkQueuePolicy {
		if err := errors.Join(r.drop(ctx, names[0]), r.drop(ctx, names[1])); err != nil {
			return nil, err
		}
		return r.create(ctx, s, cfg)
	}
	cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, s.hand.settled()+1
	old, err := r.older(ctx, names)
	if err != nil {
		return nil, err
	}
	if old == names[0] {
		cfg.Name, cfg.Durable = names[1], names[1]
	}
	c, err := r.create(ctx, s, cfg)
	if err != nil || old == "" {
		return c, err
	}
	return c, r.drop(ctx, old)
}

// older returns which of the two consumers there is, "" for none. If a kill has left
// both, either keeps what is not committed: the first goes.
func (r *Reader) older(ctx context.Context, names [2]string) (old string, err error) {
	for _, name := range names {
		_, err := r.conn.js.Consumer(ctx, r.opts.Stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err == nil && old != "" {
			err = r.drop(ctx, old)
		}
		if err != nil {
			return "", fmt.Errorf("consumer %s on stream %s: %w", name, r.opts.Stream, err)
		}
		old = name
	}
	return old, nil
}

// drop deletes a consumer, if there is one.
func (r *Reader) drop(ctx context.Context, name string) error {
	err := r.conn.js.DeleteConsumer(ctx, r.opts.Stream, name)
	if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return fmt.Errorf("delete consumer %s on stream %s: %w", name, r.opts.Stream, err)
}

// Committed tells that everything up to an anchor is durable, and acknowledges it if
// the Reader does so. It does not wait: an acknowledgement that is lost costs a
// delivery that is skipped.
func (r *Reader) Committed(at Anchor) {
	r.mu.Lock()
	h := r.hand
	r.mu.Unlock()
	if h != nil && r.opts.Durable != "" {
		r.acknowledge(h.commit(at))
	}
}

func (r *Reader) acknowledge(replies []string) {
	for _, reply := range replies {
		_ = r.conn.nc.Publish(reply, []byte("+ACK")) // see Committed
	}
}

// commit notes what is durable and returns where to acknowledge it.
func (h *handoff) commit(at Anchor) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !at.Created.Equal(h.anchor.Created) || at.Seq > h.anchor.Seq {
		return nil // of another epoch
	}
	h.committed = max(h.committed, at.Seq)
	return h.payable()
}

// repeated returns where to acknowledge a message that was committed before it came
// again.
func (h *handoff) repeated(seq uint64) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq > h.committed {
		return nil
	}
	return h.payable()
}

// payable takes the acknowledgements that are due. h.mu is held.
func (h *handoff) payable() (replies []string) {
	n := 0
	for n < len(h.owed) && h.owed[n].seq <= h.committed {
		replies = append(replies, h.owed[n].reply)
		n++
	}
	h.owed = append(h.owed[:0], h.owed[n:]...)
	return replies
}

// settled returns the sequence up to which everything is durable.
func (h *handoff) settled() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.committed
}
