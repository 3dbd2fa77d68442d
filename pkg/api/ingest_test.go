package api_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/event"
)

// An inbox keeps what it is given, or fails, or waits until it may go on. The
// real one is tested in pkg/daemon; this one shows what JetStream rarely does.
type inbox struct {
	got     []api.Message
	err     error
	entered chan struct{} // gets a value when a request waits, if not nil
	leave   chan struct{} // lets it go on
	ctx     error         // of the last context
}

func (b *inbox) MaxBytes() int { return 1 << 20 }

func (b *inbox) Publish(ctx context.Context, messages []api.Message) ([]int, error) {
	if b.entered != nil {
		b.entered <- struct{}{}
		select {
		case <-b.leave:
		case <-ctx.Done():
		}
		return nil, ctx.Err()
	}
	b.ctx = ctx.Err()
	b.got = append(b.got, messages...)
	return nil, b.err
}

func newInbox(t *testing.T) (*inbox, *api.Server) {
	t.Helper()
	b := &inbox{}
	return b, newServer(t, newWorld(t), func(o *api.Options) {
		o.Ingest = &api.Ingest{Publisher: b, Decoders: []*event.Decoder{event.NewDecoder(nil, event.Limits{})}}
	})
}

const prediction = `{"id":"a","model":"m","prediction":1}`

// Whatever JetStream does, the answer comes in time and says what to do.
func TestIngestAnswersInTime(t *testing.T) {
	b, s := newInbox(t)
	for _, tc := range []struct {
		err    error
		status int
	}{
		{nil, 202}, {fmt.Errorf("x: %w", api.ErrBusy), 429}, {fmt.Errorf("x: %w", api.ErrUnavailable), 503}, {errors.New("defect"), 500},
	} {
		b.err = tc.err
		r := call(t, s.Handler(), http.MethodPost, "/ingest/v1/predictions", prediction, "Content-Type", jsonType)
		if r.StatusCode != tc.status || (tc.status == 429 || tc.status == 503) != (r.Header.Get("Retry-After") != "") {
			t.Errorf("%v: %d, Retry-After %q", tc.err, r.StatusCode, r.Header.Get("Retry-After"))
		}
	}
	b.entered = make(chan struct{}, 1)
	s.SetIngest(50*time.Millisecond, 100)
	if r := call(t, s.Handler(), http.MethodPost, "/ingest/v1/predictions", prediction, "Content-Type", jsonType); r.StatusCode != 503 {
		t.Errorf("JetStream without an answer: %d", r.StatusCode)
	}
}

// Beyond the bound a request is refused at once, not made to wait.
func TestIngestIsBounded(t *testing.T) {
	b, s := newInbox(t)
	b.entered = make(chan struct{})
	b.leave = make(chan struct{})
	s.SetIngest(10*time.Second, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/ingest/v1/predictions", strings.NewReader(prediction))
		if err != nil {
			t.Error(err)
			return
		}
		r.Host = "localhost"
		r.Header.Set("Content-Type", jsonType)
		s.Handler().ServeHTTP(discard{}, r)
	}()
	<-b.entered
	r := call(t, s.Handler(), http.MethodPost, "/ingest/v1/predictions", prediction, "Content-Type", jsonType)
	if r.StatusCode != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	close(b.leave)
	<-ended
}

// TestIngestOfWhoHangsUp: events that have arrived are stored, whoever still listens.
func TestIngestOfWhoHangsUp(t *testing.T) {
	b, s := newInbox(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/ingest/v1/predictions", strings.NewReader(prediction))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "localhost"
	r.Header.Set("Content-Type", jsonType)
	s.Handler().ServeHTTP(discard{}, r)
	if len(b.got) != 1 || b.ctx != nil {
		t.Errorf("%d messages stored, context: %v", len(b.got), b.ctx)
	}
}

// TestIngestOfZippedBodies: what OpenTelemetry's collectors send is unpacked, within the bound of bodies.
func TestIngestOfZippedBodies(t *testing.T) {
	b, s := newInbox(t)
	zip := func(text string) string {
		var out strings.Builder
		z := gzip.NewWriter(&out)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		return out.String()
	}
	for name, tc := range map[string]struct {
		encoding, body string
		status         int
	}{
		"gzip":              {"gzip", zip(prediction), 202},
		"padded":            {"gzip", zip(prediction + strings.Repeat(" ", 1<<19)), 202},
		"a bomb":            {"gzip", zip(strings.Repeat(" ", 64<<20)), 413},
		"cut":               {"gzip", zip(prediction)[:20], 400},
		"not gzip":          {"gzip", prediction, 400},
		"another":           {"zstd", prediction, 415},
		"twice":             {"gzip, gzip", zip(zip(prediction)), 415},
		"none, and says so": {"identity", prediction, 202},
	} {
		b.got = nil
		r := call(t, s.Handler(), http.MethodPost, "/ingest/v1/predictions", tc.body, "Content-Type", jsonType, "Content-Encoding", tc.encoding)
		if r.StatusCode != tc.status || (len(b.got) == 1) != (tc.status == 202) {
			t.Errorf("%s: %d with %d messages, want %d", name, r.StatusCode, len(b.got), tc.status)
		}
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// Only what JetStream needs of a header is kept, and bodies are cut where they
// can be.
func TestIngestMessages(t *testing.T) {
	b, s := newInbox(t)
	for _, tc := range []struct {
		name, body string
		header     []string
		status     int
		want       []string // subject, id, header
	}{
		{"byte order mark", "\uFEFF" + prediction, nil, 202, []string{"ml.predictions.m prediction:a map[]"}},
		{"blanks", "\n [ " + prediction + " \n , " + prediction + " ] \n", nil, 202, []string{"ml.predictions.m prediction:a map[]", "ml.predictions.m prediction:a map[]"}},
		{"braces in texts", `[{"id":"}],{","model":"m","prediction":"\"]"},` + prediction + "]", nil, 202, []string{"ml.predictions.m prediction:}],{ map[]", "ml.predictions.m prediction:a map[]"}},
		{"objects over lines", "{\"id\":\"a\",\n\"model\":\"m\",\"prediction\":1}\n" + prediction, nil, 202, []string{"ml.predictions.m prediction:a map[]", "ml.predictions.m prediction:a map[]"}},
		{"secrets stay out", prediction, []string{"Authorization", "Bearer x", "Cookie", "x"}, 202, []string{"ml.predictions.m prediction:a map[]"}},
		// The hash is sha256sum of prediction: and 600 x.
		{"a long id", `{"id":"` + strings.Repeat("x", 600) + `","model":"m","prediction":1}`, nil, 202, []string{
			"ml.predictions.m prediction:sha256:d6923ad313e3a4b74005f5f69648809b884a062ec2919c22808627a715fc4f2c map[]",
		}},
		{"ids of rows", `{"model":"m","rows":[{"id":"a","prediction":1},{"id":"b","prediction":1}]}`, nil, 202, nil},
		{"too long for NATS", `{"model":"m","id":"r","x":"` + strings.Repeat("x", 1<<20) + `","rows":[{"prediction":1}]}`, nil, 413, nil},
		{"too many", strings.Repeat("{}\n", 10_001), nil, 413, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.got = nil
			r := call(t, s.Handler(), http.MethodPost, "/ingest/v1/predictions", tc.body, append([]string{"Content-Type", jsonType}, tc.header...)...)
			var got []string
			for _, m := range b.got {
				got = append(got, fmt.Sprint(m.Subject, " ", m.ID, " ", m.Header))
			}
			if r.StatusCode != tc.status || tc.want != nil && !slices.Equal(got, tc.want) || tc.status != 202 && got != nil {
				t.Errorf("%d: %q", r.StatusCode, got)
			}
		})
	}
	off := newServer(t, newWorld(t))
	if r := call(t, off.Handler(), http.MethodPost, "/ingest/v1/kpis", "{}", "Content-Type", jsonType); r.StatusCode != 404 {
		t.Errorf("without Ingest: %d", r.StatusCode)
	}
	if _, err := api.New(api.Options{Reader: newWorld(t), Ingest: &api.Ingest{}}); err == nil {
		t.Error("an Ingest without parts")
	}
}
