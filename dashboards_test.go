package driftd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/api"
)

// A dashboard is what the tests read of a dashboard of Grafana.
type dashboard struct {
	Title         string `json:"title"`
	UID           string `json:"uid"`
	SchemaVersion int    `json:"schemaVersion"`
	Templating    struct {
		List []struct {
			Name, Type, Definition string
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID          int    `json:"id"`
		Type        string `json:"type"`
		Title       string `json:"title"`
		Description string `json:"description"`
		GridPos     struct{ X, Y, W, H int }
		Datasource  struct{ Type, UID string }
		Targets     []struct{ Expr, LegendFormat string }
	} `json:"panels"`
}

// builtInPanels are the kinds that come with Grafana: no plugin is needed.
var builtInPanels = []string{"row", "timeseries", "stat", "table", "state-timeline", "gauge", "bargauge", "heatmap"}

var (
	selector  = regexp.MustCompile(`\b(ALERTS|(?:driftd|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	legend    = regexp.MustCompile(`\{\{(\w+)\}\}`)
	variable  = regexp.MustCompile(`\$\{?(\w+)`)
	labelList = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
)

// ofTheScrape are the labels that Prometheus adds to every series.
var ofTheScrape = []string{"instance", "job"}

// TestDashboards: every metric, label and variable that a dashboard names exists, no
// panel needs a plugin, and none lies over another.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("deploy/grafana/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("%d dashboards (%v), want operations and model", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var d dashboard
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			if want := "driftd-" + strings.TrimSuffix(filepath.Base(file), ".json"); d.UID != want || d.SchemaVersion < 40 {
				t.Errorf("uid %q, schema %d; want %q and one of Grafana 11 or later", d.UID, d.SchemaVersion, want)
			}
			declared := []string{"__rate_interval", "__range"}
			for _, v := range d.Templating.List {
				declared = append(declared, v.Name)
			}
			for _, v := range d.Templating.List {
				if v.Type == "datasource" {
					continue
				}
				m := labelList.FindStringSubmatch(v.Definition)
				if m == nil {
					t.Errorf("variable %s is %q, want label_values(series, label)", v.Name, v.Definition)
					continue
				}
				if !slices.Contains(checkQuery(t, v.Name, m[1], declared), m[2]) {
					t.Errorf("variable %s: no series has the label %s", v.Name, m[2])
				}
			}
			d.checkPanels(t, declared)
		})
	}
}

func (d dashboard) checkPanels(t *testing.T, declared []string) {
	t.Helper()
	type cell struct{ x, y int }
	covered, ids := map[cell]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if !slices.Contains(builtInPanels, p.Type) || ids[p.ID] {
			t.Errorf("%s: type %s, id %d", p.Title, p.Type, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := covered[cell{x, y}]; taken || x >= 24 {
					t.Fatalf("%s lies over %q, or outside", p.Title, other)
				}
				covered[cell{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: description %q, %d queries, data source %q", p.Title, p.Description, len(p.Targets), p.Datasource.UID)
		}
		for _, q := range p.Targets {
			labels := checkQuery(t, p.Title, q.Expr, declared)
			for _, m := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("%s: no series of %s has the label %s of the legend", p.Title, q.Expr, m[1])
				}
			}
		}
	}
}

// checkQuery returns the labels of the series that a query names.
func checkQuery(t *testing.T, where, query string, declared []string) (labels []string) {
	t.Helper()
	for _, m := range variable.FindAllStringSubmatch(query, -1) {
		if !slices.Contains(declared, m[1]) {
			t.Errorf("%s: variable %s is not declared", where, m[1])
		}
	}
	series := selector.FindAllStringSubmatch(query, -1)
	if len(series) == 0 {
		t.Errorf("%s: %s names no series of driftd", where, query)
	}
	for _, s := range series {
		own, ok := labelsOf(s[1])
		if !ok {
			t.Errorf("%s uses %s, which driftd does not export", where, s[1])
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(own, m[1]) {
				t.Errorf("%s: %s has no label %s", where, s[1], m[1])
			}
		}
		labels = append(labels, own...)
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for _, name := range strings.FieldsFunc(g[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			if !slices.Contains(labels, name) {
				t.Errorf("%s: no series of %s has the label %s", where, query, name)
			}
		}
	}
	return labels
}

// labelsOf returns the labels of a series in Prometheus; false: there is none.
func labelsOf(name string) ([]string, bool) {
	for _, f := range api.Catalogue() {
		switch {
		case f.Name == name && f.Type != "histogram":
			return append(slices.Clone(f.Labels), ofTheScrape...), true
		case f.Type == "histogram" && f.Name+"_bucket" == name:
			return append(append(slices.Clone(f.Labels), ofTheScrape...), "le"), true
		}
	}
	return nil, false
}
