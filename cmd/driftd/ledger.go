package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/ledger"
)

// A proof is the JSON of ledger verify, by the contract.
type proof struct {
	OK      bool   `json:"ok"`
	Entries uint64 `json:"entries"`
	Head    string `json:"head"`
	// Checkpoints are those given that the ledger is consistent with.
	Checkpoints int    `json:"checkpoints,omitempty"`
	Error       string `json:"error,omitempty"`
}

func newLedgerCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ledger",
		Aliases: []string{"audit"},
		Short:   "Prove and export the record of all decisions",
		Long: `The ledger holds everything that was decided as a chain of hashes: alerts and triggers,
and changes of baselines, configurations, incidents and silences. An entry that is
changed, removed or added later breaks it.

Beside a running daemon the commands ask it; with the daemon stopped they open its
store.`,
		Example: "  driftd ledger verify\n  driftd ledger export > ledger.jsonl",
	}
	cmd.AddCommand(newLedgerVerifyCmd(e), newLedgerExportCmd(e))
	return cmd
}

func newLedgerVerifyCmd(e *env) *cobra.Command {
	var (
		b        backend
		files    []string
		verifier string
	)
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Prove that no entry was changed, removed or added",
		Long: `Recompute the chain of hashes from the first entry to the tip that the last commit
recorded. With FILE, an export, the chain is proven within the file: compare its
head with one noted elsewhere. The exit code is 3 when the chain is broken.

Who can write the store can write the whole ledger anew. So driftd signs its head now
and then, and tells it in its log and on driftd.audit.checkpoint (publish.checkpoint).
With --checkpoint, the file of such a message, of several or of log lines, the ledger
is proven to hold all entries of that time unchanged.`,
		Example: `  driftd ledger verify -o json
  driftd ledger verify --store ./data
  driftd ledger verify ledger.jsonl
  nats sub driftd.audit.checkpoint --raw >> heads.jsonl      # elsewhere, all the time
  driftd ledger verify --checkpoint heads.jsonl --checkpoint-key driftd.dev/ledger/…`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kept, err := readCheckpoints(files, verifier)
			if err != nil {
				return err
			}
			e.unsigned(kept, verifier)
			if len(args) > 0 {
				return e.verifyFile(args[0], kept)
			}
			return e.with(cmd.Context(), b, false, func(c *client) error {
				var p proof
				if err := c.get(cmd.Context(), "/api/v1/ledger/verify", nil, &p); err != nil {
					return err
				}
				if err := kept.prove(&p, p.Entries, func(seq uint64) (ledger.Chain, error) { return c.entryBehind(cmd.Context(), seq) }); err != nil {
					return err
				}
				return e.proven(p)
			})
		},
	}
	cmd.Flags().StringArrayVar(&files, "checkpoint", nil, "file of heads that were kept elsewhere, which the ledger must be consistent with; repeatable")
	cmd.Flags().StringVar(&verifier, "checkpoint-key", "", "key that must have signed them, as their messages have it")
	b.flags(cmd)
	return cmd
}

// proven prints a proof, and fails if there is none.
func (e *env) proven(p proof) error {
	err := e.print(result{
		value: p, items: []any{p},
		sheet: sheet{head: []string{"ok", "entries", "head", "error"}, rows: [][]any{{p.OK, p.Entries, p.Head, p.Error}}},
	})
	if err == nil && !p.OK {
		err = codedError{code: codeRefused}
	}
	return err
}

// verifyFile proves the chain of an export, which may begin behind entries that
// retention removed, and that it is consistent with checkpoints.
func (e *env) verifyFile(path string, kept checkpoints) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	var v ledger.Verifier
	p := proof{OK: true}
	tips := map[uint64]ledger.Chain{0: {}} // those that checkpoints are about
	in := bufio.NewScanner(f)
	in.Buffer(nil, dataset.DefaultLimits.RecordBytes)
	for line := 1; in.Scan() && p.OK; line++ {
		var entry ledger.Entry
		if err := json.Unmarshal(in.Bytes(), &entry); err != nil {
			return fmt.Errorf("%s:%d: no ledger entry: %w: export with driftd ledger export -o ndjson", path, line, err)
		}
		if line == 1 && entry.Seq > 1 {
			v.Tip = ledger.Chain{Seq: entry.Seq - 1, Hash: entry.Prev}
			tips[v.Tip.Seq] = v.Tip
		}
		if err := v.Check(entry); err != nil {
			p.OK, p.Error = false, fmt.Sprintf("%s:%d: %v", path, line, err)
			break
		}
		p.Entries++
		if kept.about(entry.Seq) {
			tips[entry.Seq] = v.Tip
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.Head = v.Tip.Hash.String()
	err = kept.prove(&p, v.Tip.Seq, func(seq uint64) (ledger.Chain, error) {
		if tip, ok := tips[seq]; ok {
			return tip, nil
		}
		return ledger.Chain{}, errForgotten
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return e.proven(p)
}

func newLedgerExportCmd(e *env) *cobra.Command {
	var b backend
	var after uint64
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Print the entries, one JSON object a line",
		Long:    "Print the entries of the ledger, oldest first: one JSON object a line unless -o says else.",
		Example: "  driftd ledger export > ledger.jsonl\n  driftd ledger export --after 812 -o table",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error {
				return e.exportLedger(cmd.Context(), c, after)
			})
		},
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "only entries behind this one")
	b.flags(cmd)
	return cmd
}

func (e *env) exportLedger(ctx context.Context, c *client, after uint64) error {
	query := url.Values{"after": {fmt.Sprint(after)}, "limit": {"1000"}}
	entries, err := list[json.RawMessage](ctx, c, "/api/v1/ledger", query)
	if err != nil {
		return err
	}
	r := result{value: entries, items: []any{}, sheet: sheet{head: []string{"seq", "time", "kind", "model", "stream_seq", "id", "hash"}}}
	for _, raw := range entries {
		var entry ledger.Entry
		if err := json.Unmarshal(raw, &entry); err != nil {
			return errors.Join(errors.New("the daemon sent an entry that cannot be read"), err)
		}
		r.items = append(r.items, raw)
		r.rows = append(r.rows, []any{entry.Seq, entry.Time.Format(timeLayout), string(entry.Kind), entry.Model, entry.StreamSeq, entry.ID, entry.Hash.String()})
	}
	if e.output == "" {
		e.output = "ndjson"
	}
	return e.print(r)
}
