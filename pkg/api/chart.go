package api

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// Charts are drawn on the server as SVG. The numbers of each are also in a table
// or in its name, for who cannot see it.
const (
	chartWidth  = 640
	chartHeight = 160
	chartBars   = 24 // cells of a chart, and points of its table
	curvePoints = 96 // of a distribution function
)

// px writes a coordinate.
func px(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// A sparkline is a line without axes.
type sparkline struct {
	Points string // of a polyline in 96 by 20
	About  string // the same in words
}

func newSparkline(counts []uint64, size string) *sparkline {
	highest := max(1, slices.Max(counts))
	points, words := make([]string, len(counts)), make([]string, len(counts))
	for i, n := range counts {
		x := float64(i) * 96 / float64(len(counts)-1)
		points[i] = px(x) + "," + px(19-18*float64(n)/float64(highest))
		words[i] = strconv.FormatUint(n, 10)
	}
	return &sparkline{strings.Join(points, " "), fmt.Sprintf("events in %d windows of %s: %s", len(counts), size, strings.Join(words, " "))}
}

// A chart is the pair of histograms of one signal.
type chart struct {
	Bars []bar
	More int // cells that are not drawn
}

// A bar is one cell of PSI, of the baseline and of now.
type bar struct {
	Label           string
	Ref, Now, PSI   Num
	X, NowX, Width  string
	RefY, RefHeight string
	NowY, NowHeight string
}

// newChart draws a signal's shares in the cells of PSI, nil if they are not
// comparable.
func newChart(ref *drift.Reference, now *drift.Signal) *chart {
	shares := binShares(ref, now)
	c, highest := &chart{More: max(0, len(shares)-chartBars)}, 0.0
	shares = weightiest(shares, chartBars)
	for _, s := range shares {
		highest = max(highest, s.Ref, s.Cur)
	}
	if highest == 0 {
		return nil
	}
	slot := chartWidth / float64(len(shares))
	for i, s := range shares {
		left, wide := float64(i)*slot, slot*.42
		label := s.Name
		if ref.Type == drift.Numeric {
			label = cellName(s.Lo, s.Hi)
		}
		refHeight, nowHeight := s.Ref/highest*chartHeight, s.Cur/highest*chartHeight
		c.Bars = append(c.Bars, bar{
			Label: label, Ref: Num(s.Ref), Now: Num(s.Cur), PSI: Num(s.PSI), X: px(left), NowX: px(left + wide), Width: px(wide),
			RefY: px(chartHeight - refHeight), RefHeight: px(refHeight), NowY: px(chartHeight - nowHeight), NowHeight: px(nowHeight),
		})
	}
	return c
}

// weightiest returns the n cells that give the most of PSI, in their order: of many
// categories, the new one may well be the last.
func weightiest(shares []stats.BinShare, n int) []stats.BinShare {
	if len(shares) <= n {
		return shares
	}
	order := make([]int, len(shares))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(shares[b].PSI, shares[a].PSI) })
	order = order[:n]
	slices.Sort(order)
	out := make([]stats.BinShare, n)
	for i, k := range order {
		out[i] = shares[k]
	}
	return out
}

// cellName is the cell lo < x ≤ hi in words.
func cellName(lo, hi float64) string {
	switch {
	case math.IsInf(lo, -1):
		return fmt.Sprintf("x ≤ %.4g", hi)
	case math.IsInf(hi, 1):
		return fmt.Sprintf("x > %.4g", lo)
	}
	return fmt.Sprintf("%.4g < x ≤ %.4g", lo, hi)
}

// binShares returns the cells of PSI, nil if the two are not comparable.
func binShares(ref *drift.Reference, now *drift.Signal) []stats.BinShare {
	switch {
	case ref == nil || now == nil || ref.Type != now.Type:
		return nil
	case ref.Type == drift.Categorical:
		if now.Categorical.Dict == nil {
			return nil
		}
		return stats.CategoricalShares(ref.Categorical, now.Categorical)
	case ref.PSI == nil:
		return nil
	}
	base, current, ok := ref.Align(now.Numeric)
	if !ok || !base.Edges.Contains(ref.PSI) {
		return nil
	}
	return stats.NumericShares(base, current, ref.PSI)
}

// Top returns the cells that give the most of PSI.
func (c *chart) Top() []bar {
	top := slices.DeleteFunc(slices.Clone(c.Bars), func(b bar) bool { return b.PSI <= 0 })
	slices.SortStableFunc(top, func(a, b bar) int { return cmp.Compare(b.PSI, a.PSI) })
	return top[:min(len(top), 5)]
}

// Curves are the distribution functions of a numeric signal.
type curves struct {
	Ref, Now           string // points of polylines
	GapX, GapY1, GapY2 string
	GapAt, Gap         Num // where they are farthest apart, and by how much
	Points             []curvePoint
	From, To           Num // ends of the horizontal axis
}

// A curvePoint is one row of the curves' table: shares of values up to X.
type curvePoint struct{ X, Ref, Now Num }

// newCurves draws both distribution functions on the edges that both sides have,
// between their outer percents; nil if they are not comparable.
func newCurves(ref *drift.Reference, now *drift.Signal) *curves {
	if ref == nil || now == nil || ref.Type != drift.Numeric || now.Type != drift.Numeric {
		return nil
	}
	base, current, ok := ref.Align(now.Numeric)
	if !ok || base.N == 0 || current.N == 0 || base.Edges.Len() == 0 {
		return nil
	}
	c := &curves{Gap: -1}
	edges := base.Edges.Values()
	shares := func(x float64) curvePoint { return curvePoint{Num(x), Num(base.CDF(x)), Num(current.CDF(x))} }
	for _, x := range edges {
		p := shares(x)
		if gap := Num(math.Abs(float64(p.Ref - p.Now))); gap > c.Gap {
			c.Gap, c.GapAt = gap, p.X
		}
	}
	low := min(base.Quantile(.01), current.Quantile(.01), float64(c.GapAt))
	high := max(base.Quantile(.99), current.Quantile(.99), float64(c.GapAt))
	if !finite(high-low) || high <= low {
		return nil
	}
	c.From, c.To = Num(low), Num(high)
	inside := slices.DeleteFunc(edges, func(x float64) bool { return x <= low || x >= high })
	at := func(x Num) string { return px((float64(x) - low) / (high - low) * chartWidth) }
	up := func(share Num) string { return px(chartHeight * (1 - float64(share))) }
	var refLine, nowLine strings.Builder
	for _, x := range slices.Concat([]float64{low}, thin(inside, curvePoints), []float64{high}) {
		p := shares(x)
		fmt.Fprintf(&refLine, "%s,%s ", at(p.X), up(p.Ref))
		fmt.Fprintf(&nowLine, "%s,%s ", at(p.X), up(p.Now))
	}
	c.Ref, c.Now = strings.TrimSpace(refLine.String()), strings.TrimSpace(nowLine.String())
	for _, x := range thin(inside, chartBars) {
		c.Points = append(c.Points, shares(x))
	}
	widest := shares(float64(c.GapAt))
	c.GapX, c.GapY1, c.GapY2 = at(c.GapAt), up(widest.Ref), up(widest.Now)
	return c
}

// thin returns at most n of the values, evenly.
func thin(values []float64, n int) []float64 {
	if len(values) <= n {
		return values
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = values[i*(len(values)-1)/(n-1)]
	}
	return out
}
