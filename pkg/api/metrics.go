package api

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// metricsType is the content type of Prometheus' text format: Prometheus 3
// refuses a page without one.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

func (s *Server) getMetrics(w http.ResponseWriter, _ *request) error {
	var out bytes.Buffer
	out.Grow(int(s.pageBytes.Load()) * 9 / 8) // about as long as the last one
	s.writeMetrics(&out, s.Reader.Snapshot())
	s.pageBytes.Store(int64(out.Len()))
	return sendText(w, metricsType, out.Bytes())
}

// writeMetrics writes the catalogue's families as they are in a snapshot. Gauges of
// models come and go with the snapshot, so nothing is ever registered or forgotten.
func (s *Server) writeMetrics(out *bytes.Buffer, snapshot *Snapshot) {
	p := page{limit: s.SeriesLimit, out: out}
	data := &scrape{Snapshot: snapshot, server: s, runtime: readRuntime(&s.process), shown: s.top.choose(snapshot)}
	families := Catalogue()
	bounded := 0
	for i := range families {
		if families[i].bounded {
			bounded++
		}
	}
	last := len(families) - 1
	for i := range families {
		f := &families[i]
		if i == last { // it tells how many the others withheld
			data.withheld = s.withheld.add(p.withheld)
			p.limit += len(data.withheld)
		}
		if f.bounded && p.share == 0 {
			p.share = max(1, (p.limit-p.series)/bounded)
		}
		p.family(f, data)
	}
}

// A page is a page of Prometheus' text format in the making. Histograms are the
// library's; of the rest a fleet has ten thousands of lines, and a page leaves no
// garbage but itself.
type page struct {
	out      *bytes.Buffer
	buf      []byte // the line being written
	limit    int    // most series in all
	share    int    // most series of each bounded family
	series   int
	withheld map[string]uint64 // by model, "" for none
	lossy    map[string]bool   // series of this family whose names hold U+FFFD
}

func (p *page) family(f *Family, s *scrape) {
	fmt.Fprintf(p.out, "# HELP %s %s\n# TYPE %s %s\n", f.Name, escapeHelp(f.Help), f.Name, f.Type)
	p.lossy = nil
	if f.histogram != nil {
		if h := f.histogram(s); h != nil {
			h.WritePrometheus(p.out)
			p.series += h.series
		}
		return
	}
	mine := 0
	f.series(s, func(value float64, labels ...string) {
		if p.series >= p.limit || f.bounded && mine >= p.share {
			p.withhold(f, labels)
			return
		}
		if p.line(f.Name, f.Labels, labels, value) {
			mine++
			p.series++
		}
	})
}

// withhold counts a series that is left out, by its model if it has one.
func (p *page) withhold(f *Family, labels []string) {
	model := ""
	if i := slices.Index(f.Labels, "model"); i >= 0 {
		model = labels[i]
	}
	if p.withheld == nil {
		p.withheld = map[string]uint64{}
	}
	p.withheld[model]++
}

// withheld counts series left out of all pages, by model.
type withheld struct {
	mu     sync.Mutex // guards the field below
	series map[string]uint64
}

// add counts those of one page and returns a copy of all.
func (w *withheld) add(page map[string]uint64) map[string]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for model, n := range page {
		if w.series == nil {
			w.series = map[string]uint64{}
		}
		w.series[model] += n
	}
	return maps.Clone(w.series)
}

// line writes one series. It reports false for a series that is already there:
// names that differ only in bytes that are not UTF-8 read the same.
func (p *page) line(name string, names, values []string, x float64) bool {
	p.buf = append(p.buf[:0], name...)
	lossy := false
	for i, label := range names {
		p.buf = append(p.buf, "{,"[min(i, 1)])
		p.buf = append(append(p.buf, label...), `="`...)
		lossy = lossy || strings.ContainsRune(values[i], utf8.RuneError)
		p.buf = appendLabel(p.buf, values[i])
		p.buf = append(p.buf, '"')
	}
	if len(names) > 0 {
		p.buf = append(p.buf, '}')
	}
	if lossy {
		if p.lossy[string(p.buf)] {
			return false
		}
		if p.lossy == nil {
			p.lossy = map[string]bool{}
		}
		p.lossy[string(p.buf)] = true
	}
	p.buf = append(p.buf, ' ')
	if x >= 0 && x < 1<<53 && x == math.Trunc(x) {
		p.buf = strconv.AppendUint(p.buf, uint64(x), 10) // all digits
	} else {
		p.buf = strconv.AppendFloat(p.buf, x, 'g', -1, 64)
	}
	p.out.Write(append(p.buf, '\n'))
	return true
}

// appendLabel escapes a label's value: the format knows \\, \" and \n only, and
// must be UTF-8.
func appendLabel(b []byte, value string) []byte {
	for _, r := range value { // bytes that are not UTF-8 come as U+FFFD
		switch r {
		case '\\':
			b = append(b, `\\`...)
		case '"':
			b = append(b, `\"`...)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func escapeHelp(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(text)
}
