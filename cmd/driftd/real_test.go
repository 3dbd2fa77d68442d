//go:build real

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
)

// shared returns a file of the shared data; a missing one fails the test.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("DRIFTD_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(dir, "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("shared data (set DRIFTD_SHARED): %v", err)
	}
	return path
}

// driftd runs a command and decodes its JSON.
func driftd(t *testing.T, value any, args ...string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(append(args, "-o", "json", "--progress", "none"), strings.NewReader(""), &out, &errOut); code != 0 {
		t.Fatalf("driftd %s: exit code %d\n%s", strings.Join(args, " "), code, &errOut)
	}
	if err := json.Unmarshal(out.Bytes(), value); err != nil {
		t.Fatalf("driftd %s: %v", strings.Join(args, " "), err)
	}
}

func feature(t *testing.T, r api.ReportJSON, name string) api.FeatureJSON {
	t.Helper()
	i := slices.IndexFunc(r.Features, func(f api.FeatureJSON) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no feature %q in the report", name)
	}
	return r.Features[i]
}

func near(t *testing.T, what string, got api.Num, want, within float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= within) {
		t.Errorf("%s is %v, want %v +- %v", what, got, want, within)
	}
}

// The numbers are those of the README of the shared data: a departure delay that is
// significant and tiny, and one airline that is gone.
func TestRealFlights(t *testing.T) {
	var r api.ReportJSON
	start := time.Now()
	driftd(t, &r, "compare", "--reference", shared(t, "flights_reference.csv.gz"), "--current", shared(t, "flights_current.csv.gz"))
	t.Logf("compared in %v", time.Since(start))
	if r.RowsReference != 49_992 || r.RowsCurrent != 50_008 {
		t.Errorf("%d rows against %d, want 50008 against 49992", r.RowsCurrent, r.RowsReference)
	}
	delay := feature(t, r, "DEPARTURE_DELAY")
	near(t, "psi of DEPARTURE_DELAY", delay.PSI, .0098, .0005)
	const ks = .04097
	if !(delay.KS.Lo <= ks && ks <= delay.KS.Hi) {
		t.Errorf("ks of DEPARTURE_DELAY is in [%v, %v], want %v in it", delay.KS.Lo, delay.KS.Hi, ks)
	}
	near(t, "missing before", delay.MissingReference, .0206, .00005)
	near(t, "missing after", delay.MissingCurrent, .0089, .00005)
	if delay.Verdict == "material" {
		t.Errorf("DEPARTURE_DELAY is material: %s", delay.Because)
	}
	airline := feature(t, r, "AIRLINE")
	near(t, "psi of AIRLINE", airline.PSI, .644, .01)
	if airline.Verdict != "material" || !slices.Equal(airline.Gone, []string{"US"}) {
		t.Errorf("AIRLINE is %s, gone %v; want material, gone [US]", airline.Verdict, airline.Gone)
	}
	for name, kind := range map[string]string{"": "id", "DATE": "time"} {
		if f := feature(t, r, name); f.Verdict != "ignored" || f.Type != kind {
			t.Errorf("column %q is %s and %s, want %s and ignored", name, f.Type, f.Verdict, kind)
		}
	}
}

// Drift sets in at row 1,000 of circle.csv (README of the shared data).
func TestRealCircle(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "circle.csv"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "circle.csv")
	text := "x1,x2,label\n" + strings.ReplaceAll(string(raw), ",\n", "\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ reference, current, verdict string }{
		{"1-1000", "1001-2000", "material"},
		{"1-500", "501-1000", "stable"},
	} {
		var r api.ReportJSON
		driftd(t, &r, "compare", "--reference", path, "--reference-rows", tc.reference, "--current", path, "--current-rows", tc.current)
		if x1 := feature(t, r, "x1"); x1.Verdict != tc.verdict {
			t.Errorf("rows %s against %s: x1 is %s (%s), want %s", tc.reference, tc.current, x1.Verdict, x1.Because, tc.verdict)
		}
	}
}

// What the pages of docs/migrate print of the flights: each cell of the table is
// recomputed, and driftd's copy of another tool's figure agrees with what that
// tool printed to the digits of the page.
func TestRealMigrationPages(t *testing.T) {
	for page, columns := range map[string][]string{
		"evidently": {"psi", "js", "ks_p", "wasserstein", "says", "driftd psi", "verdict"},
		"nannyml":   {"js", "ks", "driftd ks", "verdict"},
		"whylogs":   {"", "", "", "driftd ks", "verdict"},
	} {
		var r compareReport
		args := []string{"compare", "--reference", shared(t, "flights_reference.csv.gz"), "--current", shared(t, "flights_current.csv.gz")}
		if page != "whylogs" {
			args = append(args, "--compat", page)
		}
		driftd(t, &r, args...)
		text, err := os.ReadFile("../../docs/migrate/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for _, f := range r.Features {
			line := regexp.MustCompile(`(?m)^\| ` + f.Name + ` \|(.*)\|$`).FindSubmatch(text)
			if line == nil {
				continue
			}
			rows++
			cells := strings.Split(string(line[1]), "|")
			if len(cells) != len(columns) {
				t.Fatalf("%s: %s has %d cells, want %d", page, f.Name, len(cells), len(columns))
			}
			for i, column := range columns {
				if want := f.cell(column); column != "" && strings.TrimSpace(cells[i]) != want {
					t.Errorf("%s: %s of %s is %q, computed %q", page, column, f.Name, strings.TrimSpace(cells[i]), want)
				}
			}
		}
		if rows < 5 {
			t.Errorf("%s: %d rows of the table are columns of the file, want 5 or more", page, rows)
		}
	}
}

// cell is what a page prints in a column of its table.
func (f *compareFeature) cell(column string) string {
	switch column {
	case "psi":
		return cellText(f.Compat.PSI, 6)
	case "js":
		return cellText(f.Compat.JS, 6)
	case "ks":
		return cellText(f.Compat.KS, 6)
	case "ks_p":
		return cellText(f.Compat.KSP, 6)
	case "wasserstein":
		return cellText(f.Compat.Wasserstein, 6)
	case "says":
		said, _, _ := strings.Cut(f.Compat.verdict(), " by ")
		return said
	case "driftd psi":
		return cellText(f.PSI, 6)
	case "driftd ks":
		return span(cellText(f.KS.Lo, 6), cellText(f.KS.Hi, 6), "..")
	}
	return f.Verdict
}

const employmentMap = "id=id,time=2016-01-05T13:20Z+1m*row,prediction=prediction,scores.1=predicted_probability," +
	"features=AGEP,SCHL,MAR,RELP,DIS,ESP,CIT,MIG,MIL,ANC,NATIVITY,DEAR,DEYE,DREM,SEX,RAC1P"

// The employment files go through the whole daemon, out of order within the
// lateness, and nothing is lost, doubled or distorted.
func TestRealEmploymentThroughTheDaemon(t *testing.T) {
	const rows = 208_892 // README of the shared data
	c := config.Default()
	c.NATS.Embedded, c.Store.Dir, c.HTTP.Listen = true, t.TempDir(), "127.0.0.1:0"
	c.NATS.URL = config.Address("nats://127.0.0.1:0")
	c.Windows.Lateness = config.Duration(10 * time.Minute)
	var d scriptDaemon
	if err := d.start(c); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.end(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	}()
	server := []string{"--server", d.instance.URL()}
	reference, analysis := shared(t, "employment_reference.parquet"), shared(t, "employment_analysis.parquet")

	var baseline baselineItem
	driftd(t, &baseline, append(server, "baseline", "import", reference, "--model", "employment", "--map", employmentMap)...)
	var sent sendReport
	driftd(t, &sent, append(server, "send", "prediction", "--file", analysis, "--model", "employment", "--map", employmentMap,
		"--shuffle", "9m", "--seed", "1", "--nats", d.instance.Embedded.URL())...)
	if sent.Sent != rows || sent.Acked != rows || sent.Failed != 0 {
		t.Fatalf("sent %+v, want %d", sent, rows)
	}
	if got, err := d.counted(func(n uint64) bool { return n == rows }, 5*time.Minute); err != nil || got != rows {
		t.Fatalf("the daemon counted %d events, want %d: %v", got, rows, err)
	}
	checkWindows(t, &d, rows)
	checkSameAsCompare(t, &d, reference, analysis)
}

// checkWindows adds up what the API tells of all windows of a signal.
func checkWindows(t *testing.T, d *scriptDaemon, rows uint64) {
	t.Helper()
	type window struct {
		Events     uint64            `json:"events"`
		Values     uint64            `json:"values"`
		Missing    uint64            `json:"missing"`
		Categories map[string]uint64 `json:"categories"`
		Histogram  struct {
			Counts []uint64 `json:"counts"`
		} `json:"histogram"`
	}
	for _, signal := range []string{"AGEP", "RELP"} {
		query := url.Values{"size": {"24h"}, "feature": {signal}}
		windows, err := list[window](context.Background(), d.client(t), "/api/v1/models/employment/windows", query)
		if err != nil {
			t.Fatal(err)
		}
		var events, values, counted uint64
		for _, w := range windows {
			events += w.Events
			values += w.Values + w.Missing
			for _, n := range w.Histogram.Counts {
				counted += n
			}
			for _, n := range w.Categories {
				counted += n
			}
		}
		if events != rows || values != rows || counted != rows {
			t.Errorf("%s: windows sum to %d events, %d values and %d counts, want %d", signal, events, values, counted, rows)
		}
	}
}

func (d *scriptDaemon) client(t *testing.T) *client {
	t.Helper()
	c, err := (&env{server: d.instance.URL(), timeout: time.Minute, lookup: os.LookupEnv}).client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkSameAsCompare compares the daemon's report on a day with that of compare
// on the rows of that day. A day has 1,440 rows; the first begins at 13:20, so
// the first whole one begins with row 641.
func checkSameAsCompare(t *testing.T, d *scriptDaemon, reference, analysis string) {
	t.Helper()
	for _, day := range []int{0, 95} { // a quiet one, and one within the accident (rows 133,619-143,888)
		from := 641 + day*1440
		at := time.Date(2016, 1, 6+day, 12, 0, 0, 0, time.UTC)
		var live, offline api.ReportJSON
		driftd(t, &live, "--server", d.instance.URL(), "drift", "employment", "--window", "24h", "--at", at.Format(time.RFC3339))
		driftd(t, &offline, "compare", "--reference", reference, "--current", analysis, "--current-rows", fmt.Sprintf("%d-%d", from, from+1439))
		if live.RowsCurrent != 1440 || offline.RowsCurrent != 1440 {
			t.Fatalf("%s: %d rows live, %d offline, want 1440", at, live.RowsCurrent, offline.RowsCurrent)
		}
		compared := 0
		for _, l := range live.Features {
			if !l.Feature {
				continue
			}
			o := feature(t, offline, l.Name)
			near(t, fmt.Sprintf("%s: psi of %s", at, l.Name), l.PSI, float64(o.PSI), 1e-12)
			near(t, fmt.Sprintf("%s: psi_debiased of %s", at, l.Name), l.PSIDebiased, float64(o.PSIDebiased), 1e-12)
			if compared++; l.Verdict != o.Verdict && o.Type == "categorical" {
				t.Errorf("%s: %s is %s live and %s offline", at, l.Name, l.Verdict, o.Verdict)
			}
		}
		if compared != 16 { // features of employmentMap
			t.Errorf("%s: %d features compared, want 16", at, compared)
		}
	}
}
