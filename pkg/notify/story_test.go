package notify_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// worded returns a body as it is told.
func worded(t *testing.T, kind ledger.Kind, body any) notify.Message {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	m, err := notify.Describe(ledger.Entry{Seq: 7, Kind: kind, Body: text}, "https://driftd.example")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDescribeDigest(t *testing.T) {
	to := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	d := ledger.Digest{
		Type: "digest", From: to.AddDate(0, 0, -7), To: to, Incidents: 3, Pages: 1, Open: 1, Unheeded: []string{"a"},
		Budgets:   []ledger.DigestBudget{{Budget: "oncall", Pages: 2, Per: "30d", Spent: 1, Precision: ledger.Precision{Yes: 3, No: 1, Precision: new(0.75)}}},
		Rules:     []ledger.Precision{{Rule: "Drift", Unanswered: 2}},
		Proposals: []ledger.Proposal{{Kind: "silent_rule", Subject: "Quiet", Text: "it has not fired in 90 d"}},
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		d.Models = append(d.Models, ledger.DigestModel{Model: name, Incidents: 1, Cause: "seasonality"})
	}
	m := worded(t, ledger.KindDigest, d)
	if m.Title != "driftd digest: 3 incidents, 1 page" || m.Severity != "info" || m.Link != "https://driftd.example/ledger/7" {
		t.Errorf("%+v", m)
	}
	for _, want := range []string{"3 incidents, of which 1 were pages and 1 are still open", "budget oncall: 1 of 2 pages spent in 30d, precision 0.75 of 4 answers", "1 page ended without anybody acknowledging"} {
		if !strings.Contains(m.Sentence, want) {
			t.Errorf("%q does not say %q", m.Sentence, want)
		}
	}
	if n := len(m.About); n != 5+1 || m.About[0] != (notify.Field{Name: "a", Value: "1 incident, 0 pages, mostly seasonality"}) || m.About[5].Name != "Proposal: Quiet" {
		t.Errorf("%+v", m.About)
	}
	if len(m.Values) != 1 || m.Values[0].Value != "unknown: nobody answered" {
		t.Errorf("%+v", m.Values)
	}
}

func TestDescribeWhatPeopleDid(t *testing.T) {
	m := worded(t, ledger.KindIncident, ledger.IncidentChange{Type: "incident", Incident: "01K", Action: "diagnose", Actor: "ada", Cause: "seasonality"})
	if m.Title != "Incident diagnosed by ada" || m.Sentence != "ada has diagnosed incident 01K." || m.Topic != "Incident 01K" {
		t.Errorf("%+v", m)
	}
}
