package ledger

import "time"

// GroupAlerts is the most alerts that a Group lists.
const GroupAlerts = 20

// A Group is what a delivery tells of an incident: how it is for one receiver at the
// moment of sending.
type Group struct {
	Incident     string            // its id
	Labels       map[string]string // that it is grouped by, with their values
	Status       string            // "firing" or "resolved"
	Severity     string            // of the worst that fires; once resolved, of the worst that did
	Opened       time.Time         // event time
	Acknowledged string            // by whom; "" while nobody has
	// Alerts are entries of its alerts: those that fire, the worst first, then those
	// that have ended since the receiver was told last; at most GroupAlerts.
	Alerts []Entry
	Firing int // how many there are, in Alerts or not
	Ended  int
	// Fires and Ends are all of them, the worst first and then by start: for who keeps
	// something of each alert.
	Fires, Ends []Fire
}

// A Fire is an alert of a Group.
type Fire struct {
	Key      string // its dedup key
	Severity string
}

// Open reports whether something of the group fires.
func (g *Group) Open() bool { return g != nil && g.Status == "firing" }
