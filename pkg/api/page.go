package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

var (
	pages  = template.Must(template.New("").Funcs(pageFunctions).ParseFS(assets, "assets/*.html"))
	styles = mustAsset("driftd.css", "text/css; charset=utf-8")
	live   = mustAsset("live.js", "text/javascript; charset=utf-8")
	heat   = mustAsset("heatmap.js", "text/javascript; charset=utf-8")
)

const pageRows = 100 // rows of a table

// An asset is a file that pages load. Its path changes with its content, so that
// it may be kept for ever.
type asset struct {
	path, media string
	body        []byte
}

func mustAsset(name, media string) asset {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic("api: " + err.Error()) // embedded: cannot happen
	}
	sum, end := sha256.Sum256(b), path.Ext(name)
	return asset{"/assets/" + strings.TrimSuffix(name, end) + "-" + hex.EncodeToString(sum[:6]) + end, media, b}
}

func (a asset) send(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return sendText(w, a.media, a.body)
}

var pageFunctions = template.FuncMap{
	"time":         showTime,
	"number":       showNumber,
	"percent":      showPercent,
	"said":         func(text string) string { return shorten(text, saidBytes) },
	"incidentPath": incidentPath,
	"modelPath":    modelPath,
	"instant":      instant,
	"bytes": func(n int64) string {
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	},
	// mark tells a state by a sign too, never by its colour alone.
	"mark": func(state string) string {
		switch state {
		case "ok", "stable", "resolved":
			return "●"
		case "drifting", "alerting", "firing", "material", "page":
			return "▲"
		}
		return "○"
	},
}

// showTime tells a time to people.
func showTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

func showNumber(n Num) string {
	if !finite(float64(n)) {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'g', 3, 64)
}

func showPercent(n Num) string {
	if !finite(float64(n)) {
		return "–"
	}
	return strconv.FormatFloat(100*float64(n), 'f', 1, 64) + " %"
}

// pageHead is what every page has.
type pageHead struct {
	Title, Style, Script, Version string
	Reload                        bool // by the browser, where scripts do not run
	At                            *time.Time
}

func (s *Server) head(title string, snapshot *Snapshot) pageHead {
	if title != "driftd" {
		title += " · driftd"
	}
	return pageHead{Title: title, Style: styles.path, Version: cmp.Or(snapshot.Version, s.Version), At: instant(snapshot.At)}
}

// live makes a page follow what changes.
func (h pageHead) live() pageHead {
	h.Script, h.Reload = live.path, true
	return h
}

func sendPage(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	return sendText(w, "text/html; charset=utf-8", b.Bytes())
}

// linkTo is a path with those parameters, given as names and values, that are
// not empty.
func linkTo(path string, parameters ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		if parameters[i+1] != "" {
			q.Set(parameters[i], parameters[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// modelPath is where the pages of a model are.
func modelPath(model string) string { return "/models/" + url.PathEscape(model) }

// keep returns the request's parameters as names and values, without some.
func (r *request) keep(without ...string) []string {
	q := r.URL.Query()
	for _, name := range without {
		q.Del(name)
	}
	var out []string
	for name := range q {
		out = append(out, name, q.Get(name))
	}
	return out
}
