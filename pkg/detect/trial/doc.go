// Package trial puts the alarm procedure on trial: worlds of traffic in which
// nothing is wrong, drawn as counts in bins, and what package detect and the
// rules of other tools make of them.
//
//	World -> Traffic -> windows -> detect.State -> pages that should not be
//	            \-> a shift from some window on -> how long until the page
//	            \-> naive rules -> false windows
//
// The worlds are those of statistics.md 5.3: independent windows, windows whose
// mean and spread jitter, the same with heavy tails, and daily cycles with
// autocorrelation. They are synthetic: real traffic has holidays. Everything is
// a function of a seed; nothing is read, written or timed here.
package trial
