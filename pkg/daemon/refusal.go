package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// refusedRule is the alert about a receiver that refuses for good what it is
// told: the others hear of it, until it accepts something again.
const refusedRule = "DriftdReceiverRejected"

// refusedKey is the dedup key of the alert about a receiver.
const refusedKey = refusedRule + "/"

// maxRefusals bounds what waits for the loop; a change that finds no room is seen
// again at the receiver's next answer.
const maxRefusals = 64

// refusals carry from the notifier to the loop when receivers begin to refuse and
// when they accept again.
type refusals struct {
	wake chan struct{}

	mu       sync.Mutex
	refusing map[string]bool // guarded by mu
	fresh    []refusal       // not yet told to the loop; guarded by mu
}

// A refusal is why a receiver refused an entry. Without a reason it is the end of
// one: the receiver has accepted another.
type refusal struct {
	receiver string
	entry    uint64
	reason   string
}

func newRefusals(firing []string) *refusals {
	r := &refusals{wake: make(chan struct{}, 1), refusing: map[string]bool{}}
	for _, key := range firing {
		if name, ok := strings.CutPrefix(key, refusedKey); ok {
			r.refusing[name] = true
		}
	}
	return r
}

// observe hears of an attempt, on the receiver's goroutine.
func (r *refusals) observe(a notify.Attempt) {
	refused := a.Outcome.Result == notify.Dead && a.Outcome.Reason == notify.ReasonRejected
	if !refused && a.Outcome.Result != notify.Delivered {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused == r.refusing[a.Receiver] || len(r.fresh) == maxRefusals {
		return
	}
	now := refusal{receiver: a.Receiver, entry: a.Delivery.Seq}
	if refused {
		now.reason = a.Outcome.Err.Error()
	}
	r.refusing[a.Receiver] = refused
	r.fresh = append(r.fresh, now)
	select {
	case r.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// keep forgets the receivers that are not named any more: one that is named again may
// refuse anew.
func (r *refusals) keep(receivers []notify.Receiver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.refusing, func(name string, _ bool) bool {
		return !slices.ContainsFunc(receivers, func(to notify.Receiver) bool { return to.Name == name })
	})
}

// take returns what is new, oldest first.
func (r *refusals) take() []refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.fresh
	r.fresh = nil
	return out
}

// observed lets the refusals and the log hear of attempts beside who else does.
func (d *Daemon) observed(o notify.Options) notify.Options {
	other, log := o.Observe, attemptLog{log: d.Log, failing: map[string]bool{}}
	o.Observe = func(a notify.Attempt) {
		switch {
		case !d.beats(a.Receiver):
			d.refusals.observe(a)
			d.pulse.observe(a)
		case a.Outcome.Result == notify.Dead: // nothing is lost: the next heartbeat follows
			a.Outcome.Result, a.Outcome.At = notify.Retry, time.Now().Add(d.canaries.every)
		}
		log.observe(a)
		if other != nil {
			other(a)
		}
	}
	return o
}

// tellRefusals makes alerts of refusals.
func (d *Daemon) tellRefusals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.refusals.wake:
		}
		fresh := d.refusals.take()
		err := d.do(ctx, func(l *loop) error {
			for _, r := range fresh {
				if err := l.refused(r); err != nil {
					return brokenError{err}
				}
			}
			return nil
		})
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
			return err
		}
	}
}

// refused starts or ends the alert about a receiver.
func (l *loop) refused(r refusal) error {
	key := refusedKey + r.receiver
	was, firing := l.book.Firing(key)
	if firing == (r.reason != "") {
		return nil
	}
	body := ledger.Alert{
		Type: "alert", Status: "firing", Rule: refusedRule, Severity: alert.SeverityPage, StartsAt: l.now.UTC(), DedupKey: key,
		Labels: map[string]string{"receiver": r.receiver},
		Reason: fmt.Sprintf("receiver %s refused entry %d, which it will not hear of again: %s", r.receiver, r.entry, r.reason),
	}
	draft := ledger.Draft{Time: time.Unix(0, l.progress.Time), StreamSeq: l.progress.Seq, Kind: ledger.KindAlert}
	n := notice{labels: labelsOf(&body), targets: l.others(r.receiver, labelsOf(&body))}
	n.incident = cmp.Or(l.book.Of(key), l.chain.NextID(draft.Time)) // the key comes again, the matter does not
	n.group = n.labels                                              // one matter a receiver
	if firing {
		end := l.now.UTC()
		body.Status, body.EndsAt, body.Reason = "resolved", &end, "receiver "+r.receiver+" accepts again, or is gone"
		if told, err := l.told(key); err != nil {
			return err
		} else if !told.StartsAt.IsZero() {
			body.StartsAt = told.StartsAt
		}
		n.targets = l.named(was.Receivers...)
	}
	body.Incident = n.incident
	draft.Body = body
	e, err := l.record(draft)
	if err != nil {
		return err
	}
	l.announce(e, &body, n)
	l.Log.Warn().Str("receiver", r.receiver).Str("status", body.Status).Str("reason", body.Reason).Msg("a receiver refuses")
	return nil
}

// others are who hears that a receiver refuses: machines, and the people that the
// routes name for it by the labels of the alert or, if that is the receiver itself,
// everybody else.
func (l *loop) others(refusing string, labels map[string]string) []alert.Target {
	routed := l.targets(labels)
	routed = slices.DeleteFunc(routed, func(t alert.Target) bool { return t.Receiver == refusing })
	if len(routed) > 1 { // more than the signals
		return routed
	}
	for _, r := range l.Settings.Receivers {
		if r.Name != refusing && sinkKind(r.Sink) != heartbeatKind {
			routed = join(routed, l.named(r.Name))
		}
	}
	return routed
}

// acquit ends the alerts about receivers that there are no more.
func (l *loop) acquit() error {
	if len(l.Settings.Receivers) == 0 {
		return nil // a command on a stopped daemon's store tells nobody
	}
	for _, key := range l.book.Keys() {
		name, ok := strings.CutPrefix(key, refusedKey)
		if !ok || slices.ContainsFunc(l.Settings.Receivers, func(r notify.Receiver) bool { return r.Name == name }) {
			continue
		}
		if err := l.refused(refusal{receiver: name}); err != nil {
			return err
		}
	}
	return nil
}
