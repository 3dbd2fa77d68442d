package api

import "fmt"

// A Role says what somebody may do. Each includes the ones before it.
type Role uint8

// The roles. Public is not one that anybody has: it is what a route needs that
// anybody may ask for.
const (
	Public  Role = iota
	Read         // see everything but the configuration
	Label        // also answer labelling tasks
	Operate      // also change what driftd compares with, and see its configuration
	Admin        // everything
)

var roleNames = [...]string{"public", "read", "label", "operate", "admin"}

// String returns the role as it is written in files.
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		return fmt.Sprintf("Role(%d)", uint8(r))
	}
	return roleNames[r]
}

// ParseRole reads read, label, operate or admin.
func ParseRole(text string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if roleNames[r] == text {
			return r, nil
		}
	}
	return Public, fmt.Errorf("%q is no role: use read, label, operate or admin", text)
}

// An Identity is who asks, as far as it is proven.
type Identity struct {
	Name string // what a change is recorded under
	Role Role
}
