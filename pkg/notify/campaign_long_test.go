//go:build soak

package notify_test

import "time"

// The figures of reliability.md R9: 90 seconds with the waits of production.
const (
	campaignPhase   = 1500 * time.Millisecond
	campaignSpan    = 60 * time.Second // in which the alerts fire
	campaignBackoff = time.Second
	campaignMost    = 5 * time.Second // of the backoff: nobody is away for longer than a phase
	campaignTimeout = time.Second
	campaignWithin  = 5 * time.Minute
)
