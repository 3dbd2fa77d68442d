package main

import (
	"context"
	"errors"
	"sync"

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
owed. Without -c it runs on the defaults that 'driftd config show' prints.`,
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

func (e *env) serve(cmd *cobra.Command, c *config.Config) error {
	ctx, log := cmd.Context(), e.logger()
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
	untold := func(err error) { log.Warn().Err(err).Msg("the service manager may think that driftd hangs") }
	if err := m.tell("READY=1", "STATUS=reading "+c.NATS.Stream+", "+i.URL()); err != nil {
		untold(err)
	}
	var wg sync.WaitGroup
	running, ended := context.WithCancel(context.WithoutCancel(ctx)) // the last commit is made while ctx is over
	wg.Go(func() { m.feed(running, i.LastPass, untold) })
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-running.Done():
		}
		if err := m.tell("STOPPING=1"); err != nil {
			untold(err)
		}
	})
	err = errors.Join(i.Run(ctx), i.Close())
	ended()
	wg.Wait()
	log.Info().Msg("driftd has stopped")
	return errors.Join(err, m.close())
}
