package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// stopWithin is the promise: a graceful stop takes no longer (reliability.md R14).
const stopWithin = 10 * time.Second

// TestStopUnderLoad stops in the middle of the stream: everything applied is
// committed, and the next run goes on as if nothing had been.
func TestStopUnderLoad(t *testing.T) {
	s := newSweep(newWorld(t, hour()))
	want := s.end(s.copyOf(s.prepared))
	dir := s.copyOf(s.prepared)
	for _, at := range []uint64{1000, 4000, 9000} { // of about 15,000 messages
		st := open(t, dir)
		o := s.options(st)
		o.Checkpoint.Every = time.Hour // the last checkpoint is the stop's
		o.Checkpoint.Events = 700
		d, stop := s.start(o)
		s.until(func() bool { return d.Snapshot().Stream.CommittedSeq > at }, "message %d is committed", at)
		before, start := d.Snapshot().Stream.CommittedSeq, time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > stopWithin {
			t.Errorf("stopped in %v", took)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		p := s.progress(dir)
		if p.Seq < before {
			t.Errorf("%d committed after the stop, %d before it", p.Seq, before)
		}
		if shown := d.Snapshot().Stream.CommittedSeq; shown != p.Seq {
			t.Errorf("the API shows %d, the store has %d", shown, p.Seq)
		}
	}
	if diff := cmp.Diff(want, s.end(dir)); diff != "" {
		t.Errorf("stops changed the store (-without +with):\n%.3000s", diff)
	}
}

// hanging is a receiver that never answers.
type hanging struct {
	once   sync.Once
	called chan struct{}
}

func (h *hanging) Send(ctx context.Context, _ ledger.Delivery) error {
	h.once.Do(func() { close(h.called) })
	<-ctx.Done()
	return ctx.Err()
}

// TestStopWithAHangingReceiver owes an alert to somebody who never answers.
func TestStopWithAHangingReceiver(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	st := open(t, dir)
	o := w.options(st)
	h := &hanging{called: make(chan struct{})}
	o.Receivers[1].Sink = h
	o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0"})
	d, stop := w.start(o)
	w.caughtUp(d) // a dead receiver delays neither the loop
	<-h.called
	w.until(func() bool { return w.heard.len() >= 3 }, "the other receiver is told of all three models")
	start := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > stopWithin {
		t.Errorf("stopped in %v", took)
	}
	if n, _, err := st.Owed("people"); err != nil || n != 3 {
		t.Errorf("%d deliveries owed to the hanging receiver, want 3: %v", n, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, dir) // and the next start pays
	defer st.Close()
	o = w.options(st)
	d, stop = w.start(o)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "the debt is paid")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func (s *sink) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

// A proxy passes bytes on until it is frozen: connections stay open, nothing
// moves, as with a stopped server or a dropped route.
type proxy struct {
	net.Listener
	target string
	frozen chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, target: u.Host, frozen: make(chan struct{})}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(in, out) })
		p.wg.Go(func() { p.pass(out, in) })
	}
}

func (p *proxy) pass(from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-p.frozen: // read and forgotten
			continue
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestStopWithFrozenNATS cuts the network silently while dead letters are on
// their way, so that a checkpoint cannot be made: the stop does not wait for it,
// and the next run counts and tells everything once.
func TestStopWithFrozenNATS(t *testing.T) {
	w := newWorld(t, hour())
	s := newSweep(w)
	for n := range 200 {
		if _, err := w.conn.JetStream().Publish(t.Context(), "ml.predictions.fraud.41", []byte("{")); err != nil {
			t.Fatal(n, err)
		}
	}
	dir := s.copyOf(s.prepared)
	st := open(t, dir)
	p := newProxy(t, w.server.URL())
	conn, err := stream.Connect(stream.Options{URL: "nats://" + p.Addr().String(), MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	far := *w
	far.conn = conn
	o := far.options(st)
	o.DeadLetters = &freezing{DeadLetters: o.DeadLetters, freeze: sync.OnceFunc(func() { close(p.frozen) })}
	d, stop := far.start(o)
	<-p.frozen
	before, start := d.Snapshot().Stream.CommittedSeq, time.Now()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	conn.Close()
	if took := time.Since(start); took > stopWithin {
		t.Errorf("stopped in %v", took)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.progress(dir); got.Seq < before {
		t.Errorf("committed %d, shown was %d", got.Seq, before)
	}
	if err := s.run(dir, nil); err != nil {
		t.Fatal(err)
	}
	st = open(t, dir)
	defer st.Close()
	a := accountOf(t, st)
	if a.Invalid != 200 || a.Accepted != w.last()-200 {
		t.Errorf("account %+v, want 200 invalid and the rest accepted", a)
	}
	if a.Total(drift.Counted) != a.Accepted {
		t.Errorf("%d counted of %d: the freeze lost or doubled events", a.Total(drift.Counted), a.Accepted)
	}
}

// freezing freezes the network at the first dead letter.
type freezing struct {
	daemon.DeadLetters
	freeze func()
}

func (f *freezing) DeadLetter(now time.Time, d stream.DeadLetter) bool {
	f.freeze()
	return f.DeadLetters.DeadLetter(now, d)
}

// TestTwoDaemonsOnOneDirectory starts a second one, in a process of its own.
func TestTwoDaemonsOnOneDirectory(t *testing.T) {
	w := emptyWorld(t, hour())
	dir := t.TempDir()
	st := open(t, dir)
	defer st.Close()
	start := time.Now()
	p := order{Dir: dir, URL: w.server.URL(), Hook: "http://127.0.0.1:1"}.start(t)
	<-p.reported
	fault := p.end(t, 0)
	if took := time.Since(start); took > 5*time.Second || !strings.Contains(fault, store.ErrLocked.Error()) || !strings.Contains(fault, "stop it first") {
		t.Errorf("the second daemon said after %v: %q", took, fault)
	}
	if _, err := store.Open(dir, store.Options{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("open: %v, want ErrLocked", err)
	}
}

// TestDamagedCounters starts on books that do not balance.
func TestDamagedCounters(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 5*time.Minute)
	s := newSweep(w)
	sound := s.copyOf(s.prepared)
	if err := s.run(sound, nil); err != nil {
		t.Fatal(err)
	}
	good := s.progress(sound)
	for name, damage := range map[string]func(p *store.Progress){
		"one message too many": func(p *store.Progress) { p.Seq++ },
		"no counters":          func(p *store.Progress) { p.Counters = nil },
		"no account":           func(p *store.Progress) { p.Counters = json.RawMessage(`{"account":null}`) },
		"an empty account":     func(p *store.Progress) { p.Counters = json.RawMessage(`{}`) },
		"cut counters":         func(p *store.Progress) { p.Counters = json.RawMessage(`"accepted"`) },
		"another first":        func(p *store.Progress) { p.FirstSeq++ },
	} {
		t.Run(name, func(t *testing.T) {
			dir := s.copyOf(sound)
			p := good
			damage(&p)
			s.setProgress(dir, p)
			st := open(t, dir)
			defer st.Close()
			_, err := daemon.New(s.options(st))
			if !errors.Is(err, store.ErrDamaged) || strings.Contains(err.Error(), "\n") {
				t.Errorf("start on damaged counters: %v, want one line of ErrDamaged", err)
			}
		})
	}
}

var _ notify.Sink = (*hanging)(nil)
