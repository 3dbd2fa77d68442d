package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
)

// StartDegraded is Start for a driftd that has failed again and again: it opens
// neither the store nor NATS, has no Daemon, and serves health, readiness (503,
// "degraded"), the status and the metrics, all of which tell the cause.
func StartDegraded(ctx context.Context, c *config.Config, x Extras, cause string) (_ *Instance, err error) {
	i := &Instance{log: x.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if i.access, err = openAccess(c, x.Log); err != nil {
		return nil, err
	}
	if i.server, err = api.New(api.Options{
		Access: i.access, Hosts: c.HTTP.Hosts, MetricsPublic: c.HTTP.MetricsPublic, ExternalURL: c.HTTP.ExternalURL,
		Reader: degraded{cause, x.Version, c.DecisionHash(), time.Now()}, Degraded: true, Version: x.Version, Log: x.Log,
	}); err != nil {
		return nil, err
	}
	return i, i.bind(ctx, c)
}

// degraded is the api.Reader of a driftd that does nothing but say why.
type degraded struct {
	cause, version, config string
	since                  time.Time
}

var errDegraded = fmt.Errorf("driftd is degraded: %w", api.ErrUnavailable)

// Snapshot implements api.Reader.
func (d degraded) Snapshot() *api.Snapshot {
	return &api.Snapshot{
		At: time.Now(), Version: d.version, Role: "degraded", NotReady: []string{"degraded"}, Cause: d.cause,
		Config: api.Config{Hash: d.config, LoadedAt: d.since, LastReloadOK: true}, Disk: api.Disk{State: "unknown"},
	}
}

// Windows implements api.Reader.
func (degraded) Windows(api.Query) ([]*drift.Window, error) { return nil, errDegraded }

// Baselines implements api.Reader.
func (degraded) Baselines() ([]*drift.Baseline, error) { return nil, errDegraded }

// Baseline implements api.Reader.
func (degraded) Baseline(string) (*drift.Baseline, error) { return nil, errDegraded }

// Entries implements api.Reader.
func (degraded) Entries(uint64, int) ([]ledger.Entry, error) { return nil, errDegraded }

// VerifyLedger implements api.Reader.
func (degraded) VerifyLedger(context.Context) (ledger.Chain, error) {
	return ledger.Chain{}, errDegraded
}

// Compare implements api.Reader.
func (degraded) Compare(*drift.Window) *drift.Report { return nil }
