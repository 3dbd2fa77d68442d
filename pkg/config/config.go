package config

// A Config is what the operator wrote, over the defaults. The json tag is the
// key in the file, the jsonschema tag is what editors show. The config tag says
// which keys must be given ("required"), and which ones a reload cannot change
// ("restart", with everything below). Fields that hold a name may hold a glob where it says so: "*" is
// any run of characters, "?" any one.
type Config struct {
	NATS      NATS               `json:"nats" config:"restart" jsonschema:"where events come from and signals go to"`
	Store     Store              `json:"store" jsonschema:"where the state lives and how long it is kept"`
	HTTP      HTTP               `json:"http" config:"restart" jsonschema:"API, pages and metrics"`
	Metrics   Metrics            `json:"metrics" config:"restart" jsonschema:"what /metrics tells"`
	Windows   Windows            `json:"windows" config:"restart" jsonschema:"how events are cut into windows of event time"`
	Limits    Limits             `json:"limits" jsonschema:"bounds of everything that events can make grow; what exceeds one is counted"`
	Dedup     Dedup              `json:"dedup" config:"restart" jsonschema:"how duplicates are recognised"`
	DLQ       DLQ                `json:"dlq" config:"restart" jsonschema:"dead letters: events that were refused"`
	Privacy   Privacy            `json:"privacy" jsonschema:"which fields may be kept, applied while decoding"`
	Baselines Baselines          `json:"baselines" jsonschema:"when a model that has no baseline has learned one"`
	Discover  bool               `json:"discover" jsonschema:"observe models that are not listed under models; false refuses them as unknown_model"`
	Features  map[string]Feature `json:"features" jsonschema:"overrides by feature name, for every model; compare reads them too"`
	Payloads  Payloads           `json:"payloads" jsonschema:"how the payload logs of model servers are read, over HTTP and from the stream"`
	Defaults  Defaults           `json:"defaults" jsonschema:"what holds for every model that does not say otherwise"`
	Models    []Model            `json:"models" jsonschema:"models, by name or glob; the first entry that matches a model is its own"`
	Watch     Watch              `json:"watch" config:"restart" jsonschema:"how driftd watches itself"`
	Detection Detection          `json:"detection" jsonschema:"how drift is found within a budget of false pages"`
	Budgets   []Budget           `json:"budgets" jsonschema:"how many pages people can bear, shared by the models they own"`
	Rules     []Rule             `json:"rules" jsonschema:"alerting rules"`
	Routes    Route              `json:"routes" jsonschema:"which alert goes to which receiver"`

	TimeIntervals []TimeIntervals `json:"time_intervals" jsonschema:"recurring times that routes name"`

	Receivers []Receiver `json:"receivers" jsonschema:"who is told"`
	Incidents Incidents  `json:"incidents" jsonschema:"what people say about incidents"`
	Digest    Digest     `json:"digest" jsonschema:"a message that sums incidents up, and proposes what to tune"`
	Publish   Publish    `json:"publish" jsonschema:"what machines are told on NATS beside decisions: closed windows, and the head of the ledger"`

	file   string // that it was loaded from, "" for none: *_file paths are relative to its folder
	places places // of what stands in it
}

// NATS says where events come from.
type NATS struct {
	URL             Address  `json:"url" jsonschema:"addresses of the servers, with commas between"`
	Embedded        bool     `json:"embedded" jsonschema:"run JetStream inside the process, under the store's folder; url is then where it listens"`
	Stream          string   `json:"stream" jsonschema:"JetStream stream that holds the events"`
	Subjects        []string `json:"subjects" jsonschema:"subjects read from the stream"`
	Durable         string   `json:"durable" jsonschema:"acknowledge what is committed, by a durable consumer of this name: for streams with work-queue or interest retention, which delete what is acknowledged; one driftd a name. Empty = read by sequence and never acknowledge"`
	SubjectTemplate string   `json:"subject_template" jsonschema:"how a subject names kind, model and version; the payload is authoritative and must agree"`
	Context         string   `json:"context" jsonschema:"a context of the nats CLI, by name or path, that says where the servers are and who driftd is; instead of url and the keys below"`
	CredsFile       string   `json:"creds_file" jsonschema:"NATS credentials file: JWT and seed, read anew at each connection"`
	NKeyFile        string   `json:"nkey_file" jsonschema:"seed of an nkey"`
	InboxPrefix     string   `json:"inbox_prefix" jsonschema:"subject under which answers come, for users that may subscribe to no other; _INBOX if absent"`
	TLS             NATSTLS  `json:"tls" jsonschema:"TLS to the servers; files are read anew at each connection"`
}

// NATSTLS names the certificates of a connection to NATS.
type NATSTLS struct {
	CAFile   string `json:"ca_file" jsonschema:"CAs of the servers in PEM; the system's if absent"`
	CertFile string `json:"cert_file" jsonschema:"client certificate in PEM"`
	KeyFile  string `json:"key_file" jsonschema:"its private key in PEM"`
}

// Store says where the state lives.
type Store struct {
	Dir       string    `json:"dir" config:"restart" jsonschema:"folder of the state; one process at a time"`
	Retention Retention `json:"retention" jsonschema:"how long the state is kept, in event time"`

	VerifyEvery Duration `json:"verify_every" config:"restart" jsonschema:"how often a running daemon reads its whole store again to see whether it is damaged; 0 = only at its start"`
}

// Retention is how long each kind of state is kept.
type Retention struct {
	Panes   Duration `json:"panes" jsonschema:"panes: the windows at full resolution"`
	Hourly  Duration `json:"hourly" jsonschema:"hourly rollups of the panes; then they become daily ones"`
	Daily   Duration `json:"daily" jsonschema:"daily rollups, by UTC: history in windows of full days"`
	Ledger  Duration `json:"ledger" jsonschema:"entries of the audit log"`
	Samples Duration `json:"samples" jsonschema:"captured examples and their labels; not used yet"`
}

// HTTP says where the API listens.
type HTTP struct {
	Listen        string   `json:"listen" jsonschema:"address of API, pages and metrics; loopback unless there are tokens or client certificates"`
	MetricsListen string   `json:"metrics_listen" jsonschema:"a second address that serves only /metrics and health, guarded like the first unless metrics_public"`
	MetricsPublic bool     `json:"metrics_public" jsonschema:"metrics_listen asks nobody who they are, has no TLS, and may leave loopback"`
	ExternalURL   string   `json:"external_url" jsonschema:"how people reach the pages: links in messages start with it"`
	Hosts         []string `json:"hosts" jsonschema:"names that requests may come by, beside loopback, the listener's address and external_url"`
	Ingest        bool     `json:"ingest" jsonschema:"take events over HTTP, at /ingest/v1/* and /v1/logs, and store them in nats.stream"`
	Reload        bool     `json:"reload" jsonschema:"POST /-/reload, for the role admin, reads the configuration again; SIGHUP does always"`
	TokensFile    string   `json:"tokens_file" jsonschema:"access tokens, name:role:sha256 or name:role:sha256:expires a line as driftd token new prints it; read again when it changes"`
	TLS           TLS      `json:"tls" jsonschema:"TLS of the listeners; files are read again when they change"`
}

// TLS names a certificate and its key.
type TLS struct {
	CertFile string `json:"cert_file" jsonschema:"certificate chain in PEM"`
	KeyFile  string `json:"key_file" jsonschema:"private key in PEM"`

	ClientCAFile string   `json:"client_ca_file" jsonschema:"CAs of client certificates in PEM; without them none is asked for"`
	Clients      []Client `json:"clients" jsonschema:"names in client certificates that may do something"`
}

// Client is a name in client certificates and what it may do.
type Client struct {
	SAN  string `json:"san" config:"required" jsonschema:"subject alternative name: DNS name, URI, e-mail or IP"`
	Role Role   `json:"role" config:"required" jsonschema:"ingest, read, label, operate or admin; from read on each includes the ones before, ingest sends events and sees nothing"`
}

// Windows says how events are cut into windows.
type Windows struct {
	Pane          Duration   `json:"pane" jsonschema:"finest window; every size is a multiple of it"`
	Lateness      Duration   `json:"lateness" jsonschema:"how long after its end a window waits for events; later ones are counted as late"`
	MaxFutureSkew Duration   `json:"max_future_skew" jsonschema:"how far an event's time may be ahead of its message's"`
	Sizes         []Duration `json:"sizes" jsonschema:"windows that are compared with the reference, ascending"`
	Decide        Duration   `json:"decide" jsonschema:"the size that states and metrics are taken from; rules without a window use it"`
}

// Metrics says what /metrics tells.
type Metrics struct {
	Features FeatureSeries `json:"features" jsonschema:"which features have series of their own: all, none, or top: those that rules name and the 20 of each model that moved most"`
}

// Limits bound what events can make grow.
type Limits struct {
	Models           int  `json:"models" jsonschema:"models"`
	FeaturesPerModel int  `json:"features_per_model" jsonschema:"features of one model"`
	Series           int  `json:"series" config:"restart" jsonschema:"series in all: model, version, variant, segment and signal"`
	Categories       int  `json:"categories" jsonschema:"categories counted by name per signal; the rest count together"`
	VectorLength     int  `json:"vector_length" jsonschema:"numbers of one vector, such as an embedding; a longer one is a mismatched value"`
	EventBytes       Size `json:"event_bytes" jsonschema:"one message"`
	LearningBytes    Size `json:"learning_bytes" jsonschema:"raw values kept while models learn, in all"`
}

// Dedup says how duplicates are recognised.
type Dedup struct {
	IDs int `json:"ids" jsonschema:"event ids remembered exactly, in two generations; the time they span is exported"`
}

// Watch says how driftd watches itself.
type Watch struct {
	Every Duration `json:"every" jsonschema:"how often an event of driftd's own, a canary, goes the way of all events, and a heartbeat to receivers of heartbeats; 0 = never"`
}

// DLQ says what happens to refused events.
type DLQ struct {
	Body DLQBody `json:"body" jsonschema:"what a dead letter holds of the event: all of it, its hash, or nothing"`
	Rate int     `json:"rate" jsonschema:"dead letters a second; above it they are counted and not sent"`
}

// Privacy is the policy that every event passes while it is decoded.
type Privacy struct {
	Default     Action                 `json:"default" jsonschema:"what happens to fields that are not named"`
	Fields      map[string]PrivacyRule `json:"fields" jsonschema:"what happens to a feature, by name, for every model"`
	HMACKey     Secret                 `json:"hmac_key" jsonschema:"key of the action hmac; without one driftd makes one and keeps it in the store's folder"`
	HMACKeyFile string                 `json:"hmac_key_file" jsonschema:"file that holds the key; at most one of hmac_key and hmac_key_file"`
}

// Baselines says when a baseline is learned from live events.
type Baselines struct {
	MinRows int      `json:"min_rows" jsonschema:"events that a baseline needs at least"`
	MinSpan Duration `json:"min_span" jsonschema:"event time that it must span"`
	MaxRows int      `json:"max_rows" jsonschema:"events after which it is frozen once min_span has passed; later ones are not sampled"`
}

// Feature overrides what is otherwise known about a feature.
type Feature struct {
	Type    FeatureType  `json:"type" jsonschema:"auto: strings and booleans are categories and numbers are numeric"`
	Weight  float64      `json:"weight" jsonschema:"share of the model's budget, relative to 1 of the others; 0: its drift never pages"`
	Privacy *PrivacyRule `json:"privacy,omitempty" jsonschema:"what may be kept of it; overrides privacy.fields"`
}

// Payloads say what the payload logs of model servers (KServe, Seldon, MLServer,
// BentoML) leave open. The templates hold text and {attributes} of the CloudEvent.
type Payloads struct {
	Model    string             `json:"model" jsonschema:"template of the model's name, such as {namespace}/{inferenceservicename}; what the server says if empty"`
	Version  string             `json:"version" jsonschema:"template of the version, such as {annotations.app/version}; driftd.dev/model-version among the annotations, and what the payload says, if empty or missing"`
	Variant  string             `json:"variant" jsonschema:"template of the variant, or of a key of variants; driftd.dev/variant among the annotations, and the endpoint, if empty or missing"`
	Variants map[string]Variant `json:"variants" jsonschema:"which variant an endpoint, or the text of variant, stands for"`
}

// Payload names what the lists of a model's payloads do not.
type Payload struct {
	Features []string `json:"features,omitempty" jsonschema:"names of the columns of a row of inputs, in order"`
	Classes  []string `json:"classes,omitempty" jsonschema:"names of the columns of a row of probabilities, in order; the likeliest is the prediction"`
}

// Defaults hold for every model.
type Defaults struct {
	Owner         string         `json:"owner" jsonschema:"who answers for a model; a label of its alerts"`
	Budget        string         `json:"budget" jsonschema:"name of the budget that pages are drawn from"`
	PositiveLabel string         `json:"positive_label" jsonschema:"the label that counts as positive in recall and precision; not used yet"`
	Segments      []Segmentation `json:"segments" jsonschema:"ways to cut traffic: channel, or [channel, country] together"`
	LabelHorizon  Duration       `json:"label_horizon" jsonschema:"how long after a prediction its outcome can arrive; not used yet"`
	ExpectedGap   Duration       `json:"expected_gap" jsonschema:"longest silence of a model that is usual, to 7d; longer ones are alerts; 0: learned from its traffic, if it has a budget"`
	Capture       Capture        `json:"capture" jsonschema:"examples kept for labelling; not used yet"`
}

// Capture says how many examples are kept.
type Capture struct {
	Share float64 `json:"share" jsonschema:"share of the predictions, from 0 to 1"`
}

// Model is one model, or all whose name matches a glob. Fields that are not
// given are taken from Defaults.
type Model struct {
	Name           string             `json:"name" config:"required" jsonschema:"name or glob"`
	Owner          string             `json:"owner,omitempty" jsonschema:"who answers for it"`
	Budget         string             `json:"budget,omitempty" jsonschema:"name of the budget that pages are drawn from"`
	PrimaryMetrics []string           `json:"primary_metrics,omitempty" jsonschema:"quality metrics and KPIs that matter most, in order; not used yet"`
	PositiveLabel  string             `json:"positive_label,omitempty" jsonschema:"the label that counts as positive; not used yet"`
	Segments       []Segmentation     `json:"segments,omitempty" jsonschema:"ways to cut its traffic; replaces the default ones"`
	LabelHorizon   Duration           `json:"label_horizon,omitempty" jsonschema:"how long after a prediction its outcome can arrive; not used yet"`
	ExpectedGap    Duration           `json:"expected_gap,omitempty" jsonschema:"longest silence that is usual, to 7d; longer ones are alerts"`
	Capture        *Capture           `json:"capture,omitempty" jsonschema:"examples kept for labelling; not used yet"`
	Weight         float64            `json:"weight" jsonschema:"share of its budget, relative to 1 of the others; 0: it has none"`
	Notify         Notify             `json:"notify,omitempty" jsonschema:"shadow: alerts on it are recorded, nobody is told and no action follows; receivers if absent"`
	Features       map[string]Feature `json:"features,omitempty" jsonschema:"overrides by feature name"`
	PublishWindows []Duration         `json:"publish_windows,omitempty" jsonschema:"sizes of its closed windows that are published on driftd.windows.<model>; replaces publish.windows, [] = none"`
	Payload        *Payload           `json:"payload,omitempty" jsonschema:"names that the lists in its payloads lack, such as instances: [[1, 2]]"`
	Multivariate   *Multivariate      `json:"multivariate,omitempty" jsonschema:"features watched together, and vectors such as embeddings, from the next baseline on"`
}

// Multivariate says what of a model is watched together.
type Multivariate struct {
	Features []string `json:"features,omitempty" jsonschema:"numeric features that make one vector, two or more"`
	Vectors  []string `json:"vectors,omitempty" jsonschema:"features that are arrays of numbers"`
}

// Detection says how drift is found within a budget of false pages, in windows
// of windows.decide.
type Detection struct {
	Reference int      `json:"reference" jsonschema:"windows that show what is normal before drift can page, 168 to 2016"`
	MinEvents int      `json:"min_events" jsonschema:"a window with fewer events waits for the next one"`
	Interval  Duration `json:"interval" jsonschema:"time between two messages about one incident"`
}

// Budget is how many pages one group of people can bear.
type Budget struct {
	Name     string   `json:"name" config:"required" jsonschema:"name"`
	Receiver string   `json:"receiver" config:"required" jsonschema:"who is paged"`
	Pages    int      `json:"pages" config:"required" jsonschema:"false pages allowed in the period"`
	Per      Duration `json:"per" config:"required" jsonschema:"the period"`
	Notify   Notify   `json:"notify,omitempty" jsonschema:"shadow: drift and hard limits of its models are recorded, nobody is told and no page is drawn; receivers if absent"`
}

// Rule is one alerting rule. Without selectors it sees everything.
type Rule struct {
	Alert         string            `json:"alert" config:"required" jsonschema:"name of the alert, unique"`
	Model         string            `json:"model,omitempty" jsonschema:"models, by name or glob; all if absent"`
	Version       string            `json:"version,omitempty" jsonschema:"versions, by name or glob"`
	Variant       string            `json:"variant,omitempty" jsonschema:"primary, canary, shadow, or a glob"`
	Segment       string            `json:"segment,omitempty" jsonschema:"segments such as channel=app, by name or glob; absent = the whole traffic"`
	Feature       string            `json:"feature,omitempty" jsonschema:"features, by name or glob"`
	Reference     Reference         `json:"reference" jsonschema:"what a window is compared with"`
	Window        Duration          `json:"window" jsonschema:"closed windows of this size are looked at; windows.decide if absent"`
	Expr          string            `json:"expr" config:"required" jsonschema:"condition over the variables n m psi psi_raw psi_debiased psi_p noise_floor ks_lo ks_hi ks_p chi2_p js hellinger w1_clipped_sd missing_ratio reference_missing_ratio unseen_ratio mean, and for whole models drifting_features error_ratio events latency_p50 latency_p95 latency_p99 and metrics by name"`
	For           Hold              `json:"for" jsonschema:"how long the condition must hold before it fires: consecutive windows (2), some of the last (3 of 5) or event time (10m)"`
	KeepFiringFor Hold              `json:"keep_firing_for" jsonschema:"how long it must be clear before the alert resolves, twice as long each time it has started again within a day; 2 windows if absent; 0: one window, however often"`
	NoData        NoData            `json:"no_data" jsonschema:"what windows without events do: keep the state (the default), resolve it, alert (a NoData alert beside it), or ok: they are quiet"`
	NoDataFor     Hold              `json:"no_data_for" jsonschema:"how long before no_data resolves or alerts; expected_gap of the model or else 2 windows if absent"`
	UndecidedFor  Hold              `json:"undecided_for" jsonschema:"how long there may be events and the rule not be evaluated, before DriftdRuleCannotDecide is raised; 12 windows if absent; 0: for ever"`
	Clear         string            `json:"clear,omitempty" jsonschema:"condition under which it is clear; the opposite of expr if absent"`
	Severity      Severity          `json:"severity" jsonschema:"page wakes people, ticket waits for the morning, info is only recorded"`
	Notify        Notify            `json:"notify,omitempty" jsonschema:"shadow: what fires is recorded, nobody is told and no action follows; receivers if absent"`
	Actions       []Trigger         `json:"actions,omitempty" jsonschema:"what it sets off: retrain, rollback"`
	MinN          *uint64           `json:"min_n,omitempty" jsonschema:"values that a window needs before the rule looks at it; 100 for features and 0 for whole models if absent"`
	Limit         int               `json:"limit" jsonschema:"alerts of a model that may fire at once, 1 to 1000; the strongest are kept and the rest counted together; 100 if absent"`
	Labels        map[string]string `json:"labels,omitempty" jsonschema:"labels added to the alert"`
	Annotations   map[string]string `json:"annotations,omitempty" jsonschema:"texts added to the alert"`
}

// Route is a node of the tree that sends alerts to receivers. The root takes
// every alert; of the others the first that matches, and further ones after
// "continue".
type Route struct {
	Receiver string            `json:"receiver" jsonschema:"who is told; the parent's if absent"`
	Match    map[string]string `json:"match,omitempty" jsonschema:"labels that must be equal"`
	Matchers []string          `json:"matchers,omitempty" jsonschema:"further conditions on labels: name=value, name!=value, name=~regexp, name!~regexp"`
	Continue bool              `json:"continue,omitempty" jsonschema:"also try the routes after this one"`
	Routes   []Route           `json:"routes,omitempty" jsonschema:"routes below this one"`

	MuteTimeIntervals   []string `json:"mute_time_intervals,omitempty" jsonschema:"names of time_intervals in which nobody is told; what waits is told behind them"`
	ActiveTimeIntervals []string `json:"active_time_intervals,omitempty" jsonschema:"names of time_intervals outside of which nobody is told"`

	GroupBy        []string  `json:"group_by,omitempty" jsonschema:"labels whose values make one incident, or ... alone for each alert its own; the parent's if absent"`
	GroupWait      *Duration `json:"group_wait,omitempty" jsonschema:"how long the first message about an incident waits for other alerts; the parent's if absent"`
	GroupInterval  *Duration `json:"group_interval,omitempty" jsonschema:"the least time between two messages about an incident, unless it becomes worse; the parent's if absent"`
	RepeatInterval *Duration `json:"repeat_interval,omitempty" jsonschema:"after this time the same is told again while it fires and nobody has acknowledged it; 0: never; the parent's if absent"`
	Escalate       *Escalate `json:"escalate,omitempty" jsonschema:"who is told what nobody acknowledges of what this receiver was told; not inherited by the routes below"`
}

// Escalate names who hears of an incident that nobody has acknowledged for a while.
type Escalate struct {
	After    Duration `json:"after" config:"required" jsonschema:"how long after the incident was first to be told"`
	Receiver string   `json:"receiver" config:"required" jsonschema:"who is told then"`
}
