package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/store"
)

// A service is driftd serve in a process of its own, as a service manager runs it.
type service struct {
	t            *testing.T
	driftd, file string
	dir          string // store.dir
}

func newService(t *testing.T) service {
	t.Helper()
	driftd, err := exec.LookPath("driftd") // this test binary, by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	s := service{t, driftd, filepath.Join(t.TempDir(), "driftd.yaml"), filepath.Join(t.TempDir(), "data")}
	text := "nats: {embedded: true, url: 'nats://127.0.0.1:0'}\nstore: {dir: " + s.dir + "}\nhttp: {listen: 127.0.0.1:0}\n"
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs it until it is ready and reads the stream, or is degraded, and returns what
// it says of that.
func (s service) start() (process *exec.Cmd, status string) {
	s.t.Helper()
	lookup, from := notified(s.t, filepath.Join(s.t.TempDir(), "notify"), nil)
	socket, _ := lookup("NOTIFY_SOCKET")
	process = exec.CommandContext(s.t.Context(), s.driftd, "serve", "-c", s.file)
	process.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	if err := process.Start(); err != nil {
		s.t.Fatal(err)
	}
	return process, settled(s.t, from)
}

func (s service) end(process *exec.Cmd, sig syscall.Signal) error {
	s.t.Helper()
	if err := process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	return process.Wait()
}

// TestDegraded: a daemon that fails three times stays up the fourth time and says
// why, and nothing else; asked to end and started again it is as before. Being
// killed is no failure, however often.
func TestDegraded(t *testing.T) {
	s := newService(t)
	for range failuresMost + 1 {
		process, status := s.start()
		if !strings.HasPrefix(status, "reading ML") {
			t.Fatalf("it says %q", status)
		}
		if err := s.end(process, syscall.SIGKILL); err == nil {
			t.Fatal("a killed daemon has ended well")
		}
	}
	manifest := filepath.Join(s.dir, "badger", "MANIFEST")
	if err := os.Rename(manifest, manifest+".away"); err != nil {
		t.Fatal(err)
	}
	for range failuresMost {
		out, err := exec.CommandContext(t.Context(), s.driftd, "serve", "-c", s.file).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != int(codeRefused) {
			t.Fatalf("on a damaged store: %v, want exit 3: %s", err, out)
		}
	}
	process, status := s.start()
	url, _, ok := strings.Cut(strings.TrimPrefix(status, "degraded, "), ": ")
	if !ok || !strings.Contains(status, "failed 3 times within 5m0s") || !strings.Contains(status, "MANIFEST is missing") {
		t.Fatalf("it says %q", status)
	}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/-/healthy":          {200, "alive"},
		"/-/ready":            {503, `"reasons":["degraded"],"cause":"driftd failed 3 times`},
		"/api/v1/status":      {200, `MANIFEST is missing`},
		"/metrics":            {200, "\ndriftd_ready 0\n"},
		"/api/v1/models":      {404, ""},
		"/":                   {404, ""},
		"/ingest/v1/outcomes": {404, ""},
	} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != want.code || !strings.Contains(string(body), want.text) {
			t.Errorf("%s: %d, want %d with %s: %s", path, answer.StatusCode, want.code, want.text, body)
		}
	}
	if err := os.Rename(manifest+".away", manifest); err != nil {
		t.Fatal(err)
	}
	if err := s.end(process, syscall.SIGTERM); err != nil {
		t.Errorf("asked to end, the degraded daemon ended with %v", err)
	}
	process, status = s.start()
	if !strings.HasPrefix(status, "reading ML") {
		t.Errorf("mended and started again it says %q", status)
	}
	if err := s.end(process, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// crash is a program that panics as driftd would.
func crash() {
	if _, err := openRecord(os.Args[1], time.Now()); err != nil {
		panic(err)
	}
	panic("a defect")
}

// TestRecord: what is a failure, for how long it counts, and that a crash is one.
func TestRecord(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "data"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	reopen := func(after time.Duration, want int) *record {
		t.Helper()
		now = now.Add(after)
		r, err := openRecord(dir, now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.close() })
		if len(r.failures) != want || (r.degraded() != "") != (want >= failuresMost) {
			t.Errorf("%v later: %+v, degraded %q; want %d failures", after, r.failures, r.degraded(), want)
		}
		return r
	}
	ended := func(r *record, err error) {
		t.Helper()
		if err := r.end(now, err); err != nil {
			t.Fatal(err)
		}
	}
	r := reopen(0, 0)
	for _, harmless := range []error{config.Faults{{Message: "bad"}}, store.ErrLocked, badUsage("no")} {
		ended(r, harmless)
		r = reopen(time.Second, 0)
	}
	ended(r, &net.OpError{Op: "listen", Err: errors.New("in use")})
	r = reopen(time.Minute, 1)
	ended(r, store.ErrDamaged)

	crashes, err := exec.LookPath("driftd-crashes")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), crashes, dir).Run(); err == nil {
		t.Fatal("the crash ended well")
	}
	r = reopen(time.Minute, 3)
	if got := r.degraded(); !strings.Contains(got, "it crashed: panic: a defect") {
		t.Errorf("after a crash: %q", got)
	}
	reopen(time.Second, 3) // a crash counts once
	r = reopen(3*time.Minute, 2)
	ended(r, nil)
	r = reopen(time.Second, 0)
	ended(r, store.ErrDamaged)
	if err := os.WriteFile(filepath.Join(dir, failuresName), []byte(`[{"at":`), 0o600); err != nil {
		t.Fatal(err)
	}
	reopen(time.Second, 0)
}
