package api

// publishFamilies are what driftd says of what it publishes on NATS beside decisions.
func publishFamilies() []Family {
	return []Family{
		{
			Name: "driftd_windows_pending", Type: "gauge", Help: "Windows that have closed and are not published yet.",
			series: single(func(s *scrape) float64 { return float64(s.Published.Pending) }),
		},
		{
			Name: "driftd_windows_published_total", Type: "counter", Help: "Messages about closed windows that NATS has confirmed since the start.",
			series: single(func(s *scrape) float64 { return float64(s.Published.Sent) }),
		},
		{
			Name: "driftd_windows_failed_total", Type: "counter", Help: "Attempts to publish a closed window that NATS has not confirmed since the start; they are made again.",
			series: single(func(s *scrape) float64 { return float64(s.Published.Failed) }),
		},
		{
			Name: "driftd_windows_lost_total", Type: "counter", Help: "Since the start: messages about closed windows that are larger than NATS takes, and closed windows that were not published while they were kept.", Labels: []string{"reason"},
			series: func(s *scrape, emit emitter) {
				emit(float64(s.Published.Refused), "too_large")
				emit(float64(s.Published.Expired), "expired")
			},
		},
		{
			Name: "driftd_ledger_heads_total", Type: "counter", Help: "Signed heads of the ledger that NATS has confirmed since the start.",
			series: single(func(s *scrape) float64 { return float64(s.Attested.Sent) }),
		},
		{
			Name: "driftd_ledger_heads_failed_total", Type: "counter", Help: "Attempts to publish the head of the ledger that NATS has not confirmed since the start.",
			series: single(func(s *scrape) float64 { return float64(s.Attested.Failed) }),
		},
		{
			Name: "driftd_ledger_head_timestamp_seconds", Type: "gauge", Help: "Unix time at which NATS has confirmed the last head of the ledger since the start; 0 before the first.",
			series: single(func(s *scrape) float64 { return seconds(s.Attested.Last) }),
		},
	}
}
