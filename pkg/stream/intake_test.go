package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

// Many goroutines publish at once; each learns of its own, and of what was there.
func TestIntake(t *testing.T) {
	server := embed(t, t.TempDir(), 0)
	conn, err := stream.Connect(stream.Options{InProcess: server, MustConnect: true})
	must(t, err)
	t.Cleanup(conn.Close)
	in, err := stream.NewIntake(conn, stream.IntakeOptions{Window: 1000})
	must(t, err)
	t.Cleanup(in.Close)
	ctx := testContext(t)
	some := func(from, n int) (out []stream.OutgoingEvent) {
		for i := range n {
			out = append(out, stream.OutgoingEvent{Subject: "ml.predictions.m", Kind: "prediction", ID: fmt.Sprint(from + i), Data: []byte("{}")})
		}
		return out
	}
	if _, err := in.Publish(ctx, some(0, 1)); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("without a stream: %v", err)
	}
	s, err := stream.EnsureStream(ctx, conn.JetStream(), stream.InputStream())
	must(t, err)
	if _, err := in.Publish(ctx, some(0, 1001)); !errors.Is(err, stream.ErrBusy) {
		t.Errorf("more than the window: %v", err)
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for round := range 10 {
				if duplicates, err := in.Publish(ctx, some(g*100+round*10, 10)); err != nil || duplicates != nil {
					t.Errorf("%v, duplicates %v", err, duplicates)
				}
			}
		})
	}
	group.Wait()
	if duplicates, err := in.Publish(ctx, some(798, 4)); err != nil || !slices.Equal(duplicates, []int{0, 1}) {
		t.Errorf("the last two and two new ones: %v, duplicates %v", err, duplicates)
	}
	js, err := conn.JetStream().Stream(ctx, s.Config.Name)
	must(t, err)
	if n := js.CachedInfo().State.Msgs; n != 802 {
		t.Errorf("%d messages, want 8 x 100 and 2", n)
	}
	server.Shutdown()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := in.Publish(short, some(900, 1)); err == nil {
		t.Error("no error without a server")
	}
	if _, err := stream.NewIntake(conn, stream.IntakeOptions{Window: -1}); err == nil {
		t.Error("a negative window")
	}
}
