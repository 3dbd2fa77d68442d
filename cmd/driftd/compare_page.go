package main

import (
	"fmt"
	"html/template"
	"io"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/stats"
)

// A comparePage is what the page of compare shows.
type comparePage struct {
	compareReport
	Cards []compareCard
}

// A compareCard is one compared column with the shares of its cells.
type compareCard struct {
	compareFeature
	Bars          []bar
	Width, Height int
}

// A bar is one cell: the share of values of both sides, in pixels.
type bar struct {
	X, RefY, RefH, CurY, CurH int
	Label                     string
}

// Sizes of a chart in pixels; a cell is two bars wide.
const (
	chartHeight = 90
	barWidth    = 9
	cellWidth   = 2*barWidth + 4
	mostBars    = 24 // the cells that contribute most are shown
)

// writeComparePage writes one page that needs nothing else: no script, no file,
// no address.
func writeComparePage(w io.Writer, c *comparison) error {
	page := comparePage{compareReport: c.json()}
	for _, f := range page.Features {
		card := compareCard{compareFeature: f, Height: chartHeight}
		card.Bars = bars(c.shares(f.Name))
		card.Width = max(1, len(card.Bars)) * cellWidth
		page.Cards = append(page.Cards, card)
	}
	if err := comparePageTemplate.Execute(w, page); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// shares explains the PSI of a column by cells, nil if there is nothing to
// explain.
func (c *comparison) shares(name string) []stats.BinShare {
	for i := range c.base.Signals {
		ref := &c.base.Signals[i]
		cur := c.report.Window.Signal(ref.Name)
		switch {
		case featureTitle(ref.Name) != name || cur == nil || cur.Type != ref.Type:
		case ref.Numeric != nil:
			return stats.NumericShares(ref.Numeric, cur.Numeric, ref.PSI)
		default:
			return stats.CategoricalShares(ref.Categorical, cur.Categorical)
		}
	}
	return nil
}

func bars(shares []stats.BinShare) []bar {
	shares = shares[:min(len(shares), mostBars)]
	most := 0.0
	for _, s := range shares {
		most = max(most, s.Ref, s.Cur)
	}
	if most == 0 {
		return nil
	}
	var out []bar
	for i, s := range shares {
		label := s.Name
		if label == "" {
			label = fmt.Sprintf("(%.4g, %.4g]", s.Lo, s.Hi)
		}
		b := bar{X: i * cellWidth, RefH: int(s.Ref / most * chartHeight), CurH: int(s.Cur / most * chartHeight)}
		b.RefY, b.CurY = chartHeight-b.RefH, chartHeight-b.CurH
		b.Label = fmt.Sprintf("%s: %.2f %% -> %.2f %%, psi %.4f", label, 100*s.Ref, 100*s.Cur, s.PSI)
		out = append(out, b)
	}
	return out
}

var comparePageTemplate = template.Must(template.New("compare").Funcs(template.FuncMap{
	"percent": percent,
	"digits":  func(n api.Num) string { return cellText(n, 4) },
	"add":     func(a, b int) int { return a + b },
	"bar":     func() int { return barWidth },
}).Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>driftd compare</title>
<style>
:root { color-scheme: light dark; --ref: #7a8ba3; --cur: #2f6fde; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 0; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
dl { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .4rem 0; } dt { opacity: .7; } dd { margin: 0 0 0 .4rem; } dl div { display: flex; }
.verdict { border: 1px solid currentColor; border-radius: 1em; padding: 0 .6em; font-size: .85rem; }
.material { color: #c22; } .minor { color: #a60; } .stable { color: #287; } .ignored, .insufficient { opacity: .65; }
.ref { fill: var(--ref); } .cur { fill: var(--cur); }
</style>
</head>
<body>
<h1>driftd compare: {{.Drifting}} of {{len .Features}} columns material</h1>
<p>Reference <b>{{.Reference}}</b>, {{.RowsReference}} rows. Current <b>{{.Current}}</b>, {{.RowsCurrent}} rows.<br>
<svg width="12" height="12" aria-hidden="true"><rect class="ref" width="12" height="12"/></svg> reference
<svg width="12" height="12" aria-hidden="true"><rect class="cur" width="12" height="12"/></svg> current</p>
{{range .Cards}}<section>
<h2>{{if .Name}}{{.Name}}{{else}}(unnamed){{end}} <span class="verdict {{.Verdict}}">{{.Verdict}}</span></h2>
<dl><div><dt>type</dt><dd>{{.Type}}</dd></div><div><dt>missing</dt><dd>{{percent .MissingReference}} to {{percent .MissingCurrent}}</dd></div>
{{with digits .PSI}}<div><dt>psi</dt><dd>{{.}}</dd></div>{{end}}{{with digits .KS.Lo}}<div><dt>ks at least</dt><dd>{{.}}</dd></div>{{end}}
{{with .Compat}}{{$tool := .Tool}}{{range .List}}<div><dt>{{$tool}} {{.Name}}</dt><dd>{{.Value}}</dd></div>{{end}}
{{end}}{{with .Because}}<div><dt>because</dt><dd>{{.}}</dd></div>{{end}}
{{range .Gone}}<div><dt>gone</dt><dd>{{.}}</dd></div>{{end}}{{range .New}}<div><dt>new</dt><dd>{{.}}</dd></div>{{end}}</dl>
{{if .Bars}}<svg role="img" aria-label="shares of {{.Name}}" width="{{.Width}}" height="{{.Height}}">
{{range .Bars}}<g><title>{{.Label}}</title><rect class="ref" x="{{.X}}" y="{{.RefY}}" width="{{bar}}" height="{{.RefH}}"/><rect class="cur" x="{{add .X bar}}" y="{{.CurY}}" width="{{bar}}" height="{{.CurH}}"/></g>
{{end}}</svg>{{end}}
</section>
{{end}}</body>
</html>
`))
