package ruletest

import (
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// A player counts the events of one Traffic.
type player struct {
	test     *Test
	traffic  *Traffic
	stream   *sim.Stream
	engine   *drift.Engine
	baseline *drift.Baseline // nil: the model learns
	spec     drift.Spec

	start, end int64 // unix ns
	seq        uint64
	held       []heldEvent        // late ones
	shares     map[*Fault]float64 // what is due of a fault that takes a share of the events
	lost       int                // windows in which messages were lost
	closings   []drift.Closing
}

// A heldEvent comes at a time after its own.
type heldEvent struct {
	event.Event
	comes int64
}

// play counts the events of as many windows as are needed, in windows of the given
// sizes, and returns what closed and the reference.
func (tr *Traffic) play(t *Test, count drift.Spec, sizes []time.Duration, windows int) ([]drift.Closing, *drift.Baseline, error) {
	p := &player{test: t, traffic: tr, shares: map[*Fault]float64{}, start: t.Start.UnixNano()}
	p.end = p.start + int64(windows)*int64(t.Window)
	if err := p.prepare(count, sizes); err != nil {
		return nil, nil, err
	}
	var e event.Event
	for p.stream.Next(&e) {
		if e.Kind != event.Prediction {
			continue
		}
		if err := p.take(&e); err != nil {
			return nil, nil, err
		}
	}
	// Time goes on until the windows that end with the last one close, also of a
	// model that has fallen silent.
	p.seq++
	p.engine.Tick(drift.Position{Seq: p.seq, Time: p.end + 2*int64(p.spec.Pane) + int64(time.Second)})
	if err := p.drain(); err != nil {
		return nil, nil, err
	}
	p.closings = slices.DeleteFunc(p.closings, func(c drift.Closing) bool { return c.End.UnixNano() > p.end })
	return p.closings, p.baseline, nil
}

// prepare makes the stream, the reference and the engine.
func (p *player) prepare(count drift.Spec, sizes []time.Duration) error {
	gap := p.test.Window / time.Duration(p.traffic.Events)
	model := p.traffic.Model
	model.Rate, model.Even = 1/gap.Seconds(), true
	scenario := sim.Scenario{
		Name: model.Name, Start: p.test.Start.Add(-gap / 2), // so that each window has as many
		Length: time.Duration(p.end-p.start) + gap/2, Models: []sim.Model{model},
	}
	for _, c := range p.traffic.Changes {
		if c.From > 0 {
			c.From += gap / 2
		}
		if c.To > 0 {
			c.To += gap / 2
		}
		c.Model = model.Name
		scenario.Injections = append(scenario.Injections, c)
	}
	var err error
	if p.stream, err = sim.New(scenario, p.traffic.Seed); err != nil {
		return err
	}
	p.spec = p.count(count, sizes)
	if err := p.spec.Validate(); err != nil {
		return fmt.Errorf("the windows of the rules: %w", err)
	}
	p.engine = drift.NewEngine(p.spec)
	if p.traffic.Baseline != drift.Learning {
		p.baseline = p.reference()
		p.engine.SetBaseline(p.baseline) // models are discovered, and this is the first
	}
	return nil
}

// count settles how events are counted: nothing is late but what a Fault makes so,
// and a model that shall learn does so for longer than any test.
func (p *player) count(spec drift.Spec, sizes []time.Duration) drift.Spec {
	segments := p.segments(spec)
	spec.Lateness, spec.DedupIDs, spec.Sizes, spec.Discover = 0, 0, sizes, true
	spec.Sample.MinSpan = time.Duration(MaxWindows) * p.test.Window
	spec.Models = []drift.ModelSpec{{Glob: p.traffic.Model.Name, Segments: segments}}
	return spec
}

// segments returns how the traffic is cut: as configured, or by each of its segments.
func (p *player) segments(spec drift.Spec) [][]string {
	for _, m := range spec.Models {
		if drift.Match(m.Glob, p.traffic.Model.Name) && len(m.Segments) > 0 {
			return m.Segments
		}
	}
	var out [][]string
	for _, s := range p.traffic.Model.Segments {
		out = append(out, []string{s.Name})
	}
	return out
}

// reference makes the baseline of rows from before the test, without its changes.
func (p *player) reference() *drift.Baseline {
	model := p.traffic.Model.Name
	b := drift.NewBuilder(drift.BuilderOptions{Model: model, Segments: p.spec.Models[0].Segments, Categories: p.spec.Limits.Categories})
	for e := range p.stream.Reference(model, p.traffic.Rows) {
		b.Add(e)
	}
	state := p.traffic.Baseline
	if state == "" {
		state = drift.Approved
	}
	return b.Build(state, drift.Origin{Kind: "import", Source: "test", Rows: b.Rows()})
}

// take counts one event, or does to it what the faults say.
func (p *player) take(e *event.Event) error {
	since := time.Duration(e.Time - p.start)
	p.lose(since)
	if err := p.deliver(e.Time); err != nil {
		return err
	}
	if p.struck(NoEvents, since) {
		return nil
	}
	if f := p.test.suffers(MissingFeature, e.Model, since); f != nil {
		if i := slices.Index(e.Features.Names, f.Feature); i >= 0 {
			e.Values[i] = event.Value{}
		}
	}
	if f := p.test.suffers(NewVersion, e.Model, since); f != nil && e.Variant == event.Primary {
		e.Version = f.Version
	}
	if p.struck(Late, since) {
		end := p.start + int64(since/p.test.Window+1)*int64(p.test.Window)
		late := *e
		late.Values, late.ScoreValues, late.Segments = slices.Clone(e.Values), slices.Clone(e.ScoreValues), slices.Clone(e.Segments)
		p.held = append(p.held, heldEvent{late, end + int64(p.spec.Pane)})
		return nil
	}
	return p.add(e, e.Time)
}

// struck reports whether a fault takes this event: all, or a share taken evenly.
func (p *player) struck(kind FaultKind, since time.Duration) bool {
	f := p.test.suffers(kind, p.traffic.Model.Name, since)
	if f == nil {
		return false
	}
	p.shares[f] += f.Share
	if p.shares[f] < 1 {
		return false
	}
	p.shares[f]--
	return true
}

// lose tells the engine once a window, in its middle, that messages are lost.
func (p *player) lose(since time.Duration) {
	if k := int(since / p.test.Window); k >= p.lost && since%p.test.Window >= p.test.Window/2 {
		p.lost = k + 1
		if p.test.suffers(Incomplete, p.traffic.Model.Name, since) != nil {
			p.engine.Gap()
		}
	}
}

// deliver counts the late events that have come by now.
func (p *player) deliver(now int64) error {
	for len(p.held) > 0 && p.held[0].comes <= now {
		if err := p.add(&p.held[0].Event, now); err != nil {
			return err
		}
		p.held = p.held[1:]
	}
	return nil
}

func (p *player) add(e *event.Event, now int64) error {
	p.seq++
	at := drift.Position{Seq: p.seq, Time: now}
	p.engine.Tick(at)
	p.engine.Add(e, at)
	return p.drain()
}

func (p *player) drain() error {
	if !p.engine.Pending() {
		return nil
	}
	d, err := p.engine.Drain()
	p.closings = append(p.closings, d.Closings...)
	return err
}
