package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A manager is the service manager that started the process, when one asked to
// be told how it does (sd_notify(3), systemd's Type=notify): datagrams of
// NAME=value lines to the socket that $NOTIFY_SOCKET names.
type manager struct {
	conn     net.Conn      // nil: nobody asked
	watchdog time.Duration // silence after which the process is killed; 0: never
}

// newManager reads the variables that a service manager sets. A name that begins
// with @ is of an abstract socket.
func newManager(lookup func(string) (string, bool)) (*manager, error) {
	m := &manager{}
	address, _ := lookup("NOTIFY_SOCKET")
	if address == "" {
		return m, nil
	}
	if address[0] != '/' && address[0] != '@' {
		return nil, fmt.Errorf("$NOTIFY_SOCKET is %q: want a path or an abstract socket", address)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("reach the service manager: %w", err)
	}
	m.conn = conn
	if pid, set := lookup("WATCHDOG_PID"); set && pid != strconv.Itoa(os.Getpid()) {
		return m, nil // it is meant for another process
	}
	if text, set := lookup("WATCHDOG_USEC"); set {
		usec, err := strconv.ParseInt(text, 10, 64)
		if err != nil || usec <= 0 {
			return nil, fmt.Errorf("$WATCHDOG_USEC is %q: want microseconds", text)
		}
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	return m, nil
}

// tell sends one datagram.
func (m *manager) tell(states ...string) error {
	if m.conn == nil {
		return nil
	}
	if _, err := m.conn.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager %s: %w", states[0], err)
	}
	return nil
}

// ready tells that the start, or a reload, is over.
func (m *manager) ready(status string) error { return m.tell("READY=1", "STATUS="+status) }

// reload tells that the configuration is read again, and then that driftd is as
// ready as before, whether or not it was accepted. The time is what Type=notify-reload
// asks for.
func (m *manager) reload(do func(), status func() string, failed func(error)) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	if err == nil {
		err = m.tell("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond)))
	}
	if err != nil {
		failed(err)
	}
	do()
	if err := m.ready(status()); err != nil {
		failed(err)
	}
}

// How long a start may take without a word, and how often driftd asks for that again.
const (
	startWithin = 2 * time.Minute
	startTold   = 30 * time.Second
)

// starting tells what driftd does before it is ready, and keeps a manager from giving
// it up meanwhile: how long a store takes to check is a matter of its size. The function
// that it returns ends that.
func (m *manager) starting(status string, failed func(error)) (ready func()) {
	if m.conn == nil {
		return func() {}
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		every(ctx, startTold, func() {
			if err := m.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", startWithin.Microseconds()), "STATUS="+status); err != nil {
				failed(err)
			}
		})
	})
	return func() { stop(); wg.Wait() }
}

// report tells how driftd does whenever that changes, until ctx ends. told is what the
// manager knows.
func (m *manager) report(ctx context.Context, told string, status func() string, failed func(error)) {
	if m.conn == nil {
		return
	}
	every(ctx, time.Second, func() {
		now := status()
		if now == told {
			return
		}
		told = now
		if err := m.tell("STATUS=" + now); err != nil {
			failed(err)
		}
	})
}

// feed keeps the watchdog quiet for as long as lastPass is fresh, until ctx ends.
// A loop that hangs is not fed: the manager kills the process, with its stacks on
// stderr, and starts it again.
func (m *manager) feed(ctx context.Context, lastPass func() time.Time, failed func(error)) {
	if m.conn == nil || m.watchdog == 0 {
		return
	}
	every(ctx, m.watchdog/4, func() {
		if time.Since(lastPass()) < m.watchdog/2 {
			if err := m.tell("WATCHDOG=1"); err != nil {
				failed(err)
			}
		}
	})
}

// every calls do, at once and then at intervals, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close releases the socket.
func (m *manager) close() error {
	if m.conn == nil {
		return nil
	}
	return m.conn.Close()
}
