package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
)

func TestNewNamesEveryFault(t *testing.T) {
	_, err := api.New(api.Options{ExternalURL: "driftd", Pane: -1})
	for _, want := range []string{"reader", "external URL", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
}

// TestHosts: a page of another site cannot read driftd by letting its own name
// point here, with any method.
func TestHosts(t *testing.T) {
	s := newServer(t, newWorld(t))
	for host, want := range map[string]int{
		"127.0.0.1:8480": 200, "127.8.9.1": 200, "localhost": 200, "LOCALHOST.:1": 200, "[::1]:8480": 200, "[::1]": 200,
		"driftd.example.org": 200, "driftd.example.org:8443": 200,
		"evil.example": 421, "evil.example:8480": 421, "": 421, "localhost.evil.example": 421, "10.0.0.1": 421, "127.0.0.1.evil.example": 421, "[::2]:1": 421,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
			r := call(t, s.Handler(), method, "/api/v1/status", "", "Host", host)
			if (r.StatusCode == 421) != (want == 421) || method == http.MethodGet && r.StatusCode != want {
				t.Errorf("%s with Host %q: %d, want %d", method, host, r.StatusCode, want)
			}
		}
		if r := call(t, s.MetricsHandler(), http.MethodGet, "/metrics", "", "Host", host); r.StatusCode != 200 {
			t.Errorf("the metrics listener refuses Host %q: %d", host, r.StatusCode)
		}
	}
}

// TestHostsOfAListener: beside loopback a request may name the address it came
// to, and what is configured.
func TestHostsOfAListener(t *testing.T) {
	s := newServer(t, newWorld(t), func(o *api.Options) { o.Hosts = []string{"Driftd.internal", "10.0.0.7"} })
	here := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 8480})
	for host, want := range map[string]int{
		"10.0.0.5:8480": 200, "10.0.0.5": 200, "driftd.internal:8480": 200, "DRIFTD.internal.": 200, "10.0.0.7": 200,
		"10.0.0.6": 421, "internal": 421, "10.0.0.5.evil.example": 421,
	} {
		r := httptest.NewRequestWithContext(here, http.MethodGet, "/api/v1/status", nil)
		r.Host = host
		rec := httptest.NewRecorder()
		if s.Handler().ServeHTTP(rec, r); rec.Code != want {
			t.Errorf("Host %q: %d, want %d", host, rec.Code, want)
		}
	}
}

func TestOtherSitesCannotWrite(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	id := w.snapshot.Models[1].Baseline.ID
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"a tool":         {nil, 200},
		"our own page":   {[]string{"Origin", "http://127.0.0.1:8480", "Sec-Fetch-Site", "same-origin"}, 200},
		"another origin": {[]string{"Origin", "https://evil.example"}, 403},
		"another site":   {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another port":   {[]string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := call(t, s.Handler(), http.MethodPost, "/api/v1/baselines/"+id+"/approve", "", c.headers...)
			if r.StatusCode != c.want || r.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%d %v, want %d", r.StatusCode, r.Header, c.want)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	s := newServer(t, newWorld(t))
	r := call(t, s.Handler(), http.MethodPut, "/api/v1/baselines", "")
	if r.StatusCode != 405 || r.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(r.Header.Get("Allow"), "POST") {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	if r := call(t, s.Handler(), http.MethodHead, "/api/v1/status", ""); r.StatusCode != 200 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
	if r := call(t, s.Handler(), http.MethodGet, "/api//v1/status", ""); r.StatusCode/100 != 3 {
		t.Errorf("a path that is not clean: %d, want a redirect", r.StatusCode)
	}
	for _, target := range []string{"/", "/api/v1/status", "/models/x"} {
		if r := call(t, s.MetricsHandler(), http.MethodGet, target, ""); r.StatusCode != 404 {
			t.Errorf("the metrics listener serves %s: %d", target, r.StatusCode)
		}
	}
}

// TestHeaders: every answer, good or bad, forbids what pages could do.
func TestHeaders(t *testing.T) {
	s := newServer(t, newWorld(t), func(o *api.Options) {
		o.Extra = map[string]http.Handler{"GET /demo/": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "GET /panic": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("defect") })}
	})
	for _, target := range []string{"/", "/metrics", "/api/v1/status", "/api/v1/none", "/api/v1/status?x=1", "/demo/page", "/panic", "/-/healthy", "/models/fraud"} {
		h := call(t, s.Handler(), http.MethodGet, target, "").Header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" || h.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v", target, h)
		}
	}
	if r := call(t, s.Handler(), http.MethodGet, "/panic", ""); r.StatusCode != 500 || strings.Contains(text(t, r), "defect of driftd") == false {
		t.Errorf("a panic gives %d", r.StatusCode)
	}
}

// TestOpenAPI: the description names exactly what the mux serves.
func TestOpenAPI(t *testing.T) {
	s := newServer(t, newWorld(t))
	paths := get(t, s, "/api/v1/openapi.json", 200)["paths"].(object)
	served := map[string]bool{}
	for _, op := range s.Operations() {
		method, path, _ := strings.Cut(op, " ")
		path = strings.TrimSuffix(path, "{$}")
		served[path+" "+strings.ToLower(method)] = true
		if item, ok := paths[path].(object); !ok || item[strings.ToLower(method)] == nil {
			t.Errorf("%s is served and not described", op)
		}
	}
	for path, item := range paths {
		for method := range item.(object) {
			if !served[path+" "+method] {
				t.Errorf("%s %s is described and not served", method, path)
			}
			target := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x")
			if method == "get" && path != "/api/v1/stream" {
				if r := call(t, s.Handler(), http.MethodGet, target, ""); r.StatusCode == 405 || r.StatusCode == 500 {
					t.Errorf("GET %s: %d", target, r.StatusCode)
				}
			}
		}
	}
	var walk func(v any)
	doc := get(t, s, "/api/v1/openapi.json", 200)
	schemas := doc["components"].(object)["schemas"].(object)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok && schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("%s points nowhere", ref)
			}
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc)
}

// serve runs a server on a real listener and returns its address and a func
// that ends it and returns what Serve did.
func serve(t *testing.T, s *api.Server) (addr string, end func() error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(cancel)
	return l.Addr().String(), func() error { cancel(); return <-ended }
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second)) // only if the test fails
	return c
}

// TestSlowClients: who sends a request byte by byte is cut off, and others are
// served meanwhile.
func TestSlowClients(t *testing.T) {
	for name, begin := range map[string]string{
		"half a header": "GET /metrics HTTP/1.1\r\nHost: localh",
		"half a body":   "POST /api/v1/baselines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
		"nothing":       "",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, newWorld(t))
			s.Hasten(200 * time.Millisecond)
			addr, end := serve(t, s)
			c := dial(t, addr)
			fmt.Fprint(c, begin)
			r, err := http.Get("http://" + addr + "/-/healthy")
			if err != nil || r.StatusCode != 200 {
				t.Fatalf("others are not served: %v", err)
			}
			_ = r.Body.Close()
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("the connection was not closed: %v", err)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLimitsOfARequest(t *testing.T) {
	s := newServer(t, newWorld(t))
	addr, _ := serve(t, s)
	for name, c := range map[string]struct {
		request string
		want    string
	}{
		"headers": {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
		"body":    {"POST /api/v1/baselines/capture HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat(" ", 20000), "413"},
		"chunks":  {"POST /api/v1/baselines/capture HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5000\r\n" + strings.Repeat(" ", 0x5000) + "\r\n", "413"},
		"zipped":  {"POST /api/v1/baselines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", "415"},
		"form":    {"POST /api/v1/baselines HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", "415"},
		"no type": {"POST /api/v1/baselines HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", "415"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, addr)
			fmt.Fprint(conn, c.request)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.Contains(line, " "+c.want+" ") {
				t.Errorf("%q, %v, want %s", line, err, c.want)
			}
		})
	}
}

// TestConnectionLimit: one that has no request gives up its place to one that comes,
// the longest idle first; where all have one, further ones wait until it ends.
func TestConnectionLimit(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := newServer(t, newWorld(t), func(o *api.Options) {
		o.Extra = map[string]http.Handler{"GET /slow": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-leave
			fmt.Fprint(w, "done")
		})}
	})
	s.SetConnections(2)
	addr, end := serve(t, s)
	ask := func(c net.Conn, path string) { fmt.Fprint(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n") }
	answer := func(c net.Conn) string {
		line, err := bufio.NewReader(c).ReadString('\n')
		return fmt.Sprint(line, err)
	}
	first, second := dial(t, addr), dial(t, addr)
	ask(first, "/-/healthy")
	if line := answer(first); !strings.Contains(line, "200") {
		t.Fatal(line)
	}
	fmt.Fprint(second, "GET / HTTP/1.1\r\nHost: loc") // half a header holds no place
	third, fourth := dial(t, addr), dial(t, addr)
	ask(third, "/slow")
	<-entered
	ask(fourth, "/slow")
	<-entered
	for name, c := range map[string]net.Conn{"idle": first, "half a header": second} {
		if b, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: not closed: %q, %v", name, b, err)
		}
	}
	fifth := dial(t, addr)
	ask(fifth, "/-/healthy")
	_ = fifth.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := fifth.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a third connection got %d bytes while two have requests", n)
	}
	close(leave)
	_ = fifth.SetReadDeadline(time.Now().Add(20 * time.Second))
	for _, c := range []net.Conn{third, fourth, fifth} {
		if line := answer(c); !strings.Contains(line, "200") {
			t.Errorf("%q after the others had their answers", line)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestRefusalsAreNotKeptWaiting: what is refused is refused soon, whether the body comes or not.
func TestRefusalsAreNotKeptWaiting(t *testing.T) {
	addr, _ := serve(t, newServer(t, newWorld(t)))
	for name, tc := range map[string]struct {
		header string
		send   int
		want   string
	}{
		"wrong type, no body":        {"Host: localhost\r\nContent-Type: text/plain\r\nContent-Length: 10000", 1, "415"},
		"wrong host, no body":        {"Host: evil.example\r\nContent-Length: 100000", 1, "421"},
		"another site, no body":      {"Host: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 100000", 1, "403"},
		"too large, body comes":      {"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 16000000", 16_000_000, "413"},
		"too large, body is missing": {"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 16000000", 1, "413"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, addr)
			_ = c.SetDeadline(time.Now().Add(15 * time.Second)) // the server's own bound is 30 s
			fmt.Fprint(c, "POST /api/v1/baselines/capture HTTP/1.1\r\n"+tc.header+"\r\n\r\n")
			if n, err := c.Write(bytes.Repeat([]byte(" "), tc.send)); err != nil {
				t.Errorf("after %d bytes of the body: %v", n, err)
			}
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " "+tc.want+" ") {
				t.Errorf("%q, %v, want %s", line, err, tc.want)
			}
		})
	}
}

// TestShutdown: a request that was begun gets its answer.
func TestShutdown(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := newServer(t, newWorld(t), func(o *api.Options) {
		o.Extra = map[string]http.Handler{"GET /slow": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-leave
			fmt.Fprint(w, "done")
		})}
	})
	addr, end := serve(t, s)
	got := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + addr + "/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		defer func() { _ = r.Body.Close() }()
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	close(leave)
	if body := <-got; body != "done" {
		t.Errorf("%q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestStuckRequestIsCut: the end has a bound.
func TestStuckRequestIsCut(t *testing.T) {
	entered := make(chan struct{})
	s := newServer(t, newWorld(t), func(o *api.Options) {
		o.Extra = map[string]http.Handler{"GET /stuck": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})}
	})
	s.Hasten(100 * time.Millisecond)
	addr, end := serve(t, s)
	fmt.Fprint(dial(t, addr), "GET /stuck HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestServeTellsOfABrokenListener(t *testing.T) {
	s := newServer(t, newWorld(t))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := s.ServeMetrics(t.Context(), l); err == nil || !strings.Contains(err.Error(), "serve http") {
		t.Errorf("%v", err)
	}
}

// An sse reads server-sent events.
type sse struct {
	*bufio.Reader
	body io.Closer
}

func subscribe(t *testing.T, addr string, headers ...string) sse {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/api/v1/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return sse{bufio.NewReader(res.Body), res.Body}
}

// next returns the next event that is not a comment.
func (s sse) next(t *testing.T) (event, id string, data object) {
	t.Helper()
	for {
		line, err := s.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			event = value
		case "id":
			id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				t.Fatal(err)
			}
		case "":
			if event != "" {
				return event, id, data
			}
		}
	}
}
