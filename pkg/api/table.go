package api

import (
	"net/http"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
)

// Media types of answers.
const (
	jsonType = "application/json"
	htmlType = "text/html"
)

// Parameters that several operations share.
var (
	versionParam = parameter{"version", "a version of the model; absent: all added up", "string"}
	variantParam = parameter{"variant", "primary, canary or shadow; absent: all added up", "primary|canary|shadow"}
	segmentParam = parameter{"segment", "a segment like channel=app; absent: the whole", "string"}
	limitParam   = parameter{"limit", "most items of one answer", "integer"}
	afterParam   = parameter{"after", "only entries behind this seq", "integer"}
	cursorParam  = parameter{"cursor", "next_cursor of the answer before", "string"}
)

// table lists every operation. The mux and OpenAPI are both made of it.
func (s *Server) table() []route {
	return slices.Concat(s.pageRoutes(), s.apiRoutes(), s.incidentRoutes())
}

// pageRoutes are for people.
func (s *Server) pageRoutes() []route {
	page := func(path, summary string, handle func(http.ResponseWriter, *request) error, query ...parameter) route {
		return route{method: http.MethodGet, path: path, role: Read, summary: summary, media: htmlType, heavy: true, query: query, handle: handle}
	}
	modelFilter := parameter{"model", "of one model", "string"}
	out := []route{
		page("/{$}", "The fleet: models, the ones that need somebody first", s.getFleetPage,
			parameter{"q", "part of a model's or an owner's name", "string"}, parameter{"state", "in one state", strings.Join(urgency, "|")},
			parameter{"owner", "of one owner", "string"}, parameter{"page", "from 1", "integer"}),
		page("/models/{m}", "The page of a model", s.getModelPage, append(slices.Clone(heatParams), parameter{"row", "signals left out at the head of the heat map's table", "integer"})...),
		page("/models/{m}/feature", "The page of a signal", s.getFeaturePage,
			parameter{"name", "the signal", "string"}, parameter{"window", "length of the window; absent: 1h", "duration"},
			parameter{"at", "a time in the window; absent: the last closed window with events", "time"}, versionParam,
			parameter{"variant", "primary, canary or shadow; absent: all but shadow", "primary|canary|shadow"}, segmentParam),
		page("/alerts", "Alerts that are not inactive, the firing ones first", s.getAlertsPage, modelFilter),
		page("/alerts/{key}", "What the ledger holds of one alert, by its dedup_key", s.getAlertPage),
		page("/incidents", "Incidents: what is open, then what was", s.getIncidentsPage, incidentFilter...),
		page("/incidents/{id}", "One incident, or that of an alert by its dedup_key: what happened, who was told, what can be done", s.getIncidentPage),
		{
			method: http.MethodPost, path: "/incidents/{id}", role: Operate, summary: "The form of the page: do something about an incident", media: htmlType,
			bodies: []string{"application/x-www-form-urlencoded"}, bodyLimit: 32 << 10, handle: s.postIncidentPage,
		},
		page("/baselines", "Baselines, and where they come from", s.getBaselinesPage, modelFilter),
		page("/ledger", "The ledger, the newest entries first", s.getLedgerPage,
			parameter{"kind", "of one kind", "string"}, modelFilter, parameter{"before", "only entries before this seq", "integer"}),
		page("/ledger/{seq}", "One entry of the ledger", s.getEntryPage),
		page("/status", "How driftd does", s.getStatusPage),
	}
	for _, a := range []asset{styles, live, heat} {
		kind, _, _ := strings.Cut(a.media, ";")
		out = append(out, route{method: http.MethodGet, path: a.path, public: true, summary: "A file of the pages", media: kind, handle: a.send})
	}
	return out
}

// apiRoutes are for programs.
func (s *Server) apiRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/metrics", role: Read, summary: "Metrics in Prometheus' text format", media: metricsType, scrape: true, handle: s.getMetrics},
		{method: http.MethodGet, path: "/-/healthy", public: true, summary: "200 while the process lives; 503 when it hangs and only a restart can help", media: "text/plain; charset=utf-8", scrape: true, handle: s.getHealthy},
		{method: http.MethodGet, path: "/-/ready", public: true, summary: "200 when ready, else 503 with the reasons", answer: ready{}, scrape: true, handle: s.getReady},
		{method: http.MethodGet, path: "/api/v1/status", role: Read, summary: "How driftd does", answer: statusJSON{}, degraded: true, handle: s.getStatus},
		{
			method: http.MethodPost, path: "/-/reload", role: Admin, summary: "Read the configuration again; a refused one leaves everything as it is",
			bodyLimit: 1 << 10, answer: Reloaded{}, handle: s.postReload,
		},
		{
			method: http.MethodGet, path: "/api/v1/models", role: Read, summary: "Models that are followed", answer: list[modelItem]{},
			query: []parameter{limitParam, cursorParam}, handle: s.getModels,
		},
		{method: http.MethodGet, path: "/api/v1/models/{m}", role: Read, summary: "One model", answer: modelItem{}, handle: s.getModel},
		{
			method: http.MethodGet, path: "/api/v1/models/{m}/windows", role: Read, summary: "Windows of a model", answer: list[windowItem]{}, heavy: true,
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
			method: http.MethodGet, path: "/api/v1/models/{m}/drift", role: Read, summary: "How far a window moved from the baseline", answer: ReportJSON{}, heavy: true,
			query: []parameter{
				{"window", "length of the window; absent: 1h", "duration"},
				{"at", "a time in the window; absent: the last closed window with events", "time"},
				versionParam,
				{"variant", "primary, canary or shadow; absent: all but shadow", "primary|canary|shadow"},
				segmentParam,
			},
			handle: s.getDrift,
		},
		{
			method: http.MethodGet, path: "/api/v1/models/{m}/heatmap", role: Read, media: heatType, heavy: true, query: heatParams, handle: s.getHeatmap,
			summary: "A statistic of every signal over windows: 4 bytes of the header's length, big-endian; the header in JSON; a byte a signal and window, 0 or 1 + 254 times the value",
		},
		{
			method: http.MethodGet, path: "/api/v1/models/{m}/detectors", role: Read, summary: "How near each detector of a model with a budget is to an alarm", answer: list[detect.Standing]{},
			query: []parameter{limitParam, cursorParam}, handle: s.getDetectors,
		},
		{method: http.MethodGet, path: "/api/v1/budgets", role: Read, summary: "Budgets of false pages, and what was drawn from them", answer: list[budgetItem]{}, handle: s.getBudgets},
		{
			method: http.MethodGet, path: "/api/v1/alerts", role: Read, summary: "Series of rules that are not inactive, the firing ones first", answer: list[alertItem]{},
			query: []parameter{
				{"model", "of one model", "string"},
				{"rule", "of one rule", "string"},
				{"state", "in one state", "pending|firing|recovering|resolved"},
				{"severity", "of one severity", "page|ticket|info"},
				limitParam, cursorParam,
			},
			handle: s.getAlerts,
		},
		{
			method: http.MethodGet, path: "/api/v1/silences", role: Read, summary: "Silences, maintenance and expected changes, oldest first; expired ones for five days", answer: list[silenceItem]{},
			query: []parameter{{"state", "in one state", "pending|active|expired"}, {"kind", "of one kind", "silence|maintenance|expected"}}, handle: s.getSilences,
		},
		{
			method: http.MethodPost, path: "/api/v1/silences", role: Operate, summary: "Create a silence; it is durable when it is answered",
			body: jsonType, bodyLimit: maxSilenceBytes, bodyOf: silenceBody{}, answer: silenceItem{}, handle: s.write(s.createSilence),
		},
		{method: http.MethodGet, path: "/api/v1/silences/{id}", role: Read, summary: "One silence", answer: silenceItem{}, handle: s.getSilence},
		{
			method: http.MethodPut, path: "/api/v1/silences/{id}", role: Operate, summary: "Change the end or the comment of a silence, and the start of one that is pending",
			body: jsonType, bodyLimit: maxSilenceBytes, bodyOf: silenceBody{}, answer: silenceItem{}, handle: s.write(s.updateSilence),
		},
		{
			method: http.MethodDelete, path: "/api/v1/silences/{id}", role: Operate, summary: "Expire a silence; one that is over stays as it is",
			bodyLimit: 1 << 10, answer: silenceItem{}, handle: s.write(s.expireSilence),
		},
		{
			method: http.MethodGet, path: "/api/v1/rules", role: Read, summary: "Rules as they run, with how often they fire on the stored history", answer: list[ruleItem]{}, heavy: true,
			query: []parameter{
				{"noise", "measure the noise on so much of the stored history; absent: do not", "duration"},
				{"model", "measure it on one model; absent: on all, as far as ten seconds reach", "string"},
			},
			handle: s.getRules,
		},
		{
			method: http.MethodPost, path: "/api/v1/models/{m}/backtest", role: Read, summary: "What rules would have fired on a model's stored windows; nothing is changed",
			body: jsonType, bodyLimit: maxBacktestBytes, bodyOf: BacktestJSON{}, answer: backtest.Report{}, heavy: true, handle: s.postBacktest,
		},
		{
			method: http.MethodGet, path: "/api/v1/baselines", role: Read, summary: "Baselines, active or not", answer: list[baselineItem]{},
			query: []parameter{{"model", "of one model", "string"}}, handle: s.getBaselines,
		},
		{
			method: http.MethodPost, path: "/api/v1/baselines", role: Admin, summary: "Make a baseline that was built elsewhere the reference of its model",
			body: jsonType, bodyLimit: MaxBaselineBytes, bodyOf: baselineCode{}, answer: baselineItem{}, heavy: true, handle: s.write(s.importBaseline),
		},
		{
			method: http.MethodPost, path: "/api/v1/baselines/capture", role: Operate, summary: "Make a span of the stream the reference of its model",
			body: jsonType, bodyLimit: 16 << 10, bodyOf: captureBody{}, answer: baselineItem{}, heavy: true, handle: s.write(s.captureBaseline),
		},
		{
			method: http.MethodGet, path: "/api/v1/baselines/{id}", role: Read, summary: "One baseline", answer: baselineItem{},
			query: []parameter{{"full", "true: everything, as POST takes it", "boolean"}}, handle: s.getBaseline,
		},
		{
			method: http.MethodPost, path: "/api/v1/baselines/{id}/approve", role: Operate, summary: "Let drift from a baseline page",
			bodyLimit: 1 << 10, answer: baselineItem{}, handle: s.write(s.approveBaseline),
		},
		{
			method: http.MethodPost, path: "/api/v1/receivers/{name}/test", role: Operate, summary: "Tell a receiver of an alert that is none, and of its end",
			bodyLimit: 1 << 10, answer: ReceiverTry{}, handle: s.write(s.tryReceiver),
		},
		{
			method: http.MethodGet, path: "/api/v1/triggers", role: Read, summary: "Ledger entries that ask machines to do something", answer: list[ledger.Entry]{},
			query: []parameter{{"model", "of one model", "string"}, afterParam, limitParam, cursorParam}, handle: s.getTriggers,
		},
		{
			method: http.MethodGet, path: "/api/v1/ledger", role: Read, summary: "Ledger entries, oldest first", answer: list[ledger.Entry]{},
			query: []parameter{afterParam, limitParam, cursorParam}, handle: s.getLedger,
		},
		{method: http.MethodGet, path: "/api/v1/ledger/{seq}", role: Read, summary: "One ledger entry", answer: ledger.Entry{}, handle: s.getEntry},
		{method: http.MethodGet, path: "/api/v1/ledger/{seq}/picture.png", role: Read, summary: "The signal that an alert is about, in its reference and at the alert", media: pngType, handle: s.getPicture},
		{method: http.MethodGet, path: "/api/v1/ledger/verify", role: Read, summary: "Prove the ledger's chain", answer: proof{}, heavy: true, handle: s.verifyLedger},
		{method: http.MethodGet, path: "/api/v1/store/backup", role: Admin, summary: "A backup of the store as of one commit, for driftd store restore", media: backupType, endless: true, handle: s.getBackup},
		{
			method: http.MethodGet, path: "/api/v1/stream", role: Read, summary: "Server-sent events: changes of the status, and ledger entries",
			query: []parameter{afterParam}, media: "text/event-stream", endless: true, handle: s.getStream,
		},
		s.wayIn("predictions", event.Prediction, "Store predictions: one, an array, or one a line"),
		s.wayIn("outcomes", event.Outcome, "Store outcomes: one, an array, or one a line"),
		s.wayIn("kpis", event.KPI, "Store KPIs: one, an array, or one a line"),
		s.wayIn("cloudevents", 0, "Store CloudEvents and the payload logs of KServe, Seldon, MLServer and BentoML"),
		{
			method: http.MethodPost, path: "/v1/logs", role: IngestOnly, summary: "Store the logs of BentoML's monitor, as OTLP; 200 when the stream has them",
			bodies: []string{jsonType, protobufType}, bodyLimit: defaultIngestLimits().body, answer: logsAnswer{}, handle: s.ingest("logs", 0),
		},
		{method: http.MethodGet, path: "/api/v1/config", role: Operate, summary: "The effective configuration, without secrets", media: "application/yaml", handle: s.getConfig},
		{method: http.MethodGet, path: "/api/v1/schema/config", role: Read, summary: "The JSON schema of the configuration", media: "application/schema+json", handle: s.getSchema},
		{method: http.MethodGet, path: "/api/v1/openapi.json", role: Read, summary: "This description", media: jsonType, handle: s.getOpenAPI},
	}
}

// wayIn is an operation that takes events.
func (s *Server) wayIn(name string, kind event.Kind, summary string) route {
	return route{
		method: http.MethodPost, path: "/ingest/v1/" + name, role: IngestOnly, summary: summary + "; 202 when the stream has them",
		bodies: ingestTypes, bodyLimit: defaultIngestLimits().body, answer: ingestAnswer{}, handle: s.ingest(name, kind),
	}
}
