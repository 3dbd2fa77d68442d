package daemon_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// beatEvery is the default of watch.every, and failsAt when a patient's organ fails.
const (
	beatEvery = 30 * time.Second
	failsAt   = 5 * time.Minute
)

// A patient is a whole daemon on a stream in memory, under synctest's clock. One
// notification is owed to people at failsAt, as it would be after an alert.
type patient struct {
	t *testing.T
	*daemon.Daemon
	options daemon.Options
	disk    disk

	deaf   atomic.Bool            // the stream delivers nothing
	hung   atomic.Pointer[string] // Probe does not return from this point
	healed chan struct{}          // closed at the end: what hangs goes on
	answer atomic.Pointer[func(context.Context) error]

	mu       sync.Mutex // guards the rest
	messages []stream.Message
	more     chan struct{}
	beats    []time.Time
	bodies   []string
}

// Run implements daemon.Source.
func (p *patient) Run(ctx context.Context, from stream.Anchor, out chan<- *stream.Batch) error {
	for seq := from.Seq + 1; ; {
		p.mu.Lock()
		more := p.more
		var fresh []stream.Message
		if !p.deaf.Load() {
			fresh = slices.Clone(p.messages[seq-1:])
		}
		p.mu.Unlock()
		if n := len(fresh); n > 0 {
			last := fresh[n-1]
			seq = last.Seq + 1
			select {
			case out <- &stream.Batch{Messages: fresh, Anchor: stream.Anchor{Stream: "ML", Seq: last.Seq, Time: last.Time}}:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

// publish stores a message on the subject of ticks.
func (p *patient) publish(_ context.Context, _ string, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, stream.Message{Seq: uint64(len(p.messages)) + 1, Time: time.Now().UnixNano(), Subject: tickSubject, Data: body})
	close(p.more)
	p.more = make(chan struct{})
	return nil
}

func (p *patient) status() stream.ReaderStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return stream.ReaderStatus{Ready: true, Stream: "ML", First: 1, Last: uint64(len(p.messages))}
}

func (p *patient) probe(point string) error {
	if at := p.hung.Load(); at != nil && *at == point {
		<-p.healed
	}
	return nil
}

func (p *patient) hang(point string) { p.hung.Store(&point) }

// Send implements notify.Sink, for people.
func (p *patient) Send(ctx context.Context, _ ledger.Delivery) error {
	if answer := p.answer.Load(); answer != nil {
		return (*answer)(ctx)
	}
	return nil
}

func (p *patient) answers(f func(context.Context) error) { p.answer.Store(&f) }

// RoundTrip implements http.RoundTripper: the dead man's switch.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats, p.bodies = append(p.beats, time.Now()), append(p.bodies, string(body))
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, err
}

// noLetters takes dead letters where there are none.
type noLetters struct{}

func (noLetters) DeadLetter(time.Time, stream.DeadLetter) bool { return false }
func (noLetters) Flush(context.Context) error                  { return nil }

// newPatient returns a daemon that runs until the bubble's test ends.
func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{t: t, healed: make(chan struct{}), more: make(chan struct{})}
	p.disk.free.Store(1 << 40)
	o := p.disk.options()
	o.MemTableBytes, o.Compactors = 8<<20, -1
	st, err := store.Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	owePeople(t, st, time.Now().Add(failsAt))
	beats, err := notify.NewHeartbeat(notify.HeartbeatOptions{URL: "https://switch.example/ping/secret", Client: &http.Client{Transport: p}})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := alert.CompileRoutes(alert.RouteSpec{Receiver: "people"}, []string{"people"})
	if err != nil {
		t.Fatal(err)
	}
	p.options = daemon.Options{
		Settings: daemon.Settings{
			Spec: drift.DefaultSpec(), Decoder: event.NewDecoder(nil, event.DefaultLimits), Routes: routes, ConfigHash: "test",
			Receivers: []notify.Receiver{{Name: "people", Sink: p}, {Name: "switch", Sink: beats}},
		},
		Store: st, Source: p, DeadLetters: noLetters{}, Status: p.status, Probe: p.probe, Tick: tickSubject,
		Watch: beatEvery, Canary: p.publish, Checkpoint: daemon.DefaultCheckpoint(), Version: "test", Log: zerolog.Nop(),
	}
	if p.Daemon, err = daemon.New(p.options); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Daemon.Run(ctx) }()
	t.Cleanup(func() {
		close(p.healed)
		p.disk.free.Store(1 << 40)
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// owePeople puts an alert into a store of which people are to hear at a time.
func owePeople(t *testing.T, st *store.Store, at time.Time) {
	t.Helper()
	var chain ledger.Chain
	e, err := chain.Append(ledger.Draft{Time: at, Kind: ledger.KindAlert, Body: ledger.Alert{Type: "alert", Status: "firing", Rule: "Drift", DedupKey: "drift"}})
	if err != nil {
		t.Fatal(err)
	}
	b := st.NewBatch()
	b.Append(e)
	b.Owe(ledger.Delivery{Receiver: "people", Entry: e, Seq: e.Seq, Order: "drift", IssuedAt: at, NextAt: at})
	b.PutProgress(store.Progress{Stream: "ML", Chain: chain})
	if err := st.Commit(b); err != nil {
		t.Fatal(err)
	}
}

// heard returns the heartbeats so far.
func (p *patient) heard() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.beats)
}

// unwell returns the organs that are not well.
func unwell(w api.Watch) (out []string) {
	for _, c := range w.Checks {
		if !c.OK {
			out = append(out, c.Organ)
		}
	}
	return out
}

// TestHeartbeatStops lets each organ fail in turn: the heartbeat stops within two
// intervals, and says nothing any more.
func TestHeartbeatStops(t *testing.T) {
	const slow = 5 * time.Minute // for a notification owed, see Vitals
	for name, organ := range map[string]struct {
		fail    func(p *patient)
		within  time.Duration // 0: two intervals
		unwell  string        // one of the organs that are named
		restart bool          // a restart can mend it, so the watchdog is not fed
	}{
		"the reader":    {fail: func(p *patient) { p.deaf.Store(true) }, unwell: api.OrganCanary, restart: true},
		"the loop":      {fail: func(p *patient) { p.hang(daemon.PointTold) }, unwell: api.OrganCanary, restart: true},
		"the committer": {fail: func(p *patient) { p.hang(daemon.PointCommitted) }, unwell: api.OrganCommit, restart: true},
		"the disk":      {fail: func(p *patient) { p.disk.free.Store(1 << 20) }, unwell: api.OrganDisk},
		"the evaluation": {fail: func(p *patient) {
			blind := p.options.Settings
			blind.Decoder = event.NewDecoder(nil, event.Limits{EventBytes: 8})
			if err := p.Reconfigure(p.t.Context(), daemon.Reconfiguration{Settings: blind}); err != nil {
				p.t.Error(err)
			}
		}, unwell: api.OrganRules},
		"a receiver that refuses": {fail: func(p *patient) {
			p.answers(func(context.Context) error {
				return &notify.Error{Reason: notify.ReasonRejected, Permanent: true, Err: errors.New("status 401")}
			})
		}, within: 2 * time.Second, unwell: api.OrganReceivers}, // at once: something is lost
		"a receiver that does not answer": {fail: func(p *patient) {
			p.answers(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		}, unwell: api.OrganReceivers},
		"the notifier": {fail: func(p *patient) {
			p.answers(func(context.Context) error { <-p.healed; return nil }) // a sink that never comes back
		}, within: slow + beatEvery, unwell: api.OrganNotifier},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPatient(t)
				time.Sleep(failsAt - time.Second)
				before := p.heard()
				if want := int((failsAt-2*beatEvery)/(beatEvery+pollEvery)) - 1; len(before) < want {
					t.Fatalf("%d heartbeats in the %s before, want at least %d; unwell: %v", len(before), failsAt, want, unwell(p.Snapshot().Watch))
				}
				failed := time.Now()
				organ.fail(p)
				time.Sleep(15 * time.Minute)
				within := cmp.Or(organ.within, 2*beatEvery+time.Second) // the notification is owed a second later
				beats := p.heard()
				if last := beats[len(beats)-1].Sub(failed); last > within {
					t.Errorf("the last heartbeat came %s after, want within %s", last, within)
				}
				if got := unwell(p.Snapshot().Watch); !slices.Contains(got, organ.unwell) {
					t.Errorf("unwell are %v, want %s among them", got, organ.unwell)
				}
				if stale := time.Since(p.LastProgress()) > time.Minute; stale != organ.restart {
					t.Errorf("the last progress was %s ago: stale %t, want %t", time.Since(p.LastProgress()), stale, organ.restart)
				}
			})
		})
	}
}

// pollEvery is how often a receiver's worker looks at what is owed.
const pollEvery = 5 * time.Second

// TestHeartbeatGoesOn: in half an hour without a fault no heartbeat is missing, and each
// tells what was checked.
func TestHeartbeatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t)
		time.Sleep(3*beatEvery + pollEvery) // two canaries must come back first
		for began := time.Now(); time.Since(began) < 30*time.Minute; time.Sleep(time.Second) {
			if got := unwell(p.Snapshot().Watch); len(got) > 0 {
				t.Fatalf("after %s unwell are %v", time.Since(began), got)
			}
		}
		beats := p.heard()
		for i := 1; i < len(beats); i++ {
			if gap := beats[i].Sub(beats[i-1]); gap < beatEvery || gap > beatEvery+pollEvery {
				t.Errorf("heartbeat %d came %s after the one before, want %s to %s", i, gap, beatEvery, beatEvery+pollEvery)
			}
		}
		if want := 50; len(beats) < want { // 1,800 s in steps of 35 s at most
			t.Errorf("%d heartbeats, want at least %d", len(beats), want)
		}
		for _, part := range []string{`"status":"ok"`, `"interval_s":30`, `{"organ":"canary","ok":true,"detail":"the last canary that came back was published `} {
			if !strings.Contains(p.bodies[0], part) {
				t.Errorf("the body lacks %s: %s", part, p.bodies[0])
			}
		}
		s := p.Snapshot()
		if err := s.Account.Balance(s.Stream.CommittedSeq); err != nil {
			t.Error(err)
		}
		if s.Account.Decoded != 0 || s.Account.Filtered != s.Stream.CommittedSeq || len(s.Models) != 0 || len(s.Alerts) != 0 {
			t.Errorf("canaries show: %d decoded, %d of %d filtered, %d models, %d alerts", s.Account.Decoded, s.Account.Filtered, s.Stream.CommittedSeq, len(s.Models), len(s.Alerts))
		}
		if entries, err := p.Entries(0, 10); err != nil || len(entries) != 1 {
			t.Errorf("%d entries in the ledger (%v), want the one that was there", len(entries), err)
		}
	})
}

// TestHeartbeatComesBack: a failure that is over lets heartbeats go on.
func TestHeartbeatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(t)
		p.answers(func(context.Context) error { return errors.New("connection refused") })
		time.Sleep(failsAt + 4*beatEvery)
		n := len(p.heard())
		time.Sleep(4 * beatEvery)
		if got := len(p.heard()); got != n {
			t.Fatalf("%d heartbeats while a receiver fails", got-n)
		}
		p.answers(func(context.Context) error { return nil })
		time.Sleep(5*time.Minute + 2*beatEvery) // the longest wait for a retry
		if got := len(p.heard()); got == n {
			t.Errorf("none since the receiver answers; unwell: %v", unwell(p.Snapshot().Watch))
		}
	})
}
