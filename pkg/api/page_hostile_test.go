package api_test

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// hostileNames want to be scripts, handlers, ends of attributes, links, templates
// and commands.
var hostileNames = []string{
	`<script>alert(1)</script>`, `"><script>alert(2)</script>`, `'><script>alert(3)</script>`, `</td><script>alert(4)</script>`, `</title><script>alert(5)</script>`,
	`<img src=x onerror=alert(6)>`, `"><img src=x onerror=alert(7)>`, `<svg onload=alert(8)>`, `<svg><script>alert(9)</script></svg>`, `<body onload=alert(10)>`,
	`<iframe src="javascript:alert(11)">`, `javascript:alert(12)`, `<a href="javascript:alert(13)">x</a>`, `" onmouseover="alert(14)`, `' onfocus='alert(15)' autofocus='`,
	`x onclick=alert(16)`, "`onload=alert(17)", `<style>*{background:url(//evil.example)}</style>`, `" style="background:red`, `<link rel=stylesheet href=//evil.example>`,
	`<base href=//evil.example/>`, `<meta http-equiv=refresh content="0;url=//evil.example">`, `<form action=//evil.example>`, `<object data=//evil.example>`, `<embed src=//evil.example>`,
	`{{.Version}}`, `{{template "head" .}}`, `${alert(28)}`, `<!--`, `--><script>alert(30)</script>`,
	`]]><script>alert(31)</script>`, `&lt;script&gt;alert(32)&lt;/script&gt;`, `\u003cscript\u003ealert(33)\u003c/script\u003e`, `%3Cscript%3Ealert(34)%3C/script%3E`, `//evil.example/35`,
	`?name=x&at=36#37`, `a&b=c;d`, `<math><mi href="javascript:alert(38)">`, "\u202egnp.cod", `<details open ontoggle=alert(40)>`,
}

// TestHostileNames: whatever events call their things, pages show it and do
// nothing else.
func TestHostileNames(t *testing.T) {
	if len(hostileNames) != 40 {
		t.Fatalf("%d names", len(hostileNames))
	}
	w := hostileWorld(t)
	s := newServer(t, w)
	found := crawl(t, s, 800)
	shown, kinds := "", map[string]int{}
	for target, p := range found {
		shown += p.text
		kind, _, _ := strings.Cut(target, "?")
		kinds[strings.Join(strings.Split(kind, "/")[:min(2, strings.Count(kind, "/")+1)], "/")]++
	}
	if kinds["/models"] < 90 || kinds["/alerts"] < 1 || kinds["/incidents"] < 40 || kinds["/ledger"] < 10 {
		t.Errorf("pages found: %v", kinds)
	}
	for _, name := range hostileNames {
		if !strings.Contains(shown, name) {
			t.Errorf("no page shows %q as it is", name)
		}
		model := read(t, s, "/models/"+url.PathEscape(name))
		model.check(t, name)
		if !strings.Contains(model.text, name) {
			t.Errorf("the page of model %q does not name it", name)
		}
		story := read(t, s, "/incidents/"+url.PathEscape(name))
		story.check(t, name)
		if strings.Count(story.text, name) < 10 {
			t.Errorf("the page of incident %q names it %d times", name, strings.Count(story.text, name))
		}
		p := read(t, s, "/models/"+url.PathEscape(hostileNames[0])+"/feature?name="+url.QueryEscape(name))
		p.check(t, name)
		if !strings.Contains(p.text, name) {
			t.Errorf("the page of signal %q does not name it", name)
		}
	}
}

// hostileExplanation names everything so, but the signal, which there has to be.
func hostileExplanation(name string) *ledger.Explanation {
	share := []ledger.Share{{Name: name, Variant: name, Weight: math.MaxFloat64, Share: -1}}
	return &ledger.Explanation{
		Since: start, Signal: hostileNames[0], Origin: name, Because: name, First: &ledger.First{Name: name, Since: start}, Versions: share, Segments: share,
		Cells: []ledger.Cell{{Name: name, From: 1, To: math.MaxFloat64}}, Around: []ledger.Occurrence{{At: start, What: name, Seq: 1}},
		Compared: &ledger.Histogram{Names: []string{name}, From: []float64{1}, To: []float64{1}},
	}
}

// hostileWorld has a model of each hostile name; the first has a feature and a
// category of each.
func hostileWorld(t testing.TB) *world {
	t.Helper()
	w := &world{baselines: map[string]*drift.Baseline{}}
	spec := drift.DefaultSpec()
	spec.Sizes = []time.Duration{time.Hour}
	engine := drift.NewEngine(spec)
	account := &drift.Account{First: 1}
	shape := &event.Shape{Names: hostileNames}
	seq := uint64(0)
	add := func(model string, i int, names *event.Shape) {
		seq++
		e := &event.Event{
			Kind: event.Prediction, Row: -1, ID: fmt.Sprint("e", seq), Model: model, Version: model, Time: start.Add(time.Duration(i) * time.Minute).UnixNano(),
			Features: names, Prediction: event.Value{Kind: event.Category, Str: model}, Confidence: math.NaN(), LatencyMS: math.NaN(), Cost: math.NaN(),
		}
		for k := range names.Names {
			e.Values = append(e.Values, event.Value{Kind: event.Category, Str: hostileNames[(i+k)%len(hostileNames)]})
		}
		pos := drift.Position{Seq: seq, Time: e.Time}
		engine.Tick(pos)
		account.Accepted++
		account.Count(e.Model, e.Kind, engine.Add(e, pos))
	}
	one := &event.Shape{Names: hostileNames[:1]}
	for i := range 60 {
		add(hostileNames[0], i, shape)
	}
	for _, model := range hostileNames[1:] {
		add(model, 59, one)
	}
	w.take(t, engine)
	s := &w.snapshot
	*s = api.Snapshot{At: wall, Account: account, NotReady: []string{hostileNames[0]}, Stream: api.Stream{Name: hostileNames[1]}}
	for _, st := range engine.Models() {
		s.Models = append(s.Models, api.Model{ModelState: st, Status: "learning", Owner: st.Model})
		s.Alerts = append(s.Alerts, api.Alert{
			Series: alert.Series{Rule: st.Model, Key: drift.Key{Group: drift.Group{Model: st.Model, Version: st.Model}, Signal: st.Model}},
			State:  alert.State{Phase: alert.Firing, Since: start, FiredAt: start, Peak: alert.Peak{Reason: st.Model}, DedupKey: "key"},
		})
	}
	for _, name := range hostileNames {
		w.append(t, ledger.Draft{Time: start, Kind: ledger.KindAlert, Model: name, Body: ledger.Alert{
			Type: "alert", Status: name, Rule: name, Model: name, ModelVersion: name, Feature: name, Reason: name, Severity: name, DedupKey: "key", Change: name,
			Window:      ledger.Window{Start: start, End: start.Add(time.Hour)},
			Findings:    []ledger.Finding{{Signal: hostileNames[0], Component: name, Reason: name, Level: name}},
			Annotations: map[string]string{"runbook_url": name}, Explanation: hostileExplanation(name),
		}})
		w.append(t, ledger.Draft{Time: start, Kind: ledger.KindBaseline, Model: name, Body: ledger.BaselineChange{Action: name, Actor: name, Baseline: name}})
	}
	w.hearing.Told = []api.Told{{Seq: 1, Receiver: hostileNames[0], Error: hostileNames[1]}}
	w.hearing.Owed = []api.Owed{{Seq: 1, Receiver: hostileNames[2], Error: hostileNames[3], For: hostileNames[4]}}
	w.incidents = map[string]*incident.Incident{}
	for _, name := range hostileNames {
		act := incident.Act{By: name, At: wall}
		i := &incident.Incident{
			ID: name, Group: map[string]string{"model": name, name: name}, Opened: start, Severity: name, Seq: uint64(len(w.entries)), Acknowledged: (*incident.Acknowledgement)(&act),
			Members: []incident.Member{{Key: "key", Model: name, Severity: name, StartsAt: start.Add(time.Hour), Labels: map[string]string{"alertname": name, "feature": hostileNames[0], "owner": name}}},
		}
		i.Diagnosis, i.Remedy, i.Worth = &incident.Diagnosis{Act: act, Cause: name, Text: name}, &incident.Remedy{Act: act, Remedy: name, Result: name, Text: name}, &incident.Worth{Act: act, Worth: name, Text: name}
		w.incidents[name], s.Incidents = i, append(s.Incidents, i)
		w.append(t, ledger.Draft{Time: start, Kind: ledger.KindIncident, Model: name, Body: ledger.IncidentChange{Incident: name, Action: name, Actor: name, Cause: name, Text: name}})
	}
	s.Policy.Causes = hostileNames
	return w
}
