//go:build real

package real_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestRealPrometheusScrapesDriftd: a Prometheus reads a daemon that has counted
// an hour of traffic, and its rules find nothing to complain of.
func TestRealPrometheusScrapesDriftd(t *testing.T) {
	daemon, api, nats := serve(t)
	predictions := publish(t, nats)
	prom := prometheus(t, api)

	prom.wait(t, `up{job="driftd"}`, 1)
	prom.wait(t, `sum(driftd_events_total{kind="prediction", outcome="counted"})`, float64(predictions))
	prom.wait(t, `driftd_consumer_lag_messages`, 0)
	// Every message is booked once: the conservation law, as Prometheus sees it.
	prom.wait(t, `sum(driftd_stream_committed_seq) - sum(driftd_messages_total)`, 0)
	// The demo's fraud model has 40 features; the drift of amount is the one injected.
	prom.wait(t, `count(driftd_feature_psi{model="fraud", variant="primary", window="5m", feature!~"prediction|score.*|confidence|latency.*|error|cost"}) >= bool 40`, 1)
	prom.wait(t, `driftd_feature_psi_debiased{model="fraud", variant="primary", feature="amount", window="5m"} > bool 0.1`, 1)
	prom.wait(t, `count(ALERTS{alertname="AmountDrift", alertstate="firing", feature="amount", variant="primary"})`, 1)
	prom.wait(t, `driftd_config_last_reload_successful`, 1)
	for _, name := range []string{
		"driftd_build_info", "driftd_watermark_timestamp_seconds", "driftd_commit_timestamp_seconds", "driftd_checkpoint_duration_seconds_bucket",
		"driftd_event_delay_seconds_bucket", "driftd_feature_ks_statistic", "driftd_feature_missing_ratio", "driftd_drifting_features",
		"driftd_rules_evaluated_timestamp_seconds", "driftd_alerts", "driftd_notify_pending", "driftd_store_size_bytes", "driftd_disk_free_bytes",
		"driftd_overflow_total", "process_start_time_seconds", "go_goroutines",
	} {
		prom.wait(t, fmt.Sprintf("count(%s) >= bool 1", name), 1)
	}
	prom.rulesAreHealthy(t)
	checkMetrics(t, api)
	daemon.stop(t, stopWithin)
}

// checkMetrics gives the page to promtool, which fails on what it would not
// accept and prints what it would not have written.
func checkMetrics(t *testing.T, api string) {
	t.Helper()
	page, err := get(t.Context(), "http://"+api+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if bytes.Contains(page, []byte("vmrange=")) {
		t.Error("the page has vmrange buckets, which Prometheus cannot use")
	}
}

// TestRealPromtoolAcceptsTheRules runs promtool over deploy/prometheus.
func TestRealPromtoolAcceptsTheRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "driftd.rules.yml"},
		{"test", "rules", "driftd.rules_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = "../deploy/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// A prom is a running Prometheus.
type prom struct{ address string }

// prometheus starts one that scrapes driftd every second, with our rules.
func prometheus(t *testing.T, api string) prom {
	t.Helper()
	rules, err := filepath.Abs("../deploy/prometheus/driftd.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: driftd
    static_configs: [{targets: [%q]}]
`, rules, api)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := prom{fmt.Sprintf("127.0.0.1:%d", port(t))}
	start(t, "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.address, "--log.level=warn")
	eventually(t, "prometheus is ready", func(ctx context.Context) error {
		_, err := get(ctx, "http://"+p.address+"/-/ready")
		return err
	})
	return p
}

// wait waits until a query that gives one number gives want.
func (p prom) wait(t *testing.T, query string, want float64) {
	t.Helper()
	eventually(t, query, func(ctx context.Context) error {
		body, err := get(ctx, "http://"+p.address+"/api/v1/query?query="+url.QueryEscape(query))
		if err != nil {
			return err
		}
		var answer struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if n := len(answer.Data.Result); n != 1 {
			return fmt.Errorf("%d series, want 1", n)
		}
		text, _ := answer.Data.Result[0].Value[1].(string)
		if got, err := strconv.ParseFloat(text, 64); err != nil || got != want {
			return fmt.Errorf("it is %q, want %g", text, want)
		}
		return nil
	})
}

// rulesAreHealthy waits until every rule was evaluated; none may have failed,
// and none may fire on a healthy daemon.
func (p prom) rulesAreHealthy(t *testing.T) {
	t.Helper()
	type rule struct{ Name, State, Health, LastError string }
	var answer struct {
		Data struct {
			Groups []struct{ Rules []rule }
		}
	}
	eventually(t, "every rule was evaluated", func(ctx context.Context) error {
		body, err := get(ctx, "http://"+p.address+"/api/v1/rules")
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if len(answer.Data.Groups) != 1 || len(answer.Data.Groups[0].Rules) == 0 {
			return fmt.Errorf("%d groups of rules, want 1", len(answer.Data.Groups))
		}
		for _, r := range answer.Data.Groups[0].Rules {
			if r.Health == "unknown" {
				return fmt.Errorf("%s was not evaluated yet", r.Name)
			}
		}
		return nil
	})
	for _, r := range answer.Data.Groups[0].Rules {
		if r.Health != "ok" || r.State == "firing" {
			t.Errorf("%s: health %s, state %s %s", r.Name, r.Health, r.State, r.LastError)
		}
	}
}
