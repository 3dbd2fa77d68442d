package daemon

import (
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
)

// outbox lets the notifier pay from the store, less what is muted.
type outbox struct {
	store *store.Store
	mutes func(d *ledger.Delivery, m *incident.Member, at time.Time) bool
}

// Due implements notify.Outbox.
func (o outbox) Due(receiver string, now time.Time, limit int, latest bool) ([]ledger.Delivery, error) {
	return o.store.Due(receiver, now, limit, latest, func(d *ledger.Delivery, m *incident.Member) bool { return o.mutes(d, m, now) })
}

// Owed implements notify.Outbox.
func (o outbox) Owed(receiver string) (int, time.Time, error) {
	now := time.Now()
	return o.store.OwedNow(receiver, now, func(d *ledger.Delivery, m *incident.Member) bool { return o.mutes(d, m, now) })
}

// Hurry implements notify.Outbox.
func (o outbox) Hurry(receiver string) error { return o.store.Hurry(receiver) }

// Settle implements notify.Outbox.
func (o outbox) Settle(d ledger.Delivery, out notify.Outcome) error {
	results := map[notify.Result]store.Result{
		notify.Delivered: store.Delivered, notify.Retry: store.Retry, notify.Dead: store.Dead,
	}
	return o.store.Settle(d, store.Outcome{Result: results[out.Result], At: out.At})
}
