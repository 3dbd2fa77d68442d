package notify

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// A Link is a page that shows what a message is about.
type Link struct{ Text, URL string }

// explain adds to a message what the entry's explanation says: the end of the
// sentence, a table, the pages.
func (m *Message) explain(a *ledger.Alert, external string) {
	m.Sentence = strings.TrimSuffix(m.Sentence, ".") + sureness(a)
	if e := a.Explanation; e != nil {
		m.Sentence += clause(e)
		m.Why = why(e)
	}
	m.Sentence += "."
	m.Links = append(m.Links, links(external, a)...)
}

// sureness says how often chance alone would bring as much: of a rule the least
// p-value among its statistics, for one look; of drift the evidence of the strongest
// finding, which chance reaches at most once in exp(log_r) windows.
func sureness(a *ledger.Alert) string {
	if a.Status == "resolved" {
		return ""
	}
	if len(a.Findings) > 0 {
		f := &a.Findings[0]
		if f.LogR <= 0 || f.LogR < f.Threshold || f.Threshold == 0 {
			return ""
		}
		return fmt.Sprintf("; chance alone brings such evidence at most once in %s windows", roughText(math.Exp(min(f.LogR, 300))))
	}
	p := math.Inf(1)
	for _, name := range []string{"psi_p", "ks_p", "chi2_p"} {
		if v, ok := a.Stats[name]; ok {
			p = min(p, v)
		}
	}
	if math.IsInf(p, 1) {
		return ""
	}
	return "; p " + roughText(p)
}

// roughText writes a number with one digit: "2e+05", "0.003", "40".
func roughText(v float64) string { return fmt.Sprintf("%.1g", v) }

// clause says since when, from where and in which segments, for the end of a
// sentence.
func clause(e *ledger.Explanation) string {
	text := ""
	if !e.Since.IsZero() && e.Origin != ledger.OriginRelease { // which says it itself
		text = "; the change began at " + timeText(e.Since)
	}
	switch e.Origin {
	case ledger.OriginUpstream, ledger.OriginRelease:
		text += "; it comes from " + e.Origin + ": " + e.Because
	case ledger.OriginUndecided:
		text += "; whether from upstream data or a release is undecided: " + e.Because
	}
	if len(e.Segments) > 0 {
		if s := e.Segments[0]; s.Share >= 0.5 && s.Share >= 1.5*s.Weight && s.Name != "(none)" {
			text += fmt.Sprintf("; segment %s brings %s of it", s.Name, shareText(min(1, s.Share)))
		}
	}
	return text
}

// why is the explanation as a table.
func why(e *ledger.Explanation) (out []Field) {
	add := func(name string, lines []string) {
		if len(lines) > 0 {
			out = append(out, Field{name, strings.Join(lines, "; ")})
		}
	}
	if e.Signal != "" {
		add("Moved most", []string{e.Signal})
	}
	add("Where", cellTexts(e.Cells))
	add("Versions", shareTexts(e.Versions))
	add("Segments", shareTexts(e.Segments))
	if f := e.First; f != nil {
		add("Moved first", []string{f.Name + ", " + timeText(f.Since)})
	}
	add("About then", aroundTexts(e.Around))
	return out
}

func cellTexts(all []ledger.Cell) (out []string) {
	for _, c := range all {
		out = append(out, fmt.Sprintf("%s: %s -> %s (%s of the PSI)", c.Name, shareText(c.From), shareText(c.To), shareText(c.Share)))
	}
	return out
}

func aroundTexts(all []ledger.Occurrence) (out []string) {
	for _, o := range all {
		text := timeText(o.At) + " " + o.What
		if o.Seq > 0 {
			text += fmt.Sprintf(" (ledger %d)", o.Seq)
		}
		out = append(out, text)
	}
	return out
}

func shareTexts(all []ledger.Share) (out []string) {
	for _, s := range all {
		name := orDash(s.Name)
		if s.Variant != "" {
			name += " " + s.Variant
		}
		out = append(out, fmt.Sprintf("%s brings %s with %s of the values", name, shareText(s.Share), shareText(s.Weight)))
	}
	return out
}

// shareText writes a share in percent, with a digit behind the point below 10.
func shareText(share float64) string {
	percent := 100 * share
	if math.Abs(percent) < 9.95 && percent != math.Trunc(percent) {
		return fmt.Sprintf("%.1f %%", percent)
	}
	return fmt.Sprintf("%.0f %%", percent)
}

// longestLink is how long the address of a link may be: names in it come from events.
const longestLink = 2000

// links lead to the pages that show what an alert saw: its signal and its model in
// the window that was judged, and the story so far (docs/pages.md); and to the
// rule's runbook.
func links(external string, a *ledger.Alert) (out []Link) {
	add := func(text, url string) {
		if len(url) <= longestLink {
			out = append(out, Link{text, url})
		}
	}
	if runbook, err := url.Parse(a.Annotations["runbook_url"]); err == nil && (runbook.Scheme == "https" || runbook.Scheme == "http") {
		add("runbook", runbook.String())
	}
	if external == "" || a.Model == "" {
		return out
	}
	base := strings.TrimRight(external, "/")
	query := url.Values{}
	if size := a.Window.End.Sub(a.Window.Start); size > 0 {
		query.Set("window", durationText(size))
		query.Set("at", a.Window.End.Add(-time.Second).UTC().Format(time.RFC3339))
	}
	for name, value := range map[string]string{"version": a.ModelVersion, "variant": a.Variant, "segment": a.Segment} {
		if value != "" {
			query.Set(name, value)
		}
	}
	model := base + "/models/" + url.PathEscape(a.Model)
	if signal := signalOf(a); signal != "" {
		named := maps.Clone(query)
		named.Set("name", signal)
		add("signal", withQuery(model+"/feature", named))
	}
	add("model", withQuery(model, query))
	if a.DedupKey != "" {
		add("incident", base+"/incidents/"+url.PathEscape(a.DedupKey))
	}
	return out
}

// signalOf returns the signal that an alert is about most of all, "" if none.
func signalOf(a *ledger.Alert) string {
	switch {
	case a.Explanation != nil && a.Explanation.Signal != "":
		return a.Explanation.Signal
	case len(a.Findings) > 0:
		return a.Findings[0].Signal
	}
	return a.Feature
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}
