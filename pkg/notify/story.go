package notify

import (
	"fmt"
	"strconv"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
)

// acts word what somebody did about an incident.
var acts = map[string]string{
	"acknowledge": "acknowledged", "note": "commented", "diagnose": "diagnosed", "remedy": "worked on", "worth": "rated", "close": "closed",
	"address": "addressed",
}

func describeStory(c ledger.IncidentChange, m *Message) {
	m.Title = fmt.Sprintf("Incident %s by %s", acts[c.Action], orDash(c.Actor))
	m.Topic = "Incident " + c.Incident
	m.Sentence = fmt.Sprintf("%s has %s incident %s.", orDash(c.Actor), acts[c.Action], c.Incident)
	m.About = fields("Incident", c.Incident, "Cause", c.Cause, "Remedy", c.Remedy, "Result", c.Result, "Worth waking for", c.Worth, "Text", c.Text)
}

// digestLines are how many models, rules and proposals a message lists; the ledger
// has them all.
const digestLines = 5

func describeDigest(d ledger.Digest, m *Message) {
	m.Window = ledger.Window{Start: d.From, End: d.To}
	m.Title = fmt.Sprintf("driftd digest: %s, %s", count(d.Incidents, "incident"), count(d.Pages, "page"))
	words := []string{fmt.Sprintf("From %s there were %s, of which %d were pages and %d are still open", spanText(d.From, d.To), count(d.Incidents, "incident"), d.Pages, d.Open)}
	for _, b := range d.Budgets {
		words = append(words, fmt.Sprintf("budget %s: %d of %s pages spent in %s, precision %s", b.Budget, b.Spent, numberText(b.Pages), b.Per, precisionText(b.Precision)))
	}
	if n := len(d.Unheeded); n > 0 {
		words = append(words, count(n, "page")+" ended without anybody acknowledging")
	}
	m.Sentence = strings.Join(words, "; ") + "."
	for _, p := range d.Models[:min(len(d.Models), digestLines)] {
		text := fmt.Sprintf("%s, %s", count(p.Incidents, "incident"), count(p.Pages, "page"))
		if p.Cause != "" {
			text += ", mostly " + p.Cause
		}
		m.About = append(m.About, Field{p.Model, text})
	}
	for _, p := range d.Proposals[:min(len(d.Proposals), digestLines)] {
		m.About = append(m.About, Field{"Proposal: " + p.Subject, p.Text})
	}
	for _, p := range d.Rules[:min(len(d.Rules), digestLines)] {
		m.Values = append(m.Values, Field{"precision of " + p.Rule, precisionText(p)})
	}
}

// precisionText is "0.75 of 8 answers", or says that nobody answered.
func precisionText(p ledger.Precision) string {
	if p.Precision == nil {
		return "unknown: nobody answered"
	}
	return numberText(*p.Precision) + " of " + count(p.Yes+p.No, "answer")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}
