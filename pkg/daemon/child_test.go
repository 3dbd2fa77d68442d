package daemon_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// childEnv holds an order as JSON when the test binary is to be a daemon.
const childEnv = "DRIFTD_TEST_CHILD"

// An order tells a child process where everything is.
type order struct{ Dir, URL, Hook, Durable string }

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child runs a daemon until SIGTERM and reports its progress on stdout.
func child(text string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	st, err := store.Open(o.Dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	conn, err := stream.Connect(stream.Options{URL: o.URL, MustConnect: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	d, err := o.daemon(st, conn)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			s := d.Snapshot()
			fmt.Println(s.Stream.CommittedSeq, s.Notifier.Pending+int(s.Published.Pending))
		}
	}
}

// killSpec follows three models and nothing else, one of them by segments.
func killSpec() drift.Spec {
	spec := drift.DefaultSpec()
	spec.Discover = false
	spec.Models = []drift.ModelSpec{{Glob: "fraud", Segments: [][]string{{"channel"}}}, {Glob: "churn"}, {Glob: "support-llm"}}
	spec.DedupIDs = 400_000 // more than are published: every repeat is inside the horizon
	return spec
}

func (o order) daemon(st *store.Store, conn *stream.Conn) (*daemon.Daemon, error) {
	read := stream.DefaultReaderOptions("ML")
	read.Durable = o.Durable
	reader, err := stream.NewReader(conn, read)
	if err != nil {
		return nil, err
	}
	letters := stream.DefaultPublisherOptions()
	letters.Rate = -1 // all of them
	publisher, err := stream.NewPublisher(conn, letters)
	if err != nil {
		return nil, err
	}
	rules, err := compile(specs()...)
	if err != nil {
		return nil, err
	}
	routes, err := alert.CompileRoutes(alert.RouteSpec{Receiver: "people"}, []string{"people"})
	if err != nil {
		return nil, err
	}
	hook, err := notify.NewWebhook(notify.WebhookOptions{URL: o.Hook, Receiver: "people", Client: http.DefaultClient})
	if err != nil {
		return nil, err
	}
	return daemon.New(daemon.Options{
		Settings: daemon.Settings{
			Spec: killSpec(), Decoder: event.NewDecoder(nil, event.DefaultLimits), Rules: rules, Routes: routes,
			Receivers: []notify.Receiver{
				{Name: daemon.SignalReceiver, Sink: notify.NewSignal(signals{publisher})}, {Name: "people", Sink: hook},
			},
			ConfigHash: "test", Summaries: published,
		},
		Publish: signals{publisher}.Publish, Store: st, Source: reader, DeadLetters: publisher, Status: reader.Status, Committed: reader.Committed,
		Notify:     notify.Options{Poll: 100 * time.Millisecond, BackoffBase: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond},
		Checkpoint: daemon.Checkpoint{Every: 50 * time.Millisecond, Events: 4096, Bytes: 4 << 20},
		Version:    "test", Log: zerolog.Nop(),
	})
}

// signals publishes as the daemon does.
type signals struct{ p *stream.Publisher }

func (s signals) Publish(ctx context.Context, subject, id string, body []byte) error {
	_, err := s.p.Signal(ctx, stream.Signal{Subject: subject, ID: id, Body: body})
	return err
}

// A process is a child and what it said last.
type process struct {
	cmd       *exec.Cmd
	errors    *os.File
	started   time.Time
	committed atomic.Uint64
	pending   atomic.Int64  // deliveries owed and windows not published; -1 before the first report
	alive     chan struct{} // closed at the first report
	reported  chan struct{} // closed when its stdout has ended
}

func (o order) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), started: time.Now(), alive: make(chan struct{}), reported: make(chan struct{})}
	p.pending.Store(-1)
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	if p.errors, err = os.CreateTemp(t.TempDir(), "stderr"); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.errors
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	return p
}

func (p *process) listen(out io.Reader) {
	defer close(p.reported)
	first := true
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var seq uint64
		var pending int64
		if _, err := fmt.Sscan(lines.Text(), &seq, &pending); err != nil {
			continue // cut off by the kill
		}
		p.committed.Store(seq)
		p.pending.Store(pending)
		if first {
			close(p.alive)
			first = false
		}
	}
}

// end sends a signal and waits. It returns what the child wrote to stderr when
// it did not end by that signal, or as asked.
func (p *process) end(t *testing.T, sig syscall.Signal) string {
	t.Helper()
	select {
	case <-p.reported: // it is gone already: a start failed, or a run
	default:
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	<-p.reported
	err := p.cmd.Wait()
	text, readErr := os.ReadFile(p.errors.Name())
	if err := errors.Join(readErr, p.errors.Close()); err != nil {
		t.Fatal(err)
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if sig == syscall.SIGKILL && ok && status.Signaled() && status.Signal() == sig || sig == syscall.SIGTERM && err == nil {
		return ""
	}
	return fmt.Sprintf("%v: %s", err, text)
}
