package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stream"
)

// A running is a daemon whose configuration is a file that tests change.
type running struct {
	*testing.T
	*daemon.Instance
	file string
	book *logbook
	hook *hook
	said bytes.Buffer // every answer to a reload

	published atomic.Uint64 // events, acknowledged
}

// A hook is a webhook that remembers bodies.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.bodies = append(h.bodies, string(body))
	}))
	t.Cleanup(h.Close)
	return h
}

// heard counts the bodies that hold every text.
func (h *hook) heard(texts ...string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bodies {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(b, text) }) {
			n++
		}
	}
	return n
}

// newReloadable returns one that has no configuration yet.
func newReloadable(t *testing.T) *running {
	t.Helper()
	noLeaks(t)
	return &running{T: t, file: filepath.Join(t.TempDir(), "driftd.yaml"), book: &logbook{}, hook: newHook(t)}
}

// start runs what the file says.
func (r *running) start() {
	r.Helper()
	load := func() (*config.Config, error) { return config.Load(r.file, config.Options{}) }
	c, err := load()
	if err != nil {
		r.Fatal(err)
	}
	r.Instance, err = daemon.Start(r.Context(), c, daemon.Extras{
		Version: "test", Log: zerolog.New(r.book).Level(zerolog.TraceLevel), Load: load,
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Instance.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, r.Close()); err != nil {
			r.Error(err)
		}
	})
}

func (r *running) base() string { return reloadBase(filepath.Dir(r.file), r.hook.URL) }

func (r *running) put(file, text string) {
	r.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *running) write(text string) { r.put(r.file, text) }

// publish sends an event of a model at a time.
func (r *running) publish(p *stream.EventPublisher, model string, at time.Time) {
	r.Helper()
	n := r.published.Load() + 1
	id := strconv.FormatUint(n, 10)
	body := fmt.Sprintf(`{"id":%q,"time":%q,"model":%q,"model_version":"1","features":{"amount":%d,"user":"u%d"}}`, id, at.Format(time.RFC3339Nano), model, n%50, n%7)
	if err := p.Publish(r.Context(), stream.OutgoingEvent{Subject: "ml.predictions." + model + ".1", Kind: "prediction", ID: id, Data: []byte(body)}); err != nil {
		r.Error(err)
	}
	r.published.Store(n)
}

// post asks for a reload over HTTP.
func (r *running) post() (status int, body string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.URL()+"/-/reload", http.NoBody)
	if err != nil {
		r.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	r.said.Write(text)
	return resp.StatusCode, string(text)
}

// states returns the alerts that are not inactive.
func (r *running) states() []api.Alert { return r.Snapshot().Alerts }

func (r *running) wait(what string, holds func() bool) {
	r.Helper()
	waitFor(r.T, what, holds)
}

// counted is how many events are counted and committed.
func (r *running) counted() uint64 {
	r.Helper()
	s := r.Snapshot()
	if err := s.Account.Balance(s.Stream.CommittedSeq); err != nil {
		r.Error(err)
	}
	return s.Account.Total(drift.Counted)
}
