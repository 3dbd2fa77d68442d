package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

//go:embed assets
var assets embed.FS

var (
	pages     = template.Must(template.New("").Funcs(pageFunctions).ParseFS(assets, "assets/pages.html"))
	styles    = mustRead("assets/driftd.css")
	stylePath = func() string {
		sum := sha256.Sum256(styles)
		return "/assets/driftd-" + hex.EncodeToString(sum[:6]) + ".css"
	}()
)

const (
	pageRows    = 200 // rows of a table
	chartBars   = 24  // cells of a chart
	chartHeight = 160
)

func mustRead(name string) []byte {
	b, err := assets.ReadFile(name)
	if err != nil {
		panic("api: " + err.Error()) // embedded: cannot happen
	}
	return b
}

var pageFunctions = template.FuncMap{
	"time": func(t *time.Time) string {
		if t == nil {
			return "–"
		}
		return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
	},
	"number": func(n Num) string {
		if !finite(float64(n)) {
			return "–"
		}
		return strconv.FormatFloat(float64(n), 'g', 3, 64)
	},
	"percent": func(n Num) string {
		if !finite(float64(n)) {
			return "–"
		}
		return strconv.FormatFloat(100*float64(n), 'f', 1, 64) + " %"
	},
	"bytes": func(n int64) string {
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	},
	// mark tells a state by a sign too, never by its colour alone.
	"mark": func(state string) string {
		switch state {
		case "ok", "stable", "resolved":
			return "●"
		case "drifting", "alerting", "firing", "material":
			return "▲"
		}
		return "○"
	},
}

// pageHead is what every page has.
type pageHead struct {
	Title, Style, Version string
	At                    *time.Time
}

func (s *Server) head(title string, snapshot *Snapshot) pageHead {
	return pageHead{title, stylePath, cmp.Or(snapshot.Version, s.Version), instant(snapshot.At)}
}

func sendPage(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	return sendText(w, "text/html; charset=utf-8", b.Bytes())
}

type modelRow struct {
	Model, Path, State, Versions string
	Events                       uint64
	Drifting, Features           int
	LastEvent                    *time.Time
}

// urgency orders models by how much they need a person.
var urgency = []string{"alerting", "drifting", "ok", "learning"}

func (s *Server) getStatusPage(w http.ResponseWriter, _ *request) error {
	snapshot := s.Reader.Snapshot()
	data := struct {
		pageHead
		Ready   bool
		Reasons []string
		Models  []modelRow
		More    int
		Alerts  []alertItem
		Status  statusJSON
	}{pageHead: s.head("driftd", snapshot), Ready: len(snapshot.NotReady) == 0, Reasons: snapshot.NotReady, Status: newStatus(snapshot)}
	for i := range snapshot.Models {
		data.Models = append(data.Models, newModelRow(newModelItem(snapshot, &snapshot.Models[i])))
	}
	slices.SortStableFunc(data.Models, func(a, b modelRow) int {
		return cmp.Compare(slices.Index(urgency, a.State), slices.Index(urgency, b.State))
	})
	if len(data.Models) > pageRows {
		data.Models, data.More = data.Models[:pageRows], len(data.Models)-pageRows
	}
	for i := range snapshot.Alerts[:min(len(snapshot.Alerts), pageRows)] {
		data.Alerts = append(data.Alerts, newAlertItem(&snapshot.Alerts[i]))
	}
	return sendPage(w, "status", data)
}

func newModelRow(m modelItem) modelRow {
	var versions []string
	for _, v := range m.Versions {
		for _, variant := range v.Variants {
			name := v.Version
			if variant.Variant != event.Primary.String() {
				name += " (" + variant.Variant + ")"
			}
			versions = append(versions, name)
		}
	}
	return modelRow{
		Model: m.Model, Path: url.PathEscape(m.Model), State: m.State, Versions: strings.Join(versions, ", "),
		Events: m.Traffic[drift.Counted.String()], Drifting: m.driftingFeatures, Features: m.Features, LastEvent: m.LastEvent,
	}
}

func (s *Server) getModelPage(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	snapshot := s.Reader.Snapshot()
	data := struct {
		pageHead
		Path     string
		Item     modelItem
		Report   *ReportJSON
		Features []FeatureJSON
		Chart    *chart
	}{pageHead: s.head(m.Model+" · driftd", snapshot), Path: url.PathEscape(m.Model), Item: newModelItem(snapshot, m)}
	window, err := s.driftWindow(r, m)
	var p problem
	switch {
	case errors.As(err, &p) && p.Status == http.StatusNotFound: // no events: the page says so
	case err != nil:
		return err
	default:
		report := s.report(window, m, "", "")
		data.Report, data.Features = &report, report.Features[:min(len(report.Features), pageRows)]
		if len(report.Features) > 0 {
			data.Chart = newChart(m.Baseline, window, report.Features[0].Name)
		}
	}
	return sendPage(w, "model", data)
}

// A chart is the pair of histograms of one signal, drawn on the server.
type chart struct {
	Name   string
	Height int
	Bars   []bar
}

type bar struct {
	Label           string
	Ref, Now        Num
	X, NowX, Width  string
	RefY, RefHeight string
	NowY, NowHeight string
}

// newChart draws a signal's shares in the cells of PSI, nil if they are not
// comparable.
func newChart(b *drift.Baseline, w *drift.Window, name string) *chart {
	if b == nil || b.Part(w.Group.Segment) == nil {
		return nil
	}
	ref, now := b.Part(w.Group.Segment).Reference(name), w.Signal(name)
	if ref == nil || now == nil || ref.Type != now.Type {
		return nil
	}
	var shares []stats.BinShare
	switch {
	case ref.Type == drift.Categorical:
		if now.Categorical.Dict != nil {
			shares = stats.CategoricalShares(ref.Categorical, now.Categorical)
		}
	case ref.PSI != nil:
		shares = stats.NumericShares(ref.Numeric, now.Numeric, ref.PSI)
	}
	if len(shares) == 0 {
		return nil
	}
	c := &chart{Name: name, Height: chartHeight + 24}
	highest := 0.0
	shares = shares[:min(len(shares), chartBars)]
	for _, s := range shares {
		highest = max(highest, s.Ref, s.Cur)
	}
	if highest == 0 {
		return nil
	}
	slot := 640 / float64(len(shares))
	px := func(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }
	for i, s := range shares {
		left, wide := float64(i)*slot, slot*.42
		label := s.Name
		if ref.Type == drift.Numeric {
			label = fmt.Sprintf("%.4g < x ≤ %.4g", s.Lo, s.Hi)
		}
		refHeight, nowHeight := s.Ref/highest*chartHeight, s.Cur/highest*chartHeight
		c.Bars = append(c.Bars, bar{
			Label: label, Ref: Num(s.Ref), Now: Num(s.Cur), X: px(left), NowX: px(left + wide), Width: px(wide),
			RefY: px(chartHeight - refHeight), RefHeight: px(refHeight), NowY: px(chartHeight - nowHeight), NowHeight: px(nowHeight),
		})
	}
	return c
}

func (s *Server) getStyle(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return sendText(w, "text/css; charset=utf-8", styles)
}
