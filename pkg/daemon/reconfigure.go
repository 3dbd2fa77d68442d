package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
)

// A Reconfiguration is new settings, with what the ledger says about them.
type Reconfiguration struct {
	Settings Settings
	Actor    string
	Changes  []ledger.SettingChange
}

// Bounds of what one ledger entry says about a reload.
const (
	recordedChanges = 100
	recordedBytes   = 200 // of a value
)

// Reconfigure exchanges the settings between two messages, in one transaction with
// the entry that says so: what is decided behind the entry's sequence is decided by
// them, and a crash leaves both or neither. It does to the loop what a restart with
// these settings would, without the restart: states of rules stay, alerts of rules
// that are gone resolve. Receivers are exchanged as soon as it is durable. An error
// changes nothing. One goroutine at a time may call it.
func (d *Daemon) Reconfigure(ctx context.Context, r Reconfiguration) error {
	if err := notify.Check(r.Settings.Receivers); err != nil {
		return err
	}
	if err := d.do(ctx, func(l *loop) error { return l.reconfigure(r) }); err != nil {
		return err
	}
	d.settings.Store(&r.Settings)
	d.pulse.forgive("")
	err := d.dispatcher.Replace(r.Settings.Receivers)
	d.refusals.keep(r.Settings.Receivers)
	return err
}

func (l *loop) reconfigure(r Reconfiguration) error {
	if err := r.Settings.Validate(); err != nil {
		return err
	}
	if err := l.engine.Reconfigure(r.Settings.Spec); err != nil {
		return err
	}
	alerts := l.held()
	previous := l.ConfigHash
	l.Settings, l.loaded, l.shares = r.Settings, l.now, shares{}
	for _, w := range l.watches {
		w.standings = nil
	}
	err := l.configured(previous, r.Actor, r.Changes)
	if err == nil {
		err = l.assign(alerts)
	}
	if err == nil {
		err = l.address(r.Actor)
	}
	if err != nil {
		return brokenError{err}
	}
	return nil
}

// actorStart is who changes a configuration by a start with another one.
const actorStart = "start"

// begun records that a start brought another configuration.
func (l *loop) begun(previous string) error {
	if previous == "" { // the store is new
		return nil
	}
	return l.configured(previous, actorStart, nil)
}

// configured records that the settings in force have changed, if they have.
func (l *loop) configured(previous, actor string, changes []ledger.SettingChange) error {
	if previous == l.ConfigHash && len(changes) == 0 {
		return nil
	}
	body := ledger.ConfigChange{Type: "config", Hash: l.ConfigHash, Previous: previous, Actor: actor}
	body.More = max(0, len(changes)-recordedChanges)
	for _, c := range changes[:len(changes)-body.More] {
		c.From, c.To = cut(c.From), cut(c.To)
		body.Changes = append(body.Changes, c)
	}
	_, err := l.record(ledger.Draft{Time: time.Unix(0, l.progress.Time), StreamSeq: l.progress.Seq, Kind: ledger.KindConfig, Body: body})
	if err != nil {
		return fmt.Errorf("record the configuration: %w", err)
	}
	return nil
}

func cut(text string) string {
	if len(text) <= recordedBytes {
		return text
	}
	return text[:recordedBytes] + "…"
}

// held returns the states of all rules as the store would give them at a start.
func (l *loop) held() []store.Alert {
	var out []store.Alert
	for _, models := range l.states {
		for _, states := range models {
			for series, state := range states {
				out = append(out, store.Alert{Series: series, State: state})
			}
		}
	}
	slices.SortFunc(out, func(a, b store.Alert) int { return a.Series.Compare(b.Series) })
	return out
}
