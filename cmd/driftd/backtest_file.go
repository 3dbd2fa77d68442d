package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// fileModel is the model of a file's rows when none is named.
const fileModel = "file"

// A fileTrial judges the rows of a file as if they were a model's live events.
type fileTrial struct {
	importer *importer
	spec     drift.Spec
	baseline *drift.Baseline
	parts    backtest.Parts
	plain    *drift.Engine // the rows as they are
	injected *drift.Engine // with the faults; nil without any
	counts   rowCounts
	latest   int64 // unix ns of the latest event
}

func (e *env) backtestFile(ctx context.Context, o backtestOptions) (*backtestReport, error) {
	if o.model == "" {
		o.model = fileModel
	}
	t, err := e.newFileTrial(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := t.judge(ctx, e, o); err != nil {
		return nil, err
	}
	report := backtest.NewReport(o.model, t.parts)
	report.Baseline = o.reference
	return &backtestReport{Rules: o.rules, Against: o.against, Models: []*backtest.Report{report}, Rows: &t.counts}, nil
}

// newFileTrial reads the rules and makes a baseline of the reference, as driftd
// baseline import does.
func (e *env) newFileTrial(ctx context.Context, o backtestOptions) (*fileTrial, error) {
	t := &fileTrial{}
	rules, err := compileRules(o.rules)
	if err != nil {
		return nil, err
	}
	var against []*alert.Rule
	if o.against != "" {
		if against, err = compileRules(o.against); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(slices.Concat(rules, against), func(r *alert.Rule) bool { return r.Watches(o.model) }) {
		return nil, badUsage("no rule watches model %q: name the model of the file with --model", o.model)
	}
	if t.importer, err = newImporter(importOptions{backend: o.backend, model: o.model, mapping: o.mapping, types: o.types, ignore: o.ignore}); err != nil {
		return nil, err
	}
	if t.importer.types.known == nil {
		t.importer.types.known = map[string]dataset.Type{}
	}
	t.importer.types.known[o.time] = dataset.TimeType // the reference need not have it
	if err := t.importer.add(ctx, e, o.reference); err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	if t.baseline, err = t.importer.build([]string{o.reference}); err != nil {
		return nil, err
	}
	if err := t.count(o, rules, against); err != nil {
		return nil, err
	}
	return t, t.run(o, rules, against)
}

// count settles how the rows are counted: by the configuration, in the windows
// that the rules judge.
func (t *fileTrial) count(o backtestOptions, rules, against []*alert.Rule) error {
	c, err := loadConfig(o.config)
	if err != nil {
		return err
	}
	t.spec = c.DriftSpec()
	t.spec.Discover, t.spec.Sizes, t.spec.Models = true, nil, []drift.ModelSpec{modelSpec(c, o.model)}
	if o.mapping == "" {
		t.spec.DedupIDs = 0 // rows are told apart by their number
	}
	for _, r := range slices.Concat(rules, against) {
		if size := r.Spec().Window; !slices.Contains(t.spec.Sizes, size) {
			t.spec.Sizes = append(t.spec.Sizes, size)
		}
	}
	if err := t.spec.Validate(); err != nil {
		return badUsage("the rules' windows: %w", err)
	}
	return nil
}

func modelSpec(c *config.Config, model string) drift.ModelSpec {
	spec := drift.ModelSpec{Glob: "*"}
	for _, s := range c.Model(model).Segments {
		spec.Segments = append(spec.Segments, s)
	}
	return spec
}

// run prepares the engines and what judges their closings.
func (t *fileTrial) run(o backtestOptions, rules, against []*alert.Rule) error {
	for _, text := range o.inject {
		i, err := backtest.ParseInjection(text)
		if err != nil {
			return badUsage("--%w", err)
		}
		t.parts.Injections = append(t.parts.Injections, i)
	}
	var err error
	if t.parts.Injections, err = backtest.Bind(t.parts.Injections, t.baseline, true); err != nil {
		return badUsage("--%w", err)
	}
	judge := alert.Judge{Rules: rules, Baseline: t.baseline}
	t.parts.Main = backtest.NewRun(judge)
	if against != nil {
		t.parts.Against = backtest.NewRun(alert.Judge{Rules: against, Baseline: t.baseline})
	}
	t.plain = t.engine()
	if len(t.parts.Injections) > 0 {
		t.parts.Plain, t.injected = backtest.NewRun(judge), t.engine()
	}
	return nil
}

func (t *fileTrial) engine() *drift.Engine {
	engine := drift.NewEngine(t.spec)
	engine.SetBaseline(t.baseline) // models are discovered, and this is the first
	return engine
}

// judge reads the file.
func (t *fileTrial) judge(ctx context.Context, e *env, o backtestOptions) error {
	table, err := dataset.Open(o.file, dataset.Limits{})
	if err != nil {
		return err
	}
	defer func() { _ = table.Close() }() // it was only read
	if err := table.Override(present(table, t.settled(), t.importer.types.known, t.importer.types.said)); err != nil {
		return err
	}
	mapping, err := t.bind(table, o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	for ev, err := range t.importer.events(ctx, e, "judge", table, mapping) {
		if err == nil {
			err = t.row(ev)
		}
		if err != nil {
			return err
		}
	}
	if t.latest == 0 {
		return fmt.Errorf("%s: no row was counted", o.file)
	}
	// Stream time passes until the windows that end with the last row close; those
	// that go on behind it are not judged.
	end := drift.Position{Seq: t.counts.Read + 1, Time: t.latest + int64(t.spec.Lateness+t.spec.Pane) + int64(time.Second)}
	t.plain.Tick(end)
	if t.injected != nil {
		t.injected.Tick(end)
	}
	return t.drain()
}

// settled returns the types that the reference gave its columns, by which the file
// is read too.
func (t *fileTrial) settled() map[string]dataset.Type {
	types := map[string]dataset.Type{}
	for _, s := range t.baseline.Part("").Signals {
		if s.Feature {
			types[featureTitle(s.Name)] = dataset.Numeric
			if s.Type == drift.Categorical {
				types[featureTitle(s.Name)] = dataset.Categorical
			}
		}
	}
	return types
}

// bind returns how rows become events that have a time.
func (t *fileTrial) bind(table *dataset.Table, o backtestOptions) (*dataset.Map, error) {
	if o.time != "" && table.Index(o.time) < 0 {
		return nil, badUsage("--time: no column %q: there are %s", o.time, names(table))
	}
	t.importer.timeColumn = o.time
	return t.importer.bind(table)
}

// row counts one row as it is, and with the faults.
func (t *fileTrial) row(ev *event.Event) error {
	t.counts.Read++
	if ev.Time == 0 {
		t.counts.Timeless++
		return nil
	}
	t.latest = max(t.latest, ev.Time)
	pos := drift.Position{Seq: t.counts.Read, Time: t.latest}
	switch t.plain.Add(ev, pos) {
	case drift.Counted:
		t.counts.Counted++
	case drift.Late:
		t.counts.Late++
	case drift.Duplicate:
		t.counts.Duplicate++
	case drift.Future, drift.Unconfigured, drift.OverLimit: // its message comes at its time, and its model is the only one
	}
	if t.injected != nil {
		for k := range t.parts.Injections {
			t.parts.Injections[k].Event(ev, t.counts.Read)
		}
		t.injected.Add(ev, pos)
	}
	return t.drain()
}

// drain judges what has closed.
func (t *fileTrial) drain() error {
	if t.injected == nil {
		return drained(t.plain, t.parts.AddInjected)
	}
	if err := drained(t.plain, t.parts.Plain.Add); err != nil {
		return err
	}
	return drained(t.injected, t.parts.AddInjected)
}

func drained(engine *drift.Engine, judge func(*drift.Closing) error) error {
	if !engine.Pending() {
		return nil
	}
	d, err := engine.Drain()
	if err != nil {
		return err
	}
	for i := range d.Closings {
		if err := judge(&d.Closings[i]); err != nil {
			return err
		}
	}
	return nil
}
