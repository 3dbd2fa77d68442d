package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// genOptions are the flags of gen events.
type genOptions struct {
	scenario string
	seed     uint64
	count    uint64
	length   time.Duration
	kind     string
}

func newGenCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "gen",
		Short:   "Make test data",
		Long:    "Gen makes data to try driftd with, the same for the same seed.",
		Example: "  driftd gen events --scenario quiet --count 10000 > events.jsonl",
	}
	cmd.AddCommand(newGenEventsCmd(e))
	return cmd
}

func newGenEventsCmd(e *env) *cobra.Command {
	var o genOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Make the events of a scenario, one JSON object a line",
		Long: `Make the events of a scenario in the order of their time, one JSON object a line,
as the demo publishes them. The scenarios are ` + strings.Join(sim.Names(), ", ") + `.
The same scenario and seed give the same bytes. The default length is the
scenario's own; bench has none, and needs --count or --length.`,
		Example: `  driftd gen events --scenario demo --length 1h > events.jsonl
  driftd gen events --scenario bench --count 1000 --kind prediction | driftd send prediction --file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.genEvents(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.scenario, "scenario", "quiet", "what to play: "+strings.Join(sim.Names(), ", "))
	f.Uint64Var(&o.seed, "seed", 1, "seed of all chance")
	f.Uint64Var(&o.count, "count", 0, "end after so many events; 0 = at the scenario's end")
	f.DurationVar(&o.length, "length", 0, "end after so much event time; 0 = at the scenario's end")
	f.StringVar(&o.kind, "kind", "", "only events of a kind: prediction, outcome or kpi (default all)")
	return cmd
}

func (e *env) genEvents(ctx context.Context, o genOptions) error {
	scenario, err := sim.Builtin(o.scenario)
	if err != nil {
		return badUsage("--scenario %q: use %s", o.scenario, strings.Join(sim.Names(), ", "))
	}
	kind, known := event.ParseKind(o.kind)
	if o.kind != "" && !known {
		return badUsage("--kind %q: use prediction, outcome or kpi", o.kind)
	}
	if o.length < 0 {
		return badUsage("--length %s: use more than 0, such as 1h", o.length)
	}
	if o.length > 0 {
		scenario.Length = o.length
	}
	if scenario.Length == 0 && o.count == 0 {
		return badUsage("scenario %s has no end: give --count or --length", o.scenario)
	}
	s, err := sim.New(scenario, o.seed)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(e.out, 1<<16)
	p := e.newProgress("gen "+o.scenario, "events", int64(o.count))
	defer p.end()
	var ev event.Event
	var line []byte
	for n := uint64(0); (o.count == 0 || n < o.count) && s.Next(&ev); {
		if o.kind != "" && ev.Kind != kind {
			continue
		}
		line = append(event.AppendJSON(line[:0], &ev), '\n')
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		if n++; n%1024 == 0 {
			p.at(int64(n))
			if err := ctx.Err(); err != nil {
				break
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return ctx.Err()
}
