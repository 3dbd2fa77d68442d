package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"driftd.dev/driftd/configs"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/stream"
)

// Secrets of the fake receivers: of the right shape, and of no use anywhere.
const (
	demoRoutingKey    = "0123456789abcdef0123456789abcdef"
	demoWebhookSecret = "whsec_ZHJpZnRkIGRlbW8gd2ViaG9vayBzZWNyZXQ="
)

// demoReference is how many rows each model's baseline is made of.
const demoReference = 10_000

// A stage is everything that the demo runs in one process: driftd with its
// JetStream, the fake receivers, the traffic and the router that obeys.
type stage struct {
	scenario  sim.Scenario
	traffic   *sim.Stream
	instance  *daemon.Instance
	publisher *stream.EventPublisher
	router    *router
	slack     *fakes.Slack
	pager     *fakes.PagerDuty
	webhook   *fakes.Webhook
	outside   net.Listener // of the fake receivers
	web       *http.Server
	reference int // rows of all baselines
	started   time.Time
	stop      context.CancelFunc
	ended     chan error // of the instance
	closing   sync.WaitGroup
}

// newStage builds the stage and imports the baselines; nothing is published yet.
func newStage(ctx context.Context, e *env, p demoPlan, scenario sim.Scenario, dir string) (_ *stage, err error) {
	s := &stage{
		scenario: scenario, slack: fakes.NewSlack(), pager: fakes.NewPagerDuty(), webhook: fakes.NewWebhook(demoWebhookSecret),
		started: time.Now(), ended: make(chan error, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.traffic, err = sim.New(scenario, p.seed); err != nil {
		return nil, err
	}
	if err := s.receivers(ctx); err != nil {
		return nil, err
	}
	c, err := s.config(ctx, p, dir)
	if err != nil {
		return nil, err
	}
	log := zerolog.Nop()
	if e.verbose > 0 {
		log = e.logger()
	}
	s.instance, err = daemon.Start(ctx, c, daemon.Extras{
		Version: readBuildInfo().Version, Log: log, Client: notify.NewClient(notify.ClientOptions{AllowPrivate: notify.AnyAddress()}),
		Pages:      map[string]http.Handler{"/demo/slack": s.slack},
		Checkpoint: daemon.Checkpoint{Every: 50 * time.Millisecond, Events: 64 << 10, Bytes: 4 << 20},
	})
	if err != nil {
		return nil, err
	}
	if s.publisher, err = stream.NewEventPublisher(s.instance.Conn, stream.EventPublisherOptions{}); err != nil {
		return nil, err
	}
	if s.router, err = newRouter(s.instance.Conn.NATS()); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.closing.Go(func() { s.ended <- s.instance.Run(running) })
	return s, s.baselines(ctx, p.seed)
}

// receivers opens the fake Slack, PagerDuty and webhook on a loopback address.
func (s *stage) receivers(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("/slack/", http.StripPrefix("/slack", s.slack))
	mux.Handle("/pagerduty/", http.StripPrefix("/pagerduty", s.pager))
	mux.Handle("/webhook", s.webhook)
	var lc net.ListenConfig
	var err error
	if s.outside, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	s.web = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.closing.Go(func() { _ = s.web.Serve(s.outside) }) // ends with ErrServerClosed
	return nil
}

// config is the demo's configuration with its variables set.
func (s *stage) config(ctx context.Context, p demoPlan, dir string) (*config.Config, error) {
	listen, err := freeAddress(ctx, p.listen)
	if err != nil {
		return nil, err
	}
	outside := "http://" + s.outside.Addr().String()
	vars := map[string]string{
		"DEMO_DIR": filepath.Join(dir, "store"), "DEMO_LISTEN": listen, "DEMO_URL": "http://" + listen,
		"DEMO_SLACK": outside + "/slack/services/T000/B000/demo", "DEMO_PAGERDUTY": outside + "/pagerduty", "DEMO_ROUTING_KEY": demoRoutingKey,
		"DEMO_WEBHOOK": outside + "/webhook", "DEMO_WEBHOOK_SECRET": demoWebhookSecret,
	}
	return config.Parse("configs/demo/driftd.yaml", configs.Demo, config.Options{
		LookupEnv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
}

// freeAddress returns the address asked for, or one with a free port.
func freeAddress(ctx context.Context, want string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", want)
	if err != nil {
		if l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// baselines imports a reference for every model.
func (s *stage) baselines(ctx context.Context, seed uint64) error {
	for _, m := range s.scenario.Models {
		b := drift.NewBuilder(drift.BuilderOptions{Model: m.Name})
		for e := range s.traffic.Reference(m.Name, demoReference) {
			b.Add(e)
		}
		base := b.Build(drift.Approved, drift.Origin{Kind: "import", Source: fmt.Sprintf("sim seed %d", seed), Actor: "demo", To: s.scenario.Start, Rows: b.Rows()})
		if err := s.instance.ImportBaseline(ctx, base, nil, "demo"); err != nil {
			return fmt.Errorf("baseline of %s: %w", m.Name, err)
		}
		s.reference += int(b.Rows())
	}
	return nil
}

// caughtUp waits until driftd has committed every message published and every
// signal has been stored.
func (s *stage) caughtUp(ctx context.Context, everybody bool) (*api.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.publisher.Flush(ctx); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		snap := s.instance.Snapshot()
		if snap.Stream.CommittedSeq >= s.publisher.Counters().Acked && pending(snap, everybody) == 0 {
			return snap, nil
		}
		select {
		case <-tick.C:
		case err := <-s.ended:
			s.ended <- err
			return nil, fmt.Errorf("driftd has stopped: %w", err)
		case <-ctx.Done():
			return nil, fmt.Errorf("driftd did not catch up: committed %d of %d, %d deliveries pending: %w",
				snap.Stream.CommittedSeq, s.publisher.Counters().Acked, pending(snap, everybody), ctx.Err())
		}
	}
}

// pending counts what is owed: to everybody, or only as signals to programs.
func pending(s *api.Snapshot, everybody bool) (n int) {
	for _, r := range s.Notifier.Receivers {
		if everybody || r.Name == daemon.SignalReceiver {
			n += r.Pending
		}
	}
	return n
}

// wait leaves the stage up until the user has seen enough.
func (s *stage) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case err := <-s.ended:
		s.ended <- err
	}
}

func (s *stage) yourTurn() string {
	nats, at := strings.TrimSuffix(s.instance.Embedded.URL(), "/"), ""
	if url := s.instance.URL(); url != defaultServer {
		at = " --server " + url
	}
	return fmt.Sprintf(`
Your turn; everything stays up until Ctrl-C.
  pages               %[1]s
  fake Slack          %[1]s/demo/slack
  metrics             curl -s %[1]s/metrics | grep driftd_feature_psi
  drift of a model    driftd drift fraud --window 5m%[3]s
  incidents           driftd incident list%[3]s
  the audit ledger    driftd ledger verify%[3]s
  signals             nats --server %[2]s sub 'driftd.>'
  your own events     driftd send prediction --nats %[2]s --file events.jsonl
`, s.instance.URL(), nats, at)
}

// close ends everything that the stage has started, and reports how driftd ended.
func (s *stage) close() error {
	var errs []error
	if s.publisher != nil {
		s.publisher.Close()
	}
	if s.stop != nil {
		s.stop()
		errs = append(errs, <-s.ended)
	}
	if s.instance != nil {
		errs = append(errs, s.instance.Close())
	}
	if s.web != nil {
		errs = append(errs, s.web.Close())
	}
	s.closing.Wait()
	return errors.Join(errs...)
}

// A router hears every signal of driftd, as a deployment system would.
type router struct {
	conn *nats.Conn
	sub  *nats.Subscription
	seen map[string]int // by id
	kind map[string]int // by type
}

// A demoSignal is what the router reads of a signal.
type demoSignal struct {
	ID, Type, Model string
	FromVersion     string `json:"from_version"`
	ToVersion       string `json:"to_version"`
	Manifest        *struct {
		Data struct {
			ToSeq uint64 `json:"to_seq"`
		} `json:"data"`
		Baseline string `json:"baseline"`
	} `json:"manifest"`
}

func newRouter(conn *nats.Conn) (*router, error) {
	sub, err := conn.SubscribeSync("driftd.>")
	if err != nil {
		return nil, err
	}
	return &router{conn: conn, sub: sub, seen: map[string]int{}, kind: map[string]int{}}, nil
}

// signals returns what has come since the last call. Whatever was stored before
// the call is in it: the server answers the flush behind it.
func (r *router) signals() ([]demoSignal, error) {
	if err := r.conn.FlushTimeout(5 * time.Second); err != nil {
		return nil, err
	}
	var out []demoSignal
	for {
		msg, err := r.sub.NextMsg(time.Millisecond)
		if errors.Is(err, nats.ErrTimeout) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var s demoSignal
		if err := json.Unmarshal(msg.Data, &s); err != nil || s.ID == "" {
			continue // not a signal: a dead letter
		}
		if r.seen[s.ID]++; r.seen[s.ID] == 1 {
			r.kind[s.Type]++
			out = append(out, s)
		}
	}
}

// repeats counts the signals that came more than once.
func (r *router) repeats() (n int) {
	for _, times := range r.seen {
		n += times - 1
	}
	return n
}
