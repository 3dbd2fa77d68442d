package daemon

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// Heartbeats go the way of every notification, through the dispatcher and a receiver's
// worker, but for the outbox: what is owed to a receiver of heartbeats is computed when
// its worker looks, from how driftd is at that moment, and nothing of it is durable. A
// dispatcher that does not run sends none, and a late one is never sent.

// heartbeatKind is the kind of receivers of heartbeats.
const heartbeatKind = "heartbeat"

// unwellFor is how soon a worker may ask again while driftd is not well: an answer is
// not free, and every commit wakes the workers.
const unwellFor = time.Second

// A pulse holds what is known of receivers, of heartbeats and others.
type pulse struct {
	mu       sync.Mutex          // guards the rest
	beats    map[string]*beat    // by receiver of heartbeats
	troubles map[string]*Trouble // by other receivers
	last     time.Time           // of the last heartbeat that was confirmed
}

// A beat says when a receiver of heartbeats gets its next one.
type beat struct {
	seq    uint64
	failed int // attempts since the last that was confirmed
	next   time.Time
}

func newPulse() *pulse {
	return &pulse{beats: map[string]*beat{}, troubles: map[string]*Trouble{}}
}

// observe hears of an attempt to tell a receiver of anything else.
func (p *pulse) observe(a notify.Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.Outcome.Err == nil {
		delete(p.troubles, a.Receiver)
		return
	}
	if a.Outcome.Reason == notify.ReasonStore {
		return // ours, not the receiver's
	}
	t := p.troubles[a.Receiver]
	if t == nil {
		t = &Trouble{Receiver: a.Receiver, Since: time.Now()}
		p.troubles[a.Receiver] = t
	}
	t.GivenUp, t.Reason = t.GivenUp || a.Outcome.Result == notify.Dead, string(a.Outcome.Reason)
}

// forgive forgets a receiver's failures, or all of them for "": it was tried, or it may
// be another since.
func (p *pulse) forgive(receiver string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if receiver == "" {
		clear(p.troubles)
	}
	delete(p.troubles, receiver)
}

// state returns the troubles of receivers, by name, and when a heartbeat was confirmed.
func (p *pulse) state() (troubles []Trouble, last time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.troubles {
		troubles = append(troubles, *t)
	}
	slices.SortFunc(troubles, func(a, b Trouble) int { return strings.Compare(a.Receiver, b.Receiver) })
	return troubles, p.last
}

// due begins the next heartbeat of a receiver if it is time for one.
func (p *pulse) due(receiver string, now time.Time, well func() bool) (beat, bool) {
	p.mu.Lock()
	b := p.beats[receiver]
	if b == nil {
		b = &beat{}
		p.beats[receiver] = b
	}
	early := now.Before(b.next)
	p.mu.Unlock()
	if early {
		return beat{}, false
	}
	ok := well() // without the lock: it asks for our state
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok {
		b.next = now.Add(unwellFor)
		return beat{}, false
	}
	b.seq++
	return *b, true
}

// settle notes what came of a heartbeat.
func (p *pulse) settle(receiver string, o notify.Outcome, now time.Time, every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.beats[receiver]
	switch o.Result {
	case notify.Delivered:
		b.failed, b.next, p.last = 0, now.Add(every), now
	case notify.Retry:
		b.failed, b.next = b.failed+1, o.At
	case notify.Dead:
		b.next = now.Add(every) // it may have been set right by then
	}
}

// A pulseOutbox owes heartbeats, beside what the store owes.
type pulseOutbox struct {
	outbox
	d *Daemon
}

// maxBeatAttempt bounds the wait after failures, which doubles with each attempt: a
// switch that is back hears of driftd within half a minute.
const maxBeatAttempt = 5

// Due implements notify.Outbox.
func (o pulseOutbox) Due(receiver string, now time.Time, limit int, latest bool) ([]ledger.Delivery, error) {
	if !o.d.beats(receiver) {
		return o.outbox.Due(receiver, now, limit, latest)
	}
	var s *api.Snapshot
	b, ok := o.d.pulse.due(receiver, now, func() bool { s = o.d.Snapshot(); return s.Watch.Healthy() })
	if !ok {
		return nil, nil
	}
	body, err := heartbeatBody(s)
	if err != nil {
		return nil, err
	}
	e := ledger.Entry{ID: heartbeatKind + ":" + receiver + ":" + strconv.FormatUint(b.seq, 10), Time: s.At.UTC(), Kind: heartbeatKind, Body: body}
	return []ledger.Delivery{{
		Receiver: receiver, Entry: e, Seq: b.seq, Order: heartbeatKind, IssuedAt: s.At.UTC(), Attempt: min(b.failed, maxBeatAttempt),
	}}, nil
}

// Settle implements notify.Outbox.
func (o pulseOutbox) Settle(d ledger.Delivery, out notify.Outcome) error {
	if d.Entry.Kind != heartbeatKind {
		return o.outbox.Settle(d, out)
	}
	o.d.pulse.settle(d.Receiver, out, time.Now(), o.d.canaries.every)
	return nil
}

// Owed implements notify.Outbox.
func (o pulseOutbox) Owed(receiver string) (int, time.Time, error) {
	if o.d.beats(receiver) {
		return 0, time.Time{}, nil
	}
	return o.outbox.Owed(receiver)
}

// heartbeatBody is what a heartbeat says: what was checked, and found well.
func heartbeatBody(s *api.Snapshot) (json.RawMessage, error) {
	body, err := json.Marshal(struct {
		Status   string      `json:"status"`
		At       time.Time   `json:"at"`
		Version  string      `json:"version"`
		StoreID  string      `json:"store_id"`
		Stream   string      `json:"stream"`
		Interval float64     `json:"interval_s"`
		Checks   []api.Check `json:"checks"`
	}{"ok", s.At.UTC(), s.Version, s.StoreID, s.Stream.Name, s.Watch.Every.Seconds(), s.Watch.Checks})
	if err != nil {
		return nil, fmt.Errorf("encode a heartbeat: %w", err)
	}
	return body, nil
}

// beats reports whether a receiver gets heartbeats, and nothing else.
func (d *Daemon) beats(receiver string) bool { return d.kind(receiver) == heartbeatKind }

// examine completes what a snapshot says of how driftd watches itself.
func (d *Daemon) examine(s *api.Snapshot) {
	c := d.canaries
	if c.every <= 0 {
		return
	}
	troubles, last := d.pulse.state()
	troubles = slices.DeleteFunc(troubles, func(t Trouble) bool { return d.kind(t.Receiver) == "" }) // a reload has removed it
	s.Heartbeat = last
	s.Watch.Every, s.Watch.Sent, s.Watch.Failed, s.Watch.RoundTrip = c.every, c.sent.Load(), c.failed.Load(), time.Duration(c.roundTrip.Load())
	s.Watch.Checks = Vitals{
		Now: s.At, Every: c.every, Canary: s.Watch.Seen, Judged: s.Watch.Judged, LastCommit: s.LastCommit,
		Lag: max(s.Stream.LastSeq, s.Stream.CommittedSeq) - s.Stream.CommittedSeq, Oldest: s.Notifier.Oldest, Troubles: troubles,
		Disk: s.Disk.State, Reloaded: s.Config.LastReloadOK, Verified: d.trusted(),
	}.Checks()
}
