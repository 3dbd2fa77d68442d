package alert

import (
	"cmp"
	"fmt"
	"math/bits"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// retention is how long a resolved series is remembered, how long a pending one may
// wait for a window that decides, and the longest quiet that one that flaps must
// show, in event time.
const retention = 24 * time.Hour

// verdict is what one window says to a State.
type verdict uint8

const (
	undecided verdict = iota // keeps the state; the flag says why
	hot                      // the condition holds
	quiet                    // it does not, and neither does it of a firing series
	between                  // it does not, but Clear is not met: a firing series stays
)

// Step applies one closed window to one series. It returns the next state and
// what changed: nothing, one transition, or two when a forgotten series starts
// anew. Special cases are:
//
//	a window that is open, or not later than the last one: nothing happens
//	an input that is undefined, n below the minimum: the state is kept and flagged
//	an incomplete window: it may calm a series down, never stir one up
func (r *Rule) Step(s State, in Input) (State, []Change) { return r.step(s, in, true) }

// step is Step, with room saying whether the rule's Limit leaves room to fire.
func (r *Rule) step(s State, in Input, room bool) (State, []Change) {
	if in.Window.State == drift.Open || !s.Last.IsZero() && !in.Window.End.After(s.Last) {
		return s, nil
	}
	in.Window.Start, in.Window.End = in.Window.Start.UTC(), in.Window.End.UTC()
	if in.Window.Learning {
		in.Vars = in.Vars.withoutReference()
	}
	at := in.Window.End
	var changes []Change
	if reason := r.expired(s, at); reason != "" {
		kept := s
		s = State{}
		if kept.Phase == Pending && !kept.ResolvedAt.IsZero() && at.Sub(kept.ResolvedAt) < retention {
			s = kept.settle()
		}
		changes = append(changes, r.change(kept, s, &in, reason))
	}
	if in.absent && s.Phase == Inactive {
		return State{}, changes
	}
	v, flag := r.judge(s, &in)
	if flag == NoData && in.N == 0 && r.spec.NoData == NoDataOK && in.Window.State == drift.Closed {
		v = quiet
	}
	next := r.next(s, v, flag, &in, room)
	if next.Phase != s.Phase {
		changes = append(changes, r.change(s, next, &in, r.because(s, next, v, &in)))
	}
	return next, changes
}

// expired says why a state is too old to build on, "" if it is not.
func (r *Rule) expired(s State, at time.Time) string {
	decided := s.Last
	if s.Flag != "" {
		decided = s.FlagSince
	}
	switch {
	case s.Phase == Resolved && at.Sub(s.ResolvedAt) >= retention:
		return "resolved 24h ago"
	case s.Phase == Pending && at.Sub(decided) > retention+r.spec.Window:
		return "no window decided it for 24h" // what was true then says nothing about now
	}
	return ""
}

// Decides reports whether an input lets the rule say yes or no: its variables are
// defined, it holds enough values, and a yes does not rest on a lossy window.
func (r *Rule) Decides(in Input) bool { return r.flag(in) == "" }

// flag says why an input decides nothing for a series that has no state, "" if it
// decides.
func (r *Rule) flag(in Input) Flag {
	if in.Window.Learning {
		in.Vars = in.Vars.withoutReference()
	}
	_, flag := r.judge(State{}, &in)
	return flag
}

// judge reads a window.
func (r *Rule) judge(s State, in *Input) (verdict, Flag) {
	switch {
	case in.absent:
		return undecided, NoData
	case in.N < r.minN:
		return undecided, Insufficient
	}
	switch r.expr.eval(&in.Vars) {
	case yes:
		if in.Window.State == drift.Incomplete && s.Phase != Firing {
			return undecided, Incomplete
		}
		return hot, ""
	case unknown:
		return undecided, in.undefined()
	case no:
	}
	if r.clear == nil || !s.Active() {
		return quiet, ""
	}
	switch r.clear.eval(&in.Vars) {
	case yes:
		return quiet, ""
	case unknown:
		return undecided, in.undefined()
	case no:
	}
	if in.Window.State == drift.Incomplete && s.Phase == Recovering {
		return undecided, Incomplete
	}
	return between, ""
}

// undefined says why an input of the rule has no value.
func (in *Input) undefined() Flag {
	if in.N == 0 || in.Window.Learning {
		return NoData
	}
	return Undefined
}

// next is the state machine.
func (r *Rule) next(s State, v verdict, flag Flag, in *Input, room bool) State {
	if v == undecided {
		return r.keepState(s, flag, in.Window.End)
	}
	at := in.Window.End
	s.Flag, s.FlagSince, s.Lost, s.Limited = "", time.Time{}, 0, false
	s.Last = at
	switch {
	case v == hot && !s.Active():
		return r.heat(s, in, room)
	case v == hot:
		if s.Phase == Recovering {
			s.enter(Firing, at)
		}
		r.raise(&s, in)
	case v == between:
		if s.Phase == Recovering {
			s.enter(Firing, at)
		}
	case s.Active():
		return r.cool(s, at)
	case s.Phase == Resolved || r.pendsOn(&s):
	default:
		return s.settle()
	}
	return s
}

// pendsOn counts a quiet window of a pending series, and reports whether those
// before it let it wait on.
func (r *Rule) pendsOn(s *State) bool {
	s.Recent = s.Recent << 1 & r.recent()
	return s.Recent != 0
}

// recent returns a mask of the windows that State.Recent holds.
func (r *Rule) recent() uint64 { return 1<<r.spec.For.Of - 1 }

// keepState flags a state that a window did not decide. Only a firing series of
// a rule with no_data: resolve is moved by that, once it lasted long enough.
func (r *Rule) keepState(s State, flag Flag, at time.Time) State {
	if s.Flag != flag {
		s.Flag, s.FlagSince = flag, at
	}
	if s.Phase != Inactive {
		s.Last = at
	}
	if !s.Active() || r.spec.NoData != NoDataResolve {
		return s
	}
	if flag != NoData {
		s.Lost = 0
		return s
	}
	if s.Lost++; s.Lost >= cmp.Or(r.lost, defaultNoData) {
		return s.resolve(at)
	}
	return s
}

// heat moves a series that is not firing up by one window.
func (r *Rule) heat(s State, in *Input, room bool) State {
	at := in.Window.End
	if s.Phase != Pending {
		s.enter(Pending, at)
	}
	if !r.count(&s, cmp.Or(in.hold, r.hold)) {
		return s
	}
	if !room {
		s.Limited, s.Peak = true, Peak{}
		r.raise(&s, in)
		return s
	}
	s.fire(at)
	s.Severity, s.Shadow = r.spec.Severity, r.Shadowed(in.shadow)
	if r.unapproved(in) && s.Severity == SeverityPage {
		s.Severity = SeverityTicket
	}
	r.raise(&s, in)
	return s
}

// count counts a window in which the condition holds, and reports whether there
// are enough of them.
func (r *Rule) count(s *State, hold int) bool {
	if r.spec.For.Of > 0 {
		s.Recent = (s.Recent<<1 | 1) & r.recent()
		return bits.OnesCount64(s.Recent) >= r.spec.For.Windows
	}
	s.Held = min(s.Held+1, hold)
	return s.Held == hold
}

// fire begins an alert.
func (s *State) fire(at time.Time) {
	if s.ResolvedAt.IsZero() || at.Sub(s.ResolvedAt) >= retention {
		s.Fires = 0
	}
	s.enter(Firing, at)
	s.FiredAt, s.ResolvedAt, s.DedupKey, s.Muted, s.Peak = at, time.Time{}, "", "", Peak{}
	s.Fires++
}

// cool moves a firing series down by one window.
func (r *Rule) cool(s State, at time.Time) State {
	if s.Phase == Firing {
		s.enter(Recovering, at)
	}
	if s.Held++; s.Held < r.calm(r.keep, s.Flaps()) {
		return s
	}
	return s.resolve(at)
}

// calm returns how many windows a series must be quiet to resolve, of which keep
// are asked for: State.Flaps says how they grow.
func (r *Rule) calm(keep, flaps int) int {
	if r.spec.KeepFiringFor == (Hold{}) {
		return keep
	}
	const doublings = 16 // more windows than a day has panes
	return max(keep, min(keep<<min(flaps, doublings), int(retention/r.spec.Window)))
}

// raise remembers the window if it is the worst of this firing.
func (r *Rule) raise(s *State, in *Input) {
	if e := r.expr.effect(&in.Vars); s.Peak.Reason == "" || e > s.Peak.Effect {
		s.Peak = Peak{Effect: e, Reason: r.expr.reason(&in.Vars), At: in.Window.End}
	}
}

func (s *State) enter(p Phase, at time.Time) { s.Phase, s.Since, s.Held, s.Recent = p, at, 0, 0 }

func (s State) resolve(at time.Time) State {
	s.enter(Resolved, at)
	s.ResolvedAt = at
	return s
}

// settle is where a series goes that did not hold: back to Resolved if it fired
// in the last day, else to nothing.
func (s State) settle() State {
	if s.ResolvedAt.IsZero() {
		return State{}
	}
	last := s.Last
	s.enter(Resolved, s.ResolvedAt)
	s.Flag, s.FlagSince, s.Limited, s.Last = "", time.Time{}, false, last
	return s
}

// unapproved reports whether the condition holds only thanks to a reference
// that nobody approved.
func (r *Rule) unapproved(in *Input) bool {
	if !r.compare || in.Approved {
		return false
	}
	rest := in.Vars.withoutReference()
	return r.expr.eval(&rest) != yes
}

// because words a transition.
func (r *Rule) because(from, to State, v verdict, in *Input) string {
	switch {
	case v == undecided:
		return fmt.Sprintf("no data for %d windows; at its peak: %s", to.Lost, from.Peak.Reason)
	case v == quiet && r.expr.eval(&in.Vars) == unknown:
		return "no data, which is quiet to this rule"
	case r.clear != nil && v != hot && from.Active():
		return r.clear.reason(&in.Vars)
	}
	reason := r.expr.reason(&in.Vars)
	if to.Phase == Firing && to.Severity != r.spec.Severity {
		reason += r.downgraded(to.Severity, in.Baseline)
	}
	return reason
}

func (r *Rule) downgraded(severity, baseline string) string {
	return fmt.Sprintf("; sent as %s, not %s: baseline %s is not approved", severity, r.spec.Severity, orElse(baseline, "(none)"))
}

func (r *Rule) change(from, to State, in *Input, reason string) Change {
	c := Change{
		Series: Series{Rule: r.spec.Name, Key: in.Key}, From: from.Phase, To: to.Phase,
		At: in.Window.End, Window: in.Window, Reason: reason, Stats: in.Vars.pick(r.names),
		Severity: r.spec.Severity, Expr: r.spec.Expr, Baseline: in.Baseline,
		Unapproved: to.Phase == Firing && r.unapproved(in),
		Actions:    r.spec.Actions, Labels: r.spec.Labels, Annotations: r.spec.Annotations,
	}
	if to.Active() || to.Phase == Resolved {
		c.Severity, c.Shadow, c.Muted, c.StartsAt, c.EndsAt, c.Peak, c.DedupKey = to.Severity, to.Shadow, to.Muted, to.FiredAt, to.ResolvedAt, to.Peak, to.DedupKey
		c.Flaps = to.Flaps()
	}
	return c
}
