package api

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A Family is one metric of /metrics: everything that is said of it anywhere
// comes from here.
type Family struct {
	Name   string
	Type   string // "counter", "gauge" or "histogram"
	Help   string
	Labels []string

	series    func(s *scrape, emit func(value float64, labels ...string))
	histogram func(s *scrape) *Histogram // of a histogram, instead of series
	bounded   bool                       // one series a feature: takes what limits.series leaves
}

// A scrape is what one page is made of.
type scrape struct {
	*Snapshot
	server   *Server
	runtime  runtimeStats
	shown    map[string]map[string]bool // signals that have series, by model; nil: all
	withheld map[string]uint64          // series, by model, over all pages
}

type emitter = func(value float64, labels ...string)

// Catalogue returns every metric, in the order of the page. Alerts come before what
// has series a model, so that limits.series does not hide them. Families with a
// series a feature come last but one: when limits.series is reached, they are
// what is cut; the last one says by how much.
func Catalogue() []Family {
	return slices.Concat(streamFamilies(), ingestFamilies(), alertFamilies(), incidentFamilies(), watchFamilies(), publishFamilies(), modelFamilies(), budgetFamilies(), storeFamilies(), accessFamilies(), processFamilies(), featureFamilies(), []Family{{
		Name: "driftd_metrics_series_limited_total", Type: "counter", Help: "Series left out of /metrics because of limits.series, over all scrapes.", Labels: []string{"model"},
		series: func(s *scrape, emit emitter) { emitSorted(s.withheld, emit) },
	}})
}

func single(f func(s *scrape) float64) func(*scrape, emitter) {
	return func(s *scrape, emit emitter) { emit(f(s)) }
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// sortedKeys returns a map's keys in the order of their texts.
func sortedKeys[K comparable, V any](m map[K]V, text func(K) string) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return strings.Compare(text(a), text(b)) })
}

// seconds returns a Unix timestamp, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

func streamFamilies() []Family {
	return []Family{
		{
			Name: "driftd_build_info", Type: "gauge", Help: "Always 1; the labels tell the version that runs.", Labels: []string{"version", "goversion"},
			series: func(s *scrape, emit emitter) { emit(1, cmp.Or(s.Version, s.server.Version), runtime.Version()) },
		},
		{
			Name: "driftd_ready", Type: "gauge", Help: "Whether driftd is ready (1) or not (0); /-/ready tells why.",
			series: single(func(s *scrape) float64 { return flag(len(s.NotReady) == 0) }),
		},
		{
			Name: "driftd_messages_total", Type: "counter", Help: "Messages consumed from the stream, by what became of them.", Labels: []string{"outcome"},
			series: func(s *scrape, emit emitter) {
				a := s.account()
				for _, o := range []struct {
					name string
					n    uint64
				}{{"accepted", a.Accepted}, {"invalid", a.Invalid}, {"oversize", a.Oversize}, {"filtered", a.Filtered}, {"gap", a.Gap}} {
					emit(float64(o.n), o.name)
				}
			},
		},
		{
			Name: "driftd_events_total", Type: "counter", Help: "Events decoded, by model, kind and what became of them.", Labels: []string{"model", "kind", "outcome"},
			series: eventSeries,
		},
		{
			Name: "driftd_dead_letters_total", Type: "counter", Help: "Dead letters sent since the start, by reason; limited ones were withheld above dlq.rate.", Labels: []string{"reason"},
			series: func(s *scrape, emit emitter) { emitSorted(s.DeadLetters, emit) },
		},
		{
			Name: "driftd_stream_connected", Type: "gauge", Help: "Whether the input stream can be read (1) or not (0).",
			series: single(func(s *scrape) float64 { return flag(s.Stream.Connected) }),
		},
		{
			Name: "driftd_stream_committed_seq", Type: "gauge", Help: "Sequence of the last message that is counted and committed.",
			series: single(func(s *scrape) float64 { return float64(s.Stream.CommittedSeq) }),
		},
		{
			Name: "driftd_stream_last_seq", Type: "gauge", Help: "Sequence of the last message in the stream.",
			series: single(func(s *scrape) float64 { return float64(s.lastSeq()) }),
		},
		{
			Name: "driftd_consumer_lag_messages", Type: "gauge", Help: "Messages in the stream that are not committed yet.",
			series: single(func(s *scrape) float64 {
				return float64(s.lastSeq() - s.Stream.CommittedSeq)
			}),
		},
		{
			Name: "driftd_stream_rewinds_total", Type: "counter", Help: "Times the stream was found rewound or recreated.",
			series: single(func(s *scrape) float64 { return float64(s.Stream.Rewinds) }),
		},
		{
			Name: "driftd_nats_permission_errors_total", Type: "counter", Help: "Permission violations that the NATS server reported.",
			series: single(func(s *scrape) float64 { return float64(s.Permission) }),
		},
		{
			Name: "driftd_commit_timestamp_seconds", Type: "gauge", Help: "Unix time of the last checkpoint that was committed.",
			series: single(func(s *scrape) float64 { return seconds(s.LastCommit) }),
		},
		{
			Name: "driftd_checkpoint_duration_seconds", Type: "histogram", Help: "Time that checkpoints took to commit.",
			histogram: func(s *scrape) *Histogram { return s.Checkpoint },
		},
		{
			Name: "driftd_event_delay_seconds", Type: "histogram", Help: "Time between an event and the arrival of its message in the stream.",
			histogram: func(s *scrape) *Histogram { return s.EventDelay },
		},
	}
}

func (s *Snapshot) account() *drift.Account {
	if s.Account == nil {
		return &drift.Account{}
	}
	return s.Account
}

func eventSeries(s *scrape, emit emitter) {
	models := s.account().Models
	for _, name := range slices.Sorted(maps.Keys(models)) {
		for kind := event.Prediction; kind <= event.KPI; kind++ {
			counts := models[name][kind-1]
			if counts == [len(counts)]uint64{} && kind != event.Prediction {
				continue
			}
			for o := drift.Counted; o <= drift.OverLimit; o++ {
				emit(float64(counts[o]), name, kind.String(), o.String())
			}
		}
	}
}

func emitSorted(counts map[string]uint64, emit emitter) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		emit(float64(counts[name]), name)
	}
}

func modelFamilies() []Family {
	return []Family{
		{
			Name: "driftd_models", Type: "gauge", Help: "Models that driftd follows, by state.", Labels: []string{"state"},
			series: func(s *scrape, emit emitter) {
				states := map[string]uint64{"learning": 0, "ok": 0, "drifting": 0, "alerting": 0}
				for i := range s.Models {
					states[s.Models[i].Status]++
				}
				emitSorted(states, emit)
			},
		},
		{
			Name: "driftd_watermark_timestamp_seconds", Type: "gauge", Help: "Event time up to which a model's windows are closed.", Labels: []string{"model"},
			series: func(s *scrape, emit emitter) {
				for i := range s.Models {
					emit(seconds(s.Models[i].Watermark), s.Models[i].Model)
				}
			},
		},
		{
			Name: "driftd_drifting_features", Type: "gauge", Help: "Features of a model that drift in a last closed window: beyond the page gate, or the ticket gate.", Labels: []string{"model", "severity"},
			series: func(s *scrape, emit emitter) {
				for i := range s.Models {
					m := &s.Models[i]
					page, all := len(m.drifting(drift.Material, true)), len(m.drifting(drift.Minor, true))
					emit(float64(page), m.Model, alert.SeverityPage)
					emit(float64(all-page), m.Model, alert.SeverityTicket)
				}
			},
		},
		{
			Name: "driftd_projection_variance_ratio", Type: "gauge", Help: "Share of the baseline's variance along the principal axes kept of a vector; of the rest a change shows in the residual only. No feature: the group of features.", Labels: []string{"model", "feature"},
			series: projectionSeries,
		},
		{
			Name: "driftd_overflow_total", Type: "counter", Help: "Values and events that a limit kept from being told apart, by kind.", Labels: []string{"kind"},
			series: func(s *scrape, emit emitter) {
				var o drift.Overflow
				for i := range s.Models {
					m := s.Models[i].Overflow
					o.Features, o.Versions, o.Segments = o.Features+m.Features, o.Versions+m.Versions, o.Segments+m.Segments
					o.Mismatched, o.SkippedGap = o.Mismatched+m.Mismatched, o.SkippedGap+m.SkippedGap
				}
				emitSorted(map[string]uint64{
					"features": o.Features, "versions": o.Versions, "segments": o.Segments, "mismatched": o.Mismatched, "skipped_windows": o.SkippedGap,
				}, emit)
			},
		},
	}
}

func alertFamilies() []Family {
	return []Family{
		{
			Name: "driftd_rules_evaluated_timestamp_seconds", Type: "gauge", Help: "Unix time at which rules were evaluated last.",
			series: single(func(s *scrape) float64 { return seconds(s.LastEvaluated) }),
		},
		{
			Name: "driftd_alerts", Type: "gauge", Help: "Series of rules by state; shadow are those that fire and are told to nobody.", Labels: []string{"state"},
			series: func(s *scrape, emit emitter) {
				states := map[string]uint64{alert.NotifyShadow: 0}
				for p := alert.Pending; p <= alert.Resolved; p++ {
					states[p.String()] = 0
				}
				for _, a := range s.Alerts {
					if a.Active() && a.Untold() {
						states[alert.NotifyShadow]++
					} else {
						states[a.Phase.String()]++
					}
				}
				delete(states, alert.Inactive.String())
				emitSorted(states, emit)
			},
		},
		{
			Name: "ALERTS", Type: "gauge", Help: "Always 1; alerts that are pending, firing or, told to nobody, shadow, in the form of Prometheus' own.",
			Labels: []string{"alertname", "alertstate", "severity", "model", "model_version", "variant", "segment", "feature", "rule"},
			series: func(s *scrape, emit emitter) {
				for _, a := range s.Alerts {
					state := "firing"
					switch {
					case !a.Active():
						state = alert.Pending.String()
					case a.Untold():
						state = alert.NotifyShadow
					}
					if a.Active() || a.Phase == alert.Pending {
						emit(1, a.Alertname(), state, a.Severity, a.Model, a.Version, a.variant(), a.Segment, a.Feature(), a.About())
					}
				}
			},
		},
		{
			Name: "ALERTS_FOR_STATE", Type: "gauge", Help: "Unix time, by the events, since when an alert of ALERTS fires; of a pending one, since when its condition holds.",
			Labels: []string{"alertname", "severity", "model", "model_version", "variant", "segment", "feature", "rule"},
			series: func(s *scrape, emit emitter) {
				for _, a := range s.Alerts {
					since := a.FiredAt
					if a.Phase == alert.Pending {
						since = a.Since
					}
					if a.Active() || a.Phase == alert.Pending {
						emit(seconds(since), a.Alertname(), a.Severity, a.Model, a.Version, a.variant(), a.Segment, a.Feature(), a.About())
					}
				}
			},
		},
		silenceFamily(),
		{
			Name: "driftd_triggers_total", Type: "counter", Help: "Signals to machines since the start, by kind and what became of them.", Labels: []string{"kind", "model", "outcome"},
			series: func(s *scrape, emit emitter) {
				keys := slices.SortedFunc(maps.Keys(s.Triggers), func(a, b Trigger) int {
					return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Model, b.Model), strings.Compare(a.Outcome, b.Outcome))
				})
				for _, t := range keys {
					emit(float64(s.Triggers[t]), t.Kind, t.Model, t.Outcome)
				}
			},
		},
		{
			Name: "driftd_notifications_total", Type: "counter", Help: "Deliveries that a receiver confirmed since the start.", Labels: []string{"receiver"},
			series: func(s *scrape, emit emitter) {
				for _, r := range s.Notifier.Receivers {
					emit(float64(r.Sent), r.Name)
				}
			},
		},
		{
			Name: "driftd_notifications_failed_total", Type: "counter", Help: "Attempts to deliver that failed since the start, by reason.", Labels: []string{"receiver", "reason"},
			series: func(s *scrape, emit emitter) {
				for _, r := range s.Notifier.Receivers {
					emitSorted(r.Failed, func(n float64, reason ...string) { emit(n, r.Name, reason[0]) })
				}
			},
		},
		{
			Name: "driftd_notify_template_errors_total", Type: "counter", Help: "Messages that a receiver's template could not say, so that driftd's own words were sent, since it was configured.", Labels: []string{"receiver"},
			series: func(s *scrape, emit emitter) {
				for _, r := range s.Notifier.Receivers {
					emit(float64(r.Unsaid), r.Name)
				}
			},
		},
		{
			Name: "driftd_notify_dropped_total", Type: "counter", Help: "Deliveries that were given up without an attempt since the start, by reason; gone: the receiver is not in the configuration since 7 days.", Labels: []string{"reason"},
			series: func(s *scrape, emit emitter) { emit(float64(s.Notifier.GivenUp), "gone") },
		},
		{
			Name: "driftd_notify_pending", Type: "gauge", Help: "Deliveries that are owed to receivers.",
			series: single(func(s *scrape) float64 { return float64(s.Notifier.Pending) }),
		},
		{
			Name: "driftd_notify_oldest_seconds", Type: "gauge", Help: "How long the oldest delivery has been owed; 0 for none.",
			series: single(func(s *scrape) float64 { return s.owedFor().Seconds() }),
		},
	}
}

// variant returns the variant's name, "" for an alert on a whole model.
func (a *Alert) variant() string { return alert.Change{Series: a.Series}.Variant() }

func storeFamilies() []Family {
	return []Family{
		{
			Name: "driftd_store_size_bytes", Type: "gauge", Help: "Bytes that the store takes on disk.",
			series: single(func(s *scrape) float64 { return float64(s.StoreBytes) }),
		},
		{
			Name: "driftd_store_verified_timestamp_seconds", Type: "gauge", Help: "Unix time at which the running daemon read its whole store last and found no damage, 0 before.",
			series: single(func(s *scrape) float64 { return seconds(s.Verified) }),
		},
		{
			Name: "driftd_disk_free_bytes", Type: "gauge", Help: "Bytes free on the store's disk.",
			series: single(func(s *scrape) float64 { return float64(s.Disk.Free) }),
		},
		{
			Name: "driftd_disk_paused", Type: "gauge", Help: "Whether committing and reading wait for room on the store's disk (1) or not (0).",
			series: single(func(s *scrape) float64 { return flag(s.Disk.State == "paused") }),
		},
		{
			Name: "driftd_config_last_reload_successful", Type: "gauge", Help: "Whether the last configuration read was accepted (1) or not (0).",
			series: single(func(s *scrape) float64 { return flag(s.Config.LastReloadOK) }),
		},
		{
			Name: "driftd_config_last_reload_success_timestamp_seconds", Type: "gauge", Help: "When the configuration in force was read.",
			series: single(func(s *scrape) float64 { return float64(s.Config.LoadedAt.UnixMilli()) / 1000 }),
		},
	}
}

// projectionSeries yields what the axes of each model's baseline keep.
func projectionSeries(s *scrape, emit emitter) {
	for i := range s.Models {
		m := &s.Models[i]
		if m.Baseline == nil {
			continue
		}
		for _, p := range m.Baseline.Projections() {
			emit(p.Axes.Kept(), m.Model, p.Feature)
		}
	}
}

// featureFamilies have a series a feature, window length, version and variant.
func featureFamilies() []Family {
	families := []Family{
		{Name: "driftd_feature_psi", Help: "Population stability index of a signal's last closed window against its reference."},
		{Name: "driftd_feature_psi_debiased", Help: "PSI less what sampling noise alone would give."},
		{Name: "driftd_feature_ks_statistic", Help: "Kolmogorov-Smirnov distance, the certain lower end."},
		{Name: "driftd_feature_missing_ratio", Help: "Share of events without a usable value."},
	}
	values := []func(*drift.SignalReport) float64{
		func(r *drift.SignalReport) float64 { return r.PSI },
		func(r *drift.SignalReport) float64 { return r.PSIDebiased },
		func(r *drift.SignalReport) float64 { return r.KSLo },
		func(r *drift.SignalReport) float64 { return r.Missing },
	}
	for i := range families {
		value := values[i]
		families[i].Type, families[i].bounded = "gauge", true
		families[i].Labels = []string{"model", "model_version", "variant", "feature", "window"}
		families[i].series = func(s *scrape, emit emitter) { featureSeries(s, value, emit) }
	}
	return families
}

// featureSeries yields a value of every signal whose value is defined. Windows
// of segments are left out: they would multiply the series.
func featureSeries(s *scrape, value func(*drift.SignalReport) float64, emit emitter) {
	labels := make([]string, 5) // one for all: they are most of a page
	for i := range s.Models {
		m := &s.Models[i]
		for _, r := range m.Reports {
			g := r.Window.Group
			if g.Segment != "" {
				continue
			}
			labels[0], labels[1], labels[2], labels[4] = g.Model, g.Version, g.Variant.String(), formatDuration(r.Size)
			for k := range r.Signals {
				if s.shown != nil && !s.shown[m.Model][r.Signals[k].Name] {
					continue
				}
				if x := value(&r.Signals[k]); finite(x) {
					labels[3] = r.Signals[k].Name
					emit(x, labels...)
				}
			}
		}
	}
}

// MetricsDoc returns the catalogue as a page of documentation.
func MetricsDoc() []byte {
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat `/metrics` tells, in its order. This page is generated from the catalogue in `pkg/api`\n" +
		"(`go test ./pkg/api -run TestMetricsDoc -update`).\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range Catalogue() {
		labels := slices.Clone(f.Labels)
		if f.histogram != nil {
			labels = append(labels, "le")
		}
		for i := range labels {
			labels[i] = "`" + labels[i] + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, strings.Join(labels, " "), f.Help)
	}
	b.WriteString("\nSingle features have series as `metrics.features` says: `top` (the default) are the outputs of a model, features that\n" +
		"rules name, and the 20 that moved most; one of these goes when it ranks below 30. The rest is in the model's aggregates.\n" +
		"`limits.series` bounds the page; the series of single features are the ones left out when it is reached, the same\n" +
		"features of every family. Histograms have `le` buckets. No label is taken from an event's text but names of models,\n" +
		"versions and features, all of which `limits` bounds.\n")
	return []byte(b.String())
}
