package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// tapOptions are the flags of tap.
type tapOptions struct {
	config     string
	model      string
	invalid    bool
	last       uint64
	count      uint64
	nats       string
	streamName string
	creds      string
	context    string // of the nats CLI
}

// A tapLine is one event, or one refusal, as tap prints it.
type tapLine struct {
	Seq     uint64          `json:"seq"`
	Time    time.Time       `json:"time"` // when the stream got the message
	Subject string          `json:"subject"`
	Part    string          `json:"part,omitempty"` // request or response, of a half
	Event   json.RawMessage `json:"event,omitempty"`
	Row     *int32          `json:"row,omitempty"` // of a refusal; -1: the whole message
	Reason  event.Reason    `json:"reason,omitempty"`
	Detail  string          `json:"detail,omitempty"`
}

func newTapCmd(e *env) *cobra.Command {
	var o tapOptions
	cmd := &cobra.Command{
		Use:   "tap",
		Short: "Show the events in the stream as they come, and why some are refused",
		Long: `Show each event of the stream as the daemon reads it, and each refused message
with its reason. Nothing is acknowledged or counted: the daemon does not notice.

With --config the events are shown as the file's privacy rules leave them, and
refused by its limits; without it they are shown whole. Hashed values are pseudonyms
of this run, not the daemon's. Whether a model is followed, and whether an event is
late or a duplicate, only the daemon knows.

A line is the message's sequence, when it was stored, its subject and the event;
-o json and -o ndjson print one JSON object a line. Interrupt to stop.`,
		Example: `  driftd tap
  driftd tap --model 'fraud*' --last 20
  driftd tap --invalid -o ndjson | jq -r .reason`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.tap(cmd.Context(), o, cmd.Flags().Changed("stream"))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.config, "config", "c", "", "driftd.yaml whose NATS, privacy rules, limits and subjects hold")
	f.StringVar(&o.model, "model", "", "only events of models that match, as fraud or 'fraud-*'")
	f.BoolVar(&o.invalid, "invalid", false, "only what is refused")
	f.Uint64Var(&o.last, "last", 0, "begin with so many messages that are in the stream already")
	f.Uint64Var(&o.count, "count", 0, "stop after so many lines; 0 = never")
	f.StringVar(&o.streamName, "stream", "ML", "stream to look into; with --config its nats.stream if absent")
	e.natsFlags(cmd, &o)
	return cmd
}

// natsFlags say where NATS is.
func (e *env) natsFlags(cmd *cobra.Command, o *tapOptions) {
	f := cmd.Flags()
	f.StringVar(&o.nats, "nats", "", "addresses of NATS; $NATS_URL (default that of --config, or "+nats.DefaultURL+")")
	f.StringVar(&o.creds, "creds", "", "NATS credentials file")
	f.StringVar(&o.context, "nats-context", "", "context of the nats CLI to connect by, instead of --nats and --creds")
}

// link says how to reach NATS: flags, then the environment, then the configuration
// (nil: none).
func (o tapOptions) link(e *env, c *config.Config) (stream.Options, error) {
	url, _ := e.lookup("NATS_URL")
	switch {
	case o.context != "" && (o.nats != "" || o.creds != ""):
		return stream.Options{}, badUsage("--nats-context excludes --nats and --creds: the context says where and who")
	case o.context != "":
		return stream.ContextOptions(o.context)
	case c != nil && o.nats == "" && o.creds == "" && url == "":
		return c.NATSOptions()
	}
	return stream.Options{URL: cmp.Or(o.nats, url, nats.DefaultURL), CredsFile: o.creds}, nil
}

// A tap decodes what passes by.
type tap struct {
	tapOptions
	config   *config.Config // nil: none was given
	decoder  *event.Decoder
	subjects event.SubjectTemplate
	tick     string // subject of the daemon's own messages in the stream
	batch    event.Batch
	shown    uint64
}

// tap shows messages until there are enough lines or ctx ends.
func (e *env) tap(ctx context.Context, o tapOptions, named bool) error {
	if e.output == "yaml" || e.output == "csv" {
		return badUsage("--output %s: tap prints lines; use table, json or ndjson", e.output)
	}
	t, err := newTap(o, named)
	if err != nil {
		return err
	}
	conn, err := e.connectTap(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	messages, err := t.open(ctx, conn)
	if err != nil {
		return withCode(codeTemporary, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil // an interrupt is how tap ends
		}
		if err != nil {
			return withCode(codeTemporary, fmt.Errorf("read stream %s: %w", t.streamName, err))
		}
		lines, err := t.read(m)
		if err != nil {
			return err
		}
		for i := range lines {
			if err := e.printTap(&lines[i]); err != nil {
				return err
			}
			if t.shown++; t.shown == o.count {
				return nil
			}
		}
	}
}

// connectTap connects to the server of a tap, on which its stream is.
func (e *env) connectTap(ctx context.Context, t *tap) (*stream.Conn, error) {
	link, err := t.link(e, t.config)
	if err != nil {
		return nil, err
	}
	t.nats = link.URL
	link.Name, link.MustConnect, link.Timeout = "driftd tap", true, min(e.timeout, 5*time.Second)
	conn, err := stream.Connect(link)
	if err != nil {
		return nil, withCode(codeTemporary, fmt.Errorf("%w: is NATS running there? (--nats, $NATS_URL, --nats-context, --config)", err))
	}
	if err := e.streamExists(ctx, conn, t.streamName); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func newTap(o tapOptions, named bool) (*tap, error) {
	t := &tap{tapOptions: o, decoder: event.NewDecoder(nil, event.Limits{}), tick: config.Default().TickSubject()}
	if o.config == "" {
		return t, nil
	}
	c, err := config.Load(o.config, config.Options{})
	if err != nil {
		return nil, err
	}
	t.config = c
	key := make([]byte, 32) // of this run: whoever looks on need not hold the daemon's
	_, _ = rand.Read(key)   // it never fails: it ends the process instead
	policy, err := event.NewPolicy(c.PolicySpec(key))
	if err != nil {
		return nil, err
	}
	if t.subjects, err = event.NewSubjectTemplate(c.NATS.SubjectTemplate); err != nil {
		return nil, err
	}
	t.decoder = event.NewDecoder(policy, c.EventLimits())
	t.decoder.SetSubjects(t.subjects)
	t.decoder.SetWrapping(c.Wrapping())
	t.tick = c.TickSubject()
	if !named {
		t.streamName = c.NATS.Stream
	}
	return t, nil
}

// open starts a consumer which the server forgets when we are gone.
func (t *tap) open(ctx context.Context, conn *stream.Conn) (jetstream.MessagesContext, error) {
	s, err := conn.JetStream().Stream(ctx, t.streamName)
	if err != nil {
		return nil, fmt.Errorf("look for stream %s: %w", t.streamName, err)
	}
	state := s.CachedInfo().State
	from := max(state.FirstSeq, state.LastSeq+1-min(t.last, state.LastSeq), 1)
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return nil, fmt.Errorf("read stream %s from %d: %w", t.streamName, from, err)
	}
	return consumer.Messages()
}

// decode puts what a message holds into the batch, or says why it is refused.
func (t *tap) decode(m jetstream.Msg) *event.Reject {
	t.batch.Reset()
	return t.decoder.DecodeWrapped(&t.batch, event.Envelope{Headers: m.Headers()}, m.Subject(), m.Data())
}

// read decodes one message and returns the lines that were asked for.
func (t *tap) read(m jetstream.Msg) ([]tapLine, error) {
	if m.Subject() == t.tick {
		return nil, nil
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a message of stream %s: %w", t.streamName, err)
	}
	line := tapLine{Seq: meta.Sequence.Stream, Time: meta.Timestamp.UTC(), Subject: m.Subject()}
	var lines []tapLine
	refused := func(r event.Reject) {
		_, model, _, ok := t.subjects.Parse(m.Subject())
		if t.model != "" && ok && !event.Match(t.model, model) && !event.Match(event.Token(t.model), model) {
			return
		}
		bad := line
		bad.Row, bad.Reason, bad.Detail = &r.Row, r.Reason, r.Detail
		lines = append(lines, bad)
	}
	if r := t.decode(m); r != nil {
		refused(*r) // and the batch stays empty
	}
	for i := range t.batch.Rejects {
		refused(t.batch.Rejects[i])
	}
	if t.invalid {
		return lines, nil
	}
	for i := range t.batch.Events {
		ev := &t.batch.Events[i]
		if t.model != "" && !event.Match(t.model, ev.Model) {
			continue
		}
		good := line
		if ev.Part != event.Whole {
			good.Part = ev.Part.String()
		}
		good.Event = event.AppendJSON(nil, ev)
		lines = append(lines, good)
	}
	return lines, nil
}

// printTap prints one line at once: somebody is waiting for it.
func (e *env) printTap(l *tapLine) error {
	var text bytes.Buffer
	switch {
	case e.output == "json" || e.output == "ndjson":
		if err := writeJSON(&text, l, ""); err != nil {
			return fmt.Errorf("print message %d: %w", l.Seq, err)
		}
	case l.Reason != "":
		fmt.Fprintf(&text, "%d  %s  %s  refused, %s: %s\n", l.Seq, l.Time.Format(time.RFC3339), printable(l.Subject), l.Reason, printable(l.Detail))
	default:
		part := ""
		if l.Part != "" {
			part = l.Part + " "
		}
		fmt.Fprintf(&text, "%d  %s  %s  %s%s\n", l.Seq, l.Time.Format(time.RFC3339), printable(l.Subject), part, printable(string(l.Event)))
	}
	if _, err := e.out.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
