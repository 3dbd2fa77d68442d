//go:build real

package api_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	dialog "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// A tab is one of Chromium's, with what went wrong in it.
type tab struct {
	context.Context
	mu     sync.Mutex // guards faults
	faults []string
}

func (b *tab) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// open starts Chromium, which must be there: a test that skips proves nothing.
func open(t testing.TB) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(chromedp.NoSandbox, chromedp.WindowSize(1280, 900)))
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	b := &tab{Context: ctx}
	err := chromedp.Listen(ctx, func(e any) {
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			b.fault("exception: %s", e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.fault("console: %s", e.Type)
		case *log.EventEntryAdded:
			b.fault("log: %s %s", e.Entry.Text, e.Entry.URL)
		case *dialog.EventJavascriptDialogOpening:
			b.fault("dialog: %s", e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	tell(t, b, log.Enable, cdp.Empty{})
	tell(t, b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return b
}

// visit opens a page.
func (b *tab) visit(t testing.TB, link string) {
	t.Helper()
	b.do(t, chromedp.Navigate(link), chromedp.WaitVisible(chromedp.CSS("main")))
}

// tell gives Chromium a command.
func tell[P, R any](t testing.TB, b *tab, command cdp.Command[P, R], p P) {
	t.Helper()
	if _, err := chromedp.Call(b.Context, command, p); err != nil {
		t.Fatal(err)
	}
}

func (b *tab) do(t testing.TB, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.Context, actions...); err != nil {
		t.Fatal(err)
	}
}

// see runs an action that returns something.
func see[T any](t testing.TB, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	out, err := chromedp.Run(b.Context, action)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// clean fails if something went wrong since the last time.
func (b *tab) clean(t *testing.T, where string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		t.Errorf("%s: %s", where, f)
	}
	b.faults = nil
}

// expect waits until an expression is true.
func (b *tab) expect(t testing.TB, expression string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		// While a page is being exchanged there is nothing to ask.
		if ok, err := chromedp.Run(b.Context, chromedp.Evaluate[bool](expression)); err == nil && ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not become true on\n%s", expression, see(t, b, chromedp.Text(chromedp.CSS("body"))))
		}
	}
}

// site serves on loopback until the test ends.
func site(t *testing.T, w *world) string {
	t.Helper()
	addr, end := serve(t, newServer(t, w))
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + addr
}

// shoot writes a picture of the page into the folder that DRIFTD_SCREENSHOTS
// names, if it does.
func (b *tab) shoot(t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv("DRIFTD_SCREENSHOTS")
	if folder == "" {
		return
	}
	picture := see(t, b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBrowserPages: Chromium shows every page, dark and light, wide and narrow,
// without a complaint, a second scroll bar or text that cannot be read.
func TestBrowserPages(t *testing.T) {
	w := newWorld(t)
	key := drifted(t, w)
	w.disturb(t)
	w.explain(t, 2, func(a *ledger.Alert) { a.Annotations = nil })
	w.change(func(s *api.Snapshot) { s.Alerts[0].DedupKey = key })
	at, b := site(t, w), open(t)
	for name, target := range map[string]string{
		"fleet": "/", "model": "/models/fraud?windows=24", "feature": "/models/fraud/feature?name=amount&at=2026-01-01T02:30:00Z",
		"category": "/models/fraud/feature?name=country&at=2026-01-01T02:30:00Z",
		"alerts":   "/alerts", "alert": "/alerts/" + key, "incidents": "/incidents", "incident": "/incidents/01K0", "ended": "/incidents/01K1", "ledger": "/ledger", "entry": "/ledger/5", "explained": "/ledger/11", "story": "/alerts/01K0", "baselines": "/baselines", "status": "/status",
	} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 320} {
				where := fmt.Sprint(name, "-", scheme, "-", width)
				tell(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				b.do(t, chromedp.EmulateViewport(width, 900))
				b.visit(t, at+target)
				if name == "model" {
					b.expect(t, `!document.getElementById("heatmap").hidden`)
				}
				wide := see(t, b, chromedp.Evaluate[string](`document.documentElement.scrollWidth > innerWidth ? document.documentElement.scrollWidth + " px" : ""`))
				faint := see(t, b, chromedp.Evaluate[string](faintText))
				if wide != "" || faint != "" {
					t.Errorf("%s: as wide as %s; contrast below 4.5: %s", where, wide, faint)
				}
				if violations := see(t, b, chromedp.Evaluate[string](axe(t), chromedp.EvalAwaitPromise)); violations != "" {
					t.Errorf("%s: axe finds\n%s", where, violations)
				}
				b.shoot(t, where)
				b.clean(t, where)
			}
		}
	}
}

// axe returns a script that looks for what people with disabilities cannot use: one
// line a violation of axe-core's rules, all of them.
func axe(t *testing.T) string {
	t.Helper()
	library, err := os.ReadFile(filepath.Join("testdata", "axe", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(library) + `
axe.run().then(r => r.violations.map(v => v.id + " (" + v.impact + "): " + v.help + ": " + v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary).slice(0, 3).join("; ")).join("\n"))`
}

// faintText finds text whose contrast with its ground is below 4.5, by the formula
// of WCAG 2.2 (1.4.3).
const faintText = `(() => {
  const parse = c => c.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const svg = e.namespaceURI.endsWith("svg"), style = getComputedStyle(e);
    const [a, b] = [light(parse(svg ? style.fill : style.color)), light(ground(e))];
    if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5) return e.outerHTML.slice(0, 200);
  }
  return "";
})()`

// TestBrowserHeatmap: keys move the cursor, which says where it is, and Enter
// opens that signal at that window.
func TestBrowserHeatmap(t *testing.T) {
	at, b := site(t, newWorld(t)), open(t)
	said := func() string { return see(t, b, chromedp.Text(chromedp.CSS("output"))) }
	b.visit(t, at+"/models/fraud?windows=4")
	b.do(t, chromedp.WaitVisible(chromedp.CSS("canvas")), chromedp.Focus(chromedp.CSS("canvas")))
	first := said()
	if !strings.Contains(first, "2026-01-01 03:00 UTC: psi") || !strings.Contains(first, "360 events") {
		t.Errorf("the cursor begins at %q, want the last window", first)
	}
	b.do(t, chromedp.KeyEvent(kb.ArrowLeft))
	if text := said(); !strings.Contains(text, "2026-01-01 02:00 UTC: psi") {
		t.Errorf("left of %q is %q", first, text)
	}
	b.do(t, chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Home))
	if text := said(); !strings.Contains(text, "2026-01-01 00:00 UTC: psi 0.0") || strings.HasPrefix(text, strings.Split(first, ",")[0]) {
		t.Errorf("the second row begins with %q", text)
	}
	b.shoot(t, "heatmap-cursor")
	b.do(t, chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.Enter))
	b.expect(t, `location.pathname === "/models/fraud/feature" && document.querySelector("h1") !== null`)
	name, _, _ := strings.Cut(first, ",")
	title, from := see(t, b, chromedp.Text(chromedp.CSS("h1"))), see(t, b, chromedp.Evaluate[string](`new URL(location).searchParams.get("at")`))
	if title != name || from != "2026-01-01T02:00:00Z" {
		t.Errorf("Enter opens %q at %q, want %q at 02:00", title, from, name)
	}
	b.clean(t, "heat map")
}

// TestBrowserLive: the fleet follows what is committed without a reload, keeps
// the focus, and says so when driftd is gone.
func TestBrowserLive(t *testing.T) {
	w := newWorld(t)
	at, b := site(t, w), open(t)
	b.visit(t, at+"/?state=alerting")
	b.expect(t, `document.getElementById("live").textContent === "live"`)
	see(t, b, chromedp.Evaluate[bool](`document.querySelector("main a").focus(); window.same = true`))
	w.change(func(s *api.Snapshot) {
		s.Models = append(s.Models, api.Model{ModelState: drift.ModelState{Model: "late"}, Status: "alerting"})
	})
	w.append(t, ledger.Draft{Time: wall, Kind: ledger.KindConfig, Body: ledger.ConfigChange{Type: "config"}})
	b.expect(t, `document.querySelector("main").textContent.includes("late")`)
	b.expect(t, `window.same === true && document.activeElement === document.querySelector("main a")`)
	b.clean(t, "live")
}

// TestBrowserUnfolded: what a reader has unfolded stays so when the page is renewed.
func TestBrowserUnfolded(t *testing.T) {
	w := newWorld(t)
	w.disturb(t)
	w.explain(t, 2, func(*ledger.Alert) {})
	at, b := site(t, w), open(t)
	b.visit(t, at+"/incidents/01K0")
	b.expect(t, `document.getElementById("live").textContent === "live"`)
	b.do(t, chromedp.Click(chromedp.CSS("details:last-of-type summary")))
	b.expect(t, `document.querySelectorAll("details[open]").length === 1`)
	if _, err := w.ChangeIncident(t.Context(), "01K0", incident.Change{Act: incident.Act{By: "ada"}, Action: incident.ActionAcknowledge}); err != nil {
		t.Fatal(err)
	}
	b.expect(t, `document.querySelector("header").textContent.includes("ada looks after it")`)
	b.expect(t, `[...document.querySelectorAll("details")].map(e => e.open).join() === "false,true"`)
	b.clean(t, "unfolded")
}

// TestBrowserHostileNames: names of events that want to be scripts are not run.
func TestBrowserHostileNames(t *testing.T) {
	at, b := site(t, hostileWorld(t)), open(t)
	for _, target := range []string{"/", "/models/%3Cscript%3Ealert%281%29%3C%2Fscript%3E?window=5m", "/alerts", "/ledger", "/alerts/key", "/ledger/12", "/incidents", "/incidents/" + url.PathEscape(hostileNames[0])} {
		b.visit(t, at+target)
		if strings.HasPrefix(target, "/models") {
			b.expect(t, `document.querySelectorAll("#heatmap li").length > 40`)
		}
		b.clean(t, target)
	}
}

// TestBrowserForms: who reads the page of an incident can say what it was, with scripts
// and without; with them the page follows what happens, and keeps what was not sent.
func TestBrowserForms(t *testing.T) {
	for name, scripts := range map[string]bool{"with scripts": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.disturb(t)
			at, b := site(t, w), open(t)
			tell(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
			b.visit(t, at+"/incidents/01K0")
			if scripts {
				b.expect(t, `document.getElementById("live").textContent === "live"`)
				b.do(t, chromedp.SendKeys(chromedp.CSS("#t5"), "half a note"))
				see(t, b, chromedp.Evaluate[bool](`document.activeElement.blur(); window.same = true`))
				if _, err := w.ChangeIncident(t.Context(), "01K0", incident.Change{Act: incident.Act{By: "ada"}, Action: incident.ActionAcknowledge}); err != nil {
					t.Fatal(err)
				}
				b.expect(t, `document.querySelector("#t5").value === "half a note"`)
				see(t, b, chromedp.Evaluate[bool](`document.querySelector("#t5").value = ""; document.dispatchEvent(new Event("focusout", {bubbles: true})); true`))
				b.expect(t, `window.same === true && document.querySelector("header").textContent.includes("ada looks after it")`)
			}
			b.do(t, chromedp.SendKeys(chromedp.CSS("#cause"), "seasonality"), chromedp.SendKeys(chromedp.CSS("#t2"), "it is <b>Christmas</b>"), chromedp.Click(chromedp.CSS(".deeds form:nth-of-type(2) button")))
			w.until(t, func(i *incident.Incident) bool { return i.Diagnosis != nil })
			b.do(t, chromedp.WaitVisible(chromedp.CSS("p.said")))
			if text := see(t, b, chromedp.Text(chromedp.CSS("main"))); !strings.Contains(text, "Cause: seasonality – it is <b>Christmas</b>") {
				t.Errorf("the page is %s", text)
			}
			i, err := w.Incident("01K0")
			if err != nil || i.Diagnosis.Cause != "seasonality" || i.Diagnosis.By != "http:127.0.0.1" {
				t.Errorf("diagnosis %+v, %v", i.Diagnosis, err)
			}
			b.clean(t, name)
		})
	}
}

// until waits for a state of the incident that fires.
func (w *world) until(t *testing.T, holds func(*incident.Incident) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		i, err := w.Incident("01K0")
		if err != nil || time.Now().After(end) {
			t.Fatalf("the incident stays as it is: %+v, %v", i, err)
		}
		if holds(i) {
			return
		}
	}
}

// TestBrowserWithoutScripts: what there is to read can be read.
func TestBrowserWithoutScripts(t *testing.T) {
	at, b := site(t, newWorld(t)), open(t)
	tell(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.visit(t, at+"/models/fraud?windows=4")
	text := see(t, b, chromedp.Text(chromedp.CSS("main")))
	if !strings.Contains(text, "amount") || strings.Contains(text, "Arrow keys") {
		t.Errorf("without scripts the page is %s", text)
	}
	b.clean(t, "without scripts")
}
