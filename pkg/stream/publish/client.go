package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/event"
)

// Options of a Client; zero values stand for the defaults named.
type Options struct {
	Subjects string        // template of subjects; ml.{kind}.{model}.{version}
	Attempts int           // per event, including the first; 5
	AckWait  time.Duration // for the PubAck of one attempt; 5 s
	Pause    time.Duration // before the second attempt, doubling to 2 s; 100 ms
}

// A Client publishes events. It is safe for concurrent use.
type Client struct {
	js       jetstream.JetStream
	nc       *nats.Conn // nil where the connection is the caller's
	subjects event.SubjectTemplate
	opts     Options
}

// Connect opens a connection of its own to NATS, which reconnects for ever. It
// fails when no server answers now. Close must follow.
func Connect(url string, o Options, more ...nats.Option) (*Client, error) {
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	c, err := New(nc, o)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.nc = nc
	return c, nil
}

// New returns a Client on a connection that the caller has and closes.
func New(nc *nats.Conn, o Options) (*Client, error) {
	if o.Attempts < 0 || o.AckWait < 0 || o.Pause < 0 {
		return nil, errors.New("publish: options must not be negative")
	}
	if o.Subjects == "" {
		o.Subjects = event.DefaultSubjects
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.AckWait == 0 {
		o.AckWait = 5 * time.Second
	}
	if o.Pause == 0 {
		o.Pause = 100 * time.Millisecond
	}
	subjects, err := event.NewSubjectTemplate(o.Subjects)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return &Client{js: js, subjects: subjects, opts: o}, nil
}

// Close closes the connection that Connect opened.
func (c *Client) Close() {
	if c.nc != nil {
		c.nc.Close()
	}
}

// An Ack says where an event is stored.
type Ack struct {
	Stream    string
	Seq       uint64
	Duplicate bool // the stream had the id already
}

// ErrInvalid is the error of an event that driftd would refuse; publishing it
// again is of no use.
var ErrInvalid = errors.New("invalid event")

// Publish stores an event and returns its place in the stream. It repeats what
// is not acknowledged, until its attempts or ctx end; after an error the event
// may be stored all the same, and publishing it again is harmless.
func (c *Client) Publish(ctx context.Context, e Event) (Ack, error) {
	if err := e.check(); err != nil {
		return Ack{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	body, err := json.Marshal(e)
	if err != nil { // an infinite number, or a type JSON has not
		return Ack{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	head := e.head()
	if strings.ContainsAny(head.ID, "\r\n\x00") {
		return Ack{}, fmt.Errorf("%w: the id holds a line break", ErrInvalid)
	}
	id := head.Kind.String() + ":" + head.ID
	m := &nats.Msg{Subject: c.subjects.Subject(&head), Header: nats.Header{nats.MsgIdHdr: {id}}, Data: body}
	for attempt := 1; ; attempt++ {
		var ack *jetstream.PubAck
		if ack, err = c.once(ctx, m); err == nil {
			return Ack{Stream: ack.Stream, Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
		}
		if attempt >= c.opts.Attempts || ctx.Err() != nil || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed) {
			return Ack{}, fmt.Errorf("publish %s on %s, attempt %d: %w", id, m.Subject, attempt, err)
		}
		select {
		case <-time.After(min(c.opts.Pause<<min(attempt-1, 10), 2*time.Second)):
		case <-ctx.Done():
		}
	}
}

func (c *Client) once(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.AckWait)
	defer cancel()
	return c.js.PublishMsg(ctx, m)
}
