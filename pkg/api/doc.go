// Package api is driftd's HTTP edge: the JSON API under /api/v1, /metrics,
// health and the pages.
//
//	daemon --Snapshot, Reader--> handlers --> JSON, Prometheus text, HTML
//	client --POST--> handlers --Commander--> daemon's loop
//
// It reads what is committed, through an immutable Snapshot and the store's
// views; it never reads the loop's memory, and every change it asks for becomes a
// command of the loop. It decides nothing.
package api
