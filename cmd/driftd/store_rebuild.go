package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/daemon"
)

// rebuildTerms are what somebody must know before a store is rebuilt.
const rebuildTerms = `It reads the stream again, from the first message that it still holds, and makes a new
store of it, by the configuration of today. That brings back the windows of that time,
the baselines that models learn by themselves, the states of rules, and a ledger of what
the rules make of it now.

It cannot bring back
  - anything from before the stream's first message;
  - baselines that were imported, captured or approved: import them again, else models
    learn new ones, and what was drift before may be normal now;
  - the old ledger, who did what, what people said about incidents, and silences: the new
    chain begins with entry 1, and a head that you noted elsewhere does not fit it;
  - what was owed to receivers: nobody is told anything of the past, also not of alerts
    that are still firing at its end, before they resolve.

A backup brings back all of it: driftd store restore.`

// A rebuildReport is the JSON of store rebuild.
type rebuildReport struct {
	FirstSeq  uint64     `json:"first_seq"`
	LastSeq   uint64     `json:"last_seq"`
	From      *time.Time `json:"from"`
	Entries   uint64     `json:"ledger_entries"`
	Forgotten int        `json:"deliveries_forgotten"`
}

func newStoreRebuildCmd(e *env) *cobra.Command {
	var b backend
	var yes bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make a store from the stream alone",
		Long: `Make a store without a backup, in store.dir of the configuration, in which there must be
none: move badger and STORE.json out of the way before.

` + rebuildTerms + `

Cut off, the same command goes on where it was.`,
		Example: "  driftd store rebuild -c driftd.yaml --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				fmt.Fprintln(e.err, rebuildTerms)
				return withCode(codeUsage, errors.New("nothing was done: say --yes to rebuild the store"))
			}
			return e.rebuild(cmd.Context(), b)
		},
	}
	b.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, knowing what it cannot bring back")
	return cmd
}

func (e *env) rebuild(ctx context.Context, b backend) error {
	c, err := loadConfig(b.config)
	if err != nil {
		return err
	}
	if b.dir != "" {
		c.Store.Dir = b.dir
	}
	p := e.newProgress("rebuild", "messages", 0)
	r, err := daemon.Rebuild(ctx, c, daemon.Extras{Version: version(), Log: e.logger(), Store: storeOptions()}, p.reach)
	p.end()
	if err != nil {
		return err
	}
	out := rebuildReport{FirstSeq: r.FirstSeq, LastSeq: r.LastSeq, Entries: r.Entries, Forgotten: r.Forgotten}
	if !r.From.IsZero() {
		out.From = &r.From
	}
	return e.print(result{
		value: out, items: []any{out},
		sheet: sheet{head: []string{"first_seq", "last_seq", "from", "ledger_entries", "deliveries_forgotten"}, rows: [][]any{{r.FirstSeq, r.LastSeq, r.From.Format(timeLayout), r.Entries, r.Forgotten}}},
	})
}
