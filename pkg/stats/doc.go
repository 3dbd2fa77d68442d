// Package stats is the arithmetic of drift: histograms that merge by addition,
// and the distances, tests and verdicts computed from their counts.
//
//	baseline -> BuildEdges ----> Edges (frozen) -> Numeric  --\
//	         -> BuildDictionary  Dictionary     -> Categorical -+-> Compare* -> Shift -> Judge -> Verdict
//	live values, by columns -----------------------------------/
//
// Everything that crosses a process or a day is a count between edges the
// baseline declared: adding two panes is exact, so a window of an hour equals
// the sum of its minutes, and PSI on any declared cells equals the value a
// batch job would compute from the raw rows. Kolmogorov-Smirnov is an interval
// that contains the exact statistic, never a point that hides the binning.
//
// The package holds no clock, no goroutine and no state of its own; a value
// belongs to whoever made it and is not safe for concurrent writing. It does
// not know models, windows or alerts: that is package drift. The methods are
// those of Yurdakul 2018 (PSI), Stephens 1970 (KS) and Good 1953 (unseen).
package stats
