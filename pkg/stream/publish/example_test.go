package publish_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"driftd.dev/driftd/pkg/stream"
	"driftd.dev/driftd/pkg/stream/publish"
)

// A service stores a prediction, and later what became of it.
func Example() {
	url, stop := server() // yours is nats://127.0.0.1:4222, say
	defer stop()

	client, err := publish.Connect(url, publish.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ack, err := client.Publish(ctx, publish.Prediction{
		ID: "01JD7", Model: "fraud", Version: "42",
		Features: map[string]any{"amount": 73.1, "country": "DE", "vip": false},
		Answer:   "fraud", Scores: map[string]float64{"fraud": .87, "ok": .13}, LatencyMS: new(12.4),
	})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("prediction:", ack.Stream, ack.Seq)

	ack, err = client.Publish(ctx, publish.Outcome{ID: "01JE1", PredictionID: "01JD7", Model: "fraud", Name: "label", Label: "ok"})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("outcome:", ack.Stream, ack.Seq)
	// Output:
	// prediction: ML 1
	// outcome: ML 2
}

// server runs JetStream with driftd's input stream.
func server() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "publish")
	if err != nil {
		log.Panic(err)
	}
	s, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: dir, Listen: "127.0.0.1"})
	if err != nil {
		log.Panic(err)
	}
	conn, err := stream.Connect(stream.Options{InProcess: s, MustConnect: true})
	if err != nil {
		log.Panic(err)
	}
	if _, err := stream.EnsureStream(context.Background(), conn.JetStream(), stream.InputStream()); err != nil {
		log.Panic(err)
	}
	return s.URL(), func() {
		conn.Close()
		s.Shutdown()
		_ = os.RemoveAll(dir)
	}
}
