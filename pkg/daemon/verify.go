package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// verify reads the whole store once, beside everything else, if Options.Verify says
// so, and then every Options.VerifyEvery. Nobody is told anything before the first
// has ended well: a message cannot be taken back.
func (d *Daemon) verify(ctx context.Context) error {
	if d.Verify {
		if err := d.verifyOnce(ctx, func(_, _ uint64) {}); err != nil || ctx.Err() != nil {
			return err
		}
		close(d.verified)
	}
	if d.VerifyEvery <= 0 {
		return nil
	}
	tick := time.NewTicker(d.VerifyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := d.verifyOnce(ctx, leisurely(ctx)); err != nil {
			d.distrusted.Store(true)
			return err
		}
	}
}

// verifyOnce returns what is damaged; nil also when ctx has ended before.
func (d *Daemon) verifyOnce(ctx context.Context, at func(done, total uint64)) error {
	start := time.Now()
	v, err := d.Store.Verify(ctx, at)
	if err == nil {
		err = v.Err()
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify the store: %w", err)
	}
	d.verifiedAt.Store(time.Now().UnixNano())
	d.Log.Info().Uint64("records", v.Records).Dur("took", time.Since(start)).Msg("the store is verified")
	return nil
}

// leisure is how much longer than it reads a verification beside the work rests, so
// that it takes a fifth of a core and of the disk at most.
const leisure = 4

// leisurely rests between two stretches of a verification.
func leisurely(ctx context.Context) func(done, total uint64) {
	last := time.Now()
	return func(_, _ uint64) {
		rest := time.NewTimer(leisure * time.Since(last))
		defer rest.Stop()
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		last = time.Now()
	}
}

// trusted reports whether the store has been verified, or need not be, and was not
// found damaged since.
func (d *Daemon) trusted() bool {
	if d.distrusted.Load() {
		return false
	}
	select {
	case <-d.verified:
		return true
	default:
		return !d.Verify
	}
}

// pay tells receivers what they are owed, once the store can be trusted.
func (d *Daemon) pay(ctx context.Context) error {
	if d.Verify {
		select {
		case <-ctx.Done():
			return nil
		case <-d.verified:
		}
	}
	return d.dispatcher.Run(ctx)
}
