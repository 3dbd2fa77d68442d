package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"driftd.dev/driftd/pkg/stats"
)

// A Move is how far the share of one category moved.
type Move struct {
	Category string  `json:"category"` // "(other)" stands for the rare ones of the baseline
	From     float64 `json:"from"`     // share of values in the baseline, 0 to 1
	To       float64 `json:"to"`       // since the change began
	New      bool    `json:"new,omitempty"`
	Gone     bool    `json:"gone,omitempty"` // chance alone would have brought some
}

const (
	mostMoves = 3
	// leastMove is the part of the greatest move from which on another is named.
	leastMove = 0.25
	// mostName is how many bytes of a category a reason shows.
	mostName = 40
)

// newcomers returns the values that the baseline never had, as far as their names
// are kept, the most frequent first.
func newcomers(cur *stats.Categorical) (out []Move) {
	if cur.New == nil {
		return nil
	}
	for _, h := range cur.New.Top() {
		if sure := h.Count - h.Over; sure > 0 {
			out = append(out, Move{Category: h.Name, To: float64(sure) / float64(cur.N), New: true})
		}
	}
	return out
}

// moves returns the categories whose share moved, the farthest first.
func moves(ref, cur *stats.Categorical, gone []string) []Move {
	out := newcomers(cur)
	shares := stats.CategoricalShares(ref, cur)
	for _, s := range shares[:max(0, len(shares)-1)] { // the last are the newcomers
		out = append(out, Move{Category: s.Name, From: s.Ref, To: s.Cur, Gone: slices.Contains(gone, s.Name)})
	}
	slices.SortStableFunc(out, func(a, b Move) int { return cmp.Compare(b.size(), a.size()) })
	return out
}

func (m *Move) size() float64 { return math.Abs(m.To - m.From) }

// foremost keeps what is worth naming of moves that descend by size.
func foremost(all []Move) (out []Move) {
	for _, m := range all[:min(mostMoves, len(all))] {
		if size := m.size(); size > 0 && size >= leastMove*all[0].size() {
			out = append(out, m)
		}
	}
	return out
}

// list words moves: " (AA 9.2 % -> 15.9 %, US 6.8 % -> 0 %, gone)", "" for none.
func list(all []Move) string {
	if len(all) == 0 {
		return ""
	}
	words := make([]string, len(all))
	for i, m := range all {
		words[i] = fmt.Sprintf("%s %s -> %s", nameText(m.Category), percent(m.From), percent(m.To))
		switch {
		case m.New:
			words[i] = fmt.Sprintf("%s %s, new", nameText(m.Category), percent(m.To))
		case m.Gone:
			words[i] += ", gone"
		}
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// percent words a share: "15.9 %", "0.03 %".
func percent(share float64) string {
	if share >= 0.0995 {
		return fmt.Sprintf("%.3g %%", 100*share)
	}
	return fmt.Sprintf("%.2g %%", 100*share)
}

// nameText shows a category in a clause: short, and quoted where it could be taken for
// the words around it.
func nameText(name string) string {
	if len(name) > mostName {
		name = strings.ToValidUTF8(name[:mostName], "") + "…"
	}
	odd := func(r rune) bool {
		return !unicode.IsGraphic(r) || unicode.IsSpace(r) || strings.ContainsRune(`,;:"`, r)
	}
	if name == "" || strings.ContainsFunc(name, odd) {
		return strconv.Quote(name)
	}
	return name
}
