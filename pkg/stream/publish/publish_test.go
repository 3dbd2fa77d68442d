package publish_test

import (
	"context"
	"errors"
	"math"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
	"driftd.dev/driftd/pkg/stream/publish"
)

func connect(t *testing.T, url string, o publish.Options) *publish.Client {
	t.Helper()
	c, err := publish.Connect(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What is published is where and what driftd reads, and a repeat is known.
func TestPublish(t *testing.T) {
	url, stop := server()
	defer stop()
	c := connect(t, url, publish.Options{})
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "ML")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)
	for _, tc := range []struct {
		e       publish.Event
		subject string
		id      string
		want    string // as driftd would write the event
	}{
		{
			publish.Prediction{ID: "a", Time: at, Model: "fraud", Version: "1.10", Variant: publish.Canary, Features: map[string]any{"x": math.NaN(), "y": 2, "z": float32(.5)}, Answer: 1.5, Error: "slow", Segments: map[string]string{"channel": "app"}},
			"ml.predictions.fraud.1_10", "prediction:a",
			`{"id":"a","time":"2026-01-01T00:00:00.000000005Z","model":"fraud","model_version":"1.10","variant":"canary","features":{"x":null,"y":2,"z":0.5},"prediction":1.5,"error":"slow","segments":{"channel":"app"}}`,
		},
		{
			publish.Outcome{ID: "o", EntityID: "user", Name: "thumbs", Value: new(float64(0))},
			"ml.outcomes._", "outcome:o",
			`{"id":"o","name":"thumbs","value":0,"entity_id":"user"}`,
		},
		{publish.KPI{ID: "k", Name: "conv.rate", Value: 0}, "ml.kpis.conv_rate", "kpi:k", `{"id":"k","name":"conv.rate","value":0}`},
	} {
		t.Run(tc.id, func(t *testing.T) {
			ack, err := c.Publish(t.Context(), tc.e)
			if err != nil || ack.Duplicate || ack.Stream != "ML" {
				t.Fatalf("%+v, %v", ack, err)
			}
			again, err := c.Publish(t.Context(), tc.e)
			if err != nil || !again.Duplicate || again.Seq != ack.Seq {
				t.Errorf("again: %+v, %v", again, err)
			}
			m, err := s.GetMsg(t.Context(), ack.Seq)
			if err != nil {
				t.Fatal(err)
			}
			var b event.Batch
			if r := event.NewDecoder(nil, event.Limits{}).Decode(&b, 0, m.Subject, m.Data); r != nil {
				t.Fatal(r)
			}
			if got := string(event.AppendJSON(nil, &b.Events[0])); got != tc.want || m.Subject != tc.subject || m.Header.Get("Nats-Msg-Id") != tc.id {
				t.Errorf("%s %s\n%s, want\n%s", m.Subject, m.Header, got, tc.want)
			}
		})
	}
}

// What driftd would refuse is refused before it is sent.
func TestPublishRefuses(t *testing.T) {
	url, stop := server()
	defer stop()
	c := connect(t, url, publish.Options{})
	for name, e := range map[string]publish.Event{
		"no id":            publish.Prediction{Model: "m", Answer: 1},
		"no model":         publish.Prediction{ID: "a", Answer: 1},
		"nothing":          publish.Prediction{ID: "a", Model: "m"},
		"infinite":         publish.Prediction{ID: "a", Model: "m", Answer: math.Inf(1)},
		"unknown variant":  publish.Prediction{ID: "a", Model: "m", Answer: 1, Variant: "blue"},
		"line break":       publish.Prediction{ID: "a\nb", Model: "m", Answer: 1},
		"of nothing":       publish.Outcome{ID: "a", Name: "label", Label: 1},
		"without a label":  publish.Outcome{ID: "a", Name: "label", EntityID: "x"},
		"without a name":   publish.Outcome{ID: "a", EntityID: "x", Label: 1},
		"KPI without name": publish.KPI{ID: "a"},
	} {
		if _, err := c.Publish(t.Context(), e); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := publish.Connect(url, publish.Options{Attempts: -1}); err == nil {
		t.Error("negative options")
	}
	if _, err := publish.Connect(url, publish.Options{Subjects: "x"}); err == nil {
		t.Error("a template of nothing")
	}
}

// A server that is away for a moment costs no event; many goroutines may wait.
func TestPublishSurvivesARestart(t *testing.T) {
	o := stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"}
	s, err := stream.StartEmbedded(o)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := stream.Connect(stream.Options{InProcess: s, MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.EnsureStream(t.Context(), conn.JetStream(), stream.InputStream()); err != nil {
		t.Fatal(err)
	}
	address := s.URL()
	c, err := publish.Connect(address, publish.Options{Attempts: 100, AckWait: time.Second}, nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn.Close()
	s.Shutdown()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if _, err := c.Publish(t.Context(), publish.Prediction{ID: string(rune('a' + i)), Model: "m", Answer: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	again := o
	again.Port = port(t, address)
	if s, err = stream.StartEmbedded(again); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	group.Wait()
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Publish(short, publish.KPI{ID: "a", Name: "n"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func port(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
