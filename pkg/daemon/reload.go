package daemon

import (
	"context"
	"errors"
	"fmt"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
)

// ActorSignal is who asked for a reload by a signal.
const ActorSignal = "SIGHUP"

// A reloadRequest asks the one goroutine that exchanges configurations.
type reloadRequest struct {
	actor string
	done  chan reloaded // buffered
}

type reloaded struct {
	changes []config.Change
	err     error
}

// Reload reads the configuration again and returns what it changed, once that is
// in force and durable. A configuration that has any fault, or that only a restart
// could apply, is refused with config.Faults: the one before stays in force,
// /metrics say so, and the log has a line for each fault. The actor is who asked.
func (i *Instance) Reload(ctx context.Context, actor string) ([]config.Change, error) {
	if i.Daemon == nil {
		return nil, errDegraded
	}
	r := reloadRequest{actor, make(chan reloaded, 1)}
	select {
	case i.reloads <- r:
	case <-i.stopped:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case out := <-r.done:
		return out.changes, out.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// takeReloads reloads when asked, one after the other, until ctx ends.
func (i *Instance) takeReloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-i.reloads:
			changes, err := i.reload(ctx, r.actor)
			i.rejected.Store(err != nil)
			i.report(r.actor, changes, err)
			r.done <- reloaded{changes, err}
		}
	}
}

// reload validates, builds, and only then exchanges.
func (i *Instance) reload(ctx context.Context, actor string) ([]config.Change, error) {
	if i.extras.Load == nil {
		return nil, errors.New("driftd was started without a configuration file: there is nothing to read again")
	}
	now := i.config.Load()
	next, err := i.extras.Load()
	if err != nil && !errors.As(err, new(config.Faults)) { // the file cannot be read
		err = config.Faults{now.Fault("", "%v", err)}
	}
	if err != nil {
		return nil, err
	}
	if err := now.Reloadable(next); err != nil {
		return nil, err
	}
	settings, err := i.settings(next)
	if err != nil {
		return nil, err
	}
	var decoders []*event.Decoder
	if next.HTTP.Ingest {
		if decoders, err = ingestDecoders(next); err != nil {
			return nil, err
		}
	}
	changes := now.Changes(next)
	if err := i.Reconfigure(ctx, Reconfiguration{Settings: settings, Actor: actor, Changes: recorded(changes)}); err != nil {
		return nil, err
	}
	if decoders != nil {
		i.server.SetDecoders(decoders)
	}
	i.config.Store(next)
	return changes, nil
}

// recorded returns changes as the ledger and the API say them.
func recorded(changes []config.Change) []ledger.SettingChange {
	out := make([]ledger.SettingChange, len(changes))
	for n, c := range changes {
		out[n] = ledger.SettingChange{Path: c.Path, Kind: c.Kind, From: c.From, To: c.To}
	}
	return out
}

// report logs what came of a reload: a line for each fault, or for each change.
func (i *Instance) report(actor string, changes []config.Change, err error) {
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		i.log.Error().Err(err).Str("actor", actor).Msg("the configuration could not be reloaded; the one before it stays in force")
		return
	}
	for _, f := range faults {
		i.log.Error().Str("file", f.File).Int("line", f.Line).Int("column", f.Column).Str("setting", f.Path).Str("actor", actor).
			Msg("configuration refused: " + f.Message)
	}
	if err != nil {
		i.log.Error().Int("faults", len(faults)).Str("actor", actor).Str("config", i.config.Load().DecisionHash()).
			Msg("the configuration was not reloaded; the one before it stays in force")
		return
	}
	for _, c := range changes[:min(len(changes), recordedChanges)] {
		i.log.Info().Str("setting", c.Path).Str("change", c.Kind).Str("from", c.From).Str("to", c.To).Msg("configuration changed")
	}
	i.log.Info().Int("changes", len(changes)).Str("actor", actor).Str("config", i.config.Load().DecisionHash()).Msg("the configuration was reloaded")
}

// reloadOverHTTP is what POST /-/reload does, nil where it is off.
func (i *Instance) reloadOverHTTP(c *config.Config) api.Reload {
	if !c.HTTP.Reload {
		return nil
	}
	return func(ctx context.Context, actor string) (api.Reloaded, error) {
		changes, err := i.Reload(ctx, actor)
		var faults config.Faults
		if errors.As(err, &faults) {
			out := make(api.ConfigFaults, len(faults))
			for n, f := range faults {
				out[n] = api.ConfigFault{File: f.File, Line: f.Line, Column: f.Column, Path: f.Path, Message: f.Message}
			}
			return api.Reloaded{}, out
		}
		if err != nil {
			return api.Reloaded{}, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
		}
		return api.Reloaded{Hash: i.config.Load().DecisionHash(), Changes: recorded(changes)}, nil
	}
}
