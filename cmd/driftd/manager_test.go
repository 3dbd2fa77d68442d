package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// within bounds every wait of these tests; it is never used up but by a failure.
const within = 20 * time.Second

// notified listens as a service manager does and returns the environment that it
// would set, and its socket.
func notified(t *testing.T, name string, more map[string]string) (lookup func(string) (string, bool), from *net.UnixConn) {
	t.Helper()
	from, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Close() })
	if err := from.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	return func(key string) (string, bool) {
		if key == "NOTIFY_SOCKET" {
			return name, true
		}
		value, set := more[key]
		return value, set
	}, from
}

func datagram(t *testing.T, from *net.UnixConn) string {
	t.Helper()
	text := make([]byte, 4096)
	n, err := from.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}

// settled waits until driftd has told that it is ready, and then that it reads the
// stream or never will. It returns the status that it has told.
func settled(t *testing.T, from *net.UnixConn) string {
	t.Helper()
	for ready := false; ; {
		state, status, _ := strings.Cut(datagram(t, from), "STATUS=")
		if ready = ready || state == "READY=1\n"; ready && !strings.HasPrefix(status, "not ready") {
			return status
		}
	}
}

// TestServeTellsItsManager runs the daemon as systemd would: it asks for time, is ready
// once, tells when it reads the stream, feeds the watchdog and says that it stops.
func TestServeTellsItsManager(t *testing.T) {
	for _, c := range []struct{ name, socket string }{
		{"path", filepath.Join(t.TempDir(), "notify")},
		{"abstract", "@driftd-test-" + filepath.Base(t.TempDir()) + "-" + t.Name()},
	} {
		t.Run(c.name, func(t *testing.T) {
			lookup, from := notified(t, c.socket, map[string]string{"WATCHDOG_USEC": "400000"}) // 400 ms
			file := filepath.Join(t.TempDir(), "driftd.yaml")
			text := "nats: {embedded: true, url: 'nats://127.0.0.1:0'}\nstore: {dir: " + filepath.Join(t.TempDir(), "data") + "}\nhttp: {listen: 127.0.0.1:0}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			e := &env{in: strings.NewReader(""), out: io.Discard, err: io.Discard, lookup: lookup}
			root := newRootCmd(e)
			root.SetArgs([]string{"serve", "-c", file, "-q"})
			ended := make(chan error, 1)
			go func() { ended <- root.ExecuteContext(ctx) }()
			if got := datagram(t, from); !strings.HasPrefix(got, "EXTEND_TIMEOUT_USEC=120000000\nSTATUS=checking the store ") {
				t.Fatalf("told %q first, want EXTEND_TIMEOUT_USEC", got)
			}
			// The reader connects behind READY=1.
			if got := datagram(t, from); !strings.HasPrefix(got, "READY=1\nSTATUS=not ready: nats; http://127.0.0.1:") {
				t.Fatalf("told %q, want READY=1", got)
			}
			for fed, reads := false, false; !fed || !reads; {
				got := datagram(t, from)
				fed, reads = fed || got == "WATCHDOG=1", reads || strings.HasPrefix(got, "STATUS=reading ML, http://127.0.0.1:")
			}
			stop()
			for got := datagram(t, from); got != "STOPPING=1"; got = datagram(t, from) {
				if got != "WATCHDOG=1" && !strings.HasPrefix(got, "STATUS=") {
					t.Fatalf("told %q, want WATCHDOG=1 and STATUS until STOPPING=1", got)
				}
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestWatchdogIsFedByAFreshLoopOnly: of five looks at the loop the first finds it
// fresh.
func TestWatchdogIsFedByAFreshLoopOnly(t *testing.T) {
	lookup, from := notified(t, filepath.Join(t.TempDir(), "notify"), map[string]string{"WATCHDOG_USEC": "40000"})
	m, err := newManager(lookup)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.close() }()
	ctx, stop := context.WithCancel(t.Context())
	looks := 0
	m.feed(ctx, func() time.Time {
		switch looks++; looks {
		case 1:
			return time.Now()
		case 5:
			stop()
		}
		return time.Now().Add(-m.watchdog)
	}, func(err error) { t.Error(err) })
	if err := m.tell("STATUS=end"); err != nil {
		t.Fatal(err)
	}
	if first, second := datagram(t, from), datagram(t, from); first != "WATCHDOG=1" || second != "STATUS=end" {
		t.Fatalf("told %q and %q: one look of %d found a fresh loop", first, second, looks)
	}
}

func TestManagerVariables(t *testing.T) {
	for _, c := range []struct {
		name     string
		set      map[string]string
		watchdog time.Duration
		fault    string
	}{
		{name: "another process's watchdog", set: map[string]string{"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}},
		{name: "ours", set: map[string]string{"WATCHDOG_USEC": "1000000"}, watchdog: time.Second},
		{name: "no number", set: map[string]string{"WATCHDOG_USEC": "1s"}, fault: "want microseconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lookup, _ := notified(t, filepath.Join(t.TempDir(), "notify"), c.set)
			m, err := newManager(lookup)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("%v, want %s", err, c.fault)
				}
				return
			}
			if err != nil || m.watchdog != c.watchdog {
				t.Fatalf("watchdog %v, %v; want %v", m.watchdog, err, c.watchdog)
			}
			if err := m.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, address := range []string{"vsock:2:1", filepath.Join(t.TempDir(), "nobody")} {
		if _, err := newManager(func(key string) (string, bool) { return address, key == "NOTIFY_SOCKET" }); err == nil {
			t.Errorf("%s: no error", address)
		}
	}
	if m, err := newManager(func(string) (string, bool) { return "", false }); err != nil || m.tell("READY=1") != nil {
		t.Errorf("without a manager: %v", err)
	}
}
