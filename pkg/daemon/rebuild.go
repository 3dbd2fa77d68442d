package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A Rebuilt says what a rebuilt store was made of.
type Rebuilt struct {
	FirstSeq  uint64    // of the messages read
	LastSeq   uint64    // of them; the daemon goes on behind it
	From      time.Time // when the stream stored the first, zero without messages
	Entries   uint64    // of the new ledger
	Forgotten int       // deliveries of old decisions, which nobody gets
}

// stageRebuild is where Rebuild makes a store: killed, it goes on from there.
const stageRebuild = "REBUILD"

// rebuildPoll is how often a rebuild looks how far it is.
const rebuildPoll = 100 * time.Millisecond

// Rebuild makes a store from what the stream holds, in store.dir, where there must be
// none: the loop reads the stream from its first message to the one that is the last
// when it begins, and judges it by the configuration. Nobody is told anything, and
// what would be owed to receivers is forgotten. at is told now and then how many of
// about total messages are done. A Rebuild that was cut off goes on where it was,
// unless the configuration has changed what it decides.
func Rebuild(ctx context.Context, c *config.Config, x Extras, at func(done, total uint64)) (r Rebuilt, err error) {
	v, err := store.Vacate(c.Store.Dir)
	if err != nil {
		return r, fmt.Errorf("rebuild into %s: %w", c.Store.Dir, err)
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	stage := v.Stage(stageRebuild)
	i := newInstance(c, x)
	r, err = i.rebuild(ctx, c, x, stage, at)
	if err = errors.Join(err, i.Close()); err == nil {
		err = v.Install(stage)
	}
	if err != nil {
		return r, fmt.Errorf("rebuild into %s: %w", c.Store.Dir, err)
	}
	return r, nil
}

// rebuild reads the stream into the store in dir.
func (i *Instance) rebuild(ctx context.Context, c *config.Config, x Extras, dir string, at func(done, total uint64)) (r Rebuilt, err error) {
	if err := i.openStage(c, x, dir); err != nil {
		return r, err
	}
	if err := i.connect(ctx, c); err != nil {
		return r, err
	}
	js, err := i.Conn.JetStream().Stream(ctx, c.NATS.Stream)
	if err != nil {
		return r, fmt.Errorf("stream %s: %w", c.NATS.Stream, err)
	}
	if retention := js.CachedInfo().Config.Retention; retention != jetstream.LimitsPolicy {
		return r, fmt.Errorf("stream %s deletes what is acknowledged: there is nothing left in it to rebuild from; restore a backup", c.NATS.Stream)
	}
	state := js.CachedInfo().State
	r.FirstSeq, r.LastSeq, r.From = state.FirstSeq, state.LastSeq, state.FirstTime
	o, err := i.options(c)
	if err != nil {
		return r, err
	}
	o.Receivers, o.DeadLetters, o.Ticker, o.Canary, o.Committed, o.Verify = nil, toldBefore{}, nil, nil, nil, false
	o.Publish, o.Summaries = nil, Summaries{}
	if i.Daemon, err = New(o); err != nil {
		return r, err
	}
	if err := i.readTo(ctx, state.FirstSeq, state.LastSeq, at); err != nil {
		return r, err
	}
	if r.Forgotten, err = i.forget(ctx); err != nil {
		return r, err
	}
	chain, err := i.Store.LedgerVerify(func(_, _ uint64) {})
	r.Entries = chain.Seq
	return r, err
}

// openStage opens the store that is being made, if it was begun with the same
// decisions in mind; else it begins anew.
func (i *Instance) openStage(c *config.Config, x Extras, dir string) error {
	staged := *c
	staged.Store.Dir = dir
	if err := i.open(&staged, x); err != nil {
		return err
	}
	resume, err := i.Store.Resume()
	if err != nil || resume.Fresh || resume.Progress.ConfigHash == c.DecisionHash() {
		return err
	}
	if err := errors.Join(i.Close(), os.RemoveAll(dir)); err != nil {
		return err
	}
	return i.open(&staged, x)
}

// readTo runs the daemon until everything up to a message is committed.
func (i *Instance) readTo(ctx context.Context, first, last uint64, at func(done, total uint64)) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	before := min(last, max(first, 1)-1)
	ended := make(chan error, 1)
	go func() { ended <- i.Daemon.Run(running) }()
	tick := time.NewTicker(rebuildPoll)
	defer tick.Stop()
	for {
		done := i.Daemon.snapshot.Load().Stream.CommittedSeq
		at(done-min(done, before), last-before)
		if done >= last {
			stop()
		}
		select {
		case err := <-ended:
			if err == nil && i.Daemon.snapshot.Load().Stream.CommittedSeq < last {
				err = ctx.Err() // somebody wants it to stop
			}
			return err
		case <-tick.C:
		}
	}
}

// forget settles everything owed: it is about the past, and was told then.
func (i *Instance) forget(ctx context.Context) (n int, err error) {
	names, err := i.Store.Receivers()
	if err != nil {
		return 0, err
	}
	const batch = 1000
	for _, name := range names {
		for {
			due, err := i.Store.Due(name, time.Now(), batch, false, nil)
			if err != nil {
				return n, err
			}
			if len(due) == 0 {
				break
			}
			for _, d := range due {
				if err := errors.Join(ctx.Err(), i.Store.Settle(d, store.Outcome{Result: store.Delivered, At: time.Now()})); err != nil {
					return n, err
				}
				n++
			}
		}
	}
	return n, nil
}

// toldBefore takes the dead letters of messages that were refused once already.
type toldBefore struct{}

// DeadLetter implements DeadLetters.
func (toldBefore) DeadLetter(time.Time, stream.DeadLetter) bool { return true }

// Flush implements DeadLetters.
func (toldBefore) Flush(context.Context) error { return nil }
