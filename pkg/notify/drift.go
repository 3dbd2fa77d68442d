package notify

import (
	"fmt"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
)

// mostFindings is how many findings a message lists; the entry has them all.
const mostFindings = 8

// describeDrift words drift that was found within a budget: one message for all
// that moved in a model, the strongest evidence first.
func describeDrift(a ledger.Alert, m *Message) {
	span := "in the window " + spanText(a.Window.Start, a.Window.End)
	moved := signals(a.Findings)
	m.Topic = "drift of " + a.Model
	switch a.Change {
	case "resolved":
		m.Title = "Resolved: drift of " + a.Model
		m.Sentence = fmt.Sprintf("Model %s is back to normal", a.Model)
		if a.EndsAt != nil {
			m.Sentence += fmt.Sprintf(" since %s, after %s", ledger.TimeText(*a.EndsAt), ledger.DurationText(a.EndsAt.Sub(a.StartsAt)))
		}
		m.Sentence += fmt.Sprintf(": %s %s.", orDash(a.Reason), span)
	case "superseded":
		m.Title = "Superseded: drift of " + a.Model
		m.Sentence = fmt.Sprintf("The incident of model %s that was open since %s ends, and the drift goes on: %s %s.", a.Model, ledger.TimeText(a.StartsAt), orDash(a.Reason), span)
	case "noted":
		m.Title = fmt.Sprintf("Noted: %s of %s", enumerate(moved), a.Model)
		m.Sentence = fmt.Sprintf("A change of model %s is too small to matter: %s %s.", a.Model, orDash(a.Reason), span)
	default:
		m.Title = fmt.Sprintf("%s: %s of %s drifted", capital(a.Severity), enumerate(moved), a.Model)
		if a.Change == "extended" {
			m.Title = fmt.Sprintf("%s: more of %s drifted: %s", capital(a.Severity), a.Model, enumerate(moved))
		}
		m.Sentence = fmt.Sprintf("Model %s drifted: %s; seen %s, open since %s.", a.Model, orDash(a.Reason), span, ledger.TimeText(a.StartsAt))
	}
	if a.Detectable > 0 && a.Status != "resolved" {
		m.Sentence += fmt.Sprintf(" This window could not have seen less than a shift of %s standard deviations.", numberText(a.Detectable))
	}
	m.About = fields("Model", a.Model, "Budget", a.Budget, "Severity", a.Severity, "Baseline", a.Evidence.Baseline,
		"Runbook", a.Annotations["runbook_url"], "Owner", a.Labels["owner"])
	for i, f := range a.Findings {
		if i == mostFindings {
			m.Values = append(m.Values, Field{"more", fmt.Sprintf("%d", len(a.Findings)-i)})
			break
		}
		m.Values = append(m.Values, Field{f.Signal + " " + f.Component, f.Reason + ", since " + ledger.TimeText(f.Since)})
	}
}

// signals lists the signals of findings once each, in their order.
func signals(findings []ledger.Finding) []string {
	var names []string
	seen := map[string]bool{}
	for _, f := range findings {
		if !seen[f.Signal] {
			seen[f.Signal] = true
			names = append(names, f.Signal)
		}
	}
	return names
}

// enumerate is "amount", "amount and country" or "amount, country and 3 more".
func enumerate(names []string) string {
	switch n := len(names); n {
	case 0:
		return "drift"
	case 1, 2:
		return strings.Join(names, " and ")
	case 3:
		return names[0] + ", " + names[1] + " and " + names[2]
	default:
		return fmt.Sprintf("%s, %s and %d more", names[0], names[1], n-2)
	}
}
