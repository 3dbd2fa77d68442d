package api

import (
	linked "container/list"
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// limitListener serves at most n connections at a time. Where all places are
// taken, the connection that has been without a request the longest gives up its
// own to one that comes now: clients that keep connections and seldom use them
// (the KServe logger leaves one behind for each event over TLS) must not keep
// others waiting. Where every connection has a request, one waits here and further
// ones in the kernel's queue.
func limitListener(l net.Listener, n int, evicted *atomic.Uint64) net.Listener {
	return &limited{Listener: l, most: n, evicted: evicted, left: make(chan struct{}, 1), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	most    int
	left    chan struct{} // gets a value when a connection ends or has no request any more
	closed  chan struct{}
	once    sync.Once
	evicted *atomic.Uint64 // counts connections that gave up their place

	mu   sync.Mutex // guards the rest, and the fields of connections that say so
	open int
	idle linked.List // of connections without a request, the longest first
}

// Accept waits for a connection, then for a place.
func (l *limited) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: accepted, of: l}
	for {
		oldest, ok := l.place(c)
		switch {
		case ok:
			return c, nil
		case oldest != nil:
			l.evicted.Add(1)
			_ = oldest.Close()
			continue
		}
		select {
		case <-l.left:
		case <-l.closed:
			_ = accepted.Close()
			return nil, net.ErrClosed
		}
	}
}

// place gives c a place if there is one, or returns the connection whose place
// can be had.
func (l *limited) place(c *limitedConn) (oldest *limitedConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open < l.most {
		l.open++
		c.idle = l.idle.PushBack(c)
		return nil, true
	}
	if e := l.idle.Front(); e != nil {
		return e.Value.(*limitedConn), false
	}
	return nil, false
}

// Close stops accepting.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// tell wakes an Accept that waits.
func (l *limited) tell() {
	select {
	case l.left <- struct{}{}:
	default:
	}
}

type limitedConn struct {
	net.Conn
	of   *limited
	once sync.Once
	gone bool            // guarded by of.mu
	idle *linked.Element // guarded by of.mu; nil: it has a request
}

// Close closes the connection and frees its place.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.mark(false)
		c.of.mu.Lock()
		c.gone = true
		c.of.open--
		c.of.mu.Unlock()
		c.of.tell()
	})
	return err
}

// mark says whether the connection is without a request.
func (c *limitedConn) mark(idle bool) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	switch {
	case idle && c.idle == nil && !c.gone:
		c.idle = c.of.idle.PushBack(c)
		c.of.tell()
	case !idle && c.idle != nil:
		c.of.idle.Remove(c.idle)
		c.idle = nil
	}
}

// connState is for http.Server: a connection has no request from its end on until
// the handler of the next one begins, so that half a header holds no place.
func connState(c net.Conn, state http.ConnState) {
	if lc := limitedOf(c); lc != nil && state == http.StateIdle {
		lc.mark(true)
	}
}

type connKey struct{}

// connContext is for http.Server: requests know their connection.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, limitedOf(c))
}

// begun says that a request has come whole, but for its body.
func begun(ctx context.Context) {
	if c, _ := ctx.Value(connKey{}).(*limitedConn); c != nil {
		c.mark(false)
	}
}

func limitedOf(c net.Conn) *limitedConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	lc, _ := c.(*limitedConn)
	return lc
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
