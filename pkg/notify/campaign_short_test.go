//go:build !soak

package notify_test

import "time"

// TestCampaign in seconds; make soak takes longer.
const (
	campaignPhase   = 100 * time.Millisecond
	campaignSpan    = 3 * time.Second // in which the alerts fire
	campaignBackoff = 20 * time.Millisecond
	campaignMost    = 200 * time.Millisecond
	campaignTimeout = 80 * time.Millisecond
	campaignWithin  = 3 * time.Minute
)
