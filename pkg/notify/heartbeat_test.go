package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// TestHeartbeat: a POST carries the entry's body, a GET carries nothing, and no other
// method is taken.
func TestHeartbeat(t *testing.T) {
	type call struct{ method, path, media, body string }
	calls := make(chan call, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- call{r.Method, r.URL.Path, r.Header.Get("Content-Type"), string(body)}
	}))
	defer server.Close()
	const body = `{"status":"ok"}`
	for method, want := range map[string]call{
		"":     {"POST", "/ping/1", "application/json", body},
		"POST": {"POST", "/ping/1", "application/json", body},
		"GET":  {"GET", "/ping/1", "", ""},
	} {
		sink, err := notify.NewHeartbeat(notify.HeartbeatOptions{URL: server.URL + "/ping/1", Method: method, Client: loopback(t, 5*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Send(t.Context(), ledger.Delivery{Entry: ledger.Entry{Body: json.RawMessage(body)}}); err != nil {
			t.Fatal(err)
		}
		if got := <-calls; got != want {
			t.Errorf("method %q: %+v, want %+v", method, got, want)
		}
	}
	for _, o := range []notify.HeartbeatOptions{{URL: server.URL, Method: "PUT"}, {URL: "switch.example"}} {
		if _, err := notify.NewHeartbeat(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
