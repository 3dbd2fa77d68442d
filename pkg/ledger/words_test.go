package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/ledger"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestLines(t *testing.T) {
	e := &ledger.Explanation{
		Signal: "amount", Cells: []ledger.Cell{{Name: "> 90", From: .1, To: .314, Share: .0691}, {Name: "<= 10", From: .1, To: .02, Share: .21}},
		Versions: []ledger.Share{{Name: "42", Variant: "canary", Weight: .2, Share: 1.05}, {Weight: .8, Share: -.05}},
		First:    &ledger.First{Name: "age", Since: noon}, Around: []ledger.Occurrence{{At: noon, What: "a release"}, {At: noon, What: "a baseline", Seq: 7}},
	}
	want := []ledger.Line{
		{Name: "Moved most", Texts: []string{"amount"}},
		{Name: "Where", Texts: []string{"> 90: 10 % -> 31 % (6.9 % of the PSI)", "<= 10: 10 % -> 2 % (21 % of the PSI)"}},
		{Name: "Versions", Texts: []string{"42 canary brings 105 % with 20 % of the values", "- brings -5 % with 80 % of the values"}},
		{Name: "Moved first", Texts: []string{"age, 2026-01-01 12:00 UTC"}},
		{Name: "About then", Texts: []string{"2026-01-01 12:00 UTC a release", "2026-01-01 12:00 UTC a baseline (ledger 7)"}},
	}
	if diff := cmp.Diff(want, e.Lines()); diff != "" {
		t.Error(diff)
	}
	var none *ledger.Explanation
	if lines := none.Lines(); lines != nil || none.Pictured() {
		t.Errorf("nothing has the lines %v", lines)
	}
}

func TestClauses(t *testing.T) {
	segments := func(share, weight float64) []ledger.Share {
		return []ledger.Share{{Name: "a=b", Share: share, Weight: weight}}
	}
	for name, c := range map[string]struct {
		a    ledger.Alert
		want string
	}{
		"nothing":      {ledger.Alert{}, ""},
		"of a rule":    {ledger.Alert{Stats: map[string]float64{"psi_p": .02, "ks_p": .003, "psi": 1}}, "p 0.003"},
		"of its end":   {ledger.Alert{Status: "resolved", Stats: map[string]float64{"psi_p": .02}}, ""},
		"of drift":     {ledger.Alert{Findings: []ledger.Finding{{LogR: 12.3, Threshold: 9}}}, "chance alone brings such evidence at most once in 2e+05 windows"},
		"of no limit":  {ledger.Alert{Findings: []ledger.Finding{{LogR: 12.3}}}, ""},
		"upstream":     {ledger.Alert{Explanation: &ledger.Explanation{Since: noon, Origin: ledger.OriginUpstream, Because: "b"}}, "the change began at 2026-01-01 12:00 UTC; it comes from upstream data: b"},
		"a release":    {ledger.Alert{Explanation: &ledger.Explanation{Since: noon, Origin: ledger.OriginRelease, Because: "b"}}, "it comes from this release: b"},
		"undecided":    {ledger.Alert{Explanation: &ledger.Explanation{Origin: ledger.OriginUndecided, Because: "b"}}, "whether from upstream data or a release is undecided: b"},
		"a segment":    {ledger.Alert{Explanation: &ledger.Explanation{Segments: segments(1.2, .5)}}, "segment a=b brings 100 % of it"},
		"a great part": {ledger.Alert{Explanation: &ledger.Explanation{Segments: segments(.9, .8)}}, ""},
	} {
		if got := strings.Join(c.a.Clauses(), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	a := ledger.Alert{
		Model: "a/b", ModelVersion: "4 2", Segment: "x=y", Feature: "f", Window: ledger.Window{Start: noon, End: noon.Add(time.Hour)},
		Annotations: map[string]string{"runbook_url": "http://wiki/x"},
	}
	want := []ledger.Link{
		{Text: "runbook", URL: "http://wiki/x"},
		{Text: "signal", URL: "/models/a%2Fb/feature?at=2026-01-01T12%3A59%3A59Z&name=f&segment=x%3Dy&version=4+2&window=1h"},
		{Text: "model", URL: "/models/a%2Fb?at=2026-01-01T12%3A59%3A59Z&segment=x%3Dy&version=4+2&window=1h"},
	}
	if diff := cmp.Diff(want, a.Links()); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range []string{"javascript:alert(1)", "wiki", "//evil", "ht!tp://x", ""} {
		a.Annotations["runbook_url"] = wrong
		if links := a.Links(); links[0].Text != "signal" {
			t.Errorf("%q is the runbook %v", wrong, links[0])
		}
	}
	if links := (&ledger.Alert{Model: "m"}).Links(); len(links) != 1 || links[0].URL != "/models/m" {
		t.Errorf("of a model alone: %v", links)
	}
	if links := (&ledger.Alert{}).Links(); links != nil {
		t.Errorf("of nothing: %v", links)
	}
}

// What moved most is said by the explanation, else by the first finding, else by the rule.
func TestMoved(t *testing.T) {
	a := ledger.Alert{Feature: "c"}
	if got := a.Moved(); got != "c" {
		t.Errorf("%q of a rule", got)
	}
	a.Findings = []ledger.Finding{{Signal: "b"}}
	if got := a.Moved(); got != "b" {
		t.Errorf("%q of drift", got)
	}
	a.Explanation = &ledger.Explanation{Signal: "a"}
	if got := a.Moved(); got != "a" {
		t.Errorf("%q of an explanation", got)
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 5 * time.Minute: "5m", time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "2s", 0: "0s"} {
		if got := ledger.DurationText(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
