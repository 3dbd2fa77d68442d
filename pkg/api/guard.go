package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
)

// contentPolicy lets a page load nothing but driftd's own scripts, style sheet and
// images: names in events are shown, so a page must not be able to run them.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// guard puts the checks that hold for every request in front of mux.
func (s *Server) guard(mux *http.ServeMux, checkHost bool) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun(r.Context())
		id := fmt.Sprintf("%s-%d", s.started, s.requests.Add(1))
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
		setHeaders(w.Header(), id)
		defer s.recover(w, r)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.write))
		switch {
		case checkHost && !s.allowedHost(r):
			s.fail(w, r, problem{Status: http.StatusMisdirectedRequest, Detail: fmt.Sprintf(
				"driftd does not answer as %q; use a loopback name or its address, or name it in http.hosts or http.external_url", r.Host)})
		case origin.Check(r) != nil:
			s.fail(w, r, problem{Status: http.StatusForbidden, Detail: "the request comes from a page of another site"})
		default:
			s.dispatch(mux, w, r)
		}
	})
}

func setHeaders(h http.Header, id string) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// Not no-referrer: browsers then send the forms of the pages with Origin: null, which
	// is another site's where plain HTTP keeps them from saying Sec-Fetch-Site.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", id)
}

// allowedHost reports whether a Host header names this machine, the address that
// the request came to, or a name that was configured. Without the check, a page
// of any site could read everything by letting its own name resolve to 127.0.0.1
// (DNS rebinding).
func (s *Server) allowedHost(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(r.Host); err == nil {
		host = h
	}
	host = canonicalHost(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if s.hosts[host] {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.IsLoopback() {
		return err == nil
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	here, err := netip.ParseAddrPort(local.String())
	return err == nil && here.Addr().Unmap() == addr.Unmap()
}

func canonicalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// dispatch is the mux, with its plain-text refusals turned into problems.
func (s *Server) dispatch(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	h, pattern := mux.Handler(r)
	if pattern != "" {
		mux.ServeHTTP(w, r)
		return
	}
	refusal := refused{header: http.Header{}}
	h.ServeHTTP(&refusal, r)
	switch refusal.status {
	case http.StatusNotFound:
		s.fail(w, r, problem{Status: refusal.status, Detail: "there is nothing at this path; /api/v1/openapi.json lists what there is"})
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", refusal.header.Get("Allow"))
		s.fail(w, r, problem{Status: refusal.status, Detail: "this path takes " + refusal.header.Get("Allow")})
	default:
		h.ServeHTTP(w, r)
	}
}

// refused takes a refusal without sending it.
type refused struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (f *refused) Header() http.Header { return f.header }

// WriteHeader implements http.ResponseWriter.
func (f *refused) WriteHeader(status int) { f.status = status }

// Write implements http.ResponseWriter.
func (f *refused) Write(b []byte) (int, error) { return len(b), nil }

// recover turns a panic, which is a defect, into a 500 and a line in the log.
func (s *Server) recover(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // recovered values are compared as net/http does
		panic(cause)
	}
	s.Log.Error().Str("request_id", requestID(r)).Str("path", r.URL.Path).Str("panic", conceal(r, fmt.Sprint(cause))).
		Bytes("stack", debug.Stack()).Msg("a request failed by a defect")
	s.fail(w, r, problem{Status: http.StatusInternalServerError, Detail: "a defect of driftd; its log has the request id"})
}

type requestKey struct{}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestKey{}).(string)
	return id
}
