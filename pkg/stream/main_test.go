package stream_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

// serverDir in the environment turns the test binary into a JetStream server, so
// that benchmarks measure a client without a server's work in its process.
const serverDir = "DRIFTD_STREAM_TEST_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverDir); dir != "" {
		e, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: dir, Listen: "127.0.0.1"})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(e.URL())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
		e.Shutdown()
		return
	}
	os.Exit(m.Run())
}

// serverProcess starts this binary as a server and returns its URL.
func serverProcess(tb testing.TB) string {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverDir+"="+tb.TempDir())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(tb, err)
	stdout, err := cmd.StdoutPipe()
	must(tb, err)
	must(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line := make([]byte, 256)
	n, err := stdout.Read(line)
	must(tb, err)
	return strings.TrimSpace(string(line[:n]))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// deadline bounds every wait of a test; nothing waits that long in a good run.
const deadline = 20 * time.Second

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*deadline)
	tb.Cleanup(cancel)
	return ctx
}

// eventually polls a condition that has no event to wait for.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(deadline); !ok(); {
		if time.Now().After(end) {
			tb.Fatalf("waited %s for: %s", deadline, what)
		}
		runtime.Gosched()
		<-time.After(2 * time.Millisecond)
	}
}

// embed starts a server in the test's process. port 0 = in-process only.
func embed(tb testing.TB, dir string, port int) *stream.Embedded {
	tb.Helper()
	o := stream.EmbeddedOptions{Dir: dir}
	if port != 0 {
		o.Listen, o.Port = "127.0.0.1", port
	}
	e, err := stream.StartEmbedded(o)
	must(tb, err)
	tb.Cleanup(e.Shutdown)
	return e
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func inProcess(tb testing.TB, e *stream.Embedded) *stream.Conn {
	tb.Helper()
	return connect(tb, stream.Options{InProcess: e, MustConnect: true})
}

func connect(tb testing.TB, o stream.Options) *stream.Conn {
	tb.Helper()
	c, err := stream.Connect(o)
	must(tb, err)
	tb.Cleanup(c.Close)
	return c
}

// input makes the default input stream.
func input(tb testing.TB, c *stream.Conn, change func(*jetstream.StreamConfig)) jetstream.Stream {
	tb.Helper()
	cfg := jetstream.StreamConfig{Name: "ML", Subjects: []string{"ml.>"}, AllowDirect: true}
	if change != nil {
		change(&cfg)
	}
	s, err := c.JetStream().CreateOrUpdateStream(testContext(tb), cfg)
	must(tb, err)
	return s
}

// rounds keeps the ids of different calls of publish apart.
var rounds atomic.Int64

// publish stores n messages "m<i>", i from first, on subject(i).
func publish(tb testing.TB, c *stream.Conn, first, n int, subject func(int) string) {
	tb.Helper()
	p, err := stream.NewEventPublisher(c, stream.EventPublisherOptions{})
	must(tb, err)
	defer p.Close()
	ctx := testContext(tb)
	round := rounds.Add(1)
	for i := first; i < first+n; i++ {
		must(tb, p.Publish(ctx, stream.OutgoingEvent{Subject: subject(i), Kind: "prediction", ID: fmt.Sprintf("%d-%d", round, i), Data: fmt.Appendf(nil, "m%d", i)}))
	}
	must(tb, p.Flush(ctx))
}

func one(int) string { return "ml.predictions.fraud.1" }

// run is a running Reader with everything it delivered.
type run struct {
	tb     testing.TB
	reader *stream.Reader
	stop   context.CancelFunc
	out    chan *stream.Batch
	done   chan error // Run's result

	mu      sync.Mutex
	seqs    []uint64
	data    []string
	sizes   []int           // messages of each batch that has any
	delays  []time.Duration // of each such batch's last message, from the server's clock to the receiver
	notices []stream.Notice
	anchor  stream.Anchor
	skipped uint64
}

// read starts a reader; fast checks keep the tests short.
func read(tb testing.TB, c *stream.Conn, from stream.Anchor, o stream.ReaderOptions) *run {
	tb.Helper()
	r := prepare(tb, c, from, o)
	go r.collect()
	return r
}

// prepare starts a reader whose batches nobody takes yet.
func prepare(tb testing.TB, c *stream.Conn, from stream.Anchor, o stream.ReaderOptions) *run {
	tb.Helper()
	if o.Stream == "" {
		o.Stream = "ML"
	}
	if o.CheckEvery == 0 {
		o.CheckEvery = 50 * time.Millisecond
	}
	reader, err := stream.NewReader(c, o)
	must(tb, err)
	ctx, stop := context.WithCancel(context.Background())
	r := &run{tb: tb, reader: reader, stop: stop, out: make(chan *stream.Batch), done: make(chan error, 1), anchor: from}
	go func() {
		err := reader.Run(ctx, from, r.out)
		close(r.out)
		r.done <- err
	}()
	tb.Cleanup(stop)
	return r
}

func (r *run) collect() {
	for b := range r.out {
		r.add(b)
	}
}

// add checks the conservation law of each batch against the one before it.
func (r *run) add(b *stream.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.anchor.Seq
	var count uint64
	if n := b.Notice; n != nil {
		r.notices = append(r.notices, *n)
		count = n.Count
		if n.Kind == stream.NewEpoch {
			before = n.To - 1
		}
	}
	count += uint64(len(b.Messages)) + b.Filtered
	if got := b.Anchor.Seq - before; got != count {
		r.tb.Errorf("batch moves the anchor by %d, accounts for %d", got, count)
	}
	for _, m := range b.Messages {
		r.seqs = append(r.seqs, m.Seq)
		r.data = append(r.data, string(m.Data))
	}
	if len(b.Messages) > 0 {
		r.sizes = append(r.sizes, len(b.Messages))
		r.delays = append(r.delays, time.Since(time.Unix(0, b.Messages[len(b.Messages)-1].Time)))
	}
	r.skipped += b.Filtered
	r.anchor = b.Anchor
	b.Release()
}

func (r *run) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seqs)
}

func (r *run) has(n int) {
	r.tb.Helper()
	eventually(r.tb, fmt.Sprintf("%d messages, have %d, status %+v", n, r.count(), r.reader.Status()), func() bool { return r.count() >= n })
}

// notice waits for the i-th notice.
func (r *run) notice(i int) stream.Notice {
	r.tb.Helper()
	eventually(r.tb, fmt.Sprintf("notice %d", i), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.notices) > i
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notices[i]
}

// end stops the reader and returns its last anchor.
func (r *run) end() stream.Anchor {
	r.tb.Helper()
	r.stop()
	select {
	case err := <-r.done:
		must(r.tb, err)
	case <-time.After(deadline):
		r.tb.Fatal("Run did not return")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.anchor
}

// contiguous fails unless exactly first..last was read, each once and in order.
func (r *run) contiguous(first, last uint64) {
	r.tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seqs) != int(last-first+1) {
		r.tb.Fatalf("read %d messages, want %d..%d", len(r.seqs), first, last)
	}
	for i, s := range r.seqs {
		if s != first+uint64(i) {
			r.tb.Fatalf("message %d has sequence %d, want %d", i, s, first+uint64(i))
		}
	}
}
