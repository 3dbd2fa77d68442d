// Package alert decides when a window is worth a person's attention. A Rule is
// a condition over a window's statistics, a State is what the rule remembers of
// one Series, and Step is the whole state machine.
//
//	drift.Report -> Rule.Inputs -> Input -> Step(State, Input) -> State, []Change
//	                                                                |-> Routes -> receivers
//
//	Inactive -true-> Pending -for-> Firing -quiet-> Recovering -keep_firing_for-> Resolved
//
// Conditions are three-valued: an input that is not defined makes a clause
// unknown, and an unknown condition keeps the state and flags it. What a rule says
// of itself (series held back, no data, no way to decide) are series beside those
// that it judges, see aside. Its only clock is the event time of closed windows,
// so a replay gives the same Changes.
//
// It does not group, send, store or read a clock. The daemon's loop owns every
// State and writes it beside the ledger entries that its Changes became.
package alert
