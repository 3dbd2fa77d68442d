// Package ledger is the append-only, hash-chained journal of everything driftd
// decided or was told to: alerts, retraining triggers, rollback signals, baselines,
// configurations, stream epochs, silences, incidents, digests. An entry that somebody must hear of owes a
// Delivery to each receiver, so the audit log and the outbox are one list.
//
//	decision -> Chain.Append -> Entry (in the checkpoint's transaction)
//	                              |-> Delivery per receiver -> notify
//	Verify walks the entries and names the first one that does not fit.
//
// What is hashed is derived from the stream alone: event time, stream sequence,
// evidence and ids made of them. Issue times, expiry and attempts live in the
// Delivery, outside the chain, so a replay of the stream gives the same head.
//
// It does not store, send or read a clock. The daemon's loop owns the one Chain.
package ledger
