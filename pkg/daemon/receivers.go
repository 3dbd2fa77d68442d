package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

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
			faults = append(faults, c.Fault(fmt.Sprintf("receivers[%d].%s", n, r.Kind()), "receiver %s: %v", r.Name, err))
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

// newReceiver makes one receiver. client reaches it over HTTP; nil: one with the
// guard that the configuration asks for.
func newReceiver(c *config.Config, r config.Receiver, client *http.Client, signals notify.Sink) (out notify.Receiver, err error) {
	// Machines are told of everything; people of how things are.
	out.Name, out.Latest, out.Identity = r.Name, r.NATS == nil, c.Identity(r)
	if client == nil {
		if client, err = newClient(r); err != nil {
			return out, err
		}
	}
	if r.Template != nil {
		if out.Template, err = notify.NewTemplate(r.Template.Title, r.Template.Text); err != nil {
			return out, err
		}
	}
	external := c.HTTP.ExternalURL
	switch {
	case r.Slack != nil:
		out.Limit = notify.SlackLimit()
		out.Sink, err = newSlack(c, r, out, client)
	case r.PagerDuty != nil:
		out.Limit = notify.PagerDutyLimit()
		out.Sink, err = newRotating(c.Source(r.PagerDuty.RoutingKey, r.PagerDuty.RoutingKeyFile), func(key string) (notify.Sink, error) {
			return notify.NewPagerDuty(notify.PagerDutyOptions{
				RoutingKey: key, BaseURL: r.PagerDuty.URL.Reveal(), ExternalURL: external, Template: out.Template, Pictures: r.Pictures, Alerts: r.PagerDuty.Alerts(), Limit: out.Limit, Client: client,
			})
		})
	case r.Webhook != nil:
		out.Sink, err = newRotating(webhookSecrets(c, r.Webhook), func(secrets string) (notify.Sink, error) {
			return notify.NewWebhook(notify.WebhookOptions{
				URL: r.Webhook.URL.Reveal(), Secrets: strings.Fields(secrets), Receiver: r.Name, ExternalURL: external, Template: out.Template, Client: client,
			})
		})
	case r.Alertmanager != nil:
		o := notify.AlertmanagerOptions{ExternalURL: external, ValidFor: alertmanagerBelieves, Client: client}
		for _, u := range r.Alertmanager.URLs {
			o.URLs = append(o.URLs, u.Reveal())
		}
		out.Sink, err = notify.NewAlertmanager(o)
	case r.Email != nil:
		out.Sink, err = newEmail(c, r, out.Template)
	case r.Heartbeat != nil:
		out.Sink, err = newRotating(c.Source(r.Heartbeat.URL, r.Heartbeat.URLFile), func(url string) (notify.Sink, error) {
			return notify.NewHeartbeat(notify.HeartbeatOptions{URL: url, Method: string(r.Heartbeat.Method), Client: client})
		})
	default:
		out.Sink = signals
	}
	return out, err
}

func newSlack(c *config.Config, r config.Receiver, to notify.Receiver, client *http.Client) (notify.Sink, error) {
	external, s := c.HTTP.ExternalURL, r.Slack
	if !s.Bot() {
		return newRotating(c.Source(s.WebhookURL, s.WebhookURLFile), func(hook string) (notify.Sink, error) {
			return notify.NewSlack(notify.SlackOptions{WebhookURL: hook, ExternalURL: external, Template: to.Template, Pictures: r.Pictures, Client: client})
		})
	}
	token := c.Source(s.Token, s.TokenFile)
	if err := readable(token); err != nil {
		return nil, err
	}
	return notify.NewSlackBot(notify.SlackBotOptions{
		Token: token, Channel: s.Channel, BaseURL: s.URL.Reveal(), ExternalURL: external, Template: to.Template, Pictures: r.Pictures, Limit: to.Limit, Client: client,
	})
}

func newEmail(c *config.Config, r config.Receiver, t *notify.Template) (notify.Sink, error) {
	e := r.Email
	password := c.Source(e.Password, e.PasswordFile)
	if e.Username != "" {
		if err := readable(password); err != nil {
			return nil, err
		}
	}
	return notify.NewEmail(notify.EmailOptions{
		Server: e.Server, TLS: string(e.TLS), From: e.From, To: e.To, Username: e.Username, Password: password,
		ExternalURL: c.HTTP.ExternalURL, Template: t, AllowPrivate: allowPrivate(r),
	})
}

// readable fails when there is no secret now.
func readable(secret config.Source) error {
	if _, err := secret(); err != nil {
		return missingSecret(err)
	}
	return nil
}

func missingSecret(err error) error {
	return fmt.Errorf("%w; it is read at every delivery, and has to be there", err)
}

// webhookSecrets reads the secret and, while receivers change over, the next: two
// words, or fewer.
func webhookSecrets(c *config.Config, w *config.Webhook) config.Source {
	sources := []config.Source{c.Source(w.Secret, w.SecretFile), c.Source(w.NextSecret, w.NextSecretFile)}
	return func() (string, error) {
		var out []string
		for _, source := range sources {
			secret, err := source()
			switch {
			case errors.Is(err, config.ErrNoSecret):
			case err != nil:
				return "", err
			default:
				out = append(out, secret)
			}
		}
		return strings.Join(out, " "), nil
	}
}

// newClient is the HTTP client of a receiver.
func newClient(r config.Receiver) (*http.Client, error) {
	o := notify.ClientOptions{AllowPrivate: allowPrivate(r)}
	if r.Proxy != "" {
		proxy, err := url.Parse(r.Proxy.Reveal())
		if err != nil {
			return nil, fmt.Errorf("proxy %s is not a URL", r.Proxy)
		}
		o.Proxy = proxy
	}
	return notify.NewClient(o), nil
}

// allowPrivate lists the networks that are not public and that a receiver may be
// in. Alertmanagers, mail relays and proxies are the site's own; what else is told
// is outside, unless the configuration says otherwise.
func allowPrivate(r config.Receiver) (out []netip.Prefix) {
	for _, n := range r.AllowPrivate {
		out = append(out, n.Prefix)
	}
	if len(out) == 0 && (r.Alertmanager != nil || r.Email != nil || r.Proxy != "") {
		return notify.SiteNetworks()
	}
	return out
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
func newRotating(read config.Source, build func(secret string) (notify.Sink, error)) (*rotating, error) {
	r := &rotating{read: read, make: build}
	if err := r.turn(); err != nil {
		return nil, missingSecret(err)
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
	_, err := r.SendThread(ctx, d)
	return err
}

// SendThread implements notify.Threader, for a sink that is one.
func (r *rotating) SendThread(ctx context.Context, d ledger.Delivery) (receipt string, err error) {
	if err := r.turn(); err != nil {
		return d.Receipt, &notify.Error{Reason: notify.ReasonSecret, Err: err}
	}
	if t, ok := r.sink.(notify.Threader); ok {
		return t.SendThread(ctx, d)
	}
	return "", r.sink.Send(ctx, d)
}
