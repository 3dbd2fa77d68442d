package notify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/wording"
)

const (
	mostRules   = 8 // that a message about several alerts names
	mostMembers = 6 // alerts of a rule that it names
)

// DescribeGroup words an incident: one message for all of its alerts. The first of
// them, the worst that fires, is told as Describe tells it; the others are counted,
// and listed by rule. externalURL is where people reach driftd, "" if they cannot.
func DescribeGroup(g *ledger.Group, externalURL string) (Message, error) {
	if len(g.Alerts) == 0 {
		return Message{}, unsendable(fmt.Errorf("incident %s has no alert to tell of", g.Incident))
	}
	m, err := Describe(g.Alerts[0], externalURL)
	if err != nil {
		return m, err
	}
	alerts := make([]ledger.Alert, len(g.Alerts))
	for i, e := range g.Alerts {
		if alerts[i], err = decode[ledger.Alert](e); err != nil {
			return m, err
		}
		m.Alerts = append(m.Alerts, newAlertLine(&alerts[i]))
	}
	m.Firing, m.Ended = g.Firing, g.Ended
	m.Status, m.Severity = g.Status, g.Severity
	// The subject of all mails of an incident, however it grows, and of no other.
	m.Topic = "incident on " + groupName(g, alerts)
	if !g.Opened.IsZero() {
		m.Topic += ", " + ledger.TimeText(g.Opened)
	}
	if g.Acknowledged != "" {
		m.About = append(m.About, Field{"Acknowledged", "by " + g.Acknowledged})
	}
	all := max(g.Firing+g.Ended, len(alerts))
	if all == 1 {
		return m, nil
	}
	m.Title, m.Sentence = groupTitle(g, alerts), groupSentence(g, alerts, m.Sentence)
	if models := modelsOf(alerts); len(models) > 1 {
		m.About = append(m.About, Field{"Models", enumerate(models)})
	}
	m.Others = groupRules(m.Alerts[1:])
	if more := all - len(alerts); more > 0 {
		m.Others = append(m.Others, Field{"more", fmt.Sprintf("%d", more)})
	}
	return m, nil
}

// groupTitle is "Page: 12 alerts on fraud" while something fires.
func groupTitle(g *ledger.Group, alerts []ledger.Alert) string {
	if !g.Open() {
		return fmt.Sprintf("Resolved: %s on %s", counted(max(g.Ended, 1), "alert"), groupName(g, alerts))
	}
	return fmt.Sprintf("%s: %s on %s", capital(g.Severity), counted(g.Firing, "alert"), groupName(g, alerts))
}

// groupSentence counts, and tells the worst.
func groupSentence(g *ledger.Group, alerts []ledger.Alert, worst string) string {
	where := groupName(g, alerts)
	if !g.Open() {
		return fmt.Sprintf("Nothing fires on %s any more: %s ended. The last: %s", where, counted(g.Ended, "alert"), worst)
	}
	text := fmt.Sprintf("%s on %s", counted(g.Firing, "alert"), where)
	if g.Firing == 1 {
		text += " fires"
	} else {
		text += " fire"
	}
	if g.Ended > 0 {
		text += fmt.Sprintf(", %d ended", g.Ended)
	}
	return text + ". The worst: " + worst
}

// groupName is what an incident is about: its models, or else the labels that it is
// grouped by.
func groupName(g *ledger.Group, alerts []ledger.Alert) string {
	if model := g.Labels["model"]; model != "" && len(g.Labels) == 1 {
		return model
	}
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(g.Labels)) {
		if g.Labels[name] != "" {
			labels = append(labels, name+"="+g.Labels[name])
		}
	}
	if len(labels) > 0 {
		return strings.Join(labels, ", ")
	}
	return cmp.Or(enumerateModels(alerts), "driftd")
}

func enumerateModels(alerts []ledger.Alert) string {
	if models := modelsOf(alerts); len(models) > 0 {
		return enumerate(models)
	}
	return ""
}

// modelsOf lists the models of alerts once each, in their order.
func modelsOf(alerts []ledger.Alert) (out []string) {
	for i := range alerts {
		if name := alerts[i].Model; name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// groupRules lists alerts by rule, in the order in which rules come.
func groupRules(alerts []wording.Alert) (out []Field) {
	members := map[string][]string{}
	var rules []string
	for _, a := range alerts {
		if members[a.Rule] == nil {
			rules = append(rules, a.Rule)
		}
		members[a.Rule] = append(members[a.Rule], memberText(a))
	}
	for i, rule := range rules {
		if i == mostRules {
			return append(out, Field{"more rules", fmt.Sprintf("%d", len(rules)-i)})
		}
		names := members[rule]
		text := strings.Join(names[:min(len(names), mostMembers)], "; ")
		if more := len(names) - mostMembers; more > 0 {
			text += fmt.Sprintf("; %d more", more)
		}
		out = append(out, Field{cmp.Or(rule, "alert"), text})
	}
	return out
}

// memberText is one alert among several: "fraud/amount version 42: psi 0.3 > 0.2".
func memberText(a wording.Alert) string {
	text := cmp.Or(a.Model, "driftd")
	if a.Feature != "" {
		text += "/" + a.Feature
	}
	if a.Version != "" {
		text += " version " + a.Version
	}
	if a.Status == "resolved" {
		return text + ": ended"
	}
	return text + ": " + cut(orDash(a.Reason), 120)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
