package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// A writer answers a request that changes something.
type writer func(r *request, body []byte) (status int, answer any, err error)

// write runs a writer once for each Idempotency-Key: the same request again gets
// the same answer, and changes nothing.
func (s *Server) write(do writer) func(http.ResponseWriter, *request) error {
	return func(w http.ResponseWriter, r *request) error {
		if s.Commander == nil {
			return problem{Status: http.StatusServiceUnavailable, Detail: "this driftd takes no changes"}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		key := r.Header.Get("Idempotency-Key")
		if len(key) > 255 {
			return badParameter("Idempotency-Key", key, "must have at most 255 characters")
		}
		if key == "" {
			status, answer, err := do(r, body)
			if err != nil {
				return err
			}
			return sendJSON(w, status, answer)
		}
		known, err := s.replies.begin(key, sha256.Sum256(append([]byte(r.URL.Path+"\n"), body...)))
		if err != nil {
			return err
		}
		if known != nil {
			w.Header().Set("Idempotency-Replayed", "true")
			return sendJSON(w, known.status, known.answer)
		}
		status, answer, err := do(r, body)
		s.replies.end(key, status, answer, err)
		if err != nil {
			return err
		}
		return sendJSON(w, status, answer)
	}
}

// replyCount is how many answers are remembered for their Idempotency-Key.
const replyCount = 1024

// replies remembers the answers to requests that had an Idempotency-Key. They
// do not outlive the process: what they protect from is a client that tries
// again.
type replies struct {
	mu    sync.Mutex // guards the rest
	byKey map[string]*reply
	order []string // keys of finished ones, oldest first
}

type reply struct {
	request [sha256.Size]byte
	done    bool
	status  int
	answer  any
}

func newReplies() *replies { return &replies{byKey: map[string]*reply{}} }

// begin returns the answer to a request that was answered before, or nil when
// the caller must answer it and call end.
func (l *replies) begin(key string, request [sha256.Size]byte) (*reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.byKey[key]
	switch {
	case known == nil:
		l.byKey[key] = &reply{request: request}
		return nil, nil
	case known.request != request:
		return nil, problem{Status: http.StatusUnprocessableEntity, Detail: "this Idempotency-Key belongs to another request; take a new one"}
	case !known.done:
		return nil, problem{Status: http.StatusConflict, Detail: "a request with this Idempotency-Key is under way"}
	}
	return known, nil
}

// end remembers an answer; a failure is forgotten, so that it can be tried again.
func (l *replies) end(key string, status int, answer any, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		delete(l.byKey, key)
		return
	}
	r := l.byKey[key]
	r.done, r.status, r.answer = true, status, answer
	if l.order = append(l.order, key); len(l.order) > replyCount {
		delete(l.byKey, l.order[0])
		l.order = l.order[1:]
	}
}

// actor is who a change is recorded under: the name of the token or, after
// "cert:", in the certificate. Without access control nobody proves a name, so it
// is where the request came from.
func (r *request) actor() string {
	if id, ok := r.Context().Value(identityKey{}).(Identity); ok {
		return id.Name
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return "http:" + host
}

// decodeBody reads a JSON object whose fields must all be known.
func decodeBody(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return problem{Status: http.StatusBadRequest, Detail: "the body cannot be read: " + err.Error()}
	}
	return nil
}

// commandProblem classifies an error of the Commander. One that is no failure
// of driftd is a refusal with its reason, and nothing was changed.
func commandProblem(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return problem{Status: http.StatusConflict, Detail: err.Error()}
}
