package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

// TestResume: a second reader goes on behind the anchor of the first, in the
// same epoch and without a word.
func TestResume(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, nil)
	publish(t, c, 1, 1000, one)

	first := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	first.has(1000)
	anchor := first.end()
	first.contiguous(1, 1000)
	if n := first.notice(0); n.Kind != stream.NewEpoch || n.Cause != stream.CauseFirst || n.To != 1 {
		t.Errorf("first notice %+v, want a first epoch at 1", n)
	}
	if anchor.Seq != 1000 || anchor.Created.IsZero() || anchor.Time == 0 {
		t.Errorf("anchor %+v", anchor)
	}

	publish(t, c, 1001, 500, one)
	second := read(t, c, anchor, stream.ReaderOptions{})
	second.has(500)
	second.end()
	second.contiguous(1001, 1500)
	if len(second.notices) != 0 {
		t.Errorf("notices after a plain resume: %+v", second.notices)
	}
}

// TestMessage: subject, headers, body and the server's timestamp arrive as stored.
func TestMessage(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, nil)
	publish(t, c, 7, 1, one)
	r := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{})
	for b := range r.out {
		for _, m := range b.Messages {
			stored, err := s.GetMsg(testContext(t), 1)
			must(t, err)
			if m.Seq != 1 || m.Time != stored.Time.UnixNano() || m.Subject != one(0) || string(m.Data) != "m7" {
				t.Errorf("message %+v, stored %+v", m, stored)
			}
			if got := m.Header.Get("Nats-Msg-Id"); !strings.HasPrefix(got, "prediction:") {
				t.Errorf("Nats-Msg-Id %q", got)
			}
			r.stop()
		}
		r.add(b)
	}
}

// TestCutsAndRestart: 30,000 messages over three TCP cuts and a server restart,
// published at the same time, arrive once and in order.
func TestCutsAndRestart(t *testing.T) {
	const n = 30_000 // ten times the window and more: cuts fall into running deliveries
	dir, port := t.TempDir(), freePort(t)
	e := embed(t, dir, port)
	direct := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
	input(t, direct, nil)
	proxy := cutter(t, e.URL())
	c := connect(t, stream.Options{URL: proxy.url(), MustConnect: true})
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})

	published := make(chan struct{})
	go func() {
		defer close(published)
		publish(t, direct, 1, n, one)
	}()
	for i := 1; i <= 3; i++ {
		r.has(i * n / 6)
		proxy.cut()
		eventually(t, "a session per cut", func() bool { return r.reader.Status().Sessions > uint64(i) && c.Status().Reconnects >= uint64(i) })
	}
	r.has(2 * n / 3)
	e.Shutdown()
	eventually(t, "not ready without a server", func() bool { return !r.reader.Status().Ready })
	embed(t, dir, port)
	<-published
	eventually(t, "a session after the restart", func() bool { return r.reader.Status().Sessions >= 5 && c.Status().Reconnects >= 4 })
	eventually(t, "the direct connection", func() bool { return direct.Status().Connected })
	s, err := direct.JetStream().Stream(testContext(t), "ML")
	must(t, err)
	total := s.CachedInfo().State.LastSeq // >= n: a repeat over the restart may be stored again
	if total < n {
		t.Fatalf("stream ends at %d, published %d", total, n)
	}
	r.has(int(total))
	r.end()
	r.contiguous(1, total)
	st := r.reader.Status()
	if st.Gaps != 0 || st.Epochs != 1 {
		t.Errorf("status %+v, want no gap and one epoch", st)
	}
}

// TestConsumerDeleted: somebody deletes our consumer; reading goes on.
func TestConsumerDeleted(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, nil)
	publish(t, c, 1, 100, one)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(100)
	for name := range s.ConsumerNames(testContext(t)).Name() {
		must(t, s.DeleteConsumer(testContext(t), name))
	}
	publish(t, c, 101, 100, one)
	r.has(200)
	r.end()
	r.contiguous(1, 200)
}

// TestBackpressure: nobody takes batches, so the reader stops pulling; later all
// messages are there. While blocked it survives a cut.
func TestBackpressure(t *testing.T) {
	e := embed(t, t.TempDir(), freePort(t))
	direct := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
	input(t, direct, nil)
	publish(t, direct, 1, 20_000, one) // four windows
	proxy := cutter(t, e.URL())
	c := connect(t, stream.Options{URL: proxy.url(), MustConnect: true})
	r := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{})
	received := func() uint64 { return r.reader.Status().Received }
	eventually(t, "the queue to fill", func() bool { return received() >= 512 })
	proxy.cut()
	eventually(t, "a second session", func() bool { st := r.reader.Status(); return st.Sessions >= 2 && st.Ready })
	// Two batches in the queue, one with the sender, one slot over for a notice.
	if got := received(); got > 4*256 {
		t.Errorf("received %d messages while nobody takes them, want at most 4 batches of 256", got)
	}
	go r.collect()
	r.has(20_000)
	r.end()
	r.contiguous(1, 20_000)
}

// TestAdaptiveBatches: alone, a message is handed over at once; a backlog comes in
// full batches, and large messages in batches bounded by bytes.
func TestAdaptiveBatches(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, nil)
	publish(t, c, 1, 10_000, one)
	r := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{})
	b := <-r.out
	// The sender holds the second batch, of any size; behind it the third fills up
	// before the fourth begins.
	behind := uint64(len(b.Messages) + 2*256 + 1)
	eventually(t, "a full queue", func() bool { return r.reader.Status().Received >= behind })
	r.add(b)
	r.add(<-r.out)
	if b = <-r.out; len(b.Messages) != 256 {
		t.Errorf("batch of %d in a backlog, want 256", len(b.Messages))
	}
	r.add(b)
	go r.collect()
	r.has(10_000)
	r.mu.Lock()
	if largest := slices.Max(r.sizes); largest != 256 {
		t.Errorf("largest batch %d, want 256", largest)
	}
	backlog := len(r.sizes)
	r.mu.Unlock()
	for i := range 20 {
		publish(t, c, i, 1, one)
		r.has(10_001 + i)
	}
	r.end()
	for _, n := range r.sizes[backlog:] {
		if n != 1 {
			t.Errorf("batch of %d in a quiet stream, want 1", n)
		}
	}
	// 5 ms is what a message waits for company when more are on their way.
	if quickest := slices.Min(r.delays[backlog:]); quickest >= 5*time.Millisecond {
		t.Errorf("hand-over in a quiet stream takes %s at best", quickest)
	}
}

// TestLargeMessages: 14.5 KB messages made a server drop clients with a window of
// 5,000 (64 MiB pending); bounded by bytes there is no reconnect.
func TestLargeMessages(t *testing.T) {
	e := embed(t, t.TempDir(), freePort(t))
	c := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
	input(t, c, nil)
	p, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{})
	must(t, err)
	body := make([]byte, 14_500)
	for i := range 6000 { // 87 MB: more than the server's 64 MiB
		must(t, p.Publish(testContext(t), stream.OutgoingEvent{Subject: one(i), Kind: "prediction", ID: string(rune(i + 0x10000)), Data: body}))
	}
	must(t, p.Flush(testContext(t)))
	p.Close()
	r := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{})
	eventually(t, "a blocked reader", func() bool { return r.reader.Status().Received >= 140 })
	seen := 0
	for b := range r.out {
		if b.Bytes > 1<<20+14_500 {
			t.Errorf("batch of %d bytes, want at most 1 MiB and one message", b.Bytes)
		}
		seen += len(b.Messages)
		b.Release()
		if seen == 6000 {
			r.stop()
		}
	}
	if st := c.Status(); st.Reconnects != 0 || r.reader.Status().Sessions != 1 || seen != 6000 {
		t.Errorf("%d messages, status %+v, reader %+v; want one session", seen, st, r.reader.Status())
	}
}

// TestNoLeak: after Run returns its goroutines are gone, also after failures.
func TestNoLeak(t *testing.T) {
	e := embed(t, t.TempDir(), freePort(t))
	proxy := cutter(t, e.URL())
	c := connect(t, stream.Options{URL: proxy.url(), MustConnect: true})
	input(t, c, nil)
	publish(t, c, 1, 2000, one)
	eventually(t, "quiet", func() bool { return c.NATS().NumSubscriptions() <= 1 })
	before := runtime.NumGoroutine()
	for range 3 {
		r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
		r.has(1000)
		proxy.cut()
		eventually(t, "a second session", func() bool { st := r.reader.Status(); return st.Sessions >= 2 && st.Ready })
		r.has(2000)
		r.end()
	}
	blocked := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{})
	eventually(t, "a blocked reader", func() bool { return blocked.reader.Status().Received >= 512 })
	blocked.end()
	const slack = 3 // the proxy's next pair and a timer of the server; a leaking Run would leave at least four
	settled := func() bool { return runtime.NumGoroutine() <= before+slack }
	for end := time.Now().Add(deadline); !settled() && time.Now().Before(end); {
		<-time.After(10 * time.Millisecond)
	}
	if !settled() {
		stacks := make([]byte, 1<<20)
		t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
	}
	eventually(t, "consumers to be deleted", func() bool {
		s, err := c.JetStream().Stream(testContext(t), "ML")
		return err == nil && s.CachedInfo().State.Consumers == 0
	})
}

// TestStopWithoutServer: Run returns at once although nobody answers.
func TestStopWithoutServer(t *testing.T) {
	e := embed(t, t.TempDir(), freePort(t))
	c := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
	input(t, c, nil)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	eventually(t, "ready", func() bool { return r.reader.Status().Ready })
	e.Shutdown()
	eventually(t, "not ready", func() bool { return !r.reader.Status().Ready && !c.Status().Connected })
	start := time.Now()
	r.end()
	if took := time.Since(start); took > 2*time.Second { // a fifth of the daemon's 10 s for its whole stop
		t.Errorf("Run returned after %s", took)
	}
}

// TestRefusals: what waiting cannot heal is an error of Run.
func TestRefusals(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, func(cfg *jetstream.StreamConfig) { cfg.Retention = jetstream.WorkQueuePolicy })
	var retention *stream.RetentionError
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	if err := <-r.done; !errors.As(err, &retention) {
		t.Errorf("work-queue stream: %v", err)
	}
	r = read(t, c, stream.Anchor{Stream: "OTHER", Seq: 5}, stream.ReaderOptions{})
	if err := <-r.done; err == nil || !strings.Contains(err.Error(), "OTHER") {
		t.Errorf("another stream's anchor: %v", err)
	}
	for name, o := range map[string]stream.ReaderOptions{
		"no stream":   {},
		"bad subject": {Stream: "ML", Subjects: []string{"ml..x"}},
		"bad window":  {Stream: "ML", WindowMessages: -1},
		"bad timing":  {Stream: "ML", CheckEvery: -1},
	} {
		if _, err := stream.NewReader(c, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// proxy passes TCP on to a server and can cut every connection.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    []net.Conn
}

func cutter(tb testing.TB, url string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	p := &proxy{listener: l, target: strings.TrimPrefix(url, "nats://")}
	go p.accept()
	tb.Cleanup(func() {
		_ = l.Close()
		p.cut()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = to.Close()
			_ = from.Close()
		}
		go pass(in, out)
		go pass(out, in)
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// copyDir saves a server's directory: an older state to come back to.
func copyDir(tb testing.TB, from string) string {
	tb.Helper()
	to := tb.TempDir()
	must(tb, os.CopyFS(to, os.DirFS(from)))
	return to
}
