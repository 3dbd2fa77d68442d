package trial

import (
	"fmt"
	"math"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

// Options say how long a trial is.
type Options struct {
	Features   int
	Events     int     // a window
	Reference  int     // windows of the reference period
	Pages      float64 // the budget in 30 days
	Windows    int     // without change, after the reference period
	Seed       uint64
	Shifts     []float64 // of one feature's mean, in standard deviations: how long until the page?
	Replicates int       // of each shift, spread over the windows
	Patience   int       // windows after which a shift counts as not found

	// Around runs each decision of the windows without change; nil just runs it.
	// It is for who measures time, or wants to stop: an error ends the trial.
	Around func(decide func()) error
}

// DefaultOptions returns the trial of docs/alarms.md.
func DefaultOptions() Options {
	return Options{Features: 200, Events: 1000, Reference: 672, Pages: 1, Windows: 4000, Seed: 1, Shifts: []float64{0.10, 0.25, 0.50}, Replicates: 20, Patience: 48}
}

// A Result is how the procedure stood a world.
type Result struct {
	World  string
	Opt    Options
	Pages  int       // budgeted pages in the windows without change
	Alarms int       // windows with new evidence of a change, whatever its effect: all of it false
	Theta  float64   // at the end
	Delays []float64 // by shift: median windows to the page, the first shifted one is 1; NaN: most were not found
}

// PerBudget returns how many of something are there per period of the default budget.
func (r *Result) PerBudget(count int) float64 {
	c := detect.DefaultConfig("")
	return float64(count) / float64(r.Opt.Windows) * float64(c.Per) / float64(c.Window)
}

// Run puts the procedure into a world.
func Run(w World, o Options) (Result, error) {
	out := Result{World: w.Name, Opt: o}
	r := newRun(w, o)
	for range o.Reference {
		if _, _, err := r.next(nil); err != nil {
			return out, err
		}
	}
	if !r.state.Status(&r.config).Judging {
		return out, fmt.Errorf("world %s: the reference period of %d windows has not ended", w.Name, o.Reference)
	}
	delays := make([][]float64, len(o.Shifts))
	for i := range o.Windows {
		_, d, err := r.next(nil)
		if err != nil {
			return out, err
		}
		if slices.ContainsFunc(d.Changes, func(c detect.Change) bool { return c.Kind != detect.Resolved }) {
			out.Alarms++
		}
		if slices.ContainsFunc(d.Changes, func(c detect.Change) bool { return c.Page() }) {
			out.Pages++
		}
		if every := max(1, r.opt.Windows/max(1, r.opt.Replicates)); i%every == 0 {
			for k, shift := range r.opt.Shifts {
				delay, err := r.delay(i/every, shift)
				if err != nil {
					return out, err
				}
				delays[k] = append(delays[k], delay)
			}
		}
	}
	out.Theta = r.state.Status(&r.config).Theta
	for _, all := range delays {
		out.Delays = append(out.Delays, median(all))
	}
	return out, nil
}

// median returns the middle, NaN if that is +Inf.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	if m := values[len(values)/2]; !math.IsInf(m, 1) {
		return m
	}
	return math.NaN()
}

// A run is a model on trial.
type run struct {
	opt     Options
	config  detect.Config
	traffic *Traffic
	part    *drift.Part
	state   *detect.State
	rows    *detect.Rows
	panes   []*Counts // the last detect.MaxSpan
}

// baselineWindows is how many windows make the baseline: a day, as a model that
// learns by itself takes.
const baselineWindows = 24

func newRun(w World, o Options) *run {
	r := &run{opt: o, config: detect.DefaultConfig("trial"), traffic: NewTraffic(w, o.Features, o.Events, o.Seed)}
	r.config.Reference, r.config.Pages = o.Reference, o.Pages
	var day []*Counts
	for range baselineWindows {
		day = append(day, r.traffic.Next(nil))
	}
	r.part = r.traffic.Reference(day...)
	r.state = detect.NewState(&r.config, "b-trial", r.part)
	r.rows = &detect.Rows{}
	return r
}

// next draws a window and has it judged.
func (r *run) next(shift []float64) (*detect.Outcome, detect.Decision, error) {
	counts := r.traffic.Next(shift)
	if len(r.panes) == detect.MaxSpan {
		r.panes = r.panes[1:]
	}
	r.panes = append(r.panes, counts)
	window := r.traffic.Window(counts)
	var outcome *detect.Outcome
	var decision detect.Decision
	decide := func() {
		outcome = r.state.Step(&r.config, r.rows, r.part, window)
		decision = r.state.Settle(&r.config, outcome, r.part, r.reports(outcome))
	}
	if r.opt.Around == nil {
		decide()
	} else if err := r.opt.Around(decide); err != nil {
		return nil, decision, err
	}
	r.rows.Take(&decision)
	return outcome, decision, nil
}

// reports compares the sums of panes that an outcome asks for.
func (r *run) reports(o *detect.Outcome) []*drift.Report {
	var out []*drift.Report
	for _, since := range o.Spans {
		from := max(0, len(r.panes)-int(o.End.Sub(since)/time.Hour))
		out = append(out, drift.Compare(r.part, r.state.Baseline(), true, r.traffic.Window(r.panes[from:]...)))
	}
	return out
}

// delay shifts one feature in a future of its own, and returns the number of
// windows until the page that names it, +Inf if it does not come.
func (r *run) delay(replicate int, shift float64) (float64, error) {
	if r.state.Status(&r.config).Incident != nil {
		return math.Inf(1), nil
	}
	f, err := r.fork(uint64(replicate))
	if err != nil {
		return 0, err
	}
	which := replicate % r.opt.Features
	shifts := make([]float64, r.opt.Features)
	shifts[which] = shift
	for i := range r.opt.Patience {
		_, d, err := f.next(shifts)
		if err != nil {
			return 0, err
		}
		for _, c := range d.Changes {
			named := slices.ContainsFunc(c.New, func(n detect.Finding) bool { return n.Signal == f.traffic.features[which].name })
			if c.Page() && named {
				return float64(i + 1), nil
			}
		}
	}
	return math.Inf(1), nil
}

// fork copies the run as a restart would: through its encoding.
func (r *run) fork(seed uint64) (*run, error) {
	data, err := detect.AppendState(nil, r.state)
	if err != nil {
		return nil, err
	}
	out := *r
	if out.state, err = detect.DecodeState(data, r.state.Fit()); err != nil {
		return nil, err
	}
	out.opt.Around = nil
	out.traffic = r.traffic.fork(r.opt.Seed<<32 | seed)
	out.rows = &detect.Rows{Width: r.rows.Width, Data: slices.Clone(r.rows.Data)}
	out.panes = slices.Clone(r.panes)
	return &out, nil
}
