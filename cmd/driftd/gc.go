package main

import "runtime/debug"

// Settings of the garbage collector for a daemon. With Go's default of 100 %
// collecting is a third of the cost of an event (ingest.md 1a), since every
// message is an allocation of which little lives. The limit keeps that trade
// from growing with the heap: near it the collector runs as often as it must.
const (
	gcPercent   = 400
	gcSoftLimit = 400 << 20
)

// tuneGC applies them, unless GOGC or GOMEMLIMIT say what the operator wants.
func (e *env) tuneGC() {
	if _, set := e.lookup("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := e.lookup("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(gcSoftLimit)
	}
}
