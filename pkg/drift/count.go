package drift

import (
	"fmt"
	"iter"
	"math"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// Count counts rows as one window on the edges and dictionaries of the
// reference, with the same tally that counts a live pane: what an offline
// comparison of files finds is what the daemon would have found. Times, ids and
// segments are not looked at, nothing is a duplicate, and Start and End are the
// Unix epoch. Signals that the reference lacks keep moments only.
//
// Special cases are: no rows give a window without events; a reference with a
// numeric signal that has no edges (one of a learning window) is an error.
func (p *Part) Count(rows iter.Seq[*event.Event]) (*Window, error) {
	m, grp, err := p.counter("")
	if err != nil {
		return nil, err
	}
	pane := grp.pane(0, m)
	for e := range rows {
		m.tally(grp, 0, 0, e, Position{})
	}
	w := pane.window(grp.Group, 0, 0, &scratch{})
	w.State = Closed
	return w, nil
}

// History counts rows that have a time as closed windows of one length, ascending,
// as Count counts one; windows without rows are left out, and so are rows without a
// time. It holds all windows in memory at once.
func (p *Part) History(model string, size time.Duration, rows iter.Seq[*event.Event]) ([]*Window, error) {
	m, grp, err := p.counter(model)
	if err != nil {
		return nil, err
	}
	for e := range rows {
		if e.Time != 0 {
			m.tally(grp, floor(e.Time, int64(size)), e.Time, e, Position{})
		}
	}
	out := make([]*Window, len(grp.panes))
	for i, pane := range grp.panes {
		out[i] = pane.window(grp.Group, pane.start, pane.start+int64(size), &scratch{})
		out[i].State = Closed
	}
	return out, nil
}

// counter returns a model that counts on the reference, and its one group.
func (p *Part) counter(name string) (*model, *group, error) {
	for i := range p.Signals {
		if r := &p.Signals[i]; r.Type == Numeric && r.Numeric.Edges == nil {
			return nil, nil, fmt.Errorf("count on reference: signal %s has no edges; make the reference of raw rows", r.Name)
		}
	}
	m := newModel(name, ModelSpec{}, &Limits{Features: math.MaxInt32, Versions: 1}, new(int))
	m.adopt(&Baseline{Parts: []Part{*p}})
	return m, m.insert(Group{Model: name, Segment: p.Segment}, nil), nil
}
