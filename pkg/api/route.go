package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A route is one operation: what the mux serves and what OpenAPI tells of it.
type route struct {
	method, path string
	role         Role // who may ask; without one, and not public, admin
	public       bool // anybody may ask
	summary      string
	query        []parameter
	body         string // media type of the request's body, "" for none
	bodyLimit    int64
	bodies       []string // instead of body: media types that the handler itself checks
	bodyOf       any      // zero value of a JSON body
	answer       any      // zero value of the JSON body of a success; nil for other media types
	media        string   // of a success; "" is application/json
	scrape       bool     // also served by MetricsHandler, and when degraded
	degraded     bool     // served when degraded
	heavy        bool     // reads many windows: few at a time
	endless      bool     // an event stream: no deadline
	handle       func(http.ResponseWriter, *request) error
}

// need returns the role that a request must have. A route that says nothing is
// closed.
func (rt *route) need() Role {
	switch {
	case rt.public:
		return Public
	case rt.role == Public:
		return Admin
	}
	return rt.role
}

// A parameter is one query parameter.
type parameter struct {
	name, about string
	kind        string // "string", "integer", "boolean", "time", "duration" or values separated by "|"
}

// words are the values that it can have; nil: any of its kind.
func (p parameter) words() []string {
	if !strings.Contains(p.kind, "|") {
		return nil
	}
	return strings.Split(p.kind, "|")
}

// A request is an *http.Request whose parameters are known to exist.
type request struct {
	*http.Request
	server *Server
	now    time.Time
}

// endpoint checks what all operations share and runs one.
func (s *Server) endpoint(rt route, role Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rt.endless {
			ctx, cancel := context.WithTimeout(r.Context(), s.limits.write)
			defer cancel()
			r = r.WithContext(ctx)
		}
		body := r.Body
		admitted, err := s.authorize(role, w, r)
		if err == nil {
			r = admitted
			err = s.admit(rt, w, r)
		}
		if err == nil && rt.heavy {
			select {
			case s.heavy <- struct{}{}:
				defer func() { <-s.heavy }()
			case <-r.Context().Done():
				err = r.Context().Err()
			}
		}
		if err == nil {
			err = rt.handle(w, &request{Request: r, server: s, now: s.Now()})
		}
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				s.Log.Error().Err(err).Str("request_id", requestID(r)).Str("path", r.URL.Path).Msg("a request failed")
			}
			s.fail(w, r, p)
			if p.Status == http.StatusRequestEntityTooLarge && r.ProtoMajor == 1 {
				linger(w, body)
			}
		}
	})
}

// admit refuses parameters that do not exist, values that are none of those that a
// parameter has, and bodies of another kind.
func (s *Server) admit(rt route, w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.RawQuery) > 8<<10 {
		return problem{Status: http.StatusRequestURITooLong, Detail: "the query is longer than 8 KiB"}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem{Status: http.StatusBadRequest, Detail: "the query cannot be read: " + err.Error()}
	}
	for name, values := range query {
		known := slices.IndexFunc(rt.query, func(p parameter) bool { return p.name == name })
		if known < 0 {
			return badParameter(name, values[0], "unknown parameter"+suggest(rt.query))
		}
		if len(values) > 1 {
			return badParameter(name, values[1], "given twice")
		}
		if words := rt.query[known].words(); values[0] != "" && words != nil && !slices.Contains(words, values[0]) {
			return badParameter(name, values[0], "must be one of "+strings.Join(words, ", "))
		}
	}
	limit := max(rt.bodyLimit, 1)
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if rt.body == "" {
		return nil
	}
	if r.ContentLength > limit {
		return tooLarge(w, limit)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != rt.body {
		return problem{Status: http.StatusUnsupportedMediaType, Detail: "the body must be " + rt.body + ": set Content-Type"}
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return problem{Status: http.StatusUnsupportedMediaType, Detail: "the body must not be compressed"}
	}
	return nil
}

func suggest(known []parameter) string {
	if len(known) == 0 {
		return "; this path has none"
	}
	names := make([]string, len(known))
	for i, p := range known {
		names[i] = p.name
	}
	return "; there are " + strings.Join(names, ", ")
}

// text returns a parameter, "" when absent.
func (r *request) text(name string) string { return r.URL.Query().Get(name) }

func (r *request) has(name string) bool { return r.URL.Query().Has(name) }

// time reads RFC 3339, Unix seconds or a span before now like -24h. Zero means
// that the parameter is absent.
func (r *request) time(name string) (time.Time, error) {
	text := r.text(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := parseTime(text, r.now)
	if err != nil {
		return time.Time{}, badParameter(name, text, err.Error())
	}
	return at, nil
}

// span reads a duration, Prometheus' units included.
func (r *request) span(name string, absent time.Duration) (time.Duration, error) {
	text := r.text(name)
	if text == "" {
		return absent, nil
	}
	d, err := parseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("must be positive")
	}
	if err != nil {
		return 0, badParameter(name, text, err.Error())
	}
	return d, nil
}

// number reads an integer between low and high.
func (r *request) number(name string, absent, low, high uint64) (uint64, error) {
	text := r.text(name)
	if text == "" {
		return absent, nil
	}
	n, err := parseUint(text)
	if err != nil || n < low || n > high {
		return 0, badParameter(name, text, fmt.Sprintf("must be a whole number from %d to %d", low, high))
	}
	return n, nil
}

// flag reads true or false.
func (r *request) flag(name string) (bool, error) {
	switch text := r.text(name); text {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, badParameter(name, text, "must be true or false")
	}
}
