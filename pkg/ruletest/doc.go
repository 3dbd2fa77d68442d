// Package ruletest plays tests of rules: what a model did, window by window, and
// who should have been told of what. Statistics are given as Series, or counted
// from Traffic that package sim makes; what judges them is what judges live
// windows: alert.Judge, lifecycle.Decide, alert.Routes, incident.Book,
// incident.Silences, incident.Quiet, ledger.Due.
//
//	Series ----------------------> []alert.Input --+
//	Traffic -> sim -> drift.Engine -> Closing -> Judge -> Change, State -> Expectations -> Result
//	Fault: what went wrong meanwhile                             \-> Decision, Message -^
//
// Time in a test is the time since its start, and a window is known once it has
// closed: after the first window is one window's length.
//
// A World is what all tests of a file share and never changes. The package reads
// no files and prints nothing.
package ruletest
