package incident

import (
	"slices"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// Quiet is all that keeps alerts from people by wall time. The zero value keeps none.
type Quiet struct {
	Silences      *Silences
	TimeIntervals TimeIntervals // that deliveries name
}

// Mutes reports whether a delivery is not to tell of an alert at a wall time: the
// time is none at which its route tells, or a silence holds the alert.
func (q Quiet) Mutes(d *ledger.Delivery, m *Member, at time.Time) bool {
	if _, muted := q.TimeIntervals.Muted(d.MuteTimeIntervals, d.ActiveTimeIntervals, at); muted {
		return true
	}
	_, muted := q.Silences.Muted(m.Labels, at)
	return muted
}

// Next returns the earliest moment after another at which Mutes may answer otherwise
// about a delivery, zero for never.
func (q Quiet) Next(d *ledger.Delivery, after time.Time) time.Time {
	var next time.Time
	consider := func(at time.Time) {
		if at.After(after) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, s := range q.Silences.List() {
		if s.Kind == KindSilence {
			consider(s.StartsAt)
			consider(s.EndsAt)
		}
	}
	for _, name := range slices.Concat(d.MuteTimeIntervals, d.ActiveTimeIntervals) {
		for _, t := range q.TimeIntervals[name] {
			consider(t.Next(after))
		}
	}
	return next
}
