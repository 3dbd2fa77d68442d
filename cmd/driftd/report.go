package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
)

func newReportCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "report",
		Short:   "Sum up what the ledger holds",
		Long:    "Reports are made of the ledger: of a running daemon, or with the daemon stopped of its store.",
		Example: "  driftd report digest --since 7d\n  driftd report shadow --since 30d",
	}
	cmd.AddCommand(newReportDigestCmd(e), newReportShadowCmd(e))
	return cmd
}

func newReportShadowCmd(e *env) *cobra.Command {
	var b backend
	var since string
	cmd := &cobra.Command{
		Use:   "shadow",
		Short: "Compare what rules on trial would have told with what was told",
		Long: `Rules, models and budgets with notify: shadow are judged and recorded, and nobody is told.
The report says how many pages and tickets they would have made by rule and model and
by day, during which of them somebody was told of the same model anyway, and which
alerts in earnest they would have missed.

--since goes back from the latest event time that the daemon has seen.`,
		Example: "  driftd report shadow\n  driftd report shadow --since 7d -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			span, err := config.ParseDuration(since)
			if err != nil || span <= 0 {
				return badUsage("--since %q: use a duration such as 30d", since)
			}
			return e.with(cmd.Context(), b, false, func(c *client) error {
				report, err := shadowReport(cmd.Context(), c, span.Std())
				if err != nil {
					return err
				}
				return e.print(shadowResult(report))
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "30d", "how far to go back")
	b.flags(cmd)
	return cmd
}

// shadowReport reads the ledger.
func shadowReport(ctx context.Context, c *client, span time.Duration) (*backtest.ShadowReport, error) {
	models, err := list[struct {
		Watermark *time.Time `json:"watermark"`
	}](ctx, c, "/api/v1/models", nil)
	if err != nil {
		return nil, err
	}
	var to time.Time
	for _, m := range models {
		if m.Watermark != nil && m.Watermark.After(to) {
			to = *m.Watermark
		}
	}
	rules, err := list[api.RuleJSON](ctx, c, "/api/v1/rules", nil)
	if err != nil {
		return nil, err
	}
	entries, err := list[ledger.Entry](ctx, c, "/api/v1/ledger", url.Values{"limit": {"1000"}})
	if err != nil {
		return nil, err
	}
	a := alertBook{at: map[string]booked{}}
	for _, entry := range entries {
		if entry.Kind != ledger.KindAlert {
			continue
		}
		var body ledger.Alert
		if err := json.Unmarshal(entry.Body, &body); err != nil {
			return nil, fmt.Errorf("ledger entry %d: %w", entry.Seq, err)
		}
		a.note(&body)
		if entry.Time.After(to) {
			to = entry.Time
		}
	}
	to = to.Truncate(time.Second).Add(time.Second) // what fired at the end counts too
	return backtest.Shadow(a.shadow, a.told, to.Add(-span), to, func(model string) bool {
		return slices.ContainsFunc(rules, func(r api.RuleJSON) bool {
			return r.Notify == alert.NotifyShadow && (r.Model == "" || event.Match(r.Model, model))
		})
	}), nil
}

// An alertBook makes intervals of the ledger's alerts.
type alertBook struct {
	shadow, told []backtest.Interval
	at           map[string]booked // by dedup key
}

// booked says where an alertBook keeps an alert: on the side that it began on.
type booked struct {
	side *[]backtest.Interval
	at   int
}

func (p booked) interval() *backtest.Interval { return &(*p.side)[p.at] }

func (b *alertBook) note(body *ledger.Alert) {
	began, known := b.at[body.DedupKey]
	switch {
	case body.Status == "firing" && known: // drift is told again when it is worse: the same alert
		if body.Severity == alert.SeverityPage {
			began.interval().Severity = body.Severity
		}
	case body.Status == "firing":
		side := &b.told
		if body.Notify == alert.NotifyShadow {
			side = &b.shadow
		}
		b.at[body.DedupKey] = booked{side, len(*side)}
		*side = append(*side, backtest.Interval{
			Rule: body.Rule, Model: body.Model, Version: body.ModelVersion, Variant: body.Variant, Segment: body.Segment, Feature: body.Feature,
			Severity: body.Severity, StartsAt: body.StartsAt, Reason: body.Reason,
		})
	case known: // retention may have taken the start
		i := began.interval()
		i.EndsAt, i.Peak = body.EndsAt, body.Evidence.Peak
	}
}

func shadowResult(r *backtest.ShadowReport) result {
	out := result{
		value: r, items: []any{},
		sheet: sheet{head: []string{"rule", "model", "pages", "tickets", "infos", "matched"}},
		wide:  &sheet{head: append(slices.Clone(intervalHead), "overlaps")},
		above: []string{fmt.Sprintf("in shadow, %s to %s", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339)), ""},
	}
	for _, rule := range r.Rules {
		out.rows = append(out.rows, []any{rule.Rule, rule.Model, rule.Pages, rule.Tickets, rule.Infos, rule.Matched})
	}
	for _, a := range r.Shadow {
		out.items = append(out.items, a)
		out.wide.rows = append(out.wide.rows, append(intervalRow(a.Interval), len(a.Overlaps)))
	}
	out.below = append(out.below, "")
	for _, d := range r.Days {
		out.below = append(out.below, fmt.Sprintf("%s  in shadow %d pages, %d tickets; told %d pages, %d tickets", d.Day, d.Shadow.Pages, d.Shadow.Tickets, d.Told.Pages, d.Told.Tickets))
	}
	if len(r.Days) == 0 {
		out.below = append(out.below, "nothing fired")
	}
	for _, i := range r.Missed {
		out.below = append(out.below, "told, and silent in shadow: "+alertLine(i))
	}
	return out
}
