package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// The canary is an event of driftd's own that goes the way of every event: the stream,
// the reader, the loop, the decoder, an engine's window, a rule that must fire, a
// checkpoint. It travels on the subject of ticks, which every reader books as filtered:
// so it moves the cursor, and nothing of it is counted, stored, shown or decided.
const (
	CanaryModel = "driftd_canary"
	CanaryRule  = "DriftdCanary"
)

// canaryWindow is the length of a canary's windows: the shortest that there is, so that
// each canary has its own and the next one closes it.
const canaryWindow = time.Second

// Bounds of publishing: of the wait for the stream to confirm a canary, and how many
// times in an interval one is tried that it has not.
const (
	canaryWithin = 5 * time.Second
	canaryTries  = 6
)

// canaries are what the publisher of canaries and the loop share.
type canaries struct {
	every   time.Duration // 0: there are none
	publish func(ctx context.Context, id string, body []byte) error
	ours    string    // how the ids of this process begin: those of others, and of earlier runs, prove nothing
	began   time.Time // that ids count from, by the monotonic clock

	sent       atomic.Uint64 // confirmed by the stream
	failed     atomic.Uint64 // attempts
	unanswered atomic.Int64  // when the stream confirmed the first since the last commit, Unix ns; 0: none
	answered   atomic.Int64  // when the last one that is committed was published, in ns since began
	roundTrip  atomic.Int64  // of that one, in ns
}

func newCanaries(o Options) *canaries {
	c := &canaries{publish: o.Canary, ours: "canary:" + rand.Text() + ":", began: time.Now()}
	if o.Canary != nil {
		c.every = o.Watch
	}
	return c
}

// sendCanaries publishes a canary every interval until ctx ends. One that could not be
// published is tried again, a few times in the interval.
func (d *Daemon) sendCanaries(ctx context.Context) error {
	c := d.canaries
	if c.every <= 0 {
		return nil
	}
	timer := time.NewTimer(c.every)
	defer timer.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := c.every
		err := c.send(ctx)
		if err != nil {
			wait /= canaryTries
		}
		if err != nil && !failing && ctx.Err() == nil {
			d.Log.Warn().Err(err).Msg("a canary could not be published; driftd tries again, and sends no heartbeat without")
		}
		failing = err != nil
		timer.Reset(wait)
	}
}

// send publishes one canary.
func (c *canaries) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, canaryWithin)
	defer cancel()
	e := event.New(event.Prediction)
	e.ID = c.ours + strconv.FormatInt(int64(time.Since(c.began)), 10)
	// It has no time: it takes that of its message, whatever this machine's clock says.
	e.Model, e.Version, e.Prediction = CanaryModel, "1", event.Cat("alive")
	if err := c.publish(ctx, e.ID, event.AppendJSON(nil, &e)); err != nil {
		c.failed.Add(1)
		return fmt.Errorf("publish a canary: %w", err)
	}
	c.sent.Add(1)
	c.unanswered.CompareAndSwap(0, time.Now().UnixNano())
	return nil
}

// published returns when a canary of this process was published; false for any other.
func (c *canaries) published(id string) (time.Time, bool) {
	text, ours := strings.CutPrefix(id, c.ours)
	offset, err := strconv.ParseInt(text, 10, 64)
	return c.began.Add(time.Duration(offset)), ours && err == nil
}

// committed notes that a checkpoint is durable, and the newest canary before it.
func (c *canaries) committed(seen, now time.Time) {
	c.unanswered.Store(0)
	if at := int64(seen.Sub(c.began)); !seen.IsZero() && c.answered.Swap(at) != at {
		c.roundTrip.Store(int64(now.Sub(seen)))
	}
}

// stalledIntervals and stalledAtLeast say for how long the stream must confirm canaries
// while nothing is committed, until driftd believes that only a restart can help.
const (
	stalledIntervals = 10
	stalledAtLeast   = 5 * time.Minute
)

// stalled returns since when canaries lie in the stream and nothing is committed, if
// that is too long; zero otherwise.
func (c *canaries) stalled(now time.Time) time.Time {
	since := c.unanswered.Load()
	if at := time.Unix(0, since); since != 0 && now.Sub(at) > max(stalledAtLeast, stalledIntervals*c.every) {
		return at
	}
	return time.Time{}
}

// A canaryJudge is what the loop knows of canaries. It counts and judges them as it
// does events of models, with an engine and a rule that nobody else sees.
type canaryJudge struct {
	engine *drift.Engine
	rules  []*alert.Rule
	states map[alert.Series]alert.State
	events event.Batch

	seen   time.Time // when the newest canary of this process was published
	judged time.Time // the same of the newest of which the rule has found the one before
}

// newCanaryJudge returns nil if there are no canaries.
func newCanaryJudge(c *canaries) (*canaryJudge, error) {
	if c.every <= 0 {
		return nil, nil
	}
	rule, err := alert.Compile(alert.Spec{Name: CanaryRule, Window: canaryWindow, Expr: "events > 0", Severity: alert.SeverityInfo})
	if err != nil {
		return nil, fmt.Errorf("the rule on canaries: %w", err)
	}
	spec := drift.DefaultSpec()
	spec.Pane, spec.Lateness, spec.Sizes = canaryWindow, 0, []time.Duration{canaryWindow}
	spec.Limits.Models, spec.Limits.GapWindows = 1, 1
	spec.Sample.Bytes, spec.DedupIDs = 1, 16
	return &canaryJudge{engine: drift.NewEngine(spec), rules: []*alert.Rule{rule}, states: map[alert.Series]alert.State{}}, nil
}

// canary takes a message on the subject of ticks: a canary of ours, or nothing to judge.
func (l *loop) canary(m *stream.Message) {
	j := l.canaryJudge
	if j == nil || len(m.Data) <= len("{}") {
		return
	}
	j.events.Reset()
	if refusal := l.Decoder.DecodeWrapped(&j.events, event.Envelope{Kind: event.Prediction, Headers: m.Header}, "", m.Data); refusal != nil {
		return // not ours, or the decoder fails: the next heartbeat tells which
	}
	for i := range j.events.Events {
		if at, ours := l.canaries.published(j.events.Events[i].ID); ours {
			j.seen = at
			if j.count(&j.events.Events[i], drift.Position{Seq: m.Seq, Time: m.Time}) {
				j.judged = at
			}
		}
	}
}

// count counts a canary and reports whether the rule fires for the one before it, whose
// window it closes.
func (j *canaryJudge) count(e *event.Event, pos drift.Position) (fires bool) {
	if j.engine.Add(e, pos) != drift.Counted || !j.engine.Pending() {
		return false
	}
	drained, err := j.engine.Drain()
	if err != nil {
		return false
	}
	judge := alert.Judge{Rules: j.rules}
	for i := range drained.Closings {
		c := &drained.Closings[i]
		if len(c.Windows) == 0 {
			continue // of the time between two canaries
		}
		view, err := judge.See(c, alert.ReferenceBaseline)
		if err != nil {
			return false
		}
		for f, err := range judge.Findings(c, view, func(*alert.Rule) map[alert.Series]alert.State { return j.states }) {
			if err != nil {
				return false
			}
			alert.Apply(j.states, f.Next)
			for _, s := range f.Next {
				fires = fires || s.Active()
			}
		}
	}
	return fires
}

// view is what a checkpoint makes durable of the canaries: how far they came.
func (j *canaryJudge) view() api.Watch {
	if j == nil {
		return api.Watch{}
	}
	return api.Watch{Seen: j.seen, Judged: j.judged}
}
