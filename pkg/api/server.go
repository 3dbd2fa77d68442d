package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Options are what a Server needs. Reader is required; without a Commander the
// paths that change something answer 503.
type Options struct {
	Reader      Reader
	Commander   Commander
	Silencer    Silencer                               // nil: silences cannot be changed
	Incidents   Responder                              // nil: none are known
	Ingest      *Ingest                                // nil: no events over HTTP
	Version     string                                 // of driftd
	Config      func() []byte                          // the effective configuration as YAML, secrets redacted; nil: 404
	Reload      Reload                                 // nil: POST /-/reload answers 404
	Schema      []byte                                 // JSON schema of the configuration; nil: 404
	ExternalURL string                                 // its host is one that requests may name; "" for none
	Hosts       []string                               // further names that requests may come by
	Access      *Access                                // who may ask for what; nil: everybody for everything, which is for loopback
	Backup      func(context.Context, io.Writer) error // of the store as it was last committed; nil: 404
	// TryReceiver sends a test to a receiver, at once; its error is ErrNotFound
	// for a name that there is not. nil: there are no receivers.
	TryReceiver func(ctx context.Context, name string) (ReceiverTry, error)
	// MetricsPublic lets MetricsHandler answer everybody, whatever Access says.
	MetricsPublic bool
	// Degraded leaves health, readiness, the status and the metrics, and nothing else.
	Degraded    bool
	Pane        time.Duration           // windows are sums of panes of this length; 0: 1 minute
	Sizes       []time.Duration         // of the windows that rules see
	SeriesLimit int                     // most series on /metrics; 0: 100,000
	Features    string                  // which have series on /metrics: AllFeatures, TopFeatures or NoFeatures; "": TopFeatures
	Extra       map[string]http.Handler // further pages by ServeMux pattern, behind the same guards
	Now         func() time.Time        // wall clock, for "-24h"; nil: time.Now
	Log         zerolog.Logger
}

// A Server answers HTTP. It is safe for concurrent use.
type Server struct {
	Options
	limits    serverLimits
	hosts     map[string]bool
	routes    []route
	mux       *http.ServeMux
	openapi   []byte
	replies   *replies
	withheld  withheld      // series left out of all pages so far
	top       topSet        // features that have series
	pageBytes atomic.Int64  // of the last metrics page
	heavy     chan struct{} // slots of requests that read many windows
	streams   chan struct{} // slots of event streams
	backups   chan struct{} // the slot of a backup: each reads the whole store
	requests  atomic.Uint64
	evicted   atomic.Uint64 // connections without a request that were closed for others
	inlet     *inlet        // events over HTTP
	started   string        // part of request ids: tells processes apart
	process   process
}

// serverLimits are the knobs of a listener. They are fixed in production.
type serverLimits struct {
	header, read, write, idle, shutdown time.Duration
	headerBytes                         int
	connections, heavy, streams         int
	streamTick                          time.Duration
	windowBytes                         int // of one answer of windows; the rest is behind next_cursor
}

func defaultLimits() serverLimits {
	return serverLimits{
		header: 5 * time.Second, read: 30 * time.Second, write: 30 * time.Second, idle: 60 * time.Second, shutdown: 5 * time.Second,
		headerBytes: 16 << 10, connections: 512, heavy: 8, streams: 64, streamTick: time.Second, windowBytes: 16 << 20,
	}
}

// New returns a Server. The error joins every fault of the options.
func New(o Options) (*Server, error) {
	s := &Server{Options: o, limits: defaultLimits(), hosts: map[string]bool{"localhost": true}, replies: newReplies()}
	var faults []error
	if o.Reader == nil {
		faults = append(faults, errors.New("api needs a reader"))
	}
	if o.ExternalURL != "" {
		u, err := url.Parse(o.ExternalURL)
		if err != nil || u.Hostname() == "" {
			faults = append(faults, fmt.Errorf("external URL %q has no host; write it like https://driftd.example.org", o.ExternalURL))
		} else {
			s.hosts[canonicalHost(u.Hostname())] = true
		}
	}
	for _, h := range o.Hosts {
		s.hosts[canonicalHost(h)] = true
	}
	if o.Ingest != nil && (o.Ingest.Publisher == nil || len(o.Ingest.Decoders) == 0) {
		faults = append(faults, errors.New("ingest needs a publisher and a decoder"))
	}
	if o.Pane < 0 || o.SeriesLimit < 0 {
		faults = append(faults, errors.New("pane and series limit must not be negative"))
	}
	switch o.Features {
	case "", AllFeatures, TopFeatures, NoFeatures:
	default:
		faults = append(faults, fmt.Errorf("series of features %q: want %s, %s or %s", o.Features, AllFeatures, TopFeatures, NoFeatures))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if s.Pane == 0 {
		s.Pane = time.Minute
	}
	s.top.mode = cmp.Or(o.Features, TopFeatures)
	if s.SeriesLimit == 0 {
		s.SeriesLimit = 100_000
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.heavy, s.streams = make(chan struct{}, s.limits.heavy), make(chan struct{}, s.limits.streams)
	s.backups = make(chan struct{}, 1)
	s.inlet = newInlet(o.Ingest, defaultIngestLimits())
	s.started = fmt.Sprintf("%x", time.Now().UnixNano())
	s.process = newProcess()
	s.routes = s.table()
	if o.Degraded {
		s.routes = slices.DeleteFunc(s.routes, func(rt route) bool { return !rt.scrape && !rt.degraded })
	}
	s.openapi = describe(s.routes, s.Version)
	s.mux = http.NewServeMux()
	for _, rt := range s.routes {
		s.mux.Handle(rt.method+" "+rt.path, s.endpoint(rt, rt.need()))
	}
	for pattern, h := range o.Extra {
		s.mux.Handle(pattern, s.protect(h))
	}
	return s, nil
}

// Handler returns every page, behind the guards: the Host allow-list, the
// same-origin rule for writes, security headers and bounds.
func (s *Server) Handler() http.Handler { return s.guard(s.mux, true) }

// MetricsHandler returns /metrics and health alone, for a listener of its own.
// It answers to any Host, since scrapers come by names that driftd does not
// know and there is nothing to change.
func (s *Server) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes {
		if rt.scrape {
			role := rt.need()
			if s.MetricsPublic {
				role = Public
			}
			mux.Handle(rt.method+" "+rt.path, s.endpoint(rt, role))
		}
	}
	return s.guard(mux, false)
}

// Serve answers on l until ctx ends, then lets requests finish for 5 s and
// closes what is left. It returns nil after such an end. Several listeners may
// be served at a time.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.Handler(), s.tlsConfig())
}

// ServeMetrics is Serve with MetricsHandler, and without TLS when it is public.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	if s.MetricsPublic {
		return s.serve(ctx, l, s.MetricsHandler(), nil)
	}
	return s.serve(ctx, l, s.MetricsHandler(), s.tlsConfig())
}

// tlsConfig returns how listeners encrypt; nil when they do not.
func (s *Server) tlsConfig() *tls.Config {
	if s.Access == nil {
		return nil
	}
	return s.Access.TLS()
}

func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler, encrypt *tls.Config) error {
	// Requests do not inherit ctx: they may finish after it ends.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.limits.header,
		ReadTimeout:       s.limits.read,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    s.limits.headerBytes,
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(requests, stoppingKey{}, ctx.Done()) },
		ErrorLog:          newErrorLog(s.Log),
		ConnContext:       connContext,
		ConnState:         connState,
	}
	ended := make(chan error, 1)
	bound := limitListener(l, s.limits.connections, &s.evicted)
	if encrypt != nil {
		bound = tls.NewListener(bound, encrypt)
	}
	go func() { ended <- srv.Serve(bound) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve http on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	bounded, done := context.WithTimeout(requests, s.limits.shutdown)
	defer done()
	if err := srv.Shutdown(bounded); err != nil {
		s.Log.Warn().Err(err).Msg("http requests were cut off at the end")
		_ = srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http on %s: %w", l.Addr(), err)
	}
	return nil
}

// stoppingKey finds, in a request's context, the channel that is closed when
// the server begins to shut down.
type stoppingKey struct{}

// stopping returns that channel: event streams end by it.
func stopping(ctx context.Context) <-chan struct{} {
	done, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return done // nil, which never ends, without a Serve
}
