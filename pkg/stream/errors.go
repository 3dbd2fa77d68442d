package stream

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tooLong is the server's error for a message above the max_msg_size of the stream.
const tooLong jetstream.ErrorCode = 10054

// TooLarge reports whether a message was refused for its size: by the server's
// max_payload or the stream's max_msg_size. To repeat it is of no use.
func TooLarge(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && api.ErrorCode == tooLong
}

// Reasons for which a reading session ends; they appear in ReaderStatus.Reason.
var (
	errDisconnected = errors.New("connection to NATS lost")
	errSequence     = errors.New("consumer sequence broken: messages lost on the way")
	errReply        = errors.New("message without a JetStream reply subject")
	errStreamMoved  = errors.New("stream differs from the anchor")
)

// A RetentionError says that a stream deletes messages when they are
// acknowledged. Without ReaderOptions.Durable driftd never acknowledges, so such a
// stream would fill up, and a second reader would take messages away from it.
type RetentionError struct {
	Stream    string
	Retention jetstream.RetentionPolicy
}

func (e *RetentionError) Error() string {
	return fmt.Sprintf("stream %q has %s retention: it keeps messages until they are acknowledged, which driftd does "+
		"when nats.durable names it (nats.durable: driftd); or source it into a stream with limits retention", e.Stream, retentionName(e.Retention))
}

func retentionName(p jetstream.RetentionPolicy) string {
	switch p {
	case jetstream.WorkQueuePolicy:
		return "work-queue"
	case jetstream.InterestPolicy:
		return "interest"
	case jetstream.LimitsPolicy:
		return "limits"
	}
	return p.String()
}
