package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ledger"
)

func newReportDigestCmd(e *env) *cobra.Command {
	var b backend
	var since string
	cmd := &cobra.Command{
		Use:         "digest",
		Annotations: map[string]string{formatsKey: "markdown"},
		Short:       "Sum up incidents, and propose what to tune",
		Long: `Incidents by model and cause, pages against the budgets, how precise each rule was by
what people answered in 90 days, and what to tune: rules that wake people for nothing,
rules that never fire, pages that nobody acknowledges, the most frequent cause.

--since goes back from the latest event time that the daemon has seen.`,
		Example: "  driftd report digest\n  driftd report digest --since 30d -o markdown",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if span, err := config.ParseDuration(since); err != nil || span <= 0 {
				return badUsage("--since %q: use a duration such as 7d", since)
			}
			return e.with(cmd.Context(), b, false, func(c *client) error {
				var raw json.RawMessage
				if err := c.get(cmd.Context(), "/api/v1/digest", url.Values{"since": {since}}, &raw); err != nil {
					return err
				}
				var d ledger.Digest
				if err := json.Unmarshal(raw, &d); err != nil {
					return fmt.Errorf("read the digest: %w", err)
				}
				if e.output == "markdown" {
					_, err := io.WriteString(e.out, digestMarkdown(&d))
					return err
				}
				r := digestResult(&d)
				r.value = raw
				return e.print(r)
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "7d", "how far to go back")
	b.flags(cmd)
	return cmd
}

// digestHead says in a sentence what a digest is of.
func digestHead(d *ledger.Digest) string {
	return fmt.Sprintf("%s to %s: %s, of which %s, %d still open, %s that nobody acknowledged",
		d.From.Format(timeLayout), d.To.Format(timeLayout), count(d.Incidents, "incident"), count(d.Pages, "page"), d.Open, count(len(d.Unheeded), "page"))
}

// A digestTable is one part of a digest.
type digestTable struct {
	title string
	sheet
}

// digestTables are the parts of a digest: models, causes, budgets, rules, proposals.
func digestTables(d *ledger.Digest) [5]digestTable {
	models := digestTable{"Incidents by model", sheet{head: []string{"model", "incidents", "pages", "mostly"}}}
	for _, m := range d.Models {
		models.rows = append(models.rows, []any{m.Model, m.Incidents, m.Pages, m.Cause})
	}
	causes := digestTable{"Incidents by cause", sheet{head: []string{"cause", "incidents"}}}
	for _, c := range d.Causes {
		name := c.Cause
		if name == "" {
			name = "(not diagnosed)"
		}
		causes.rows = append(causes.rows, []any{name, c.Incidents})
	}
	answers := []string{"precision", "yes", "no", "unsure", "unanswered"}
	budgets := digestTable{"Budgets", sheet{head: append([]string{"budget", "pages", "per", "spent", "drawn"}, answers...)}}
	for _, b := range d.Budgets {
		budgets.rows = append(budgets.rows, append([]any{b.Budget, b.Pages, b.Per, b.Spent, b.Drawn}, precisionCells(b.Precision)...))
	}
	rules := digestTable{"Precision of rules since " + d.RatedFrom.Format("2006-01-02"), sheet{head: append([]string{"rule"}, answers...)}}
	for _, p := range d.Rules {
		rules.rows = append(rules.rows, append([]any{p.Rule}, precisionCells(p)...))
	}
	proposals := digestTable{"Proposals", sheet{head: []string{"what", "of", "because"}}}
	for _, p := range d.Proposals {
		proposals.rows = append(proposals.rows, []any{p.Kind, p.Subject, p.Text})
	}
	return [...]digestTable{models, causes, budgets, rules, proposals}
}

func precisionCells(p ledger.Precision) []any {
	var precision any
	if p.Precision != nil {
		precision = *p.Precision
	}
	return []any{precision, p.Yes, p.No, p.Unsure, p.Unanswered}
}

// digestResult prints the precision of the rules as the table, the rest around it.
func digestResult(d *ledger.Digest) result {
	tables := digestTables(d)
	const rules = 3 // those before it stand above
	r := result{items: []any{}, sheet: tables[rules].sheet, above: []string{digestHead(d), ""}}
	for _, t := range tables[:rules] {
		if lines := t.lines(); len(lines) > 0 {
			r.above = append(append(r.above, lines...), "")
		}
	}
	r.above = append(r.above, tables[rules].title)
	for _, t := range tables[rules+1:] {
		if lines := t.lines(); len(lines) > 0 {
			r.below = append(append(r.below, ""), lines...)
		}
	}
	for _, p := range d.Rules {
		r.items = append(r.items, p)
	}
	return r
}

// lines writes a table as a list under its title, what a row is about in front;
// nothing if it is empty.
func (t *digestTable) lines() (out []string) {
	for _, row := range t.rows {
		var cells []string
		for k, cell := range row[1:] {
			if text := cellText(cell, 4); text != "" {
				cells = append(cells, t.head[k+1]+" "+text)
			}
		}
		out = append(out, "  "+printable(cellText(row[0], 4)+": "+strings.Join(cells, ", ")))
	}
	if len(out) > 0 {
		out = slices.Insert(out, 0, t.title)
	}
	return out
}

// digestMarkdown writes a digest for a page or a chat that reads Markdown.
func digestMarkdown(d *ledger.Digest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# driftd digest\n\n%s.\n", digestHead(d))
	for _, t := range digestTables(d) {
		if len(t.rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
		for _, row := range t.rows {
			cells := make([]string, len(row))
			for k, cell := range row {
				cells[k] = markdownText(cellText(cell, 4))
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	return b.String()
}

// markdownText keeps a name from being more than text in a table.
func markdownText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`).Replace(printable(s))
}
