package drift

import (
	"math"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/event"
)

// group returns the whole that a version serves in a role. Beyond the limit,
// and when no group is idle enough to be forgotten, it is the Other version.
func (m *model) group(version string, variant event.Variant) *group {
	if r := m.recent; r != nil && r.Version == version && r.Variant == variant {
		return r
	}
	g := Group{Model: m.name, Version: version, Variant: variant}
	grp := m.find(g)
	if grp == nil {
		if m.versions() >= m.limits.Versions && !m.evict(nil) {
			m.overflow.Versions++
			g.Version = Other
			if grp = m.find(g); grp == nil {
				grp = m.insert(g, nil)
			}
			return grp
		}
		g.Version = strings.Clone(version)
		grp = m.insert(g, nil)
	}
	m.recent = grp
	return grp
}

// segment returns the group of an event's segment, nil if the event does not
// name all parts of it.
func (m *model) segment(whole *group, names []string, e *event.Event) *group {
	name, ok := appendSegment(m.buffer[:0], names, e.Segments)
	if m.buffer = name; !ok {
		return nil
	}
	if seg := whole.segments[string(name)]; seg != nil { // without making a string of it
		return seg
	}
	g := whole.Group
	g.Segment = string(name)
	if whole.values() >= m.limits.Segments*len(m.spec.Segments) && !m.evict(whole) {
		m.overflow.Segments++
		g.Segment = strings.Join(names, ",") + otherSegment
		if seg := whole.segments[g.Segment]; seg != nil {
			return seg
		}
	}
	return m.insert(g, whole)
}

// otherSegment ends the names of the segments that stand for all further ones.
const otherSegment = "=" + Other

// other reports whether the group stands for those beyond a limit. Such a group
// takes nobody's place, so it is neither counted nor evicted.
func (g *group) other() bool {
	if g.parent != nil {
		return strings.HasSuffix(g.Segment, otherSegment)
	}
	return g.Version == Other
}

func (m *model) find(g Group) *group {
	i, ok := slices.BinarySearchFunc(m.groups, g, func(o *group, g Group) int { return o.Compare(g) })
	if !ok {
		return nil
	}
	return m.groups[i]
}

// versions counts the version and variant pairs that are told apart.
func (m *model) versions() (n int) {
	for _, g := range m.groups {
		if g.parent == nil && !g.other() {
			n++
		}
	}
	return n
}

// values counts the segments of a whole that are told apart.
func (g *group) values() (n int) {
	for _, seg := range g.segments {
		if !seg.other() {
			n++
		}
	}
	return n
}

func (m *model) insert(g Group, parent *group) *group {
	grp := &group{Group: g, parent: parent, lastSeen: math.MinInt64, crowded: math.MinInt64, sums: make([]*sum, len(m.next)), segments: map[string]*group{}}
	i, _ := slices.BinarySearchFunc(m.groups, g, func(o *group, g Group) int { return o.Compare(g) })
	m.groups = slices.Insert(m.groups, i, grp)
	if parent != nil {
		parent.segments[g.Segment] = grp
	}
	*m.grown += memberBytes(g)
	m.dirty = true
	return grp
}

// evict forgets the group longest unseen among the parts of parent (nil: the
// wholes, with their segments) that have nothing open. It reports whether there
// was one.
func (m *model) evict(parent *group) bool {
	crowded := &m.crowded
	if parent != nil {
		crowded = &parent.crowded
	}
	if *crowded == m.closed {
		return false // groups become idle when windows close, and none has closed since
	}
	var oldest *group
	for _, g := range m.groups {
		if g.parent == parent && !g.other() && g.idle() && (oldest == nil || g.lastSeen < oldest.lastSeen) {
			oldest = g
		}
	}
	if oldest == nil {
		*crowded = m.closed
		return false
	}
	m.groups = slices.DeleteFunc(m.groups, func(g *group) bool { return g == oldest || g.parent == oldest })
	if parent != nil {
		delete(parent.segments, oldest.Segment)
	}
	m.recent = nil
	m.dirty = true
	return true
}

func (g *group) idle() bool {
	return len(g.panes) == 0 && !slices.ContainsFunc(g.sums, func(s *sum) bool { return s != nil })
}

// pane returns the group's pane that starts at start.
func (g *group) pane(start int64, m *model) *pane {
	i := len(g.panes)
	for i > 0 && g.panes[i-1].start > start {
		i--
	}
	if i > 0 && g.panes[i-1].start == start {
		return g.panes[i-1]
	}
	p := &pane{start: start, tally: tally{layout: m.layout, incomplete: m.gap}}
	g.panes = slices.Insert(g.panes, i, p)
	return p
}
