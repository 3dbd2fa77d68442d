package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// What a refusal is counted as.
type failure int

const (
	noCredential failure = iota
	wrongCredential
	expiredCredential
	tooManyAttempts
	roleTooLow
	failureKinds
)

var failureNames = [failureKinds]string{"missing", "wrong", "expired", "limited", "forbidden"}

type identityKey struct{}

// authorize lets a request through that may do what role allows, with its
// Identity in the context. Without an Access everybody may everything: the
// listener is on loopback then.
func (s *Server) authorize(role Role, w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	a := s.Access
	if role == Public || !a.guarded() {
		return r, nil
	}
	id, err := a.identify(w, r, time.Now())
	if err != nil {
		return nil, err
	}
	if !id.Role.May(role) {
		a.failures[roleTooLow].Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer realm="driftd", error="insufficient_scope", scope="`+role.String()+`"`)
		return nil, problem{Status: http.StatusForbidden, Detail: "this needs the role " + role.String() + "; " + id.Name + " has the role " + id.Role.String()}
	}
	return r.WithContext(context.WithValue(r.Context(), identityKey{}, id)), nil
}

// identify returns who asks: a token counts before a certificate.
func (a *Access) identify(w http.ResponseWriter, r *http.Request, now time.Time) (Identity, error) {
	secret, given := credential(r)
	if !given {
		id, known := a.certified(r.TLS)
		switch {
		case known:
			return id, nil
		case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
			a.failures[roleTooLow].Add(1)
			return id, problem{Status: http.StatusForbidden, Detail: "no name in this certificate is listed in http.tls.clients"}
		}
		a.failures[noCredential].Add(1)
		challenge(w, "")
		return id, problem{Status: http.StatusUnauthorized, Detail: "this needs a token: send Authorization: Bearer <token>, or the token as the password of HTTP basic"}
	}
	addr := remoteAddr(r)
	if wait := a.attempts.wait(addr, now); wait > 0 {
		a.failures[tooManyAttempts].Add(1)
		w.Header().Set("Retry-After", strconv.Itoa(int(max(1, wait.Seconds()))))
		return Identity{}, problem{Status: http.StatusTooManyRequests, Detail: "too many wrong tokens; wait before trying again"}
	}
	var shown *token
	if tokens := a.tokens.Load(); tokens != nil && secret != "" {
		shown = find(*tokens, secret)
	}
	if shown != nil && shown.expired(now) { // no guess, and no proof either: the limits do not hear of it
		a.failures[expiredCredential].Add(1)
		challenge(w, `, error="invalid_token", error_description="expired"`)
		return Identity{}, problem{Status: http.StatusUnauthorized, Detail: "this token of " + shown.Name + " expired at " + shown.expires.UTC().Format(time.RFC3339) + ": ask for a new one (driftd token new)"}
	}
	a.attempts.note(addr, now, shown != nil)
	if shown == nil {
		a.failures[wrongCredential].Add(1)
		challenge(w, `, error="invalid_token"`)
		return Identity{}, problem{Status: http.StatusUnauthorized, Detail: "this token is not known: it was mistyped, or withdrawn"}
	}
	return shown.Identity, nil
}

// withdrawn reports that the token of a request which goes on is not what it was
// when the request began, or has expired. A certificate is good as long as its connection.
func (r *request) withdrawn() bool {
	id, known := r.Context().Value(identityKey{}).(Identity)
	secret, given := credential(r.Request)
	if !known || !given {
		return false
	}
	shown := find(*r.server.Access.tokens.Load(), secret)
	return shown == nil || shown.Identity != id || shown.expired(time.Now())
}

// challenge says how to prove who one is; the second is for browsers.
func challenge(w http.ResponseWriter, more string) {
	w.Header()["Www-Authenticate"] = []string{`Bearer realm="driftd"` + more, `Basic realm="driftd", charset="UTF-8"`}
}

// credential returns what a request shows: a bearer token, or the password of
// HTTP basic. It is given even when it cannot be read.
func credential(r *http.Request) (secret string, given bool) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return "", len(headers) > 1
	}
	scheme, rest, _ := strings.Cut(headers[0], " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), true
	}
	_, password, _ := r.BasicAuth()
	return password, true
}

func remoteAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, _ := netip.ParseAddr(host)
	return addr
}

// conceal takes what the request showed as its credential out of a text for the
// log.
func conceal(r *http.Request, text string) string {
	for _, h := range r.Header.Values("Authorization") {
		if _, rest, _ := strings.Cut(h, " "); rest != "" {
			text = strings.ReplaceAll(text, rest, "<secret>")
		}
	}
	if secret, _ := credential(r); secret != "" {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	return text
}

// protect puts authorize in front of a page that is no route.
func (s *Server) protect(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admitted, err := s.authorize(Read, w, r)
		if err != nil {
			s.fail(w, r, problemOf(err))
			return
		}
		h.ServeHTTP(w, admitted)
	})
}
