package main

import (
	"fmt"
	"math"
	"strings"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
)

// A compareReport is the JSON of compare, by the contract.
type compareReport struct {
	Reference string `json:"reference"`
	Current   string `json:"current"`
	api.ReportJSON
	Features []compareFeature `json:"features"` // in the place of the report's own
	Compat   *compatSummary   `json:"compat,omitempty"`
}

// A compareFeature is one column, with another tool's figures if asked for.
type compareFeature struct {
	api.FeatureJSON
	Compat *compatFigures `json:"compat,omitempty"`
}

// json returns the report: columns by evidence, then those ignored as the file
// has them.
func (c *comparison) json() compareReport {
	out := compareReport{Reference: c.pair.ref.path, Current: c.pair.cur.path, ReportJSON: api.NewReportJSON(c.report, c.base.Rows)}
	for _, f := range out.ReportJSON.Features {
		if f.Feature { // rows have no signal "error", which every event has
			f.Name = featureTitle(f.Name)
			f.KS.Lo, f.KS.Hi = outward(f.KS.Lo, f.KS.Hi)
			out.Features = append(out.Features, compareFeature{f, c.figures(f.Name)})
		}
	}
	for _, col := range c.pair.columns {
		if col.ignored {
			out.Features = append(out.Features, compareFeature{FeatureJSON: c.pair.ignored(col)})
		}
	}
	out.Compat = c.summary(out.Features)
	return out
}

// outward rounds an interval to five decimals so that it still holds all that it
// held. Bins that are points make it a single number; told in full, that would
// lie outside of what every other tool prints of the same distance.
func outward(lo, hi api.Num) (l, h api.Num) {
	const digits = 1e5
	return api.Num(math.Floor(float64(lo)*digits) / digits), api.Num(math.Ceil(float64(hi)*digits) / digits)
}

// featureTitle is the name that a feature has outside: a signal's name begins
// with "features." only to tell it from an output of the model.
func featureTitle(signal string) string { return strings.TrimPrefix(signal, drift.FeaturePrefix) }

// ignored reports a column that is not compared.
func (p *pair) ignored(c pairColumn) api.FeatureJSON {
	share := func(values, rows uint64, at int) api.Num {
		if at < 0 {
			return api.Num(math.NaN())
		}
		return 1 - api.Num(values)/api.Num(rows)
	}
	because := c.note
	if because == "" {
		because = c.typ.String() + " column"
	}
	f := api.IgnoredFeatureJSON(c.name, c.typ.String(), because)
	f.Feature = true
	f.NReference, f.NCurrent = c.valuesR, c.valuesC
	f.MissingReference, f.MissingCurrent = share(c.valuesR, p.ref.rows, c.inRef), share(c.valuesC, p.cur.rows, c.inCur)
	return f
}

func (c *comparison) result() result {
	report := c.json()
	told := report.ReportJSON
	told.Features = make([]api.FeatureJSON, 0, len(report.Features))
	for _, f := range report.Features {
		told.Features = append(told.Features, f.FeatureJSON)
	}
	r := reportResult(told)
	r.value = report
	r.above = []string{
		fmt.Sprintf("reference  %s, %d rows", printable(report.Reference), report.RowsReference),
		fmt.Sprintf("current    %s, %d rows", printable(report.Current), report.RowsCurrent), "",
	}
	r.below = []string{"", fmt.Sprintf("%d of %s material", report.Drifting, count(len(c.base.Signals), "column"))}
	if report.Compat != nil {
		report.Compat.tell(&r, report.Features)
	}
	return r
}

// count prints a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// reportResult prints a report, a line a signal.
func reportResult(report api.ReportJSON) result {
	r := result{
		value: report, items: []any{},
		sheet: sheet{head: []string{"name", "type", "verdict", "missing", "psi", "psi_debiased", "ks", "because"}},
		wide: &sheet{head: []string{
			"name", "type", "feature", "n_reference", "n_current", "missing_reference", "missing_current",
			"psi", "psi_raw", "psi_debiased", "psi_lo", "psi_hi", "psi_p", "noise_floor", "ks_lo", "ks_hi", "ks_p", "chi2", "chi2_df", "chi2_p",
			"js", "hellinger", "w1_clipped_sd", "unseen", "mde_sd", "mean", "adjusted_p", "verdict", "because", "new", "gone",
		}},
	}
	for _, f := range report.Features {
		r.items = append(r.items, f)
		r.rows = append(r.rows, []any{
			f.Name, f.Type, f.Verdict, span(percent(f.MissingReference), percent(f.MissingCurrent), " -> "),
			f.PSI, f.PSIDebiased, span(cellText(f.KS.Lo, 3), cellText(f.KS.Hi, 3), ".."), because(f),
		})
		r.wide.rows = append(r.wide.rows, []any{
			f.Name, f.Type, f.Feature, f.NReference, f.NCurrent, f.MissingReference, f.MissingCurrent,
			f.PSI, f.PSIRaw, f.PSIDebiased, f.PSILo, f.PSIHi, f.PSIP, f.NoiseFloor, f.KS.Lo, f.KS.Hi, f.KS.P, f.Chi2.Stat, f.Chi2.DF, f.Chi2.P,
			f.JS, f.Hellinger, f.W1ClippedSD, f.Unseen, f.MDESD, f.Mean, f.AdjustedP, f.Verdict, f.Because, strings.Join(f.New, " "), strings.Join(f.Gone, " "),
		})
	}
	return r
}

// because is a verdict's reason with the categories that came and went.
func because(f api.FeatureJSON) string {
	var parts []string
	if f.Because != "" {
		parts = append(parts, f.Because)
	}
	if len(f.Gone) > 0 {
		parts = append(parts, "gone: "+strings.Join(f.Gone, ", "))
	}
	if len(f.New) > 0 {
		parts = append(parts, "new: "+strings.Join(f.New, ", "))
	}
	return strings.Join(parts, "; ")
}

// span prints a pair of texts, once if they are equal or one is not known.
func span(a, b, between string) string {
	switch {
	case a == b, b == "":
		return a
	case a == "":
		return b
	}
	return a + between + b
}

func percent(n api.Num) string {
	if math.IsNaN(float64(n)) {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n))
}
