package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// WebhookOptions configure a Webhook sink.
type WebhookOptions struct {
	URL         string   // may hold a token: kept out of errors
	Secrets     []string // Standard Webhooks secrets; the first signs, and every other too while keys rotate
	Receiver    string   // the receiver's name, for the body
	ExternalURL string
	Template    *Template // of its words; may be nil
	Client      *http.Client
}

// Webhook posts Alertmanager's webhook body, version 4, one alert each, with
// the signal of the contract beside it under "driftd".
type Webhook struct {
	ep       endpoint
	keys     func() [][]byte
	receiver string
	external string
	template *Template
}

// NewWebhook returns a Webhook sink, or says what is wrong with the options.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	ep, err := newEndpoint("webhook url", o.URL, "", o.Client, o.Secrets...)
	if err != nil {
		return nil, err
	}
	keys := make([][]byte, 0, len(o.Secrets))
	for i, secret := range o.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) == 0 {
			return nil, fmt.Errorf("webhook secret %d is not whsec_ and base64 (make one with: openssl rand -base64 32)", i+1)
		}
		keys = append(keys, key)
	}
	return &Webhook{ep: ep, keys: func() [][]byte { return keys }, receiver: o.Receiver, external: o.ExternalURL, template: o.Template}, nil
}

type webhookBody struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	RouteLabels       map[string]string `json:"routeLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Reason            string            `json:"notification_reason"`
	Alerts            []webhookAlert    `json:"alerts"`
	Driftd            json.RawMessage   `json:"driftd"`
}

type webhookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // 0001-01-01 while firing, as Alertmanager has it
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Send implements Sink.
func (w *Webhook) Send(ctx context.Context, d ledger.Delivery) error {
	body, err := w.body(d)
	if err != nil {
		return err
	}
	return w.ep.post(ctx, body, w.headers(d.Key(), time.Now(), body))
}

func (w *Webhook) body(d ledger.Delivery) ([]byte, error) {
	m, err := word(d, w.external, w.template)
	if err != nil {
		return nil, err
	}
	p, err := newPromAlert(d, m)
	if err != nil {
		return nil, err
	}
	signal, err := signalBody(d)
	if err != nil {
		return nil, err
	}
	body := webhookBody{
		Version: "4", GroupKey: "driftd/" + d.Line(), Status: p.status(), Receiver: w.receiver,
		GroupLabels: promLabels(nil, map[string]string{"alertname": p.labels["alertname"], "model": p.labels["model"]}),
		RouteLabels: map[string]string{}, CommonLabels: p.labels, CommonAnnotations: p.annotations,
		ExternalURL: w.external, Reason: m.Title, Alerts: []webhookAlert{p.webhook(m.Link)}, Driftd: signal,
	}
	if d.Group == nil {
		return encode(body)
	}
	body.GroupLabels, body.Alerts, body.TruncatedAlerts = promLabels(nil, d.Group.Labels), nil, max(0, d.Group.Firing+d.Group.Ended-len(d.Group.Alerts))
	for _, e := range d.Group.Alerts {
		one := ledger.Delivery{Entry: e, Seq: e.Seq, Order: d.Order, Grouped: true}
		m, err := word(one, w.external, nil)
		if err != nil {
			return nil, err
		}
		p, err := newPromAlert(one, m)
		if err != nil {
			return nil, err
		}
		body.Alerts = append(body.Alerts, p.webhook(m.Link))
		body.CommonLabels, body.CommonAnnotations = common(body.CommonLabels, p.labels), common(body.CommonAnnotations, p.annotations)
	}
	return encode(body)
}

func (p promAlert) status() string {
	if p.resolved {
		return "resolved"
	}
	return "firing"
}

func (p promAlert) webhook(link string) webhookAlert {
	return webhookAlert{
		Status: p.status(), Labels: p.labels, Annotations: p.annotations, StartsAt: p.starts.UTC(), EndsAt: p.ends.UTC(),
		GeneratorURL: link, Fingerprint: fingerprint(p.labels),
	}
}

// common returns what two sets have in common.
func common(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range a {
		if b[name] == value {
			out[name] = value
		}
	}
	return out
}

// headers are the idempotency key, the same on every attempt, and with a
// secret the Standard Webhooks signature, made anew for each attempt because
// receivers refuse old timestamps.
func (w *Webhook) headers(id string, now time.Time, body []byte) map[string]string {
	h := map[string]string{"Idempotency-Key": id}
	stamp := strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, key := range w.keys() {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(id + "." + stamp + ".")) // never fails
		_, _ = mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if len(signatures) > 0 {
		h["webhook-id"], h["webhook-timestamp"], h["webhook-signature"] = id, stamp, strings.Join(signatures, " ")
	}
	return h
}
