package stream_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

// TestLongReply: servers can be told to put domain and account into the reply
// subject; positions are read from that form too.
func TestLongReply(t *testing.T) {
	at := serve(t, &server.Options{
		JetStreamDomain: "edge",
		FeatureFlags:    map[string]bool{server.FeatureFlagJsAckFormatV2: true},
	})
	c := connect(t, stream.Options{URL: "nats://" + at, MustConnect: true})
	stored := input(t, c, nil)
	publish(t, c, 1, 1000, one)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(1000)
	anchor := r.end()
	r.contiguous(1, 1000)
	last, err := stored.GetMsg(testContext(t), 1000)
	must(t, err)
	if anchor.Time != last.Time.UnixNano() {
		t.Errorf("anchor time %d, stored %d", anchor.Time, last.Time.UnixNano())
	}
}

// TestBareConsume reads the number asked for, and says when it cannot.
func TestBareConsume(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, nil)
	publish(t, c, 1, 100, one)
	took, err := stream.BareConsume(testContext(t), c.JetStream(), "ML", 100)
	must(t, err)
	if took <= 0 {
		t.Errorf("took %s", took)
	}
	if _, err := stream.BareConsume(testContext(t), c.JetStream(), "NONE", 1); err == nil {
		t.Error("no such stream: no error")
	}
}

// TestWords: the texts that operators and the ledger see.
func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		stream.NewEpoch.String():      "new_epoch",
		stream.Gap.String():           "gap",
		stream.FilterChanged.String(): "filter_changed",
		stream.NoticeKind(0).String(): "unknown",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	err := error(&stream.RetentionError{Stream: "WORK", Retention: jetstream.InterestPolicy})
	var retention *stream.RetentionError
	if !errors.As(err, &retention) || err.Error() != `stream "WORK" has interest retention: it keeps messages until they are acknowledged, which driftd does `+
		`when nats.durable names it (nats.durable: driftd); or source it into a stream with limits retention` {
		t.Error(err)
	}
}
