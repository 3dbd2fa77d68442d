package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
)

// driftOptions are the flags of drift.
type driftOptions struct {
	version, variant, segment string
	window, at                string
	failOn                    string
	backend                   backend
}

func newDriftCmd(e *env) *cobra.Command {
	var o driftOptions
	cmd := &cobra.Command{
		Use:   "drift MODEL",
		Short: "Show how far a model's events have moved",
		Long: `Show the report on the last closed window of a model that had events: every signal
against the baseline, the most evidence first. With the daemon stopped the report
is made from its store.

With --fail-on drift the exit code is 4 when a signal is material.`,
		Example: `  driftd drift fraud
  driftd drift fraud --version 42 --window 24h --at 2026-01-05T12:00:00Z -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.drift(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.version, "version", "", "one version (default all together)")
	f.StringVar(&o.variant, "variant", "", "primary, canary or shadow (default all but shadow)")
	f.StringVar(&o.segment, "segment", "", "one segment, such as channel=app (default the whole traffic)")
	f.StringVar(&o.window, "window", "1h", "length of the window, such as 5m, 1h or 7d")
	f.StringVar(&o.at, "at", "", "a time in the window: RFC 3339, Unix seconds, or -24h (default the last closed one)")
	f.StringVar(&o.failOn, "fail-on", "", `"drift": exit with 4 when a signal is material`)
	o.backend.flags(cmd)
	return cmd
}

func (e *env) drift(ctx context.Context, model string, o driftOptions) error {
	if o.failOn != "" && o.failOn != "drift" {
		return badUsage("--fail-on %q: use drift", o.failOn)
	}
	query := url.Values{}
	for name, value := range map[string]string{
		"version": o.version, "variant": o.variant, "segment": o.segment, "window": o.window, "at": o.at,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var report api.ReportJSON
	err := e.with(ctx, o.backend, false, func(c *client) error {
		return c.get(ctx, "/api/v1/models/"+url.PathEscape(model)+"/drift", query, &report)
	})
	if err != nil {
		return err
	}
	r := reportResult(report)
	if w := report.Window; w != nil {
		r.above = []string{driftTitle(w, report.RowsCurrent), driftReference(w, report.RowsReference), ""}
	}
	r.below = []string{"", fmt.Sprintf("%d of %s material", report.Drifting, count(len(report.Features), "signal"))}
	if err := e.print(r); err != nil {
		return err
	}
	if o.failOn != "" && report.Drifting > 0 {
		return codedError{code: codeCondition}
	}
	return nil
}

// driftTitle says which window a report is about.
func driftTitle(w *api.WindowJSON, events uint64) string {
	var title strings.Builder
	title.WriteString(w.Model)
	for _, part := range []string{w.Version, w.Variant, w.Segment} {
		if part != "" {
			title.WriteString(" " + part)
		}
	}
	return fmt.Sprintf("%s  %s to %s, %s, %d events", printable(title.String()), w.Start.Format(time.RFC3339), w.End.Format(time.RFC3339), w.State, events)
}

// driftReference says what the window was compared with.
func driftReference(w *api.WindowJSON, rows uint64) string {
	switch {
	case w.Reference == "":
		return "no baseline yet: the model is learning, and nothing was compared"
	case !w.Approved:
		return fmt.Sprintf("baseline %s, %d rows, not approved: driftd baseline approve %s", w.Reference, rows, w.Reference)
	}
	return fmt.Sprintf("baseline %s, %d rows", w.Reference, rows)
}
