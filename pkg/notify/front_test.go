package notify_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// faults are what a front does to requests, in turn.
var faults = []string{"refuse", "reset", "500", "503", "429", "hang", "drip", "ambiguous", "redirect"}

// frontRetryAfter is what a front asks for with 429.
const frontRetryAfter = campaignPhase * 3 / 2

// A front stands before the fakes and spoils what passes: a load balancer on a
// bad day. Redirects lead into a trap, which counts who follows.
type front struct {
	t       *testing.T
	address string
	behind  map[string]http.Handler // by the first part of the path
	trap    *httptest.Server
	trapped atomic.Int64

	mu     sync.Mutex
	mode   string         // guarded by mu
	server *http.Server   // nil while it refuses; guarded by mu
	served sync.WaitGroup // the server's goroutine
	hits   map[string]int // by mode; guarded by mu
}

func newFront(t *testing.T, behind map[string]http.Handler) *front {
	f := &front{t: t, behind: behind, mode: "ok", hits: map[string]int{}}
	f.trap = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f.trapped.Add(1) }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	f.open(l)
	t.Cleanup(func() { f.set("refuse"); f.served.Wait(); f.trap.Close() })
	return f
}

func (f *front) open(l net.Listener) {
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	f.server = server
	f.served.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			f.t.Errorf("front: %v", err)
		}
	})
}

// set changes the mode. What hangs goes on to hang.
func (f *front) set(mode string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = mode
	switch {
	case mode == "refuse" && f.server != nil:
		_ = f.server.Close()
		f.server = nil
	case mode != "refuse" && f.server == nil:
		l, err := net.Listen("tcp", f.address)
		if err != nil {
			f.t.Errorf("front: %v", err)
			return
		}
		f.open(l)
	}
}

// begin notes a request and returns what to do with it.
func (f *front) begin() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hits[f.mode]++
	return f.mode
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	receiver := strings.Split(r.URL.Path, "/")[1]
	next := http.StripPrefix("/"+receiver, f.behind[receiver])
	mode := f.begin()
	switch mode {
	case "ok":
		next.ServeHTTP(w, r)
		return
	case "429":
		w.Header().Set("Retry-After", fmt.Sprint(frontRetryAfter.Seconds()))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case "redirect":
		http.Redirect(w, r, f.trap.URL, http.StatusTemporaryRedirect)
		return
	case "500", "503":
		http.Error(w, "on fire", map[string]int{"500": 500, "503": 503}[mode])
		return
	case "ambiguous":
		next.ServeHTTP(httptest.NewRecorder(), r) // it has worked, and nobody hears of it
	default:
		_, _ = io.Copy(io.Discard, r.Body)
	}
	f.spoil(mode, w, r)
}

// spoil ends a connection without a whole answer.
func (f *front) spoil(mode string, w http.ResponseWriter, r *http.Request) {
	if mode == "hang" {
		<-r.Context().Done()
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.t.Errorf("front: %v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	if tcp, ok := conn.(*net.TCPConn); ok && mode == "reset" {
		_ = tcp.SetLinger(0)
	}
	if mode != "drip" {
		return
	}
	tick := time.NewTicker(campaignTimeout / 10)
	defer tick.Stop()
	for _, b := range []byte("HTTP/1.1 202 Accepted\r\nX-Padding: " + strings.Repeat("x", 1000)) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		<-tick.C
	}
}

// met reports whether every fault has met a request; those that are refused a
// connection are the sender's to count.
func (f *front) met() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(faults, func(fault string) bool { return fault != "refuse" && f.hits[fault] == 0 })
}

// verdict fails the test for what a front has seen, or has not.
func (f *front) verdict() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t.Logf("requests by mode: %v", f.hits)
	if n := f.trapped.Load(); n != 0 {
		f.t.Errorf("%d requests followed a redirect", n)
	}
}
