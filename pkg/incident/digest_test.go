package incident_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

const week = 7 * 24 * time.Hour

// happened is an incident that has ended, so many days before the end of a digest.
func happened(id string, days int, rule, model, severity string, edit ...func(*incident.Incident)) *incident.Incident {
	at := start.Add(-time.Duration(days) * 24 * time.Hour)
	i := &incident.Incident{
		ID: id, Opened: at, Resolved: at.Add(time.Hour), Severity: severity,
		Members: []incident.Member{{Key: id, Model: model, Labels: map[string]string{"alertname": rule, "model": model}}},
	}
	for _, f := range edit {
		f(i)
	}
	return i
}

func worth(w string) func(*incident.Incident) {
	return func(i *incident.Incident) { i.Worth = &incident.Worth{Worth: w} }
}

func cause(c string) func(*incident.Incident) {
	return func(i *incident.Incident) { i.Diagnosis = &incident.Diagnosis{Cause: c} }
}

func heeded(i *incident.Incident) { i.Acknowledged = &incident.Acknowledgement{By: "ada"} }

// input is a digest of the week before start.
func input() incident.DigestInput {
	return incident.DigestInput{From: start.Add(-week), To: start, Watched: start.Add(-100 * 24 * time.Hour)}
}

func TestDigestCounts(t *testing.T) {
	in := input()
	in.Budgets = []incident.BudgetUse{{Name: "oncall", Pages: 2, Per: "30d", Spent: 2, Drawn: []time.Time{start.Add(-20 * 24 * time.Hour), start.Add(-24 * time.Hour)}}}
	in.Budget = map[string]string{"fraud": "oncall"}
	got := incident.NewDigest([]*incident.Incident{
		happened("c", 1, "Drift", "fraud", alert.SeverityPage, worth("yes"), cause("upstream_data"), heeded),
		happened("b", 2, "Drift", "fraud", alert.SeverityTicket, worth("no"), cause("upstream_data")),
		happened("a", 3, "Slow", "churn", alert.SeverityTicket, func(i *incident.Incident) { i.Resolved = time.Time{} }),
		happened("d", 0, "Drift", "fraud", alert.SeverityPage), // at the end: not in it
		happened("e", 20, "Drift", "fraud", alert.SeverityPage, worth("unsure")),
		happened("f", 91, "Drift", "fraud", alert.SeverityPage, worth("no")), // too old to count
		happened("g", 1, "Try", "fraud", alert.SeverityPage, func(i *incident.Incident) { i.Shadow = true }),
	}, in)
	want := &ledger.Digest{
		Type: "digest", From: start.Add(-week), To: start, RatedFrom: start.Add(-90 * 24 * time.Hour), Incidents: 3, Pages: 1, Open: 1, Unheeded: []string{},
		Models: []ledger.DigestModel{{Model: "fraud", Incidents: 2, Pages: 1, Cause: "upstream_data"}, {Model: "churn", Incidents: 1}},
		Causes: []ledger.DigestCause{{Cause: "upstream_data", Incidents: 2}, {Incidents: 1}},
		Budgets: []ledger.DigestBudget{{
			Budget: "oncall", Pages: 2, Per: "30d", Spent: 2, Drawn: 1, Precision: ledger.Precision{Yes: 1, Unsure: 1, Precision: new(1.0)},
		}},
		Rules:     []ledger.Precision{{Rule: "Drift", Yes: 1, No: 1, Unsure: 1, Precision: new(0.5)}, {Rule: "Slow", Unanswered: 1}},
		Proposals: []ledger.Proposal{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// proposals are what a digest proposes, as "kind subject: text".
func proposals(d *ledger.Digest) string {
	var out []string
	for _, p := range d.Proposals {
		out = append(out, p.Kind+" "+p.Subject+": "+p.Text)
	}
	return strings.Join(out, "\n")
}

func TestDigestProposes(t *testing.T) {
	several := func(n int, edit ...func(*incident.Incident)) (out []*incident.Incident) {
		for k := range n {
			out = append(out, happened(fmt.Sprint(edit, k), 10+k, "Drift", "fraud", alert.SeverityTicket, edit...))
		}
		return out
	}
	for name, c := range map[string]struct {
		all  []*incident.Incident
		edit func(*incident.DigestInput)
		want []string // parts of the proposals, each one of them; none: none
	}{
		"nothing":            {},
		"four answers":       {all: several(4, worth("no"))},
		"half of them right": {all: append(several(3, worth("yes")), several(3, worth("no"))...)},
		"an imprecise rule":  {all: append(several(2, worth("yes")), several(3, worth("no"))...), want: []string{"imprecise_rule Drift: 2 of 5 answered incidents were worth waking for in 90 d (0 unsure, 0 unanswered): raise its threshold"}},
		"driftd's own rule": {
			all: func() (out []*incident.Incident) {
				for k := range 5 {
					out = append(out, happened(fmt.Sprint(k), 9, alert.RuleDrift, "fraud", alert.SeverityTicket, worth("no")))
				}
				return out
			}(), want: []string{"imprecise_rule " + alert.RuleDrift + ": 0 of 5"},
		},
		"a silent rule":        {edit: func(in *incident.DigestInput) { in.Rules = []string{"Quiet"} }, want: []string{"silent_rule Quiet: it has not fired in 90 d"}},
		"a rule that is young": {edit: func(in *incident.DigestInput) { in.Rules, in.Watched = []string{"Quiet"}, start.Add(-week) }},
		"a rule that can fire": {
			all:  []*incident.Incident{happened("a", 50, "Quiet", "fraud", alert.SeverityPage, func(i *incident.Incident) { i.Shadow = true })},
			edit: func(in *incident.DigestInput) { in.Rules = []string{"Quiet"} },
		},
		"nobody came": {
			all:  []*incident.Incident{happened("a", 1, "Drift", "fraud", alert.SeverityPage), happened("b", 2, "Drift", "fraud", alert.SeverityPage, heeded)},
			want: []string{"unheeded fraud: 1 of 2 pages ended without anybody"},
		},
		"a frequent cause":     {all: append(several(3, cause("schema_change")), several(2, cause("unknown"))...), want: []string{"frequent_cause schema_change: the cause of 3 of 5 diagnosed incidents in 90 d: let schema changes be announced"}},
		"a cause of their own": {all: several(3, cause("moon")), want: []string{"frequent_cause moon: the cause of 3 of 3 diagnosed incidents in 90 d"}},
		"two of a cause":       {all: several(2, cause("schema_change"))},
	} {
		t.Run(name, func(t *testing.T) {
			in := input()
			if c.edit != nil {
				c.edit(&in)
			}
			d := incident.NewDigest(c.all, in)
			got := proposals(d)
			if len(d.Proposals) != len(c.want) {
				t.Fatalf("proposals %q, want %d", got, len(c.want))
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("proposals %q, want %q", got, want)
				}
			}
		})
	}
}

func TestDigestIsBounded(t *testing.T) {
	var all []*incident.Incident
	for k := range 500 {
		all = append(all, happened(fmt.Sprint(k), 1, fmt.Sprint("rule", k), fmt.Sprint("model", k), alert.SeverityPage))
	}
	d := incident.NewDigest(all, input())
	if len(d.Models) != 50 || len(d.Rules) != 200 || len(d.Unheeded) != 20 || len(d.Proposals) != 50 || d.Incidents != 500 {
		t.Errorf("%d models, %d rules, %d unheeded, %d proposals", len(d.Models), len(d.Rules), len(d.Unheeded), len(d.Proposals))
	}
}
