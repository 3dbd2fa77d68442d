package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A backend says where a command finds the daemon's state: in the daemon, or
// with the daemon stopped in its store.
type backend struct {
	config string // file; "" = the defaults
	dir    string // of the store, without asking a daemon; "" = as configured
}

func (b *backend) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&b.config, "config", "c", "", "with the daemon stopped: its configuration file")
	cmd.Flags().StringVar(&b.dir, "store", "", "open this store instead of asking a daemon")
}

// storeDir returns the directory of the store.
func (b *backend) storeDir() (string, error) {
	c, err := loadConfig(b.config)
	if err != nil {
		return "", err
	}
	return cmp.Or(b.dir, c.Store.Dir), nil
}

// existing returns the directory of the store, which must be there.
func (b *backend) existing() (string, error) {
	dir, err := b.storeDir()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "badger")); err != nil {
		return "", fmt.Errorf("no store in %s: %w", dir, err)
	}
	return dir, nil
}

// with calls f with a client of the daemon. If none answers it serves the store
// to f in its place, by the same API; f may change something only if change is
// set, which takes the daemon's own configuration.
func (e *env) with(ctx context.Context, b backend, change bool, f func(*client) error) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	if b.dir != "" {
		return e.offline(ctx, b, change, nil, f)
	}
	switch err := c.get(ctx, "/api/v1/status", nil, nil); {
	case err == nil:
		return f(c)
	case !errors.Is(err, errAway):
		return err
	case change && b.config == "":
		return fmt.Errorf("%w, or give the stopped daemon's configuration with -c", err)
	default:
		return e.offline(ctx, b, change, err, f)
	}
}

// offline opens the store and serves its API on a port of its own. away is why
// there is no daemon; it is returned when there is no store either.
func (e *env) offline(ctx context.Context, b backend, change bool, away error, f func(*client) error) error {
	c, err := loadConfig(b.config)
	if err != nil {
		return err
	}
	if b.dir != "" {
		c.Store.Dir = b.dir
	}
	if _, err := os.Stat(filepath.Join(c.Store.Dir, "STORE.json")); err != nil && !change {
		if away != nil {
			return away
		}
		return fmt.Errorf("no store in %s: %w", c.Store.Dir, err)
	}
	s, err := store.Open(c.Store.Dir, store.Options{})
	if away != nil && errors.Is(err, store.ErrLocked) { // it runs, and listens elsewhere
		return fmt.Errorf("%w; without it %w", away, err)
	}
	if err != nil {
		return err
	}
	return errors.Join(e.serveStore(ctx, c, s, change, f), s.Close())
}

// serveStore runs the daemon's loop without a stream, if something is to change,
// and the API before it.
func (e *env) serveStore(ctx context.Context, c *config.Config, s *store.Store, change bool, f func(*client) error) error {
	d, err := idleDaemon(c, s)
	if err != nil {
		return err
	}
	o := api.Options{Reader: d, Incidents: d, Version: version(), Log: e.logger()}
	if change {
		o.Commander, o.Silencer = d, d
	}
	server, err := api.New(o)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	local, err := e.client()
	if err != nil {
		return err
	}
	local.base = "http://" + l.Addr().String()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	var served, ran error
	wg.Go(func() { served = server.Serve(running, l) })
	if change {
		wg.Go(func() { ran = d.Run(running) })
	}
	done := f(local)
	local.http.CloseIdleConnections()
	stop()
	wg.Wait()
	return errors.Join(done, served, ran)
}

// idleDaemon restores a daemon that reads no stream and pays no receiver: what
// it owes stays owed until the real one starts.
func idleDaemon(c *config.Config, s *store.Store) (*daemon.Daemon, error) {
	settings, err := daemon.Decisions(c)
	if err != nil {
		return nil, err
	}
	settings.Decoder = event.NewDecoder(nil, c.EventLimits())
	return daemon.New(daemon.Options{
		Settings: settings, Store: s, Source: silence{}, DeadLetters: silence{}, Checkpoint: daemon.DefaultCheckpoint(), Version: version(),
	})
}

// silence is a stream without messages.
type silence struct{}

// Run implements daemon.Source.
func (silence) Run(ctx context.Context, _ stream.Anchor, _ chan<- *stream.Batch) error {
	<-ctx.Done()
	return nil
}

// DeadLetter implements daemon.DeadLetters.
func (silence) DeadLetter(time.Time, stream.DeadLetter) bool { return false }

// Flush implements daemon.DeadLetters.
func (silence) Flush(context.Context) error { return nil }
