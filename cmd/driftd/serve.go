package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
)

func newServeCmd(e *env) *cobra.Command {
	var file, natsContext string
	var embedded bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Serve reads events from JetStream, counts them, judges every closed window and
tells receivers what it decided, until it is asked to stop (SIGTERM, Ctrl-C).
It then commits what it has counted and ends within 10 s; what is unsent stays
owed. SIGHUP makes it read the configuration again: one with any fault is refused
as a whole, with a line for each in the log, and the one before it stays. Without -c
it runs on the defaults that 'driftd config show' prints.

When it has failed three times within five minutes it does not try again, but stays up
degraded: it serves health, /-/ready (503 with the cause), /api/v1/status and /metrics
alone, until it is restarted by hand.`,
		Example: `  driftd serve -c /etc/driftd/driftd.yaml
  driftd serve --embedded-nats        # nothing else to install`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.serve(cmd, func() (*config.Config, error) {
				c, err := loadConfig(file)
				if err != nil {
					return nil, err
				}
				c.NATS.Embedded = c.NATS.Embedded || embedded
				if natsContext != "" {
					c.NATS.Context = natsContext
				}
				return c, c.Validate() // the flags may not fit the file
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.Flags().BoolVar(&embedded, "embedded-nats", false, "run JetStream inside the process, listening on nats.url")
	cmd.Flags().StringVar(&natsContext, "nats-context", "", "context of the nats CLI that says where NATS is and who driftd is, as nats.context")
	return cmd
}

// loadConfig reads a configuration file, or gives the defaults for "".
func loadConfig(file string) (*config.Config, error) {
	if file == "" {
		return config.Default(), nil
	}
	return config.Load(file, config.Options{})
}

// serve runs the daemon, or what is left of it when it has failed too often, on what
// load returns now and at every reload.
func (e *env) serve(cmd *cobra.Command, load func() (*config.Config, error)) error {
	ctx, log := cmd.Context(), e.logger()
	e.collectMore(ctx)
	e.hangup = make(chan os.Signal, 1) // several at once are one
	signal.Notify(e.hangup, syscall.SIGHUP)
	defer signal.Stop(e.hangup)
	c, err := load()
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		err = withCode(codeConfig, err) // it cannot be read: no restart helps
	}
	if err != nil {
		return err
	}
	past, err := openRecord(c.Store.Dir, time.Now())
	if err != nil {
		log.Warn().Err(err).Msg("restarts cannot be counted: driftd will not notice that it fails again and again")
		return e.serveOnce(ctx, c, log, load)
	}
	if cause := past.degraded(); cause != "" {
		err = e.serveDegraded(ctx, c, log, cause)
	} else {
		err = e.serveOnce(ctx, c, log, load)
	}
	if fault := past.end(time.Now(), err); fault != nil {
		log.Warn().Err(fault).Msg("how driftd ended cannot be noted")
	}
	return errors.Join(err, past.close())
}

func (e *env) serveOnce(ctx context.Context, c *config.Config, log zerolog.Logger, load func() (*config.Config, error)) error {
	m, err := newManager(e.lookup)
	if err != nil {
		return err
	}
	started := m.starting("checking the store "+c.Store.Dir, untold(log))
	child, err := tryStore(ctx, c.Store.Dir)
	if err != nil {
		started()
		return errors.Join(err, m.close())
	}
	i, err := daemon.Start(ctx, c, daemon.Extras{
		Version: readBuildInfo().Version, Log: log, Verify: !child.complete, Store: store.Options{TablesChecked: child.opened}, Load: load,
	})
	started()
	if err != nil {
		return errors.Join(err, m.close())
	}
	log.Info().Str("version", readBuildInfo().Version).Str("api", i.URL()).Str("store", c.Store.Dir).Str("stream", c.NATS.Stream).Str("config", c.DecisionHash()).Msg("driftd is running")
	status := func() string {
		if reasons := i.NotReady(); len(reasons) > 0 {
			return "not ready: " + strings.Join(reasons, ", ") + "; " + i.URL()
		}
		return "reading " + c.NATS.Stream + ", " + i.URL()
	}
	return e.runManaged(ctx, i, m, log, status, i.LastProgress)
}

// serveDegraded serves the cause of the last failures until a person has looked.
func (e *env) serveDegraded(ctx context.Context, c *config.Config, log zerolog.Logger, cause string) error {
	m, err := newManager(e.lookup)
	if err != nil {
		return err
	}
	i, err := daemon.StartDegraded(ctx, c, daemon.Extras{Version: readBuildInfo().Version, Log: log}, cause)
	if err != nil {
		return errors.Join(err, m.close())
	}
	log.Error().Str("api", i.URL()).Str("cause", cause).Msg("driftd is degraded: nothing is read, judged or told")
	return e.runManaged(ctx, i, m, log, func() string { return "degraded, " + i.URL() + ": " + cause }, time.Now)
}

// untold logs that the service manager could not be told something.
func untold(log zerolog.Logger) func(error) {
	return func(err error) { log.Warn().Err(err).Msg("the service manager may think that driftd hangs") }
}

// runManaged runs an instance to its end and tells the service manager how it does.
func (e *env) runManaged(ctx context.Context, i *daemon.Instance, m *manager, log zerolog.Logger, status func() string, lastPass func() time.Time) error {
	untold, first := untold(log), status()
	if err := m.ready(first); err != nil {
		untold(err)
	}
	var wg sync.WaitGroup
	running, ended := context.WithCancel(context.WithoutCancel(ctx)) // the last commit is made while ctx is over
	wg.Go(func() { m.feed(running, lastPass, untold) })
	wg.Go(func() { m.report(running, first, status, untold) })
	reload := func() {
		if _, err := i.Reload(running, daemon.ActorSignal); errors.Is(err, api.ErrUnavailable) { // what else came of it is in the log
			log.Warn().Err(err).Msg("the configuration was not read again")
		}
	}
	wg.Go(func() {
		for {
			select {
			case <-e.hangup:
				m.reload(reload, status, untold)
			case <-running.Done():
				return
			}
		}
	})
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-running.Done():
		}
		if err := m.tell("STOPPING=1"); err != nil {
			untold(err)
		}
	})
	err := errors.Join(i.Run(ctx), i.Close())
	ended()
	wg.Wait()
	log.Info().Msg("driftd has stopped")
	return errors.Join(err, m.close())
}
