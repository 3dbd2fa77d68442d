package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// A peer is another tool whose figures compare can tell. They need raw values:
// evidently's bins depend on both sides, so no stored count gives them, and that
// is why neither the daemon nor a rule knows them.
type peer struct {
	name        string
	numeric     func(ref, cur stats.RawColumn) stats.PeerShift
	categorical func(ref, cur stats.RawColumn) stats.PeerShift
	datasetAt   float64 // share of drifting columns at which the tool calls the data set drifting; 0: it does not
}

var peers = []peer{
	{"evidently", stats.EvidentlyNumeric, stats.EvidentlyCategorical, .5},
	{"nannyml", stats.NannyMLNumeric, stats.NannyMLCategorical, 0},
}

// parsePeer returns the tool of that name, nil for "".
func parsePeer(name string) (*peer, error) {
	for i := range peers {
		if peers[i].name == name {
			return &peers[i], nil
		}
	}
	if name != "" {
		return nil, badUsage("--compat %q: use evidently or nannyml", name)
	}
	return nil, nil
}

// A rawColumn is one side of a column as the file has it.
type rawColumn struct {
	values  stats.RawColumn
	integer bool // no cell so far was anything but an integer
}

// keepRaw makes both sides keep their values while they are read.
func (p *pair) keepRaw() { p.ref.raw, p.cur.raw = map[string]*rawColumn{}, map[string]*rawColumn{} }

// keep returns where the values of a column go.
func (s *side) keep(name string) *rawColumn {
	c := &rawColumn{values: stats.RawColumn{Categories: map[string]uint64{}}, integer: true}
	s.raw[name] = c
	return c
}

func (c *rawColumn) add(v event.Value, kind dataset.Kind) {
	c.integer = c.integer && kind == dataset.Integer
	switch {
	case v.Kind == event.Category:
		c.values.Categories[v.Str]++
	case v.Kind == event.Number && v.Num-v.Num == 0:
		c.values.Numbers = append(c.values.Numbers, v.Num)
	}
}

// column returns the values as a tool wants them.
func (c *rawColumn) column() stats.RawColumn {
	slices.Sort(c.values.Numbers)
	c.values.Whole = c.integer
	return c.values
}

// A compatFigures is what another tool says of one column.
type compatFigures struct {
	Tool        string  `json:"tool"`
	PSI         api.Num `json:"psi"`
	JS          api.Num `json:"js"` // distance
	KS          api.Num `json:"ks"`
	KSP         api.Num `json:"ks_p"`
	Wasserstein api.Num `json:"wasserstein"`
	Method      string  `json:"method,omitempty"` // what it decides by, with Score against Threshold
	Score       api.Num `json:"score"`
	Threshold   api.Num `json:"threshold"`
	Drift       *bool   `json:"drift"` // null: it does not decide by two columns alone
}

// undefinedFigures are those of a column that is not compared.
func undefinedFigures() *compatFigures {
	nan := api.Num(math.NaN())
	return &compatFigures{PSI: nan, JS: nan, KS: nan, KSP: nan, Wasserstein: nan, Score: nan, Threshold: nan}
}

// figures returns what the tool asked for says of a column, nil without one.
func (c *comparison) figures(name string) *compatFigures {
	ref, cur := c.pair.ref.raw[name], c.pair.cur.raw[name]
	i := slices.IndexFunc(c.base.Signals, func(r drift.Reference) bool { return featureTitle(r.Name) == name })
	if ref == nil || i < 0 { // none asked for, a signal of several columns, or a reference without values
		return nil
	}
	if cur == nil {
		cur = &rawColumn{}
	}
	tell := c.peer.numeric
	if c.base.Signals[i].Type == drift.Categorical {
		tell = c.peer.categorical
	}
	s := tell(ref.column(), cur.column())
	out := &compatFigures{
		Tool: c.peer.name, PSI: api.Num(s.PSI), JS: api.Num(s.JS), KS: api.Num(s.KS), KSP: api.Num(s.KSP), Wasserstein: api.Num(s.Wasserstein),
		Method: s.Method, Score: api.Num(s.Score), Threshold: api.Num(s.Threshold),
	}
	if s.Method != "" {
		out.Drift = &s.Drift
	}
	return out
}

// A compatSummary is what another tool says of all columns together.
type compatSummary struct {
	Tool     string `json:"tool"`
	Columns  int    `json:"columns"`
	Drifting int    `json:"drifting"`
	Drift    *bool  `json:"drift"` // of the data set; null: the tool has no such verdict
}

// summary counts, nil if no tool was asked for.
func (c *comparison) summary(features []compareFeature) *compatSummary {
	if c.peer == nil {
		return nil
	}
	out := &compatSummary{Tool: c.peer.name}
	for _, f := range features {
		if f.Compat == nil {
			continue
		}
		out.Columns++
		if f.Compat.Drift != nil && *f.Compat.Drift {
			out.Drifting++
		}
	}
	if at := c.peer.datasetAt; at > 0 {
		drift := float64(out.Drifting) >= at*float64(out.Columns)
		out.Drift = &drift
	}
	return out
}

// A namedFigure is a figure with a value.
type namedFigure struct {
	Name  string
	Value string
}

// List returns the figures that the tool has, for a page.
func (f *compatFigures) List() (out []namedFigure) {
	for _, n := range []struct {
		name  string
		value api.Num
	}{{"psi", f.PSI}, {"js", f.JS}, {"ks", f.KS}, {"ks p", f.KSP}, {"wasserstein", f.Wasserstein}} {
		if text := cellText(n.value, 4); text != "" {
			out = append(out, namedFigure{n.name, text})
		}
	}
	if f.Drift != nil {
		out = append(out, namedFigure{"verdict", f.verdict()})
	}
	return out
}

// verdict says what the tool decides, and by what.
func (f *compatFigures) verdict() string {
	if f.Drift == nil {
		return ""
	}
	what := "no drift"
	if *f.Drift {
		what = "drift"
	}
	return fmt.Sprintf("%s by %s %s at %s", what, f.Method, cmp.Or(cellText(f.Score, 3), "-"), cellText(f.Threshold, 3))
}

// tell adds the tool's figures to a report that is printed.
func (s *compatSummary) tell(r *result, features []compareFeature) {
	r.head = []string{"name", "type", "verdict", "psi", "ks", s.Tool + " psi", s.Tool + " js", s.Tool + " ks", s.Tool + " verdict"}
	r.wide.head = append(r.wide.head, "compat", "compat_psi", "compat_js", "compat_ks", "compat_ks_p", "compat_wasserstein", "compat_method", "compat_score", "compat_threshold", "compat_drift")
	for i, f := range features {
		r.items[i] = f
		c := f.Compat
		if c == nil {
			c = undefinedFigures()
		}
		var drifts any
		if c.Drift != nil {
			drifts = *c.Drift
		}
		r.rows[i] = []any{f.Name, f.Type, f.Verdict, f.PSI, span(cellText(f.KS.Lo, 3), cellText(f.KS.Hi, 3), ".."), c.PSI, c.JS, c.KS, c.verdict()}
		r.wide.rows[i] = append(r.wide.rows[i], c.Tool, c.PSI, c.JS, c.KS, c.KSP, c.Wasserstein, c.Method, c.Score, c.Threshold, drifts)
	}
	r.below = append(r.below, s.line())
}

// line is the summary in words.
func (s *compatSummary) line() string {
	if s.Drift == nil {
		return s.Tool + " decides by chunks of the reference, which a comparison of two files does not have"
	}
	verdict := "no dataset drift"
	if *s.Drift {
		verdict = "dataset drift"
	}
	return fmt.Sprintf("%s: %d of %s drift: %s", s.Tool, s.Drifting, count(s.Columns, "column"), verdict)
}
