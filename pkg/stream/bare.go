package stream

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BareConsume reads the first n messages of a stream with nats.go's
// OrderedConsumer and a callback that does nothing, and returns the time from the
// first request to the n-th message: the ceiling to which ratios refer.
func BareConsume(ctx context.Context, js jetstream.JetStream, stream string, n int) (time.Duration, error) {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return 0, fmt.Errorf("bare consume of %s: %w", stream, err)
	}
	o := DefaultReaderOptions(stream)
	var seen atomic.Int64
	done := make(chan struct{})
	start := time.Now()
	running, err := consumer.Consume(func(jetstream.Msg) {
		if seen.Add(1) == int64(n) {
			close(done)
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(o.WindowMessages, o.WindowBytes))
	if err != nil {
		return 0, fmt.Errorf("bare consume of %s: %w", stream, err)
	}
	defer running.Stop()
	select {
	case <-done:
		return time.Since(start), nil
	case <-ctx.Done():
		return time.Since(start), fmt.Errorf("bare consume of %s: %d of %d messages: %w", stream, seen.Load(), n, ctx.Err())
	}
}
