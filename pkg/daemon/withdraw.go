package daemon

import (
	"fmt"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// assign gives states to the rules in force of the same names, in the order of
// alerts. Those that no rule would step again are withdrawn, and so are alerts that
// began in shadow and are in earnest now, or the other way round: they may fire
// anew, and then who hears of the start is who hears of the end.
func (l *loop) assign(alerts []store.Alert) error {
	byName := map[string]*alert.Rule{}
	l.states = make(map[*alert.Rule]map[string]map[alert.Series]alert.State, len(l.Rules))
	for _, r := range l.Rules {
		byName[r.Name()], l.states[r] = r, map[string]map[alert.Series]alert.State{}
	}
	for _, a := range alerts {
		r := byName[a.Series.Rule]
		reason := ""
		switch {
		case r == nil:
			reason = "the rule was removed from the configuration"
		case !r.Selects(a.Series):
			reason = "the rule was changed and does not select this series any more"
		case a.State.Active() && a.State.Shadow && !l.inShadow(r, a.Series.Model):
			reason = "its trial in shadow has ended"
		case a.State.Active() && !a.State.Shadow && l.inShadow(r, a.Series.Model):
			reason = "it is on trial in shadow now"
		}
		if reason != "" {
			if err := l.withdraw(a, reason); err != nil {
				return err
			}
			continue
		}
		models := l.states[r]
		if models[a.Series.Model] == nil {
			models[a.Series.Model] = map[alert.Series]alert.State{}
		}
		models[a.Series.Model][a.Series] = a.State
	}
	if err := l.acquit(); err != nil {
		return err
	}
	return l.pending.Err()
}

// inShadow reports whether what a rule finds of a model is told to nobody.
func (l *loop) inShadow(r *alert.Rule, model string) bool {
	return r.Shadowed(l.shadowed(model) || r.HardLimit() && l.rehearses(model))
}

// withdraw forgets a series. One that fires resolves first, where it was told of,
// so that no incident stays open with nobody to close it.
func (l *loop) withdraw(a store.Alert, reason string) error {
	return l.end(a, alert.Window{Start: a.State.Last, End: l.engine.Watermark(a.Series.Model), State: drift.Closed}, l.progress.Seq, reason)
}

// end is withdraw at a window, by a message.
func (l *loop) end(a store.Alert, w alert.Window, seq uint64, reason string) error {
	l.pending.DeleteAlert(a.Series)
	for _, ch := range alert.Withdraw(a.Series, a.State, w, reason) {
		told, err := l.told(a.State.DedupKey)
		if err != nil {
			return fmt.Errorf("withdraw alert %s: %w", a.Series, err)
		}
		ch.Labels, ch.Annotations, ch.Expr, ch.Baseline = told.Labels, told.Annotations, told.Evidence.Expr, told.Evidence.Baseline
		if _, err := l.tell(seq, &ch, alert.View{}, nil); err != nil {
			return err
		}
	}
	return nil
}
