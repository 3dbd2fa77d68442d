package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/wording"
)

// Receiver is one destination, of exactly one kind.
type Receiver struct {
	Name         string        `json:"name" config:"required" jsonschema:"name, unique"`
	AllowPrivate []Network     `json:"allow_private,omitempty" jsonschema:"networks that are not public and that it may be in, such as 10.0.0.0/8; if absent, those of the own site for alertmanager, email and a proxy, and none for the others"`
	Proxy        Address       `json:"proxy,omitempty" jsonschema:"HTTP proxy on the way to it; the environment's is not used"`
	PagerDuty    *PagerDuty    `json:"pagerduty,omitempty" jsonschema:"PagerDuty Events v2"`
	Slack        *Slack        `json:"slack,omitempty" jsonschema:"Slack, by an incoming webhook or by a bot"`
	Webhook      *Webhook      `json:"webhook,omitempty" jsonschema:"HTTP POST with the body of Alertmanager's webhook, version 4"`
	Alertmanager *Alertmanager `json:"alertmanager,omitempty" jsonschema:"push to Alertmanager's API v2"`
	Email        *Email        `json:"email,omitempty" jsonschema:"mail by SMTP"`
	Heartbeat    *Heartbeat    `json:"heartbeat,omitempty" jsonschema:"a dead man's switch, called while driftd is well and told of nothing else"`
	NATS         *Signal       `json:"nats,omitempty" jsonschema:"publish on driftd.alerts.<model>"`

	Template *MessageTemplate `json:"template,omitempty" jsonschema:"own words for its messages; for slack, pagerduty, webhook and email"`
	Pictures bool             `json:"pictures,omitempty" jsonschema:"slack and pagerduty show the signal that moved; their servers get it from http.external_url, which must be https"`
}

// MessageTemplate is what a receiver is told instead of driftd's own words, in Go's
// text/template.
type MessageTemplate struct {
	Title string `json:"title,omitempty" jsonschema:"one line, at most 256 bytes; driftd's own if absent"`
	Text  string `json:"text,omitempty" jsonschema:"at most 4 KiB; driftd's own if absent"`
}

// PagerDuty is an Events v2 integration.
type PagerDuty struct {
	RoutingKey     Secret     `json:"routing_key,omitzero" jsonschema:"integration key"`
	RoutingKeyFile string     `json:"routing_key_file,omitempty" jsonschema:"file that holds it; exactly one of the two"`
	URL            Address    `json:"url" jsonschema:"base address of the events API"`
	Dedup          PagerDedup `json:"dedup" jsonschema:"incident: one incident at PagerDuty for one of driftd's; alert: one for each of its alerts"`
	Limit          int        `json:"limit" jsonschema:"with dedup: alert, how many alerts of an incident have one of their own at once, 1 to 20; the others share one for each severity"`
}

// A PagerDedup says what is one incident at PagerDuty.
type PagerDedup string

func (PagerDedup) words() []string { return []string{"incident", "alert"} }

// Alerts returns how many alerts of an incident have one of their own, 0 for none.
func (p *PagerDuty) Alerts() int {
	if p.Dedup == "alert" {
		return p.Limit
	}
	return 0
}

// Slack is an incoming webhook, or a bot and a channel that it is in.
type Slack struct {
	WebhookURL     Secret  `json:"webhook_url,omitzero" jsonschema:"address of the webhook, a secret"`
	WebhookURLFile string  `json:"webhook_url_file,omitempty" jsonschema:"file that holds it"`
	Token          Secret  `json:"token,omitzero" jsonschema:"token of a bot with the scope chat:write, instead of a webhook: messages are changed in place"`
	TokenFile      string  `json:"token_file,omitempty" jsonschema:"file that holds it; exactly one of the four"`
	Channel        string  `json:"channel,omitempty" jsonschema:"where the bot posts: an id or a name"`
	URL            Address `json:"url,omitempty" jsonschema:"base address of the Web API, for a bot; Slack's if absent"`
}

// Bot reports whether a bot posts, not a webhook.
func (s Slack) Bot() bool { return s.Token.Set() || s.TokenFile != "" }

// Webhook is any HTTP endpoint.
type Webhook struct {
	URL            Address `json:"url" config:"required" jsonschema:"where to POST"`
	Secret         Secret  `json:"secret,omitzero" jsonschema:"signs the body (Standard Webhooks)"`
	SecretFile     string  `json:"secret_file,omitempty" jsonschema:"file that holds it; at most one of the two"`
	NextSecret     Secret  `json:"next_secret,omitzero" jsonschema:"signs the body too, while receivers change from one secret to the other"`
	NextSecretFile string  `json:"next_secret_file,omitempty" jsonschema:"file that holds it; at most one of the two"`
}

// Alertmanager is a cluster of Alertmanagers.
type Alertmanager struct {
	URLs []Address `json:"urls" config:"required" jsonschema:"base addresses; each gets every alert"`
}

// Email is a mail server and who gets mail.
type Email struct {
	Server       string   `json:"server" config:"required" jsonschema:"host:port of the SMTP server"`
	TLS          MailTLS  `json:"tls" jsonschema:"starttls, tls from the first byte as on port 465, or none"`
	From         string   `json:"from" config:"required" jsonschema:"the sender's address"`
	To           []string `json:"to" config:"required" jsonschema:"the recipients' addresses"`
	Username     string   `json:"username,omitempty" jsonschema:"to log in with; none if absent"`
	Password     Secret   `json:"password,omitzero" jsonschema:"for the username"`
	PasswordFile string   `json:"password_file,omitempty" jsonschema:"file that holds it; at most one of the two"`
}

// Heartbeat is a dead man's switch: it raises the alarm when it is not called.
type Heartbeat struct {
	URL     Secret          `json:"url,omitzero" jsonschema:"where it is called; for most services a secret"`
	URLFile string          `json:"url_file,omitempty" jsonschema:"file that holds it; exactly one of the two"`
	Method  HeartbeatMethod `json:"method" jsonschema:"POST, with what was checked as JSON, or GET"`
}

// A HeartbeatMethod says how a dead man's switch is called.
type HeartbeatMethod string

func (HeartbeatMethod) words() []string { return []string{"POST", "GET"} }

// Signal is the NATS receiver. It has no settings.
type Signal struct{}

// A MailTLS says how a mail server is reached.
type MailTLS string

func (MailTLS) words() []string { return []string{"starttls", "tls", "none"} }

// A Network is a range of addresses, such as 10.0.0.0/8, or one address.
type Network struct{ netip.Prefix }

// MarshalText is Prefix.String.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

func (n *Network) parse(text string) error {
	if a, err := netip.ParseAddr(text); err == nil {
		n.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("expected a network such as 10.0.0.0/8, found %q", text)
	}
	if p != p.Masked() {
		return fmt.Errorf("network %s has bits set behind its length: write %s", text, p.Masked())
	}
	n.Prefix = p
	return nil
}

func (e *Email) setDefaults()     { e.TLS = "starttls" }
func (h *Heartbeat) setDefaults() { h.Method = "POST" }

// kinds lists the kinds that a receiver has: one, if it is right.
func (r Receiver) kinds() (out []string) {
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"pagerduty", r.PagerDuty != nil},
		{"slack", r.Slack != nil},
		{"webhook", r.Webhook != nil},
		{"alertmanager", r.Alertmanager != nil},
		{"email", r.Email != nil},
		{"heartbeat", r.Heartbeat != nil},
		{"nats", r.NATS != nil},
	} {
		if k.set {
			out = append(out, k.name)
		}
	}
	return out
}

// Kind returns the receiver's kind: the key that says how it is reached.
func (r Receiver) Kind() string { return strings.Join(r.kinds(), " and ") }

// SignalReceiver is the receiver of the signals on NATS, which every decision is
// sent to without a route.
const SignalReceiver = "nats"

func (v *validator) receivers(c *Config) {
	first := map[string]bool{}
	for i, r := range c.Receivers {
		path := fmt.Sprintf("receivers[%d]", i)
		v.named(path+".name", r.Name, "receiver", first)
		if r.Name == SignalReceiver {
			v.fault(path+".name", "%q is the name of driftd's own signals: choose another", r.Name)
		}
		switch named := routed(c, r.Name); {
		case r.Heartbeat != nil && named:
			v.fault(path+".name", "%q gets heartbeats and no alerts: name another receiver in routes and budgets", r.Name)
		case r.Heartbeat == nil && !named && r.Name != "":
			v.fault(path+".name", "nobody sends to %q: name it in routes, in a budget or in digest, or remove it", r.Name)
		}
		kinds := r.kinds()
		if len(kinds) != 1 {
			v.fault(path, "a receiver is exactly one of pagerduty, slack, webhook, alertmanager, email, heartbeat and nats, found %d", len(kinds))
		}
		if r.Proxy != "" {
			v.address(path+".proxy", r.Proxy, "http", "https")
			if slices.Contains(kinds, "email") || slices.Contains(kinds, "nats") {
				v.fault(path+".proxy", "%s goes through no proxy", kinds[0])
			}
		}
		v.receiverKind(path, r, c)
		v.receiverWords(path, r, c)
	}
}

// receiverWords checks how a receiver is told.
func (v *validator) receiverWords(path string, r Receiver, c *Config) {
	if r.Template != nil {
		if r.NATS != nil || r.Alertmanager != nil || r.Heartbeat != nil {
			v.fault(path+".template", "%s is told what machines read: only slack, pagerduty, webhook and email have words", r.Kind())
		}
		if r.Template.Title == "" && r.Template.Text == "" {
			v.fault(path+".template", "neither title nor text")
		}
		v.template(path+".template.title", r.Template.Title, wording.MostTitle)
		v.template(path+".template.text", r.Template.Text, wording.MostText)
	}
	if !r.Pictures {
		return
	}
	if r.Slack == nil && r.PagerDuty == nil {
		v.fault(path+".pictures", "only slack and pagerduty show pictures from an address; mail brings them along")
	}
	if u, err := url.Parse(c.HTTP.ExternalURL); err != nil || u.Scheme != "https" {
		v.fault(path+".pictures", "the servers of %s get pictures from http.external_url, which must be https", r.Kind())
	}
}

// template checks a text/template; "" is none.
func (v *validator) template(path, text string, limit int) {
	if text == "" {
		return
	}
	if _, err := wording.Parse(text, limit); err != nil {
		v.fault(path, "template: %v", err)
	}
}

// receiverKind checks what is particular to a kind.
func (v *validator) receiverKind(path string, r Receiver, c *Config) {
	if r.PagerDuty != nil {
		v.exactlyOne(path+".pagerduty", "routing_key", r.PagerDuty.RoutingKey, r.PagerDuty.RoutingKeyFile)
		v.address(path+".pagerduty.url", r.PagerDuty.URL, "http", "https")
		if l := r.PagerDuty.Limit; l < 1 || l > ledger.GroupAlerts {
			v.fault(path+".pagerduty.limit", "expected 1 to %d, found %d: a storm must not page once for each alert", ledger.GroupAlerts, l)
		}
	}
	if r.Slack != nil {
		v.slack(path+".slack", r.Slack)
	}
	if r.Webhook != nil {
		v.address(path+".webhook.url", r.Webhook.URL, "http", "https")
		v.atMostOne(path+".webhook", "secret", r.Webhook.Secret.Set(), r.Webhook.SecretFile != "")
		v.atMostOne(path+".webhook", "next_secret", r.Webhook.NextSecret.Set(), r.Webhook.NextSecretFile != "")
	}
	if r.Alertmanager != nil {
		if len(r.Alertmanager.URLs) == 0 {
			v.fault(path+".alertmanager.urls", "no address")
		}
		for j, u := range r.Alertmanager.URLs {
			v.address(fmt.Sprintf("%s.alertmanager.urls[%d]", path, j), u, "http", "https")
		}
	}
	if r.Email != nil {
		v.email(path+".email", r.Email)
	}
	if r.Heartbeat != nil {
		v.heartbeat(path+".heartbeat", r.Heartbeat, c)
	}
}

func (v *validator) heartbeat(path string, h *Heartbeat, c *Config) {
	v.exactlyOne(path, "url", h.URL, h.URLFile)
	if c.Watch.Every == 0 {
		v.fault(path, "no heartbeat is sent while watch.every is 0: set it, or remove the receiver")
	}
	if c.TickSubject() == "" {
		v.fault(path, "no heartbeat is sent, for nats.subjects leave no room for a canary: one of them must end in \">\"")
	}
}

func (v *validator) slack(path string, s *Slack) {
	if !s.Bot() {
		v.exactlyOne(path, "webhook_url", s.WebhookURL, s.WebhookURLFile)
		if s.Channel != "" {
			v.fault(path+".channel", "a webhook has its own channel: remove channel, or give the token of a bot instead of the webhook")
		}
		return
	}
	v.exactlyOne(path, "token", s.Token, s.TokenFile)
	if s.URL != "" {
		v.address(path+".url", s.URL, "http", "https")
	}
	if s.WebhookURL.Set() || s.WebhookURLFile != "" {
		v.fault(path, "a bot posts without a webhook: remove webhook_url, or the token")
	}
	if s.Channel == "" {
		v.fault(path, "\"channel\" is missing: where the bot posts")
	}
}

func (v *validator) email(path string, e *Email) {
	if host, port, err := net.SplitHostPort(e.Server); err != nil || host == "" || port == "" {
		v.fault(path+".server", "expected host:port, such as mail.example:587, found %q", e.Server)
	}
	if len(e.To) == 0 {
		v.fault(path+".to", "nobody")
	}
	for i, to := range e.To {
		v.mailAddress(fmt.Sprintf("%s.to[%d]", path, i), to)
	}
	v.mailAddress(path+".from", e.From)
	v.atMostOne(path, "password", e.Password.Set(), e.PasswordFile != "")
	if has := e.Password.Set() || e.PasswordFile != ""; has != (e.Username != "") {
		v.fault(path, "username and password belong together")
	}
}

func (v *validator) mailAddress(path, text string) {
	if _, err := mail.ParseAddress(text); err != nil {
		v.fault(path, "expected a mail address, found %q", text)
	}
}
