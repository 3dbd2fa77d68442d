package main

import (
	"fmt"
	"math"
	"strings"

	"driftd.dev/driftd/pkg/drift"
)

// A compareReport is the JSON of compare, by the contract.
type compareReport struct {
	Reference string          `json:"reference"`
	Current   string          `json:"current"`
	RowsRef   uint64          `json:"rows_reference"`
	RowsCur   uint64          `json:"rows_current"`
	Drifting  int             `json:"drifting"` // features whose verdict is material
	Features  []featureReport `json:"features"`
}

// A featureReport is what is known of one column or signal. Shares and
// statistics that are not defined are null.
type featureReport struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"` // numeric, categorical, id, time, nested
	NRef       uint64     `json:"n_reference"`
	NCur       uint64     `json:"n_current"`
	MissingRef number     `json:"missing_reference"` // share of rows
	MissingCur number     `json:"missing_current"`
	PSI        number     `json:"psi"`
	PSIRaw     number     `json:"psi_raw"`
	Debiased   number     `json:"psi_debiased"`
	PSIP       number     `json:"psi_p"`
	NoiseFloor number     `json:"noise_floor"`
	KS         ksReport   `json:"ks"`
	Chi2       chi2Report `json:"chi2"`
	JS         number     `json:"js"`
	Hellinger  number     `json:"hellinger"`
	W1         number     `json:"w1_clipped_sd"`
	Unseen     number     `json:"unseen"` // share of values
	Verdict    string     `json:"verdict"`
	Because    string     `json:"because"`
	AdjustedP  number     `json:"p_adjusted"`
	New        []string   `json:"new,omitempty"`  // categories that the reference lacks
	Gone       []string   `json:"gone,omitempty"` // categories that should be there and are not
}

type ksReport struct {
	Lo number `json:"lo"`
	Hi number `json:"hi"`
	P  number `json:"p"`
}

type chi2Report struct {
	Stat number `json:"stat"`
	DF   number `json:"df"`
	P    number `json:"p"`
}

func newFeatureReport(s drift.SignalReport) featureReport {
	return featureReport{
		Name: featureTitle(s.Name), Type: s.Type.String(), NRef: s.M, NCur: s.N,
		MissingRef: number(s.ReferenceMissing), MissingCur: number(s.Missing),
		PSI: number(s.PSI), PSIRaw: number(s.PSIRaw), Debiased: number(s.PSIDebiased), PSIP: number(s.PSIP), NoiseFloor: number(s.NoiseFloor),
		KS:   ksReport{number(s.KSLo), number(s.KSHi), number(s.KSP)},
		Chi2: chi2Report{number(s.Chi2), number(s.Chi2DF), number(s.Chi2P)},
		JS:   number(s.JS), Hellinger: number(s.Hellinger), W1: number(s.W1ClippedSD), Unseen: number(s.Unseen),
		Verdict: string(s.Verdict), Because: s.Because, AdjustedP: number(s.AdjustedP), New: s.New, Gone: s.Gone,
	}
}

// featureTitle is the name that a feature has outside: a signal's name begins
// with "features." only to tell it from an output of the model.
func featureTitle(signal string) string { return strings.TrimPrefix(signal, drift.FeaturePrefix) }

// ignoredReport is the report of a column that is not compared.
func (p *pair) ignoredReport(c pairColumn) featureReport {
	nan := number(math.NaN())
	share := func(values, rows uint64, at int) number {
		if at < 0 {
			return nan
		}
		return 1 - number(values)/number(rows)
	}
	because := c.note
	if because == "" {
		because = c.typ.String() + " column"
	}
	return featureReport{
		Name: c.name, Type: c.typ.String(), NRef: c.valuesR, NCur: c.valuesC,
		MissingRef: share(c.valuesR, p.ref.rows, c.inRef), MissingCur: share(c.valuesC, p.cur.rows, c.inCur),
		PSI: nan, PSIRaw: nan, Debiased: nan, PSIP: nan, NoiseFloor: nan,
		KS: ksReport{nan, nan, nan}, Chi2: chi2Report{nan, nan, nan}, JS: nan, Hellinger: nan, W1: nan, Unseen: nan,
		Verdict: string(drift.Ignored), Because: because, AdjustedP: nan,
	}
}

// json returns the report: columns by evidence, then those ignored as the file
// has them.
func (c *comparison) json() compareReport {
	out := compareReport{
		Reference: c.pair.ref.path, Current: c.pair.cur.path, RowsRef: c.pair.ref.rows, RowsCur: c.pair.cur.rows,
		Drifting: c.report.Drifting, Features: []featureReport{},
	}
	for _, s := range c.report.Sorted() {
		if s.Feature {
			out.Features = append(out.Features, newFeatureReport(s))
		}
	}
	for _, col := range c.pair.columns {
		if col.ignored {
			out.Features = append(out.Features, c.pair.ignoredReport(col))
		}
	}
	return out
}

func (c *comparison) result() result {
	report := c.json()
	r := featuresResult(report.Features)
	r.value = report
	r.above = []string{
		fmt.Sprintf("reference  %s, %d rows", report.Reference, report.RowsRef),
		fmt.Sprintf("current    %s, %d rows", report.Current, report.RowsCur), "",
	}
	r.below = []string{"", fmt.Sprintf("%d of %s material", report.Drifting, count(len(c.base.Signals), "column"))}
	return r
}

// count prints a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// featuresResult prints a list of features; the caller adds the whole.
func featuresResult(features []featureReport) result {
	r := result{
		items: []any{},
		sheet: sheet{head: []string{"name", "type", "verdict", "missing", "psi", "psi_debiased", "ks", "because"}},
		wide: &sheet{head: []string{
			"name", "type", "n_reference", "n_current", "missing_reference", "missing_current", "psi", "psi_raw", "psi_debiased", "psi_p", "noise_floor",
			"ks_lo", "ks_hi", "ks_p", "chi2", "chi2_df", "chi2_p", "js", "hellinger", "w1_clipped_sd", "unseen", "verdict", "because", "p_adjusted", "new", "gone",
		}},
	}
	for _, f := range features {
		r.items = append(r.items, f)
		because := f.Because
		if len(f.Gone) > 0 {
			because += "; gone: " + strings.Join(f.Gone, ", ")
		}
		if len(f.New) > 0 {
			because += "; new: " + strings.Join(f.New, ", ")
		}
		r.rows = append(r.rows, []any{
			f.Name, f.Type, f.Verdict, span(percent(f.MissingRef), percent(f.MissingCur), " -> "),
			f.PSI, f.Debiased, span(cellText(f.KS.Lo, 3), cellText(f.KS.Hi, 3), ".."), because,
		})
		r.wide.rows = append(r.wide.rows, []any{
			f.Name, f.Type, f.NRef, f.NCur, f.MissingRef, f.MissingCur, f.PSI, f.PSIRaw, f.Debiased, f.PSIP, f.NoiseFloor,
			f.KS.Lo, f.KS.Hi, f.KS.P, f.Chi2.Stat, f.Chi2.DF, f.Chi2.P, f.JS, f.Hellinger, f.W1, f.Unseen, f.Verdict, f.Because, f.AdjustedP,
			strings.Join(f.New, " "), strings.Join(f.Gone, " "),
		})
	}
	return r
}

// span prints a pair of texts once if they are equal.
func span(a, b, between string) string {
	if a == b {
		return a
	}
	return a + between + b
}

func percent(n number) string {
	if math.IsNaN(float64(n)) {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n))
}
