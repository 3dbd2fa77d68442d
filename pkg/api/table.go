package api

import "net/http"

// Parameters that several operations share.
var (
	versionParam = parameter{"version", "a version of the model; absent: all added up", "string"}
	variantParam = parameter{"variant", "primary, canary or shadow; absent: all added up", "primary|canary|shadow"}
	segmentParam = parameter{"segment", "a segment like channel=app; absent: the whole", "string"}
	limitParam   = parameter{"limit", "most items of one answer", "integer"}
	cursorParam  = parameter{"cursor", "next_cursor of the answer before", "string"}
)

// table lists every operation. The mux and OpenAPI are both made of it.
func (s *Server) table() []route {
	return []route{
		{method: http.MethodGet, path: "/metrics", summary: "Metrics in Prometheus' text format", media: metricsType, scrape: true, handle: s.getMetrics},
		{method: http.MethodGet, path: "/-/healthy", summary: "200 while the process lives", media: "text/plain; charset=utf-8", scrape: true, handle: s.getHealthy},
		{method: http.MethodGet, path: "/-/ready", summary: "200 when ready, else 503 with the reasons", answer: ready{}, scrape: true, handle: s.getReady},
		{method: http.MethodGet, path: "/api/v1/status", summary: "How driftd does", answer: statusJSON{}, handle: s.getStatus},
		{
			method: http.MethodGet, path: "/api/v1/models", summary: "Models that are followed", answer: list[modelItem]{},
			query: []parameter{limitParam, cursorParam}, handle: s.getModels,
		},
		{method: http.MethodGet, path: "/api/v1/models/{m}", summary: "One model", answer: modelItem{}, handle: s.getModel},
		{
			method: http.MethodGet, path: "/api/v1/models/{m}/windows", summary: "Windows of a model", answer: list[windowItem]{}, heavy: true,
			query: []parameter{
				versionParam, variantParam, segmentParam,
				{"feature", "one signal, with its counts; absent: all signals without", "string"},
				{"size", "length of the windows; absent: 1h", "duration"},
				{"from", "windows that end after this time; absent: from the first", "time"},
				{"to", "windows that start before this time; absent: to the last", "time"},
				{"group", "true: one item a version and variant instead of their sum", "boolean"},
				cursorParam,
			},
			handle: s.getWindows,
		},
		{
			method: http.MethodGet, path: "/api/v1/models/{m}/drift", summary: "How far a window moved from the baseline", answer: ReportJSON{}, heavy: true,
			query: []parameter{
				{"window", "length of the window; absent: 1h", "duration"},
				{"at", "a time in the window; absent: the last closed window with events", "time"},
				versionParam, variantParam, segmentParam,
			},
			handle: s.getDrift,
		},
	}
}
