package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// A fleetPast is what fill puts into a store: what the fleet would have left there, had
// it run for as long as anything is kept.
//
//	panes   of store.retention.panes: those of the group's own traffic, again and again
//	hours   from store.retention.hourly on, whole days of them: each that of some group's traffic
//	days    before them: each the sum of 24 such hours
//	detection   of every model: a calibration list that is full, of sums of such hours
//
// The traffic itself has left baselines, the states of models and rules, open panes and
// ids, record the ledger and the incidents. Every record is one that the daemon could
// have written, by the code that writes it. As Badger compresses nothing and a window
// is packed by itself, hours that occur twice take as much as others.
//
// Not there: samples of models that learn, silences, what each receiver was told of
// old incidents, and what Badger has not yet compacted away of years of rewriting.
type fleetPast struct {
	*fleetBench
	store *store.Store
	out   *pastWriter
	span  time.Duration   // of the traffic that is repeated, whole hours from its start
	pool  []*drift.Window // the hours in it, of all groups
	next  int             // of pool
}

// fill puts the past behind the traffic.
func (b *fleetBench) fill(ctx context.Context, r *fleetResult) (err error) {
	st, err := store.Open(b.config.Store.Dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, st.Close()); err == nil {
			r.Store, err = tableBytes(b.config.Store.Dir)
		}
	}()
	spec := b.config.DriftSpec()
	p := &fleetPast{fleetBench: b, store: st, span: (b.length + b.steady - spec.Lateness - spec.Pane).Truncate(time.Hour)}
	if p.span <= 0 {
		return fmt.Errorf("--length %v --steady %v: there must be a whole hour that has closed", b.length, b.steady)
	}
	for w, err := range st.Hours(store.Range{From: b.traffic.start, To: b.traffic.start.Add(p.span)}) {
		if err != nil {
			return err
		}
		p.pool = append(p.pool, w)
	}
	models, err := st.Models()
	if err != nil {
		return err
	}
	p.out = newPastWriter(st)
	for _, step := range []func(context.Context, []drift.ModelState, *fleetResult) error{p.hours, p.panes, p.days, p.detection} {
		if err = step(ctx, models, r); err != nil {
			break
		}
	}
	if err := errors.Join(err, p.out.end()); err != nil {
		return err
	}
	return p.kept(ctx, models)
}

// kept makes sure that retention finds nothing to remove or to sum up.
func (p *fleetPast) kept(ctx context.Context, models []drift.ModelState) error {
	marks := map[string]time.Time{}
	for _, m := range models {
		marks[m.Model] = m.Watermark
	}
	swept, err := p.store.Sweep(ctx, p.config.StoreRetention(), marks, p.traffic.start)
	if err == nil && swept != (store.Swept{}) {
		err = fmt.Errorf("retention takes some of what was put: %+v", swept)
	}
	return err
}

// each calls fn with every group and the watermark of its model, in the order of keys.
func (p *fleetPast) each(ctx context.Context, what string, models []drift.ModelState, fn func(drift.Group, time.Time) error) error {
	t := p.newProgress(what, "groups", int64(len(models)*p.groups))
	defer t.end()
	done := int64(0)
	for _, m := range models {
		groups := make([]drift.Group, 0, len(m.Groups))
		for _, g := range m.Groups {
			groups = append(groups, g.Group)
		}
		slices.SortFunc(groups, drift.Group.Compare)
		for _, g := range groups {
			if err := errors.Join(ctx.Err(), fn(g, m.Watermark)); err != nil {
				return err
			}
			done++
			t.at(done)
		}
	}
	return nil
}

// panes repeats each group's own panes back to where retention begins.
func (p *fleetPast) panes(ctx context.Context, models []drift.ModelState, r *fleetResult) error {
	start := p.traffic.start
	return p.each(ctx, "panes", models, func(g drift.Group, mark time.Time) error {
		var own []*drift.Window
		for w, err := range p.store.Panes(store.Range{Model: g.Model, From: start}) {
			if err != nil {
				return err
			}
			if w.Group == g {
				own = append(own, w)
			}
		}
		r.Panes += len(own)
		own = slices.DeleteFunc(own, func(w *drift.Window) bool { return !w.Start.Before(start.Add(p.span)) })
		first := mark.Add(-p.config.Store.Retention.Panes.Std())
		for back := start.Sub(first).Truncate(p.span) + p.span; back > 0; back -= p.span {
			for _, w := range own {
				if at := w.Start.Add(-back); !at.Before(first) {
					r.Panes++
					if err := p.out.add(func(b *store.Batch) { b.PutPane(moved(w, at)) }); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// hours fills whole days up to the traffic.
func (p *fleetPast) hours(ctx context.Context, models []drift.ModelState, r *fleetResult) error {
	r.Hours = len(p.pool)
	return p.each(ctx, "hours", models, func(g drift.Group, mark time.Time) error {
		own := p.own(g)
		for at := p.firstHour(mark); own != nil && at.Before(p.traffic.start); at = at.Add(drift.RollupSize) {
			hour := p.some(own, at)
			r.Hours++
			if err := p.out.add(func(b *store.Batch) { b.PutHour(hour) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// firstHour is midnight of the first day that retention has not made a day of.
func (p *fleetPast) firstHour(mark time.Time) time.Time {
	return mark.Add(-p.config.Store.Retention.Hourly.Std()).Truncate(store.DaySize)
}

// days fills what is before the hours.
func (p *fleetPast) days(ctx context.Context, models []drift.ModelState, r *fleetResult) error {
	return p.each(ctx, "days", models, func(g drift.Group, mark time.Time) error {
		own := p.own(g)
		at := mark.Add(-p.config.Store.Retention.Daily.Std() + store.DaySize - 1).Truncate(store.DaySize)
		for ; own != nil && at.Before(p.firstHour(mark)); at = at.Add(store.DaySize) {
			var hours []*drift.Window
			for h := time.Duration(0); h < store.DaySize; h += drift.RollupSize {
				hours = append(hours, p.some(own, at.Add(h)))
			}
			day, err := drift.Sum(hours)
			if err != nil {
				return err
			}
			r.Days++
			if err := p.out.add(func(b *store.Batch) { b.PutDay(day) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// detection gives every model what its detectors know after MaxRows hours.
func (p *fleetPast) detection(ctx context.Context, models []drift.ModelState, _ *fleetResult) error {
	judged := daemon.NewDetection(p.config)
	t := p.newProgress("detection", "models", int64(len(models)))
	defer t.end()
	for i, m := range models {
		base, err := p.store.Baseline(m.Baseline)
		if err != nil {
			return err
		}
		c := detect.DefaultConfig(m.Model)
		c.Window, c.Reference, c.MinEvents = judged.Window, judged.Reference, judged.MinEvents
		l := detect.NewLearner(&c, base.ID, base.Part(""))
		if err := errors.Join(ctx.Err(), p.teach(l, m, c.Window)); err != nil {
			return err
		}
		if err := p.putDetection(m.Model, l); err != nil {
			return err
		}
		t.at(int64(i + 1))
	}
	return nil
}

// teach shows a model's learner as many windows as a calibration list has.
func (p *fleetPast) teach(l *detect.Learner, m drift.ModelState, window time.Duration) error {
	var own []*drift.Window
	for _, g := range m.Groups {
		if w := p.own(g.Group); w != nil {
			own = append(own, w)
		}
	}
	for n := range detect.MaxRows {
		at := p.traffic.start.Add(-time.Duration(detect.MaxRows-n) * window)
		groups := make([]*drift.Window, len(own))
		for i := range own {
			groups[i] = p.some(own[i], at)
			groups[i].Group = drift.Group{Model: m.Model}
		}
		total, err := drift.Sum(groups)
		if err != nil {
			return err
		}
		if err := l.Add(total); err != nil {
			return err
		}
	}
	return nil
}

// putDetection writes what the daemon's loop writes when a model has learned.
func (p *fleetPast) putDetection(model string, l *detect.Learner) error {
	known, rows := l.State()
	state, err := detect.AppendState(nil, known)
	if err != nil {
		return err
	}
	err = p.out.add(func(b *store.Batch) {
		b.PutFit(model, detect.AppendFit(nil, known.Fit()))
		b.PutDetection(model, state)
	})
	for i := 0; err == nil && i < rows.Chunks(); i++ {
		err = p.out.add(func(b *store.Batch) { b.PutRows(model, i, rows.AppendChunk(nil, i)) })
	}
	return err
}

// own returns an hour of the traffic of a group, nil if it had none.
func (p *fleetPast) own(g drift.Group) *drift.Window {
	i := slices.IndexFunc(p.pool, func(w *drift.Window) bool { return w.Group == g })
	if i < 0 {
		return nil
	}
	return p.pool[i]
}

// some returns an hour of another group as if it were of own's. Edges are the quantiles
// of a model's own reference and all models have the same laws, so that the counts of
// one are as likely in the bins of another. Signals that have not as many bins stay
// own's, as does what is no number.
func (p *fleetPast) some(own *drift.Window, at time.Time) *drift.Window {
	p.next = (p.next + 1) % len(p.pool)
	other := p.pool[p.next]
	w := moved(own, at)
	w.Events, w.Signals = other.Events, slices.Clone(own.Signals)
	for i := range w.Signals {
		s, o := &w.Signals[i], other.Signal(own.Signals[i].Name)
		if s.Type != drift.Numeric || o == nil || o.Type != drift.Numeric || len(o.Numeric.Counts) != len(s.Numeric.Counts) {
			continue
		}
		n := *o.Numeric
		n.Edges = s.Numeric.Edges
		s.Numeric = &n
	}
	return w
}

// moved returns a window as one that begins at another time. It shares the signals.
func moved(w *drift.Window, start time.Time) *drift.Window {
	out := *w
	out.Start, out.End = start, start.Add(w.End.Sub(w.Start))
	return &out
}
