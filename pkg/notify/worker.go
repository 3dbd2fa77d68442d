package notify

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// maxRetryAfter bounds what a receiver may ask for: a broken header must not
// silence it for good.
const maxRetryAfter = time.Hour

// A worker serves one receiver. Everything but to, wake, hurry and stats belongs to the
// goroutine in run.
type worker struct {
	name   string
	to     atomic.Pointer[Receiver] // exchanged by Dispatcher.Replace
	outbox Outbox
	opts   Options
	rng    *rand.Rand
	wake   chan struct{}
	hurry  atomic.Bool // nothing is to wait for another attempt

	held      map[string]time.Time  // orders that wait for a retry, until when
	unsettled map[uint64]settlement // decided, but the Outbox could not record it
	paused    time.Time             // the whole receiver waits (status 429)

	stop  context.CancelFunc // ends run; nil before begin
	ended chan struct{}      // closed when run has returned

	mu    sync.Mutex
	stats Stats // Pending and Oldest are filled by Dispatcher.Stats; guarded by mu
}

type settlement struct {
	d ledger.Delivery
	o Outcome
}

// begin returns what the worker's goroutine does: run, until ctx or end ends it.
func (w *worker) begin(ctx context.Context, draining <-chan struct{}) func() {
	own, stop := context.WithCancel(ctx)
	w.stop, w.ended = stop, make(chan struct{})
	return func() {
		defer close(w.ended)
		defer stop()
		w.run(own, draining)
	}
}

// end cuts off what is being sent and waits until the goroutine has ended.
func (w *worker) end() {
	if w.stop != nil {
		w.stop()
		<-w.ended
	}
}

// look makes the worker look at the Outbox now.
func (w *worker) look() {
	select {
	case w.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// hasten makes the worker forget what it waits for.
func (w *worker) hasten() {
	w.hurry.Store(true)
	w.look()
}

// hurried does what hasten asks for. An Outbox that fails is asked again at the next look.
func (w *worker) hurried() {
	if !w.hurry.Swap(false) {
		return
	}
	w.paused = time.Time{}
	clear(w.held)
	if err := w.outbox.Hurry(w.name); err != nil {
		w.hurry.Store(true)
		w.observe(ledger.Delivery{Receiver: w.name}, Outcome{Reason: ReasonStore, Err: fmt.Errorf("hurry deliveries owed to %s: %w", w.name, err)}, 0)
	}
}

// run looks at the Outbox when woken, when a retry is due and every Poll. Once
// draining it looks until nothing is due, and ends.
func (w *worker) run(ctx context.Context, draining <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-draining:
			for w.pass(ctx) && ctx.Err() == nil {
			}
			return
		case <-w.wake:
		case <-timer.C:
		}
		more := w.pass(ctx)
		timer.Reset(w.idle(time.Now(), more))
	}
}

// idle is the time until the next look.
func (w *worker) idle(now time.Time, more bool) time.Duration {
	if more {
		return 0
	}
	wait := w.opts.Poll
	if pause := w.paused.Sub(now); pause > 0 {
		return min(wait, pause) // nothing held can go earlier
	}
	for _, until := range w.held {
		wait = min(wait, max(until.Sub(now), 0))
	}
	return wait
}

// pass sends what is due now and reports whether there may be more of it.
func (w *worker) pass(ctx context.Context) (more bool) {
	now := time.Now()
	w.hurried()
	if now.Before(w.paused) {
		return false
	}
	for order, until := range w.held {
		if !now.Before(until) {
			delete(w.held, order)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(w.unsettled)) {
		if s := w.unsettled[seq]; w.held[s.d.Line()].IsZero() {
			w.settle(s.d, s.o) // it was sent: only our record is missing
		}
	}
	due, err := w.outbox.Due(w.name, now, w.opts.Batch, w.to.Load().Latest)
	if err != nil {
		w.observe(ledger.Delivery{Receiver: w.name}, Outcome{
			Reason: ReasonStore, Err: fmt.Errorf("read deliveries owed to %s: %w", w.name, err),
		}, 0)
		return false
	}
	sent := false
	told := map[string]ledger.Delivery{} // in this pass, by line
	for _, d := range due {
		// A failure earlier in this pass, or an Outbox that does not hold
		// back orders itself.
		if _, held := w.held[d.Line()]; held {
			continue
		}
		if t, ok := told[d.Line()]; ok {
			d.Receipt, d.Earlier = t.Receipt, []ledger.Delivery{t}
		}
		if d = w.deliver(ctx, d); d.Told {
			told[d.Line()] = d
		}
		if ctx.Err() != nil || now.Before(w.paused) {
			return false
		}
		sent = true
	}
	return sent && len(due) == w.opts.Batch
}

// deliver makes one attempt, records what came of it and returns d as it is now
// in the Outbox.
func (w *worker) deliver(ctx context.Context, d ledger.Delivery) ledger.Delivery {
	if d.Moot {
		return w.settle(d, Outcome{Result: Delivered, At: time.Now()})
	}
	expired := func(at time.Time) bool { return !d.ExpiresAt.IsZero() && !at.Before(d.ExpiresAt) }
	start := time.Now()
	if !expired(start) {
		if !w.to.Load().Limit.wait(ctx) {
			return d
		}
		start = time.Now()
	}
	var err error
	if expired(start) {
		err = &Error{Reason: ReasonExpired, Permanent: true, Err: fmt.Errorf("expired at %s", d.ExpiresAt.UTC().Format(time.RFC3339))}
	} else {
		before := d.Receipt
		d.Receipt, err = w.send(ctx, d)
		if err != nil && ctx.Err() != nil && d.Receipt == before {
			return d // cut off by us: not the receiver's failure
		}
	}
	now := time.Now()
	d, o := decide(d, err, now, w.backoff(d.Attempt+1))
	if o.Result != Retry {
		o.At = now
	}
	if o.Reason == ReasonRateLimited {
		w.paused = o.At
	}
	w.observe(d, o, now.Sub(start))
	return w.settle(d, o)
}

// send returns the receipt to remember.
func (w *worker) send(ctx context.Context, d ledger.Delivery) (receipt string, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.SendTimeout)
	defer cancel()
	return w.to.Load().send(ctx, d)
}

// settle records an outcome. When the Outbox cannot, it is kept and recorded
// later: sending again would be a duplicate.
func (w *worker) settle(d ledger.Delivery, o Outcome) ledger.Delivery {
	if err := w.outbox.Settle(d, o); err != nil {
		w.unsettled[d.Seq] = settlement{d, o}
		w.held[d.Line()] = time.Now().Add(w.opts.Poll)
		w.observe(d, Outcome{Reason: ReasonStore, Err: fmt.Errorf("record delivery of entry %d to %s: %w", d.Seq, w.name, err)}, 0)
		return d
	}
	delete(w.unsettled, d.Seq)
	if o.Result == Retry {
		w.held[d.Line()] = o.At
	}
	d.Told = o.Result == Delivered && !d.Moot && (d.Receipt != "" || d.Group.Open())
	return d
}

// decide is the retry table. It returns d as it has to be stored.
func decide(d ledger.Delivery, err error, now time.Time, backoff time.Duration) (ledger.Delivery, Outcome) {
	d.Attempt++
	if err == nil {
		d.NextAt, d.LastError = time.Time{}, ""
		return d, Outcome{Result: Delivered}
	}
	e := asError(err)
	d.LastError = e.Error()
	if e.Permanent {
		d.NextAt = time.Time{}
		return d, Outcome{Result: Dead, Reason: e.Reason, Err: e}
	}
	at := now.Add(max(backoff, min(e.RetryAfter, maxRetryAfter)))
	if !d.ExpiresAt.IsZero() && at.After(d.ExpiresAt) {
		at = d.ExpiresAt // to be buried in time
	}
	d.NextAt = at
	return d, Outcome{Result: Retry, Reason: e.Reason, Err: e, At: at}
}

// backoff is the wait after the n-th failed attempt: base * 2^(n-1) up to the
// maximum, of which half is random.
func (w *worker) backoff(n int) time.Duration {
	full := w.opts.BackoffMax
	if shift := n - 1; shift < 32 && w.opts.BackoffBase <= full>>shift {
		full = w.opts.BackoffBase << shift
	}
	return full/2 + time.Duration(w.rng.Int64N(int64(full/2)+1))
}

func (w *worker) observe(d ledger.Delivery, o Outcome, took time.Duration) {
	w.mu.Lock()
	switch o.Result {
	case Delivered:
		w.stats.Sent++
	case Dead:
		w.stats.Dead++
	}
	if o.Err != nil {
		w.stats.Failed[o.Reason]++
		w.stats.LastError = o.Err.Error()
	}
	w.stats.PausedUntil = w.paused
	w.mu.Unlock()
	w.opts.Observe(Attempt{Receiver: w.name, Delivery: d, Outcome: o, Took: took})
}
