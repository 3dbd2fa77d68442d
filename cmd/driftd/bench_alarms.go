package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/detect/trial"
)

// An alarmsResult is what bench alarms prints.
type alarmsResult struct {
	Worlds     []alarmsWorld `json:"worlds"`
	Rules      []alarmsRule  `json:"rules"`
	DecisionMS float64       `json:"decision_ms"` // median time to judge one window
}

// An alarmsWorld is how the alarm procedure stood one world without change.
type alarmsWorld struct {
	Name       string              `json:"name"`
	Windows    int                 `json:"windows"`
	Features   int                 `json:"features"`
	FalsePages float64             `json:"false_pages_per_budget"`
	Delays     map[string]*float64 `json:"delay_median"` // windows to the page, by shift in sd; null where most got none
	Theta      float64             `json:"theta"`

	alarms float64 // like false pages, before the effect is asked for
}

// An alarmsRule is a rule of other tools in the same worlds.
type alarmsRule struct {
	Rule  string             `json:"rule"`
	False map[string]float64 `json:"false_windows_per_1000"` // by world
}

// What the other tools' rules are tried on: they are wrong too often for more to
// be needed.
const ruleReference, ruleWindows = 200, 400

func newBenchAlarmsCmd(e *env) *cobra.Command {
	o := trial.DefaultOptions()
	var names []string
	for _, w := range trial.Worlds() {
		names = append(names, w.Name)
	}
	c := &cobra.Command{
		Use:   "alarms",
		Short: "Count the false pages of the alarm procedure, and of other rules, where nothing is wrong",
		Long: `Count false pages in worlds in which nothing is wrong, and the windows that a
real shift takes to page.

The worlds are drawn from a seed: independent windows (iid), windows that jitter
(over), the same with heavy tails (heavy), and daily cycles with memory (season).
The code that decides is the daemon's. docs/alarms.md tells how to read it.`,
		Example: "  driftd bench alarms -o json\n  driftd bench alarms --features 50 --windows 1000 --worlds iid,season",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if min(o.Features, o.Windows, o.Events) < 1 || o.Replicates < 0 {
				return badUsage("--features %d --windows %d --events %d --replicates %d: use at least 1", o.Features, o.Windows, o.Events, o.Replicates)
			}
			if !(o.Pages > 0) || math.IsInf(o.Pages, 1) {
				return badUsage("--pages %g: use a positive number", o.Pages)
			}
			worlds, err := worldsNamed(names)
			if err != nil {
				return err
			}
			r, err := e.benchAlarms(cmd.Context(), worlds, o)
			if err != nil {
				return fmt.Errorf("bench alarms: %w", err)
			}
			return e.print(r.table())
		},
	}
	f := c.Flags()
	f.IntVar(&o.Features, "features", o.Features, "numeric features of the model")
	f.IntVar(&o.Windows, "windows", o.Windows, "hourly windows without change, after a reference period of four weeks")
	f.IntVar(&o.Events, "events", o.Events, "events a window")
	f.IntVar(&o.Replicates, "replicates", o.Replicates, "times that each shift is tried")
	f.Float64Var(&o.Pages, "pages", o.Pages, "false pages that the model may make in 30 days: half of its share of a budget")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the worlds")
	f.StringSliceVar(&names, "worlds", names, "worlds to try")
	return c
}

func worldsNamed(names []string) (out []trial.World, err error) {
	all := trial.Worlds()
	for _, name := range names {
		i := slices.IndexFunc(all, func(w trial.World) bool { return w.Name == name })
		if i < 0 {
			return nil, badUsage("--worlds %q: use iid, over, heavy, season", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// benchAlarms tries the worlds, two at a time.
func (e *env) benchAlarms(ctx context.Context, worlds []trial.World, o trial.Options) (alarmsResult, error) {
	out := alarmsResult{Worlds: make([]alarmsWorld, len(worlds))}
	for _, r := range trial.Rules() {
		out.Rules = append(out.Rules, alarmsRule{Rule: r.Name, False: map[string]float64{}})
	}
	var (
		mu    sync.Mutex // guards times, done, out.Rules and failed
		times []time.Duration
		done  int64
		fails error
		wait  sync.WaitGroup
	)
	p := e.newProgress("bench alarms", "windows", int64(len(worlds)*(o.Windows+o.Reference)))
	o.Around = func(decide func()) error {
		start := time.Now()
		decide()
		spent := time.Since(start)
		mu.Lock()
		defer mu.Unlock()
		times = append(times, spent)
		done++
		p.at(done)
		return ctx.Err()
	}
	room := make(chan struct{}, 2)
	for i, w := range worlds {
		wait.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			r, err := trial.Run(w, o)
			var rules []float64
			if err == nil {
				rules = trial.RunRules(w, o, ruleReference, ruleWindows)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fails = err
				return
			}
			out.Worlds[i] = newAlarmsWorld(&r)
			for k, rate := range rules {
				out.Rules[k].False[w.Name] = rate
			}
		})
	}
	wait.Wait()
	p.end()
	if fails != nil {
		return out, fails
	}
	out.DecisionMS = float64(median(times, func(d time.Duration) time.Duration { return d }).Microseconds()) / 1000
	return out, nil
}

func newAlarmsWorld(r *trial.Result) alarmsWorld {
	w := alarmsWorld{
		Name: r.World, Windows: r.Opt.Windows, Features: r.Opt.Features, Theta: r.Theta,
		FalsePages: r.PerBudget(r.Pages), alarms: r.PerBudget(r.Alarms), Delays: map[string]*float64{},
	}
	for i, shift := range r.Opt.Shifts {
		w.Delays[shiftName(shift)] = nil
		if d := r.Delays[i]; !math.IsNaN(d) {
			w.Delays[shiftName(shift)] = &d
		}
	}
	return w
}

func shiftName(sd float64) string { return fmt.Sprintf("%.2f", sd) }

func (r alarmsResult) table() result {
	out := result{value: r, sheet: sheet{head: []string{"world", "windows", "features", "false_pages_per_budget", "false_alarms_per_budget"}}}
	shifts := trial.DefaultOptions().Shifts
	for _, shift := range shifts {
		out.head = append(out.head, "delay_"+shiftName(shift))
	}
	out.head = append(out.head, "theta")
	for _, w := range r.Worlds {
		out.items = append(out.items, w)
		row := []any{w.Name, w.Windows, w.Features, w.FalsePages, w.alarms}
		for _, shift := range shifts {
			delay := math.NaN()
			if d := w.Delays[shiftName(shift)]; d != nil {
				delay = *d
			}
			row = append(row, delay)
		}
		out.rows = append(out.rows, append(row, w.Theta))
	}
	out.below = append(out.below, "", "Windows in a thousand that other rules would call drift, where there is none:")
	for _, rule := range r.Rules {
		line := fmt.Sprintf("  %-45s", rule.Rule)
		for _, w := range r.Worlds {
			line += fmt.Sprintf("  %s %.4g", w.Name, rule.False[w.Name])
		}
		out.below = append(out.below, strings.TrimRight(line, " "))
	}
	out.below = append(out.below, "", fmt.Sprintf("A decision takes %.3g ms.", r.DecisionMS))
	return out
}
