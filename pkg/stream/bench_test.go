package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/stream"
)

// benchMessages of 727 bytes (an event with 20 features) fill a stream once.
const benchMessages = 400_000

// bench returns a connection to a server in another process with a full stream.
func bench(b *testing.B) *stream.Conn {
	b.Helper()
	c := connect(b, stream.Options{URL: serverProcess(b), MustConnect: true})
	input(b, c, nil)
	p, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{Window: 4000})
	must(b, err)
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	body := make([]byte, 727)
	for i := range benchMessages {
		must(b, p.Publish(ctx, stream.OutgoingEvent{Subject: one(i), Kind: "prediction", ID: fmt.Sprint(i), Data: body}))
	}
	must(b, p.Flush(ctx))
	return c
}

func bare(b *testing.B, c *stream.Conn) time.Duration {
	b.Helper()
	took, err := stream.BareConsume(testContext(b), c.JetStream(), "ML", benchMessages)
	must(b, err)
	return took
}

// whole reads the stream through a Reader, as the daemon does.
func whole(b *testing.B, c *stream.Conn) time.Duration {
	b.Helper()
	reader, err := stream.NewReader(c, stream.ReaderOptions{Stream: "ML"})
	must(b, err)
	ctx, stop := context.WithCancel(testContext(b))
	defer stop()
	out, done := make(chan *stream.Batch), make(chan error, 1)
	start := time.Now()
	go func() { done <- reader.Run(ctx, stream.Anchor{}, out) }()
	for n := 0; n < benchMessages; {
		batch := <-out
		n += len(batch.Messages)
		batch.Release()
	}
	took := time.Since(start)
	stop()
	must(b, <-done)
	return took
}

func rate(d time.Duration, n int) float64 { return float64(n) * benchMessages / d.Seconds() }

func BenchmarkBareOrderedConsumer(b *testing.B) {
	c := bench(b)
	b.ResetTimer()
	var sum time.Duration
	for range b.N {
		sum += bare(b, c)
	}
	b.ReportMetric(rate(sum, b.N), "msg/s")
}

// BenchmarkReader alternates with the bare consumer, so that the ratio does not
// depend on the machine's mood.
func BenchmarkReader(b *testing.B) {
	c := bench(b)
	b.ResetTimer()
	var ceiling, sum time.Duration
	for range b.N {
		ceiling += bare(b, c)
		sum += whole(b, c)
	}
	b.ReportMetric(rate(sum, b.N), "msg/s")
	b.ReportMetric(ceiling.Seconds()/sum.Seconds(), "ratio")
}

// BenchmarkPublish is the rate of stored events with PubAcks and Nats-Msg-Id.
func BenchmarkPublish(b *testing.B) {
	c := connect(b, stream.Options{URL: serverProcess(b), MustConnect: true})
	input(b, c, nil)
	p, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{})
	must(b, err)
	defer p.Close()
	body := make([]byte, 727)
	b.ResetTimer()
	for i := range b.N {
		must(b, p.Publish(context.Background(), stream.OutgoingEvent{Subject: one(i), Kind: "prediction", ID: fmt.Sprint(i), Data: body}))
	}
	must(b, p.Flush(context.Background()))
}
