package api

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

const (
	heatWindows = 24  // columns of a heat map, unless it is asked for more
	heatMost    = 336 // columns of the widest: two weeks of hours
	heatChunk   = 12  // windows in memory at a time
	heatLevels  = 254 // steps of a cell
)

// heatType is the media type of a heat map.
const heatType = "application/octet-stream"

// heatStats are what a heat map shows of a signal's window, by name.
var heatStats = map[string]func(*drift.SignalReport) float64{
	"psi":     func(r *drift.SignalReport) float64 { return r.PSIDebiased },
	"ks":      func(r *drift.SignalReport) float64 { return r.KSLo },
	"missing": func(r *drift.SignalReport) float64 { return r.Missing },
}

// heatParams are the parameters of a heat map.
var heatParams = []parameter{
	{"window", "length of the windows; absent: 1h", "duration"},
	{"windows", "how many windows, at most 336; absent: 24", "integer"},
	{"at", "a time in the last one; absent: that of the last event", "time"},
	{"stat", "what is shown; absent: psi, without its bias", "psi|ks|missing"},
	versionParam,
	{"variant", "primary, canary or shadow; absent: all but shadow", "primary|canary|shadow"},
	segmentParam,
}

// A heatmap shows one statistic of every signal over windows in a row.
type heatmap struct {
	Stat    string      `json:"stat"`
	Size    string      `json:"size"`   // length of a window
	Starts  []time.Time `json:"starts"` // of the windows
	Events  []uint64    `json:"events"` // of each window
	Signals []string    `json:"signals"`

	cells [][]byte // by signal and window: 0 is undefined, otherwise 1 + 254 times the value, which is cut to [0, 1]
}

// quantise returns the cell of a value. Special cases are: 0 for NaN, and the ends
// of the range for what is beyond.
func quantise(x float64) byte {
	if math.IsNaN(x) {
		return 0
	}
	return byte(1 + math.Round(heatLevels*min(1, max(0, x))))
}

// cellValue is the value of a cell, NaN if it is undefined.
func cellValue(cell byte) Num {
	if cell == 0 {
		return Num(nan())
	}
	return Num(float64(cell-1) / heatLevels)
}

// heatmap reads the windows of a request, oldest first, few at a time.
func (s *Server) heatmap(r *request, m *Model) (*heatmap, error) {
	q, err := r.groups(m.Model)
	if err != nil {
		return nil, err
	}
	if q.Variants == nil {
		q.Variants = []event.Variant{event.Primary, event.Canary} // what rules on a model see
	}
	q.Total = true
	if q.Size, err = r.size("window"); err != nil {
		return nil, err
	}
	n, err := r.number("windows", heatWindows, 1, heatMost)
	if err != nil {
		return nil, err
	}
	at, err := r.time("at")
	if err != nil {
		return nil, err
	}
	if at.IsZero() {
		at = m.MaxTime
	}
	h := &heatmap{Stat: "psi", Size: formatDuration(q.Size), Events: make([]uint64, n)}
	if r.has("stat") {
		h.Stat = r.text("stat")
	}
	value := heatStats[h.Stat]
	if value == nil {
		return nil, badParameter("stat", h.Stat, "must be psi, ks or missing")
	}
	first := floorTime(at, q.Size).Add(-time.Duration(n-1) * q.Size)
	for i := range n {
		h.Starts = append(h.Starts, first.Add(time.Duration(i)*q.Size))
	}
	return h, s.fillHeatmap(r, h, q, value)
}

func (s *Server) fillHeatmap(r *request, h *heatmap, q Query, value func(*drift.SignalReport) float64) error {
	rows := map[string][]byte{}
	for at := 0; at < len(h.Starts); at += heatChunk {
		if err := r.Context().Err(); err != nil {
			return err
		}
		last := min(at+heatChunk, len(h.Starts)) - 1
		q.From, q.To = h.Starts[at], h.Starts[last].Add(q.Size)
		windows, err := s.Reader.Windows(q)
		if err != nil {
			return err
		}
		for _, w := range windows {
			column := int(w.Start.Sub(h.Starts[0]) / q.Size)
			if column < 0 || column >= len(h.Starts) {
				continue // of the window before, which a query may touch
			}
			h.Events[column] = w.Events
			report := s.Reader.Compare(w)
			for i := range report.Signals {
				name := report.Signals[i].Name
				if rows[name] == nil {
					rows[name] = make([]byte, len(h.Starts))
				}
				rows[name][column] = quantise(value(&report.Signals[i]))
			}
		}
	}
	h.order(rows)
	return nil
}

// order puts the signals with the most in all first.
func (h *heatmap) order(rows map[string][]byte) {
	sums := map[string]int{}
	for name, row := range rows {
		h.Signals = append(h.Signals, name)
		for _, cell := range row {
			sums[name] += max(0, int(cell)-1)
		}
	}
	slices.SortFunc(h.Signals, func(a, b string) int {
		if sums[a] != sums[b] {
			return sums[b] - sums[a]
		}
		return strings.Compare(a, b)
	})
	for _, name := range h.Signals {
		h.cells = append(h.cells, rows[name])
	}
}

// getHeatmap sends the length of a JSON header as 4 bytes, big-endian, the
// header, and the cells signal by signal.
func (s *Server) getHeatmap(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	h, err := s.heatmap(r, m)
	if err != nil {
		return err
	}
	h.Signals = nonNil(h.Signals)
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	body.Write(binary.BigEndian.AppendUint32(nil, uint32(len(header))))
	body.Write(header)
	for _, row := range h.cells {
		body.Write(row)
	}
	return sendText(w, heatType, body.Bytes())
}
