package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/configs"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// A fleetOptions says which fleet is simulated and how far.
type fleetOptions struct {
	models, features int
	groups           int           // versions of a model that share its traffic
	events           float64       // a second of event time, of all models together
	length           time.Duration // of event time that the daemon reads as fast as it can
	steady           time.Duration // and then at the pace of the clock
	history          time.Duration // of hours put behind it, for the restart
	full             bool          // instead, all that store.retention would have kept by now
	keep             bool          // the store stays
	dir              string        // for the store; "" = a temporary one
	memProfile       string        // file for a heap profile at the end of the traffic; "" = none
}

// A fleetResult is what bench fleet prints. Sizes are bytes unless said otherwise.
type fleetResult struct {
	Models         int     `json:"models"`
	Features       int     `json:"features"`
	Groups         int     `json:"groups"`
	Signals        int     `json:"signals"` // of all models and groups
	EventsPerSec   float64 `json:"events_per_s"`
	Lost           int64   `json:"lost"` // events not counted
	Backlog        int     `json:"backlog_events"`
	BacklogSeconds float64 `json:"backlog_s"` // wall clock

	RSS           float64 `json:"rss_mib"`         // largest at the pace of the clock, all baselines there
	RSSAnon       float64 `json:"rss_anon_mib"`    // of it, what no file backs
	BacklogRSS    float64 `json:"rss_backlog_mib"` // both while a backlog is read as fast as possible
	BacklogAnon   float64 `json:"rss_backlog_anon_mib"`
	Live          uint64  `json:"live"`         // heap in use after a collection at the end of the traffic
	PlannedLive   float64 `json:"planned_live"` // by doctor --plan, likewise below
	PlannedMemory float64 `json:"planned_memory"`

	Panes     int     `json:"panes"` // stored
	Hours     int     `json:"hours"`
	PaneBytes float64 `json:"pane_bytes"` // of one on disk, compacted
	HourBytes float64 `json:"hour_bytes"`
	Days      int     `json:"days"` // made of hours
	DayBytes  float64 `json:"day_bytes"`
	Store     int64   `json:"store_bytes"`    // compacted
	Retained  float64 `json:"retained_bytes"` // windows when store.retention is full, from the measured sizes; with --full all tables, as they are
	Planned   float64 `json:"planned_bytes"`

	ReadyStore int64   `json:"ready_store_bytes"` // of the store that was restarted
	Ready      float64 `json:"ready_s"`           // from the start of driftd serve to /-/ready
	ReadyRSS   float64 `json:"ready_rss_mib"`     // resident then

	Dir string `json:"dir,omitempty"` // of the store, if it stays
}

func newBenchFleetCmd(e *env) *cobra.Command {
	o := fleetOptions{length: 2 * time.Hour, steady: time.Minute}
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Measure what memory, disk and time a fleet takes",
		Long: `Fill a store as a fleet would, as fast as this machine can, and say what it took.

Every model gets an imported baseline. Then the whole daemon reads generated events,
first as fast as it can, then for a minute as they happen: decoder, histograms, rules
on every window size, checkpoints, and a scrape a second.
The store is compacted and measured, hours of a long past are put into it, and driftd
serve is started on it, until /-/ready says so. What store.retention would keep is
extrapolated from the measured sizes and told beside what 'driftd doctor --plan' says.

With --full nothing is extrapolated: the store gets all the panes, hours and days, the
ledger, the incidents and what detection knows, as of a fleet that has run for as long
as store.retention says. 200 models of 50 features with a canary each take 24 GB and
some 20 minutes. Its configuration is configs/fleet/driftd.yaml of the source.`,
		Example: "  driftd bench fleet -o json\n  driftd bench fleet --models 100 --groups 1 --length 30m --history 0s\n  driftd bench fleet --full --length 171m --keep --dir /var/tmp",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if min(o.models, o.features, o.groups) < 1 || !(o.events > 0) || o.length < time.Minute || min(o.steady, o.history) < 0 {
				return badUsage("--models %d --features %d --groups %d --events-per-s %g --length %v --steady %v --history %v: use at least 1, and a minute", o.models, o.features, o.groups, o.events, o.length, o.steady, o.history)
			}
			r, err := e.benchFleet(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("bench fleet: %w", err)
			}
			if err := e.print(r.table()); err != nil {
				return err
			}
			if r.Lost != 0 {
				return errors.New("bench fleet: events were lost")
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.models, "models", 200, "models")
	f.IntVar(&o.features, "features", 50, "numeric features of a model")
	f.IntVar(&o.groups, "groups", 2, "versions of a model that share its traffic: the primary, and canaries")
	f.Float64Var(&o.events, "events-per-s", 100, "events a second of event time, of all models together")
	f.DurationVar(&o.length, "length", o.length, "event time that the daemon reads as fast as it can")
	f.DurationVar(&o.steady, "steady", o.steady, "event time behind it that is read at the pace of the clock")
	f.DurationVar(&o.history, "history", 10*24*time.Hour, "past whose hours are put into the store before it is restarted")
	f.BoolVar(&o.full, "full", false, "instead, put all that store.retention keeps of years of such traffic into the store")
	f.BoolVar(&o.keep, "keep", false, "let the store stay, to start it again by hand")
	f.StringVar(&o.dir, "dir", "", "folder for the store (default: a temporary one)")
	f.StringVar(&o.memProfile, "mem-profile", "", "write a heap profile of the end of the traffic to this file")
	return c
}

// benchFleet fills, measures, restarts and removes a store.
func (e *env) benchFleet(ctx context.Context, o fleetOptions) (r fleetResult, err error) {
	e.collectMore(ctx)
	dir, err := os.MkdirTemp(o.dir, "driftd-fleet-")
	if err != nil {
		return r, err
	}
	defer func() {
		if !o.keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	vars := map[string]string{"DRIFTD_STORE": dir, "DRIFTD_LISTEN": "127.0.0.1:0", "NATS_URL": "nats://127.0.0.1:0"}
	c, err := config.Parse("configs/fleet/driftd.yaml", configs.Fleet, config.Options{
		LookupEnv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
	if err != nil {
		return r, err
	}
	b := &fleetBench{env: e, fleetOptions: o, config: c, traffic: newFleetTraffic(o)}
	r = fleetResult{
		Models: o.models, Features: o.features, Groups: o.groups, Signals: o.models * o.groups * (o.features + planExtra),
		EventsPerSec: o.events,
	}
	steps := []func(context.Context, *fleetResult) error{b.read, b.measure, b.restart}
	if o.full {
		steps = []func(context.Context, *fleetResult) error{b.record, b.read, b.fill, b.restart}
	}
	for _, step := range steps {
		if err := step(ctx, &r); err != nil {
			return r, err
		}
	}
	if o.keep {
		r.Dir = dir
	}
	b.plan(&r)
	return r, nil
}

// A fleetBench is what the steps share.
type fleetBench struct {
	*env
	fleetOptions
	config  *config.Config
	traffic *fleetTraffic
}

// plan adds what doctor --plan says of the same fleet, and what the measured
// sizes make when retention is full.
func (b *fleetBench) plan(r *fleetResult) {
	f := fleet{
		models: b.models, features: b.features, signals: b.features + planExtra, budgets: true, groups: b.groups, events: b.events, eventBytes: 1,
		spec: b.config.DriftSpec(), keep: b.config.Store.Retention, dedup: b.config.Dedup.IDs,
	}
	n := f.need()
	r.Planned, r.PlannedMemory = n.DiskPanes+n.DiskHours+n.DiskDays, n.Memory
	r.PlannedLive = f.live(b.events / float64(b.models*b.groups) * f.spec.Pane.Seconds())
	if b.full {
		r.Retained, r.Planned = float64(r.Store), r.Planned+n.DiskBaselines+n.DiskDetection
		return
	}
	groups := float64(b.models * b.groups)
	kept := func(keep config.Duration, length time.Duration) float64 {
		return groups * keep.Std().Hours() / length.Hours()
	}
	r.Retained = kept(f.keep.Panes, f.spec.Pane)*r.PaneBytes + kept(f.keep.Hourly, drift.RollupSize)*r.HourBytes + kept(f.keep.Daily-f.keep.Hourly, store.DaySize)*r.DayBytes
}

func (r fleetResult) table() result {
	mib := func(x float64) string { return size(uint64(x)) }
	out := result{value: r, items: []any{r}, sheet: sheet{head: []string{"takes", "measured", "planned"}}}
	out.rows = [][]any{
		{"memory, reading a backlog", fmt.Sprintf("%.0f MiB", r.BacklogRSS), ""},
		{"memory", fmt.Sprintf("%.0f MiB", r.RSS), mib(r.PlannedMemory)},
		{"live heap", mib(float64(r.Live)), mib(r.PlannedLive)},
		{"disk, retention full", mib(r.Retained), mib(r.Planned)},
	}
	if r.PaneBytes > 0 { // not with --full
		out.rows = append(out.rows, []any{"a pane", mib(r.PaneBytes), ""}, []any{"an hour", mib(r.HourBytes), ""}, []any{"a day", mib(r.DayBytes), ""})
	}
	out.rows = append(out.rows, []any{"ready, store of " + mib(float64(r.ReadyStore)), fmt.Sprintf("%.1f s", r.Ready), ""}, []any{"memory, when ready", fmt.Sprintf("%.0f MiB", r.ReadyRSS), ""})
	if r.Dir != "" {
		out.below = []string{"The store stays in " + r.Dir + ": DRIFTD_STORE=" + r.Dir + " driftd serve -c configs/fleet/driftd.yaml starts it again."}
	}
	return out
}
