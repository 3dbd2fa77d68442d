// Package detect decides when a model's drift is worth a page, within a budget
// of false ones. It replaces thresholds on distances, which cry in every noisy
// hour or never, by evidence that is gathered over windows, and pages only when
// the evidence is enough and the effect matters.
//
//	drift.Window -> Measures      one score per detector, from counts alone
//	  -> Fit                      season, scale and memory of the reference period
//	  -> rank in Rows             the calibration list: what quiet windows looked like
//	  -> State.Step -> Outcome    evidence, alarms, and since when
//	  (the shell sums the panes since then and compares them)
//	  -> State.Settle -> Decision one incident a model: opened, raised, extended, superseded, resolved
//	State.Judge                   all of it, for who can say what the sums are
//
// A detector watches one Component of one signal of the whole model. Its rank
// among quiet windows becomes a standard normal whatever the data look like, and
// a Shiryaev-Roberts sum of it reaches a level A at most once in A windows of no
// change (Shin, Ramdas, Rinaldo: E-detectors, 2023; Vovk et al. 2005 for the
// ranks). docs/alarms.md says what is promised and what is only measured.
//
// Everything is a function of the arguments: chance is a hash of model, detector
// and window, time is the window's. The daemon's loop owns a State and stores it,
// its Fit and its Rows beside the ledger; nothing here is safe for concurrent
// use. The package sends nothing and knows no rules: those are package alert.
package detect
