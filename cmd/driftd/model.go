package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/detect"
)

const modelsPath = "/api/v1/models"

// A modelItem is what tables show of a model of the API.
type modelItem struct {
	Model     string         `json:"model"`
	State     string         `json:"state"`
	Owner     string         `json:"owner"`
	Features  int            `json:"features"`
	Drifting  []string       `json:"drifting"`
	Watermark *time.Time     `json:"watermark"`
	Detection *detectionItem `json:"detection"`
	Baseline  *struct {
		ID    string `json:"id"`
		State string `json:"state"`
	} `json:"baseline"`
}

// A detectionItem says how the drift of a model is judged.
type detectionItem struct {
	Budget  string         `json:"budget"`
	Pages   float64        `json:"pages"`
	Per     string         `json:"per"`
	State   string         `json:"state"`
	Missing int            `json:"missing"`
	Status  *detect.Status `json:"status"`
}

// A budgetItem is one budget of the API.
type budgetItem struct {
	Name     string  `json:"name"`
	Receiver string  `json:"receiver"`
	Pages    float64 `json:"pages"`
	Per      string  `json:"per"`
	Models   int     `json:"models"`
	Spent    int     `json:"spent"`
	Left     float64 `json:"left"`
	OnTrial  bool    `json:"on_trial"`
	Shadow   []any   `json:"shadow"`
}

func newModelCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Look at the models that are followed",
		Long: `Look at the models that are followed: what they are compared with, what they draw
their pages from, and how near each of their signals is to an alarm.

Beside a running daemon the commands ask it; with the daemon stopped they open its
store, and then what budgets say needs its configuration (-c).`,
		Example: `  driftd model list
  driftd model show fraud --explain`,
	}
	cmd.AddCommand(newModelListCmd(e), newModelShowCmd(e))
	return cmd
}

func newModelListCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List models",
		Long:    "List the models that are followed, with their state and what they draw pages from.",
		Example: "  driftd model list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error { return e.listModels(cmd.Context(), c) })
		},
	}
	b.flags(cmd)
	return cmd
}

func (e *env) listModels(ctx context.Context, c *client) error {
	raw, err := list[json.RawMessage](ctx, c, modelsPath, nil)
	if err != nil {
		return err
	}
	r := result{items: []any{}, sheet: sheet{head: []string{"model", "state", "owner", "features", "drifting", "watermark", "budget", "judged"}}}
	for _, text := range raw {
		var m modelItem
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("read a model: %w", err)
		}
		budget := ""
		if m.Detection != nil {
			budget = m.Detection.Budget
		}
		r.items = append(r.items, text)
		r.rows = append(r.rows, []any{m.Model, m.State, m.Owner, m.Features, len(m.Drifting), instantText(m.Watermark), budget, m.Detection.judged()})
	}
	r.value = struct {
		Items []json.RawMessage `json:"items"`
	}{raw}
	return e.print(r)
}

// judged says in a few words whether the drift of a model can page.
func (d *detectionItem) judged() string {
	switch {
	case d == nil:
		return "no budget"
	case d.State == "no_baseline":
		return "no baseline"
	case d.State == "reference":
		return fmt.Sprintf("%d windows missing", d.Missing)
	}
	return "yes"
}

func newModelShowCmd(e *env) *cobra.Command {
	var b backend
	var explain bool
	cmd := &cobra.Command{
		Use:   "show MODEL",
		Short: "Show one model, its budget and its detectors",
		Long: `Show one model: what it is compared with, what is left of its budget, whether its
drift can page yet, and each detector by how near it is to an alarm.

With --explain also the numbers behind that: docs/alarms.md tells how to read them.`,
		Example: "  driftd model show fraud --explain",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error { return e.showModel(cmd.Context(), c, args[0], explain) })
		},
	}
	cmd.Flags().BoolVar(&explain, "explain", false, "show evidence, thresholds and theta")
	b.flags(cmd)
	return cmd
}

func (e *env) showModel(ctx context.Context, c *client, name string, explain bool) error {
	path := modelsPath + "/" + url.PathEscape(name)
	var raw json.RawMessage
	if err := c.get(ctx, path, nil, &raw); err != nil {
		return err
	}
	var m modelItem
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("read the model: %w", err)
	}
	budgets, err := list[budgetItem](ctx, c, "/api/v1/budgets", nil)
	if err != nil {
		return err
	}
	detectors, err := list[detect.Standing](ctx, c, path+"/detectors", nil)
	if err != nil {
		return err
	}
	r := result{
		value: struct {
			Model     json.RawMessage   `json:"model"`
			Budgets   []budgetItem      `json:"budgets"`
			Detectors []detect.Standing `json:"detectors"`
		}{raw, budgets, detectors},
		above: append(m.title(), m.Detection.lines(budgets, explain)...),
		items: []any{},
	}
	if m.Detection != nil || e.output == "csv" {
		r.head = []string{"signal", "watched", "evidence", "told as"}
	}
	if explain && r.head != nil {
		r.head = append(r.head, "log_r", "threshold")
	}
	for _, d := range detectors {
		row := []any{d.Signal, d.Component.String(), fmt.Sprintf("%.0f %%", 100*min(1, d.LogR/max(d.Threshold, 1e-9))), d.Level.String()}
		if explain {
			row = append(row, d.LogR, d.Threshold)
		}
		r.items, r.rows = append(r.items, d), append(r.rows, row)
	}
	return e.print(r)
}

// title says what a model is and does.
func (m *modelItem) title() []string {
	baseline := "no baseline yet: the model is learning"
	if m.Baseline != nil {
		baseline = "baseline " + m.Baseline.ID + ", " + m.Baseline.State
	}
	return []string{fmt.Sprintf("%s  %s, %d features, closed up to %s", printable(m.Model), m.State, m.Features, instantText(m.Watermark)), baseline}
}

// lines say what a model draws its pages from and what is wrong with it.
func (d *detectionItem) lines(budgets []budgetItem, explain bool) []string {
	if d == nil {
		return []string{"no budget: only rules judge it"}
	}
	out := []string{fmt.Sprintf("budget %s: drift of this model may cost %.3g false pages in %s", printable(d.Budget), d.Pages, d.Per)}
	for _, b := range budgets {
		if b.Name == d.Budget {
			out = append(out, fmt.Sprintf("  %d of %.3g pages drawn by %s, %.3g left, paged at %s", b.Spent, b.Pages, count(b.Models, "model"), b.Left, printable(b.Receiver)))
			if b.OnTrial {
				out = append(out, fmt.Sprintf("  on trial: nobody is told; %s would have been drawn", count(len(b.Shadow), "page")))
			}
		}
	}
	s := d.Status
	if s == nil {
		return append(out, "")
	}
	switch {
	case !s.Judging:
		out = append(out, fmt.Sprintf("what is normal is not known yet: %d of %d windows; until then only hard limits page", s.Windows, s.Reference))
	case s.Guaranteed:
		out = append(out, fmt.Sprintf("judged by %d detectors against %d quiet windows; the budget is guaranteed as docs/alarms.md says", s.Detectors, s.Windows))
	default:
		out = append(out, fmt.Sprintf("judged by %d detectors against %d quiet windows; the budget is kept by calibration, not by theory", s.Detectors, s.Windows))
	}
	if s.Dropped > 0 {
		out = append(out, fmt.Sprintf("%d detectors beyond the limit are not watched", s.Dropped))
	}
	if explain && s.Judging {
		out = append(out, fmt.Sprintf("theta %.2f, threshold log R %.2f for a detector of mean weight", s.Theta, s.Threshold))
	}
	if i := s.Incident; i != nil {
		out = append(out, fmt.Sprintf("incident (%s) open since %s: %s", i.Level, i.Opened.Format(timeLayout), printable(i.Findings[0].Reason)))
	}
	return append(out, "")
}
