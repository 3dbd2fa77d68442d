package api

import (
	"context"
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// A Responder knows incidents, and takes what people do about them. What it returns
// is immutable.
type Responder interface {
	// Incidents returns the incidents that are kept and pass a filter, ascending by id.
	Incidents(filter func(*incident.Incident) bool) ([]*incident.Incident, error)
	Incident(id string) (*incident.Incident, error) // ErrNotFound
	// Hearing tells who was told of an incident, and who is still to be.
	Hearing(id string) (Hearing, error)
	// ChangeIncident returns the incident when the change is committed. Its error is
	// incident.ErrInvalid for what no incident would take.
	ChangeIncident(ctx context.Context, id string, c incident.Change) (*incident.Incident, error)
	// Digest sums up the incidents of a span of event time before the latest.
	Digest(span time.Duration) (*ledger.Digest, error)
}

// A Hearing is what became of the messages about an incident.
type Hearing struct {
	Told []Told `json:"told"` // by receiver, the oldest first
	Owed []Owed `json:"owed"` // by receiver, the oldest first
}

// A Told is a message that a receiver has confirmed, or that was given up.
type Told struct {
	Receiver string    `json:"receiver"`
	Seq      uint64    `json:"seq"` // of the last ledger entry that it told of
	At       time.Time `json:"at"`
	Closing  bool      `json:"closing"` // it said that nothing fires any more
	Attempts int       `json:"attempts"`
	Error    string    `json:"error,omitempty"` // why it was given up
}

// An Owed is a message that a receiver has not confirmed yet.
type Owed struct {
	Receiver  string     `json:"receiver"`
	Seq       uint64     `json:"seq"`
	IssuedAt  time.Time  `json:"issued_at"`
	NotBefore *time.Time `json:"not_before"` // null: as soon as it is due
	Attempts  int        `json:"attempts"`
	Error     string     `json:"error,omitempty"` // of the last attempt
	For       string     `json:"for,omitempty"`   // it is told in the place of these receivers, if nobody acknowledges
}
