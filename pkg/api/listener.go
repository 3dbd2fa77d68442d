package api

import (
	"log"
	"net"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// limitListener accepts at most n connections at a time; further ones wait in
// the kernel's queue. Idle clients so cannot use up file descriptors.
func limitListener(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: func() { <-l.slots }}, nil
}

// Close stops accepting.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close closes the connection and frees its slot.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// newErrorLog sends what net/http has to say (mostly clients that hung up) to
// the log at debug level.
func newErrorLog(to zerolog.Logger) *log.Logger { return log.New(errorLog{to}, "", 0) }

type errorLog struct{ log zerolog.Logger }

// Write implements io.Writer.
func (e errorLog) Write(line []byte) (int, error) {
	e.log.Debug().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}
