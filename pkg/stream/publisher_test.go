package stream_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

func publisher(t *testing.T, c *stream.Conn, o stream.PublisherOptions) *stream.Publisher {
	t.Helper()
	_, err := stream.EnsureStream(testContext(t), c.JetStream(), stream.SignalStream())
	must(t, err)
	p, err := stream.NewPublisher(c, o)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// stored returns message seq of the signal stream.
func stored(t *testing.T, c *stream.Conn, seq uint64) *jetstream.RawStreamMsg {
	t.Helper()
	s, err := c.JetStream().Stream(testContext(t), "DRIFTD")
	must(t, err)
	m, err := s.GetMsg(testContext(t), seq)
	must(t, err)
	return m
}

// TestSignal: a signal is stored once however often it is published.
func TestSignal(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	p := publisher(t, c, stream.PublisherOptions{})
	s := stream.Signal{
		Subject: "driftd.triggers.rollback.fraud", ID: "rollback-1", Body: []byte(`{"id":"rollback-1"}`),
		Header: map[string]string{"Traceparent": "00-1\r\nNats-Msg-Id: forged"},
	}
	for i := range 3 {
		ack, err := p.Signal(testContext(t), s)
		must(t, err)
		if want := (stream.Ack{Stream: "DRIFTD", Seq: 1, Duplicate: i > 0}); ack != want {
			t.Errorf("publish %d: %+v, want %+v", i, ack, want)
		}
	}
	m := stored(t, c, 1)
	if m.Subject != s.Subject || m.Header.Get(nats.MsgIdHdr) != "rollback-1" || m.Header.Get("Traceparent") != "00-1Nats-Msg-Id: forged" {
		t.Errorf("stored %s %v", m.Subject, m.Header)
	}
	if _, err := p.Signal(testContext(t), stream.Signal{Subject: "elsewhere", ID: "x"}); err == nil {
		t.Error("a subject without a stream: no error")
	}
}

// TestDeadLetter: subject, headers and body by mode.
func TestDeadLetter(t *testing.T) {
	body := []byte(`{"id":` + strings.Repeat("x", 70_000)) // longer than the cut at 65,536
	sum := sha256.Sum256(body)
	for name, c := range map[string]struct {
		mode stream.BodyMode
		want string
		cut  string
	}{
		"full":    {stream.BodyFull, string(body[:64<<10]), fmt.Sprint(len(body))},
		"hash":    {stream.BodyHash, hex.EncodeToString(sum[:]), ""},
		"none":    {stream.BodyNone, "", ""},
		"default": {"", hex.EncodeToString(sum[:]), ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := inProcess(t, embed(t, t.TempDir(), 0))
			p := publisher(t, conn, stream.PublisherOptions{Body: c.mode, Rate: 10})
			d := stream.DeadLetter{
				Reason: "decode", Detail: "line 1:\r\n\tnot JSON\xff" + strings.Repeat("y", 2000), Stream: "ML", Epoch: 2, Seq: 77, Row: 3, Data: body,
			}
			now := time.Unix(1_767_225_600, 0) // 2026-01-01: any second
			for range 2 {                      // a repeat after a crash
				if !p.DeadLetter(now, d) {
					t.Fatal("not sent")
				}
			}
			must(t, p.Flush(testContext(t)))
			if got := p.Counters(); got != (stream.PublishCounters{Sent: 2, Acked: 2, Duplicates: 1}) {
				t.Errorf("counters %+v", got)
			}
			m := stored(t, conn, 1)
			if m.Subject != "driftd.dlq.decode" || string(m.Data) != c.want {
				t.Errorf("stored %s, %d bytes, want %d", m.Subject, len(m.Data), len(c.want))
			}
			want := map[string]string{
				stream.HeaderReason: "decode", stream.HeaderStream: "ML", stream.HeaderSeq: "77", stream.HeaderCut: c.cut, nats.MsgIdHdr: "ML:2:77#3",
			}
			for k, v := range want {
				if got := m.Header.Get(k); got != v {
					t.Errorf("%s = %q, want %q", k, got, v)
				}
			}
			detail := m.Header.Get(stream.HeaderDetail)
			if !strings.HasPrefix(detail, "line 1:\tnot JSON\uFFFDyyy") || len(detail) > 1<<10+3 {
				t.Errorf("detail of %d bytes %.40q", len(detail), detail)
			}
		})
	}
}

// TestDeadLetterRate: above the rate of a second letters are counted, not sent;
// the next second sends again.
func TestDeadLetterRate(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	p := publisher(t, c, stream.PublisherOptions{Rate: 5})
	now := time.Unix(1_767_225_600, 0)
	sent := 0
	for i := range 20 { // two seconds of ten letters: five each go
		if p.DeadLetter(now.Add(time.Duration(i/10)*time.Second), stream.DeadLetter{Reason: "a.b c", Stream: "ML", Seq: uint64(i), Row: -1}) {
			sent++
		}
	}
	must(t, p.Flush(testContext(t)))
	if sent != 10 || p.Withheld() != 10 || p.Counters().Acked != 10 {
		t.Errorf("sent %d, withheld %d, %+v; want 10 and 10", sent, p.Withheld(), p.Counters())
	}
	if m := stored(t, c, 1); m.Subject != "driftd.dlq.a_b_c" || m.Header.Get(nats.MsgIdHdr) != "ML:0:0#-1" {
		t.Errorf("stored %s %v", m.Subject, m.Header)
	}
	off := publisher(t, c, stream.PublisherOptions{Rate: 0})
	if off.DeadLetter(now, stream.DeadLetter{Reason: "decode"}) {
		t.Error("rate 0 sent a letter")
	}
	if _, err := stream.NewPublisher(c, stream.PublisherOptions{Body: "whole", Pending: -1}); err == nil {
		t.Error("bad options: no error")
	}
}

// TestPublisherRetry: over a cut and an absence of the server every event is
// stored once, by its Nats-Msg-Id.
func TestPublisherRetry(t *testing.T) {
	const n = 5000
	dir, port := t.TempDir(), freePort(t)
	e := embed(t, dir, port)
	direct := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
	input(t, direct, nil)
	proxy := cutter(t, e.URL())
	c := connect(t, stream.Options{URL: proxy.url(), MustConnect: true})
	p, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{Window: 64, Pause: 10 * time.Millisecond, Attempts: 100})
	must(t, err)
	defer p.Close()
	for i := range n {
		switch i {
		case n / 3:
			proxy.cut()
		case n / 2:
			e.Shutdown()
			eventually(t, "the cut", func() bool { return !c.Status().Connected })
			e = embed(t, dir, port)
		}
		must(t, p.Publish(testContext(t), stream.OutgoingEvent{
			Subject: one(i), Kind: "prediction", ID: fmt.Sprint(i), Data: []byte("x"), Header: nats.Header{"Publisher": {"test"}},
		}))
	}
	must(t, p.Flush(testContext(t)))
	got := p.Counters()
	if got.Sent != n || got.Acked != n || got.Failed != 0 || got.Retried == 0 {
		t.Errorf("counters %+v, want %d sent and acked, some retried", got, n)
	}
	s, err := direct.JetStream().Stream(testContext(t), "ML")
	eventually(t, "the direct connection", func() bool {
		s, err = direct.JetStream().Stream(testContext(t), "ML")
		return err == nil
	})
	if last := s.CachedInfo().State.LastSeq; last != n {
		t.Errorf("stream holds %d messages, want %d", last, n)
	}
}

// TestPublisherGivesUp: bounded attempts end in a counted failure and one error.
func TestPublisherGivesUp(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, func(cfg *jetstream.StreamConfig) { cfg.MaxMsgSize = 100 }) // bytes, headers included
	p, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{Pause: time.Millisecond, Attempts: 3, Window: 4})
	must(t, err)
	defer p.Close()
	for i := range 8 {
		e := stream.OutgoingEvent{Subject: one(i), Kind: "kpi", ID: fmt.Sprint(i), Data: []byte("short")}
		if i%2 == 1 {
			e.Data = make([]byte, 200)
		}
		must(t, p.Publish(testContext(t), e))
	}
	err = p.Flush(testContext(t))
	if err == nil || !strings.Contains(err.Error(), "publish kpi:") || !strings.Contains(err.Error(), "attempt 3") {
		t.Errorf("flush: %v", err)
	}
	// Four of eight are too long; each is sent twice more.
	if got := p.Counters(); got != (stream.PublishCounters{Sent: 8, Acked: 4, Failed: 4, Retried: 8}) {
		t.Errorf("counters %+v", got)
	}
	must(t, p.Flush(testContext(t))) // the failure is reported once
	if _, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{Window: -1}); err == nil {
		t.Error("bad options: no error")
	}
}

// TestFlushEnds: a flush without a server ends with its context, and what it
// could not send is sent later.
func TestFlushEnds(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	e := embed(t, dir, port)
	c := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
	p := publisher(t, c, stream.PublisherOptions{Rate: -1, Pending: 2})
	e.Shutdown()
	eventually(t, "the cut", func() bool { return !c.Status().Connected })
	for i := range 3 {
		d := stream.DeadLetter{Reason: "schema", Stream: "ML", Seq: uint64(i)}
		if sent := p.DeadLetter(time.Unix(0, 0), d); sent != (i < 2) {
			t.Errorf("letter %d: %v; two are the bound", i, sent)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := p.Flush(ctx); err == nil {
		t.Error("flush without a server: no error")
	}
	embed(t, dir, port)
	must(t, p.Flush(testContext(t)))
	if got := p.Counters(); got.Acked != 2 {
		t.Errorf("counters %+v, want 2 stored", got)
	}
}

// TestStatus: permission errors and lost connections are counted, and a
// connection without a server heals when one appears.
func TestStatus(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	c := connect(t, stream.Options{URL: fmt.Sprintf("nats://127.0.0.1:%d", port)})
	if c.Status().Connected {
		t.Error("connected to nobody")
	}
	e := embed(t, dir, port)
	eventually(t, "the first connection", func() bool { return c.Status().Connected })
	if got := c.Status().URL; got != e.URL() {
		t.Errorf("url %q, want %q", got, e.URL())
	}
	e.Shutdown()
	eventually(t, "a recorded error", func() bool { st := c.Status(); return !st.Connected && st.LastError != "" && !st.LastErrorAt.IsZero() })
}

// TestEmbeddedPortInUse: who has a NATS server there already is told so at once, and
// not after the server was waited for.
func TestEmbeddedPortInUse(t *testing.T) {
	first, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"})
	must(t, err)
	t.Cleanup(first.Shutdown)
	u, err := url.Parse(first.URL())
	must(t, err)
	port, err := strconv.Atoi(u.Port())
	must(t, err)
	second, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1", Port: port, Ready: time.Hour})
	if err == nil {
		second.Shutdown()
	}
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second server on port %d: %v", port, err)
	}
}

// TestEmbeddedLog: the server's lines reach the callback, and starting is quick.
func TestEmbeddedLog(t *testing.T) {
	var mu sync.Mutex
	lines := map[string]int{}
	start := time.Now()
	e, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Log: func(level, message string) {
		mu.Lock()
		defer mu.Unlock()
		lines[level]++
	}})
	must(t, err)
	if took := time.Since(start); took > time.Second { // measured: 10 ms
		t.Errorf("ready after %s", took)
	}
	if e.URL() != "" {
		t.Errorf("url %q of a server without a socket", e.URL())
	}
	e.Shutdown()
	e.Shutdown()
	mu.Lock()
	defer mu.Unlock()
	if lines["info"] == 0 || lines["fatal"] != 0 {
		t.Errorf("log lines by level: %v", lines)
	}
}
