package config

import (
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
)

const (
	day  = Duration(24 * time.Hour)
	hour = Duration(time.Hour)
	min1 = Duration(time.Minute)
)

// PagerDutyURL is where PagerDuty takes events; the path is fixed.
const PagerDutyURL = "https://events.pagerduty.com"

// Default returns the configuration of an empty file. configs/driftd.yaml says
// the same with comments, and a test compares the two.
func Default() *Config {
	return &Config{
		NATS: NATS{
			URL:             "nats://127.0.0.1:4222",
			Stream:          "ML",
			Subjects:        []string{"ml.>"},
			SubjectTemplate: "ml.{kind}.{model}.{version}",
		},
		Store: Store{
			Dir:         "./data",
			Retention:   Retention{Panes: 7 * day, Hourly: 60 * day, Daily: 400 * day, Ledger: 400 * day, Samples: 90 * day},
			VerifyEvery: day,
		},
		HTTP: HTTP{Listen: "127.0.0.1:8480", Ingest: true},
		Windows: Windows{
			Pane:          min1,
			Lateness:      2 * min1,
			MaxFutureSkew: min1,
			Sizes:         []Duration{5 * min1, hour, day},
			Decide:        hour,
		},
		Limits: Limits{
			Models:           1000,
			VectorLength:     4096,
			FeaturesPerModel: 2000,
			Series:           100_000,
			Categories:       256,
			EventBytes:       256 << 10,
			LearningBytes:    64 << 20,
		},
		Dedup:     Dedup{IDs: 1_000_000},
		Metrics:   Metrics{Features: "top"},
		DLQ:       DLQ{Body: "hash", Rate: 100},
		Privacy:   Privacy{Default: "count"},
		Baselines: Baselines{MinRows: 10_000, MinSpan: day, MaxRows: 200_000},
		Discover:  true,
		Watch:     Watch{Every: Duration(30 * time.Second)},
		Detection: Detection{Reference: 672, MinEvents: 50, Interval: 6 * hour},
		Defaults:  Defaults{LabelHorizon: 30 * day},
		Incidents: Incidents{Causes: incident.DefaultCauses()},
		Digest:    Digest{Every: 7 * day},
		Publish:   Publish{MinCount: 11, Checkpoint: hour},
		Routes:    Route{GroupBy: slices.Clone(alert.DefaultGroupBy), GroupWait: new(min1 / 2), GroupInterval: new(5 * min1), RepeatInterval: new(day)},
	}
}

// What a list's element holds before its keys are read.
func (r *Rule) setDefaults() {
	r.Reference, r.Severity, r.NoData, r.Limit = "baseline", "ticket", "keep", 100
	r.KeepFiringFor, r.UndecidedFor = newHold(alert.DefaultKeepFiringFor), newHold(alert.DefaultUndecidedFor)
}
func (f *Feature) setDefaults()   { f.Type, f.Weight = "auto", 1 }
func (m *Model) setDefaults()     { m.Weight = 1 }
func (p *PagerDuty) setDefaults() { p.URL, p.Dedup, p.Limit = PagerDutyURL, "incident", 10 }

// complete fills in what depends on other settings.
func (c *Config) complete() {
	for i := range c.Rules {
		if c.Rules[i].Window == 0 {
			c.Rules[i].Window = c.Windows.Decide
		}
	}
}
