package config

import (
	"fmt"
	"regexp"
	"slices"

	"driftd.dev/driftd/pkg/incident"
)

// Incidents say what people can, and must, say about an incident.
type Incidents struct {
	Causes        []string      `json:"causes" jsonschema:"what a diagnosis may name, at most 50"`
	CloseRequires []Requirement `json:"close_requires" jsonschema:"what must have been said before an incident can be closed: diagnosis, remedy, worth"`
}

// A Requirement is something that closing an incident may require.
type Requirement string

func (Requirement) words() []string { return incident.Requirements }

// Digest is a regular message about incidents.
type Digest struct {
	Receiver string   `json:"receiver" jsonschema:"who gets it; empty: nobody"`
	Every    Duration `json:"every" jsonschema:"whole days, 1 to 31, counted from a Monday at 09:00 UTC"`
}

// IncidentPolicy returns what the loop asks of who says something about an incident.
func (c *Config) IncidentPolicy() incident.Policy {
	p := incident.Policy{Causes: c.Incidents.Causes}
	for _, r := range c.Incidents.CloseRequires {
		p.CloseRequires = append(p.CloseRequires, string(r))
	}
	return p
}

const (
	maxCauses      = 50
	longestDigest  = 31 * day
	shortestDigest = day
)

var causeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,49}$`)

func (v *validator) incidents(c *Config) {
	causes := c.Incidents.Causes
	if len(causes) == 0 || len(causes) > maxCauses {
		v.fault("incidents.causes", "%d causes: a diagnosis needs 1 to %d to choose from", len(causes), maxCauses)
	}
	for i, name := range causes {
		at := fmt.Sprintf("incidents.causes[%d]", i)
		if !causeName.MatchString(name) {
			v.fault(at, "%q is no name of a cause: small letters, digits and _, at most 50", name)
		} else if slices.Contains(causes[:i], name) {
			v.fault(at, "%q is named before", name)
		}
	}
}

func (v *validator) digest(c *Config) {
	if c.Digest.Receiver != "" {
		v.receiver("digest.receiver", c.Digest.Receiver, c)
	}
	if e := c.Digest.Every; e < shortestDigest || e > longestDigest || e%day != 0 {
		v.fault("digest.every", "expected 1d to 31d in whole days, found %s", e)
	}
}
