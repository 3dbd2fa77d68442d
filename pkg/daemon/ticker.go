package daemon

import (
	"context"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/stream"
)

// tickWithin bounds the wait for a tick's PubAck: the loop stands still for it.
const tickWithin = 500 * time.Millisecond

// ticker publishes ticks into the input stream.
type ticker struct {
	p       *stream.Publisher
	subject string
}

// Tick implements Ticker. Its id is the position that it follows, so that two
// replicas in the same silence publish one.
func (t ticker) Tick(ctx context.Context, after uint64) error {
	ctx, cancel := context.WithTimeout(ctx, tickWithin)
	defer cancel()
	_, err := t.p.Signal(ctx, stream.Signal{Subject: t.subject, ID: "tick:" + strconv.FormatUint(after, 10), Body: []byte("{}")})
	return err
}

// canary publishes a canary on the subject of ticks.
func (t ticker) canary(ctx context.Context, id string, body []byte) error {
	_, err := t.p.Signal(ctx, stream.Signal{Subject: t.subject, ID: id, Body: body})
	return err
}
