package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// natsContext is what driftd takes from a context of the nats CLI.
type natsContext struct {
	URL         string `json:"url"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Token       string `json:"token"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`
}

// harmless are keys of a context that change nothing here.
var harmless = []string{
	"name", "description", "color_scheme", "jetstream_event_prefix",
	"url", "user", "password", "token", "creds", "nkey", "cert", "key", "ca", "inbox_prefix", "tls_first",
}

// ContextOptions reads a context of the nats CLI,
// $XDG_CONFIG_HOME/nats/context/NAME.json (~/.config by default), or the file
// that name is when it holds a slash. What it would take more than Options to
// honour is an error, which shows no value.
func ContextOptions(name string) (Options, error) {
	path := name
	if !strings.ContainsAny(name, `/\`) {
		home, err := os.UserConfigDir()
		if err != nil {
			return Options{}, fmt.Errorf("NATS context %s: %w", name, err)
		}
		path = filepath.Join(home, "nats", "context", name+".json")
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Options{}, fmt.Errorf("NATS context %s: there is no %s: nats context ls lists the ones there are", name, path)
	}
	if err != nil {
		return Options{}, fmt.Errorf("NATS context %s: %w", name, err)
	}
	var c natsContext
	var all map[string]any
	if json.Unmarshal(text, &c) != nil || json.Unmarshal(text, &all) != nil {
		return Options{}, fmt.Errorf("NATS context %s: %s is no context: the nats CLI writes a JSON object of texts", name, path)
	}
	for key, value := range all {
		if !slices.Contains(harmless, key) && value != "" && value != nil && value != false {
			return Options{}, fmt.Errorf("NATS context %s: driftd does not know %q in %s: give it in the configuration's nats section instead", name, key, path)
		}
	}
	return Options{
		URL: c.URL, User: c.User, Password: c.Password, Token: c.Token, CredsFile: home(c.Creds), NKeyFile: home(c.NKey),
		CertFile: home(c.Cert), KeyFile: home(c.Key), CAFile: home(c.CA), InboxPrefix: c.InboxPrefix, TLSFirst: c.TLSFirst,
	}, nil
}

// home expands ~/ as the nats CLI does.
func home(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	dir, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(dir, rest)
}

// redactURL hides the credentials of an address, or of several with commas
// between.
func redactURL(addresses string) string {
	parts := strings.Split(addresses, ",")
	for i, part := range parts {
		part = strings.TrimSpace(part)
		parts[i] = part
		at := strings.LastIndexByte(part, '@')
		if at < 0 {
			continue
		}
		scheme, _, found := strings.Cut(part, "://")
		if !found || strings.Contains(scheme, "@") {
			parts[i] = "<secret>" + part[at:]
			continue
		}
		parts[i] = scheme + "://<secret>" + part[at:]
	}
	return strings.Join(parts, ",")
}

// concealed is an error whose text shows no credentials of an address.
type concealed struct {
	err  error
	text string
}

func (e *concealed) Error() string { return e.text }

func (e *concealed) Unwrap() error { return e.err }

// conceal takes the credentials of o out of err's text.
func (o Options) conceal(err error) error {
	text := err.Error()
	secrets := []string{o.Password, o.Token}
	for part := range strings.SplitSeq(o.URL, ",") {
		part = strings.TrimSpace(part)
		text = strings.ReplaceAll(text, part, redactURL(part))
		u, bad := url.Parse(part)
		if bad != nil && strings.Contains(part, "@") { // nobody knows which part of it is quoted
			return &concealed{err, "the address cannot be read: escape what stands before @ as in a URL"}
		}
		if bad == nil && u.User != nil {
			password, given := u.User.Password()
			if !given {
				password = u.User.Username() // a token
			}
			secrets = append(secrets, password)
		}
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "<secret>")
		}
	}
	return &concealed{err, text}
}
