//go:build real

package main

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ledger"
)

// judged starts a daemon that judges drift by windows of one size within a budget
// of two pages a month.
func judged(t *testing.T, pane, size time.Duration) *scriptDaemon {
	t.Helper()
	c := config.Default()
	c.NATS.Embedded, c.Store.Dir, c.HTTP.Listen = true, t.TempDir(), "127.0.0.1:0"
	c.NATS.URL = config.Address("nats://127.0.0.1:0")
	c.Windows.Pane, c.Windows.Lateness = config.Duration(pane), config.Duration(time.Minute)
	c.Windows.Sizes, c.Windows.Decide = []config.Duration{config.Duration(size)}, config.Duration(size)
	c.Budgets = []config.Budget{{Name: "oncall", Receiver: "people", Pages: 2, Per: config.Duration(30 * 24 * time.Hour)}}
	c.Receivers = []config.Receiver{{Name: "people", NATS: &config.Signal{}}}
	c.Defaults.Budget = "oncall"
	d := &scriptDaemon{}
	if err := d.start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.end(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	})
	return d
}

// sendAll sends the rows of a file and waits until they are counted.
func (d *scriptDaemon) sendAll(t *testing.T, file, model, mapping string, rows uint64) {
	t.Helper()
	var sent sendReport
	driftd(t, &sent, "--server", d.instance.URL(), "send", "prediction", "--file", file, "--model", model, "--map", mapping, "--nats", d.instance.Embedded.URL())
	if got, err := d.counted(func(n uint64) bool { return n == rows }, 5*time.Minute); err != nil || got != rows {
		t.Fatalf("the daemon counted %d events, want %d: %v", got, rows, err)
	}
}

// drifted returns what the ledger says of drift, the notes aside.
func (d *scriptDaemon) drifted(t *testing.T) (out []ledger.Alert) {
	t.Helper()
	entries, err := list[ledger.Entry](context.Background(), d.client(t), "/api/v1/ledger", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind != ledger.KindAlert {
			continue
		}
		var a ledger.Alert
		if err := json.Unmarshal(e.Body, &a); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %s %s until %s: %s", a.Rule, a.Change, a.Severity, a.Window.End.Format(time.RFC3339), a.Reason)
		for _, f := range a.Findings {
			t.Logf("    %s %s %s since %s: %s", f.Signal, f.Component, f.Level, f.Since.Format(time.RFC3339), f.Reason)
		}
		out = append(out, a)
	}
	return out
}

// pages returns the alerts that spend a page.
func pages(all []ledger.Alert) []ledger.Alert {
	return slices.DeleteFunc(slices.Clone(all), func(a ledger.Alert) bool {
		return a.Severity != alert.SeverityPage || a.Change != "opened" && a.Change != "raised"
	})
}

// inOrder writes the rows of a compressed CSV file by the text of their last
// column; the first, which has no name, is called row.
func inOrder(t *testing.T, file string) string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	text, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows[0][0] = "row"
	slices.SortStableFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[len(a)-1], b[len(b)-1]) })
	path := filepath.Join(t.TempDir(), "sorted.csv")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := csv.NewWriter(out).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Half a year of flights shows what is normal. In the other half one airline has
// merged into another: one page, that says so. What is significant and tiny is no
// page.
func TestRealFlightsPageOnce(t *testing.T) {
	d := judged(t, time.Hour, 24*time.Hour)
	var baseline baselineItem
	driftd(t, &baseline, "--server", d.instance.URL(), "baseline", "import", shared(t, "flights_reference.csv.gz"), "--model", "flights", "--time-column", "DATE")
	d.sendAll(t, inOrder(t, shared(t, "flights_current.csv.gz")), "flights",
		"id=row,time=DATE,features=CANCELLED,AIRLINE,DEPARTURE_DELAY,TAXI_OUT,AIR_TIME,DISTANCE", 50_008)
	all := d.drifted(t)
	paged := pages(all)
	if len(paged) != 1 {
		t.Fatalf("%d pages, want 1", len(paged))
	}
	page := paged[0]
	if f := page.Findings[0]; f.Signal != "AIRLINE" || f.Component != "categories" || !strings.Contains(page.Reason, "US") || !strings.Contains(page.Reason, "AA") {
		t.Errorf("the page is about %s: %s", f.Signal, page.Reason)
	}
	if page.Window.End.After(time.Date(2015, 7, 10, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("paged at %v, the merger was on 1 July", page.Window.End)
	}
	for _, a := range all {
		for _, f := range a.Findings {
			if f.Signal != "AIRLINE" && f.Level == "page" {
				t.Errorf("%s is worth a page: %s", f.Signal, f.Reason)
			}
		}
	}
}

// The numbers are those of the README of the shared data: quiet until row 70,000,
// a category that vanishes in 2017, and an accident in rows 133,619 to 143,888.
func TestRealEmploymentAlarms(t *testing.T) {
	const rows, window = 208_892, 400
	start := time.Date(2016, 1, 5, 13, 20, 0, 0, time.UTC) // of the first row; then one a minute
	row := func(at time.Time) int { return int(at.Sub(start) / time.Minute) }
	d := judged(t, 20*time.Minute, window*time.Minute)
	before := start.Add(-68_785 * time.Minute).Format("2006-01-02T15:04Z")
	var baseline baselineItem
	driftd(t, &baseline, "--server", d.instance.URL(), "baseline", "import", shared(t, "employment_reference.parquet"), "--model", "employment",
		"--map", strings.Replace(employmentMap, "2016-01-05T13:20Z", before, 1))
	d.sendAll(t, shared(t, "employment_analysis.parquet"), "employment", employmentMap, rows)
	all := d.drifted(t)
	if len(all) == 0 || row(all[0].Window.End) <= 70_000 {
		t.Fatalf("told of something before row 70,000: %+v", all)
	}
	vanished := 0
	for _, a := range all {
		for _, f := range a.Findings {
			if f.Signal == "RELP" && row(a.Window.End) < 133_000 {
				vanished++
				if !strings.Contains(f.Reason, "17") {
					t.Errorf("the reason does not name the category that vanished: %s", f.Reason)
				}
			}
		}
	}
	if vanished != 1 {
		t.Errorf("the vanished category was reported %d times, want once", vanished)
	}
	// The first window that is wholly in the accident ends at row 134,400.
	accident := slices.IndexFunc(pages(all), func(a ledger.Alert) bool { return row(a.Window.End) > 133_619 })
	if accident < 0 {
		t.Fatal("the accident is no page")
	}
	if end := row(pages(all)[accident].Window.End); end > 134_800 {
		t.Errorf("the accident is a page at row %d, want within two full windows of 133,619", end)
	}
}
