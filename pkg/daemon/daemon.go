package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/lifecycle"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A Daemon runs the system. Its methods are safe for concurrent use.
type Daemon struct {
	Options
	dispatcher  *notify.Dispatcher
	refusals    *refusals
	commands    chan command
	snapshot    atomic.Pointer[api.Snapshot]
	open        atomic.Pointer[[]*incident.Incident] // committed
	checkpoints *api.Histogram
	delays      *api.Histogram
	heeded      *api.Histogram
	stopped     chan struct{} // closed when the loop has ended
	verified    chan struct{} // closed when what decisions are made of was found undamaged
	distrusted  atomic.Bool   // the store was found damaged
	verifiedAt  atomic.Int64  // when the store was read whole last, Unix time in ns; 0: not yet
	givenUp     atomic.Uint64 // deliveries to receivers that are gone
	paused      atomic.Bool   // for want of room on the disk
	started     time.Time
	passed      atomic.Int64             // when the loop last came round, Unix time in ns
	settings    atomic.Pointer[Settings] // in force and committed; the loop has its own
	rejected    atomic.Bool              // the last reload was refused
	canaries    *canaries
	pulse       *pulse
	herald      *herald
	attested    attested
	loop        *loop
}

// inputBatches is how many batches wait for the loop: enough to keep it busy
// while the reader works, and a bound on memory of so many times 1 MiB.
const inputBatches = 8

// New restores the state of the last checkpoint. Nothing runs before Run.
func New(o Options) (*Daemon, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	d := &Daemon{
		Options: o, commands: make(chan command),
		checkpoints: api.NewHistogram("driftd_checkpoint_duration_seconds", checkpointBounds...),
		delays:      api.NewHistogram("driftd_event_delay_seconds", delayBounds...), stopped: make(chan struct{}), verified: make(chan struct{}), started: time.Now(),
		canaries: newCanaries(o), pulse: newPulse(), herald: newHerald(),
		heeded: api.NewHistogram("driftd_incident_acknowledge_seconds", heededBounds...),
	}
	d.settings.Store(&o.Settings)
	l, err := d.restore()
	if err != nil {
		return nil, fmt.Errorf("restore the last checkpoint: %w", err)
	}
	d.loop, d.refusals = l, newRefusals(l.book.Keys())
	if d.dispatcher, err = notify.NewDispatcher(pulseOutbox{outbox{o.Store, d.mutes}, d}, o.Receivers, d.observed(o.Notify)); err != nil {
		return nil, err
	}
	d.snapshot.Store(l.view())
	open := l.book.Open()
	d.open.Store(&open)
	d.herald.commit(l.published.clone())
	d.alive()
	return d, nil
}

// restore builds the loop from the store.
func (d *Daemon) restore() (*loop, error) {
	r, err := d.Store.Resume()
	if err != nil {
		return nil, err
	}
	l := &loop{
		dense:  1,
		Daemon: d, engine: drift.NewEngine(d.Spec), joiner: event.NewJoiner(event.JoinLimits{}), progress: r.Progress, saved: r.Progress, chain: r.Progress.Chain,
		account: &drift.Account{}, reports: map[string][]api.Report{}, watches: map[string]*watch{}, spent: map[string][]spentPage{},
		acts: map[string]lifecycle.State{}, triggers: map[string]uint64{}, dead: map[string]uint64{},
		published: windowMarks{}, pending: d.Store.NewBatch(), now: time.Now(), lastMsg: time.Now(), Settings: d.Settings, loaded: d.started,
	}
	if l.canaryJudge, err = newCanaryJudge(d.canaries); err != nil {
		return nil, err
	}
	legacy, err := l.restoreBooks()
	if err != nil {
		return nil, err
	}
	if err := l.restoreIncidents(r.Incidents, legacy); err != nil {
		return nil, err
	}
	if l.silences, err = incident.NewSilences(r.Silences); err != nil {
		return nil, fmt.Errorf("%w: %w: %s", store.ErrDamaged, err, store.Remedy)
	}
	snapshot := drift.Snapshot{Models: r.Models, Baselines: r.Baselines, Open: r.Open, Samples: map[string][][]byte{}, Closed: d.closed}
	for _, c := range r.Learning {
		snapshot.Samples[c.Model] = append(snapshot.Samples[c.Model], c.Data)
	}
	for _, s := range r.Dedup {
		snapshot.Seen = append(snapshot.Seen, s.IDs)
	}
	if err := l.engine.Restore(snapshot); err != nil {
		return nil, err
	}
	if err := l.begun(r.Progress.ConfigHash); err != nil {
		return nil, err
	}
	if err := l.assign(r.Alerts); err != nil {
		return nil, err
	}
	if err := l.restoreWatches(r.Detection); err != nil {
		return nil, err
	}
	if err := l.address(actorStart); err != nil {
		return nil, err
	}
	return l, l.restoreReports()
}

func (l *loop) restoreBooks() (legacy map[string]firingAlert, err error) {
	if l.progress.Seq == 0 && len(l.progress.Counters) == 0 {
		return nil, nil
	}
	b := books{Account: l.account, Triggers: l.triggers, Dead: l.dead, Acts: l.acts, Spent: l.spent, Published: l.published}
	if err := json.Unmarshal(l.progress.Counters, &b); err != nil {
		return nil, fmt.Errorf("%w: counters: %w", store.ErrDamaged, err)
	}
	l.gaps, l.rewinds, l.second, l.marks, l.digested = b.Gaps, b.Rewinds, b.Second, b.Marks, b.Digested
	if len(b.Halves) > 0 {
		if err := l.joiner.LoadState(b.Halves); err != nil {
			return nil, fmt.Errorf("%w: halves of predictions: %w", store.ErrDamaged, err)
		}
	}
	err = l.account.Balance(l.progress.Seq)
	if err == nil && l.account.First != l.progress.FirstSeq {
		err = fmt.Errorf("messages do not balance: counted from %d, read from %d", l.account.First, l.progress.FirstSeq)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %s", store.ErrDamaged, err, store.Remedy)
	}
	return b.Firing, nil
}

// closed is drift.Snapshot.Closed: the sum of a group's panes or rollups.
func (d *Daemon) closed(g drift.Group, from, to time.Time, unit time.Duration) (*drift.Window, error) {
	windows, err := d.Store.Windows(store.Query{
		Model: g.Model, Version: g.Version, Variants: []event.Variant{g.Variant}, Segment: g.Segment, From: from, To: to, Size: unit,
	})
	if err != nil {
		return nil, err
	}
	// A query for version "" gives every version.
	return drift.Sum(slices.DeleteFunc(windows, func(w *drift.Window) bool { return w.Group != g }))
}

// restoreReports computes the last reports again, so that a restart leaves no
// hole in the metrics.
func (l *loop) restoreReports() error {
	for _, m := range l.engine.Models() {
		for _, size := range l.Spec.Sizes {
			end := drift.WindowStart(m.Watermark, size)
			c := drift.Closing{Model: m.Model, Size: size, Start: end.Add(-size), End: end}
			for _, gs := range m.Groups {
				if gs.LastSeen.Before(c.Start) {
					continue
				}
				w, err := api.PastWindow(l.Daemon, &drift.Window{Group: gs.Group, Start: c.Start, End: c.End}, false, c.Start)
				if err != nil {
					return err
				}
				if w != nil {
					c.Windows = append(c.Windows, w)
				}
			}
			view, err := alert.Judge{Baseline: l.engine.Baseline(m.Model)}.See(&c, alert.ReferenceBaseline)
			if err != nil {
				return err
			}
			l.remember(&c, view.Groups)
		}
	}
	return nil
}

// Run runs until ctx ends or a part fails, and returns nil or the first
// failure. What it has counted is committed when it returns nil.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Receivers are paid until the loop has made its last checkpoint.
	paying, stopPaying := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPaying()
	var wg sync.WaitGroup
	failed := make(chan error, 1) // the first failure, also one of the last checkpoint
	spawn := func(name string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				select {
				case failed <- fmt.Errorf("%s: %w", name, err):
				default:
				}
				cancel()
			}
		})
	}
	in, commits := make(chan *stream.Batch, inputBatches), make(chan *commit, 1)
	d.loop.commits = commits
	from := d.loop.anchor() // read before the loop runs: it is the loop's
	spawn("stream", func() error { return d.Source.Run(ctx, from, in) })
	spawn("committer", func() error { d.write(ctx, commits); return nil })
	spawn("verification", func() error {
		err := d.verify(ctx)
		if err != nil {
			stopPaying()
		}
		return err
	})
	spawn("notifier", func() error { return d.pay(paying) })
	spawn("refusals", func() error { return d.tellRefusals(ctx) })
	spawn("refresh", func() error { return d.refresh(ctx) })
	spawn("canaries", func() error { return d.sendCanaries(ctx) })
	spawn("windows", func() error { return d.publishWindows(ctx) })
	spawn("audit", func() error { return d.attest(ctx) })
	spawn("retention", func() error { return d.sweep(ctx) })
	spawn("trim", func() error { d.trim(ctx); return nil })
	spawn("loop", func() error {
		defer stopPaying()
		defer close(d.stopped)
		defer close(commits)
		err := d.loop.run(ctx, in, d.commands)
		if ctx.Err() != nil && errors.Is(err, store.ErrNoSpace) {
			d.Log.Warn().Err(err).Msg("stopped without room for a last checkpoint; what it held will be read again after the next start")
			err = nil
		}
		if err == nil && d.trusted() {
			d.drain()
			d.attestLast()
		}
		return err
	})
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// drainWithin bounds the time that receivers get at the end; what they do not
// take is owed to them at the next start.
const drainWithin = 3 * time.Second

// drain gives receivers a last chance.
func (d *Daemon) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	if err := d.dispatcher.Drain(ctx); err != nil {
		d.Log.Warn().Err(err).Msg("not everything could be delivered; it is owed and will be sent after the next start")
	}
}

// anchor is the position in the stream that the store knows.
func (l *loop) anchor() stream.Anchor { return anchorOf(l.progress) }

func anchorOf(p store.Progress) stream.Anchor {
	return stream.Anchor{Stream: p.Stream, Created: p.Created, FilterHash: p.FilterHash, Seq: p.Seq, Time: p.Time}
}

// sweepEvery is how often what retention has outlived is deleted.
const sweepEvery = 10 * time.Minute

// sweep calls Sweep now and then.
func (d *Daemon) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := d.Sweep(ctx, time.Now())
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNoSpace) {
			return err
		}
	}
}

// trimEvery is how often the pages of tables that were mapped are unmapped. It takes
// 5 ms for a store of 22 GB, and a verification of it maps 100 MB/s.
const trimEvery = 10 * time.Second

// trim keeps resident memory to what driftd uses, not to all that it has ever read.
func (d *Daemon) trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		if err := d.Store.Trim(); err != nil && ctx.Err() == nil {
			d.Log.Warn().Err(err).Msg("resident memory counts files that were read, until the next start")
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// goneFor is how long a receiver that is not named any more is owed what it was.
const goneFor = 7 * 24 * time.Hour

// Sweep deletes what retention has outlived at a wall time, and gives up what is owed to
// receivers that were found gone goneFor before. Run does so every ten minutes.
func (d *Daemon) Sweep(ctx context.Context, now time.Time) error {
	in := d.settings.Load()
	named := func(receiver string) bool {
		return slices.ContainsFunc(in.Receivers, func(r notify.Receiver) bool { return r.Name == receiver })
	}
	given, err := d.Store.SweepGone(ctx, named, goneFor, now)
	for receiver, n := range given {
		d.givenUp.Add(uint64(n))
		d.Log.Warn().Str("receiver", receiver).Int("deliveries", n).Msg("the receiver is not in the configuration any more; what it was owed is given up and kept as dead letters")
	}
	if err != nil {
		return err
	}
	marks := map[string]time.Time{}
	for _, m := range d.Snapshot().Models {
		marks[m.Model] = m.Watermark
	}
	_, err = d.Store.Sweep(ctx, in.Retention, marks, now)
	return err
}

// defaultIdle is how long the stream must be silent before driftd publishes a tick.
const defaultIdle = 10 * time.Second

// tick lets stream time pass when nobody publishes.
func (l *loop) tick(ctx context.Context) {
	if l.Ticker == nil || l.account.Decoded == 0 || l.now.Sub(l.lastMsg) < cmp.Or(l.Idle, defaultIdle) {
		return
	}
	l.lastMsg = l.now // whether or not it succeeds: once in a while
	if err := l.Ticker.Tick(ctx, l.progress.Seq); err != nil && ctx.Err() == nil {
		l.Log.Warn().Err(err).Msg("a tick could not be published; windows of silent models close when the stream moves again")
	}
}

var _ Source = (*stream.Reader)(nil)
