package api

import (
	"io"

	"github.com/VictoriaMetrics/metrics"
)

// A Histogram counts observations in `le` buckets. It is alone in its set, so
// that its lines can stand behind the HELP of its family. It is safe for
// concurrent use; negative numbers and NaN are ignored.
type Histogram struct {
	*metrics.PrometheusHistogram
	set    *metrics.Set
	series int
}

// NewHistogram returns an empty histogram with ascending upper bounds.
func NewHistogram(name string, bounds ...float64) *Histogram {
	set := metrics.NewSet()
	return &Histogram{set.NewPrometheusHistogramExt(name, bounds), set, len(bounds) + 3} // +Inf, sum, count
}

// WritePrometheus writes its lines.
func (h *Histogram) WritePrometheus(w io.Writer) { h.set.WritePrometheus(w) }
