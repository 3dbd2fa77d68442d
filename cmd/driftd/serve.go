package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
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
owed. Without -c it runs on the defaults that 'driftd config show' prints.

When it has failed three times within five minutes it does not try again, but stays up
degraded: it serves health, /-/ready (503 with the cause), /api/v1/status and /metrics
alone, until it is restarted by hand.`,
		Example: `  driftd serve -c /etc/driftd/driftd.yaml
  driftd serve --embedded-nats        # nothing else to install`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(file)
			if err != nil {
				return err
			}
			c.NATS.Embedded = c.NATS.Embedded || embedded
			if natsContext != "" {
				c.NATS.Context = natsContext
			}
			if err := c.Validate(); err != nil { // the flags may not fit the file
				return err
			}
			return e.serve(cmd, c)
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

// serve runs the daemon, or what is left of it when it has failed too often.
func (e *env) serve(cmd *cobra.Command, c *config.Config) error {
	ctx, log := cmd.Context(), e.logger()
	past, err := openRecord(c.Store.Dir, time.Now())
	if err != nil {
		log.Warn().Err(err).Msg("restarts cannot be counted: driftd will not notice that it fails again and again")
		return e.serveOnce(ctx, c, log)
	}
	if cause := past.degraded(); cause != "" {
		err = e.serveDegraded(ctx, c, log, cause)
	} else {
		err = e.serveOnce(ctx, c, log)
	}
	if fault := past.end(time.Now(), err); fault != nil {
		log.Warn().Err(fault).Msg("how driftd ended cannot be noted")
	}
	return errors.Join(err, past.close())
}

func (e *env) serveOnce(ctx context.Context, c *config.Config, log zerolog.Logger) error {
	verified, err := tryStore(ctx, c.Store.Dir)
	if err != nil {
		return err
	}
	m, err := newManager(e.lookup)
	if err != nil {
		return err
	}
	i, err := daemon.Start(ctx, c, daemon.Extras{Version: readBuildInfo().Version, Log: log, Verify: !verified})
	if err != nil {
		return errors.Join(err, m.close())
	}
	log.Info().Str("version", readBuildInfo().Version).Str("api", i.URL()).Str("store", c.Store.Dir).Str("stream", c.NATS.Stream).Str("config", c.DecisionHash()).Msg("driftd is running")
	return runManaged(ctx, i, m, log, "reading "+c.NATS.Stream+", "+i.URL(), i.LastPass)
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
	return runManaged(ctx, i, m, log, "degraded, "+i.URL()+": "+cause, time.Now)
}

// runManaged runs an instance to its end and tells the service manager how it does.
func runManaged(ctx context.Context, i *daemon.Instance, m *manager, log zerolog.Logger, status string, lastPass func() time.Time) error {
	untold := func(err error) { log.Warn().Err(err).Msg("the service manager may think that driftd hangs") }
	if err := m.tell("READY=1", "STATUS="+status); err != nil {
		untold(err)
	}
	var wg sync.WaitGroup
	running, ended := context.WithCancel(context.WithoutCancel(ctx)) // the last commit is made while ctx is over
	wg.Go(func() { m.feed(running, lastPass, untold) })
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
