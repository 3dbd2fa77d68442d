package daemon

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/lifecycle"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A loop holds all decision state. One goroutine owns it; nothing in it is
// locked. Everything it decides goes into pending and nowhere else.
type loop struct {
	*Daemon
	Settings // in force; what the Daemon has of them is what it started with
	engine   *drift.Engine
	events   event.Batch
	joiner   *event.Joiner // of requests and responses that servers log apart
	progress store.Progress
	account  *drift.Account
	chain    ledger.Chain
	states   map[*alert.Rule]map[string]map[alert.Series]alert.State // by rule and model
	reports  map[string][]api.Report                                 // by model: the last of each group and size
	acts     map[string]lifecycle.State                              // by model: what was asked for last
	triggers map[string]uint64                                       // "kind outcome model"
	gaps     []api.Gap
	rewinds  uint64
	second   int64 // of stream time in which idle models were looked at last: a restart must not look twice
	digested int64 // number of the last span that a digest was due for; see digest.go
	dead     map[string]uint64
	book     *incident.Book
	watches  map[string]*watch      // by model, of those that have a budget
	spent    map[string][]spentPage // by budget, of its period
	marks    []mark                 // of the ledger, the oldest first
	silences *incident.Silences

	published windowMarks // how far what has closed is published

	letters    []stream.DeadLetter // since the last checkpoint
	pending    *store.Batch
	fresh      []past    // closed since the last commit that has ended: the store has not got them yet
	puts       []rowsPut // since the last commit that has ended
	counted    int       // events since the last checkpoint
	dense      float64   // part of what the last checkpoint's open state could take that it took
	now        time.Time // wall clock of this pass
	lastMsg    time.Time // wall clock
	evaluated  time.Time
	lastCommit time.Time      // wall clock, zero before the first
	loaded     time.Time      // wall clock: since when Settings are in force
	waiting    []chan<- error // commands that wait for the next commit

	inflight *commit // being written
	commits  chan<- *commit
	saved    store.Progress // of the last checkpoint handed over
	idle     *store.Batch   // to be used again
	shares   shares         // of budgets

	canaryJudge *canaryJudge // nil: there are no canaries
}

// run is the loop. It returns after a last checkpoint when ctx ends.
func (l *loop) run(ctx context.Context, in <-chan *stream.Batch, commands <-chan command) error {
	tick := time.NewTicker(l.Checkpoint.Every)
	defer tick.Stop()
	for {
		l.alive()
		select {
		case <-ctx.Done():
			return l.finish()
		case b := <-in:
			l.now = time.Now()
			if err := l.batch(ctx, b); err != nil {
				return err
			}
		case c := <-commands:
			l.now = time.Now()
			if err := l.command(c); err != nil {
				return err
			}
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		case err := <-l.writing():
			l.now = time.Now()
			if err := l.committed(err); err != nil {
				return err
			}
		case <-tick.C:
			l.now = time.Now()
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
			l.tick(ctx)
		}
	}
}

// writing is ready when the checkpoint that is being written has ended.
func (l *loop) writing() <-chan error {
	if l.inflight == nil {
		return nil
	}
	return l.inflight.done
}

// finish commits what has been counted and waits until it is durable.
func (l *loop) finish() error {
	ctx, cancel := context.WithTimeout(context.Background(), lettersWithin)
	defer cancel()
	if err := l.checkpoint(ctx); err != nil {
		return err
	}
	return l.settle(ctx)
}

// Bounds of the end: of the wait for dead letters, without which there is no last
// checkpoint and its messages are read again, and of a commit under way.
const (
	lettersWithin = 2 * time.Second
	finishWithin  = 5 * time.Second
)

// batch applies a run of messages. The cursor moves with each, so that a
// checkpoint can be made between any two.
func (l *loop) batch(ctx context.Context, b *stream.Batch) error {
	defer b.Release()
	if b.Notice != nil {
		if err := l.notice(ctx, b.Notice); err != nil {
			return err
		}
	}
	// Dead letters of the first batch carry these, so that a repeat is known.
	l.progress.Stream, l.progress.Created, l.progress.FilterHash = b.Anchor.Stream, b.Anchor.Created, b.Anchor.FilterHash
	for i := range b.Messages {
		m := &b.Messages[i]
		if l.account.First == 0 {
			l.account.First, l.progress.Seq = m.Seq, m.Seq-1
		}
		if err := l.elapse(ctx, m); err != nil {
			return err
		}
		l.pass(m.Seq-1, m.Time)
		l.progress.Seq = m.Seq
		if err := l.message(m); err != nil {
			return err
		}
		if l.due() {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	if len(b.Messages) > 0 {
		l.lastMsg = l.now
	}
	l.pass(b.Anchor.Seq, b.Anchor.Time)
	return nil
}

// pass moves the cursor over sequences that are read by nobody: of subjects that
// the filters leave out.
func (l *loop) pass(seq uint64, at int64) {
	l.account.Filtered += seq - l.progress.Seq
	l.progress.Seq, l.progress.Time = seq, at
}

// notice applies a finding about the stream itself.
func (l *loop) notice(ctx context.Context, n *stream.Notice) error {
	body := ledger.EpochChange{Type: "epoch", Cause: n.Cause, Stream: n.Anchor.Stream, From: n.From, To: n.To}
	if n.Kind == stream.Gap || n.Kind == stream.NewEpoch && n.Cause != stream.CauseFirst {
		if err := l.lose(ctx); err != nil {
			return err
		}
	}
	switch n.Kind {
	case stream.Gap:
		l.account.Gap += n.Count
		l.progress.Seq += n.Count
		l.gaps = append(l.gaps[max(0, len(l.gaps)-99):], api.Gap{From: n.From, To: n.To, Cause: n.Cause})
	case stream.NewEpoch:
		l.account.Turn(l.progress.Seq, n.To)
		l.progress.FirstSeq, l.progress.Seq = n.To, n.To-1
		if n.Cause == stream.CauseFirst {
			return nil
		}
		l.rewinds++
		l.progress.Epoch++
	case stream.FilterChanged:
		l.account.Turn(l.progress.Seq, n.To)
		l.progress.Seq = n.To - 1
	}
	l.Log.Warn().Str("cause", n.Cause).Str("stream", n.Anchor.Stream).Uint64("from", n.From).Uint64("to", n.To).
		Msg("the stream is not what the last checkpoint knew; windows of this time are marked incomplete")
	body.Epoch = l.progress.Epoch
	_, err := l.record(ledger.Draft{Time: time.Unix(0, cmp.Or(n.Anchor.Time, l.progress.Time)), StreamSeq: n.Anchor.Seq, Kind: ledger.KindEpoch, Body: body})
	return err
}

// elapse lets stream time pass for idle models before a message is applied. A
// checkpoint may fall between two models: the message then comes again, and the
// models that have moved stay where they are.
func (l *loop) elapse(ctx context.Context, m *stream.Message) error {
	second := m.Time / int64(time.Second)
	if second <= l.second {
		return nil
	}
	for range l.engine.Elapse(drift.Position{Seq: m.Seq, Time: m.Time}) {
		if err := l.drain(); err != nil {
			return err
		}
		if l.due() {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	l.sweepSilences(m.Time)
	l.second = second
	return l.sumUp(ctx, m.Time)
}

// lose marks what every model has open as incomplete. A checkpoint may fall between
// two models: the cursor has not moved yet, and the notice then comes again.
func (l *loop) lose(ctx context.Context) error {
	for range l.engine.Lose() {
		if l.due() {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// message counts one message.
func (l *loop) message(m *stream.Message) error {
	pos := drift.Position{Seq: m.Seq, Time: m.Time}
	l.events.Reset()
	l.decode(m)
	// A first half waits for the other; what it completes, or has waited too long,
	// counts at this message.
	if l.joiner.Stats().Waiting > 0 || hasHalf(l.events.Events) {
		l.joiner.Join(&l.events, 0, m.Time)
	}
	return l.count(m, pos)
}

func hasHalf(events []event.Event) bool {
	for i := range events { // by index: events are large
		if events[i].Part != event.Whole {
			return true
		}
	}
	return false
}

// decode books a message and what it holds.
func (l *loop) decode(m *stream.Message) {
	if m.Subject == l.Tick {
		l.account.Filtered++
		l.canary(m)
		return
	}
	if refusal := l.Decoder.DecodeWrapped(&l.events, event.Envelope{Headers: m.Header}, m.Subject, m.Data); refusal != nil {
		l.refuse(m, refusal)
		return
	}
	l.account.Accepted++
	for i := range l.events.Rejects {
		l.deadLetter(m, &l.events.Rejects[i])
	}
	if first := &l.events.Events[0]; first.Time != 0 { // one a message: its rows are of about one time
		l.delays.Update(max(0, time.Duration(m.Time-first.Time).Seconds()))
	}
}

// count counts what a message holds or has completed.
func (l *loop) count(m *stream.Message, pos drift.Position) error {
	for i := range l.events.Events {
		e := &l.events.Events[i]
		outcome := l.engine.Add(e, pos)
		l.account.Count(e.Model, e.Kind, outcome)
		l.counted++
		switch outcome {
		case drift.Future, drift.Unconfigured, drift.OverLimit:
			l.deadLetter(m, &event.Reject{Reason: outcomeReasons[outcome], Detail: outcomeDetails[outcome], Row: e.Row})
		case drift.Counted:
			if l.engine.Pending() {
				if err := l.drain(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

var outcomeReasons = map[drift.Outcome]event.Reason{
	drift.Future: event.Future, drift.Unconfigured: event.UnknownModel, drift.OverLimit: event.Limit,
}

var outcomeDetails = map[drift.Outcome]string{
	drift.Future:       "the event's time is ahead of its arrival by more than windows.max_future_skew; check the publisher's clock and unit of time",
	drift.Unconfigured: "the model is not configured and discover is false; add it under models",
	drift.OverLimit:    "limits.models is reached; raise it or set discover to false",
}

// refuse books a message that gave no event.
func (l *loop) refuse(m *stream.Message, r *event.Reject) {
	if r.Reason == event.TooLarge {
		l.account.Oversize++
	} else {
		l.account.Invalid++
	}
	l.deadLetter(m, r)
}

// deadLetter books a refusal by its reason and passes the message on.
func (l *loop) deadLetter(m *stream.Message, r *event.Reject) {
	l.account.Refuse(r.Reason)
	d := stream.DeadLetter{
		Reason: string(r.Reason), Detail: r.Detail, Stream: l.progress.Stream, Epoch: l.progress.Epoch, Seq: m.Seq, Row: r.Row, Data: m.Data,
	}
	if l.DeadLetters.DeadLetter(l.now, d) {
		l.letters = append(l.letters, d)
		l.dead[string(r.Reason)]++
	} else {
		l.dead["limited"]++
	}
}

// drain takes what the engine closed and judges it, in the order of closing.
func (l *loop) drain() error {
	d, err := l.engine.Drain()
	if err != nil {
		return fmt.Errorf("close windows at message %d: %w", l.progress.Seq, err)
	}
	for _, w := range d.Panes {
		l.pending.PutPane(w)
	}
	for _, w := range d.Hours {
		l.pending.PutHour(w)
	}
	for _, b := range d.Frozen {
		if err := l.froze(b); err != nil {
			return err
		}
	}
	for i := range d.Closings {
		if err := l.judge(&d.Closings[i]); err != nil {
			return err
		}
	}
	return l.pending.Err()
}

// froze records a baseline that a model has learned by itself.
func (l *loop) froze(b *drift.Baseline) error {
	l.pending.PutBaseline(b)
	l.pending.DeleteLearning(b.Model)
	st, _ := l.engine.Model(b.Model)
	_, err := l.record(ledger.Draft{Time: b.Origin.To, StreamSeq: st.LastSeq, Kind: ledger.KindBaseline, Model: b.Model, Body: baselineBody(b, "frozen", "driftd")})
	return err
}

func baselineBody(b *drift.Baseline, action, actor string) ledger.BaselineChange {
	return ledger.BaselineChange{
		Type: "baseline", Action: action, Model: b.Model, Baseline: b.ID,
		Origin: b.Origin.Kind, Rows: b.Origin.Rows, State: string(b.State), Actor: actor,
	}
}

// record chains a decision.
func (l *loop) record(d ledger.Draft) (ledger.Entry, error) {
	e, err := l.chain.Append(d)
	if err == nil {
		l.pending.Append(e)
		l.mark(e)
	}
	return e, err
}

// owe addresses an entry to its receivers.
func (l *loop) owe(e ledger.Entry, order string, receivers []string) {
	for _, r := range receivers {
		d := ledger.Delivery{Receiver: r, Entry: e, Seq: e.Seq, Order: order, IssuedAt: l.now.UTC()}
		if e.Kind != ledger.KindAlert {
			d.ExpiresAt = l.now.UTC().Add(signalLife)
		}
		l.pending.Owe(d)
	}
}

// signalLife is how long a trigger may be acted upon.
const signalLife = 24 * time.Hour
