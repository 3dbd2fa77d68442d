package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// A benchOptions says how much is measured.
type benchOptions struct {
	events   int           // in the stream
	rows     int           // events a message
	rounds   int           // of a bare and a whole run each; the medians count
	segments bool          // count every event once more in a segment
	dir      string        // for the stream and the stores; "" = a temporary one
	within   time.Duration // no round begins after it
	profile  string        // file for a CPU profile of the whole runs; "" = none
}

// A benchResult is what bench ingest prints.
type benchResult struct {
	Bare       float64 `json:"bare_events_per_s"` // an OrderedConsumer whose callback does nothing
	Events     float64 `json:"events_per_s"`      // the daemon's pipeline, up to what is durable
	Ratio      float64 `json:"ratio"`             // of the two
	CPURatio   float64 `json:"cpu_ratio"`         // CPU time an event, whole over bare
	Features   int     `json:"features"`
	EventBytes float64 `json:"event_bytes"` // mean
	Lost       int64   `json:"lost"`        // events of the stream that were not counted, over all runs
	RSS        float64 `json:"rss_mib"`     // peak of this process
}

// A benchRun is one reading of the whole stream.
type benchRun struct {
	wall time.Duration
	cpu  time.Duration // user and system, of this process
}

func newBenchCmd(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure driftd on this machine",
		Long:  "Measure what driftd does on this machine, with nothing of yours: servers, streams and stores are temporary.",
	}
	c.AddCommand(newBenchIngestCmd(e), newBenchFleetCmd(e), newBenchAlarmsCmd(e), newBenchStreamCmd(e))
	return c
}

func newBenchIngestCmd(e *env) *cobra.Command {
	o := benchOptions{within: 30 * time.Second}
	c := &cobra.Command{
		Use:   "ingest",
		Short: "Compare the daemon's rate with a consumer that does nothing",
		Long: `Compare the daemon with nats.go's OrderedConsumer and a callback that does nothing.

A second process runs a JetStream server with a file stream of events of 20
features. This one reads it in turn bare and through the daemon: decoder,
duplicate table, histograms of every feature on a baseline's edges, rules, and a
synced Badger transaction every second or 64k events. Both read the same bytes
over the same TCP connection, so the ratio says more than the rates do.`,
		Example: "  driftd bench ingest -o json\n  driftd bench ingest --events 200000 --rounds 1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if min(o.events, o.rounds, o.rows) < 1 {
				return badUsage("--events %d --rounds %d --rows %d: use at least 1", o.events, o.rounds, o.rows)
			}
			r, err := e.benchIngest(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("bench ingest: %w", err)
			}
			if err := e.print(r.table()); err != nil {
				return err
			}
			if r.Lost != 0 {
				return errors.New("bench ingest: events were lost")
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.events, "events", 1_000_000, "events in the stream; fewer when filling it takes longer than 12 s")
	f.IntVar(&o.rows, "rows", 1, "events a message, as NDJSON")
	f.IntVar(&o.rounds, "rounds", 3, "rounds, of which the medians count; none begins after 30 s")
	f.BoolVar(&o.segments, "segments", false, "count every event in a segment too")
	f.StringVar(&o.dir, "dir", "", "folder for the stream and the stores, about 1 GB for each million events (default: a temporary one)")
	f.StringVar(&o.profile, "cpu-profile", "", "write a CPU profile of the daemon's runs to this file")
	return c
}

func (r benchResult) table() result {
	return result{
		value: r,
		items: []any{r},
		sheet: sheet{
			head: []string{"bare_events_per_s", "events_per_s", "ratio", "cpu_ratio", "features", "event_bytes", "lost", "rss_mib"},
			rows: [][]any{{r.Bare, r.Events, r.Ratio, r.CPURatio, r.Features, r.EventBytes, r.Lost, r.RSS}},
		},
	}
}

// summarize makes the result of rounds over n events each.
func summarize(n int, bare, whole []benchRun) benchResult {
	wall := func(r benchRun) time.Duration { return r.wall }
	cpu := func(r benchRun) time.Duration { return r.cpu }
	rate := func(runs []benchRun) float64 { return float64(n) / median(runs, wall).Seconds() }
	r := benchResult{Bare: rate(bare), Events: rate(whole)}
	r.Ratio = r.Events / r.Bare
	r.CPURatio = median(whole, cpu).Seconds() / median(bare, cpu).Seconds()
	return r
}

// median returns the middle of what of gives, the lower one of an even number.
func median[T any, V cmp.Ordered](of []T, value func(T) V) V {
	values := make([]V, len(of))
	for i, x := range of {
		values[i] = value(x)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
