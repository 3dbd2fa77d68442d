// Package backtest tries rules before they wake anybody: it judges the windows of the
// past by the code that judges those of the present, alert.Judge and
// detect.State.Judge, and says what would have fired.
//
//	drift.Closing (of a store or of a file) -> Run.Add -> Interval
//	drift.Window before those -> Run.Learn -> the reference period of a Budget
//	Injection: the closing or the event with a fault put in -> Run.Add
//	Runs -> NewReport -> intervals, days, noise, delays, what another file of rules changes
//	ledger entries in shadow and in earnest -> Compare -> ShadowReport
//
// A Run owns what its rules and its detectors remember. The package does not read
// closings, parse rules or tell anybody.
package backtest
