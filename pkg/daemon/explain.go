package daemon

import (
	"cmp"
	"math"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

const (
	// mostExplained is how many alerts of one closing are explained. A model with
	// thousands of signals may raise as many in one window: who gets them reads the
	// first, and all of them have to fit into one transaction.
	mostExplained = 20
	// explainedWindows bounds the windows that are summed to explain drift: its last
	// ones. More of them say the same, and would have to be read.
	explainedWindows = 12
	// explainedBefore is how far before a change, at least, what happened is listed.
	explainedBefore = 6 * time.Hour
	// nearWindows is how many windows from a change something may be to belong to it.
	nearWindows = 2
	// leastShift is how far a version's part of the traffic moves to be listed.
	leastShift = 0.10
	// drawnCells is how many cells a compared histogram has at most.
	drawnCells = 24
)

// An explainer makes the explanations of what one closing has led to: from counts
// and from what the ledger recorded, so that a replay makes the same ones.
type explainer struct {
	*loop
	c    *drift.Closing
	left int // explanations that it may still make

	last traffic // that was read: alerts of one closing mostly began together
}

func (l *loop) explainer(c *drift.Closing) *explainer {
	return &explainer{loop: l, c: c, left: mostExplained}
}

// rule explains an alert that has begun to fire; nil of another change, and of
// alerts beyond mostExplained.
func (x *explainer) rule(ch *alert.Change, f alert.Finding) (*ledger.Explanation, error) {
	if x.left == 0 || !ch.Fired() {
		return nil, nil
	}
	x.left--
	since := ch.Window.Start
	if before := x.states[f.Rule][x.c.Model][ch.Series]; before.Phase == alert.Pending {
		since = f.Rule.Began(before)
	}
	e := &ledger.Explanation{Since: since.UTC()}
	if own := f.View.Report(ch.Series.Group); own != nil && !aside(ch.Series) {
		e.Signal = leading(own, ch.Series.Signal)
		describeMove(e, own.Against, own.Window)
	}
	e.First = x.firstRule(ch, f, since)
	return e, x.surround(e, f.View.Total.Against, x.c.Windows)
}

// drift explains what has come to an incident; nil of an end or of a note.
func (x *explainer) drift(change *detect.Change, base *drift.Baseline) (*ledger.Explanation, error) {
	if change.Ends() || change.Kind == detect.Noted {
		return nil, nil
	}
	findings := slices.Concat(change.New, change.Incident.Findings)
	if len(findings) == 0 {
		return nil, nil
	}
	lead := findings[0]
	e := &ledger.Explanation{Since: lead.Since.UTC(), Signal: lead.Signal}
	first := slices.MinFunc(findings, func(a, b detect.Finding) int { return a.Since.Compare(b.Since) })
	e.First = &ledger.First{Name: ledger.Label(first.Signal), Since: first.Since.UTC()}
	from := lead.Since
	if longest := x.c.End.Add(-explainedWindows * x.c.Size); from.Before(longest) {
		from = longest
	}
	groups, err := x.gather(x.c, store.Query{From: from, Segments: true})
	if err != nil {
		return nil, err
	}
	part := base.Part("")
	if total, err := drift.Sum(only(wholes(groups), lead.Signal)); err != nil {
		return nil, err
	} else if total != nil {
		describeMove(e, part, total)
	}
	return e, x.surround(e, part, groups)
}

// aside reports whether a series says something of a rule, not of a signal.
func aside(s alert.Series) bool { return s.Signal != s.Feature() }

// leading returns the signal that an alert is about: that of its series, or the one
// of the report that moved most, "" if none did.
func leading(r *drift.Report, signal string) string {
	if signal != "" {
		return signal
	}
	for _, s := range r.Sorted() {
		if s.Verdict == drift.Material || s.Verdict == drift.Minor {
			return s.Name
		}
	}
	return ""
}

// describeMove says how a window of the explained series differs from its reference.
func describeMove(e *ledger.Explanation, p *drift.Part, w *drift.Window) {
	if p == nil || e.Signal == "" {
		return
	}
	a, ok := drift.Attribute(p, []*drift.Window{w}, nil, e.Signal)
	if !ok {
		return
	}
	e.PSI, e.Missing, e.Compared = rounded(a.PSI.Value), a.Missing, compared(a, p.Reference(e.Signal), w.Signal(e.Signal))
	slices.SortStableFunc(a.Cells, func(x, y stats.BinShare) int { return cmp.Compare(y.PSI, x.PSI) })
	for _, c := range a.Cells[:min(len(a.Cells), ledger.MostShares)] {
		if share := rounded(c.PSI / a.PSI.Value); share > 0 {
			e.Cells = append(e.Cells, ledger.Cell{Name: ledger.Label(c.Name), From: rounded(c.Ref), To: rounded(c.Cur), Share: share})
		}
	}
}

// compared is what there is to draw of a move, nil for nothing.
func compared(a drift.Attribution, ref *drift.Reference, cur *drift.Signal) *ledger.Histogram {
	g, ok := drift.Glance(ref, cur, drawnCells)
	if a.Missing {
		g, ok = drift.Drawn{}, true
		for _, c := range a.Cells {
			g.Names, g.From, g.To = append(g.Names, c.Name), append(g.From, c.Ref), append(g.To, c.Cur)
		}
	}
	if !ok {
		return nil
	}
	h := &ledger.Histogram{Edges: g.Edges}
	for i := range g.From {
		h.From, h.To = append(h.From, rounded(g.From[i])), append(h.To, rounded(g.To[i]))
	}
	for _, name := range g.Names {
		h.Names = append(h.Names, ledger.Label(name))
	}
	return h
}

// rounded keeps four digits behind the point: an explanation is for people. What is
// no number is 0, for an entry could not hold it.
func rounded(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*1e4) / 1e4
}

// surround says who brings the change that an explanation is about, and what else
// happened. groups are the windows since, of every version and segment.
func (x *explainer) surround(e *ledger.Explanation, p *drift.Part, groups []*drift.Window) error {
	t, err := x.trafficAround(e.Since)
	if err != nil {
		return err
	}
	if err := x.shares(e, p, groups, t); err != nil {
		return err
	}
	e.Around, err = x.occurrences(t)
	return err
}

// firstRule returns the signal, or the rule on a whole model, that was first to
// hold of those that hold about when a change began.
func (x *explainer) firstRule(ch *alert.Change, f alert.Finding, since time.Time) *ledger.First {
	first, at := ch.Series, since
	for r, models := range x.states {
		for series, s := range models[x.c.Model] {
			if next, moved := f.Next[series]; moved && r == f.Rule {
				s = next
			}
			began := r.Began(s)
			if began.IsZero() || began.Before(since.Add(-x.lookback())) || aside(series) {
				continue
			}
			if c := began.Compare(at); c < 0 || c == 0 && series.Compare(first) < 0 {
				first, at = series, began
			}
		}
	}
	return &ledger.First{Name: ledger.Label(cmp.Or(first.Signal, first.Rule)), Since: at.UTC()}
}

// lookback is how far before a change is looked.
func (x *explainer) lookback() time.Duration { return max(explainedBefore, nearWindows*x.c.Size) }
