package ruletest

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/lifecycle"
)

// A story is what came of a test.
type story struct {
	world  *World
	test   *Test
	states map[*alert.Rule]map[string]map[alert.Series]alert.State // by model
	traces map[alert.Series][]moment                               // ascending by time

	silences *incident.Silences

	acts      map[string]lifecycle.State
	decisions []decision
	fires     int // numbers the alerts
	outbox    *outbox
}

// A moment is one series after one window.
type moment struct {
	at          time.Duration // end of the window
	state       alert.State
	labels      map[string]string
	reason      string // for which the phase was entered
	annotations map[string]string
	window      drift.WindowState
	n           uint64
	vars        alert.Vars
	absent      bool // the window had nothing of the series
}

type decision struct {
	at    time.Duration
	model string
	lifecycle.Decision
}

// A step is the windows of one model and size that close at one time.
type step struct {
	closing  *drift.Closing
	findings func(statesOf) iter.Seq2[alert.Finding, error] // of every rule that judges them, in order
}

// statesOf gives what a rule remembers of the model of a step.
type statesOf func(*alert.Rule) map[alert.Series]alert.State

// tell plays a test.
func (w *World) tell(t *Test) (*story, error) {
	silences, err := t.silences()
	if err != nil {
		return nil, err
	}
	s := &story{
		world: w, test: t, states: map[*alert.Rule]map[string]map[alert.Series]alert.State{}, traces: map[alert.Series][]moment{},
		acts: map[string]lifecycle.State{}, silences: silences, outbox: newOutbox(w, t, silences),
	}
	for _, r := range w.Rules {
		s.states[r] = map[string]map[alert.Series]alert.State{}
	}
	steps := s.givenSteps()
	counted, err := s.countedSteps()
	if err != nil {
		return nil, err
	}
	steps = append(steps, counted...)
	slices.SortStableFunc(steps, func(a, b step) int {
		return cmp.Or(a.closing.End.Compare(b.closing.End), cmp.Compare(a.closing.Size, b.closing.Size), cmp.Compare(a.closing.Model, b.closing.Model))
	})
	for _, st := range steps {
		if st.closing.End.After(s.outbox.now) {
			s.outbox.flush() // of all windows that ended together
			s.outbox.advance(st.closing.End)
		}
		if err := s.play(st); err != nil {
			return nil, err
		}
	}
	s.outbox.flush()
	s.outbox.advance(t.Start.Add(t.end()))
	return s, nil
}

// givenSteps are the windows of Series.
func (s *story) givenSteps() (out []step) {
	for _, g := range s.test.given() {
		judge := s.judge(g.model, &drift.Baseline{ID: givenReference, Model: g.model})
		for k := range s.test.windows() {
			c, view := g.closing(k)
			out = append(out, step{c, func(states statesOf) iter.Seq2[alert.Finding, error] {
				return func(yield func(alert.Finding, error) bool) {
					for _, r := range judge.Rules {
						if r.Spec().Window == c.Size && !yield(judge.Find(r, c, view, g.inputs(r, view, k), states(r)), nil) {
							return
						}
					}
				}
			}})
		}
	}
	return out
}

// judge returns what judges a model against a baseline.
func (s *story) judge(model string, b *drift.Baseline) alert.Judge {
	return alert.Judge{Rules: s.world.rules(model), Baseline: b, Shadow: s.world.OnTrial != nil && s.world.OnTrial(model), Gap: s.world.gap(model)}
}

func (w *World) gap(model string) time.Duration {
	if w.ExpectedGap == nil {
		return 0
	}
	return w.ExpectedGap(model)
}

// rules returns the rules that judge a model: that on silence only if somebody has
// said how long one may be.
func (w *World) rules(model string) []*alert.Rule {
	return slices.DeleteFunc(slices.Clone(w.Rules), func(r *alert.Rule) bool { return !r.Watches(model) || r.HardLimit() && w.gap(model) == 0 })
}

// countedSteps are the windows of Traffic.
func (s *story) countedSteps() (out []step, err error) {
	for i := range s.test.Traffic {
		tr := &s.test.Traffic[i]
		if n := s.test.windows() * tr.Events; n > maxPlayed {
			return nil, fmt.Errorf("events of %s: %d windows of %d are more than %d", tr.Model.Name, s.test.windows(), tr.Events, maxPlayed)
		}
		closings, baseline, err := tr.play(s.test, s.world.Count, s.sizes(tr.Model.Name), s.test.windows())
		if err != nil {
			return nil, fmt.Errorf("events of %s: %w", tr.Model.Name, err)
		}
		memory := alert.NewMemory(s.world.rules(tr.Model.Name))
		for k := range closings {
			c := &closings[k]
			judge := s.judge(c.Model, s.approved(c, baseline))
			judge.Past = memory.Past
			out = append(out, step{c, func(states statesOf) iter.Seq2[alert.Finding, error] { return counted(judge, memory, c, states) }})
		}
	}
	return out, nil
}

// counted judges a window of Traffic by every rule, and remembers it for those that
// compare with the past.
func counted(judge alert.Judge, memory *alert.Memory, c *drift.Closing, states statesOf) iter.Seq2[alert.Finding, error] {
	return func(yield func(alert.Finding, error) bool) {
		base, err := judge.See(c, alert.ReferenceBaseline)
		if err != nil {
			yield(alert.Finding{}, err)
			return
		}
		for f, err := range judge.Findings(c, base, states) {
			if !yield(f, err) {
				return
			}
		}
		memory.Add(c, base.Total.Window)
	}
}

// sizes returns the lengths of the windows that rules judge a model by.
func (s *story) sizes(model string) []time.Duration {
	out := []time.Duration{s.test.Window}
	for _, r := range s.world.rules(model) {
		if size := r.Spec().Window; !slices.Contains(out, size) {
			out = append(out, size)
		}
	}
	return out
}

// approved returns the baseline as it is worth in a window.
func (s *story) approved(c *drift.Closing, b *drift.Baseline) *drift.Baseline {
	if b == nil || s.test.suffers(Unapproved, c.Model, c.Start.Sub(s.test.Start)) == nil {
		return b
	}
	out := *b
	out.State = drift.Frozen
	return &out
}

// play judges one step by every rule.
func (s *story) play(st step) error {
	c := st.closing
	s.unmute(c)
	var fired []lifecycle.Trigger
	for f, err := range st.findings(func(r *alert.Rule) map[alert.Series]alert.State { return s.states[r][c.Model] }) {
		if err != nil {
			return err
		}
		for i := range f.Changes {
			ch := &f.Changes[i]
			if s.change(ch, f.Next); ch.Fired() && !ch.Untold() {
				fired = append(fired, lifecycle.Trigger{Change: *ch, EntryID: ch.DedupKey})
			}
		}
		if s.states[f.Rule][c.Model] == nil {
			s.states[f.Rule][c.Model] = map[alert.Series]alert.State{}
		}
		alert.Apply(s.states[f.Rule][c.Model], f.Next)
		s.trace(c, f)
	}
	s.decide(c, fired)
	return nil
}

// unmute ends what began in a maintenance of which a closing holds no data any more.
// Nobody has heard of it.
func (s *story) unmute(c *drift.Closing) {
	for _, r := range s.world.Rules {
		if r.Spec().Window == c.Size {
			for _, series := range s.silences.Unmuted(s.states[r][c.Model], c.Start, c.End) {
				delete(s.states[r][c.Model], series)
			}
		}
	}
}

// decide answers the alerts that have fired together.
func (s *story) decide(c *drift.Closing, fired []lifecycle.Trigger) {
	if len(fired) == 0 {
		return
	}
	next, decisions := lifecycle.Decide(s.acts[c.Model], lifecycle.Request{
		Model: c.Model, At: c.End, Triggers: fired, Traffic: lifecycle.TrafficOf(c.Windows), Policy: lifecycle.DefaultPolicy(),
	})
	s.acts[c.Model] = next
	for _, d := range decisions {
		s.decisions = append(s.decisions, decision{s.since(c.End), c.Model, d})
	}
}

func (s *story) since(t time.Time) time.Duration { return t.Sub(s.test.Start) }

// change takes the start or the end of an alert. One that starts gets its key.
func (s *story) change(ch *alert.Change, next map[alert.Series]alert.State) {
	if !ch.Fired() && !ch.Resolved() {
		return
	}
	if ch.Fired() {
		s.silences.Heed(ch, s.world.owned(ch.LabelSet()))
		s.fires++
		ch.DedupKey = fmt.Sprintf("alert-%06d", s.fires)
		state := next[ch.Series]
		state.DedupKey, state.Muted, state.Severity = ch.DedupKey, ch.Muted, ch.Severity
		next[ch.Series] = state
	}
	if s.world.Routes != nil && !ch.Untold() {
		s.outbox.put(ch, s.world.owned(ch.LabelSet()))
	}
}

// owned adds the owner of the model to the labels of an alert, unless its rule does.
func (w *World) owned(labels map[string]string) map[string]string {
	if w.Owner != nil && labels["owner"] == "" && w.Owner(labels["model"]) != "" {
		labels["owner"] = w.Owner(labels["model"])
	}
	return labels
}

// trace remembers how every series of a rule stands after a window.
func (s *story) trace(c *drift.Closing, f alert.Finding) {
	states := s.states[f.Rule][c.Model]
	inputs := make(map[alert.Series]alert.Input, len(f.Inputs))
	for _, in := range f.Inputs {
		inputs[alert.Series{Rule: f.Rule.Name(), Key: in.Key}] = in
	}
	all := make(map[alert.Series]bool, len(inputs))
	for series := range inputs {
		all[series] = true
	}
	for series := range states {
		all[series] = true
	}
	for series := range f.Next {
		all[series] = true
	}
	for series, trace := range s.traces { // a maintenance may have ended, and nothing be left
		if series.Rule == f.Rule.Name() && series.Model == c.Model && trace[len(trace)-1].muted() {
			all[series] = true
		}
	}
	for series := range all {
		in, seen := inputs[series]
		m := moment{at: s.since(c.End), state: states[series], window: f.View.Total.Window.State, absent: !seen}
		m.n, m.vars = in.N, in.Vars
		if seen {
			m.window = in.Window.State
		}
		m.annotations = f.Rule.Spec().Annotations
		earlier := s.traces[series]
		if n := len(earlier); n > 0 {
			m.follow(&earlier[n-1])
		}
		for _, ch := range f.Changes {
			if ch.Series != series {
				continue
			}
			if m.reason = ch.Reason; ch.Fired() {
				m.annotations = ch.Annotations
			}
		}
		m.labels = s.world.labels(f.Rule, series, m.state)
		s.traces[series] = append(earlier, m)
	}
}

// follow keeps what stays from the window before.
func (m *moment) follow(earlier *moment) {
	if earlier.state.Phase == m.state.Phase {
		m.reason = earlier.reason
	}
	if earlier.state.Active() && m.state.Active() {
		m.annotations = earlier.annotations
	}
}

// muted reports whether the alert began in a maintenance.
func (m *moment) muted() bool {
	return m.state.Muted != "" && (m.state.Active() || m.state.Phase == alert.Resolved)
}

// labels returns the labels of a series' alert, as far as there is one.
func (w *World) labels(r *alert.Rule, series alert.Series, state alert.State) map[string]string {
	spec := r.Spec()
	out := w.owned(alert.Change{Series: series, Severity: cmp.Or(state.Severity, spec.Severity), Labels: spec.Labels}.LabelSet())
	if about := series.About(); about != "" {
		out["rule"] = about
	}
	return out
}

// series returns the series that were seen of the alerts of a name, in their order.
func (s *story) series(name string) (out []alert.Series) {
	for series := range s.traces {
		if series.Alertname() == name {
			out = append(out, series)
		}
	}
	slices.SortFunc(out, alert.Series.Compare)
	return out
}

// rule returns the rule of a series.
func (s *story) rule(series alert.Series) *alert.Rule {
	i := slices.IndexFunc(s.world.Rules, func(r *alert.Rule) bool { return r.Name() == series.Rule })
	return s.world.Rules[i]
}

// at returns how a series stood at a time, and whether it had been seen by then.
func (s *story) at(series alert.Series, at time.Duration) (moment, bool) {
	trace := s.traces[series]
	for i := len(trace) - 1; i >= 0; i-- {
		if trace[i].at <= at {
			return trace[i], true
		}
	}
	return moment{}, false
}
