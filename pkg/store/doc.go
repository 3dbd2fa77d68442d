// Package store keeps driftd's truth in Badger: windows, models, baselines,
// alert states, the ledger, what is owed to receivers, and the position in the
// stream that all of them reflect.
//
//	loop -> Batch.Put... (encodes at once) -> Commit = one Badger transaction
//	start -> Open -> Resume                    readers -> Windows, Entries, ...
//	notify -> Due, Settle                      maintenance -> Sweep
//
// A Commit is durable and whole, or it did not happen; it is never split. What
// changes together is in one Batch, so a crash between two commits leaves the
// position, the counts and the ledger in step. Every value carries a checksum
// over its key and content; one that does not fit is ErrDamaged, never a zero.
// The key map is in keys.go.
//
// It decides nothing: what a window, an alert or a delivery means is known by
// the core. The daemon's loop is the only writer of decisions; reading,
// settling deliveries and sweeping are safe beside it.
package store
