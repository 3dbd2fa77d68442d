// Package api is driftd's HTTP edge: the JSON API under /api/v1, /metrics,
// health and the pages.
//
//	daemon --Snapshot, Reader--> handlers --> JSON, Prometheus text, HTML
//	client --POST--> handlers --Commander--> daemon's loop
//	client --POST /ingest--> handlers --Publisher--> JetStream
//
// It reads what is committed, through an immutable Snapshot and the store's
// views; it never reads the loop's memory, and every change it asks for becomes a
// command of the loop. It decides nothing.
// Events that come over HTTP it checks and stores as they came; the daemon reads
// them from the stream like any other.
package api
