package api

import (
	"net/netip"
	"time"
)

// SetWindowBytes sets how large an answer of windows becomes.
func (s *Server) SetWindowBytes(n int) { s.limits.windowBytes = n }

// Hasten shortens all times of the server: a test need not wait for them.
func (s *Server) Hasten(to time.Duration) {
	l := &s.limits
	l.header, l.read, l.write, l.idle, l.shutdown, l.streamTick = to, to, to, to, to, to/10
}

// SetConnections sets how many connections are served at a time.
func (s *Server) SetConnections(n int) { s.limits.connections = n }

// Operations returns the patterns of the routes.
func (s *Server) Operations() []string {
	var out []string
	for _, rt := range s.routes {
		out = append(out, rt.method+" "+rt.path)
	}
	return out
}

// StreamSlots is how many event streams may be open.
func (s *Server) StreamSlots() int { return s.limits.streams }

// LedgerEnd is the seq behind which an event stream begins.
func (s *Server) LedgerEnd() (uint64, error) { return s.ledgerEnd() }

// Attempts is the limit of wrong credentials.
type Attempts struct{ attempts }

// NewAttempts returns one that has seen nothing.
func NewAttempts() *Attempts { return &Attempts{} }

// Wait is wait.
func (a *Attempts) Wait(addr netip.Addr, now time.Time) time.Duration { return a.wait(addr, now) }

// Note is note.
func (a *Attempts) Note(addr netip.Addr, now time.Time, right bool) { a.note(addr, now, right) }

// Len is how many addresses are remembered.
func (a *Attempts) Len() int { return len(a.byAddr) }

// SetIngest sets how long the way in may take, and how many requests it takes.
func (s *Server) SetIngest(deadline time.Duration, requests int) {
	s.inlet.limits.deadline, s.inlet.limits.requests = deadline, requests
}
