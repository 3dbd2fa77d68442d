package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
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
	latest   int64           // unix ns of the latest event
	past     []*drift.Window // of the reference, if drift is judged within a budget, until the first closing
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
	c, err := loadConfig(o.config)
	if err != nil {
		return nil, err
	}
	tried, err := newFileSide(o.rules, o.model, c)
	if err != nil {
		return nil, err
	}
	var against *fileSide
	if o.against != "" {
		if against, err = newFileSide(o.against, o.model, c); err != nil {
			return nil, err
		}
	}
	if !tried.watches(o.model) && !against.watches(o.model) {
		return nil, badUsage("no rule watches model %q, and it has no budget: name the model of the file with --model", o.model)
	}
	budgeted := tried.budget != nil || against != nil && against.budget != nil
	options := importOptions{backend: o.backend, model: o.model, mapping: o.mapping, types: o.types, ignore: o.ignore, timeless: true}
	if budgeted {
		options.timeColumn = o.time
	}
	if t.importer, err = newImporter(options); err != nil {
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
	if err := t.count(c, o, tried, against); err != nil {
		return nil, err
	}
	if budgeted && t.importer.to != 0 {
		if t.past, err = t.importer.windows(ctx, e, []string{o.reference}, t.baseline.Part(""), c.Windows.Decide.Std()); err != nil {
			return nil, fmt.Errorf("reference: %w", err)
		}
	}
	return t, t.run(o, tried, against)
}

// A fileSide is what one file of rules decides about the model of the rows.
type fileSide struct {
	rules  []*alert.Rule
	gap    time.Duration    // the longest silence of the model that is usual, 0 if the file does not say
	budget *backtest.Budget // nil: none
}

// newFileSide loads a file of rules. Drift is judged as the configuration says. The
// models that the file lists by name share its budgets with the one of the rows.
func newFileSide(file, model string, c *config.Config) (*fileSide, error) {
	f, err := loadRules(file)
	if err != nil {
		return nil, err
	}
	d := daemon.NewDetection(c)
	d.Budget = f.detection.Budget
	models := []string{model}
	for _, m := range f.models {
		if !slices.Contains(models, m) && !strings.ContainsAny(m, "*?") {
			models = append(models, m)
		}
	}
	out := &fileSide{rules: f.rules, gap: f.gap(model)}
	if conf, b := d.Within(model, models); conf != nil {
		out.budget = &backtest.Budget{Name: b.Name, Config: *conf}
	}
	return out, nil
}

// watches reports whether a side, if there is one, says anything of a model.
func (s *fileSide) watches(model string) bool {
	return s != nil && (s.budget != nil || slices.ContainsFunc(s.rules, func(r *alert.Rule) bool { return r.Watches(model) }))
}

// sizes returns the lengths of the windows that a side, if there is one, looks at.
func (s *fileSide) sizes() (out []time.Duration) {
	if s == nil {
		return nil
	}
	for _, r := range s.rules {
		out = append(out, r.Spec().Window)
	}
	if s.budget != nil {
		out = append(out, s.budget.Config.Window)
	}
	return out
}

// run returns what judges by a side.
func (s *fileSide) run(b *drift.Baseline) (*backtest.Run, error) {
	r := backtest.NewRun(alert.Judge{Rules: s.rules, Baseline: b, Gap: s.gap})
	if s.budget == nil {
		return r, nil
	}
	return r, r.Within(*s.budget)
}

// count settles how the rows are counted: by the configuration, in the windows
// that are judged.
func (t *fileTrial) count(c *config.Config, o backtestOptions, tried, against *fileSide) error {
	t.spec = c.DriftSpec()
	t.spec.Discover, t.spec.Sizes, t.spec.Models = true, nil, []drift.ModelSpec{modelSpec(c, o.model)}
	if o.mapping == "" {
		t.spec.DedupIDs = 0 // rows are told apart by their number
	}
	for _, size := range slices.Concat(tried.sizes(), against.sizes()) {
		if !slices.Contains(t.spec.Sizes, size) {
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
func (t *fileTrial) run(o backtestOptions, tried, against *fileSide) error {
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
	if t.parts.Main, err = tried.run(t.baseline); err != nil {
		return err
	}
	if against != nil {
		if t.parts.Against, err = against.run(t.baseline); err != nil {
			return err
		}
	}
	t.plain = t.engine()
	if len(t.parts.Injections) > 0 {
		t.injected = t.engine()
		t.parts.Plain, err = tried.run(t.baseline)
	}
	return err
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
		return t.drained(t.plain, t.parts.AddInjected)
	}
	if err := t.drained(t.plain, t.parts.Plain.Add); err != nil {
		return err
	}
	return t.drained(t.injected, t.parts.AddInjected)
}

func (t *fileTrial) drained(engine *drift.Engine, judge func(*drift.Closing) error) error {
	if !engine.Pending() {
		return nil
	}
	d, err := engine.Drain()
	if err != nil {
		return err
	}
	for i := range d.Closings {
		if err := t.learn(d.Closings[i].Start); err != nil {
			return err
		}
		if err := judge(&d.Closings[i]); err != nil {
			return err
		}
	}
	return nil
}

// learn takes what the reference says of the time before the rows, once.
func (t *fileTrial) learn(before time.Time) error {
	for _, w := range t.past {
		if w.End.After(before) {
			break
		}
		if err := t.parts.Learn(w); err != nil {
			return err
		}
	}
	t.past = nil
	return nil
}
