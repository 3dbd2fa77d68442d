package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// verify reads the whole store once, beside everything else. Nobody is told
// anything before it has ended well: a message cannot be taken back.
func (d *Daemon) verify(ctx context.Context) error {
	if !d.Verify {
		return nil
	}
	start := time.Now()
	v, err := d.Store.Verify(ctx, func(uint64, uint64) {})
	if err == nil {
		err = v.Err()
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify the store: %w", err)
	}
	d.Log.Info().Uint64("records", v.Records).Dur("took", time.Since(start)).Msg("the store is verified")
	close(d.verified)
	return nil
}

// trusted reports whether the store has been verified, or need not be.
func (d *Daemon) trusted() bool {
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
