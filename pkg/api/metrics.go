package api

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// metricsType is the content type of Prometheus' text format: Prometheus 3
// refuses a page without one.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

func (s *Server) getMetrics(w http.ResponseWriter, _ *request) error {
	return sendText(w, metricsType, s.metricsPage(s.Reader.Snapshot()))
}

// metricsPage writes the catalogue's families as they are in the snapshot.
func (s *Server) metricsPage(snapshot *Snapshot) []byte {
	p := page{limit: s.SeriesLimit, out: make([]byte, 0, s.pageBytes.Load()*9/8)} // about as long as the last one
	data := &scrape{Snapshot: snapshot, server: s, runtime: readRuntime(&s.process)}
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
			s.withheld.Add(uint64(p.withheld))
			p.limit++
		}
		if f.bounded && p.share == 0 {
			p.share = max(1, (p.limit-p.series)/bounded)
		}
		p.family(f, data)
	}
	s.pageBytes.Store(int64(len(p.out)))
	return p.out
}

// A page is a page of Prometheus' text format in the making. VictoriaMetrics'
// writer is not used since it tells no help text, and its histograms have
// vmrange buckets.
type page struct {
	out      []byte
	limit    int // most series in all
	share    int // most series of each bounded family
	series   int
	withheld int
	lossy    map[string]bool // series of this family whose names hold U+FFFD
}

func (p *page) family(f *Family, s *scrape) {
	p.out = append(p.out, "# HELP "+f.Name+" "...)
	p.out = appendHelp(p.out, f.Help)
	p.out = append(p.out, "\n# TYPE "+f.Name+" "+f.Type+"\n"...)
	p.lossy = nil
	if f.histogram != nil {
		p.histogram(f.Name, f.histogram(s.Snapshot))
		return
	}
	mine := 0
	f.series(s, func(value float64, labels ...string) {
		if p.series >= p.limit || f.bounded && mine >= p.share {
			p.withheld++
			return
		}
		if p.line(f.Name, f.Labels, labels, value) {
			mine++
			p.series++
		}
	})
}

// line writes one series. It reports false for a series that is already there:
// names that differ only in bytes that are not UTF-8 read the same.
func (p *page) line(name string, names, values []string, x float64) bool {
	start := len(p.out)
	p.out = append(p.out, name...)
	lossy := false
	for i, label := range names {
		p.out = append(p.out, "{,"[min(i, 1)])
		p.out = append(p.out, label+`="`...)
		lossy = lossy || strings.ContainsRune(values[i], utf8.RuneError)
		p.out = appendLabel(p.out, values[i])
		p.out = append(p.out, '"')
	}
	if len(names) > 0 {
		p.out = append(p.out, '}')
	}
	if lossy {
		key := string(p.out[start:])
		if p.lossy[key] {
			p.out = p.out[:start]
			return false
		}
		if p.lossy == nil {
			p.lossy = map[string]bool{}
		}
		p.lossy[key] = true
	}
	p.out = append(p.out, ' ')
	p.out = append(appendNumber(p.out, x), '\n')
	return true
}

// histogram writes cumulative le buckets.
func (p *page) histogram(name string, h Histogram) {
	var total uint64
	for i, bound := range h.Bounds {
		if i < len(h.Counts) {
			total += h.Counts[i]
		}
		p.out = append(p.out, name+`_bucket{le="`...)
		p.out = appendNumber(p.out, bound)
		p.out = strconv.AppendUint(append(p.out, `"} `...), total, 10)
		p.out = append(p.out, '\n')
	}
	for i := len(h.Bounds); i < len(h.Counts); i++ {
		total += h.Counts[i]
	}
	p.out = strconv.AppendUint(append(p.out, name+`_bucket{le="+Inf"} `...), total, 10)
	p.out = append(appendNumber(append(p.out, "\n"+name+"_sum "...), h.Sum), '\n')
	p.out = append(strconv.AppendUint(append(p.out, name+"_count "...), total, 10), '\n')
	p.series += len(h.Bounds) + 3
}

func appendNumber(b []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(b, "NaN"...)
	case math.IsInf(x, 1):
		return append(b, "+Inf"...)
	case math.IsInf(x, -1):
		return append(b, "-Inf"...)
	case x == math.Trunc(x) && math.Abs(x) < 1e15:
		return strconv.AppendInt(b, int64(x), 10)
	}
	return strconv.AppendFloat(b, x, 'g', -1, 64)
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

func appendHelp(b []byte, text string) []byte {
	return append(b, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(text)...)
}
