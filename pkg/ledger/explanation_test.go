package ledger_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"driftd.dev/driftd/pkg/ledger"
)

func TestHistogramFits(t *testing.T) {
	long := &ledger.Histogram{Names: make([]string, ledger.MostCells+1), From: make([]float64, ledger.MostCells+1), To: make([]float64, ledger.MostCells+1)}
	for name, c := range map[string]struct {
		h    *ledger.Histogram
		want bool
	}{
		"numbers":      {&ledger.Histogram{Edges: []float64{1, 2}, From: []float64{0, 1, 0}, To: []float64{0, 0, 1}}, true},
		"names":        {&ledger.Histogram{Names: []string{"a", "b"}, From: []float64{0, 1}, To: []float64{1, 0}}, true},
		"one cell":     {&ledger.Histogram{From: []float64{1}, To: []float64{1}}, true},
		"nothing":      {&ledger.Histogram{}, false},
		"from short":   {&ledger.Histogram{Edges: []float64{1}, From: []float64{1}, To: []float64{0, 1}}, false},
		"to short":     {&ledger.Histogram{Edges: []float64{1}, From: []float64{0, 1}, To: []float64{1}}, false},
		"not in order": {&ledger.Histogram{Edges: []float64{2, 2}, From: []float64{0, 1, 0}, To: []float64{0, 0, 1}}, false},
		"too long":     {long, false},
	} {
		if got := c.h.Fits(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestLabel(t *testing.T) {
	for text, want := range map[string]string{
		"amount": "amount", strings.Repeat("x", 60): strings.Repeat("x", 60), strings.Repeat("x", 61): strings.Repeat("x", 60) + "…", "x" + strings.Repeat("é", 40): "x" + strings.Repeat("é", 29) + "…",
	} {
		if got := ledger.Label(text); got != want || !utf8.ValidString(got) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
