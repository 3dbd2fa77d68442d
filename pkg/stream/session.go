package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// session is the life of one consumer: from a verified anchor to the first doubt.
// It ends rather than repairs; the next one begins at the anchor, so nothing is
// lost or doubled by ending too often.
type session struct {
	hand     *handoff
	prefix   string // of the reply subjects of this consumer
	filtered bool   // gaps in sequence are normal
	quit     chan struct{}
	broken   chan error // capacity 1: the first reason to end

	ack       func(replies []string) // nil: nothing is acknowledged
	next      uint64                 // consumer sequence expected; only the callback touches it
	stopped   bool                   // nothing more is taken; only the callback touches it
	delivered uint64                 // consumer sequence taken; guarded by hand.mu
}

// session verifies the stream, consumes until something breaks and says what.
func (r *Reader) session(ctx context.Context, h *handoff) error {
	if ok, _ := r.conn.state(); !ok {
		r.setReady(false, errDisconnected.Error())
		if !r.conn.wait(ctx) {
			return nil
		}
	}
	_, changed := r.conn.state() // from here on every change of the connection ends the session
	info, err := r.verify(ctx, h)
	if err != nil {
		return err
	}
	s := &session{
		hand: h, next: 1, filtered: !covered(r.filters, info.Config.Subjects),
		quit: make(chan struct{}), broken: make(chan error, 1),
	}
	consumer, err := r.open(ctx, s, info)
	if err != nil {
		return err
	}
	if r.opts.Durable == "" {
		defer r.remove(consumer.CachedInfo().Name)
	}
	// The consumer belongs to one incarnation of the stream. Asking again tells
	// that it is the one which was verified.
	if again, err := r.info(ctx); err != nil {
		return err
	} else if !again.Created.Equal(info.Created) {
		return errStreamMoved
	}
	h.begin(s)
	defer h.begin(nil)
	defer close(s.quit)
	running, err := consumer.Consume(s.handle,
		jetstream.PullMaxMessagesWithBytesLimit(r.opts.WindowMessages, r.opts.WindowBytes),
		jetstream.PullHeartbeat(3*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { s.end(err) }))
	if err != nil {
		return fmt.Errorf("consume %s: %w", r.opts.Stream, err)
	}
	defer running.Stop()
	r.setReady(true, "")
	r.removeOrphans()
	return r.watch(ctx, s, consumer, changed)
}

// watch waits for the end of the session and checks the stream meanwhile.
func (r *Reader) watch(ctx context.Context, s *session, c jetstream.Consumer, changed <-chan struct{}) error {
	tick := time.NewTicker(r.opts.CheckEvery)
	defer tick.Stop()
	front := s.hand.position().Seq + 1 // where we were at the last check
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			return errDisconnected
		case err := <-s.broken:
			return err
		case <-tick.C:
			var err error
			if front, err = r.check(ctx, s, c, front); err != nil {
				return err
			}
		}
	}
}

// check compares the live position with the stream. A request that fails does
// not end the session: messages may well flow while the server's API is slow.
func (r *Reader) check(ctx context.Context, s *session, c jetstream.Consumer, front uint64) (uint64, error) {
	at := s.hand.position()
	v, info, err := r.view(ctx, at)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return front, err
	}
	if err != nil {
		return front, nil //nolint:nilerr // see above; a lost connection ends the session by itself
	}
	n, ok := at.check(v)
	if !ok && n.Kind == NewEpoch {
		return front, fmt.Errorf("%w: %s", errStreamMoved, n.Cause)
	}
	consumer, err := r.consumerInfo(ctx, c)
	if err != nil {
		return front, nil //nolint:nilerr // see above
	}
	idle := consumer.NumPending == 0
	switch {
	case !ok && idle && consumer.Delivered.Consumer == s.taken():
		// The stream begins after us and nothing is on its way: a new session
		// reports the gap. Otherwise what is on its way may not be lost at all,
		// and the next delivery tells.
		return front, fmt.Errorf("%w: %s", errStreamMoved, n.Cause)
	case s.filtered && r.opts.Durable == "" && v.first > front:
		// Limits ran through the part that we were reading: what was counted as
		// filtered may hold messages removed before their delivery.
		s.hand.doubt(s, front, v.first-1)
	case s.filtered && idle:
		s.hand.skip(s, consumer.Delivered.Consumer, v.last, info.State.LastTime.UnixNano())
	}
	return at.Seq + 1, nil
}

// verify compares the anchor with the stream, reports what it finds and returns
// the stream's info; afterwards the anchor is valid for it.
func (r *Reader) verify(ctx context.Context, h *handoff) (*jetstream.StreamInfo, error) {
	at := h.position()
	v, info, err := r.view(ctx, at)
	if err != nil {
		return nil, err
	}
	if info.Config.Retention != jetstream.LimitsPolicy && r.opts.Durable == "" {
		return nil, &RetentionError{Stream: r.opts.Stream, Retention: info.Config.Retention}
	}
	if n, ok := at.check(v); !ok {
		h.report(n)
	}
	return info, nil
}

// view asks the server about the stream, and about the message at the anchor when
// it can still be stored.
func (r *Reader) view(ctx context.Context, at Anchor) (view, *jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.RequestTimeout)
	defer cancel()
	stream, err := r.conn.js.Stream(ctx, r.opts.Stream)
	if err != nil {
		return view{}, nil, fmt.Errorf("info of stream %s: %w", r.opts.Stream, err)
	}
	info := stream.CachedInfo()
	r.setStream(info, time.Now())
	v := view{created: info.Created, first: info.State.FirstSeq, last: info.State.LastSeq}
	if r.opts.Durable != "" && at.Created.Equal(v.created) && at.Seq <= v.last && !covered(r.filters, info.Config.Subjects) {
		v.first = min(v.first, at.Seq+1) // what is gone was of others, who have acknowledged it
	}
	stored := at.Time != 0 && at.Created.Equal(v.created) && at.Seq >= v.first && at.Seq <= v.last
	if !stored {
		return v, info, nil
	}
	msg, err := stream.GetMsg(ctx, at.Seq)
	switch {
	case err == nil:
		v.time = msg.Time.UnixNano()
	case !errors.Is(err, jetstream.ErrMsgNotFound): // deleted or expired just now: nothing to compare
		return view{}, nil, fmt.Errorf("message %d of stream %s: %w", at.Seq, r.opts.Stream, err)
	}
	return v, info, nil
}

func (r *Reader) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	_, info, err := r.view(ctx, Anchor{})
	return info, err
}

func (r *Reader) consumerInfo(ctx context.Context, c jetstream.Consumer) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.RequestTimeout)
	defer cancel()
	return c.Info(ctx)
}

// consumer creates the session's consumer at sequence start. It lives in the
// server's memory, so that it cannot outlast a restart and deliver from a stream
// that was not verified.
func (r *Reader) consumer(ctx context.Context, s *session, start uint64) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.RequestTimeout)
	defer cancel()
	return r.create(ctx, s, jetstream.ConsumerConfig{
		Name:              "driftd_" + nuid.Next(),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       start,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: time.Minute, // the server removes it when we could not
	})
}

// create makes a consumer of the session's subjects.
func (r *Reader) create(ctx context.Context, s *session, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	s.prefix = replyPrefix(r.opts.Stream, cfg.Name)
	if s.filtered && len(r.filters) == 1 {
		cfg.FilterSubject = r.filters[0] // the form that old servers' permissions know
	} else if s.filtered {
		cfg.FilterSubjects = r.filters
	}
	c, err := r.conn.js.CreateConsumer(ctx, r.opts.Stream, cfg)
	if err != nil {
		return nil, fmt.Errorf("consumer on stream %s: %w", r.opts.Stream, err)
	}
	r.mu.Lock()
	r.status.Sessions++
	r.mu.Unlock()
	return c, nil
}

// remove deletes the consumer of an ended session, now or, after a cut, in the
// next session.
func (r *Reader) remove(name string) {
	if ok, _ := r.conn.state(); !ok || !r.deleteConsumer(name) {
		r.orphans = append(r.orphans, name)
	}
}

// removeOrphans deletes the consumers that remove could not. Failing is harmless:
// the server removes an inactive consumer by itself.
func (r *Reader) removeOrphans() {
	for _, name := range r.orphans {
		r.deleteConsumer(name)
	}
	r.orphans = nil
}

// deleteConsumer tells whether the consumer is gone. It does not take the Run's
// context: a stopping reader tidies up as well.
func (r *Reader) deleteConsumer(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	err := r.conn.js.DeleteConsumer(ctx, r.opts.Stream, name)
	var refused *jetstream.APIError // not found, or something else that a repeat does not change
	return err == nil || errors.As(err, &refused) || errors.Is(err, jetstream.ErrConsumerNotFound)
}

// handle takes one message. It runs on the subscription's goroutine, one at a
// time, and blocks when the daemon is behind.
func (s *session) handle(msg jetstream.Msg) {
	if s.stopped {
		return
	}
	p, ok := positionOf(msg, s.prefix)
	switch {
	case !ok:
		s.end(errReply)
	case p.consumer != s.next:
		s.end(fmt.Errorf("%w: %d after %d", errSequence, p.consumer, s.next-1))
	case s.hand.put(s, p, msg):
		s.next++
		if s.ack != nil {
			s.ack(s.hand.repeated(p.seq))
		}
		return
	}
	s.stopped = true // one message was not taken: none behind it may be
}

// end leaves the first reason for ending the session.
func (s *session) end(err error) {
	select {
	case s.broken <- err:
	default:
	}
}

// taken returns the consumer sequence of the last message taken.
func (s *session) taken() uint64 {
	s.hand.mu.Lock()
	defer s.hand.mu.Unlock()
	return s.delivered
}
