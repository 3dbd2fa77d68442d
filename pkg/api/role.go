package api

import "fmt"

// A Role says what somebody may do. Each includes the ones before it, but for
// IngestOnly, which stands beside Read: May tells.
type Role uint8

// The roles. Public is not one that anybody has: it is what a route needs that
// anybody may ask for.
const (
	Public     Role = iota
	IngestOnly      // send events, and see nothing: for publishers
	Read            // see everything but the configuration
	Label           // also send events: outcomes are what labels are made of
	Operate         // also change what driftd compares with, look after incidents, set silences, see the configuration
	Admin           // everything
)

var roleNames = [...]string{"public", "ingest", "read", "label", "operate", "admin"}

// String returns the role as it is written in files.
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		return fmt.Sprintf("Role(%d)", uint8(r))
	}
	return roleNames[r]
}

// May reports whether who has role r may ask for what needs another. Events are
// sent by publishers and by who may label: outcomes are what labels are made of,
// and neither changes how driftd is run.
func (r Role) May(need Role) bool {
	switch {
	case need == Public:
		return true
	case r == IngestOnly, r == Public:
		return need == r
	case need == IngestOnly:
		return r >= Label
	}
	return r >= need
}

// ParseRole reads ingest, read, label, operate or admin.
func ParseRole(text string) (Role, error) {
	for r := IngestOnly; r <= Admin; r++ {
		if roleNames[r] == text {
			return r, nil
		}
	}
	return Public, fmt.Errorf("%q is no role: use ingest, read, label, operate or admin", text)
}

// An Identity is who asks, as far as it is proven.
type Identity struct {
	Name string // what a change is recorded under
	Role Role
}
