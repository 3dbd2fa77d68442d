package drift

import (
	"fmt"
	"iter"
	"math"

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
	for i := range p.Signals {
		if r := &p.Signals[i]; r.Type == Numeric && r.Numeric.Edges == nil {
			return nil, fmt.Errorf("count on reference: signal %s has no edges; make the reference of raw rows", r.Name)
		}
	}
	m := newModel("", ModelSpec{}, &Limits{Features: math.MaxInt32, Versions: 1}, new(int))
	m.adopt(&Baseline{Parts: []Part{*p}})
	grp := m.insert(Group{Segment: p.Segment}, nil)
	pane := grp.pane(0, m)
	for e := range rows {
		m.tally(grp, 0, 0, e, Position{})
	}
	w := pane.window(grp.Group, 0, 0)
	w.State = Closed
	return w, nil
}
