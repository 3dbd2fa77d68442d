package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors by which a Reader or a Commander says what kind of failure it is.
var (
	// ErrNotFound says that nothing has the given name.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable says that the same request may succeed later.
	ErrUnavailable = errors.New("not available now")
)

// A problem is an error of RFC 9457. As a Go error it ends a handler.
type problem struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	Instance  string      `json:"instance,omitempty"`
	RequestID string      `json:"request_id"`
	Errors    []fault     `json:"errors,omitempty"`
	Rejected  []rejection `json:"rejected,omitempty"` // of a body with events
}

// A fault is one thing wrong with a request, or with the file that it is about.
type fault struct {
	Path    string `json:"path"` // name of a parameter, place in a body, or setting
	Message string `json:"message"`
	Value   string `json:"value,omitempty"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`   // from 1
	Column  int    `json:"column,omitempty"` // from 1, in characters
}

// Error implements error.
func (p problem) Error() string { return strconv.Itoa(p.Status) + " " + p.Detail }

func badParameter(name, value, message string) problem {
	return problem{
		Status: http.StatusBadRequest, Detail: name + ": " + message,
		Errors: []fault{{Path: name, Message: message, Value: value[:min(len(value), 100)]}},
	}
}

func notFound(detail string) problem { return problem{Status: http.StatusNotFound, Detail: detail} }

// problemOf classifies an error of a handler.
func problemOf(err error) problem {
	var p problem
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, ErrNotFound):
		return notFound(err.Error())
	case errors.As(err, &over):
		return problem{Status: http.StatusRequestEntityTooLarge, Detail: "the body is larger than " + strconv.FormatInt(over.Limit, 10) + " bytes"}
	case errors.Is(err, ErrBusy):
		return problem{Status: http.StatusTooManyRequests, Detail: err.Error() + "; try again"}
	case errors.Is(err, ErrUnavailable):
		return problem{Status: http.StatusServiceUnavailable, Detail: err.Error() + "; try again"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem{Status: http.StatusServiceUnavailable, Detail: "the request took too long; ask for less at once, or try again"}
	}
	return problem{Status: http.StatusInternalServerError, Detail: "driftd failed; its log has the request id"}
}

// lingering is how long a refused request may go on sending its body: nobody is
// kept waiting for an answer by what is not read.
const lingering = 500 * time.Millisecond

// fail sends a problem. net/http reads up to 256 KiB of the body before it answers.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, p problem) {
	p.Type, p.Title, p.Instance, p.RequestID = "about:blank", http.StatusText(p.Status), r.URL.EscapedPath(), requestID(r)
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingering)) // not of recorders in tests
	if forPeople(r) {
		s.failPage(w, p)
		return
	}
	body, err := json.Marshal(p)
	if err != nil { // strings only: cannot happen
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// forPeople tells whether a browser shows the answer to somebody. Under the paths of
// programs a problem is always that of RFC 9457.
func forPeople(r *http.Request) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return strings.Contains(r.Header.Get("Accept"), "text/html") && !slices.Contains([]string{"-", "api", "assets", "ingest", "metrics", "v1"}, first)
}

// failPage sends a problem as a page. It tells no more than the problem does: not
// everybody who gets one may read.
func (s *Server) failPage(w http.ResponseWriter, p problem) {
	var b bytes.Buffer
	err := pages.ExecuteTemplate(&b, "problem", struct {
		pageHead
		Problem problem
	}{pageHead{Title: p.Title + " · driftd", Style: styles.path}, p})
	if err != nil {
		s.Log.Error().Err(err).Str("request_id", p.RequestID).Msg("a problem could not be shown")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b.Bytes())
}

// tooLarge refuses a body by the length that the request says, before it is read.
func tooLarge(w http.ResponseWriter, limit int64) error {
	w.Header().Set("Connection", "close")
	return &http.MaxBytesError{Limit: limit}
}

// linger reads on, after the answer, what is sent of a body that is too large:
// closing at once would take the answer from a client that reads it behind its body.
func linger(w http.ResponseWriter, body io.Reader) {
	if http.NewResponseController(w).Flush() == nil {
		_, _ = io.Copy(io.Discard, body) // until the deadline of fail
	}
}

// sendJSON sends v. Nothing is sent before all of it could be encoded.
func sendJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that hung up needs no answer
	return nil
}

// A list is the form of every list.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"` // null at the end
}

func newList[T any](items []T, next string) list[T] {
	if items == nil {
		items = []T{}
	}
	l := list[T]{Items: items}
	if next != "" {
		l.NextCursor = &next
	}
	return l
}
