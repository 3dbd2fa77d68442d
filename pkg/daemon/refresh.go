package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
)

// A refresher is a receiver that forgets a firing alert unless it hears of it
// again: Alertmanager, as it does with Prometheus.
type refresher interface {
	notify.Sink
	Refresh(ctx context.Context, firing []ledger.Delivery) error
}

// refreshEvery is Prometheus' resend delay; an Alertmanager believes an alert
// for four times as long (alertmanagerBelieves).
const (
	refreshEvery         = time.Minute
	alertmanagerBelieves = 4 * refreshEvery
)

// refresh repeats what fires to the receivers that need it. A failure is tried
// again a minute later; the receiver's own deliveries count it.
func (d *Daemon) refresh(ctx context.Context) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !d.trusted() {
			continue
		}
		for _, r := range d.settings.Load().Receivers {
			sink, ok := r.Sink.(refresher)
			if !ok {
				continue
			}
			firing, err := d.firingFor(r.Name)
			if err != nil {
				return err
			}
			if err := sink.Refresh(ctx, firing); err != nil && ctx.Err() == nil {
				d.Log.Warn().Err(err).Str("receiver", r.Name).Msg("firing alerts could not be repeated; the next try is in a minute")
			}
		}
	}
}

// firingFor returns the committed entries of the alerts that fire and that a
// receiver was told of, oldest first.
func (d *Daemon) firingFor(receiver string) ([]ledger.Delivery, error) {
	var out []ledger.Delivery
	for _, i := range *d.open.Load() {
		for k := range i.Members {
			m := &i.Members[k]
			if !m.Firing() || !slices.Contains(m.Receivers, receiver) {
				continue
			}
			e, err := d.Store.Entry(m.Seq)
			if errors.Is(err, store.ErrNotFound) { // retention may have taken it
				e, err = m.Recalled()
			}
			if err != nil {
				return nil, err
			}
			out = append(out, ledger.Delivery{Receiver: receiver, Entry: e, Seq: e.Seq})
		}
	}
	slices.SortFunc(out, func(a, b ledger.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return out, nil
}
