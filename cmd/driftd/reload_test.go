package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A journal takes the log of a daemon while a test reads it.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(b)
}

// take returns what was written since the last call.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.all.Reset()
	return j.all.String()
}

// TestServeReloadsOnSIGHUP sends the signal to a daemon under a service manager:
// each reload begins and ends for the manager, a broken file is told with its line
// and changes nothing, a good one is in force when the manager hears of the end.
func TestServeReloadsOnSIGHUP(t *testing.T) {
	lookup, from := notified(t, filepath.Join(t.TempDir(), "notify"), nil)
	file := filepath.Join(t.TempDir(), "driftd.yaml")
	write := func(more string) {
		t.Helper()
		text := "nats: {url: 'nats://127.0.0.1:0'}\nstore: {dir: " + filepath.Join(filepath.Dir(file), "data") + "}\nhttp: {listen: 127.0.0.1:0}\n" + more
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log := &journal{}
	e := &env{in: strings.NewReader(""), out: io.Discard, err: log, lookup: lookup}
	root := newRootCmd(e)
	root.SetArgs([]string{"serve", "-c", file, "--embedded-nats", "--log-format", "json"}) // the flag holds for reloads too
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	ready := "READY=1\nSTATUS=" + settled(t, from)
	for _, c := range []struct{ name, more, want string }{
		{"broken", "rules: [{alert: A, expr: \"psi >\"}]\n", `"line":4,"column":31,"setting":"rules\[0\].expr","actor":"SIGHUP",.*"message":"configuration refused: `},
		{"takes a restart", "windows: {pane: 30s}\n", `"line":4,.*"message":"configuration refused: windows.pane was changed from 1m to 30s, which takes a restart`},
		{"good", "rules: [{alert: A, expr: \"psi > 1\"}]\n", `"setting":"rules\[A\]","change":"added".*\n.*"changes":1,"actor":"SIGHUP",.*"message":"the configuration was reloaded"`},
	} {
		write(c.more)
		log.take()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if got := datagram(t, from); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`).MatchString(got) {
			t.Fatalf("%s: told %q, want RELOADING=1 and the time", c.name, got)
		}
		if got := datagram(t, from); got != ready {
			t.Fatalf("%s: told %q, want %q", c.name, got, ready)
		}
		if got := log.take(); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: the log says\n%swant %s", c.name, got, c.want)
		}
	}
	stop()
	if got := datagram(t, from); got != "STOPPING=1" {
		t.Errorf("told %q, want STOPPING=1", got)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
