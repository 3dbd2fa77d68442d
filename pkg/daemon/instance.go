package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// An Instance is a daemon with its edges, made from a configuration: what
// `driftd serve` runs, and what the demo and whole-system tests embed.
type Instance struct {
	*Daemon
	Conn     *stream.Conn
	Embedded *stream.Embedded // nil unless nats.embedded
	Store    *store.Store

	config   atomic.Pointer[config.Config] // in force
	reloads  chan reloadRequest
	extras   Extras
	signals  notify.Sink // the receiver that every decision goes to
	server   *api.Server
	access   *api.Access // nil when nobody is asked who they are
	listener net.Listener
	metrics  net.Listener // nil unless http.metrics_listen
	log      zerolog.Logger
	cleanups []cleanup // undone last to first
}

// A cleanup undoes one step of Start.
type cleanup struct {
	name string
	undo func() error
}

// Extras are what a configuration file cannot say.
type Extras struct {
	Version string
	Log     zerolog.Logger
	// Receivers exist beside the configured ones; tests and the demo.
	Receivers []notify.Receiver
	// Load reads the configuration as it was read for Start; nil: it cannot be
	// loaded again.
	Load func() (*config.Config, error)
	// Client reaches receivers over HTTP; nil: one each, with the guard that the
	// configuration asks for.
	Client *http.Client
	// Pages are served beside the API, by path prefix.
	Pages map[string]http.Handler
	// Store overrides how the store is opened, but for its log. Without a
	// ReserveBytes it gets the reserve of production; a negative one means none.
	Store store.Options
	// Verify is Options.Verify.
	Verify bool
	// Checkpoint overrides the policy; zero: DefaultCheckpoint.
	Checkpoint Checkpoint
}

// Start opens the store, connects and restores the last checkpoint. It consumes
// nothing before Run. Whatever it has opened when it fails it closes again.
func Start(ctx context.Context, c *config.Config, x Extras) (_ *Instance, err error) {
	i := newInstance(c, x)
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if err := i.open(c, x); err != nil {
		return nil, err
	}
	if err := i.connect(ctx, c); err != nil {
		return nil, err
	}
	o, err := i.options(c)
	if err != nil {
		return nil, err
	}
	if i.Daemon, err = New(o); err != nil {
		return nil, err
	}
	return i, i.listen(ctx, c, x, o)
}

// newInstance returns one that has opened nothing.
func newInstance(c *config.Config, x Extras) *Instance {
	i := &Instance{log: x.Log, extras: x, reloads: make(chan reloadRequest)}
	i.config.Store(c)
	return i
}

func (i *Instance) onClose(name string, undo func() error) {
	i.cleanups = append(i.cleanups, cleanup{name, undo})
}

// The reserve of production: max(256 MiB, 25 % of the store). reliability.md D5.
const (
	ReserveBytes   = 256 << 20
	ReservePercent = 25
)

func (i *Instance) open(c *config.Config, x Extras) error {
	o := x.Store
	if o.ReserveBytes == 0 {
		o.ReserveBytes, o.ReservePercent = ReserveBytes, ReservePercent
	}
	o.Log = func(level, message string) {
		l, err := zerolog.ParseLevel(level)
		if err != nil || l == zerolog.InfoLevel {
			l = zerolog.DebugLevel
		}
		x.Log.WithLevel(l).Str("component", "store").Msg(message)
	}
	var err error
	if i.Store, err = store.Open(c.Store.Dir, o); err != nil {
		return err
	}
	i.onClose("store", i.Store.Close)
	return nil
}

// connect reaches NATS, or starts JetStream in the process.
func (i *Instance) connect(ctx context.Context, c *config.Config) error {
	o, err := natsOptions(c)
	if err != nil {
		return err
	}
	if c.NATS.Embedded {
		host, port, err := listenAddress(c.NATS.URL.Reveal())
		if err != nil {
			return err
		}
		i.Embedded, err = stream.StartEmbedded(stream.EmbeddedOptions{
			Dir: filepath.Join(c.Store.Dir, "nats"), Listen: host, Port: port,
			Log: func(level, message string) {
				i.log.Debug().Str("component", "nats-server").Str("severity", level).Msg(message)
			},
		})
		if err != nil {
			return err
		}
		i.onClose("embedded NATS", func() error { i.Embedded.Shutdown(); return nil })
		o.URL, o.InProcess = "", i.Embedded
	}
	if i.Conn, err = stream.Connect(o); err != nil {
		return err
	}
	i.onClose("NATS connection", func() error { i.Conn.Close(); return nil })
	if i.Embedded == nil {
		return nil // the streams belong to their operator; the reader waits for its own
	}
	in := stream.InputStream()
	in.Name, in.Subjects, in.Acked = c.NATS.Stream, c.NATS.Subjects, c.NATS.Durable != ""
	for _, spec := range []stream.StreamSpec{in, stream.SignalStream()} {
		if _, err := stream.EnsureStream(ctx, i.Conn.JetStream(), spec); err != nil {
			return err
		}
	}
	return nil
}

// listenAddress returns where the embedded server listens: nats.url's host and
// port.
func listenAddress(address string) (host string, port int, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", 0, fmt.Errorf("nats.url: %w", err)
	}
	port, err = strconv.Atoi(u.Port())
	if err != nil {
		return "", 0, fmt.Errorf("nats.url %s: with nats.embedded it needs a port to listen on, or 0 for any", u.Redacted())
	}
	return u.Hostname(), port, nil
}

// options makes the daemon's parts.
func (i *Instance) options(c *config.Config) (o Options, err error) {
	reader, err := stream.NewReader(i.Conn, c.ReaderOptions())
	if err != nil {
		return o, err
	}
	publisher, err := stream.NewPublisher(i.Conn, c.PublisherOptions())
	if err != nil {
		return o, err
	}
	i.onClose("publisher", func() error { publisher.Close(); return nil })
	i.signals = notify.NewSignal(signaller{publisher})
	x := i.extras
	o = Options{
		Tick: c.TickSubject(), Store: i.Store, Source: reader, Committed: reader.Committed, Status: reader.Status, Link: i.Conn.Status, DeadLetters: publisher,
		Checkpoint: x.Checkpoint, Version: x.Version, Log: x.Log, Verify: x.Verify, VerifyEvery: c.Store.VerifyEvery.Std(),
	}
	if o.Settings, err = i.settings(c); err != nil {
		return o, err
	}
	if o.Checkpoint == (Checkpoint{}) {
		o.Checkpoint = DefaultCheckpoint()
	}
	o.Publish, o.AttestEvery = signaller{publisher}.Publish, c.Publish.Checkpoint.Std()
	if o.AttestKey, err = c.CheckpointKey(); err != nil {
		return o, config.Faults{c.Fault("publish.checkpoint_key_file", "%v", err)}
	}
	if o.Tick != "" {
		t := ticker{publisher, o.Tick}
		o.Ticker, o.Canary, o.Watch = t, t.canary, c.Watch.Every.Std()
	}
	return o, nil
}

// settings makes what a reload can exchange.
func (i *Instance) settings(c *config.Config) (s Settings, err error) {
	decoder, err := newDecoder(c)
	if err != nil {
		return s, err
	}
	receivers, err := i.receivers(c)
	if err != nil {
		return s, err
	}
	var names []string
	for _, r := range i.extras.Receivers {
		names = append(names, r.Name)
	}
	s, err = Decisions(c, names...)
	s.Decoder, s.Receivers = decoder, receivers
	return s, err
}

// Decisions returns the settings that say what is counted and decided, without the
// edges. receivers exist beside the configured ones.
func Decisions(c *config.Config, receivers ...string) (s Settings, err error) {
	rules, err := c.AlertRules()
	if err != nil {
		return s, err
	}
	routes, err := c.AlertRoutes(receivers...)
	if err != nil {
		return s, err
	}
	intervals, err := c.Intervals()
	if err != nil {
		return s, err
	}
	if len(c.Budgets) > 0 || c.ExpectsGaps() {
		rules = append(rules, alert.HardLimits(c.Windows.Sizes[0].Std())...)
	}
	return Settings{
		Spec: c.DriftSpec(), Detection: NewDetection(c), Rules: rules, Routes: routes, TimeIntervals: intervals, Retention: c.StoreRetention(), ConfigHash: c.DecisionHash(),
		Owner: func(model string) string { return c.Model(model).Owner }, OnTrial: c.OnTrial,
		Grouped:     func(name string) bool { return !slices.Contains(receivers, name) && c.Grouped(name) },
		ExpectedGap: func(model string) time.Duration { return c.Model(model).ExpectedGap.Std() },
		Policy:      c.IncidentPolicy(), Digests: Digests{Receiver: c.Digest.Receiver, Every: c.Digest.Every.Std()},
		Summaries: Summaries{Sizes: c.PublishedWindows, MinCount: uint64(c.Publish.MinCount)},
	}, nil
}

// NewDetection says how drift is found within the configured budgets.
func NewDetection(c *config.Config) Detection {
	d := Detection{
		Window: c.Windows.Decide.Std(), Reference: c.Detection.Reference, MinEvents: uint64(c.Detection.MinEvents), Interval: c.Detection.Interval.Std(),
	}
	if len(c.Budgets) == 0 {
		return d
	}
	d.Budget = func(model string) *Budget {
		m := c.Model(model)
		i := slices.IndexFunc(c.Budgets, func(b config.Budget) bool { return b.Name == m.Budget })
		if i < 0 {
			return nil
		}
		b := c.Budgets[i]
		return &Budget{
			Name: b.Name, Receiver: b.Receiver, Pages: float64(b.Pages), Per: b.Per.Std(), Weight: m.Weight, Weights: m.Weights,
			Shadow: b.Notify == alert.NotifyShadow,
		}
	}
	return d
}

func newDecoder(c *config.Config) (*event.Decoder, error) {
	key, err := c.HMACKey()
	if err != nil {
		return nil, config.Faults{c.Fault("privacy.hmac_key_file", "%v", err)}
	}
	policy, err := event.NewPolicy(c.PolicySpec(key))
	if err != nil {
		return nil, err
	}
	subjects, err := event.NewSubjectTemplate(c.NATS.SubjectTemplate)
	if err != nil {
		return nil, err
	}
	d := event.NewDecoder(policy, c.EventLimits())
	d.SetSubjects(subjects)
	d.SetWrapping(c.Wrapping())
	return d, nil
}

// listen makes the API and opens the HTTP addresses.
func (i *Instance) listen(ctx context.Context, c *config.Config, x Extras, o Options) error {
	in, err := i.ingest(c)
	if err != nil {
		return err
	}
	if i.access, err = openAccess(c, x.Log); err != nil {
		return err
	}
	if i.server, err = api.New(api.Options{
		Access: i.access, Hosts: c.HTTP.Hosts, MetricsPublic: c.HTTP.MetricsPublic,
		Reader: i.Daemon, Commander: i.Daemon, Silencer: i.Daemon, Incidents: i.Daemon, Ingest: in, Version: x.Version, Schema: config.Schema(), Backup: i.backup,
		Config: func() []byte { return i.config.Load().Effective() }, Reload: i.reloadOverHTTP(c),
		TryReceiver: func(ctx context.Context, name string) (api.ReceiverTry, error) {
			return i.tryReceiver(ctx, name)
		},
		ExternalURL: c.HTTP.ExternalURL, Pane: o.Spec.Pane, Sizes: o.Spec.Sizes, SeriesLimit: c.Limits.Series, Features: string(c.Metrics.Features), Log: x.Log, Extra: x.Pages,
	}); err != nil {
		return err
	}
	return i.bind(ctx, c)
}

// bind opens the HTTP addresses.
func (i *Instance) bind(ctx context.Context, c *config.Config) (err error) {
	var lc net.ListenConfig
	if i.listener, err = lc.Listen(ctx, "tcp", c.HTTP.Listen); err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	i.onClose("listener", ignoreClosed(i.listener))
	if c.HTTP.MetricsListen == "" {
		return nil
	}
	if i.metrics, err = lc.Listen(ctx, "tcp", c.HTTP.MetricsListen); err != nil {
		return fmt.Errorf("http.metrics_listen: %w", err)
	}
	i.onClose("metrics listener", ignoreClosed(i.metrics))
	return nil
}

func ignoreClosed(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// URL returns the address of the API.
func (i *Instance) URL() string {
	if i.access != nil && i.access.TLS() != nil {
		return "https://" + i.listener.Addr().String()
	}
	return "http://" + i.listener.Addr().String()
}

// Run serves until ctx ends or a part fails, and returns nil or the first
// failure. Close must follow.
func (i *Instance) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func() error{func() error { return i.server.Serve(ctx, i.listener) }}
	if i.Daemon != nil { // not degraded
		parts = append(parts,
			func() error { return i.Daemon.Run(ctx) },
			func() error { i.ensureSignals(ctx); <-ctx.Done(); return nil },
			func() error { i.Daemon.tellLink(ctx); return nil },
			func() error { i.takeReloads(ctx); return nil })
	}
	if i.metrics != nil {
		parts = append(parts, func() error { return i.server.ServeMetrics(ctx, i.metrics) })
	}
	if i.access != nil {
		parts = append(parts, func() error { i.access.Watch(ctx, accessEvery); return nil })
	}
	// A part may fail after ctx has ended: the last checkpoint, for one.
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for k, part := range parts {
		wg.Go(func() {
			defer cancel()
			errs[k] = part()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ensureEvery is how often driftd tries to make the stream of its signals while
// the server cannot be reached.
const ensureEvery = 5 * time.Second

// ensureSignals makes the stream that signals and dead letters go to, as soon as
// a server answers.
func (i *Instance) ensureSignals(ctx context.Context) {
	tick := time.NewTicker(ensureEvery)
	defer tick.Stop()
	for warned := false; ; {
		_, err := stream.EnsureStream(ctx, i.Conn.JetStream(), stream.SignalStream())
		if err == nil || ctx.Err() != nil {
			return
		}
		if !warned && i.Conn.Status().Connected { // else tellLink says what is wrong
			warned = true
			i.log.Warn().Err(err).Msg("the stream DRIFTD for signals is not there yet; driftd keeps trying to make it")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close releases everything, last opened first.
func (i *Instance) Close() error {
	var errs []error
	for _, c := range slices.Backward(i.cleanups) {
		if err := c.undo(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	i.cleanups = nil
	return errors.Join(errs...)
}

// signaller lets notify publish through the stream's publisher.
type signaller struct{ p *stream.Publisher }

// Publish implements notify.Publisher.
func (s signaller) Publish(ctx context.Context, subject, id string, body []byte) error {
	_, err := s.p.Signal(ctx, stream.Signal{Subject: subject, ID: id, Body: body})
	return err
}
