package api

// watchFamilies are what driftd says of how it watches itself. Without canaries only the
// heartbeat has a series.
func watchFamilies() []Family {
	return []Family{
		{
			Name: "driftd_heartbeat_success_timestamp_seconds", Type: "gauge", Help: "Unix time of the last heartbeat that was delivered; 0 for none.",
			series: single(func(s *scrape) float64 { return seconds(s.Heartbeat) }),
		},
		{
			Name: "driftd_heartbeat_healthy", Type: "gauge", Help: "Whether an organ of driftd is well (1) or not (0), by organ; with a 0 no heartbeat is sent.", Labels: []string{"organ"},
			series: func(s *scrape, emit emitter) {
				for _, c := range s.Watch.Checks {
					emit(flag(c.OK), c.Organ)
				}
			},
		},
		{
			Name: "driftd_canary_interval_seconds", Type: "gauge", Help: "Time between two canaries, events of driftd's own.",
			series: canary(func(w *Watch) float64 { return w.Every.Seconds() }),
		},
		{
			Name: "driftd_canary_sent_total", Type: "counter", Help: "Canaries that the stream has confirmed since the start.",
			series: canary(func(w *Watch) float64 { return float64(w.Sent) }),
		},
		{
			Name: "driftd_canary_failed_total", Type: "counter", Help: "Attempts to publish a canary that failed since the start.",
			series: canary(func(w *Watch) float64 { return float64(w.Failed) }),
		},
		{
			Name: "driftd_canary_seen_timestamp_seconds", Type: "gauge", Help: "Unix time at which the newest canary was published that is counted and committed; 0 for none.",
			series: canary(func(w *Watch) float64 { return seconds(w.Seen) }),
		},
		{
			Name: "driftd_canary_judged_timestamp_seconds", Type: "gauge", Help: "Unix time at which the newest canary was published at whose arrival the rule fired for the one before; 0 for none.",
			series: canary(func(w *Watch) float64 { return seconds(w.Judged) }),
		},
		{
			Name: "driftd_canary_round_trip_seconds", Type: "gauge", Help: "Time from the publication of the newest canary to its commit.",
			series: canary(func(w *Watch) float64 { return w.RoundTrip.Seconds() }),
		},
	}
}

// canary is single for what there is with canaries only.
func canary(f func(w *Watch) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) {
		if s.Watch.Every > 0 {
			emit(f(&s.Watch))
		}
	}
}
