package stream_test

import (
	"context"
	"fmt"
	"os"

	"driftd.dev/driftd/pkg/stream"
)

// A stream is read from an anchor; what a batch's Anchor says is what a checkpoint
// stores and the next Run begins with.
func ExampleReader() {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	defer os.RemoveAll(dir)
	server, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: dir})
	check(err)
	defer server.Shutdown()
	conn, err := stream.Connect(stream.Options{InProcess: server, MustConnect: true})
	check(err)
	defer conn.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	_, err = stream.EnsureStream(ctx, conn.JetStream(), stream.InputStream())
	check(err)
	events, err := stream.NewEventPublisher(conn, stream.EventPublisherOptions{})
	check(err)
	defer events.Close()
	for _, id := range []string{"a", "b", "a"} { // the third is a repeat of the first
		check(events.Publish(ctx, stream.OutgoingEvent{Subject: "ml.predictions.fraud.1", Kind: "prediction", ID: id, Data: []byte(id)}))
	}
	check(events.Flush(ctx))
	fmt.Printf("%+v\n", events.Counters())

	reader, err := stream.NewReader(conn, stream.DefaultReaderOptions("ML"))
	check(err)
	out, done := make(chan *stream.Batch), make(chan error, 1)
	go func() { done <- reader.Run(ctx, stream.Anchor{}, out) }()
	for seen := 0; seen < 2; {
		b := <-out
		if b.Notice != nil {
			fmt.Println(b.Notice.Kind, b.Notice.Cause, "from", b.Notice.To)
		}
		for _, m := range b.Messages {
			fmt.Println(m.Seq, m.Subject, string(m.Data))
			seen++
		}
		b.Release()
	}
	stop()
	check(<-done)
	// Output:
	// {Sent:3 Acked:3 Duplicates:1 Retried:0 Failed:0}
	// new_epoch first from 1
	// 1 ml.predictions.fraud.1 a
	// 2 ml.predictions.fraud.1 b
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
