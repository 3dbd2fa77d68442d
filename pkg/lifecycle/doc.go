// Package lifecycle decides what should happen to a model version: retrain it,
// or return its traffic to another one. Alerts ask, Decide answers.
//
//	alert.Change that fired --+
//	Traffic of the last window +-> Decide(State, Request) -> State, []Decision
//	Manifest of the data ------+                              |-> ledger -> signal
//
// Alerts fail open, actions fail closed: a decision that is not safe to act on,
// for want of a target, an approved baseline or a pause since the last one, is
// returned all the same, with the reason why nothing is sent.
//
// It sends nothing, stores nothing and reads no clock. The daemon's loop owns
// one State a model and records every Decision as a ledger entry.
package lifecycle
