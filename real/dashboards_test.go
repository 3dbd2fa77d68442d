//go:build real

package real_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withoutData are the panels that may be empty on the demo's traffic, and why.
var withoutData = map[string]string{
	"Last heartbeat":                 "there is no dead man's switch",
	"Store verified":                 "a new store is not read again for a day",
	"Limits":                         "of the series withheld there are none",
	"Dead letters":                   "nothing is refused",
	"Failed deliveries":              "nobody refuses",
	"Events over HTTP":               "none come in over HTTP",
	"Access refused":                 "loopback asks nobody who they are",
	"Signals to machines":            "no rule has actions",
	"Signals":                        "no rule has actions",
	"Pages and budgets":              "there is no budget",
	"Open incidents":                 "there is no budget",
	"Windows until drift can page":   "there is no budget",
	"Variance that projections keep": "no feature is a vector",
}

// chosen are values of the dashboards' variables.
var chosen = strings.NewReplacer("$__rate_interval", "30s", "$__range", "1h", "$instance", ".*", "$model", "fraud", "$version", ".*", "$window", "5m")

// TestRealDashboardsShowData: a Prometheus that reads a daemon with the demo's traffic
// answers every query of every panel, with data where there is some.
func TestRealDashboardsShowData(t *testing.T) {
	daemon, api, nats := serve(t)
	predictions := publish(t, nats)
	prom := prometheus(t, api)
	prom.wait(t, `sum(driftd_events_total{kind="prediction", outcome="counted"})`, float64(predictions))

	files, err := filepath.Glob("../deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	full := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &dashboard); err != nil {
			t.Fatal(err)
		}
		for _, p := range dashboard.Panels {
			_, mayBeEmpty := withoutData[p.Title]
			for _, q := range p.Targets {
				query := chosen.Replace(q.Expr)
				if mayBeEmpty {
					if _, err := prom.series(t.Context(), query); err != nil {
						t.Errorf("%s: %v", p.Title, err)
					}
					continue
				}
				full++
				eventually(t, p.Title+": "+query, func(ctx context.Context) error {
					n, err := prom.series(ctx, query)
					if err == nil && n == 0 {
						err = errors.New("no data")
					}
					return err
				})
			}
		}
	}
	t.Logf("%d queries have data", full)
	daemon.stop(t, stopWithin)
}

// series returns how many series a query gives.
func (p prom) series(ctx context.Context, query string) (int, error) {
	body, err := get(ctx, "http://"+p.address+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	err = json.Unmarshal(body, &answer)
	return len(answer.Data.Result), err
}
