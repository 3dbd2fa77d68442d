package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// because is an alert of fraud's amounts with all that an explanation has.
func because(key string) ledger.Alert {
	at := start.Add(3 * time.Hour)
	return ledger.Alert{
		Type: "alert", Status: "firing", Rule: "AmountDrift", Model: "fraud", Feature: "amount", Severity: "page", StartsAt: at, DedupKey: key, Incident: "01K0",
		Window: ledger.Window{Start: at.Add(-time.Hour), End: at}, Stats: map[string]float64{"psi_p": 3e-12}, Reason: "psi_debiased 0.35 > 0.1",
		Annotations: map[string]string{"runbook_url": "https://wiki.example/amount"},
		Explanation: &ledger.Explanation{
			Since: at.Add(-time.Hour), Signal: "amount", PSI: 0.3412,
			Cells: []ledger.Cell{{Name: "> 90", From: 0.1, To: 0.31, Share: 0.69}, {Name: "<= 10", From: 0.1, To: 0.02, Share: 0.21}},
			Compared: &ledger.Histogram{
				Edges: []float64{20, 40, 60, 80}, From: []float64{.1, .2, .4, .2, .1}, To: []float64{.02, .1, .3, .27, .31},
			},
			Versions: []ledger.Share{{Name: "2", Variant: "canary", Weight: 0.2, Share: 1.12, PSI: 1.9}, {Name: "1", Weight: 0.8, Share: -0.12, PSI: 0.004}},
			Segments: []ledger.Share{{Name: "channel=app", Weight: 0.5, Share: 0.95, PSI: 0.6}, {Name: "channel=web", Weight: 0.5, Share: 0.05, PSI: 0.01}},
			Origin:   ledger.OriginRelease, Because: "version 2 brings 112 % of the move with 20 % of the values, and the change began with its first traffic at 2026-01-01 02:00 UTC",
			First: &ledger.First{Name: "amount", Since: at.Add(-time.Hour)},
			Around: []ledger.Occurrence{
				{At: at.Add(-time.Hour), What: "first traffic of version 2, canary, 20 % since the change"},
				{At: at.Add(-2 * time.Hour), What: "baseline imported", Seq: 1},
			},
		},
	}
}

// explain gives the incident 01K0 of disturb explanations of its alert and of n others.
func (w *world) explain(t testing.TB, n int, edit func(*ledger.Alert)) {
	t.Helper()
	i := w.incidents["01K0"]
	for k := range 1 + n {
		a := because("01K0")
		if k > 0 {
			a.DedupKey, a.Severity, a.Rule = fmt.Sprint("01K0-", k), "ticket", fmt.Sprint("AmountDrift", k)
		}
		edit(&a)
		w.append(t, ledger.Draft{Time: a.StartsAt, Kind: ledger.KindAlert, Model: "fraud", Body: a})
		i.Seq = uint64(len(w.entries))
		if k > 0 {
			i.Members = append(i.Members, incident.Member{
				Key: a.DedupKey, Seq: i.Seq, Model: "fraud", Severity: a.Severity, StartsAt: a.StartsAt, Labels: map[string]string{"alertname": a.Rule, "feature": "amount"},
			})
		}
	}
}

// The pages of an entry, of its alert and of its incident say why it fired, with links
// to what is behind.
func TestPagesSayWhy(t *testing.T) {
	w := newWorld(t)
	w.disturb(t)
	w.explain(t, 2, func(*ledger.Alert) {})
	s := newServer(t, w)
	for _, target := range []string{"/ledger/8", "/alerts/01K0", "/incidents/01K0"} {
		p := read(t, s, target)
		p.check(t, target)
		for _, want := range []string{
			"Why AmountDrift fired", "moved most", "PSI 0.341", "p 3e-12", "this release: version 2 brings 112 %", "amount, since 2026-01-01 02:00:00 UTC", "Where amount moved", "> 90", "69.0 %",
			"2 canary", "-12.0 %", "channel=app", "first traffic of version 2, canary", "baseline imported",
		} {
			if !strings.Contains(p.text, want) {
				t.Errorf("%s does not say %q", target, want)
			}
		}
		for _, want := range []string{
			"https://wiki.example/amount", "/models/fraud/feature?at=2026-01-01T02%3A59%3A59Z&name=amount&window=1h", "/models/fraud?at=2026-01-01T02%3A59%3A59Z&window=1h", "/ledger/1", "/ledger/8",
		} {
			if !slices.ContainsFunc(p.all("a"), func(e element) bool { return e.attr["href"] == want }) {
				t.Errorf("%s has no link to %s", target, want)
			}
		}
		if images := p.all("img"); len(images) != 1 || images[0].attr["src"] != "/api/v1/ledger/8/picture.png" {
			t.Errorf("%s: pictures %v", target, images)
		}
		// Beside the 128 px of the whole: shares above 1 and below 0 stay inside.
		var widths []string
		for _, e := range p.all("rect") {
			widths = append(widths, e.attr["width"])
		}
		if want := "41.3 128.0 41.3 8.3 25.6 128.0 102.4 0.0 64.0 121.6 64.0 6.4"; strings.Join(widths, " ") != want {
			t.Errorf("%s: bars %v, want %s", target, widths, want)
		}
	}
	p := read(t, s, "/incidents/01K0")
	if n := len(p.all("details")); n != 2 || !strings.Contains(p.text, "AmountDrift2: amount") || !strings.Contains(p.text, "> 90: 10 % -> 31 % (69 % of the PSI); <= 10") {
		t.Errorf("%d others: %s", n, p.text)
	}
	learning := because("01K7")
	learning.Explanation = &ledger.Explanation{Since: start, Around: learning.Explanation.Around}
	w.append(t, ledger.Draft{Time: start, Kind: ledger.KindAlert, Model: "fraud", Body: learning})
	if p := read(t, s, "/alerts/01K7"); strings.Contains(p.text, "moved most") || len(p.all("img")) > 0 || !strings.Contains(p.text, "About then") {
		t.Errorf("of a model that learns: %s", p.text)
	}
	if p := read(t, s, "/ledger/6"); strings.Contains(p.text, "moved most") || len(p.all("img")) > 0 {
		t.Error("an entry without an explanation shows one")
	}
	crawl(t, s, 400)
}

// atLength makes an explanation as long as hostile names can.
func atLength(a *ledger.Alert) {
	name, e := strings.Repeat("<&\"'", 100), a.Explanation
	e.Because, e.First.Name, a.Reason = name, name, name
	e.Cells = slices.Repeat([]ledger.Cell{{Name: name, From: .1, To: .2, Share: .1}}, 20)
	e.Versions = slices.Repeat([]ledger.Share{{Name: name, Variant: name, Weight: .1, Share: .1}}, 20)
	e.Segments, e.Around = e.Versions, slices.Repeat([]ledger.Occurrence{{At: start, What: name, Seq: 1}}, 20)
}

// An explanation is found behind all that people wrote since, and the page of an
// incident stays small with the longest ones.
func TestLongExplanations(t *testing.T) {
	w := newWorld(t)
	w.disturb(t)
	w.explain(t, 19, atLength)
	for range 70 {
		c := incident.Change{Act: incident.Act{By: hostile, At: wall}, Action: incident.ActionNote, Text: strings.Repeat("<&\"'", 1024)}
		if _, err := w.ChangeIncident(t.Context(), "01K0", c); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, w)
	for _, target := range []string{"/incidents/01K0", "/alerts/01K0", "/ledger/8"} {
		p := read(t, s, target) // fails on what is too large
		p.check(t, target)
		if !strings.Contains(p.text, "Why AmountDrift fired") || !strings.Contains(p.text, "Where amount moved") {
			t.Errorf("%s does not say why", target)
		}
	}
	if p := read(t, s, "/incidents/01K0"); !strings.Contains(p.text, "more say why on their own pages") {
		t.Errorf("the page does not say that there is more: %s", p.text)
	}
}

// A link that no browser should follow, or of which a name makes too much, is none.
func TestHostileLinks(t *testing.T) {
	w := newWorld(t)
	for _, a := range []ledger.Alert{because("a"), because("b")} {
		a.Annotations["runbook_url"] = "javascript:alert(1)"
		if a.DedupKey == "b" {
			a.Explanation.Signal = strings.Repeat("<", 1000)
		}
		w.append(t, ledger.Draft{Time: start, Kind: ledger.KindAlert, Model: "fraud", Body: a})
	}
	s := newServer(t, w)
	for target, want := range map[string]int{"/ledger/5": 1, "/ledger/6": 0} {
		p := read(t, s, target)
		p.check(t, target)
		n := 0
		for _, e := range p.all("a") {
			if strings.HasPrefix(e.attr["href"], "/models/fraud/feature?") {
				n++
			}
			if strings.Contains(e.attr["href"], "javascript") {
				t.Errorf("%s links to %s", target, e.attr["href"])
			}
		}
		if n != want {
			t.Errorf("%s has %d links to the signal, want %d", target, n, want)
		}
	}
	if p := read(t, s, "/alerts/"+url.PathEscape("b")); !strings.Contains(p.text, strings.Repeat("<", 50)) {
		t.Error("the alert's page does not name its signal")
	}
}

// The page of a model does not claim what nobody measures, and counts what it would
// need.
func TestQualityIsNotMeasured(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	if p := read(t, s, "/models/fraud"); !strings.Contains(p.text, "Not measured yet") || !strings.Contains(p.text, "none of this model so far") {
		t.Errorf("without outcomes the page of a model says: %s", p.text)
	}
	for range 7 {
		w.snapshot.Account.Count("fraud", event.Outcome, drift.Counted)
	}
	if p := read(t, s, "/models/fraud"); !strings.Contains(p.text, "7 of this model so far") {
		t.Errorf("with outcomes the page of a model says: %s", p.text)
	}
}
