package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"driftd.dev/driftd/pkg/drift"
)

// An aside is what one window says of a series beside those that the rule judges.
type aside struct {
	signal   string
	verdict  verdict // hot, quiet or undecided
	hold     int     // windows that it must be hot
	keep     int     // and then quiet
	severity string
	peak     Peak   // of this window, if it is hot
	calm     string // why it is over
	beyond   int    // State.Beyond
	// rest is the state of a series that nothing is the matter with. If it is not zero
	// the series must have been there once to be hot later.
	rest State
	in   Input
}

// asides returns what a pass says of a rule beside its conditions.
func (r *Rule) asides(p Pass, next map[Series]State) []aside {
	var out []aside
	if r.spec.Limit > 0 {
		out = append(out, r.overflow(p, next))
	}
	if r.spec.NoData == NoDataAlert {
		out = append(out, r.noData(p))
	}
	if r.blind > 0 {
		out = append(out, r.undecided(p))
	}
	return out
}

// overflow fires while any series is limited.
func (r *Rule) overflow(p Pass, next map[Series]State) aside {
	limited, worst := 0, Series{}
	for series, s := range next {
		if !s.Limited {
			continue
		}
		limited++
		if w := next[worst]; limited == 1 || s.Peak.Effect > w.Peak.Effect ||
			s.Peak.Effect == w.Peak.Effect && series.Compare(worst) < 0 {
			worst = series
		}
	}
	a := aside{
		signal: OverflowSignal, verdict: quiet, hold: 1, keep: r.keep, severity: r.spec.Severity, beyond: limited,
		calm: fmt.Sprintf("no series is held back by the limit of %d", r.spec.Limit), in: Input{Approved: true},
	}
	for i := range p.Inputs {
		a.in.Approved = a.in.Approved && p.Inputs[i].Approved
		a.in.Baseline = p.Inputs[i].Baseline
	}
	if limited == 0 {
		return a
	}
	a.verdict = hot
	a.peak.Effect = next[worst].Peak.Effect
	a.peak.Reason = fmt.Sprintf("%d more series would fire, the limit is %d; the worst: %s, %s", limited, r.spec.Limit, worst, next[worst].Peak.Reason)
	if r.unapproved(&a.in) && a.severity == SeverityPage {
		a.severity = SeverityTicket
		a.peak.Reason += r.downgraded(a.severity, a.in.Baseline)
	}
	return a
}

// noData fires when what the rule judges had events once and has none for too long.
func (r *Rule) noData(p Pass) aside {
	a := aside{
		signal: NoDataSignal, verdict: hot, hold: cmp.Or(r.lost, defaultNoData), keep: 1, severity: r.spec.Severity,
		peak: Peak{Reason: "no events for the rule " + r.spec.Name + " to judge"}, calm: "there are events again",
		rest: State{Since: p.Window.End.UTC()}, in: Input{Approved: true},
	}
	if r.lost == 0 && p.Gap > 0 {
		a.hold = Hold{Duration: p.Gap}.windows(r.spec.Window)
	}
	if slices.ContainsFunc(p.Inputs, func(in Input) bool { return in.Vars.values[varEvents] > 0 }) {
		a.verdict = quiet
	} else if p.Window.State == drift.Incomplete {
		a.verdict = undecided // the events may be what is lost
	}
	return a
}

// undecided fires when there are events and no input can be evaluated for too long.
// What holds too few values, is lossy or still learned from says nothing. A rule on
// all models is not meant for each: it must have been evaluated once.
func (r *Rule) undecided(p Pass) aside {
	a := aside{
		signal: UndecidedSignal, hold: r.blind, keep: 1, severity: SeverityTicket, calm: "the rule can be evaluated again", in: Input{Approved: true},
	}
	if !r.named() {
		a.rest.Since = p.Window.End.UTC()
	}
	if p.Window.Learning || p.Window.State == drift.Incomplete {
		return a
	}
	if p.Missed {
		a.verdict = hot
		a.peak.Reason = "the rule " + r.spec.Name + " selects nothing of the model's events: look at its feature and segment"
	}
	var undefined *Input
	for i := range p.Inputs {
		switch flag := r.flag(p.Inputs[i]); {
		case flag == "":
			a.verdict = quiet
			return a
		case flag == Undefined && undefined == nil:
			undefined = &p.Inputs[i]
		}
	}
	if undefined != nil {
		a.verdict, a.in.Baseline = hot, undefined.Baseline
		a.peak.Reason = "the rule " + r.spec.Name + " cannot be evaluated: " + r.expr.reason(&undefined.Vars)
	}
	return a
}

// named reports whether the rule says of which models it is.
func (r *Rule) named() bool { return r.spec.Model != "" && r.spec.Model != "*" }

// misses reports whether the rule names a model and finds none of its segments or
// features there, though there are events of its versions and variants.
func (r *Rule) misses(groups []*drift.Report) bool {
	if !r.named() || r.spec.Segment == "" && !r.feature {
		return false
	}
	return slices.ContainsFunc(groups, func(rep *drift.Report) bool {
		w := rep.Window
		return w.Events > 0 && r.wants(w) && glob(r.spec.Version, w.Group.Version) && glob(r.spec.Variant, w.Group.Variant.String())
	})
}

// stand moves an aside's series by one window.
func (r *Rule) stand(states map[Series]State, p Pass, a aside, next map[Series]State, moved map[Series][]Change) {
	if p.Window.State == drift.Open {
		return
	}
	a.in.Key = drift.Key{Group: drift.Group{Model: p.Model}, Signal: a.signal}
	a.in.Window, a.in.shadow = p.Window, p.Shadow
	a.in.Window.Start, a.in.Window.End = a.in.Window.Start.UTC(), a.in.Window.End.UTC()
	series := Series{Rule: r.spec.Name, Key: a.in.Key}
	s := states[series]
	move := func(to State, reason string) {
		if to.Phase != s.Phase {
			moved[series] = append(moved[series], r.changeAside(s, to, &a, reason))
		}
		s = to
	}
	if s.Phase == Resolved && a.in.Window.End.Sub(s.ResolvedAt) >= retention {
		move(a.rest, "resolved 24h ago")
	}
	if s.Last.IsZero() || a.in.Window.End.After(s.Last) {
		move(r.moveAside(s, &a))
	}
	next[series] = s
}

func (r *Rule) changeAside(from, to State, a *aside, reason string) Change {
	c := r.change(from, to, &a.in, reason)
	c.Actions = nil // each member that fires asks for itself
	if a.beyond > 0 {
		c.Stats["held_back"] = float64(a.beyond)
	}
	if about := c.Series.About(); about != "" {
		c.Labels = maps.Clone(r.spec.Labels)
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels["rule"] = about
	}
	return c
}

// moveAside is the state machine of asides.
func (r *Rule) moveAside(s State, a *aside) (to State, reason string) {
	at := a.in.Window.End
	if s.Phase != Inactive {
		s.Last = at
	}
	switch {
	case a.verdict == undecided:
	case a.verdict == hot:
		return r.heatAside(s, a), a.peak.Reason
	case s.Active():
		if s.Phase == Firing {
			s.enter(Recovering, at)
		}
		s.Beyond = 0
		if s.Held++; s.Held >= r.calm(a.keep, s.Flaps()) {
			s = s.resolve(at)
		}
	case s.Phase == Pending && !s.ResolvedAt.IsZero():
		s = s.settle()
	case s.Phase == Pending || s == State{}:
		s = a.rest
	}
	return s, a.calm
}

// heatAside moves an aside's series up by one window.
func (r *Rule) heatAside(s State, a *aside) State {
	at := a.in.Window.End
	a.peak.At = at
	switch {
	case s.Active():
		if s.Phase == Recovering {
			s.enter(Firing, at)
		}
		s.Beyond = a.beyond
		if a.peak.Effect > s.Peak.Effect {
			s.Peak = a.peak
		}
		return s
	case s == State{} && a.rest != State{}:
		return s // it has never been otherwise
	case s.Phase != Pending:
		s.enter(Pending, at)
	}
	s.Last = at
	if s.Held = min(s.Held+1, a.hold); s.Held < a.hold {
		return s
	}
	s.fire(at)
	s.Severity, s.Shadow, s.Peak, s.Beyond = a.severity, r.Shadowed(a.in.shadow), a.peak, a.beyond
	return s
}
