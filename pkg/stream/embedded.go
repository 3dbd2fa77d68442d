package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// EmbeddedOptions describe a JetStream server inside this process.
type EmbeddedOptions struct {
	Dir        string        // JetStream's directory; required
	Listen     string        // loopback address to listen on; "" = in-process connections only
	Port       int           // with Listen; 0 = any free port
	MaxMemory  int64         // bytes for memory streams; 0 = 64 MiB
	MaxStore   int64         // bytes for file streams; 0 = three quarters of the free disk
	SyncAlways bool          // fsync before each PubAck; false = every 2 minutes, the server's default
	Ready      time.Duration // how long to wait for the server; 0 = 10 s
	// Log receives the server's messages, level "info", "warn", "error" or
	// "fatal"; nil = silent. It is called from the server's goroutines.
	Log func(level, message string)
}

// Validate reports every fault of o at once.
func (o EmbeddedOptions) Validate() error {
	var faults []error
	if o.Dir == "" {
		faults = append(faults, errors.New("embedded server: dir is empty"))
	}
	if ip := net.ParseIP(o.Listen); o.Listen != "" && o.Listen != "localhost" && (ip == nil || !ip.IsLoopback()) {
		faults = append(faults, fmt.Errorf("embedded server: listen %q is not a loopback address; it has no authentication", o.Listen))
	}
	if o.Port < 0 || o.Port > 65535 {
		faults = append(faults, fmt.Errorf("embedded server: port %d is not in 0..65535", o.Port))
	}
	if o.MaxMemory < 0 || o.MaxStore < 0 {
		faults = append(faults, errors.New("embedded server: limits must not be negative"))
	}
	return errors.Join(faults...)
}

// Embedded is a running JetStream server. It implements nats.go's
// InProcessConnProvider; Options.InProcess connects to it without a socket.
type Embedded struct {
	server *server.Server
	done   chan struct{} // closed when Start has returned
}

// StartEmbedded starts a server and waits until it accepts connections.
func StartEmbedded(o EmbeddedOptions) (*Embedded, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := o.free(); err != nil {
		return nil, err
	}
	s, err := server.NewServer(o.server())
	if err != nil {
		return nil, fmt.Errorf("embedded server in %s: %w", o.Dir, err)
	}
	log := &serverLog{emit: o.Log}
	s.SetLoggerV2(log, false, false, false)
	e := &Embedded{server: s, done: make(chan struct{})}
	go func() {
		defer close(e.done)
		s.Start()
	}()
	ready := o.Ready
	if ready == 0 {
		ready = 10 * time.Second
	}
	if !s.ReadyForConnections(ready) {
		e.Shutdown()
		return nil, fmt.Errorf("embedded server in %s: not ready within %s", o.Dir, ready)
	}
	if !s.JetStreamEnabled() {
		e.Shutdown()
		return nil, fmt.Errorf("embedded server in %s: JetStream did not start", o.Dir)
	}
	return e, nil
}

// free looks whether the address can be listened on: a server that cannot only logs
// it, and waits.
func (o EmbeddedOptions) free() error {
	if o.Listen == "" || o.Port == 0 {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(o.Listen, strconv.Itoa(o.Port)))
	if err != nil {
		return fmt.Errorf("embedded server: %w: a NATS server that is there can be used without an embedded one; else give this one another port by nats.url", err)
	}
	return l.Close()
}

func (o EmbeddedOptions) server() *server.Options {
	opts := &server.Options{
		ServerName:             "driftd-embedded",
		DontListen:             o.Listen == "",
		Host:                   o.Listen,
		Port:                   o.Port,
		JetStream:              true,
		StoreDir:               o.Dir,
		JetStreamMaxMemory:     o.MaxMemory,
		JetStreamMaxStore:      o.MaxStore,
		SyncAlways:             o.SyncAlways,
		NoSigs:                 true, // signals belong to the daemon
		DisableJetStreamBanner: true,
	}
	if o.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if o.MaxMemory == 0 {
		opts.JetStreamMaxMemory = 64 << 20
	}
	return opts
}

// URL is the client URL of a listening server, "" of one without a socket.
func (e *Embedded) URL() string {
	if e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// InProcessConn opens one connection without a socket.
func (e *Embedded) InProcessConn() (net.Conn, error) { return e.server.InProcessConn() }

// Shutdown stops the server and returns when all its work has ended. A second
// call only waits.
func (e *Embedded) Shutdown() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	<-e.done
}

// serverLog turns the server's log lines into calls of emit.
type serverLog struct{ emit func(level, message string) }

func (l *serverLog) log(level, format string, v []any) {
	if l.emit != nil {
		l.emit(level, fmt.Sprintf(format, v...))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.log("info", format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log("warn", format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log("error", format, v) }
func (l *serverLog) Fatalf(format string, v ...any)  { l.log("fatal", format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}
