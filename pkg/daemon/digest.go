package daemon

import (
	"context"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// Digests say who regularly get a message that sums incidents up.
type Digests struct {
	Receiver string        // "": nobody
	Every    time.Duration // whole days
}

// firstDigest is what spans of digests are counted from: a Monday at 09:00 UTC.
var firstDigest = time.Date(1970, 1, 5, 9, 0, 0, 0, time.UTC)

// staleDigest is how far stream time may be behind when a digest is due. A daemon that
// reads what happened weeks ago sends nobody a digest of it.
const staleDigest = 24 * time.Hour

// sumUp records a digest and owes it when stream time at, in Unix nanoseconds, has
// passed the end of a span: the windows of the span have been judged then, which they
// need not be by the wall clock.
func (l *loop) sumUp(ctx context.Context, at int64) error {
	every := l.Digests.Every
	if every <= 0 {
		return nil
	}
	n := int64(time.Unix(0, at).Sub(firstDigest) / every)
	last := l.digested
	l.digested = n
	end := firstDigest.Add(time.Duration(n) * every)
	if n == last || last == 0 || l.Digests.Receiver == "" || l.now.Sub(end) > staleDigest {
		return nil
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	known, err := l.Store.Incidents(func(i *incident.Incident) bool { return l.book.Incident(i.ID) == nil })
	if err != nil {
		return err
	}
	in := digestInput(l.Rules, l.budgets(), l.engine.Models(), func(model string) string {
		if b, _ := l.budget(model); b != nil {
			return b.Name
		}
		return ""
	})
	in.From, in.To = end.Add(-every), end
	body := incident.NewDigest(slices.Concat(known, l.book.Open()), in)
	e, err := l.record(ledger.Draft{Time: end, StreamSeq: l.progress.Seq, Kind: ledger.KindDigest, Body: body})
	if err != nil {
		return err
	}
	l.owe(e, e.ID, []string{l.Digests.Receiver})
	return nil
}

// Digest implements api.Responder.
func (d *Daemon) Digest(span time.Duration) (*ledger.Digest, error) {
	s := d.snapshot.Load()
	budgets := map[string]string{}
	states := make([]drift.ModelState, len(s.Models))
	for i := range s.Models {
		m := &s.Models[i]
		states[i] = m.ModelState
		if m.Drift != nil {
			budgets[m.Model] = m.Drift.Budget
		}
	}
	in := digestInput(s.Rules, s.Budgets, states, func(model string) string { return budgets[model] })
	for _, st := range states {
		if st.MaxTime.After(in.To) {
			in.To = st.MaxTime
		}
	}
	in.To = in.To.Truncate(time.Second).Add(time.Second) // what opened at the end counts too
	in.From = in.To.Add(-span)
	all, err := d.Store.Incidents(func(*incident.Incident) bool { return true })
	if err != nil {
		return nil, err
	}
	return incident.NewDigest(all, in), nil
}

// digestInput gathers what a digest needs beside incidents and its span.
func digestInput(rules []*alert.Rule, budgets []api.Budget, models []drift.ModelState, budget func(model string) string) incident.DigestInput {
	in := incident.DigestInput{Budget: map[string]string{}}
	for _, r := range rules {
		if spec := r.Spec(); spec.Notify != alert.NotifyShadow && !r.HardLimit() {
			in.Rules = append(in.Rules, spec.Name)
		}
	}
	for i := range budgets {
		b := &budgets[i]
		use := incident.BudgetUse{Name: b.Name, Pages: b.Pages, Per: config.Duration(b.Per).String(), Spent: len(b.Spent)}
		for _, p := range b.Spent {
			use.Drawn = append(use.Drawn, p.At)
		}
		in.Budgets = append(in.Budgets, use)
	}
	for i := range models {
		m := &models[i]
		in.Budget[m.Model] = budget(m.Model)
		if in.Watched.IsZero() || m.Started.Before(in.Watched) {
			in.Watched = m.Started
		}
	}
	return in
}
