package incident

import (
	"slices"

	"driftd.dev/driftd/pkg/ledger"
)

// A View is an incident as one receiver is to hear of it.
type View struct {
	Firing   []*Member // the worst first, then by start
	Ended    []*Member // since the receiver was told last, the latest first
	Severity string
	Held     []string // keys of those that fire and are muted, ascending: as many as an incident has
	Fresh    bool     // there is something that the receiver was not told
}

// Heard is what a receiver knows of an incident: all up to the ledger entry Seq (0:
// nothing), but for the alerts of the keys in Held, ascending.
type Heard struct {
	Seq  uint64
	Held []string
}

func (h Heard) knows(m *Member) bool { return m.Seq <= h.Seq && !h.missed(m) }

// missed reports whether an alert fired and was muted when the receiver was told.
func (h Heard) missed(m *Member) bool {
	_, held := slices.BinarySearch(h.Held, m.Key)
	return held
}

// Of returns what is to be heard of the alerts that go to any of the receivers. Of what
// is muted the end is, if the start may have been.
func (i *Incident) Of(receivers []string, heard Heard, muted func(*Member) bool) View {
	var v View
	for k := range i.Members {
		m := &i.Members[k]
		if !slices.ContainsFunc(m.Receivers, func(r string) bool { return slices.Contains(receivers, r) }) {
			continue
		}
		quiet, known := muted(m), heard.knows(m)
		switch {
		case m.Firing() && quiet:
			v.Held = append(v.Held, m.Key)
		case m.Firing():
			v.Firing, v.Fresh = append(v.Firing, m), v.Fresh || !known
		case !known && !(quiet && (heard.Seq == 0 || heard.missed(m))):
			v.Ended, v.Fresh = append(v.Ended, m), true
		}
	}
	slices.SortFunc(v.Firing, (*Member).Compare)
	slices.SortFunc(v.Ended, (*Member).Compare)
	for _, m := range slices.Concat(v.Firing, v.Ended) {
		if len(v.Firing) > 0 && !m.Firing() {
			break
		}
		if rank(m.Severity) > rank(v.Severity) {
			v.Severity = m.Severity
		}
	}
	return v
}

// Open reports whether something fires, for the receiver to hear of.
func (v View) Open() bool { return len(v.Firing) > 0 }

// Status is "firing" or "resolved".
func (v View) Status() string {
	if v.Open() {
		return "firing"
	}
	return "resolved"
}

// Listed returns the alerts of which a Group shows the entries.
func (v View) Listed() []*Member {
	all := slices.Concat(v.Firing, v.Ended)
	return all[:min(len(all), ledger.GroupAlerts)]
}
