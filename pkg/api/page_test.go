package api_test

import (
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
)

// pageBytes is how large a page may be.
const pageBytes = 60 << 10

// An element is a start tag of a page.
type element struct {
	name string
	attr map[string]string
}

// A page is what a browser makes of a body.
type page struct {
	elements []element
	text     string // of the whole page
}

// read asks for a page and takes it apart.
func read(t testing.TB, s *api.Server, target string) page {
	t.Helper()
	r := call(t, s.Handler(), http.MethodGet, target, "")
	body := text(t, r)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s: %d %s: %s", target, r.StatusCode, r.Header.Get("Content-Type"), body)
	}
	if len(body) > pageBytes {
		t.Errorf("%s has %d bytes, more than %d", target, len(body), pageBytes)
	}
	return takeApart(t, target, body)
}

func takeApart(t testing.TB, target, body string) page {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(body))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var p page
	var all strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			p.text = all.String()
			return p
		}
		if err != nil {
			t.Fatalf("%s cannot be read: %v", target, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{token.Name.Local, map[string]string{}}
			for _, a := range token.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			p.elements = append(p.elements, e)
		case xml.CharData:
			all.Write(token)
		}
	}
}

func (p page) all(name string) (out []element) {
	for _, e := range p.elements {
		if e.name == name {
			out = append(out, e)
		}
	}
	return out
}

// known are the elements that pages consist of.
var known = strings.Fields(`html head meta title link script noscript body nav main header footer h1 h2 p span a strong code br form label input select option button
	table thead tbody tr th td div dl dt dd ol li time pre h3 textarea figure img figcaption svg rect line polyline text details summary canvas output`)

// check finds what no page may have, and what each must.
func (p page) check(t testing.TB, target string) {
	t.Helper()
	for _, e := range p.elements {
		if !slices.Contains(known, e.name) {
			t.Errorf("%s has an element <%s>", target, e.name)
		}
		if e.attr["rel"] == "icon" && e.attr["href"] == "data:," {
			continue // nothing, so that browsers do not ask for one
		}
		for name, value := range e.attr {
			outside := e.name == "a" && name == "href" && strings.HasPrefix(value, "https://") && e.attr["rel"] == "noreferrer" // a runbook
			if outside {
				continue
			}
			if strings.HasPrefix(name, "on") || name == "style" || (name == "href" || name == "src" || name == "action") && !strings.HasPrefix(value, "/") {
				t.Errorf("%s: <%s %s=%q>", target, e.name, name, value)
			}
		}
		switch {
		case e.name == "script" && (!strings.HasPrefix(e.attr["src"], "/assets/") || e.attr["type"] != "module"):
			t.Errorf("%s has a script of its own: %v", target, e.attr)
		case e.name == "svg" && (e.attr["role"] != "img" || e.attr["aria-label"] == ""):
			t.Errorf("%s has a chart without a name", target)
		case e.name == "th" && e.attr["scope"] == "":
			t.Errorf("%s has the head of neither row nor column", target)
		case (e.name == "input" || e.name == "select" || e.name == "textarea") && e.attr["id"] == "":
			t.Errorf("%s has a field that cannot be found again", target)
		}
	}
	if len(p.all("h1")) != 1 || len(p.all("main")) != 1 || len(p.all("title")) != 1 || len(p.all("nav")) != 1 {
		t.Errorf("%s has %d h1, %d main, %d title, %d nav", target, len(p.all("h1")), len(p.all("main")), len(p.all("title")), len(p.all("nav")))
	}
}

// crawl reads every page that can be reached from the fleet, and asks for
// everything that pages link to, at most n. It returns the pages by path.
func crawl(t testing.TB, s *api.Server, n int) map[string]page {
	t.Helper()
	found, queue, seen := map[string]page{}, []string{"/"}, map[string]bool{"/": true}
	for len(queue) > 0 && n > 0 {
		target := queue[0]
		queue = queue[1:]
		n--
		path, _, _ := strings.Cut(target, "?")
		if strings.HasSuffix(path, "/drift") {
			continue // of a window that may have no events: the API says so by 404
		}
		if strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/assets/") || path == "/metrics" {
			if r := call(t, s.Handler(), http.MethodGet, target, ""); r.StatusCode != 200 {
				t.Errorf("a page links to %s: %d %s", target, r.StatusCode, text(t, r))
			}
			continue
		}
		p := read(t, s, target)
		p.check(t, target)
		found[target] = p
		for _, e := range p.elements {
			link := e.attr["href"] + e.attr["src"] + e.attr["data-source"]
			if strings.HasPrefix(link, "/") && !seen[link] {
				seen[link] = true
				queue = append(queue, link)
			}
		}
	}
	return found
}

// TestPages: everything that a page links to is there, and the pages are made as
// pages should be.
func TestPages(t *testing.T) {
	w := newWorld(t)
	key := drifted(t, w)
	w.change(func(s *api.Snapshot) { s.Alerts[0].DedupKey = key })
	found := crawl(t, newServer(t, w), 400)
	for _, want := range []string{"/", "/models/fraud", "/alerts", "/baselines", "/ledger", "/status", "/alerts/" + key, "/incidents", "/ledger/5"} {
		if _, ok := found[want]; !ok {
			t.Errorf("no page links to %s", want)
		}
	}
	if n := len(found); n < 50 {
		t.Errorf("only %d pages found", n)
	}
}

// drifted records drift that opens, asks for training and ends; its key.
func drifted(t testing.TB, w *world) (key string) {
	t.Helper()
	at := start.Add(3 * time.Hour)
	key = w.chain.NextID(at)
	body := ledger.Alert{
		Type: "alert", Status: "firing", Change: "opened", Rule: alert.RuleDrift, Model: "fraud", Severity: "page", Budget: "oncall", StartsAt: at,
		Window: ledger.Window{Start: at.Add(-time.Hour), End: at}, Reason: "amount is larger", DedupKey: key,
		Findings: []ledger.Finding{{Signal: "amount", Component: "location", Level: "page", Since: at.Add(-time.Hour), Reason: "amount +30", PSI: .35, LogR: 12, Threshold: 9}},
	}
	w.append(t, ledger.Draft{Time: at, Kind: ledger.KindAlert, Model: "fraud", Body: body})
	w.append(t, ledger.Draft{Time: at, Kind: ledger.KindRetrain, Model: "fraud", Body: ledger.Retrain{Type: "retrain", Model: "fraud", AlertIDs: []string{key}, Reason: "it drifts"}})
	body.Status, body.Change, body.Reason, body.Findings = "resolved", "resolved", "quiet for 3 windows", nil
	w.append(t, ledger.Draft{Time: at.Add(time.Hour), Kind: ledger.KindAlert, Model: "fraud", Body: body})
	return key
}

// TestAlertPage: the page tells the story of one alert, with what was found.
// TestProblemsAreShownToPeople: who comes with a browser gets a page, and who comes
// with a program the problem of RFC 9457.
func TestProblemsAreShownToPeople(t *testing.T) {
	s := newServer(t, newWorld(t))
	const browser, hostile = "text/html,application/xhtml+xml,*/*;q=0.8", "/models/%3Cscript%3Ealert(1)%3C%2Fscript%3E"
	for _, c := range []struct {
		target, accept string
		status         int
		page           bool
		says           string
	}{
		{hostile, browser, 404, true, `driftd knows no model "<script>alert(1)</script>"`},
		{"/nothing", browser, 404, true, "there is nothing at this path"},
		{"/incidents?state=opne", browser, 400, true, "state"},
		{hostile, "*/*", 404, false, ""},
		{"/nothing", "", 404, false, ""},
		{"/api/v1/models/nobody", browser, 404, false, ""},
		{"/metrics/x", browser, 404, false, ""},
	} {
		r := call(t, s.Handler(), http.MethodGet, c.target, "", "Accept", c.accept)
		body, media := text(t, r), r.Header.Get("Content-Type")
		if r.StatusCode != c.status || (media == "text/html; charset=utf-8") != c.page || !c.page && media != "application/problem+json" {
			t.Errorf("%s for %q: %d %s", c.target, c.accept, r.StatusCode, media)
		}
		if c.page {
			p := takeApart(t, c.target, body)
			if p.check(t, c.target); !strings.Contains(p.text, c.says) {
				t.Errorf("%s does not say %q: %s", c.target, c.says, p.text)
			}
		}
	}
}

func TestAlertPage(t *testing.T) {
	w := newWorld(t)
	key := drifted(t, w)
	s := newServer(t, w)
	p := read(t, s, "/alerts/"+key)
	if n := len(p.all("li")); n != 3 {
		t.Errorf("%d happenings, want the opening, the training and the end", n)
	}
	last := -1
	for _, want := range []string{"amount +30", "ModelDrift firing (opened)", "retrain", "it drifts", "ModelDrift resolved", "quiet for 3 windows"} {
		at := strings.Index(p.text, want)
		if at < last || at < 0 {
			t.Errorf("%q is at %d, behind %d", want, at, last)
		}
		last = at
	}
	entry := read(t, s, "/ledger/5")
	if !slices.ContainsFunc(entry.all("a"), func(e element) bool { return e.attr["href"] == "/alerts/"+key }) || !strings.Contains(entry.text, "amount +30") {
		t.Errorf("the page that messages link to does not lead to the alert: %s", entry.text)
	}
	if e := get(t, s, "/api/v1/ledger/5", 200); e["seq"] != 5. || e["kind"] != "alert" {
		t.Errorf("the entry as JSON: %v", e)
	}
	for _, target := range []string{"/incidents/none", "/alerts/none", "/ledger/0", "/ledger/99", "/ledger/x", "/api/v1/ledger/99", "/models/none", "/models/none/feature?name=x", "/models/fraud/feature?name=none"} {
		if r := call(t, s.Handler(), http.MethodGet, target, ""); r.StatusCode != 404 {
			t.Errorf("%s: %d, want 404", target, r.StatusCode)
		}
	}
}

// TestLedgerPage: newest first, by kind and model, and older behind a link.
func TestLedgerPage(t *testing.T) {
	w := newWorld(t)
	for i := range 120 {
		w.append(t, ledger.Draft{Time: start.Add(5 * time.Hour), Kind: ledger.KindConfig, Body: ledger.ConfigChange{Type: "config", Hash: fmt.Sprint("hash-", i), Actor: "SIGHUP"}})
	}
	s := newServer(t, w)
	var seqs []string
	target := "/ledger?kind=config"
	for pages := 0; target != ""; pages++ {
		if pages > 3 {
			t.Fatal("older pages do not end")
		}
		p := read(t, s, target)
		target = ""
		for _, e := range p.all("a") {
			if e.attr["rel"] == "next" {
				target = e.attr["href"]
			}
			if after, ok := strings.CutPrefix(e.attr["href"], "/ledger/"); ok {
				seqs = append(seqs, after)
			}
		}
	}
	if len(seqs) != 120 || seqs[0] != "124" || seqs[119] != "5" {
		t.Errorf("%d entries from %v", len(seqs), seqs[:min(2, len(seqs))])
	}
	w.append(t, ledger.Draft{Time: start.Add(6 * time.Hour), Kind: ledger.KindConfig, Body: ledger.ConfigChange{Type: "config", Hash: `<&> \u003c`}})
	if p := read(t, s, "/ledger/125"); !strings.Contains(p.text, `"<&> \\u003c"`) {
		t.Errorf("the record of an entry is not as it was written: %s", p.text)
	}
	if p := read(t, s, "/ledger?model=fraud"); strings.Contains(p.text, "hash-") || !strings.Contains(p.text, "imported") {
		t.Error("the entries of one model are not those")
	}
	if r := call(t, s.Handler(), http.MethodGet, "/ledger?kind=x", ""); r.StatusCode != 400 {
		t.Errorf("a kind that there is not: %d", r.StatusCode)
	}
}

// names returns the models of a fleet page, in its order.
func names(p page) (out []string) {
	for _, e := range p.all("a") {
		if name, ok := strings.CutPrefix(e.attr["href"], "/models/"); ok {
			out = append(out, name)
		}
	}
	return out
}

// TestFleetPage: the order is that of need, and a link's filter is what is shown.
func TestFleetPage(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *api.Snapshot) {
		s.Models = nil
		for i, status := range []string{"ok", "learning", "drifting", "alerting", "ok"} {
			s.Models = append(s.Models, api.Model{ModelState: drift.ModelState{Model: fmt.Sprint("m", i)}, Status: status, Owner: []string{"risk", "growth"}[i%2]})
		}
	})
	s := newServer(t, w)
	for target, want := range map[string]string{
		"/": "m3 m2 m1 m0 m4", "/?state=ok": "m0 m4", "/?owner=growth": "m3 m1", "/?q=M2": "m2", "/?q=grow&state=alerting&owner=": "m3", "/?q=nothing": "", "/?page=2": "",
	} {
		if got := strings.Join(names(read(t, s, target)), " "); got != want {
			t.Errorf("%s shows %q, want %q", target, got, want)
		}
	}
	w.change(func(s *api.Snapshot) {
		s.Models = nil
		for i := range 120 {
			s.Models = append(s.Models, api.Model{ModelState: drift.ModelState{Model: fmt.Sprintf("model-%03d", i)}, Status: "ok"})
		}
	})
	var all []string
	for _, target := range []string{"/", "/?page=2", "/?page=3"} {
		all = append(all, names(read(t, s, target))...)
	}
	if len(all) != 120 || !slices.IsSorted(all) {
		t.Errorf("three pages show %d models", len(all))
	}
	// Drift is measured in the test's own world: amount and country of fraud moved.
	p := read(t, newServer(t, newWorld(t)), "/")
	if !strings.Contains(p.text, "▲ alerting") || !strings.Contains(p.text, "2/7") || !strings.Contains(p.text, "1 of 2 oncall") {
		t.Errorf("fraud's row: %s", p.text)
	}
	spark := slices.IndexFunc(p.elements, func(e element) bool { return e.attr["class"] == "spark" })
	if spark < 0 || !strings.HasPrefix(p.elements[spark].attr["aria-label"], "events in 24 windows of 15m: ") {
		t.Errorf("the traffic of a model of four hours: %v", p.elements[max(0, spark)].attr)
	}
}

// TestHeatmap: a cell is the number of the same window's report.
func TestHeatmap(t *testing.T) {
	s := newServer(t, newWorld(t))
	for stat, field := range map[string]func(map[string]any) any{
		"psi": func(f map[string]any) any { return f["psi_debiased"] }, "missing": func(f map[string]any) any { return f["missing_current"] },
		"ks": func(f map[string]any) any { return f["ks"].(map[string]any)["lo"] },
	} {
		r := call(t, s.Handler(), http.MethodGet, "/api/v1/models/fraud/heatmap?windows=4&stat="+stat, "")
		body := []byte(text(t, r))
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
		n := binary.BigEndian.Uint32(body)
		var head struct {
			Stat, Size string
			Starts     []time.Time
			Events     []uint64
			Signals    []string
		}
		if err := json.Unmarshal(body[4:4+n], &head); err != nil {
			t.Fatal(err)
		}
		cells := body[4+n:]
		if head.Stat != stat || head.Size != "1h" || len(head.Starts) != 4 || len(cells) != 4*len(head.Signals) || !head.Starts[3].Equal(start.Add(3*time.Hour)) {
			t.Fatalf("%+v and %d cells", head, len(cells))
		}
		compared := 0
		for column, at := range head.Starts {
			report := get(t, s, "/api/v1/models/fraud/drift?at="+at.Format(time.RFC3339), 200)
			if report["rows_current"] != float64(head.Events[column]) {
				t.Errorf("window %s has %d events, want %v", at, head.Events[column], report["rows_current"])
			}
			for _, f := range report["features"].([]any) {
				feature := f.(map[string]any)
				cell := cells[4*slices.Index(head.Signals, feature["name"].(string))+column]
				x, defined := field(feature).(float64)
				if defined != (cell != 0) {
					t.Errorf("%s of %s at %s: cell %d, want %v", stat, feature["name"], at, cell, x)
				} else if defined {
					compared++
					if got := float64(cell-1) / 254; math.Abs(got-min(1, max(0, x))) > .5/254+1e-12 {
						t.Errorf("%s of %s at %s: %v, want %v", stat, feature["name"], at, got, x)
					}
				}
			}
		}
		if compared < 12 {
			t.Errorf("%s: only %d cells compared", stat, compared)
		}
	}
	for query, code := range map[string]int{"stat=x": 400, "windows=0": 400, "windows=337": 400, "window=7s": 400, "at=2020-01-01T00:00:00Z": 200, "version=2&variant=canary": 200} {
		if r := call(t, s.Handler(), http.MethodGet, "/api/v1/models/fraud/heatmap?"+query, ""); r.StatusCode != code {
			t.Errorf("%s: %d, want %d", query, r.StatusCode, code)
		}
	}
}

// TestFeaturePage: the page shows the window that its link names, and charts have
// their numbers beside them.
func TestFeaturePage(t *testing.T) {
	s := newServer(t, newWorld(t))
	p := read(t, s, "/models/fraud/feature?name=amount&at=2026-01-01T02:30:00Z")
	for _, want := range []string{"▲ material", "2026-01-01 02:00 to 2026-01-01 03:00 UTC", "Most of PSI", "Widest gap", "channel=app"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("no %q in %s", want, p.text)
		}
	}
	if n := len(p.all("svg")); n != 2 {
		t.Errorf("%d charts, want the histograms and the distribution functions", n)
	}
	if n := len(p.all("rect")); n != 20 {
		t.Errorf("%d bars, want two for each of the deciles", n)
	}
	quiet := read(t, s, "/models/fraud/feature?name=amount&at=2026-01-01T00:30:00Z")
	if !strings.Contains(quiet.text, "● stable") {
		t.Error("the hour before the drift is not stable")
	}
	p = read(t, s, "/models/fraud/feature?name=country&at=2026-01-01T02:30:00Z&version=1&segment=channel%3Dapp")
	if !strings.Contains(p.text, "US") || !strings.Contains(p.text, "version 1, primary and canary, segment channel=app") {
		t.Errorf("a new category in a segment: %s", p.text)
	}
	if p := read(t, s, "/models/fraud?at=2020-01-01T00:00:00Z"); !strings.Contains(p.text, "No window") {
		t.Error("a model's page of no window does not say so")
	}
	if r := call(t, s.Handler(), http.MethodGet, "/models/fraud/feature", ""); r.StatusCode != 400 {
		t.Errorf("no name: %d", r.StatusCode)
	}
}

// TestManyCategories: of more cells than a chart has, those that give the most of
// PSI are drawn, such as the category that is new.
func TestManyCategories(t *testing.T) {
	w := &world{baselines: map[string]*drift.Baseline{}}
	engine, builder := drift.NewEngine(drift.DefaultSpec()), drift.NewBuilder(drift.BuilderOptions{Model: "shop"})
	shape := &event.Shape{Names: []string{"country"}}
	one := func(i int, category string) *event.Event {
		return &event.Event{
			Kind: event.Prediction, Row: -1, ID: fmt.Sprint("e", i), Model: "shop", Version: "1", Time: start.Add(time.Duration(i) * time.Second).UnixNano(), Features: shape,
			Values: []event.Value{{Kind: event.Category, Str: category}}, Confidence: math.NaN(), LatencyMS: math.NaN(), Cost: math.NaN(),
		}
	}
	for i := range 1000 {
		builder.Add(one(i, fmt.Sprint("c", i%50)))
	}
	base := builder.Build(drift.Approved, drift.Origin{Kind: "import", Rows: 1000})
	if !engine.SetBaseline(base) {
		t.Fatal("the engine does not follow shop")
	}
	for i := range 400 {
		e := one(i, fmt.Sprint("c", i%50))
		if i%2 == 0 {
			e = one(i, "new")
		}
		pos := drift.Position{Seq: uint64(i + 1), Time: e.Time}
		engine.Tick(pos)
		engine.Add(e, pos)
	}
	w.take(t, engine)
	w.snapshot = api.Snapshot{At: wall, Models: []api.Model{{ModelState: engine.Models()[0], Status: "ok", Baseline: base}}}
	p := read(t, newServer(t, w), "/models/shop/feature?name=country")
	if n := len(p.all("rect")); n != 48 || !strings.Contains(p.text, "(unseen)") || !strings.Contains(p.text, "28 further cells") {
		t.Errorf("%d bars: %s", n, p.text)
	}
}
