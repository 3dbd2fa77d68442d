package daemon

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

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
