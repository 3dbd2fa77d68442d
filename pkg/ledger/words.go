package ledger

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"
)

// A Line is one row of a table for people.
type Line struct {
	Name  string
	Texts []string // at least one
}

// A Link is a page that shows what an alert is about.
type Link struct{ Text, URL string } // URL is a path if the page is one of driftd's own

// Lines is e as a table: what moved most, where, who brings it, what moved first and
// what happened about then. What e does not know is left out; nil has no lines.
func (e *Explanation) Lines() (out []Line) {
	if e == nil {
		return nil
	}
	add := func(name string, texts []string) {
		if len(texts) > 0 {
			out = append(out, Line{name, texts})
		}
	}
	if e.Signal != "" {
		add("Moved most", []string{e.Signal})
	}
	add("Where", Texts(e.Cells))
	add("Versions", Texts(e.Versions))
	add("Segments", Texts(e.Segments))
	if e.First != nil {
		add("Moved first", []string{e.First.String()})
	}
	add("About then", Texts(e.Around))
	return out
}

// Clauses say how sure a is, since when, from where and in which segment the change
// came, one clause each, for the end of a sentence. What is not known is left out.
func (a *Alert) Clauses() (out []string) {
	if sure := a.Sureness(); sure != "" {
		out = append(out, sure)
	}
	e := a.Explanation
	if e == nil {
		return out
	}
	if !e.Since.IsZero() && e.Origin != OriginRelease { // which says it itself
		out = append(out, "the change began at "+TimeText(e.Since))
	}
	switch e.Origin {
	case OriginUpstream, OriginRelease:
		out = append(out, "it comes from "+e.Origin+": "+e.Because)
	case OriginUndecided:
		out = append(out, "whether from upstream data or a release is undecided: "+e.Because)
	}
	if len(e.Segments) > 0 {
		if s := e.Segments[0]; s.Share >= 0.5 && s.Share >= 1.5*s.Weight && s.Name != "(none)" {
			out = append(out, fmt.Sprintf("segment %s brings %s of it", s.Name, percent(min(1, s.Share))))
		}
	}
	return out
}

// Texts are the parts of an Explanation in words.
func Texts[T fmt.Stringer](all []T) (out []string) {
	for _, part := range all {
		out = append(out, part.String())
	}
	return out
}

// String is "> 90: 10 % -> 31 % (69 % of the PSI)".
func (c Cell) String() string {
	return fmt.Sprintf("%s: %s -> %s (%s of the PSI)", c.Name, percent(c.From), percent(c.To), percent(c.Share))
}

// String is "42 canary brings 92 % with 20 % of the values".
func (s Share) String() string {
	name := s.Name
	if name == "" {
		name = "-"
	}
	if s.Variant != "" {
		name += " " + s.Variant
	}
	return fmt.Sprintf("%s brings %s with %s of the values", name, percent(s.Share), percent(s.Weight))
}

// String is "amount, 2026-01-01 09:00 UTC".
func (f First) String() string { return f.Name + ", " + TimeText(f.Since) }

// String is "2026-01-01 08:00 UTC configuration loaded (ledger 790)".
func (o Occurrence) String() string {
	text := TimeText(o.At) + " " + o.What
	if o.Seq > 0 {
		text += fmt.Sprintf(" (ledger %d)", o.Seq)
	}
	return text
}

// Pictured reports whether there is something to draw (pkg/picture).
func (e *Explanation) Pictured() bool { return e != nil && e.Compared != nil && e.Compared.Fits() }

// Moved returns the signal that a is about most of all, "" if none.
func (a *Alert) Moved() string {
	switch {
	case a.Explanation != nil && a.Explanation.Signal != "":
		return a.Explanation.Signal
	case len(a.Findings) > 0:
		return a.Findings[0].Signal
	}
	return a.Feature
}

// Sureness says how often chance alone would bring as much: of a rule the least
// p-value among its statistics, for one look; of drift the evidence of the strongest
// finding, which chance reaches at most once in exp(log_r) windows. "" if neither is
// known, and of what has ended.
func (a *Alert) Sureness() string {
	if a.Status == "resolved" {
		return ""
	}
	if len(a.Findings) > 0 {
		f := &a.Findings[0]
		if f.LogR <= 0 || f.LogR < f.Threshold || f.Threshold == 0 {
			return ""
		}
		return fmt.Sprintf("chance alone brings such evidence at most once in %.1g windows", math.Exp(min(f.LogR, 300)))
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
	return fmt.Sprintf("p %.1g", p)
}

// Links lead to the rule's runbook, and to what a saw: its signal and its model in
// the window that was judged (docs/pages.md). A runbook of another scheme than http
// or https is none.
func (a *Alert) Links() (out []Link) {
	if runbook, err := url.Parse(a.Annotations["runbook_url"]); err == nil && (runbook.Scheme == "https" || runbook.Scheme == "http") {
		out = append(out, Link{"runbook", runbook.String()})
	}
	if a.Model == "" {
		return out
	}
	query := url.Values{}
	if size := a.Window.End.Sub(a.Window.Start); size > 0 {
		query.Set("window", DurationText(size))
		query.Set("at", a.Window.End.Add(-time.Second).UTC().Format(time.RFC3339))
	}
	for _, part := range [][2]string{{"version", a.ModelVersion}, {"variant", a.Variant}, {"segment", a.Segment}} {
		if part[1] != "" {
			query.Set(part[0], part[1])
		}
	}
	page := Link{"model", "/models/" + url.PathEscape(a.Model)}
	signal := Link{"signal", page.URL + "/feature"}
	if len(query) > 0 {
		page.URL += "?" + query.Encode()
	}
	if name := a.Moved(); name != "" {
		query.Set("name", name)
		signal.URL += "?" + query.Encode()
		out = append(out, signal)
	}
	return append(out, page)
}

// TimeText tells a time to people, to the minute: "2026-01-01 09:00 UTC".
func TimeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// DurationText is time.Duration.String without zero units: "2h", not "2h0m0s".
func DurationText(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// percent writes a share in percent, with a digit behind the point below 10.
func percent(share float64) string {
	x := 100 * share
	if math.Abs(x) < 9.95 && x != math.Trunc(x) {
		return fmt.Sprintf("%.1f %%", x)
	}
	return fmt.Sprintf("%.0f %%", x)
}
