package lifecycle

import (
	"cmp"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// Traffic counts the events of one model in its last closed window.
type Traffic struct {
	End      time.Time        // of the window; zero if none has closed
	Versions []VersionTraffic // ascending by Version
}

// VersionTraffic is what one version answered, by role.
type VersionTraffic struct {
	Version                 string
	Primary, Canary, Shadow uint64
}

// TrafficOf sums the closed windows of one model and one span; windows of
// segments, which repeat events of the whole, are left out.
func TrafficOf(windows []*drift.Window) Traffic {
	var t Traffic
	byVersion := map[string]*VersionTraffic{}
	for _, w := range windows {
		if w.Group.Segment != "" || w.State == drift.Open {
			continue
		}
		t.End = w.End
		v := byVersion[w.Group.Version]
		if v == nil {
			v = &VersionTraffic{Version: w.Group.Version}
			byVersion[w.Group.Version] = v
		}
		switch w.Group.Variant.String() {
		case "canary":
			v.Canary += w.Events
		case "shadow":
			v.Shadow += w.Events
		default:
			v.Primary += w.Events
		}
	}
	for _, v := range byVersion {
		t.Versions = append(t.Versions, *v)
	}
	slices.SortFunc(t.Versions, func(a, b VersionTraffic) int { return cmp.Compare(a.Version, b.Version) })
	return t
}

// version returns the traffic of one version, zero if it had none.
func (t Traffic) version(name string) VersionTraffic {
	for _, v := range t.Versions {
		if v.Version == name {
			return v
		}
	}
	return VersionTraffic{Version: name}
}

// leader returns the version with most primary events of those that are allowed,
// the first by name of equal ones. It is "" if none has any.
func (t Traffic) leader(allowed func(version string) bool) VersionTraffic {
	var best VersionTraffic
	for _, v := range t.Versions {
		better := v.Primary > best.Primary || v.Primary == best.Primary && v.Version < best.Version
		if v.Primary > 0 && better && v.Version != drift.Other && allowed(v.Version) {
			best = v
		}
	}
	return best
}
