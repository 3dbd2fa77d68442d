package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"driftd.dev/driftd/configs"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/stream"
)

// mostSampled bounds --sample: a look at a stream, not a replay.
const mostSampled = 1_000_000

func newConfigInitCmd(e *env) *cobra.Command {
	var o tapOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Print a configuration to begin with",
		Long: `Print a configuration with every setting, its default and what it is for.
The packages have rules to begin with in /usr/share/driftd/rules, and their tests.

With --from-stream it is made of the last messages of a stream, which are read and
nothing else: models, numbers that are codes, segments worth having, the positive
label, rules and a budget, each with its reason. Values of features are not shown;
the names of models, features and segments are, and a label.`,
		Example: `  driftd config init > driftd.yaml
  driftd config init --from-stream ML --sample 20000 > driftd.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.streamName == "" {
				_, err := e.out.Write(configs.Defaults)
				return err
			}
			if o.last < 1 || o.last > mostSampled {
				return badUsage("--sample %d: want 1 to %d", o.last, mostSampled)
			}
			return e.initFromStream(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.streamName, "from-stream", "", "stream to look into")
	f.Uint64Var(&o.last, "sample", 5000, "messages to read, the last ones")
	e.natsFlags(cmd, &o)
	return cmd
}

// initFromStream proposes a configuration for a live stream.
func (e *env) initFromStream(ctx context.Context, o tapOptions) error {
	t, err := newTap(o, true)
	if err != nil {
		return err
	}
	conn, err := e.connectTap(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	from := surveyed{url: config.Address(t.nats).String(), context: o.context, stream: o.streamName}
	s, err := conn.JetStream().Stream(ctx, o.streamName)
	if err != nil {
		return withCode(codeTemporary, fmt.Errorf("look for stream %s: %w", o.streamName, err))
	}
	from.subjects = s.CachedInfo().Config.Subjects
	found, err := e.survey(ctx, t, conn, min(o.last, s.CachedInfo().State.Msgs))
	if err != nil {
		return err
	}
	if len(found.models) == 0 {
		return fmt.Errorf("the last %s of stream %s hold no prediction and no outcome of a model; driftd tap --invalid --last %d says more",
			count(found.messages, "message"), o.streamName, o.last)
	}
	text := found.propose(from)
	if _, err := config.Parse("proposal", []byte(text), config.Options{}); err != nil {
		return fmt.Errorf("what was found in stream %s makes no configuration; this is a fault of driftd: %w", o.streamName, err)
	}
	_, err = e.out.Write([]byte(text))
	return err
}

// survey reads so many messages, or what there is of them.
func (e *env) survey(ctx context.Context, t *tap, conn *stream.Conn, total uint64) (*survey, error) {
	s := newSurvey()
	if total == 0 {
		return s, nil
	}
	messages, err := t.open(ctx, conn)
	if err != nil {
		return nil, withCode(codeTemporary, err)
	}
	defer messages.Stop()
	p := e.newProgress("read "+t.streamName, "messages", int64(total))
	defer p.end()
	for n := range total {
		m, err := e.next(ctx, messages)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && n > 0 {
			break // the rest has been deleted meanwhile
		}
		if err != nil {
			return nil, withCode(codeTemporary, fmt.Errorf("read stream %s: %w", t.streamName, err))
		}
		at, pending, err := s.take(t, m)
		if err != nil {
			return nil, err
		}
		s.last = at
		if n == 0 {
			s.first = at
		}
		p.at(int64(n + 1))
		if pending == 0 {
			break
		}
	}
	return s, nil
}

// next waits for a message, no longer than for one answer.
func (e *env) next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// take counts what a message holds, and returns when it was stored and how many
// follow.
func (s *survey) take(t *tap, m jetstream.Msg) (at time.Time, pending uint64, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return at, 0, fmt.Errorf("a message of stream %s: %w", t.streamName, err)
	}
	s.messages++
	t.batch.Reset()
	if m.Subject() != t.tick && t.decode(m) != nil {
		s.refused++
	}
	for i := range t.batch.Events {
		s.add(&t.batch.Events[i])
	}
	return meta.Timestamp, meta.NumPending, nil
}
