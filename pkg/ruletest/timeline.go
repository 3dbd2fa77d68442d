package ruletest

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
)

// How much of a series a failed check shows.
const (
	shownSeries = 3
	shownBefore = 4 // windows before the one that was looked at
	shownAfter  = 1
)

// timeline tells how series stood around a time, window by window.
func (s *story) timeline(series []alert.Series, at time.Duration) (lines []string) {
	for i, one := range series {
		r := s.rule(one)
		if i == shownSeries {
			return append(lines, fmt.Sprintf("and %d more series", len(series)-i))
		}
		if i == 0 || r != s.rule(series[i-1]) {
			lines = append(lines, describe(r.Spec()))
		}
		rows := [][]string{append([]string{"", "at", "phase", "flag", "n"}, without(r.Variables(), "n")...)}
		for _, m := range s.traces[one] {
			size := r.Spec().Window
			if m.at > at-(shownBefore+1)*size && m.at <= at+shownAfter*size {
				rows = append(rows, m.row(r, m.at <= at && m.at > at-size))
			}
		}
		lines = append(lines, one.String())
		lines = append(lines, align(rows)...)
	}
	if len(series) == 0 {
		lines = append(lines, "no window had anything that such an alert could be about")
	}
	return lines
}

// row is a window of a series; here marks the one that was looked at.
func (m *moment) row(r *alert.Rule, here bool) []string {
	mark := ""
	if here {
		mark = ">"
	}
	flag, n := cmp.Or(string(m.state.Flag), "-"), strconv.FormatUint(m.n, 10)
	if m.window == drift.Incomplete {
		flag = "incomplete window"
	}
	if m.absent {
		n = "-"
	}
	out := []string{mark, ledger.DurationText(m.at), m.state.Phase.String(), flag, n}
	for _, name := range without(r.Variables(), "n") {
		text := "-"
		if x, ok := m.vars.Get(name); ok {
			text = strconv.FormatFloat(x, 'g', 4, 64)
		}
		out = append(out, text)
	}
	return out
}

func without(names []string, name string) (out []string) {
	for _, n := range names {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}

// describe is a rule on one line.
func describe(spec alert.Spec) string {
	out := spec.Expr
	if spec.Clear != "" {
		out += "; clear " + spec.Clear
	}
	for _, h := range []struct {
		name string
		hold alert.Hold
	}{{"for", spec.For}, {"keep_firing_for", spec.KeepFiringFor}} {
		switch {
		case h.hold.Duration > 0:
			out += fmt.Sprintf("; %s %s", h.name, ledger.DurationText(h.hold.Duration))
		case h.hold.Of > 0:
			out += fmt.Sprintf("; %s %d of %d", h.name, h.hold.Windows, h.hold.Of)
		case h.hold.Windows > 0:
			out += fmt.Sprintf("; %s %d", h.name, h.hold.Windows)
		}
	}
	return out
}

// align pads cells to columns.
func align(rows [][]string) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	lines := make([]string, len(rows))
	for k, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&b, "%-*s  ", widths[i], cell)
		}
		lines[k] = strings.TrimRight(b.String(), " ")
	}
	return lines
}
