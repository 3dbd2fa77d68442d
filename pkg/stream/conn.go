package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say how to reach NATS. The zero value connects to nats://127.0.0.1:4222.
type Options struct {
	URL       string // comma-separated; "" = nats://127.0.0.1:4222
	User      string // with Password; "" = none, or those of URL
	Password  string
	Token     string // "" = none, or that of URL
	CredsFile string // JWT and seed; "" = none
	NKeyFile  string // seed of an nkey; "" = none
	// TLS. The files are read anew at each connection.
	CAFile   string // CAs of the servers in PEM; "" = the system's
	CertFile string // client certificate in PEM; "" = none
	KeyFile  string
	TLSFirst bool // the server expects TLS before it says anything
	// InboxPrefix is where answers come, for servers that permit an account's
	// user no more than its own; "" = _INBOX.
	InboxPrefix string
	Name        string    // shown by the server; "" = driftd
	InProcess   *Embedded // instead of URL
	// MustConnect makes Connect fail when the first attempt fails (commands);
	// false keeps trying for ever in the background (the daemon).
	MustConnect bool
	Timeout     time.Duration // of one attempt to connect; 0 = 2 s
}

// Validate reports every fault of o at once.
func (o Options) Validate() error {
	var faults []error
	if o.InProcess != nil && o.URL != "" {
		faults = append(faults, errors.New("nats: url and embedded exclude one another"))
	}
	for _, f := range []struct{ key, path string }{
		{"creds_file", o.CredsFile},
		{"nkey_file", o.NKeyFile},
		{"tls.ca_file", o.CAFile},
		{"tls.cert_file", o.CertFile},
		{"tls.key_file", o.KeyFile},
	} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			faults = append(faults, fmt.Errorf("nats: %s: %w", f.key, err))
		}
	}
	if o.CredsFile != "" && o.NKeyFile != "" {
		faults = append(faults, errors.New("nats: creds_file and nkey_file exclude one another"))
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		faults = append(faults, errors.New("nats: tls.cert_file and tls.key_file belong together"))
	}
	if o.Timeout < 0 {
		faults = append(faults, fmt.Errorf("nats: timeout %s is negative", o.Timeout))
	}
	return errors.Join(faults...)
}

// Status is what a connection knows about itself.
type Status struct {
	Connected        bool
	URL              string    // of the current or last server
	Reconnects       uint64    // connections after the first
	PermissionErrors uint64    // refusals by the server's permissions: they do not heal by themselves
	PermissionAt     time.Time // of the last one; zero = none so far
	Permission       string    // what the last one was about
	Unauthorized     bool      // the server refused the credentials, and no connection was made since
	Errors           uint64    // all asynchronous errors and disconnects
	LastError        string    // "" = none so far
	LastErrorAt      time.Time // zero = none so far
}

// Conn is one connection to NATS which reconnects for ever. Safe for concurrent
// use.
type Conn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	closed chan struct{}

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed and replaced at every change of status.Connected
	refused chan struct{} // closed and replaced at every entry of refusedAt
	// refusedAt is when the server's permissions last refused to publish on a subject.
	// It begins anew when it is full.
	refusedAt map[string]time.Time
}

// mostRefused is how many subjects refusedAt holds.
const mostRefused = 1000

// Connect opens a connection. Unless MustConnect is set it returns at once even
// when no server answers: Status tells.
func Connect(o Options) (*Conn, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Conn{closed: make(chan struct{}), changed: make(chan struct{}), refused: make(chan struct{}), refusedAt: map[string]time.Time{}}
	url := o.URL
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url, c.options(o)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", redactURL(url), o.conceal(err))
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to %s: %w", redactURL(url), o.conceal(err))
	}
	c.nc, c.js = nc, js
	if nc.IsConnected() {
		c.connected(nc)
	}
	return c, nil
}

func (c *Conn) options(o Options) []nats.Option {
	name, timeout := o.Name, o.Timeout
	if name == "" {
		name = "driftd"
	}
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // nats.go would give up at the second refusal; a rotated credential must heal
		nats.RetryOnFailedConnect(!o.MustConnect),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.PingInterval(3 * time.Second), // a stalled server is noticed within 9 s
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // a publish without a connection fails at once: whoever owes it retries
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.reconnected),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.failed(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.failed(err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}
	opts = append(opts, o.credentials()...)
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	}
	return opts
}

// credentials say who connects, and how it is encrypted.
func (o Options) credentials() []nats.Option {
	var opts []nats.Option
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	if o.Token != "" {
		opts = append(opts, nats.Token(o.Token))
	}
	if o.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	}
	if o.NKeyFile != "" {
		opts = append(opts, func(n *nats.Options) error {
			option, err := nats.NkeyOptionFromSeed(o.NKeyFile)
			if err != nil {
				return fmt.Errorf("nkey_file %s: %w", o.NKeyFile, err)
			}
			return option(n)
		})
	}
	if o.CAFile != "" {
		opts = append(opts, nats.RootCAs(o.CAFile))
	}
	if o.CertFile != "" {
		opts = append(opts, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	if o.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	if o.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	return opts
}

// reconnectDelay grows from 50 ms to 2 s, with up to a quarter of jitter so that
// many clients do not return in one instant.
func reconnectDelay(attempts int) time.Duration {
	d := min(50*time.Millisecond<<min(attempts, 6), 2*time.Second)
	return d + rand.N(d/4)
}

// NATS is the connection for callers which need more than this package gives.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// JetStream is the connection's JetStream context.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// Status returns a copy of the present status.
func (c *Conn) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Close closes the connection and waits until its callbacks have ended, at most
// 2 s.
func (c *Conn) Close() {
	c.nc.Close()
	select {
	case <-c.closed:
	case <-time.After(2 * time.Second):
	}
}

// state returns whether we are connected and a channel closed at the next change.
func (c *Conn) state() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.Connected, c.changed
}

// wait returns when connected or when ctx ends, and says which.
func (c *Conn) wait(ctx context.Context) bool {
	for {
		ok, changed := c.state()
		if ok {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// connected follows the first connection. Connect calls it too, so that a caller
// sees it at once; the second call must not look like a reconnect.
func (c *Conn) connected(nc *nats.Conn) {
	if ok, _ := c.state(); !ok {
		c.set(true, nc, nil)
	}
}

func (c *Conn) reconnected(nc *nats.Conn) {
	c.mu.Lock()
	c.status.Reconnects++
	c.mu.Unlock()
	c.set(true, nc, nil)
}

func (c *Conn) disconnected(nc *nats.Conn, err error) { c.set(false, nc, err) }

// set records a change of state. The change is signalled even between two equal
// states: a reader must notice a reconnect that was faster than itself.
func (c *Conn) set(connected bool, nc *nats.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Connected = connected
	if connected {
		c.status.URL = nc.ConnectedUrlRedacted()
		c.status.Unauthorized = false
	}
	c.note(err)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Conn) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.status.PermissionErrors++
		c.status.PermissionAt, c.status.Permission = time.Now(), err.Error()
		c.refuse(err.Error())
	}
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired) {
		c.status.Unauthorized = true
	}
	c.note(err)
}

// refuse remembers the subject of a permission that is missing; c.mu is held.
func (c *Conn) refuse(text string) {
	_, quoted, ok := strings.Cut(text, "Publish to ")
	if !ok {
		return
	}
	if len(c.refusedAt) >= mostRefused {
		clear(c.refusedAt)
	}
	c.refusedAt[strings.Trim(quoted, `"`)] = time.Now()
	close(c.refused)
	c.refused = make(chan struct{})
}

// refusal returns when the server's permissions last refused a subject, and a channel
// that is closed when they refuse any.
func (c *Conn) refusal(subject string) (at time.Time, next <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusedAt[subject], c.refused
}

// note counts err; c.mu is held.
func (c *Conn) note(err error) {
	if err == nil {
		return
	}
	c.status.Errors++
	c.status.LastError = err.Error()
	c.status.LastErrorAt = time.Now()
}
