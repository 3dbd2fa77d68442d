package notify

import (
	"net/url"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
)

// A Link is a page that shows what a message is about.
type Link struct{ Text, URL string }

// explain adds to a message what the entry's explanation says: the end of the
// sentence, a table, the pages.
func (m *Message) explain(a *ledger.Alert, external string) {
	m.Sentence = strings.Join(append([]string{strings.TrimSuffix(m.Sentence, ".")}, a.Clauses()...), "; ") + "."
	for _, line := range a.Explanation.Lines() {
		m.Why = append(m.Why, Field{line.Name, strings.Join(line.Texts, "; ")})
	}
	m.Links = append(m.Links, links(external, a)...)
}

// longestLink is how long the address of a link may be: names in it come from events.
const longestLink = 2000

// links lead to the pages of an alert, those of driftd as they are seen from outside,
// and to the story so far.
func links(external string, a *ledger.Alert) (out []Link) {
	all := a.Links()
	if a.Model != "" && a.DedupKey != "" {
		all = append(all, ledger.Link{Text: "incident", URL: "/incidents/" + url.PathEscape(a.DedupKey)})
	}
	for _, l := range all {
		if strings.HasPrefix(l.URL, "/") {
			if external == "" {
				continue
			}
			l.URL = strings.TrimRight(external, "/") + l.URL
		}
		if len(l.URL) <= longestLink {
			out = append(out, Link(l))
		}
	}
	return out
}
