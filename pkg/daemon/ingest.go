package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// ingest makes the way in over HTTP; nil where http.ingest is off. It decodes
// with the loop's rules but not with the loop's decoder, which is the loop's.
func (i *Instance) ingest(c *config.Config) (*api.Ingest, error) {
	if !c.HTTP.Ingest {
		return nil, nil
	}
	in, err := stream.NewIntake(i.Conn, stream.IntakeOptions{})
	if err != nil {
		return nil, err
	}
	i.onClose("intake", func() error { in.Close(); return nil })
	o := &api.Ingest{Publisher: intake{in, i.Conn}}
	if o.Subjects, err = event.NewSubjectTemplate(c.NATS.SubjectTemplate); err != nil {
		return nil, err
	}
	o.Decoders, err = ingestDecoders(c)
	return o, err
}

// ingestDecoders makes as many decoders as requests are read at a time.
func ingestDecoders(c *config.Config) (out []*event.Decoder, err error) {
	for range runtime.GOMAXPROCS(0) {
		d, err := newDecoder(c)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// headRoom is what a message's header may take of NATS' max_payload: as much as
// the header of a request.
const headRoom = 16 << 10

// intake lets the API publish events.
type intake struct {
	in   *stream.Intake
	conn *stream.Conn
}

// MaxBytes implements api.Publisher.
func (p intake) MaxBytes() int {
	return max(0, int(p.conn.NATS().MaxPayload())-headRoom)
}

// Publish implements api.Publisher.
func (p intake) Publish(ctx context.Context, messages []api.Message) ([]int, error) {
	if !p.conn.Status().Connected {
		return nil, fmt.Errorf("%w: there is no connection to NATS", api.ErrUnavailable)
	}
	events := make([]stream.OutgoingEvent, len(messages))
	for i, m := range messages {
		kind, id, _ := strings.Cut(m.ID, ":")
		events[i] = stream.OutgoingEvent{Subject: m.Subject, Kind: kind, ID: id, Data: m.Data, Header: nats.Header(m.Header)}
	}
	duplicates, err := p.in.Publish(ctx, events)
	switch {
	case errors.Is(err, stream.ErrBusy):
		return nil, fmt.Errorf("%w: %w", api.ErrBusy, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return nil, fmt.Errorf("%w: no stream takes %s: %w", api.ErrUnavailable, messages[0].Subject, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return duplicates, nil
}
