package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// receivers makes the configured receivers and the NATS signals. Its error is
// config.Faults.
func (i *Instance) receivers(c *config.Config) ([]notify.Receiver, error) {
	out := append([]notify.Receiver{{Name: SignalReceiver, Sink: i.signals}}, i.extras.Receivers...)
	var faults config.Faults
	for n, r := range c.Receivers {
		receiver, err := newReceiver(c, r, i.extras.Client, i.signals)
		if err != nil {
			faults = append(faults, c.Fault(receiverPath(n, r), "receiver %s: %v", r.Name, err))
			continue
		}
		if i := slices.IndexFunc(out, func(o notify.Receiver) bool { return o.Name == r.Name }); i >= 0 {
			out[i] = receiver
			continue
		}
		out = append(out, receiver)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return out, nil
}

// receiverPath is where the kind of the n-th receiver is configured.
func receiverPath(n int, r config.Receiver) string {
	path := fmt.Sprintf("receivers[%d]", n)
	switch {
	case r.Slack != nil:
		return path + ".slack"
	case r.PagerDuty != nil:
		return path + ".pagerduty"
	case r.Webhook != nil:
		return path + ".webhook"
	case r.Alertmanager != nil:
		return path + ".alertmanager"
	}
	return path
}

func newReceiver(c *config.Config, r config.Receiver, client *http.Client, signals notify.Sink) (out notify.Receiver, err error) {
	out.Name = r.Name
	external := c.HTTP.ExternalURL
	switch {
	case r.Slack != nil:
		out.Limit = notify.SlackLimit()
		out.Sink, err = newRotating(c, r.Slack.WebhookURL, r.Slack.WebhookURLFile, func(hook string) (notify.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{WebhookURL: hook, ExternalURL: external, Client: client})
		})
	case r.PagerDuty != nil:
		out.Limit = notify.PagerDutyLimit()
		out.Sink, err = newRotating(c, r.PagerDuty.RoutingKey, r.PagerDuty.RoutingKeyFile, func(key string) (notify.Sink, error) {
			return notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: key, BaseURL: r.PagerDuty.URL.Reveal(), ExternalURL: external, Client: client})
		})
	case r.Webhook != nil:
		o := notify.WebhookOptions{URL: r.Webhook.URL.Reveal(), Receiver: r.Name, ExternalURL: external, Client: client}
		if !r.Webhook.Secret.Set() && r.Webhook.SecretFile == "" {
			out.Sink, err = notify.NewWebhook(o)
			break
		}
		out.Sink, err = newRotating(c, r.Webhook.Secret, r.Webhook.SecretFile, func(secret string) (notify.Sink, error) {
			o := o
			o.Secrets = []string{secret}
			return notify.NewWebhook(o)
		})
	case r.Alertmanager != nil:
		o := notify.AlertmanagerOptions{ExternalURL: external, ValidFor: alertmanagerBelieves, Client: client}
		for _, u := range r.Alertmanager.URLs {
			o.URLs = append(o.URLs, u.Reveal())
		}
		out.Sink, err = notify.NewAlertmanager(o)
	default:
		out.Sink = signals
	}
	return out, err
}

// A rotating sink reads its secret at every delivery, so that a secret in a file
// can be exchanged while driftd runs. Each delivery goes through a sink made of the
// secret as it is then; while it cannot be read, deliveries wait.
type rotating struct {
	read config.Source
	make func(secret string) (notify.Sink, error)

	// Of the worker that sends. Config.Secret so that nobody prints it.
	secret config.Secret // that sink is made of
	sink   notify.Sink
	kind   string // of every sink that make returns
}

// newRotating fails when there is no secret now that a sink can be made of.
func newRotating(c *config.Config, secret config.Secret, file string, build func(secret string) (notify.Sink, error)) (*rotating, error) {
	r := &rotating{read: func() (string, error) { return c.Read(secret, file) }, make: build}
	if err := r.turn(); err != nil {
		return nil, fmt.Errorf("%w; it is read at every delivery, and has to be there", err)
	}
	r.kind = sinkKind(r.sink)
	return r, nil
}

// turn makes another sink when the secret is another.
func (r *rotating) turn() error {
	secret, err := r.read()
	if err != nil || r.sink != nil && secret == r.secret.Reveal() {
		return err
	}
	sink, err := r.make(secret)
	if err == nil {
		r.secret, r.sink = config.NewSecret(secret), sink
	}
	return err
}

// Send implements notify.Sink.
func (r *rotating) Send(ctx context.Context, d ledger.Delivery) error {
	if err := r.turn(); err != nil {
		return &notify.Error{Reason: notify.ReasonSecret, Err: err}
	}
	return r.sink.Send(ctx, d)
}
