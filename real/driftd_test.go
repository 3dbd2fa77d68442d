//go:build real

package real_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/stream"
)

// stopWithin is the bound of a graceful stop.
const stopWithin = 10 * time.Second

// patience bounds every wait for another process.
const patience = 60 * time.Second

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "driftd-real-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "driftd")
	out, err := exec.Command("go", "build", "-o", file, "../cmd/driftd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if file, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(status)
}

// binary returns driftd, built once.
func binary(t *testing.T) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// port returns a port that was free a moment ago.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// A process is a program that runs until the test ends.
type process struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer // read it after done
	done chan struct{} // closed when the program has ended
	err  error         // how; read it after done
}

// start runs a program, at the longest until the test's end.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), log: &bytes.Buffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // in vain after stop
		<-p.done
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.log)
		}
	})
	return p
}

// stop sends SIGTERM and expects exit code 0 within the time.
func (p *process) stop(t *testing.T, within time.Duration) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
		if p.err != nil {
			t.Errorf("after SIGTERM: %v", p.err)
		}
	case <-time.After(within):
		t.Errorf("still there %s after SIGTERM", within)
	}
}

// eventually tries until ok, or fails with the last reason.
func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// get returns the body of a 200.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, res.Status, body)
	}
	return body, err
}

// serve runs `driftd serve` with JetStream inside and returns where it listens.
// Baselines are learned from ten minutes of traffic.
func serve(t *testing.T) (p *process, api, nats string) {
	t.Helper()
	dir := t.TempDir()
	api, nats = fmt.Sprintf("127.0.0.1:%d", port(t)), fmt.Sprintf("nats://127.0.0.1:%d", port(t))
	file := filepath.Join(dir, "driftd.yaml")
	text := fmt.Sprintf(`
nats: {embedded: true, url: %q}
store: {dir: %q}
http: {listen: %q}
baselines: {min_rows: 500, min_span: 10m}
metrics: {features: all}
watch: {every: 1s}
rules:
  - {alert: AmountDrift, model: fraud, feature: amount, window: 5m, expr: "psi_debiased > 0.1", severity: page}
`, nats, filepath.Join(dir, "data"), api)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, binary(t), "serve", "-c", file, "--log-format", "json")
	eventually(t, "driftd is ready", func(ctx context.Context) error {
		_, err := get(ctx, "http://"+api+"/-/ready")
		return err
	})
	return p, api, nats
}

// publish sends 70 minutes of the demo's traffic; the amounts of fraud drift
// from minute 30 on. It returns the number of predictions.
func publish(t *testing.T, nats string) (predictions int) {
	t.Helper()
	conn, err := stream.Connect(stream.Options{URL: nats, MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pub, err := stream.NewEventPublisher(conn, stream.EventPublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	st, err := sim.New(sim.Demo(sim.Story{AmountFrom: 30 * time.Minute, AmountTo: 70 * time.Minute, Length: 70 * time.Minute, Rate: 1}), 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e := (event.Event{}); st.Next(&e); {
		if e.Kind == event.Prediction {
			predictions++
		}
		err := pub.Publish(ctx, stream.OutgoingEvent{
			Subject: event.SubjectTemplate{}.Subject(&e), Kind: e.Kind.String(), ID: e.ID, Data: event.AppendJSON(nil, &e),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	return predictions
}
