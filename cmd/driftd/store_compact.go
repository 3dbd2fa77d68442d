package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/store"
)

// A compaction is the JSON of store compact.
type compaction struct {
	Before int64 `json:"bytes_before"` // on disk
	After  int64 `json:"bytes_after"`
}

func newStoreCompactCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Give back the disk space of what was overwritten and deleted",
		Long: `Rewrite the files of a stopped daemon's store so that they hold nothing twice. A running
daemon does that by itself, bit by bit: this is for after retention was shortened. It
needs as much room as the store takes. Ctrl-C is heeded only between two steps; killing it
costs nothing but the time.`,
		Example: "  driftd store compact --store ./data",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := b.existing()
			if err != nil {
				return err
			}
			if _, err := tryStore(cmd.Context(), dir); err != nil {
				return err
			}
			return e.compact(cmd.Context(), dir)
		},
	}
	b.flags(cmd)
	return cmd
}

func (e *env) compact(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c compaction
	done := make(chan error, 1)
	go func() {
		var err error
		c.Before, c.After, err = store.Compact(dir, storeOptions())
		done <- err
	}()
	p := e.newProgress("compact", "s", 0) // Badger does not say how far it is
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			p.end()
			if err != nil {
				return err
			}
			return e.print(result{
				value: c, items: []any{c},
				sheet: sheet{head: []string{"before", "after"}, rows: [][]any{{size(uint64(c.Before)), size(uint64(c.After))}}},
			})
		case <-tick.C:
			p.at(int64(time.Since(p.start).Seconds()))
		}
	}
}
