package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

func TestDurations(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		text  string
		want  time.Duration
		shown string
	}{
		{"0", 0, "0s"},
		{"15s", 15 * time.Second, "15s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"24h", day, "24h"},
		{"1d", day, "24h"},
		{"7d", 7 * day, "7d"},
		{"2w", 14 * day, "14d"},
		{"1y", 365 * day, "365d"},
		{"2d1h", 49 * time.Hour, "2d1h"},
		{"250ms", 250 * time.Millisecond, "250ms"},
	} {
		got, err := config.ParseDuration(tc.text)
		if err != nil || got.Std() != tc.want || got.String() != tc.shown {
			t.Errorf("%q is %v (%s), %v; want %v, shown as %s", tc.text, got.Std(), got, err, tc.want, tc.shown)
		}
	}
	for _, text := range []string{"", "1", "1x", "s", "-1s", "1.5h", "1h1h", "1m1h", " 1s", "300y", "99999999999999999999s"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		text  string
		want  int64
		shown string
	}{
		{"0", 0, "0"},
		{"4096", 4096, "4KiB"},
		{"1000", 1000, "1000"},
		{"256KiB", 256 << 10, "256KiB"},
		{"64 MiB", 64 << 20, "64MiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"1MB", 1_000_000, "1000000"},
		{"7B", 7, "7"},
	} {
		got, err := config.ParseSize(tc.text)
		if err != nil || int64(got) != tc.want || got.String() != tc.shown {
			t.Errorf("%q is %d (%s), %v; want %d, shown as %s", tc.text, int64(got), got, err, tc.want, tc.shown)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "1K", "9223372036854775807KiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

const secrets = `
nats: {url: "nats://user:s3cr3t@127.0.0.1:4222"}
privacy: {hmac_key: s3cr3t-of-16-bytes, fields: {user_id: hmac}}
routes: {receiver: a, routes: [{match: {x: y}, receiver: b}, {match: {x: z}, receiver: c}, {match: {x: u}, receiver: d}]}
receivers:
- {name: a, slack: {webhook_url: "https://hooks.example/s3cr3t"}}
- {name: b, pagerduty: {routing_key: s3cr3t}}
- {name: c, webhook: {url: "https://hooks.example/x?token=s3cr3t", secret: s3cr3t}}
- {name: d, alertmanager: {urls: ["http://user:s3cr3t@127.0.0.1:9093"]}}
`

func TestSecretsAreNotPrinted(t *testing.T) {
	c := load(t, secrets, nil)
	var shown strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		s, a := c.Privacy.HMACKey, c.NATS.URL
		fmt.Fprintf(&shown, format+"\n", s)
		fmt.Fprintf(&shown, format+"\n", &s)
		fmt.Fprintf(&shown, format+"\n", *c.Receivers[1].PagerDuty)
		fmt.Fprintf(&shown, "%v %s %#v\n", a, a, a)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(c.Privacy.HMACKey)
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(j)
	shown.Write(y)
	shown.Write(c.Effective())
	if strings.Contains(shown.String(), "s3cr3t") || strings.Contains(shown.String(), "733363723374") { // and its hex
		t.Errorf("a secret is shown:\n%s", shown.String())
	}
	if got := strings.Count(string(c.Effective()), config.Hidden); got != 7 {
		t.Errorf("Effective hides %d values, want 7:\n%s", got, c.Effective())
	}
	if c.Receivers[0].Slack.WebhookURL.Reveal() != "https://hooks.example/s3cr3t" {
		t.Error("Reveal does not give the secret")
	}
}

func TestSecretFilesAreReadAnew(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "pd", "first\n")
	write(t, dir, "driftd.yaml", "routes: {receiver: a}\nreceivers: [{name: a, pagerduty: {routing_key_file: pd}}]\n")
	c, err := config.Load(filepath.Join(dir, "driftd.yaml"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pd := c.Receivers[0].PagerDuty
	for _, want := range []string{"first", "second"} {
		write(t, dir, "pd", want+"\n")
		if got, err := c.Read(pd.RoutingKey, pd.RoutingKeyFile); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	write(t, dir, "pd", "\n")
	if _, err := c.Read(pd.RoutingKey, pd.RoutingKeyFile); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty file gave %v", err)
	}
	if _, err := c.Read(config.Secret{}, "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there gave %v", err)
	}
	if _, err := c.Read(config.Secret{}, ""); !errors.Is(err, config.ErrNoSecret) {
		t.Errorf("no secret gave %v", err)
	}
	if got, err := c.Read(config.NewSecret("x"), ""); got != "x" || err != nil {
		t.Errorf("a text gave %q, %v", got, err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHMACKey(t *testing.T) {
	dir := t.TempDir()
	c := load(t, "privacy: {fields: {user_id: hmac}}\nstore: {dir: "+dir+"}\n", nil)
	first, err := c.HMACKey()
	if err != nil || len(first) != 64 { // 256 bits in hex
		t.Fatalf("got a key of %d bytes, %v; want 64", len(first), err)
	}
	if again, err := c.HMACKey(); err != nil || string(again) != string(first) {
		t.Errorf("the second key differs: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "hmac.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if key, err := config.Default().HMACKey(); key != nil || err != nil {
		t.Errorf("nothing is hashed, and there is a key of %d bytes, %v", len(key), err)
	}
	if key, err := load(t, secrets, nil).HMACKey(); string(key) != "s3cr3t-of-16-bytes" || err != nil {
		t.Errorf("the configured key is not used: %v", err)
	}
	for _, text := range []string{
		"privacy: {default: hmac}", "features: {a: {privacy: hmac}}", "models: [{name: m, features: {a: {privacy: hmac}}}]",
	} {
		c := load(t, text+"\nstore: {dir: "+dir+"}\n", nil)
		if key, err := c.HMACKey(); len(key) == 0 || err != nil {
			t.Errorf("%s: no key, %v", text, err)
		}
		c = load(t, text+"\nstore: {dir: "+filepath.Join(dir, "none")+"}\n", nil)
		if _, err := c.HMACKey(); err == nil {
			t.Errorf("%s: a key without a folder to keep it", text)
		}
	}
}

// The first entry that matches a model says what of it is watched together, and
// the limit of vectors goes to the decoder.
func TestMultivariate(t *testing.T) {
	c := load(t, "models: [{name: a, multivariate: {features: [x, y], vectors: [v]}}, {name: \"*\"}]\nlimits: {vector_length: 8}", nil)
	want := []drift.ModelSpec{{Glob: "a", Multivariate: drift.Multivariate{Features: []string{"x", "y"}, Vectors: []string{"v"}}}, {Glob: "*"}, {Glob: "*"}}
	if diff := cmp.Diff(want, c.DriftSpec().Models); diff != "" {
		t.Error(diff)
	}
	if got := c.EventLimits().Vector; got != 8 {
		t.Errorf("vectors of up to %d numbers, want 8", got)
	}
}

func TestHashes(t *testing.T) {
	base := load(t, "", nil)
	if got := base.Hash(); !strings.HasPrefix(got, "sha256:") || len(got) != 71 {
		t.Errorf("hash %q", got)
	}
	for _, tc := range []struct {
		name, text    string
		all, decision bool // whether the hash changes
	}{
		{"comments and order", "# x\nstore: {dir: ./data}\nnats: {stream: ML}\n", false, false},
		{"folder", "store: {dir: /srv}", true, false},
		{"address", "http: {listen: \"127.0.0.1:0\"}\nnats: {url: \"nats://10.0.0.1\"}", true, false},
		{"receivers", "receivers: [{name: a, nats: {}}]\nbudgets: [{name: b, receiver: a, pages: 1, per: 1d}]", true, true},
		{"metrics", "metrics: {features: none}", true, false},
		{"windows", "windows: {lateness: 3m}", true, true},
		{"rules", "rules: [{alert: A, expr: events == 0}]", true, true},
		{"stream", "nats: {stream: OTHER}", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := load(t, tc.text, nil)
			if got := c.Hash() != base.Hash(); got != tc.all {
				t.Errorf("Hash changes: %v, want %v", got, tc.all)
			}
			if got := c.DecisionHash() != base.DecisionHash(); got != tc.decision {
				t.Errorf("DecisionHash changes: %v, want %v", got, tc.decision)
			}
		})
	}
	if load(t, secrets, nil).Hash() != load(t, strings.ReplaceAll(secrets, "s3cr3t", "other-s3cret"), nil).Hash() {
		t.Error("the hash depends on secrets")
	}
}

func TestEffectiveLoadsToTheSame(t *testing.T) {
	for _, file := range []string{"testdata/contract.yaml", "../../configs/driftd.yaml"} {
		c, err := config.Load(file, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		again := load(t, string(c.Effective()), nil)
		if diff := cmp.Diff(c, again, equal); diff != "" {
			t.Errorf("%s (-file +Effective):\n%s", file, diff)
		}
	}
	c := load(t, "defaults: {owner: a$$b, positive_label: \"1\"}\nfeatures: {\"a b\": {privacy: {action: bucket, width: 10}}}\n", nil)
	if diff := cmp.Diff(c, load(t, string(c.Effective()), nil), equal); diff != "" {
		t.Errorf("special texts (-file +Effective):\n%s", diff)
	}
}

func TestSchemaAcceptsWhatLoads(t *testing.T) {
	var schema jsonschema.Schema
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"testdata/contract.yaml", "../../configs/driftd.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(resolved, string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, text := range []string{
		"nats: {stream: []}", "window: {}", "rules: [{alert: A}]", "rules: [{alert: A, expr: x, severity: critical}]",
		"receivers: [{slack: {}}]", "windows: {pane: 1 minute}", "routes: {routes: [{sender: a}]}", "models: [{name: a, features: {b: {type: text}}}]",
	} {
		if err := validate(resolved, text); err == nil {
			t.Errorf("the schema accepts %s", text)
		}
	}
}

func validate(schema *jsonschema.Resolved, text string) error {
	var instance any
	if err := yaml.Unmarshal([]byte(text), &instance); err != nil {
		return err
	}
	return schema.Validate(instance)
}

func TestModel(t *testing.T) {
	c := load(t, `
discover: false
defaults: {owner: ml, segments: [channel], label_horizon: 10d}
features: {zip: {type: categorical}, n: {type: numeric}}
models:
- {name: fraud-*, owner: risk, segments: [[channel, country]], label_horizon: 20d, capture: {share: 0.5}, positive_label: fraud, primary_metrics: [recall], features: {n: {type: categorical}}}
- {name: "?hurn"}
budgets: []
`, nil)
	fraud, churn := c.Model("fraud-eu"), c.Model("churn")
	if fraud.Owner != "risk" || !fraud.Listed || fraud.Segments[0][1] != "country" || fraud.LabelHorizon.String() != "20d" ||
		fraud.Capture.Share != 0.5 || fraud.PositiveLabel != "fraud" || fraud.PrimaryMetrics[0] != "recall" {
		t.Errorf("fraud-eu: %+v", fraud)
	}
	if churn.Owner != "ml" || !churn.Listed || churn.Segments[0][0] != "channel" || churn.LabelHorizon.String() != "10d" {
		t.Errorf("churn: %+v", churn)
	}
	for name, want := range map[string]bool{"fraud-": true, "fraud": false, "churn": true, "cchurn": false, "": false} {
		if got := c.Admits(name); got != want {
			t.Errorf("Admits(%q) = %v, want %v", name, got, want)
		}
	}
	if got := c.FeatureTypes("fraud-eu"); got["n"] != "categorical" || got["zip"] != "categorical" {
		t.Errorf("features of fraud-eu: %v", got)
	}
	if got := c.FeatureTypes("churn"); got["n"] != "numeric" {
		t.Errorf("features of churn: %v", got)
	}
	if got := c.FeatureTypes(""); got["n"] != "categorical" {
		t.Errorf("features of any model: %v", got)
	}
}

func TestPolicySpec(t *testing.T) {
	c := load(t, `
privacy: {default: drop, fields: {email: drop, zip: hmac}}
features: {zip: {type: categorical}, age: {type: numeric, privacy: {action: bucket, width: 5}}}
models: [{name: a*, features: {age: {privacy: drop}}}, {name: b}]
`, nil)
	key := []byte("0123456789abcdef")
	want := event.PolicySpec{
		Default: event.Drop,
		HMACKey: key,
		Fields: map[string]event.FieldRule{
			"email": {Action: event.Drop},
			"zip":   {Action: event.HMAC, Type: event.CategoricalType},
			"age":   {Action: event.Bucket, BucketWidth: 5, Type: event.NumericType},
		},
		Models: []event.ModelPolicy{{Glob: "a*", Fields: map[string]event.FieldRule{"age": {Action: event.Drop}}}},
	}
	if diff := cmp.Diff(want, c.PolicySpec(key)); diff != "" {
		t.Errorf("PolicySpec (-want +got):\n%s", diff)
	}
	if _, err := event.NewPolicy(c.PolicySpec(key)); err != nil {
		t.Error(err)
	}
}

func TestWrapping(t *testing.T) {
	c := load(t, `
payloads: {model: "{namespace}/{model}", version: "{annotations.v}", variant: "{metadata.track}", variants: {green: canary}}
models: [{name: a, owner: risk}, {name: a*, payload: {features: [x, y], classes: ["no", "yes"]}}]
`, nil)
	want := event.Wrapping{
		Model: "{namespace}/{model}", Version: "{annotations.v}", Variant: "{metadata.track}",
		Models:   []event.WrappedModel{{Glob: "a"}, {Glob: "a*", Features: []string{"x", "y"}, Classes: []string{"no", "yes"}}},
		Variants: map[string]event.Variant{"green": event.Canary},
	}
	if diff := cmp.Diff(want, c.Wrapping()); diff != "" {
		t.Errorf("Wrapping (-want +got):\n%s", diff)
	}
}

// What the configuration accepts, the packages that run it accept.
func TestSpecsAreAccepted(t *testing.T) {
	for _, file := range []string{"testdata/contract.yaml", "../../configs/driftd.yaml"} {
		c, err := config.Load(file, config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.DriftSpec().Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if rules, err := c.AlertRules(); err != nil || len(rules) != len(c.Rules) {
			t.Errorf("%s: %d rules of %d, %v", file, len(rules), len(c.Rules), err)
		}
		if err := c.ReaderOptions().Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if err := c.PublisherOptions().Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		routes, err := c.AlertRoutes()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		want := map[string]string{"testdata/contract.yaml": "slack", "../../configs/driftd.yaml": config.SignalReceiver}[file]
		if got := routes.Match(map[string]string{"severity": "ticket"}); len(got) != 1 || got[0] != want {
			t.Errorf("%s: a ticket goes to %v, want %s", file, got, want)
		}
	}
}

// The wire of Validate without a file: a Config made by code.
func TestValidateWithoutAFile(t *testing.T) {
	c := config.Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.HTTP.Listen, c.Windows.Sizes = "0.0.0.0:1", nil
	fs := faults(t, c.Validate())
	if len(fs) != 3 || !strings.HasPrefix(fs[0].Error(), "http.listen: ") {
		t.Errorf("got %v, want faults of http.listen, windows.sizes and windows.decide", fs)
	}
}
