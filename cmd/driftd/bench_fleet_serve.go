package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"driftd.dev/driftd/configs"
)

// fleetFile is the configuration in the folder of the store.
const fleetFile = "fleet.yaml"

// restart runs driftd serve on the store, all of it as a service manager would, and
// waits until /-/ready says that it is.
func (b *fleetBench) restart(ctx context.Context, r *fleetResult) (err error) {
	if r.ReadyStore, err = tableBytes(b.config.Store.Dir); err != nil {
		return err
	}
	file := filepath.Join(b.config.Store.Dir, fleetFile)
	if err := os.WriteFile(file, configs.Fleet, 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	listen, err := freeAddress(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	serve := exec.CommandContext(ctx, self, "serve", "-c", file, "--quiet")
	serve.Env = append(os.Environ(), "DRIFTD_STORE="+b.config.Store.Dir, "DRIFTD_LISTEN="+listen, "NATS_URL=nats://127.0.0.1:0")
	serve.Stderr = b.err
	serve.Cancel = func() error { return serve.Process.Signal(syscall.SIGTERM) }
	start := time.Now()
	if err := serve.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	if err := awaitReady(ctx, "http://"+listen, ended); err != nil {
		return errors.Join(err, serve.Process.Kill())
	}
	r.Ready = time.Since(start).Seconds()
	r.ReadyRSS, _ = residentSize(strconv.Itoa(serve.Process.Pid))
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("driftd serve: %w", err)
	}
	return nil
}

// awaitReady asks /-/ready until it answers 200.
func awaitReady(ctx context.Context, address string, ended <-chan error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return errors.Join(errors.New("driftd serve stopped before it was ready"), err)
		case <-tick.C:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/-/ready", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			continue // it does not listen yet
		}
		if err := answer.Body.Close(); err != nil {
			return err
		}
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
}
