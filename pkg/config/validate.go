package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/event"
)

// A validator collects faults by path; the loader knows where they stand.
type validator struct {
	faults Faults
}

func (v *validator) fault(path, format string, args ...any) {
	v.faults = append(v.faults, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// faultAt is fault for a place inside a text: the column of its first line, from 1.
func (v *validator) faultAt(path string, column int, format string, args ...any) {
	v.faults = append(v.faults, Fault{Path: path, Column: column, Message: fmt.Sprintf(format, args...)})
}

// Validate returns Faults for everything that the program could not run. Load
// has done it already; it is for a Config made or changed by code.
func (c *Config) Validate() error {
	return c.faults().err()
}

func (c *Config) faults() Faults {
	v := &validator{}
	v.nats(c)
	v.store(c)
	v.http(c)
	v.windows(c)
	v.bounds(c)
	v.privacy(c)
	v.payloads(c)
	v.models(c)
	v.budgets(c, true)
	v.detection(c)
	v.watch(c)
	v.rules(c, true)
	v.intervals(c)
	v.route("routes", c.Routes, c, true)
	v.receivers(c)
	v.incidents(c)
	v.digest(c)
	v.publish(c)
	return v.faults
}

var (
	streamName = regexp.MustCompile(`^[^\s.*>/\\]+$`)
	subject    = regexp.MustCompile(`^[^\s.]+(\.[^\s.]+)*$`)
	labelName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (v *validator) nats(c *Config) {
	for part := range strings.SplitSeq(c.NATS.URL.Reveal(), ",") {
		v.address("nats.url", Address(strings.TrimSpace(part)), "nats", "tls", "ws", "wss")
	}
	v.natsIdentity(c)
	if !streamName.MatchString(c.NATS.Stream) {
		v.fault("nats.stream", "%q is no name of a stream: it is not empty and has no blanks, '.', '*', '>' or slashes", c.NATS.Stream)
	}
	if d := c.NATS.Durable; d != "" && !streamName.MatchString(d) {
		v.fault("nats.durable", "%q is no name of a consumer: it has no blanks, '.', '*', '>' or slashes", d)
	}
	if len(c.NATS.Subjects) == 0 {
		v.fault("nats.subjects", "no subject: driftd would read nothing")
	}
	for i, s := range c.NATS.Subjects {
		if !subject.MatchString(s) {
			v.fault(fmt.Sprintf("nats.subjects[%d]", i), "%q is no subject: tokens with dots between, none empty, no blanks", s)
		}
	}
	if _, err := event.NewSubjectTemplate(c.NATS.SubjectTemplate); err != nil {
		v.fault("nats.subject_template", "%v", err)
	}
}

// natsIdentity checks how driftd proves who it is to NATS.
func (v *validator) natsIdentity(c *Config) {
	n := c.NATS
	v.pair("nats.tls", n.TLS.CertFile, n.TLS.KeyFile)
	if n.CredsFile != "" && n.NKeyFile != "" {
		v.fault("nats.nkey_file", "at most one of creds_file and nkey_file may be set")
	}
	if n.InboxPrefix != "" && (!subject.MatchString(n.InboxPrefix) || strings.ContainsAny(n.InboxPrefix, "*>")) {
		v.fault("nats.inbox_prefix", "%q is no subject without wildcards, such as _INBOX_driftd", n.InboxPrefix)
	}
	if n.Context == "" {
		return
	}
	base := Default().NATS
	base.Stream, base.Subjects, base.Durable, base.SubjectTemplate, base.Context = n.Stream, n.Subjects, n.Durable, n.SubjectTemplate, n.Context
	if !reflect.DeepEqual(n, base) {
		v.fault("nats.context", "the context says where the servers are and who driftd is: leave out url, embedded, creds_file, nkey_file, inbox_prefix and tls")
	}
}

func (v *validator) store(c *Config) {
	if c.Store.Dir == "" {
		v.fault("store.dir", "there must be a folder for the state")
	}
	r := c.Store.Retention
	longest := Duration(0)
	for _, size := range c.Windows.Sizes {
		longest = max(longest, size)
	}
	if r.Panes < longest+c.Windows.Lateness {
		v.fault("store.retention.panes", "%s is shorter than the longest window and windows.lateness (%s): its panes would be gone before it closes", r.Panes, longest+c.Windows.Lateness)
	}
	if r.Hourly < r.Panes {
		v.fault("store.retention.hourly", "%s is shorter than retention.panes (%s)", r.Hourly, r.Panes)
	}
	if r.Daily < r.Hourly {
		v.fault("store.retention.daily", "%s is shorter than retention.hourly (%s)", r.Daily, r.Hourly)
	}
	v.positive("store.retention.ledger", r.Ledger)
	v.positive("store.retention.samples", r.Samples)
	if every := c.Store.VerifyEvery; every != 0 && every < min1 {
		v.fault("store.verify_every", "%s is too often: 1m at least, or 0 for only at the start", every)
	}
}

func (v *validator) http(c *Config) {
	v.listen("http.listen", c.HTTP.Listen)
	v.leaving(c)
	if c.HTTP.MetricsListen != "" {
		v.listen("http.metrics_listen", c.HTTP.MetricsListen)
		if c.HTTP.MetricsListen == c.HTTP.Listen && !strings.HasSuffix(c.HTTP.Listen, ":0") {
			v.fault("http.metrics_listen", "it is the same as http.listen: write \"\", /metrics is there too")
		}
	}
	if c.HTTP.ExternalURL != "" {
		v.address("http.external_url", Address(c.HTTP.ExternalURL), "http", "https")
	}
	v.tls(c.HTTP.TLS)
	for i, h := range c.HTTP.Hosts {
		if h == "" || strings.ContainsAny(h, ":/*") && net.ParseIP(h) == nil {
			v.fault(fmt.Sprintf("http.hosts[%d]", i), "expected a name or an IP address without port, found %q", h)
		}
	}
}

// leaving checks that an address which others can reach asks who they are.
func (v *validator) leaving(c *Config) {
	h := c.HTTP
	guarded := h.TokensFile != "" || h.TLS.ClientCAFile != ""
	if away(h.Listen) && !guarded {
		v.fault("http.listen", "%q is not loopback, and without http.tokens_file or http.tls.client_ca_file everybody who reaches it may do everything: "+
			"make a token (driftd token new), or use 127.0.0.1", h.Listen)
	}
	if away(h.MetricsListen) && !guarded && !h.MetricsPublic {
		v.fault("http.metrics_listen", "%q is not loopback: set http.metrics_public: true if everybody may read the metrics, "+
			"or guard them with http.tokens_file or http.tls.client_ca_file", h.MetricsListen)
	}
	if h.MetricsPublic && h.MetricsListen == "" {
		v.fault("http.metrics_public", "it is about http.metrics_listen, which is not set")
	}
}

// away reports whether an address is reached from other machines.
func away(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback())
}

func (v *validator) tls(t TLS) {
	v.pair("http.tls", t.CertFile, t.KeyFile)
	if t.ClientCAFile != "" && t.CertFile == "" {
		v.fault("http.tls.client_ca_file", "client certificates need TLS: set cert_file and key_file")
	}
	if t.ClientCAFile != "" && len(t.Clients) == 0 {
		v.fault("http.tls.client_ca_file", "without http.tls.clients no certificate may do anything: list the names that may")
	}
	first := map[string]bool{}
	for i, c := range t.Clients {
		path := fmt.Sprintf("http.tls.clients[%d]", i)
		v.named(path+".san", strings.ToLower(c.SAN), "client", first)
		if t.ClientCAFile == "" {
			v.fault(path, "clients are known by certificates of http.tls.client_ca_file, which is not set")
		}
	}
}

func (v *validator) pair(path, cert, key string) {
	if cert != "" && key == "" {
		v.fault(path+".cert_file", "a certificate needs its private half, key_file")
	}
	if key != "" && cert == "" {
		v.fault(path+".key_file", "it needs its certificate, cert_file")
	}
}

// listen checks an address to listen on.
func (v *validator) listen(path, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		v.fault(path, "expected host:port such as 127.0.0.1:8480, found %q", address)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		v.fault(path, "expected a port from 0 to 65535, found %q", port)
	} else if n == 0 && path == "http.metrics_listen" {
		v.fault(path, "port 0 would be another one at each start: name a port")
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		v.fault(path, "expected an IP address before the port, found %q: a name may mean several", host)
	}
}

func (v *validator) windows(c *Config) {
	w := c.Windows
	v.positive("windows.pane", w.Pane)
	v.positive("windows.max_future_skew", w.MaxFutureSkew)
	if w.Pane > 0 && hour%w.Pane != 0 {
		v.fault("windows.pane", "%s does not divide an hour: hourly rollups are sums of panes", w.Pane)
	}
	if len(w.Sizes) == 0 {
		v.fault("windows.sizes", "no window: nothing would be compared")
	}
	for i, size := range w.Sizes {
		path := fmt.Sprintf("windows.sizes[%d]", i)
		switch {
		case size <= 0 || w.Pane > 0 && size%w.Pane != 0:
			v.fault(path, "%s is no multiple of windows.pane (%s)", size, w.Pane)
		case size > 31*day:
			v.fault(path, "%s is too long: 31d at most", size)
		case i > 0 && size <= w.Sizes[i-1]:
			v.fault(path, "%s comes after %s: sizes ascend", size, w.Sizes[i-1])
		}
	}
	if !slices.Contains(w.Sizes, w.Decide) {
		v.fault("windows.decide", "%s is none of windows.sizes (%s)", w.Decide, durations(w.Sizes))
	}
}

func durations(ds []Duration) string {
	texts := make([]string, len(ds))
	for i, d := range ds {
		texts[i] = d.String()
	}
	return strings.Join(texts, ", ")
}

func (v *validator) watch(c *Config) {
	if every := c.Watch.Every.Std(); every != 0 && (every < time.Second || every > time.Hour) {
		v.fault("watch.every", "%s is neither 0 nor between 1s and 1h", c.Watch.Every)
	}
}

// bounds checks the numbers that have a least and a greatest value.
func (v *validator) bounds(c *Config) {
	l := c.Limits
	for _, b := range []struct {
		path          string
		n, least, max int64
	}{
		{"limits.models", int64(l.Models), 1, 100_000},
		{"limits.features_per_model", int64(l.FeaturesPerModel), 1, 100_000},
		{"limits.series", int64(l.Series), 1, 10_000_000},
		{"limits.categories", int64(l.Categories), 2, 65_536},
		{"limits.vector_length", int64(l.VectorLength), 1, 65_536},
		{"limits.event_bytes", int64(l.EventBytes), 1 << 10, 64 << 20},
		{"limits.learning_bytes", int64(l.LearningBytes), 1 << 20, 16 << 30},
		{"dedup.ids", int64(c.Dedup.IDs), 1000, 100_000_000},
		{"dlq.rate", int64(c.DLQ.Rate), 0, 100_000},
		{"baselines.min_rows", int64(c.Baselines.MinRows), 100, 1_000_000_000},
		{"baselines.max_rows", int64(c.Baselines.MaxRows), 100, 1_000_000_000},
	} {
		if b.n < b.least || b.n > b.max {
			v.fault(b.path, "%d is not between %d and %d", b.n, b.least, b.max)
		}
	}
	if c.Baselines.MaxRows < c.Baselines.MinRows {
		v.fault("baselines.max_rows", "%d is less than baselines.min_rows (%d)", c.Baselines.MaxRows, c.Baselines.MinRows)
	}
}

func (v *validator) privacy(c *Config) {
	v.atMostOne("privacy", "hmac_key", c.Privacy.HMACKey.Set(), c.Privacy.HMACKeyFile != "")
	if key := c.Privacy.HMACKey; key.Set() && len(key.Reveal()) < 16 {
		v.fault("privacy.hmac_key", "a key of fewer than 16 bytes can be guessed")
	}
	if c.Privacy.Default == "bucket" {
		v.fault("privacy.default", "bucket needs a width, which no single number is for all fields: use count, drop or hmac")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Privacy.Fields)) {
		v.privacyRule(join("privacy.fields", name), c.Privacy.Fields[name])
	}
	v.features("features", c.Features)
}

func (v *validator) privacyRule(path string, r PrivacyRule) {
	if r.Action == "bucket" && r.Width <= 0 {
		v.fault(path, "bucket needs a width: {action: bucket, width: 10}")
	}
	if r.Action != "bucket" && r.Width != 0 {
		v.fault(path, "only bucket has a width")
	}
}

func (v *validator) features(path string, features map[string]Feature) {
	for _, name := range slices.Sorted(maps.Keys(features)) {
		f := features[name]
		v.weight(join(path, name)+".weight", f.Weight)
		if f.Privacy != nil {
			v.privacyRule(join(path, name)+".privacy", *f.Privacy)
		}
	}
}

func (v *validator) payloads(c *Config) {
	p := c.Payloads
	for _, t := range []struct{ path, template string }{{"payloads.model", p.Model}, {"payloads.version", p.Version}, {"payloads.variant", p.Variant}} {
		if err := event.ValidateTemplate(t.template); err != nil {
			v.fault(t.path, "%v", err)
		}
	}
}

func (v *validator) models(c *Config) {
	v.positive("defaults.label_horizon", c.Defaults.LabelHorizon)
	v.gap("defaults.expected_gap", c.Defaults.ExpectedGap)
	v.share("defaults.capture.share", c.Defaults.Capture.Share)
	v.segments("defaults.segments", c.Defaults.Segments)
	v.budget("defaults.budget", c.Defaults.Budget, c)
	first := map[string]bool{}
	for i, m := range c.Models {
		path := fmt.Sprintf("models[%d]", i)
		v.named(path+".name", m.Name, "model", first)
		v.glob(path+".name", m.Name)
		v.budget(path+".budget", m.Budget, c)
		v.segments(path+".segments", m.Segments)
		v.features(path+".features", m.Features)
		v.weight(path+".weight", m.Weight)
		if err := m.wrapped().Validate(); err != nil {
			v.fault(path+".payload", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		v.gap(path+".expected_gap", m.ExpectedGap)
		if m.Capture != nil {
			v.share(path+".capture.share", m.Capture.Share)
		}
		if m.Multivariate != nil {
			v.multivariate(path+".multivariate", m.Multivariate)
		}
	}
}

func (v *validator) multivariate(path string, m *Multivariate) {
	if len(m.Features)+len(m.Vectors) == 0 {
		v.fault(path, "nothing is watched together: name features, or vectors")
	}
	if len(m.Features) == 1 {
		v.fault(path+".features", "one feature is watched by itself already: name two or more")
	}
	v.different(path+".features", m.Features)
	v.different(path+".vectors", m.Vectors)
}

// different faults names that are empty or come twice.
func (v *validator) different(path string, names []string) {
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			v.fault(fmt.Sprintf("%s[%d]", path, i), "%q is empty or named before", name)
		}
	}
}

func (v *validator) segments(path string, segments []Segmentation) {
	for i, s := range segments {
		at := fmt.Sprintf("%s[%d]", path, i)
		if len(s) == 0 || len(s) > 3 || slices.Contains(s, "") {
			v.fault(at, "expected the name of a segment, or two or three of them")
		}
	}
}

func (v *validator) budget(path, name string, c *Config) {
	names := make([]string, len(c.Budgets))
	for i, b := range c.Budgets {
		names[i] = b.Name
	}
	if name != "" && !slices.Contains(names, name) {
		v.fault(path, "there is no budget %q%s", name, suggest(name, names))
	}
}

// budgets checks c.Budgets; a file of rules alone knows no receivers.
func (v *validator) budgets(c *Config, whole bool) {
	first := map[string]bool{}
	for i, b := range c.Budgets {
		path := fmt.Sprintf("budgets[%d]", i)
		v.named(path+".name", b.Name, "budget", first)
		if whole {
			v.receiver(path+".receiver", b.Receiver, c)
		}
		v.positive(path+".per", b.Per)
		if b.Pages < 1 {
			v.fault(path+".pages", "a budget has at least one page")
		}
	}
}

func (v *validator) detection(c *Config) {
	d := c.Detection
	if d.Reference < detect.MinReference || d.Reference > detect.MaxRows {
		v.fault("detection.reference", "%d windows: what is normal needs %d to %d of them", d.Reference, detect.MinReference, detect.MaxRows)
	}
	if d.MinEvents < 1 {
		v.fault("detection.min_events", "a window without events says nothing: 1 at least")
	}
	if d.Interval < 0 {
		v.fault("detection.interval", "%s is negative", d.Interval)
	}
}

func (v *validator) weight(path string, weight float64) {
	if !(weight >= 0 && weight <= maxWeight) {
		v.fault(path, "expected a weight from 0 to %d, found %v", int(maxWeight), weight)
	}
}

// maxWeight is far beyond what a budget can tell apart.
const maxWeight = 1e6

// named checks that a name is there and new.
func (v *validator) named(path, name, what string, first map[string]bool) {
	switch {
	case name == "":
		v.fault(path, "the %s has no name", what)
	case first[name]:
		v.fault(path, "there are two %ss %q", what, name)
	}
	first[name] = true
}

func (v *validator) glob(path, pattern string) {
	if strings.ContainsAny(pattern, "[]{}\\") {
		v.fault(path, "%q: a glob knows * and ? only", pattern)
	}
}

func (v *validator) positive(path string, d Duration) {
	if d <= 0 {
		v.fault(path, "it must be longer than 0")
	}
}

func (v *validator) share(path string, share float64) {
	if share < 0 || share > 1 {
		v.fault(path, "expected a share from 0 to 1, found %v", share)
	}
}

// atMostOne checks a secret and its file.
func (v *validator) atMostOne(path, key string, text, file bool) {
	if text && file {
		v.fault(path+"."+key+"_file", "at most one of %s and %s_file may be set", key, key)
	}
}

// address checks a URL.
func (v *validator) address(path string, a Address, schemes ...string) {
	u, err := url.Parse(a.Reveal())
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		v.fault(path, "expected a URL that starts with %s://, found %q", alternatives(schemes), a.String())
	}
}
