package daemon

import (
	"context"
	"io"
)

// backup writes the store as it was last committed, beside everything else.
func (i *Instance) backup(ctx context.Context, w io.Writer) error {
	head, err := i.Store.Backup(ctx, w, func(_, _ uint64) {})
	if err == nil {
		i.log.Info().Uint64("records", head.Records).Uint64("seq", head.Progress.Seq).Msg("a backup was taken")
	}
	return err
}
