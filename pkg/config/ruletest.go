package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ruletest"
	"driftd.dev/driftd/pkg/sim"
)

// RuleTests is a file of tests of rules, ready to be played.
type RuleTests struct {
	World ruletest.World
	Tests []ruletest.Test
	Lines []int // of the file, parallel to Tests
}

// LoadRuleTests reads a file of tests, and the rules and the configuration that it
// names beside it. Its error is Faults, of the first file that has any, unless a file
// could not be read.
func LoadRuleTests(file string, o Options) (*RuleTests, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	var doc ruleTests
	d := newDecoder(file, o)
	if root := d.parse(text); root != nil {
		d.value("", root, &doc)
	} else if len(d.faults) == 0 {
		d.faults = append(d.faults, Fault{File: file, Line: 1, Column: 1, Message: "the file is empty: there is nothing to test"})
	}
	v := &validator{}
	if doc.Config == "" && len(doc.RuleFiles) == 0 && len(d.faults) == 0 {
		v.fault("", "neither rule_files nor config: there are no rules to test")
	}
	d.add(v.faults)
	if err := d.report(text).err(); err != nil {
		return nil, err
	}
	c, world, err := doc.world(filepath.Dir(file), o)
	if err != nil {
		return nil, err
	}
	out := &RuleTests{World: world}
	v = &validator{}
	first := map[string]bool{}
	for _, r := range world.Rules {
		if first[r.Name()] {
			v.fault("rule_files", "there are two rules %q: tests could not say which they mean", r.Name())
		}
		first[r.Name()] = true
	}
	for i := range doc.Tests {
		path := fmt.Sprintf("tests[%d]", i)
		b := testBuilder{validator: v, config: c, world: &out.World, places: d.places}
		out.Tests = append(out.Tests, b.test(path, &doc, &doc.Tests[i]))
		out.Lines = append(out.Lines, d.places.at(path).line)
	}
	d.add(v.faults)
	if err := d.report(text).err(); err != nil {
		return nil, err
	}
	return out, nil
}

// world loads what is tested. Paths are relative to the folder of the tests.
func (f *ruleTests) world(folder string, o Options) (*Config, ruletest.World, error) {
	c := Default()
	beside := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(folder, name)
	}
	var err error
	if f.Config != "" {
		if c, err = Load(beside(f.Config), o); err != nil {
			return nil, ruletest.World{}, err
		}
	}
	for _, name := range f.RuleFiles {
		more, err := LoadRules(beside(name), o)
		if err != nil {
			return nil, ruletest.World{}, err
		}
		c.Rules, c.Models = append(c.Rules, more.Rules...), append(c.Models, more.Models...)
	}
	world := ruletest.World{
		Count: c.DriftSpec(), OnTrial: c.OnTrial, Grouped: c.Grouped, Owner: func(model string) string { return c.Model(model).Owner },
		ExpectedGap: func(model string) time.Duration { return c.Model(model).ExpectedGap.Std() },
	}
	if world.Rules, err = c.AlertRules(); err != nil {
		return nil, world, err
	}
	if c.ExpectsGaps() {
		limits := alert.HardLimits(c.Windows.Sizes[0].Std())
		world.Rules = append(world.Rules, limits[slices.IndexFunc(limits, func(r *alert.Rule) bool { return r.Name() == alert.RuleSilent })])
	}
	if world.TimeIntervals, err = c.Intervals(); err != nil {
		return nil, world, err
	}
	world.Routes, err = c.AlertRoutes()
	return c, world, err
}

// A testBuilder turns tests as they are written into tests that run.
type testBuilder struct {
	*validator
	config *Config
	world  *ruletest.World
	places places
	window time.Duration
}

// after returns a time of a test: so many windows or so long since its start.
func (b *testBuilder) after(h Hold) time.Duration {
	return h.Duration.Std() + time.Duration(h.Windows)*b.window
}

func (b *testBuilder) test(path string, f *ruleTests, t *ruleTest) ruletest.Test {
	b.window = b.config.Windows.Decide.Std()
	for _, w := range []Duration{t.Window, f.Window} {
		if w != 0 {
			b.window = w.Std()
			break
		}
	}
	out := ruletest.Test{Name: t.Name, Start: t.Start.Time, Window: b.window, N: t.N}
	if at := ruletest.Align(out.Start, b.window); !out.Start.IsZero() && !out.Start.Equal(at) {
		b.fault(path+".start", "windows of %s start at multiples of their length: %s", Duration(b.window), at.Format(time.RFC3339))
	}
	for _, s := range t.Series {
		out.Series = append(out.Series, ruletest.Series{Variable: s.Series.variable, Key: s.Series.key, Values: s.Values})
	}
	for i := range t.Events {
		out.Traffic = append(out.Traffic, b.events(fmt.Sprintf("%s.input_events[%d]", path, i), &t.Events[i], &out))
	}
	for i, fault := range t.Faults {
		out.Faults = append(out.Faults, b.suffered(fmt.Sprintf("%s.faults[%d]", path, i), fault))
	}
	for i, a := range t.Acks {
		out.Acks = append(out.Acks, ruletest.Ack{At: b.time(fmt.Sprintf("%s.acknowledgements[%d].at", path, i), a.At), Labels: a.Labels, By: a.By})
	}
	for i, s := range t.Silences {
		out.Silences = append(out.Silences, b.silence(fmt.Sprintf("%s.silences[%d].", path, i), s))
	}
	if len(t.Series)+len(t.Events) == 0 {
		b.fault(path, "neither input_series nor input_events: nothing happens in this test")
	}
	b.expectations(path, t, &out)
	return out
}

// expectations turns what is expected of a test.
func (b *testBuilder) expectations(path string, t *ruleTest, out *ruletest.Test) {
	if len(t.Alerts)+len(t.Told)+len(t.Acts) == 0 {
		b.fault(path, "none of alert_rule_test, notifications and actions: nothing is expected of this test")
	}
	for i, a := range t.Alerts {
		at := fmt.Sprintf("%s.alert_rule_test[%d]", path, i)
		b.looks(at, a, out)
		alerts := ruletest.Alerts{Line: b.places.at(at).line, At: b.time(at+".eval_time", a.At), Name: a.Rule}
		for _, w := range a.Wants {
			want := ruletest.Want{Labels: w.Labels, Annotations: w.Annotations, Flag: string(w.Flag), Reason: w.Reason, Muted: w.Muted}
			_ = want.Phase.UnmarshalText([]byte(w.State)) // it is one of their names
			alerts.Wants = append(alerts.Wants, want)
		}
		out.Alerts = append(out.Alerts, alerts)
	}
	for i, told := range t.Told {
		at := fmt.Sprintf("%s.notifications[%d]", path, i)
		if told.Receiver != SignalReceiver {
			b.receiver(at+".receiver", told.Receiver, b.config)
		}
		m := ruletest.Messages{Line: b.places.at(at).line, Receiver: told.Receiver, At: b.after(told.At)}
		for _, e := range told.Messages {
			m.Wants = append(m.Wants, ruletest.Message{
				Labels: e.Labels, Status: string(e.Status), Severity: string(e.Severity), At: b.after(e.At), Alerts: e.Alerts, Firing: e.Firing, Ended: e.Ended, Acknowledged: e.Acknowledged,
			})
		}
		out.Messages = append(out.Messages, m)
	}
	for i, a := range t.Acts {
		at := fmt.Sprintf("%s.actions[%d]", path, i)
		out.Actions = append(out.Actions, ruletest.Action{
			Line: b.places.at(at).line, At: b.time(at+".eval_time", a.At), Model: a.Model, Kind: string(a.Action), Want: string(a.Want), Reason: a.Reason,
		})
	}
}

// time returns a time at which something is looked at.
func (b *testBuilder) time(path string, h Hold) time.Duration {
	at := b.after(h)
	if at < b.window || at > ruletest.MaxWindows*b.window {
		b.fault(path, "look after 1 to %d windows of %s: the first is known when it has closed", ruletest.MaxWindows, Duration(b.window))
	}
	return at
}

// looks checks that a rule can say something about the inputs.
func (b *testBuilder) looks(path string, a testAlerts, t *ruletest.Test) {
	if a.Rule == alert.RuleNoData || a.Rule == alert.RuleUndecided {
		return // of any rule
	}
	i := slices.IndexFunc(b.world.Rules, func(r *alert.Rule) bool { return r.Name() == a.Rule })
	if i < 0 {
		var names []string
		for _, r := range b.world.Rules {
			names = append(names, r.Name())
		}
		b.fault(path+".alertname", "there is no rule %q%s", a.Rule, suggest(a.Rule, names))
		return
	}
	if size := b.world.Rules[i].Spec().Window; size != b.window && len(t.Series) > 0 {
		b.fault(path+".alertname", "%s judges windows of %s, and values are of %s: give the test window: %s", a.Rule, Duration(size), Duration(b.window), Duration(size))
	}
}

// events turns the traffic of one model.
func (b *testBuilder) events(path string, e *testEvents, t *ruletest.Test) ruletest.Traffic {
	model := sim.Model{Name: e.Model, Features: named(e.Features), Segments: named(e.Segments)}
	for _, v := range e.Versions {
		variant, _ := event.ParseVariant(string(v.Variant)) // one of its words
		model.Versions = append(model.Versions, sim.Version{Name: v.Version, Variant: variant, Share: v.Share, ErrorRate: v.Errors, Latency: v.Latency.Dist})
	}
	if len(model.Versions) == 0 {
		model.Versions = []sim.Version{{Name: "1", Share: 1}}
	}
	if p := e.Prediction; p != nil {
		model.Score = sim.Score{Positive: p.Positive, Negative: p.Negative, Bias: p.Bias, Noise: p.Noise, Confidence: true}
	}
	out := ruletest.Traffic{Model: model, Events: e.Events, Seed: e.Seed, Baseline: drift.BaselineState(e.Baseline.State), Rows: e.Baseline.Rows}
	if e.Baseline.State == "none" {
		out.Baseline = drift.Learning
	}
	before := len(b.faults)
	for i, c := range e.Changes {
		out.Changes = append(out.Changes, b.change(fmt.Sprintf("%s.changes[%d]", path, i), c, e.Model))
	}
	if slices.ContainsFunc(t.Series, func(s ruletest.Series) bool { return s.Key.Model == e.Model }) {
		b.fault(path+".model", "%s has input_series too: give a model one of the two", e.Model)
	}
	if len(b.faults) == before {
		if err := out.Validate(b.window); err != nil {
			b.fault(path, "%v", err)
		}
	}
	return out
}

// named returns features by name.
func named(features map[string]feature) (out []sim.Feature) {
	for _, name := range slices.Sorted(maps.Keys(features)) {
		f := sim.Feature(features[name])
		f.Name = name
		out = append(out, f)
	}
	return out
}

func (b *testBuilder) change(path string, c testChange, model string) sim.Injection {
	out := sim.Injection(c.Inject)
	effects := 0
	if out.Effect != 0 {
		effects++
	}
	for effect, amount := range map[sim.Effect]float64{sim.Errors: c.Errors, sim.Latency: c.Latency, sim.ScoreShift: c.Scores} {
		if amount != 0 {
			effects++
			out.Effect, out.Amount = effect, amount
		}
	}
	if effects != 1 {
		b.fault(path, "a change is one of inject, errors, latency and scores")
	}
	out.Model, out.Version, out.From, out.To = model, c.Version, b.after(c.From), b.after(c.To)
	if c.Segment != "" {
		name, value, ok := strings.Cut(c.Segment, "=")
		if out.Segment = (event.Segment{Name: name, Value: value}); !ok {
			b.fault(path+".segment", "write a segment as channel=app")
		}
	}
	return out
}

func (b *testBuilder) suffered(path string, f testFault) ruletest.Fault {
	out := ruletest.Fault{
		Kind: ruletest.FaultKind(f.Fault), Model: f.Model, Feature: f.Feature, Version: f.Version, Share: f.Share, From: b.after(f.From), To: b.after(f.To),
	}
	if err := out.Validate(); err != nil {
		b.fault(path, "%v", err)
	}
	return out
}

func (b *testBuilder) silence(path string, s testSilence) ruletest.Silence {
	out := ruletest.Silence{
		Kind: incident.SilenceKind(s.Kind), Matchers: s.Matchers, StartsAt: b.after(s.StartsAt), EndsAt: b.after(s.EndsAt), Comment: s.Comment,
	}
	b.alertFaults(path, out.Validate())
	return out
}
