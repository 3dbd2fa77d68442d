package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// timeLayout is how times are printed in tables.
const timeLayout = "2006-01-02T15:04:05Z07:00"

const baselinesPath = "/api/v1/baselines"

// A baselineItem is what tables show of a baseline of the API.
type baselineItem struct {
	ID      string `json:"id"`
	Model   string `json:"model"`
	Version string `json:"version"`
	State   string `json:"state"`
	Active  bool   `json:"active"`
	Rows    uint64 `json:"rows"`
	Signals int    `json:"signals"`
	Origin  struct {
		Kind   string     `json:"kind"`
		Source string     `json:"source"`
		From   *time.Time `json:"from"`
		To     *time.Time `json:"to"`
	} `json:"origin"`
	Summary []referenceItem `json:"summary"`

	Projections []projectionItem `json:"projections"`
}

// A projectionItem is what a baseline's axes say of a vector.
type projectionItem struct {
	Feature      string   `json:"feature"`
	Inputs       []string `json:"inputs"`
	Components   int      `json:"components"`
	Axes         int      `json:"axes"`
	VarianceKept api.Num  `json:"variance_kept"`
}

// line says what is watched together, and what of it cannot be seen.
func (p projectionItem) line() string {
	what := p.Feature
	if what == "" {
		what = strings.Join(p.Inputs, ", ")
	}
	return fmt.Sprintf("together: %s: %d of %d axes, %s of the variance", printable(what), p.Axes, p.Components, percent(p.VarianceKept))
}

// A referenceItem is one signal of a baseline.
type referenceItem struct {
	Name       string  `json:"name"`
	Type       string  `json:"type"`
	Values     uint64  `json:"values"`
	Missing    uint64  `json:"missing"`
	Min        api.Num `json:"min"`
	Max        api.Num `json:"max"`
	Mean       api.Num `json:"mean"`
	Bins       int     `json:"bins"`
	Categories int     `json:"categories"`
}

func newBaselineCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "baseline",
		Short: "Manage what models are compared with",
		Long: `A baseline is the reference of a model: imported from files, captured from what was
counted, or learned by itself from live events. Only an approved one may page.

Beside a running daemon the commands ask it; with the daemon stopped they open its
store, and those that change something need its configuration (-c).`,
		Example: `  driftd baseline import train.parquet --model churn --ignore split
  driftd baseline list`,
	}
	cmd.AddCommand(newBaselineImportCmd(e), newBaselineCreateCmd(e), newBaselineListCmd(e), newBaselineShowCmd(e), newBaselineApproveCmd(e), newBaselineDiffCmd(e))
	return cmd
}

// baselinesResult prints baselines as the API told them.
func baselinesResult(raw []json.RawMessage) (result, error) {
	r := result{
		items: []any{},
		sheet: sheet{head: []string{"id", "model", "version", "state", "active", "rows", "signals", "origin", "from", "to", "source"}},
	}
	for _, text := range raw {
		var b baselineItem
		if err := json.Unmarshal(text, &b); err != nil {
			return r, fmt.Errorf("read a baseline: %w", err)
		}
		r.items = append(r.items, text)
		r.rows = append(r.rows, []any{b.ID, b.Model, b.Version, b.State, b.Active, b.Rows, b.Signals, b.Origin.Kind, instantText(b.Origin.From), instantText(b.Origin.To), b.Origin.Source})
	}
	return r, nil
}

func instantText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(timeLayout)
}

// printBaseline prints one baseline: its signals where they are told.
func (e *env) printBaseline(raw json.RawMessage) error {
	r, err := baselinesResult([]json.RawMessage{raw})
	if err != nil {
		return err
	}
	r.value = raw
	var b baselineItem
	if err := json.Unmarshal(raw, &b); err != nil {
		return fmt.Errorf("read a baseline: %w", err)
	}
	if len(b.Summary) == 0 {
		return e.print(r)
	}
	r.above = []string{fmt.Sprintf("%s  %s %s, %s, %d rows", b.ID, printable(b.Model), printable(b.Version), b.State, b.Rows), ""}
	for _, p := range b.Projections {
		r.below = append(r.below, p.line())
	}
	r.items, r.sheet = []any{}, sheet{head: []string{"name", "type", "values", "missing", "min", "max", "mean", "bins", "categories"}}
	for _, s := range b.Summary {
		r.items = append(r.items, s)
		r.rows = append(r.rows, []any{s.Name, s.Type, s.Values, s.Missing, s.Min, s.Max, s.Mean, s.Bins, s.Categories})
	}
	return e.print(r)
}

func newBaselineListCmd(e *env) *cobra.Command {
	var b backend
	var model string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List baselines",
		Long:    "List the baselines of all models, or of one, and which of them are active.",
		Example: "  driftd baseline list --model fraud",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error {
				query := url.Values{}
				if model != "" {
					query.Set("model", model)
				}
				items, err := list[json.RawMessage](cmd.Context(), c, baselinesPath, query)
				if err != nil {
					return err
				}
				r, err := baselinesResult(items)
				if err != nil {
					return err
				}
				r.value = struct {
					Items []json.RawMessage `json:"items"`
				}{items}
				return e.print(r)
			})
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "of one model")
	b.flags(cmd)
	return cmd
}

func newBaselineShowCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one baseline and its signals",
		Long:    "Show where a baseline came from and what it says of every signal.",
		Example: "  driftd baseline show b-0123456789abcdef -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error {
				var raw json.RawMessage
				if err := c.get(cmd.Context(), baselinesPath+"/"+url.PathEscape(args[0]), nil, &raw); err != nil {
					return err
				}
				return e.printBaseline(raw)
			})
		},
	}
	b.flags(cmd)
	return cmd
}

func newBaselineApproveCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:   "approve ID",
		Short: "Let drift from a baseline page",
		Long: `Approve a baseline that was learned by itself: from then on drift from it may wake
people, and it is its model's reference.`,
		Example: "  driftd baseline approve b-0123456789abcdef",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.with(cmd.Context(), b, true, func(c *client) error {
				var raw json.RawMessage
				if err := c.do(cmd.Context(), http.MethodPost, baselinesPath+"/"+url.PathEscape(args[0])+"/approve", call{}, &raw); err != nil {
					return err
				}
				return e.printBaseline(raw)
			})
		},
	}
	b.flags(cmd)
	return cmd
}

func newBaselineCreateCmd(e *env) *cobra.Command {
	var b backend
	var o struct {
		Model   string `json:"model"`
		Version string `json:"version,omitempty"`
		From    string `json:"from"`
		To      string `json:"to"`
	}
	cmd := &cobra.Command{
		Use:   "create --model MODEL --from T --to T",
		Short: "Make a baseline of what was counted in a time range",
		Long: `Make the reference of a model of its primary traffic in a time range: of all
versions, or with --from-version of one, to compare a candidate with what runs.
Times are RFC 3339, Unix seconds, or spans before now like -24h; both must be
multiples of the pane (1m).`,
		Example: `  driftd baseline create --model fraud --from 2026-01-01T00:00:00Z --to 2026-01-08T00:00:00Z
  driftd baseline create --model fraud --from-version 41 --from 2026-01-01T00:00:00Z --to 2026-01-08T00:00:00Z`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := json.Marshal(o)
			if err != nil {
				return err
			}
			return e.with(cmd.Context(), b, true, func(c *client) error {
				var raw json.RawMessage
				if err := c.do(cmd.Context(), http.MethodPost, baselinesPath+"/capture", call{body: body, kind: "application/json"}, &raw); err != nil {
					return err
				}
				return e.printBaseline(raw)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "the model")
	f.StringVar(&o.Version, "from-version", "", "only what this version served")
	f.StringVar(&o.From, "from", "", "start of the range")
	f.StringVar(&o.To, "to", "", "end of the range, which is not in it")
	require(cmd, "model", "from", "to")
	b.flags(cmd)
	return cmd
}

// require marks flags without which a command cannot run.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag of that name is defined before
		}
	}
}

func newBaselineDiffCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:   "diff ID ID",
		Short: "Compare one baseline with another",
		Long: `Compare the second baseline with the first, signal by signal, as a window is compared
with its reference. Numbers are compared on the bins that both have, so baselines
of different data may leave the distances of numbers open.`,
		Example: "  driftd baseline diff b-0123456789abcdef b-fedcba9876543210",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error {
				return e.diffBaselines(cmd.Context(), c, args[0], args[1])
			})
		},
	}
	b.flags(cmd)
	return cmd
}

func (e *env) diffBaselines(ctx context.Context, c *client, older, newer string) error {
	var parts [2]*drift.Part
	for i, id := range []string{older, newer} {
		var raw json.RawMessage
		if err := c.get(ctx, baselinesPath+"/"+url.PathEscape(id), url.Values{"full": {"true"}}, &raw); err != nil {
			return err
		}
		b, err := api.DecodeBaseline(raw)
		if err != nil {
			return fmt.Errorf("baseline %s: %w", id, err)
		}
		parts[i] = b.Part("")
	}
	report := drift.Compare(parts[0], older, true, windowOf(parts[1], parts[0]))
	return e.print(reportResult(api.NewReportJSON(report, parts[0].Rows)))
}

// windowOf is what a part counted, as a window: categories on the dictionary of
// the reference, so that they can be compared.
func windowOf(p, reference *drift.Part) *drift.Window {
	w := &drift.Window{State: drift.Closed, Events: p.Rows}
	for i := range p.Signals {
		s := p.Signals[i].Signal
		if ref := reference.Reference(s.Name); ref != nil && ref.Type == drift.Categorical && s.Type == drift.Categorical {
			s.Categorical = onDictionary(s.Categorical, ref.Categorical.Dict)
		}
		w.Signals = append(w.Signals, s)
	}
	return w
}

func onDictionary(c *stats.Categorical, d *stats.Dictionary) *stats.Categorical {
	out := stats.NewCategorical(d)
	for i, name := range c.Dict.Categories {
		if c.Counts[i] > 0 {
			out.AddN(name, c.Counts[i])
		}
	}
	out.Other += c.Other
	out.Unseen += c.Unseen
	out.N += c.Other + c.Unseen
	return out
}
