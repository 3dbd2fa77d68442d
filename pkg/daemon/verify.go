package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// verify reads the store beside everything else, if Options.Verify says so: first,
// in haste, what decisions are made of and what is told, for nobody is told anything
// before that has ended well: a message cannot be taken back. Then, at leisure, all of
// it, and again every Options.VerifyEvery.
func (d *Daemon) verify(ctx context.Context) error {
	var tick <-chan time.Time
	if d.VerifyEvery > 0 {
		t := time.NewTicker(d.VerifyEvery)
		defer t.Stop()
		tick = t.C
	}
	if d.Verify {
		if err := d.verifyNeeded(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		close(d.verified)
		if err := d.verifyWhole(ctx); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		if err := d.verifyWhole(ctx); err != nil {
			return err
		}
	}
}

// verifyNeeded returns what is damaged of what decisions are made of; nil also when
// ctx has ended before.
func (d *Daemon) verifyNeeded(ctx context.Context) error {
	start := time.Now()
	v, err := d.Store.VerifyNeeded(ctx, d.need(), func(_, _ uint64) {})
	if ended, err := verdict(v, err); err != nil || ended {
		return err
	}
	if err := d.Store.Trim(); err != nil {
		return err
	}
	d.Log.Info().Uint64("records", v.Records).Dur("took", time.Since(start)).Msg("what decisions are made of is verified; history follows")
	return nil
}

// verifyWhole returns what is damaged, and then nobody is told anything more; nil
// also when ctx has ended before.
func (d *Daemon) verifyWhole(ctx context.Context) error {
	start := time.Now()
	v, err := d.Store.Verify(ctx, leisurely(ctx))
	ended, err := verdict(v, err)
	if err != nil {
		d.distrusted.Store(true)
		return err
	}
	if ended {
		return nil
	}
	d.verifiedAt.Store(time.Now().UnixNano())
	d.Log.Info().Uint64("records", v.Records).Dur("took", time.Since(start)).Msg("the store is verified")
	return nil
}

// verdict returns the damage that a verification found, or why it failed; ended says
// that it was not let to finish.
func verdict(v store.Verification, err error) (ended bool, _ error) {
	if err == nil {
		err = v.Err()
	}
	if errors.Is(err, context.Canceled) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("verify the store: %w", err)
	}
	return false, nil
}

// week is how far same_hour_last_week looks back.
const week = 7 * 24 * time.Hour

// need returns of which closed windows the next decisions are made: for each model
// those of the windows that are being summed and of the ones before them, of the same
// hours of last week if a rule compares with these, and of what an incident lasts.
func (d *Daemon) need() store.Need {
	var n store.Need
	panes, hours := d.reach()
	for _, m := range d.Snapshot().Models {
		mark := m.Watermark
		if mark.IsZero() {
			continue // it has no windows
		}
		n.Panes = append(n.Panes, store.Span{From: mark.Add(-panes), To: mark})
		n.Hours = append(n.Hours, store.Span{From: mark.Add(-hours), To: mark})
		if d.comparesWithLastWeek() {
			then := mark.Add(-week)
			n.Panes = append(n.Panes, store.Span{From: then.Add(-panes), To: then.Add(panes)})
			n.Hours = append(n.Hours, store.Span{From: then.Add(-hours), To: then.Add(hours)})
		}
		if m.Drift != nil && m.Drift.Status != nil && m.Drift.Status.Incident != nil {
			n.Hours = append(n.Hours, store.Span{From: m.Drift.Status.Incident.Since, To: mark})
		}
	}
	n.Days = n.Hours // of which days may have been made
	return n
}

// reach returns how far before a watermark panes and hours begin that a window or
// the one before it is made of.
func (d *Daemon) reach() (panes, hours time.Duration) {
	panes, hours = drift.RollupSize, drift.RollupSize // the hour that is not yet whole
	for _, size := range d.Spec.Sizes {
		if d.Spec.Unit(size) == drift.RollupSize {
			hours = max(hours, size)
		} else {
			panes = max(panes, size)
		}
	}
	return 2 * panes, 2 * hours
}

func (d *Daemon) comparesWithLastWeek() bool {
	return slices.ContainsFunc(d.settings.Load().Rules, func(r *alert.Rule) bool {
		return r.Spec().Reference == alert.ReferenceSameHourLastWeek
	})
}

// leisure is how much longer than it reads a verification beside the work rests, so
// that it takes a fifth of a core and of the disk at most.
const leisure = 4

// leisurely rests between two stretches of a verification.
func leisurely(ctx context.Context) func(done, total uint64) {
	last := time.Now()
	return func(_, _ uint64) {
		rest := time.NewTimer(leisure * time.Since(last))
		defer rest.Stop()
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		last = time.Now()
	}
}

// trusted reports whether what decisions are made of has been verified, or need not
// be, and the store was not found damaged since.
func (d *Daemon) trusted() bool {
	if d.distrusted.Load() {
		return false
	}
	select {
	case <-d.verified:
		return true
	default:
		return !d.Verify
	}
}

// pay tells receivers what they are owed, once the store can be trusted.
func (d *Daemon) pay(ctx context.Context) error {
	if !d.proven(ctx) {
		return nil
	}
	return d.dispatcher.Run(ctx)
}

// proven waits until the store can be trusted: before that nobody is told anything. It is
// false if ctx ends first.
func (d *Daemon) proven(ctx context.Context) bool {
	if !d.Verify {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-d.verified:
		return true
	}
}
