package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// sendOptions are the flags of send.
type sendOptions struct {
	kind       event.Kind
	file       string
	model      string
	mapping    string
	types      []string
	subjects   string
	rate       float64
	skip       uint64
	shuffle    time.Duration
	follow     bool
	fromEnd    bool
	state      string
	seed       uint64
	nats       string
	streamName string
	creds      string
	context    string
}

// A sendReport is the JSON of send, by the contract.
type sendReport struct {
	Sent       uint64 `json:"sent"`
	Acked      uint64 `json:"acked"`
	Failed     uint64 `json:"failed"`
	Duplicates uint64 `json:"duplicates"` // of acked: the stream had them already
	Skipped    uint64 `json:"skipped"`
	// Refused counts the lines that are no events, with --follow alone: without,
	// the first one ends the command.
	Refused uint64 `json:"refused,omitempty"`
}

func newSendCmd(e *env) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:       "send prediction|outcome|kpi",
		Short:     "Publish events from a file",
		ValidArgs: []string{"prediction", "outcome", "kpi"},
		Long: `Publish events to the stream that the daemon reads, with acknowledgements and an
id for each, so that sending twice counts once.

Without --map the file holds JSON lines, one event each, and every line is checked
before it is published. With --map it is a table (CSV, Parquet, JSON lines) whose
rows become events: FIELD=SOURCE clauses with commas between, where a source is a
column, a 'literal', row, 'literal'+row, or START+STEP*row for times. Fields of a
prediction are id, time, version, variant, prediction, scores.CLASS, confidence,
latency_ms, cost, error, entity_id, trace_id, segments.NAME and features (a list of
columns, or * for all others); those of an outcome are id, time, prediction_id,
entity_id, name, label, value, source, annotator and explanation.

--shuffle sends the events out of order, each at most that much event time after a
later one. Interrupted, send says with which --skip it goes on.

--follow sends what a server appends to its log of JSON lines, as tail -F reads it:
through renames and cuts, until it is interrupted, which is its normal end. While
NATS is away it waits and forgets nothing. Lines that are no events are counted and
told, and do not stop it. With --state it goes on where the last one ended, also in
a file renamed meanwhile.`,
		Example: `  driftd send prediction --file events.jsonl
  driftd gen events --scenario demo | grep '"prediction_id"' | driftd send outcome
  driftd send prediction --file rows.parquet --model churn \
    --map 'id=id,time=2026-01-05T13:20Z+1m*row,prediction=p,scores.yes=probability,features=*'
  driftd send prediction --follow --file /var/log/model/predictions.jsonl --state /var/lib/driftd/send.state`,
		Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.kind, _ = event.ParseKind(args[0])
			return e.send(cmd.Context(), o)
		},
	}
	natsURL, ok := e.lookup("NATS_URL")
	if !ok || natsURL == "" {
		natsURL = "nats://127.0.0.1:4222"
	}
	f := cmd.Flags()
	f.StringVar(&o.file, "file", "-", "file to send; - is stdin")
	f.StringVar(&o.model, "model", "", "with --map: the model of the events")
	f.StringVar(&o.mapping, "map", "", "how rows become events")
	f.StringSliceVar(&o.types, "types", nil, "with --map: types of columns, as zip=categorical")
	f.StringVar(&o.subjects, "subject-template", event.DefaultSubjects, "subject of an event")
	f.Float64Var(&o.rate, "rate", 0, "events a second; 0 = as fast as they are acknowledged")
	f.Uint64Var(&o.skip, "skip", 0, "events not to send, from the first on")
	f.DurationVar(&o.shuffle, "shuffle", 0, "mix the events up within so much event time")
	f.Uint64Var(&o.seed, "seed", 1, "seed of --shuffle")
	f.BoolVar(&o.follow, "follow", false, "go on with what is appended to the file, through renames and cuts")
	f.BoolVar(&o.fromEnd, "from-end", false, "with --follow: begin at the end of the file, unless --state knows better")
	f.StringVar(&o.state, "state", "", "with --follow: file that keeps how far it has come; it is read at the start")
	f.StringVar(&o.nats, "nats", natsURL, "addresses of NATS; $NATS_URL")
	f.StringVar(&o.streamName, "stream", "ML", "stream that must hold the events")
	f.StringVar(&o.creds, "creds", "", "NATS credentials file")
	f.StringVar(&o.context, "nats-context", "", "context of the nats CLI to connect by, instead of --nats and --creds")
	return cmd
}

func (o sendOptions) validate() error {
	switch {
	case o.mapping == "" && o.model != "":
		return badUsage("--model belongs to --map: lines name their model themselves")
	case o.mapping == "" && len(o.types) > 0:
		return badUsage("--types belongs to --map: lines are sent as they are")
	case o.mapping != "" && o.model == "":
		return badUsage("--map needs --model: the name of the model that made the rows")
	case o.mapping != "" && o.file == "-":
		return badUsage("--map needs --file: a table is read twice, which stdin cannot be")
	case o.context != "" && o.creds != "":
		return badUsage("--nats-context and --creds exclude each other: the context says who you are")
	case o.rate < 0 || math.IsNaN(o.rate) || math.IsInf(o.rate, 0):
		return badUsage("--rate %g: use events a second, or 0 for no limit", o.rate)
	case !o.follow && (o.fromEnd || o.state != ""):
		return badUsage("--from-end and --state belong to --follow")
	case o.follow && (o.file == "-" || o.mapping != "" || o.shuffle != 0 || o.skip != 0):
		return badUsage("--follow needs --file, a log of lines; it excludes --map, --shuffle and --skip")
	case o.shuffle < 0:
		return badUsage("--shuffle %s: use more than 0, such as 90s", o.shuffle)
	}
	return nil
}

// send publishes events until the file ends or ctx does.
func (e *env) send(ctx context.Context, o sendOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	if o.follow {
		return e.follow(ctx, o)
	}
	source, err := e.openSource(o)
	if err != nil {
		return err
	}
	defer source.close()
	link, err := e.link(o)
	if err != nil {
		return err
	}
	link.MustConnect = true
	conn, err := stream.Connect(link)
	if err != nil {
		return withCode(codeTemporary, fmt.Errorf("%w: is NATS running there? (--nats, $NATS_URL, --nats-context)", err))
	}
	defer conn.Close()
	if err := e.streamExists(ctx, conn, o.streamName); err != nil {
		return err
	}
	p, err := stream.NewEventPublisher(conn, stream.EventPublisherOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	return e.publish(ctx, o, source, p)
}

// link says how send reaches NATS.
func (e *env) link(o sendOptions) (link stream.Options, err error) {
	link = stream.Options{URL: o.nats, CredsFile: o.creds}
	if o.context != "" {
		link, err = stream.ContextOptions(o.context)
	}
	link.Name, link.Timeout = "driftd send", min(e.timeout, 5*time.Second)
	return link, err
}

// streamExists refuses to publish into the void: without a stream that takes
// them, events are gone.
func (e *env) streamExists(ctx context.Context, conn *stream.Conn, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	_, err := conn.JetStream().Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return withCode(codeTemporary, fmt.Errorf("stream %s does not exist: start driftd serve, which makes it, or name another with --stream", name))
	}
	if err != nil {
		return withCode(codeTemporary, fmt.Errorf("look for stream %s: %w", name, err))
	}
	return nil
}

// publish sends what the source gives, waits for the acknowledgements and
// reports. Its error is the first of reading, publishing and being interrupted.
func (e *env) publish(ctx context.Context, o sendOptions, source *eventSource, p *stream.EventPublisher) error {
	progress := e.newProgress("send "+o.file, source.unit, source.total())
	var limit *rate.Limiter
	if o.rate > 0 {
		limit = rate.NewLimiter(rate.Limit(o.rate), max(1, int(o.rate/100)))
	}
	var position uint64 // events before the one at hand
	var failed error
	for ev, err := range source.ordered(o) {
		if failed = err; failed != nil {
			break
		}
		if limit != nil {
			failed = limit.Wait(ctx)
		}
		if failed == nil {
			failed = p.Publish(ctx, ev)
		}
		if failed != nil {
			break
		}
		if position++; position%256 == 0 {
			progress.at(source.done())
		}
	}
	// What is on its way is waited for even after an interrupt.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	flushed := p.Flush(last)
	progress.end()
	c := p.Counters()
	report := sendReport{Sent: c.Sent, Acked: c.Acked, Failed: c.Sent - c.Acked, Duplicates: c.Duplicates, Skipped: o.skip}
	if err := e.print(report.result()); err != nil {
		return err
	}
	if flushed != nil {
		return withCode(codeTemporary, fmt.Errorf("%d of %d events were not acknowledged: %w: send again with --skip %d, what has arrived counts once", report.Failed, report.Sent, flushed, o.skip))
	}
	if failed != nil && ctx.Err() != nil {
		return fmt.Errorf("%w after %d events: go on with --skip %d", ctx.Err(), c.Sent, o.skip+position)
	}
	return failed
}

func (r sendReport) result() result {
	return result{
		value: r, items: []any{r},
		sheet: sheet{
			head: []string{"sent", "acked", "failed", "duplicates", "skipped"},
			rows: [][]any{{r.Sent, r.Acked, r.Failed, r.Duplicates, r.Skipped}},
		},
	}
}
