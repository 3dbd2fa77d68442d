// Package summary says what was counted in a closed window, and how far it moved, to
// machines: an aggregator, a database, a notebook.
//
//	drift.Window + drift.Report -> Build -> Messages, each JSON below MaxBytes
//
// A message is about one group of a model's traffic in one window. Where its signals
// do not fit into one message they are in several, which are its parts. The same
// window gives the same messages with the same ids, whoever makes them and whenever:
// what depends on the reference may differ, if that was exchanged in between.
//
// Who reads a bus is not who may read driftd. So what few events gave is not told:
// [Options.MinCount]. The package does not publish, and keeps nothing.
package summary
