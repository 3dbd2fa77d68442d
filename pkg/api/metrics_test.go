package api_test

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
)

// A sample is one line of a metrics page.
type sample struct {
	family string
	labels map[string]string
	value  float64
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|\})`)
	unescape   = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")
)

// parse is a strict reader of Prometheus' text format 0.0.4: it fails where a
// scraper may be lenient.
func parse(t testing.TB, page string) (samples map[string]sample, kinds map[string]string) {
	t.Helper()
	samples, kinds = map[string]sample{}, map[string]string{}
	family, helped := "", ""
	if !strings.HasSuffix(page, "\n") {
		t.Error("the page does not end with a line's end")
	}
	for i, line := range strings.Split(strings.TrimSuffix(page, "\n"), "\n") {
		fail := func(what string) { t.Errorf("line %d: %s: %q", i+1, what, line) }
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if helped = name; help == "" || kinds[name] != "" {
				fail("help is missing or comes twice")
			}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if family = name; name != helped || kinds[name] != "" || !strings.Contains("counter gauge histogram", kind) || !metricName.MatchString(name) {
				fail("type does not follow its help, or is unknown")
			}
			kinds[name] = kind
			continue
		}
		end := strings.IndexAny(line, "{ ")
		if end < 0 {
			fail("no value")
			continue
		}
		s := sample{family: line[:end], labels: map[string]string{}}
		base := s.family
		if kinds[family] == "histogram" {
			base = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(base, "")
		}
		if base != family {
			fail("it is not in its family")
		}
		rest := line[end:]
		if rest[0] == '{' {
			rest = rest[1:]
			for closed := false; !closed; {
				m := labelPair.FindStringSubmatch(rest)
				if m == nil {
					fail("bad label")
					break
				}
				s.labels[m[1]] = unescape.Replace(m[2])
				rest, closed = rest[len(m[0]):], m[3] == "}"
			}
		}
		value, err := strconv.ParseFloat(strings.TrimPrefix(rest, " "), 64)
		if err != nil {
			fail("bad value")
		}
		s.value = value
		series := strings.TrimSuffix(line, rest)
		if _, twice := samples[series]; twice {
			fail("series twice")
		}
		samples[series] = s
	}
	return samples, kinds
}

func scrape(t testing.TB, s *api.Server) string {
	t.Helper()
	r := call(t, s.Handler(), http.MethodGet, "/metrics", "")
	if got := r.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	return text(t, r)
}

// TestMetrics: the page is the catalogue, in its order, and says what the
// snapshot does.
func TestMetrics(t *testing.T) {
	page := scrape(t, newServer(t, newWorld(t)))
	samples, kinds := parse(t, page)
	at := -1
	for _, f := range api.Catalogue() {
		if kinds[f.Name] != f.Type {
			t.Errorf("%s is %q, the catalogue says %s", f.Name, kinds[f.Name], f.Type)
		}
		next := strings.Index(page, "# TYPE "+f.Name+" ")
		if next < at {
			t.Errorf("%s is out of order", f.Name)
		}
		at = next
		if (f.Type == "counter") != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
	}
	for series, want := range map[string]float64{ // as newWorld says
		`driftd_build_info{version="v1.2.3",goversion="` + runtime.Version() + `"}`: 1,
		`driftd_messages_total{outcome="accepted"}`:                                 1684,
		`driftd_events_total{model="fraud",kind="prediction",outcome="counted"}`:    1584,
		`driftd_stream_committed_seq`:                                               1684,
		`driftd_consumer_lag_messages`:                                              5,
		`driftd_notifications_failed_total{receiver="slack",reason="timeout"}`:      1,
		`driftd_notify_oldest_seconds`:                                              3,
		`driftd_alerts{state="firing"}`:                                             1,
		`driftd_alerts{state="recovering"}`:                                         0,
		`driftd_triggers_total{kind="retrain",model="fraud",outcome="sent"}`:        1,
		`driftd_checkpoint_duration_seconds_bucket{le="0.01"}`:                      3,
		`driftd_checkpoint_duration_seconds_bucket{le="0.1"}`:                       4,
		`driftd_checkpoint_duration_seconds_bucket{le="+Inf"}`:                      5,
		`driftd_checkpoint_duration_seconds_sum`:                                    .25,
		`driftd_checkpoint_duration_seconds_count`:                                  5,
		`driftd_commit_timestamp_seconds`:                                           float64(wall.Unix() - 1),
		`driftd_drifting_features{model="fraud",severity="page"}`:                   2, // amount and country
		`driftd_models{state="learning"}`:                                           1,
		`driftd_watermark_timestamp_seconds{model="fraud"}`:                         float64(start.Add(4*time.Hour - 10*time.Second - 2*time.Minute).Unix()),
		`ALERTS{alertname="AmountDrift",alertstate="firing",severity="page",model="fraud",model_version="1",variant="primary",segment="",feature="amount",rule=""}`: 1,
		`ALERTS_FOR_STATE{alertname="AmountDrift",severity="page",model="fraud",model_version="1",variant="primary",segment="",feature="amount",rule=""}`:           float64(start.Add(3 * time.Hour).Unix()),
	} {
		if got, ok := samples[series]; !ok || got.value != want {
			t.Errorf("%s is %v, want %v", series, got.value, want)
		}
	}
	found := false
	for _, s := range samples {
		found = found || s.family == "ALERTS" && s.labels["model"] == hostile && s.labels["alertname"] == hostile
	}
	if !found {
		t.Error("the hostile name does not come back as it was")
	}
	if strings.Contains(page, "vmrange") {
		t.Error("vmrange buckets")
	}
}

// TestAlertsOfDriftdsOwn: two rules of one model without data are two series, which
// no label of a signal tells apart.
func TestAlertsOfDriftdsOwn(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *api.Snapshot) {
		s.Alerts = nil
		for _, rule := range []string{"AmountDrift", "CountryDrift"} {
			s.Alerts = append(s.Alerts, api.Alert{
				Series: alert.Series{Rule: rule, Key: drift.Key{Group: drift.Group{Model: "fraud"}, Signal: alert.NoDataSignal}},
				State:  alert.State{Phase: alert.Pending, Since: start}, Severity: alert.SeverityPage,
			})
		}
	})
	samples, _ := parse(t, scrape(t, newServer(t, w)))
	for _, rule := range []string{"AmountDrift", "CountryDrift"} {
		labels := `severity="page",model="fraud",model_version="",variant="",segment="",feature="",rule="` + rule + `"}`
		if got := samples[`ALERTS{alertname="NoData",alertstate="pending",`+labels].value; got != 1 {
			t.Errorf("ALERTS of %s is %v", rule, got)
		}
		if got := samples[`ALERTS_FOR_STATE{alertname="NoData",`+labels].value; got != float64(start.Unix()) {
			t.Errorf("ALERTS_FOR_STATE of %s is %v", rule, got)
		}
	}
}

// TestAlertsWithinTheLimit: a page that is cut short says what fires before it says
// how models do.
func TestAlertsWithinTheLimit(t *testing.T) {
	s := newServer(t, newWorld(t), func(o *api.Options) { o.SeriesLimit = 70 })
	samples, _ := parse(t, scrape(t, s))
	count := map[string]int{}
	for _, sample := range samples {
		count[sample.family]++
	}
	if count["ALERTS"] != 2 || count["ALERTS_FOR_STATE"] != 2 || count["driftd_drifting_features"] != 0 {
		t.Errorf("of 70 series %d are ALERTS, %d ALERTS_FOR_STATE, %d of models; want 2, 2, 0",
			count["ALERTS"], count["ALERTS_FOR_STATE"], count["driftd_drifting_features"])
	}
}

// TestMetricsMatchReports: a feature's gauges are its report's values.
func TestMetricsMatchReports(t *testing.T) {
	w := newWorld(t)
	samples, _ := parse(t, scrape(t, newServer(t, w)))
	report := w.snapshot.Models[1].Reports[0]
	for _, s := range report.Signals {
		if s.Name != "amount" {
			continue
		}
		for name, want := range map[string]float64{"psi": s.PSI, "psi_debiased": s.PSIDebiased, "ks_statistic": s.KSLo, "missing_ratio": s.Missing} {
			series := fmt.Sprintf(`driftd_feature_%s{model="fraud",model_version="1",variant="primary",feature="amount",window="1h"}`, name)
			if got := samples[series].value; got != want || math.IsNaN(want) {
				t.Errorf("%s is %v, want %v", series, got, want)
			}
		}
	}
}

// TestSeriesLimit: aggregates stay, features are cut, the same ones in every
// family, and the page says how many.
func TestSeriesLimit(t *testing.T) {
	w := newWorld(t)
	all, _ := parse(t, scrape(t, newServer(t, w)))
	features := func(samples map[string]sample) map[string]int {
		out := map[string]int{}
		for _, s := range samples {
			if strings.HasPrefix(s.family, "driftd_feature_") {
				out[s.family]++
			}
		}
		return out
	}
	full := 0
	for _, n := range features(all) {
		full += n
	}
	aggregates := len(all) - full
	const each = 3
	s := newServer(t, w, func(o *api.Options) { o.SeriesLimit = aggregates + 4*each })
	page := scrape(t, s)
	cut, _ := parse(t, page)
	for family, n := range features(cut) {
		if n > each {
			t.Errorf("%s has %d series, want at most %d", family, n, each)
		}
	}
	limited := func(samples map[string]sample) (models, series int) {
		for _, s := range samples {
			if s.family == "driftd_metrics_series_limited_total" {
				models, series = models+1, series+int(s.value)
			}
		}
		return models, series
	}
	models, got := limited(cut)
	if len(cut) > aggregates+4*each+models || cut[`driftd_stream_committed_seq`].value != 1684 {
		t.Errorf("%d series, want at most %d", len(cut), aggregates+4*each+models)
	}
	withheld := len(all) - len(cut) + models
	if got != withheld || got == 0 {
		t.Errorf("%v series are told to be withheld, %v are", got, withheld)
	}
	again, _ := parse(t, scrape(t, s))
	if _, got := limited(again); got != 2*withheld {
		t.Errorf("%v after a second scrape, want %v", got, 2*withheld)
	}
}

// TestSeriesOfBrokenNames: names that differ in bytes that are no UTF-8 read the
// same, and a scraper refuses a series that comes twice.
func TestSeriesOfBrokenNames(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *api.Snapshot) {
		s.DeadLetters = nil
		s.Account = &drift.Account{Models: map[string]*drift.ModelAccount{"a\xff": {}, "a\xfe": {}, "a\uFFFD": {}, "b": {}}}
	})
	samples, _ := parse(t, scrape(t, newServer(t, w)))
	n := 0
	for _, s := range samples {
		if s.family == "driftd_events_total" {
			n++
		}
	}
	if n != 2*6 { // two models, six outcomes
		t.Errorf("%d series, want 12", n)
	}
}

// TestMetricsDoc: docs/metrics.md is the catalogue.
func TestMetricsDoc(t *testing.T) {
	const path = "../../docs/metrics.md"
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, api.MetricsDoc(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, api.MetricsDoc()) {
		t.Errorf("%s is not what the catalogue says; go test ./pkg/api -run TestMetricsDoc -update writes it", path)
	}
}

func BenchmarkMetrics(b *testing.B) {
	w := newWorld(b)
	w.change(func(s *api.Snapshot) {
		m := s.Models[1]
		s.Models = nil
		for i := range 1000 { // 13 series of features each
			c := m
			c.Model = fmt.Sprintf("model-%04d", i)
			s.Models = append(s.Models, c)
		}
	})
	s := newServer(b, w)
	for b.Loop() {
		call(b, s.Handler(), http.MethodGet, "/metrics", "")
	}
}
