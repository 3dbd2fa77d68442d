package api

import "time"

// accessFamilies tell of connections, tokens and certificates. Without access control
// only the first have series.
func accessFamilies() []Family {
	return []Family{
		{
			Name: "driftd_http_connections_evicted_total", Type: "counter", Help: "Connections without a request that were closed because all places were taken and another came.",
			series: single(func(s *scrape) float64 { return float64(s.server.evicted.Load()) }),
		},
		{
			Name: "driftd_http_access_failures_total", Type: "counter", Help: "Requests refused for want of a right credential or role since the start, by reason.", Labels: []string{"reason"},
			series: func(s *scrape, emit emitter) {
				if a := s.server.Access; a.guarded() {
					for i := range a.failures {
						emit(float64(a.failures[i].Load()), failureNames[i])
					}
				}
			},
		},
		{
			Name: "driftd_http_access_last_reload_successful", Type: "gauge", Help: "Whether the file was usable when it was read last (1) or an older content is in force (0).", Labels: []string{"file"},
			series: func(s *scrape, emit emitter) {
				if a := s.server.Access; a != nil {
					for _, f := range a.files {
						emit(flag(!f.bad.Load()), f.what)
					}
				}
			},
		},
		{
			Name: "driftd_http_token_expiry_timestamp_seconds", Type: "gauge", Help: "Unix time at which the next token expires; no series when none will.",
			series: func(s *scrape, emit emitter) {
				if a := s.server.Access; a != nil {
					if next := a.nextEnd(time.Now()); !next.IsZero() {
						emit(float64(next.Unix()))
					}
				}
			},
		},
		{
			Name: "driftd_http_certificate_expiry_timestamp_seconds", Type: "gauge", Help: "Unix time at which the certificate in force ends.",
			series: func(s *scrape, emit emitter) {
				if a := s.server.Access; a != nil && a.options.CertFile != "" {
					emit(float64(a.expiry.Load()))
				}
			},
		},
	}
}
