package api

import (
	"cmp"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// Bounds of what pages say of why an alert fired, escaped: names come from events.
const (
	labelBytes  = 120     // of a name in a table, which has at most ledger.MostShares
	whyBytes    = 400     // of one clause
	addressSize = 2000    // of a link, which is left out beyond
	othersBytes = 4 << 10 // of all alerts of an incident but the leading one
)

// A whyHead is which alert an explanation is of.
type whyHead struct {
	Seq                  uint64
	Rule, Moved          string // Moved is the signal that moved most, "" if none did
	AlertLink, EntryLink string
}

// newWhyHead is of an alert that has an explanation.
func newWhyHead(seq uint64, a *ledger.Alert) whyHead {
	return whyHead{
		Seq: seq, Rule: shorten(cmp.Or(a.Rule, "the alert"), nameBytes), Moved: shorten(a.Explanation.Signal, nameBytes),
		AlertLink: "/alerts/" + url.PathEscape(a.DedupKey), EntryLink: fmt.Sprintf("/ledger/%d", seq),
	}
}

// A why is an Explanation for people.
type why struct {
	whyHead
	Missing         bool // values of Moved are
	PSI             string
	Since, FirstAt  *time.Time
	Sureness        string
	Origin, Because string
	First           string
	Links           []whyLink
	Cells           []pairRow
	Versions        pairTable
	Segments        pairTable
	Around          []whyEvent
	Picture         string // its path, "" without one
}

type whyLink struct {
	ledger.Link
	Outside bool // no page of driftd
}

// A pairTable is what versions or segments bring.
type pairTable struct {
	Kind string
	Rows []pairRow
}

// A pairRow is two shares beside each other, with their bars.
type pairRow struct {
	Name               string
	Ref, Now           Num // of the values, before and now; of a group: of the values, and of the move
	PSI                Num // of a cell its share of the PSI; of a group that of it by itself
	RefWidth, NowWidth string
}

// A whyEvent is what happened about then.
type whyEvent struct {
	At         *time.Time
	What, Link string // no link without a ledger entry
}

// newWhy shows the explanation of an alert's entry; nil if it has none.
func newWhy(seq uint64, a *ledger.Alert) *why {
	e := a.Explanation
	if e == nil {
		return nil
	}
	out := &why{
		whyHead: newWhyHead(seq, a), Missing: e.Missing, Since: instant(e.Since), Sureness: a.Sureness(), Origin: shorten(e.Origin, labelBytes), Because: shorten(e.Because, whyBytes),
		Versions: pairTable{"version", newPairs(e.Versions)}, Segments: pairTable{"segment", newPairs(e.Segments)},
	}
	if e.PSI > 0 {
		out.PSI = showNumber(Num(e.PSI))
	}
	if e.First != nil {
		out.First, out.FirstAt = shorten(e.First.Name, labelBytes), instant(e.First.Since)
	}
	for _, l := range a.Links() {
		if len(l.URL) <= addressSize {
			out.Links = append(out.Links, whyLink{l, !strings.HasPrefix(l.URL, "/")})
		}
	}
	highest := 0.0
	for _, c := range e.Cells {
		highest = max(highest, c.From, c.To)
	}
	for _, c := range e.Cells[:min(len(e.Cells), ledger.MostShares)] {
		out.Cells = append(out.Cells, pairRow{shorten(c.Name, labelBytes), Num(c.From), Num(c.To), Num(c.Share), pairWidth(c.From, highest), pairWidth(c.To, highest)})
	}
	for _, o := range e.Around[:min(len(e.Around), ledger.MostShares)] {
		event := whyEvent{At: instant(o.At), What: shorten(o.What, whyBytes)}
		if o.Seq > 0 {
			event.Link = fmt.Sprintf("/ledger/%d", o.Seq)
		}
		out.Around = append(out.Around, event)
	}
	if e.Pictured() {
		out.Picture = fmt.Sprintf("/api/v1/ledger/%d/picture.png", seq)
	}
	return out
}

// newPairs shows what versions or segments bring beside what they have of the values.
func newPairs(shares []ledger.Share) (out []pairRow) {
	for _, s := range shares[:min(len(shares), ledger.MostShares)] {
		name := shorten(strings.TrimSpace(s.Name+" "+s.Variant), labelBytes)
		out = append(out, pairRow{name, Num(s.Weight), Num(s.Share), Num(s.PSI), pairWidth(s.Weight, 1), pairWidth(s.Share, 1)})
	}
	return out
}

// pairWidth is the length of a bar. What moves the whole back has none, and what
// brings more than the whole no longer one than that.
func pairWidth(share, whole float64) string {
	const longest = 128
	if !(whole > 0) || !finite(share) {
		return px(0)
	}
	return px(longest * max(0, min(1, share/whole)))
}

// A briefWhy is the explanation of an alert in few words.
type briefWhy struct {
	whyHead
	Sentence string
	Lines    []briefLine
}

type briefLine struct{ Name, Text string }

func newBriefWhy(x *incident.Explained) briefWhy {
	out := briefWhy{whyHead: newWhyHead(x.Seq, &x.Alert), Sentence: shorten(strings.Join(x.Alert.Clauses(), "; "), whyBytes)}
	for _, line := range x.Alert.Explanation.Lines() {
		out.Lines = append(out.Lines, briefLine{line.Name, shorten(strings.Join(line.Texts, "; "), whyBytes)})
	}
	return out
}

// bytes is about how much of a page it takes.
func (b *briefWhy) bytes() int {
	n := len(html.EscapeString(b.Rule+b.Moved+b.Sentence)) + len(b.AlertLink) + len(b.EntryLink)
	for _, line := range b.Lines {
		n += len(html.EscapeString(line.Name + line.Text))
	}
	return n
}

// explain says why the leading alert fired, and those of the others for which there
// is room.
func (s *Server) explain(data *incidentPage, i *incident.Incident, story []happening) error {
	if len(story) == storyRows { // what people wrote since may have taken the room
		older, err := s.newest(func(h *happening) bool { return h.Incident == i.ID && h.Alert != nil && h.Alert.Explanation != nil }, story[0].Seq, memberRows)
		if err != nil {
			return err
		}
		slices.Reverse(older)
		story = slices.Concat(older, story)
	}
	entries := make([]ledger.Entry, len(story))
	for k := range story {
		entries[k] = story[k].Entry
	}
	all := incident.Explain(i.Members, entries)
	if len(all) == 0 {
		return nil
	}
	data.Why = newWhy(all[0].Seq, &all[0].Alert)
	room := othersBytes
	for k := range all[1:] {
		brief := newBriefWhy(&all[1+k])
		if room -= brief.bytes(); room < 0 {
			data.Unsaid = len(all) - 1 - k
			break
		}
		data.Others = append(data.Others, brief)
	}
	return nil
}
