package stream

import (
	"slices"
	"strings"
)

// covers tells whether every subject that matches b also matches filter a.
func covers(a, b string) bool {
	for {
		at, arest, amore := strings.Cut(a, ".")
		bt, brest, bmore := strings.Cut(b, ".")
		switch {
		case at == ">":
			return true
		case bt == ">":
			return false
		case at != "*" && at != bt:
			return false
		case !amore || !bmore:
			return amore == bmore
		}
		a, b = arest, brest
	}
}

// covered decides whether a reader with these filters sees every message of a
// stream with these subjects: no filters, or each subject of the stream matched
// by one filter. A covered stream is read without filters (a third of the
// server's cost), and every sequence missing from it is a gap. A stream without
// subjects (a mirror, or fed from sources) is covered only by ">".
func covered(filters, subjects []string) bool {
	if len(filters) == 0 || slices.Contains(filters, ">") {
		return true
	}
	for _, s := range subjects {
		if !slices.ContainsFunc(filters, func(f string) bool { return covers(f, s) }) {
			return false
		}
	}
	return len(subjects) > 0
}

// minimalFilters drops filters that another one covers: the server refuses a
// consumer whose filters overlap. The result is sorted.
func minimalFilters(filters []string) []string {
	sorted := slices.Compact(slices.Sorted(slices.Values(filters)))
	var kept []string
	for i, f := range sorted {
		by := func(j int) bool { return j != i && covers(sorted[j], f) }
		redundant := false
		for j := range sorted {
			redundant = redundant || by(j)
		}
		if !redundant {
			kept = append(kept, f)
		}
	}
	return kept
}

// validFilter tells whether s is a subject or a pattern of one.
func validFilter(s string) bool {
	tokens := strings.Split(s, ".")
	for i, t := range tokens {
		switch {
		case t == "" || strings.ContainsAny(t, " \t\r\n\x00"):
			return false
		case t == ">" && i != len(tokens)-1:
			return false
		case t != ">" && t != "*" && strings.ContainsAny(t, "*>"):
			return false
		}
	}
	return true
}
