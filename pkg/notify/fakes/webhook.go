package fakes

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Webhook is a receiver of Alertmanager's webhook body that verifies Standard
// Webhooks signatures (github.com/standard-webhooks) and notes idempotency keys.
type Webhook struct {
	recorder
	secret string
	keys   []string       // Idempotency-Keys accepted, in order of arrival; guarded by mu
	times  map[string]int // how often each; guarded by mu
}

// NewWebhook returns a receiver. With a secret (whsec_ and base64) it refuses
// what is not signed with it.
func NewWebhook(secret string) *Webhook {
	return &Webhook{secret: secret, times: map[string]int{}}
}

// Keys returns the distinct idempotency keys accepted, oldest first.
func (h *Webhook) Keys() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.keys)
}

// Duplicates counts the deliveries accepted beyond the first of their key.
func (h *Webhook) Duplicates() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, times := range h.times {
		n += times - 1
	}
	return n
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, func(body []byte) (int, string) {
		var m struct {
			Version, Status string
			Alerts          []struct{ Labels map[string]string }
		}
		key := r.Header.Get("Idempotency-Key")
		switch {
		case r.Method != http.MethodPost:
			return http.StatusMethodNotAllowed, "post only"
		case h.secret != "" && !Verify(h.secret, r.Header, body, time.Now()):
			return http.StatusUnauthorized, "signature does not fit"
		case json.Unmarshal(body, &m) != nil || m.Version != "4" || len(m.Alerts) == 0:
			return http.StatusBadRequest, "not a webhook body of version 4"
		case key == "":
			return http.StatusBadRequest, "no Idempotency-Key"
		}
		if h.times[key]++; h.times[key] == 1 {
			h.keys = append(h.keys, key)
		}
		return http.StatusOK, "ok"
	})
}

// Verify checks the signature of a Standard Webhooks message: one of the v1
// signatures fits and the timestamp is within 5 minutes of now.
func Verify(secret string, header http.Header, body []byte, now time.Time) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	stamp := header.Get("webhook-timestamp")
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(sec, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(header.Get("webhook-id") + "." + stamp + "." + string(body))) // never fails
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return slices.ContainsFunc(strings.Fields(header.Get("webhook-signature")), func(got string) bool {
		return hmac.Equal([]byte(got), want)
	})
}
