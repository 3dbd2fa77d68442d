package notify

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// A Receiver is a named Sink. The name is Delivery.Receiver.
type Receiver struct {
	Name  string
	Sink  Sink
	Limit *Limiter // nil: as fast as it answers
	// Latest: the receiver wants to know how things are, not all that was. What
	// it could not be told gives way to what is newer in its Order.
	Latest bool
	// Template says its messages; the Sink has it too. nil: driftd's own words.
	Template *Template
	// Identity says how it is reached, in any words that show no secret. What waits for
	// another attempt is tried at once when Replace brings another one.
	Identity string
}

// Try makes one attempt at a delivery that no Outbox owes, and returns its receipt.
func (r Receiver) Try(ctx context.Context, d ledger.Delivery) (receipt string, err error) {
	if !r.Limit.wait(ctx) {
		return "", ctx.Err()
	}
	return r.send(ctx, d)
}

func (r Receiver) send(ctx context.Context, d ledger.Delivery) (receipt string, err error) {
	d.Entry = d.Lead()
	if t, ok := r.Sink.(Threader); ok {
		return t.SendThread(ctx, d)
	}
	return "", r.Sink.Send(ctx, d)
}

// Options configure a Dispatcher. The zero value of a field is its default.
type Options struct {
	Seed        uint64        // of the jitter
	Poll        time.Duration // longest time between two looks at the Outbox; 5 s
	SendTimeout time.Duration // of one Send; 15 s
	BackoffBase time.Duration // wait after the first failure, doubled by each; 1 s
	BackoffMax  time.Duration // 5 min
	Batch       int           // deliveries read at once; 64
	// Observe hears of every attempt and every Outbox error, on the receiver's
	// goroutine: it must not block.
	Observe func(Attempt)
}

func (o Options) withDefaults() Options {
	orDefault(&o.Poll, 5*time.Second)
	orDefault(&o.SendTimeout, 15*time.Second)
	orDefault(&o.BackoffBase, time.Second)
	orDefault(&o.BackoffMax, 5*time.Minute)
	if o.Batch <= 0 {
		o.Batch = 64
	}
	if o.Observe == nil {
		o.Observe = func(Attempt) {}
	}
	return o
}

func orDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// An Attempt is what Options.Observe hears. With ReasonStore the Outbox failed
// and Delivery may be empty.
type Attempt struct {
	Receiver string
	Delivery ledger.Delivery
	Outcome  Outcome
	Took     time.Duration // in Send
}

// Stats counts one receiver's work since the process started.
type Stats struct {
	Receiver    string
	Sent        uint64
	Dead        uint64
	Failed      map[Reason]uint64 // attempts, by reason
	Unsaid      uint64            // messages that its Template could not say, since it was configured
	Pending     int               // owed now, due or not
	Oldest      time.Time         // IssuedAt of the oldest owed; zero when nothing is
	PausedUntil time.Time         // the receiver asked for quiet until then
	LastError   string
}

// A Dispatcher delivers what an Outbox owes. Each receiver has its own worker,
// so a dead receiver delays no other.
type Dispatcher struct {
	outbox   Outbox
	opts     Options
	draining chan struct{} // closed by Drain
	done     chan struct{} // closed when Run has returned

	mu      sync.Mutex // guards the rest
	workers []*worker  // never changed in place
	spawn   func(*worker)
	cancel  context.CancelFunc // of Run; nil before it
	closed  bool               // draining is closed
}

// NewDispatcher returns a Dispatcher that does nothing until Run.
func NewDispatcher(out Outbox, receivers []Receiver, o Options) (*Dispatcher, error) {
	d := &Dispatcher{outbox: out, opts: o.withDefaults(), draining: make(chan struct{}), done: make(chan struct{})}
	return d, d.Replace(receivers)
}

// Replace changes who is delivered to, also while Run runs. A receiver that stays,
// by its name, keeps its counters and, with the same Identity, its waits for retries,
// and gets the next delivery through its new Sink. One that is gone is cut off, and what it is owed
// stays owed; when Replace returns it is called no more. An error changes nothing.
// One goroutine at a time may call it.
func (d *Dispatcher) Replace(receivers []Receiver) error {
	if err := Check(receivers); err != nil {
		return err
	}
	d.mu.Lock()
	gone := map[string]*worker{}
	for _, w := range d.workers {
		gone[w.name] = w
	}
	workers := make([]*worker, len(receivers))
	for i, r := range receivers {
		if workers[i] = gone[r.Name]; workers[i] != nil {
			if was := workers[i].to.Swap(&r); was.Identity != r.Identity {
				workers[i].hasten()
			}
			delete(gone, r.Name)
			continue
		}
		workers[i] = newWorker(d.outbox, r, d.opts)
		if d.spawn != nil {
			d.spawn(workers[i])
		}
	}
	d.workers = workers
	d.mu.Unlock()
	for _, w := range gone {
		w.end()
	}
	return nil
}

// Check returns what is wrong with a list of receivers.
func Check(receivers []Receiver) error {
	seen := map[string]bool{}
	for _, r := range receivers {
		switch {
		case r.Name == "":
			return errors.New("a receiver has no name")
		case seen[r.Name]:
			return fmt.Errorf("receiver %q is named twice", r.Name)
		case r.Sink == nil:
			return fmt.Errorf("receiver %q has no sink", r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}

func newWorker(out Outbox, r Receiver, o Options) *worker {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Name)) // never fails; own stream of jitter per receiver
	w := &worker{
		name: r.Name, outbox: out, opts: o,
		rng:  rand.New(rand.NewPCG(o.Seed, h.Sum64())),
		wake: make(chan struct{}, 1),
		held: map[string]time.Time{}, unsettled: map[uint64]settlement{},
		stats: Stats{Receiver: r.Name, Failed: map[Reason]uint64{}},
	}
	w.to.Store(&r)
	return w
}

// Run delivers until ctx ends or Drain is called, and returns when every
// worker has. What is being sent when ctx ends is cut off and stays owed. It
// can be called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	if d.cancel != nil {
		d.mu.Unlock()
		return errors.New("dispatcher was run before")
	}
	var wg sync.WaitGroup
	d.cancel = cancel
	d.spawn = func(w *worker) { wg.Go(w.begin(ctx, d.draining)) }
	for _, w := range d.workers {
		d.spawn(w)
	}
	d.mu.Unlock()
	defer close(d.done)
	select {
	case <-ctx.Done():
	case <-d.draining:
	}
	d.mu.Lock()
	d.spawn = nil // nobody begins while the last ones end
	d.mu.Unlock()
	wg.Wait()
	return nil
}

// current returns the workers that there are now.
func (d *Dispatcher) current() []*worker {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.workers
}

// Wake makes every worker look at the Outbox now: call it after a commit that
// owes a delivery.
func (d *Dispatcher) Wake() {
	for _, w := range d.current() {
		w.look()
	}
}

// Hurry has a receiver tried at once with all that waits for another attempt: somebody
// has seen it well. A name that is none is ignored.
func (d *Dispatcher) Hurry(receiver string) {
	for _, w := range d.current() {
		if w.name == receiver {
			w.hasten()
		}
	}
}

// Drain lets every worker send what is due, once and without waiting for
// retries, and ends Run. When ctx ends first the sends under way are cut off
// and Drain returns its error; what is unsent stays owed.
func (d *Dispatcher) Drain(ctx context.Context) error {
	d.mu.Lock()
	if !d.closed {
		close(d.draining)
		d.closed = true
	}
	cancel := d.cancel
	d.mu.Unlock()
	if cancel == nil {
		return nil
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		cancel()
		<-d.done
		return fmt.Errorf("drain notifications: %w (the rest stays owed)", ctx.Err())
	}
}

// Stats returns the counters of every receiver, in the order given to
// NewDispatcher or Replace. An error is the Outbox's; the counters are right even so.
func (d *Dispatcher) Stats() ([]Stats, error) {
	workers := d.current()
	all := make([]Stats, len(workers))
	var errs []error
	for i, w := range workers {
		w.mu.Lock()
		all[i] = w.stats
		all[i].Failed, all[i].Unsaid = maps.Clone(w.stats.Failed), w.to.Load().Template.Failed()
		w.mu.Unlock()
		n, oldest, err := d.outbox.Owed(w.name)
		if err != nil {
			errs = append(errs, fmt.Errorf("count deliveries owed to %s: %w", w.name, err))
		}
		all[i].Pending, all[i].Oldest = n, oldest
	}
	return all, errors.Join(errs...)
}
