package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/lifecycle"
	"driftd.dev/driftd/pkg/store"
)

// Points at which Options.Probe is called.
const (
	PointEncoded   = "encoded"   // a checkpoint is complete in memory, nothing is written
	PointCommitted = "committed" // it is durable, nobody was told
	PointTold      = "told"      // the notifier and the API know
)

// fewEvents are not worth a checkpoint for the size of their open panes: each pane is
// written whole, for one event as for thousands, so wide models would be written again
// every few events. They rather make the store's memory tables grow.
const fewEvents = 64

// due reports whether a checkpoint must not wait for the next tick. It is asked
// after every message: a burst over many models may fill a transaction. The store
// makes room for a larger one, for a price; what is beyond all that it could ever take
// would stop the daemon, and the next start would not get past it.
func (l *loop) due() bool {
	limit := cmp.Or(l.Checkpoint.Bytes, l.Store.CommitLimit()/5*4) // the rest is for what one message more may close
	closed := l.pending.Size() + l.book.Weight()
	if l.counted < fewEvents && closed < limit/4 {
		limit = max(limit, l.Store.CommitMost()/2)
	}
	room := limit - closed
	if l.counted >= l.Checkpoint.Events || room <= 0 {
		return true
	}
	if l.estimate(l.engine.Grown()) < room {
		return false
	}
	// What may be too much is looked at, and taken for enough a little earlier:
	// otherwise it would be looked at again after every message.
	return l.estimate(l.engine.DirtyBytes()) >= room-room/8
}

// denseFrom is the least that a checkpoint's open state could take for loop.dense to
// learn from it.
const denseFrom = 64 << 10

// estimate returns what the engine's changes will take in the store, of the bytes that
// they take at most: the same part as at the last checkpoint.
func (l *loop) estimate(most int) int64 { return int64(float64(most) * l.dense) }

// A commit is one checkpoint on its way to the disk.
type commit struct {
	batch    *store.Batch
	fresh    int // of loop.fresh, how many it makes durable
	puts     int // of loop.puts
	progress store.Progress
	snapshot *api.Snapshot        // of the state that it makes durable
	open     []*incident.Incident // of the same
	marks    windowMarks          // of the same
	waiting  []chan<- error
	encoded  time.Duration
	done     chan error // buffered
}

// checkpoint hands everything since the last one to the committer as one
// transaction. It waits for the checkpoint before it, never for its own.
func (l *loop) checkpoint(ctx context.Context) error {
	if !l.changed() {
		return nil
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	if !l.flush(ctx) {
		return nil
	}
	start := time.Now()
	c, err := l.encode()
	if err != nil {
		return fmt.Errorf("checkpoint at %d: %w", l.progress.Seq, err)
	}
	c.encoded = time.Since(start)
	if err := l.probe(PointEncoded); err != nil {
		return err
	}
	l.inflight = c
	l.commits <- c
	return nil
}

// flush waits until the dead letters since the last checkpoint are stored, and
// reports whether the checkpoint may be made. While NATS is away it may not: the
// letters are sent again, and as no message comes either, waiting costs nothing.
// A server that is there and refuses them must not stop the counting.
func (l *loop) flush(ctx context.Context) bool {
	err := l.DeadLetters.Flush(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		l.Log.Warn().Err(err).Msg("dead letters are not stored; their messages will be read again after the restart")
		return false
	case l.Status != nil && !l.Status().Ready:
		l.Log.Warn().Err(err).Msg("dead letters are not stored; they are sent again before the next checkpoint")
		for _, d := range l.letters {
			l.DeadLetters.DeadLetter(l.now, d)
		}
		return false
	default:
		l.dead["lost"]++
		l.Log.Error().Err(err).Msg("dead letters are lost, though counted; look at the stream DRIFTD")
	}
	l.letters = l.letters[:0]
	return true
}

// changed reports whether there is anything to commit.
func (l *loop) changed() bool {
	return l.progress.Seq != l.saved.Seq || l.progress.Epoch != l.saved.Epoch || l.pending.Len() > 0 || len(l.waiting) > 0 || l.herald.waiting()
}

// encode turns the changed state into the pending batch and starts a new one.
func (l *loop) encode() (*commit, error) {
	before, most := l.pending.Size(), l.engine.DirtyBytes()
	l.engine.Dirty(drift.DirtySink{
		Open: l.pending.PutOpen, Model: l.pending.PutModel, Sample: l.pending.PutLearning, Seen: l.pending.PutDedup,
	})
	if part := float64(l.pending.Size()-before) / float64(max(most, 1)); most >= denseFrom {
		l.dense = min(1, max(part, (l.dense+part)/2)) // rather too much than too little
	}
	if err := l.account.Balance(l.progress.Seq); err != nil {
		return nil, err
	}
	l.flushIncidents()
	l.takePublished()
	counters, err := json.Marshal(books{l.account, l.triggers, l.gaps, l.rewinds, l.dead, l.acts, nil, l.second, l.halves(), l.spent, l.marks, l.digested, l.published})
	if err != nil {
		return nil, fmt.Errorf("encode counters: %w", err)
	}
	l.progress.Counters, l.progress.Chain, l.progress.ConfigHash, l.progress.FirstSeq = counters, l.chain, l.ConfigHash, l.account.First
	l.pending.PutProgress(l.progress)
	if err := l.pending.Err(); err != nil {
		return nil, err
	}
	c := &commit{batch: l.pending, fresh: len(l.fresh), puts: len(l.puts), progress: l.progress, snapshot: l.view(), open: l.book.Open(), marks: l.published.clone(), waiting: l.waiting, done: make(chan error, 1)}
	l.pending, l.waiting, l.saved = l.spare(), nil, l.progress
	l.counted = 0
	return c, nil
}

// spare returns an empty batch, the last one written if there is one.
func (l *loop) spare() *store.Batch {
	if b := l.idle; b != nil {
		l.idle = nil
		return b
	}
	return l.Store.NewBatch()
}

// settle waits for the checkpoint that is being written.
func (l *loop) settle(ctx context.Context) error {
	if l.inflight == nil {
		return nil
	}
	select {
	case err := <-l.inflight.done:
		return l.committed(err)
	case <-ctx.Done():
	}
	// ctx ends the reading of the stream, not a transaction under way.
	select {
	case err := <-l.inflight.done:
		return l.committed(err)
	case <-time.After(finishWithin):
		return fmt.Errorf("checkpoint at %d is still being written after %v", l.inflight.progress.Seq, finishWithin)
	}
}

// committed ends a checkpoint: those who waited are told, the API gets a new
// snapshot, receivers are paid.
func (l *loop) committed(err error) error {
	c := l.inflight
	l.inflight = nil
	for _, w := range c.waiting {
		w <- err
	}
	if err != nil {
		return err
	}
	c.batch.Reset()
	l.idle, l.lastCommit = c.batch, time.Now()
	l.fresh, l.puts = slices.Delete(l.fresh, 0, c.fresh), slices.Delete(l.puts, 0, c.puts)
	c.snapshot.LastCommit = l.now
	l.canaries.committed(c.snapshot.Watch.Seen, l.lastCommit)
	l.snapshot.Store(c.snapshot)
	l.open.Store(&c.open)
	l.herald.commit(c.marks)
	l.dispatcher.Wake()
	if l.Committed != nil && c.progress.Epoch == l.progress.Epoch {
		l.Committed(anchorOf(c.progress))
	}
	return l.probe(PointTold)
}

// books is what Progress.Counters holds.
type books struct {
	Account  *drift.Account             `json:"account"`
	Triggers map[string]uint64          `json:"triggers,omitempty"` // "kind outcome model"
	Gaps     []api.Gap                  `json:"gaps,omitempty"`
	Rewinds  uint64                     `json:"rewinds,omitempty"`
	Dead     map[string]uint64          `json:"dead_letters,omitempty"`
	Acts     map[string]lifecycle.State `json:"acts,omitempty"`
	Firing   map[string]firingAlert     `json:"firing,omitempty"` // by dedup key; schemas before 6
	Second   int64                      `json:"second,omitempty"`
	Halves   []byte                     `json:"halves,omitempty"` // of predictions, as event.Joiner writes them
	Spent    map[string][]spentPage     `json:"spent,omitempty"`  // pages, by budget
	Marks    []mark                     `json:"marks,omitempty"`
	Digested int64                      `json:"digested,omitempty"`

	Published windowMarks `json:"published,omitempty"` // how far closed windows are, by model and size in ns
}

// halves returns what the joiner holds, nil if it never held anything.
func (l *loop) halves() []byte {
	if l.joiner.Stats().Received == 0 {
		return nil
	}
	return l.joiner.AppendState(nil)
}

// write is the committer: one checkpoint after the other becomes durable.
func (d *Daemon) write(ctx context.Context, commits <-chan *commit) {
	for c := range commits {
		start := time.Now()
		err := d.put(ctx, c.batch)
		d.checkpoints.Update((c.encoded + time.Since(start)).Seconds())
		if err == nil {
			err = d.probe(PointCommitted)
		}
		if err != nil {
			err = fmt.Errorf("checkpoint at %d: %w", c.progress.Seq, err)
		}
		c.done <- err
	}
}

func (d *Daemon) probe(point string) error {
	if d.Probe == nil {
		return nil
	}
	return d.Probe(point)
}
