package api

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// AccessOptions say who may ask for what. At least one of TokensFile and
// CertFile is given.
type AccessOptions struct {
	TokensFile   string // name:role:sha256 or name:role:sha256:expires a line; "" for no tokens
	CertFile     string // certificate chain in PEM; "" for no TLS
	KeyFile      string
	ClientCAFile string // CAs of client certificates; "": none is asked for
	// Clients are the names (DNS, URI, e-mail or IP) in client certificates that
	// have a role; other certificates of the CA have none.
	Clients map[string]Role
	Log     zerolog.Logger
}

// Access knows tokens and certificates, and reads their files again when they
// change. A file that cannot be used leaves the last good one in force. It is
// safe for concurrent use.
type Access struct {
	options  AccessOptions
	tokens   atomic.Pointer[[]token]
	pair     atomic.Pointer[tls.Config]
	expiry   atomic.Int64 // Unix seconds of the certificate's end; 0 without one
	attempts attempts
	failures [failureKinds]atomic.Uint64
	files    []*watched
	told     map[[sha256.Size]byte]tokenEnd // of tokens; belongs to Refresh
}

// A tokenEnd is what the log was told of the end of a token.
type tokenEnd uint8

const (
	farOff tokenEnd = iota
	near
	past
)

// tokenWarning is how long before its end a token is warned of.
const tokenWarning = 7 * 24 * time.Hour

// A watched file, or files that belong together, is applied when its content
// changes.
type watched struct {
	what  string // "tokens" or "certificate"
	names []string
	apply func(contents [][]byte) error
	seen  [sha256.Size]byte // of the contents applied or refused last
	fault string            // of reading, told last
	bad   atomic.Bool
}

// accessFileBytes bounds a file that Access reads.
const accessFileBytes = 1 << 20

// OpenAccess reads the files. Here, unlike later, every fault is an error.
func OpenAccess(o AccessOptions) (*Access, error) {
	a := &Access{options: o, told: map[[sha256.Size]byte]tokenEnd{}}
	a.options.Clients = map[string]Role{}
	for name, role := range o.Clients {
		if !strings.ContainsAny(name, ":@") { // a DNS name
			name = canonicalHost(name)
		}
		a.options.Clients[name] = role
	}
	if o.TokensFile != "" {
		a.files = append(a.files, &watched{what: "tokens", names: []string{o.TokensFile}, apply: a.useTokens})
	}
	if o.CertFile != "" {
		names := []string{o.CertFile, o.KeyFile}
		if o.ClientCAFile != "" {
			names = append(names, o.ClientCAFile)
		}
		a.files = append(a.files, &watched{what: "certificate", names: names, apply: a.useCertificate})
	}
	var faults []error
	if len(a.files) == 0 {
		faults = append(faults, errors.New("access needs tokens or a certificate"))
	}
	for _, f := range a.files {
		if _, err := f.refresh(); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a, nil
}

// Watch looks every interval whether a file has changed, until ctx ends. It
// compares contents: a time stamp can stay the same through a change, and a
// mounted secret is exchanged as a whole.
func (a *Access) Watch(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.Refresh(time.Now())
		}
	}
}

// Refresh looks once, and warns of tokens that end soon or have ended, once each.
// One goroutine at a time may call it.
func (a *Access) Refresh(now time.Time) {
	for _, f := range a.files {
		changed, err := f.refresh()
		switch {
		case err != nil && err.Error() != f.fault:
			f.fault = err.Error()
			a.options.Log.Error().Err(err).Strs("files", f.names).Msg("the " + f.what + " cannot be used; the last good one stays in force")
		case err == nil && (changed || f.fault != ""):
			f.fault = ""
			a.options.Log.Info().Strs("files", f.names).Msg("the " + f.what + " was read again")
		}
	}
	a.warnOfEnds(now)
}

func (a *Access) warnOfEnds(now time.Time) {
	tokens := a.tokens.Load()
	if tokens == nil {
		return
	}
	told := make(map[[sha256.Size]byte]tokenEnd)
	for i := range *tokens {
		t := &(*tokens)[i]
		end, text := farOff, ""
		switch {
		case t.expired(now):
			end, text = past, "a token has expired: delete its line, or make another"
		case !t.expires.IsZero() && t.expires.Sub(now) <= tokenWarning:
			end, text = near, "a token expires soon: make another before (driftd token new)"
		}
		if end > a.told[t.hash] {
			a.options.Log.Warn().Str("name", t.Name).Time("expires", t.expires).Msg(text)
		}
		told[t.hash] = end
	}
	a.told = told
}

// nextEnd returns when the next token expires of those that have not; zero when
// none will.
func (a *Access) nextEnd(now time.Time) (next time.Time) {
	tokens := a.tokens.Load()
	if tokens == nil {
		return next
	}
	for i := range *tokens {
		t := &(*tokens)[i]
		if !t.expires.IsZero() && !t.expired(now) && (next.IsZero() || t.expires.Before(next)) {
			next = t.expires
		}
	}
	return next
}

// refresh applies the files when their contents are others than last time.
func (f *watched) refresh() (changed bool, err error) {
	contents := make([][]byte, len(f.names))
	sum := sha256.New()
	for i, name := range f.names {
		if contents[i], err = readBounded(name); err != nil {
			f.bad.Store(true)
			f.seen = [sha256.Size]byte{} // what comes back is looked at again
			return false, err
		}
		fmt.Fprintf(sum, "%d\n", len(contents[i]))
		_, _ = sum.Write(contents[i])
	}
	now := [sha256.Size]byte(sum.Sum(nil))
	if now == f.seen {
		if f.bad.Load() {
			return false, errors.New(f.fault)
		}
		return false, nil
	}
	f.seen = now
	err = f.apply(contents)
	f.bad.Store(err != nil)
	return err == nil, err
}

func readBounded(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, accessFileBytes+1))
	if err == nil && len(text) > accessFileBytes {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return text, err
}

func (a *Access) useTokens(contents [][]byte) error {
	tokens, err := parseTokens(a.options.TokensFile, contents[0])
	if err != nil {
		return err
	}
	a.tokens.Store(&tokens)
	return nil
}

func (a *Access) useCertificate(contents [][]byte) error {
	o := a.options
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", o.CertFile, o.KeyFile, err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if o.ClientCAFile != "" {
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !c.ClientCAs.AppendCertsFromPEM(contents[2]) {
			return fmt.Errorf("%s holds no certificate of a CA in PEM", o.ClientCAFile)
		}
	}
	a.expiry.Store(pair.Leaf.NotAfter.Unix())
	a.pair.Store(c) // a new one: its session tickets do not outlive it
	return nil
}

// TLS returns the configuration of a listener, whose handshakes each take the
// certificate in force; nil without a certificate.
func (a *Access) TLS() *tls.Config {
	if a.options.CertFile == "" {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.pair.Load(), nil },
	}
}

// guarded reports whether anybody must prove who they are.
func (a *Access) guarded() bool {
	return a != nil && (a.options.TokensFile != "" || a.options.ClientCAFile != "")
}

// certified returns who a verified client certificate stands for: the first of
// its names that is listed.
func (a *Access) certified(state *tls.ConnectionState) (id Identity, known bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return Identity{}, false
	}
	leaf := state.VerifiedChains[0][0]
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, canonicalHost(name))
	}
	names = append(names, leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	for _, name := range names {
		if role, ok := a.options.Clients[name]; ok {
			return Identity{"cert:" + name, role}, true
		}
	}
	return Identity{}, false
}
