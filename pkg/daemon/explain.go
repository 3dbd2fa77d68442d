package daemon

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
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
	if own := f.View.Report(ch.Series.Group); own != nil {
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
	e.PSI, e.Missing = rounded(a.PSI.Value), a.Missing
	slices.SortStableFunc(a.Cells, func(x, y stats.BinShare) int { return cmp.Compare(y.PSI, x.PSI) })
	for _, c := range a.Cells[:min(len(a.Cells), ledger.MostShares)] {
		if share := rounded(c.PSI / a.PSI.Value); share > 0 {
			e.Cells = append(e.Cells, ledger.Cell{Name: ledger.Label(c.Name), From: rounded(c.Ref), To: rounded(c.Cur), Share: share})
		}
	}
	if g, ok := drift.Glance(p.Reference(e.Signal), w.Signal(e.Signal), drawnCells); ok && !a.Missing {
		h := &ledger.Histogram{Edges: g.Edges}
		for i := range g.From {
			h.From, h.To = append(h.From, rounded(g.From[i])), append(h.To, rounded(g.To[i]))
		}
		for _, name := range g.Names {
			h.Names = append(h.Names, ledger.Label(name))
		}
		e.Compared = h
	}
}

// rounded keeps four digits behind the point: an explanation is for people.
func rounded(x float64) float64 { return math.Round(x*1e4) / 1e4 }

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

// shares splits the move of the explained signal over versions and segments, and
// says where it comes from.
func (x *explainer) shares(e *ledger.Explanation, p *drift.Part, groups []*drift.Window, t traffic) error {
	if p == nil || e.Signal == "" {
		return nil
	}
	versions, err := merged(only(wholes(groups), e.Signal), func(g drift.Group) drift.Group {
		return drift.Group{Model: g.Model, Version: g.Version, Variant: g.Variant}
	})
	if err != nil {
		return err
	}
	a, ok := drift.Attribute(p, versions, nil, e.Signal)
	if !ok {
		return nil
	}
	e.Versions = sharesOf(a, func(g drift.Group) string { return g.Version })
	source, because := a.Source(e.Since, nearWindows*x.c.Size, t.began)
	e.Origin, e.Because = origins[source], because
	e.Segments, err = segmentShares(p, versions, groups, e.Signal)
	return err
}

var origins = map[drift.Source]string{
	drift.Undecided: ledger.OriginUndecided, drift.Upstream: ledger.OriginUpstream, drift.Release: ledger.OriginRelease,
}

// segmentShares splits a move over the values of that list of segments which tells
// them apart best; nil without segments.
func segmentShares(p *drift.Part, whole, groups []*drift.Window, signal string) ([]ledger.Share, error) {
	lists := map[string][]*drift.Window{}
	var names []string
	for _, w := range groups {
		if w.Group.Segment == "" || w.Group.Variant == event.Shadow {
			continue
		}
		list := segmentList(w.Group.Segment)
		if lists[list] == nil {
			names = append(names, list)
		}
		lists[list] = append(lists[list], w)
	}
	slices.Sort(names)
	var best []ledger.Share
	most := 0.0
	for _, list := range names {
		parts, err := merged(only(lists[list], signal), func(g drift.Group) drift.Group { return drift.Group{Model: g.Model, Segment: g.Segment} })
		if err != nil {
			return nil, err
		}
		a, ok := drift.Attribute(p, whole, parts, signal)
		if !ok {
			continue
		}
		apart := 0.0
		for _, g := range a.Groups {
			apart = max(apart, g.Share-g.Weight)
		}
		if best == nil || apart > most {
			best, most = sharesOf(a, func(g drift.Group) string { return g.Segment }), apart
		}
	}
	return best, nil
}

// segmentList returns the names of a segment without their values: those that are
// counted together and do not overlap.
func segmentList(segment string) string {
	var names []string
	for part := range strings.SplitSeq(segment, ",") {
		name, _, _ := strings.Cut(part, "=")
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// sharesOf lists the groups that bring most.
func sharesOf(a drift.Attribution, name func(drift.Group) string) (out []ledger.Share) {
	groups := slices.Clone(a.Groups)
	slices.SortStableFunc(groups, func(x, y drift.Contribution) int { return cmp.Compare(y.Share, x.Share) })
	for _, g := range groups {
		if g.N == 0 || len(out) == ledger.MostShares {
			continue
		}
		s := ledger.Share{Name: ledger.Label(name(g.Group)), Weight: rounded(g.Weight), Share: rounded(g.Share), PSI: rounded(g.PSI)}
		if g.Group.Variant != event.Primary {
			s.Variant = g.Group.Variant.String()
		}
		out = append(out, s)
	}
	return out
}

// wholes leaves out segments, whose events are counted already, and shadows, which
// are no part of a model's total.
func wholes(windows []*drift.Window) []*drift.Window {
	return slices.DeleteFunc(slices.Clone(windows), func(w *drift.Window) bool {
		return w.Group.Segment != "" || w.Group.Variant == event.Shadow
	})
}

// only returns the windows with one of their signals.
func only(windows []*drift.Window, signal string) []*drift.Window {
	out := make([]*drift.Window, len(windows))
	for i, w := range windows {
		slim := *w
		slim.Signals = nil
		if s := w.Signal(signal); s != nil {
			slim.Signals = []drift.Signal{*s}
		}
		out[i] = &slim
	}
	return out
}

// merged adds up the windows of each group that as makes of theirs, in its order.
func merged(windows []*drift.Window, as func(drift.Group) drift.Group) ([]*drift.Window, error) {
	byGroup := map[drift.Group][]*drift.Window{}
	var groups []drift.Group
	for _, w := range windows {
		g := as(w.Group)
		if byGroup[g] == nil {
			groups = append(groups, g)
		}
		byGroup[g] = append(byGroup[g], w)
	}
	slices.SortFunc(groups, drift.Group.Compare)
	out := make([]*drift.Window, 0, len(groups))
	for _, g := range groups {
		sum, err := drift.Sum(byGroup[g])
		if err != nil {
			return nil, err
		}
		sum.Group = g
		out = append(out, sum)
	}
	return out, nil
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
			if began.IsZero() || began.Before(since.Add(-x.lookback())) || series.Signal == alert.OverflowSignal {
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

// gather returns the windows of a closing's model and size that a query asks for,
// to the closing's end: what is stored, and what has closed since the last commit.
// Shadows are left out.
func (l *loop) gather(c *drift.Closing, q store.Query) ([]*drift.Window, error) {
	q.Model, q.Size, q.Variants = c.Model, c.Size, []event.Variant{event.Primary, event.Canary}
	var fresh []*drift.Window
	q.To = c.End
	for _, p := range l.fresh {
		if p.whole != q.Total || p.Group.Model != c.Model || p.End.Sub(p.Start) != c.Size || p.Start.Before(q.From) {
			continue
		}
		if p.Start.Before(q.To) {
			q.To = p.Start
		}
		if p.Group.Variant != event.Shadow && (q.Segments || p.Group.Segment == "") {
			fresh = append(fresh, p.Window)
		}
	}
	if !q.From.Before(q.To) {
		return fresh, nil
	}
	older, err := l.Store.Windows(q)
	return append(older, fresh...), err
}

// traffic is what a model's versions served about when something changed.
type traffic struct {
	since   time.Time
	windows []*drift.Window // without signals, ascending by start
	near    time.Duration
}

// trafficAround reads what the closing's model served from the lookback before a
// change to the end of the closing.
func (x *explainer) trafficAround(since time.Time) (traffic, error) {
	if x.last.since.Equal(since) && !since.IsZero() {
		return x.last, nil
	}
	windows, err := x.gather(x.c, store.Query{From: since.Add(-x.lookback()), NoSignals: true})
	x.last = traffic{since: since, windows: windows, near: nearWindows * x.c.Size}
	return x.last, err
}

// began returns the start of the first window of a group, zero if the model has none
// without it before: it may have been there for long.
func (t traffic) began(g drift.Group) time.Time {
	for _, w := range t.windows {
		if w.Group == g && w.Start.After(t.windows[0].Start) {
			return w.Start
		}
		if w.Group == g {
			break
		}
	}
	return time.Time{}
}

// bounds returns the messages between which something happened about then; ok is
// false if the model had none.
func (t traffic) bounds(end uint64) (from, to uint64, ok bool) {
	from, to = math.MaxUint64, end
	for _, w := range t.windows {
		if w.FromSeq > 0 {
			from = min(from, w.FromSeq)
		}
		if !w.Start.Before(t.since.Add(t.near)) && w.FromSeq > 0 {
			to = min(to, w.FromSeq)
		}
	}
	return from, to, from <= to
}

// A dated occurrence has its place in the stream.
type dated struct {
	ledger.Occurrence
	stream uint64
}

// versions lists versions that began, and those whose part of the traffic moved.
func (t traffic) versions() (out []dated) {
	type served struct{ before, after, first uint64 }
	groups := map[drift.Group]*served{}
	var all served
	var order []drift.Group
	for _, w := range t.windows {
		s := groups[w.Group]
		if s == nil {
			s = &served{first: w.FromSeq}
			groups[w.Group], order = s, append(order, w.Group)
		}
		if w.Start.Before(t.since) {
			s.before, all.before = s.before+w.Events, all.before+w.Events
		} else {
			s.after, all.after = s.after+w.Events, all.after+w.Events
			if all.first == 0 {
				all.first = w.FromSeq
			}
		}
	}
	for _, g := range order {
		s := groups[g]
		before, after := fraction(s.before, all.before), fraction(s.after, all.after)
		switch at := t.began(g); {
		case !at.IsZero() && at.Sub(t.since) <= t.near:
			what := fmt.Sprintf("first traffic of %s, %.0f %% since the change", versionName(g), 100*after)
			out = append(out, dated{ledger.Occurrence{At: at.UTC(), What: what}, s.first})
		case at.IsZero() && all.before > 0 && math.Abs(after-before) >= leastShift:
			what := fmt.Sprintf("%s from %.0f %% to %.0f %% of the traffic", versionName(g), 100*before, 100*after)
			out = append(out, dated{ledger.Occurrence{At: t.since.UTC(), What: what}, all.first})
		}
	}
	return out
}

func fraction(n, of uint64) float64 { return float64(n) / float64(max(of, 1)) }

func versionName(g drift.Group) string {
	name := "version " + ledger.Label(cmp.Or(g.Version, "(unnamed)"))
	if g.Variant != event.Primary {
		name += ", " + g.Variant.String()
	}
	return name
}

// occurrences lists what happened about when a change began, the newest first.
func (x *explainer) occurrences(t traffic) (out []ledger.Occurrence, err error) {
	from, to, ok := t.bounds(x.c.Seq)
	if !ok {
		return nil, nil
	}
	all := t.versions()
	for _, m := range x.marks {
		if m.Stream < from || m.Stream > to || m.Model != "" && m.Model != x.c.Model {
			continue
		}
		e, err := x.markedEntry(m)
		if err != nil {
			return nil, err
		}
		if what := milestone(e); what != "" {
			all = append(all, dated{ledger.Occurrence{At: e.Time.UTC(), What: what, Seq: e.Seq}, m.Stream})
		}
	}
	slices.SortStableFunc(all, func(a, b dated) int { return cmp.Or(cmp.Compare(b.stream, a.stream), cmp.Compare(b.Seq, a.Seq)) })
	for _, d := range all[:min(len(all), ledger.MostShares)] {
		out = append(out, d.Occurrence)
	}
	return out, nil
}
