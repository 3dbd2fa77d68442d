package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
	"driftd.dev/driftd/pkg/summary"
)

// Closed windows are published from the store: what is kept beside them is how far each
// size of each model has been, and that is what a restart goes on from. So nothing waits
// in memory or twice on the disk, however long NATS is away, and counting waits for
// nobody. The loop owns the marks: it makes one in the transaction of the first window
// that is to be published, and moves it in the checkpoint behind a PubAck.

// Summaries say which closed windows are published.
type Summaries struct {
	Sizes    func(model string) []time.Duration // nil: none
	MinCount uint64                             // summary.Options.MinCount
}

func (s Summaries) wants(model string, size time.Duration) bool {
	if s.Sizes == nil {
		return false
	}
	return slices.Contains(s.Sizes(model), size)
}

// marks of windows: up to where those of a model and a size are published.
type windowMarks map[string]map[time.Duration]time.Time

func (m windowMarks) clone() windowMarks {
	out := make(windowMarks, len(m))
	for model, sizes := range m {
		out[model] = maps.Clone(sizes)
	}
	return out
}

func (m windowMarks) set(model string, size time.Duration, through time.Time) {
	if m[model] == nil {
		m[model] = map[time.Duration]time.Time{}
	}
	m[model][size] = through
}

// publishing keeps the mark of what has closed: there is one from the first window that
// is to be published until none is.
func (l *loop) publishing(c *drift.Closing) {
	_, marked := l.published[c.Model][c.Size]
	switch wanted := l.Summaries.wants(c.Model, c.Size); {
	case wanted && !marked:
		l.published.set(c.Model, c.Size, c.Start)
	case !wanted && marked:
		if delete(l.published[c.Model], c.Size); len(l.published[c.Model]) == 0 {
			delete(l.published, c.Model)
		}
	}
}

// takePublished moves the marks behind what NATS has confirmed.
func (l *loop) takePublished() {
	for model, sizes := range l.herald.take() {
		for size, through := range sizes {
			if at, marked := l.published[model][size]; marked && through.After(at) {
				l.published.set(model, size, through)
			}
		}
	}
}

// A herald is what the publisher of windows and the loop share.
type herald struct {
	wake chan struct{}

	committed atomic.Pointer[windowMarks] // as the last commit has them
	published atomic.Uint64               // messages confirmed
	failed    atomic.Uint64               // attempts that were not
	refused   atomic.Uint64               // messages that the server will never take
	expired   atomic.Uint64               // windows that retention took before they were published

	mu    sync.Mutex
	fresh windowMarks // confirmed, and not yet taken by the loop; guarded by mu
}

func newHerald() *herald { return &herald{wake: make(chan struct{}, 1), fresh: windowMarks{}} }

// commit hands over the marks of a commit.
func (h *herald) commit(m windowMarks) {
	h.committed.Store(&m)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// through notes how far NATS has confirmed.
func (h *herald) through(model string, size time.Duration, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fresh.set(model, size, t)
}

// waiting reports whether the loop has marks to take.
func (h *herald) waiting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.fresh) > 0
}

func (h *herald) take() windowMarks {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.fresh
	h.fresh = windowMarks{}
	return out
}

// Bounds of the wait after a window that could not be published; it doubles in between.
const (
	firstHeraldWait = time.Second
	lastHeraldWait  = time.Minute
)

// publishWindows publishes what has closed until ctx ends.
func (d *Daemon) publishWindows(ctx context.Context) error {
	if d.Publish == nil || !d.proven(ctx) {
		return nil
	}
	p := &windowPublisher{Daemon: d, done: windowMarks{}}
	for wait := time.Duration(0); ; {
		err := p.round(ctx)
		switch {
		case errors.Is(err, errUnpublished):
			if wait == 0 && ctx.Err() == nil {
				d.Log.Warn().Err(err).Msg("a closed window could not be published; it waits in the store, and is tried again")
			}
			wait = min(max(2*wait, firstHeraldWait), lastHeraldWait)
		case err != nil:
			return err
		default:
			wait = 0
		}
		if !d.herald.rest(ctx, wait) {
			return nil
		}
	}
}

// rest waits for something to publish, or for the time until a failed attempt is made
// again; false: ctx has ended.
func (h *herald) rest(ctx context.Context, wait time.Duration) bool {
	if wait == 0 {
		select {
		case <-h.wake:
			return true
		case <-ctx.Done():
			return false
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errUnpublished is wrapped where NATS did not take a window.
var errUnpublished = errors.New("not published")

// A windowPublisher goes through what has closed.
type windowPublisher struct {
	*Daemon
	done windowMarks // further than the committed ones by what the loop has not committed yet
	next int         // the model that a round begins with
}

// round publishes what has closed since the last one. Behind a failure the next round
// begins with the model after it: one whose subject NATS refuses does not keep the others.
func (p *windowPublisher) round(ctx context.Context) error {
	s, marks, settings := p.snapshot.Load(), *p.herald.committed.Load(), p.settings.Load()
	for range s.Models {
		m := &s.Models[p.next%len(s.Models)]
		p.next = (p.next + 1) % len(s.Models)
		for size, from := range marks[m.Model] {
			if done := p.done[m.Model][size]; done.After(from) {
				from = done
			}
			if !settings.Summaries.wants(m.Model, size) {
				continue
			}
			if err := p.catchUp(ctx, s, m, size, p.kept(m, size, from, settings.Retention)); err != nil {
				return err
			}
		}
	}
	return nil
}

// kept returns from, or the start of the first window behind it that retention can not
// have taken. A publisher that is so far behind must not stop for it.
func (p *windowPublisher) kept(m *api.Model, size time.Duration, from time.Time, r store.Retention) time.Time {
	keep := keptFor(size, r)
	left := drift.WindowStart(m.Watermark.Add(-keep), size).Add(size)
	if keep <= 0 || !from.Before(left) {
		return from
	}
	n := left.Sub(from) / size
	p.herald.expired.Add(uint64(n))
	p.Log.Error().Str("model", m.Model).Dur("size", size).Int64("windows", int64(n)).Time("from", from).Msg("closed windows were not published while they were kept")
	return left
}

// keptFor returns how long windows of a size can be read; 0: for ever.
func keptFor(size time.Duration, r store.Retention) time.Duration {
	switch {
	case size%store.DaySize == 0:
		return r.Days
	case size%drift.RollupSize == 0:
		return r.Hours
	}
	return r.Panes
}

// catchUp publishes the windows of one model and size from a time on, as far as the
// snapshot's watermark. It reads those of one time after another, however far behind it
// is: the groups of one window are in memory where it closes, too.
func (p *windowPublisher) catchUp(ctx context.Context, s *api.Snapshot, m *api.Model, size time.Duration, from time.Time) error {
	end := drift.WindowStart(m.Watermark, size)
	for from.Before(end) && ctx.Err() == nil {
		to := from.Add(size)
		windows, err := p.Windows(api.Query{Model: m.Model, From: from, To: to, Size: size, Segments: true})
		if err != nil {
			return err
		}
		for _, w := range windows {
			if err := p.tell(ctx, s, w); err != nil {
				return err
			}
		}
		p.done.set(m.Model, size, to)
		p.herald.through(m.Model, size, to)
		from = to
	}
	return nil
}

// tell publishes one window.
func (p *windowPublisher) tell(ctx context.Context, s *api.Snapshot, w *drift.Window) error {
	messages, err := summary.Build(w, p.Compare(w), summary.Options{
		MinCount: p.settings.Load().Summaries.MinCount, Stream: s.Stream.Name, Epoch: s.Epoch,
	})
	if err != nil {
		return err
	}
	subject := "driftd.windows." + notify.Token(w.Group.Model)
	for _, m := range messages {
		err := p.Publish(ctx, subject, m.ID, m.Body)
		switch {
		case err == nil:
			p.herald.published.Add(1)
		case stream.TooLarge(err):
			p.herald.refused.Add(1)
			p.Log.Error().Err(err).Str("model", w.Group.Model).Time("start", w.Start).Time("end", w.End).Int("bytes", len(m.Body)).
				Msg("a closed window is larger than NATS takes and is left out; raise max_payload of the server, and max_msg_size of the stream DRIFTD")
		default:
			p.herald.failed.Add(1)
			return fmt.Errorf("window %s of model %s: %w: %w", w.Start.Format(time.RFC3339), w.Group.Model, errUnpublished, err)
		}
	}
	return nil
}

// published says how the publication of windows does.
func (d *Daemon) published(s *api.Snapshot) api.Published {
	h, marks, wanted := d.herald, *d.herald.committed.Load(), d.settings.Load().Summaries
	out := api.Published{Sent: h.published.Load(), Failed: h.failed.Load(), Refused: h.refused.Load(), Expired: h.expired.Load()}
	for i := range s.Models {
		m := &s.Models[i]
		for size, through := range marks[m.Model] {
			if closed := drift.WindowStart(m.Watermark, size); closed.After(through) && wanted.wants(m.Model, size) {
				out.Pending += uint64(closed.Sub(through) / size)
			}
		}
	}
	return out
}
