package fakes

import (
	"io"
	"net/http"
	"slices"
	"sync"
)

const (
	maxCalls = 10_000
	maxBody  = 1 << 20
)

// A Call is a request that a fake received and the status it answered.
type Call struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	Status       int
}

// A recorder remembers calls and plays scripted failures. Its methods may be
// called from any goroutine.
type recorder struct {
	mu     sync.Mutex
	calls  []Call    // guarded by mu
	script []failure // guarded by mu
}

type failure struct {
	status     int
	retryAfter string
	body       string
}

// FailNext makes the next n calls fail with a status and, unless empty, a
// Retry-After header. Failures queue up behind those scripted before.
func (r *recorder) FailNext(n, status int, retryAfter string) {
	r.fail(n, failure{status, retryAfter, http.StatusText(status)})
}

func (r *recorder) fail(n int, f failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.script = append(r.script, f)
	}
}

// Calls returns every call so far, failed ones too, oldest first.
func (r *recorder) Calls() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// serve reads a call, answers it from the script or else with handle, and
// records it. handle runs under the lock, so it may touch the fake's state.
func (r *recorder) serve(w http.ResponseWriter, req *http.Request, handle func(body []byte) (status int, answer string)) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
	if err != nil {
		http.Error(w, "read body", http.StatusBadRequest)
		return
	}
	status, answer, retryAfter := r.answer(req, body, handle)
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer) // the caller may have gone
}

func (r *recorder) answer(req *http.Request, body []byte, handle func([]byte) (int, string)) (status int, answer, retryAfter string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.script) > 0 {
		status, answer, retryAfter = r.script[0].status, r.script[0].body, r.script[0].retryAfter
		r.script = r.script[1:]
	} else {
		status, answer = handle(body)
	}
	if len(r.calls) == maxCalls {
		r.calls = slices.Delete(r.calls, 0, maxCalls/10)
	}
	r.calls = append(r.calls, Call{Method: req.Method, Path: req.URL.Path, Header: req.Header.Clone(), Body: body, Status: status})
	return status, answer, retryAfter
}
