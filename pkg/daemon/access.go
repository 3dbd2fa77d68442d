package daemon

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/stream"
)

// accessEvery is how often the files of tokens and certificates are looked at.
const accessEvery = 2 * time.Second

// ErrConfiguration says that the configuration names tokens, certificates or
// credentials that cannot be used: starting again does not help.
var ErrConfiguration = errors.New("configuration")

// openAccess reads tokens and certificates; nil when nothing of the kind is
// configured. Validate has seen to it that driftd stays on loopback then.
func openAccess(c *config.Config, log zerolog.Logger) (*api.Access, error) {
	h := c.HTTP
	if h.TokensFile == "" && h.TLS.CertFile == "" {
		return nil, nil
	}
	o := api.AccessOptions{
		TokensFile: c.Path(h.TokensFile), CertFile: c.Path(h.TLS.CertFile), KeyFile: c.Path(h.TLS.KeyFile), ClientCAFile: c.Path(h.TLS.ClientCAFile),
		Clients: map[string]api.Role{}, Log: log.With().Str("component", "access").Logger(),
	}
	for _, client := range h.TLS.Clients {
		role, err := api.ParseRole(string(client.Role))
		if err != nil {
			return nil, fmt.Errorf("%w: http.tls.clients: %w", ErrConfiguration, err)
		}
		o.Clients[client.SAN] = role
	}
	a, err := api.OpenAccess(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfiguration, err)
	}
	if h.TokensFile != "" && h.TLS.CertFile == "" && !loopback(h.Listen) {
		o.Log.Warn().Str("listen", h.Listen).Msg("tokens travel unencrypted unless something in front of driftd ends TLS; http.tls encrypts")
	}
	return a, nil
}

func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// natsOptions returns how to reach NATS: the configuration's, or its context's.
func natsOptions(c *config.Config) (stream.Options, error) {
	o, err := c.NATSOptions()
	if err == nil {
		err = o.Validate()
	}
	if err != nil {
		return o, fmt.Errorf("%w: %w", ErrConfiguration, err)
	}
	return o, nil
}
