package daemon

import (
	"context"
	"errors"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/store"
)

// The guard of the disk. Badger writes through memory maps, and a full disk kills
// the process. So the committer keeps its checkpoint while there is too little
// room; the loop then waits for it, and with the loop the reading of the stream.
// Nothing is lost: what is not committed is read again. Receivers are still paid
// and the API still answers.

// roomEvery is how often a paused committer looks for room; enoughRoom is how much
// of the reserve must be free for it to go on, so that it does not flutter.
const (
	roomEvery  = time.Second
	enoughRoom = 1.2
)

// lowRoom is the share of the reserve below which the state of the disk is low.
const lowRoom = 2

// put makes a checkpoint durable. Without room it waits until there is some; when
// ctx ends first it returns ErrNoSpace.
func (d *Daemon) put(ctx context.Context, b *store.Batch) error {
	for {
		err := d.Store.Commit(b)
		if !errors.Is(err, store.ErrNoSpace) {
			return err
		}
		d.paused.Store(true)
		d.Log.Error().Err(err).Msg("the disk is nearly full; nothing is committed or read until there is room, and nothing is lost")
		if !d.room(ctx) {
			return err
		}
		d.paused.Store(false)
		d.Log.Info().Msg("there is room on the disk again; driftd goes on")
	}
}

// room waits for room on the disk and reports whether there is.
func (d *Daemon) room(ctx context.Context) bool {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		d.alive() // the loop waits for us: it does not hang
		free, reserve, err := d.Store.Room()
		if err == nil && float64(free) >= enoughRoom*float64(reserve) {
			return true
		}
	}
}

// disk measures the room left where the store is. full says that it is too little to
// commit, whether or not there is something to commit.
func (d *Daemon) disk() (out api.Disk, full bool) {
	free, reserve, err := d.Store.Room()
	if err != nil {
		return api.Disk{State: "unknown"}, true
	}
	out = api.Disk{Free: uint64(free), State: "ok"}
	switch {
	case d.paused.Load():
		out.State = "paused"
	case free < lowRoom*reserve:
		out.State = "low"
	}
	return out, out.State == "paused" || free < reserve
}
