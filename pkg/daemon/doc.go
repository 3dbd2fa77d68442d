// Package daemon is the shell around the pure core: it owns every goroutine of
// the running system, the one loop that may change decision state, and the
// clock.
//
//	Source --batches--> loop: decode, count, close, judge, decide
//	                     |  every second, 64k events or four fifths of a transaction:
//	                     v
//	                  committer: dead letters acked, one transaction
//	                     |-> notify is woken      |-> a new Snapshot for api
//	commands of the API enter the loop on a second channel
//
// What is not committed has not happened: nothing is told, sent or shown before
// it is in the store, and after a crash the same messages lead to the same
// entries. The loop never waits for a receiver; it waits for the store only when
// the previous checkpoint is still being written.
//
// It does not decide anything itself: that is alert's and lifecycle's work.
package daemon
