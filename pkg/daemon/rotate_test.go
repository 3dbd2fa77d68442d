package daemon_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/stream"
)

// TestSecretsRotate exchanges the secret files of every kind of receiver that has
// one while the daemon runs, without a reload: while they are gone deliveries wait,
// and what is sent afterwards goes by the new secrets.
func TestSecretsRotate(t *testing.T) {
	keys := map[string]string{"one": strings.Repeat("1", 24), "two": strings.Repeat("2", 24)}
	var mu sync.Mutex
	used := map[string][]string{} // by receiver: which secret each message came with
	peer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasPrefix(r.URL.Path, "/slack/"):
			used["slack"] = append(used["slack"], strings.TrimPrefix(r.URL.Path, "/slack/"))
		case r.URL.Path == "/v2/enqueue":
			var event struct {
				Key string `json:"routing_key"`
			}
			if err := json.Unmarshal(body, &event); err != nil {
				t.Error(err)
			}
			used["pagerduty"] = append(used["pagerduty"], strings.TrimRight(event.Key, "."))
		default:
			for name, key := range keys {
				mac := hmac.New(sha256.New, []byte(key))
				mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
				if r.Header.Get("webhook-signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
					used["webhook"] = append(used["webhook"], name)
				}
			}
		}
	}))
	defer peer.Close()
	secrets := func(name string) map[string]string {
		return map[string]string{
			"slack": peer.URL + "/slack/" + name, "pagerduty": name + strings.Repeat(".", 32-len(name)),
			"webhook": "whsec_" + base64.StdEncoding.EncodeToString([]byte(keys[name])),
		}
	}
	r := newReloadable(t)
	write := func(contents map[string]string) {
		for kind, text := range contents {
			r.put(filepath.Join(filepath.Dir(r.file), kind), text+"\n")
		}
	}
	write(secrets("one"))
	r.write(`nats: {embedded: true, url: "nats://127.0.0.1:0"}
store: {dir: ` + filepath.Dir(r.file) + `/data}
http: {listen: "127.0.0.1:0"}
rules: [{alert: Busy, window: 5m, expr: "events > 0"}]
routes:
  receiver: slack
  group_wait: 0s
  group_interval: 0s
  routes: [{match: {severity: ticket}, receiver: webhook, continue: true}, {match: {severity: ticket}, receiver: pagerduty, continue: true}, {match: {severity: ticket}, receiver: slack}]
receivers:
  - {name: slack, slack: {webhook_url_file: slack}}
  - {name: pagerduty, pagerduty: {routing_key_file: pagerduty, url: "` + peer.URL + `"}}
  - {name: webhook, webhook: {url: "` + peer.URL + `/hook", secret_file: webhook}}
`)
	r.start()
	p, err := stream.NewEventPublisher(r.Conn, stream.EventPublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now().Add(-2 * time.Hour).Truncate(5 * time.Minute)
	fire := func(model string) { // one alert
		for at := time.Duration(0); at <= 10*time.Minute; at += time.Minute {
			r.publish(p, model, start.Add(at))
		}
	}
	told := func(want ...string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return cmp.Equal(used, map[string][]string{"slack": want, "pagerduty": want, "webhook": want})
		}
	}
	fire("fraud-eu")
	r.wait("everybody is told, by the first secret", told("one"))

	write(map[string]string{"slack": "", "pagerduty": "", "webhook": ""})
	fire("fraud-us")
	r.wait("deliveries wait for a secret", func() bool {
		waiting := 0
		for _, receiver := range r.Snapshot().Notifier.Receivers {
			if receiver.Failed["secret"] > 0 && receiver.Pending == 1 && slices.Contains([]string{"slack", "pagerduty", "webhook"}, receiver.Kind) {
				waiting++
			}
		}
		return waiting == 3
	})
	write(secrets("two"))
	r.wait("everybody is told, by the second secret", told("one", "two"))
}
