package config

import (
	"errors"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ruletest"
	"driftd.dev/driftd/pkg/sim"
)

// ruleTests is the file as it is written.
type ruleTests struct {
	RuleFiles []string   `json:"rule_files"`
	Config    string     `json:"config"`
	Window    Duration   `json:"window"`
	Tests     []ruleTest `json:"tests" config:"required"`
}

type ruleTest struct {
	Name   string   `json:"name" config:"required"`
	Start  instant  `json:"start"`
	Window Duration `json:"window"`
	N      uint64   `json:"n"`

	Series   []testSeries  `json:"input_series"`
	Events   []testEvents  `json:"input_events"`
	Faults   []testFault   `json:"faults"`
	Alerts   []testAlerts  `json:"alert_rule_test"`
	Acks     []testAck     `json:"acknowledgements"`
	Silences []testSilence `json:"silences"`
	Told     []testTold    `json:"notifications"`
	Acts     []testActions `json:"actions"`
}

type testSeries struct {
	Series seriesName   `json:"series" config:"required"`
	Values seriesValues `json:"values" config:"required"`
}

type testEvents struct {
	Model      string             `json:"model" config:"required"`
	Events     int                `json:"events" config:"required"`
	Seed       uint64             `json:"seed"`
	Versions   []testVersion      `json:"versions"`
	Features   map[string]feature `json:"features"`
	Segments   map[string]feature `json:"segments"`
	Prediction *testPrediction    `json:"prediction"`
	Baseline   testBaseline       `json:"baseline"`
	Changes    []testChange       `json:"changes"`
}

type testVersion struct {
	Version string       `json:"version" config:"required"`
	Variant Variant      `json:"variant"`
	Share   float64      `json:"share"`
	Errors  float64      `json:"errors"`
	Latency distribution `json:"latency"`
}

type testPrediction struct {
	Positive string  `json:"positive" config:"required"`
	Negative string  `json:"negative" config:"required"`
	Bias     float64 `json:"bias"`
	Noise    float64 `json:"noise"`
}

type testBaseline struct {
	State baselineState `json:"state"`
	Rows  int           `json:"rows"`
}

type testChange struct {
	Inject  injection `json:"inject"`
	Errors  float64   `json:"errors"`
	Latency float64   `json:"latency"`
	Scores  float64   `json:"scores"`
	From    Hold      `json:"from"`
	To      Hold      `json:"to"`
	Version string    `json:"version"`
	Segment string    `json:"segment"`
}

type testFault struct {
	Fault   faultKind `json:"fault" config:"required"`
	Model   string    `json:"model"`
	Feature string    `json:"feature"`
	Version string    `json:"version"`
	Share   float64   `json:"share"`
	From    Hold      `json:"from"`
	To      Hold      `json:"to"`
}

type testAck struct {
	At     Hold              `json:"at" config:"required"`
	Labels map[string]string `json:"labels"`
	By     string            `json:"by" config:"required"`
}

type testSilence struct {
	Kind     silenceKind `json:"kind"`
	Matchers []string    `json:"matchers" config:"required"`
	StartsAt Hold        `json:"starts_at"`
	EndsAt   Hold        `json:"ends_at" config:"required"`
	Comment  string      `json:"comment" config:"required"`
}

type testAlerts struct {
	At    Hold       `json:"eval_time" config:"required"`
	Rule  string     `json:"alertname" config:"required"`
	Wants []testWant `json:"exp_alerts"`
}

type testWant struct {
	Labels      map[string]string `json:"exp_labels"`
	Annotations map[string]string `json:"exp_annotations"`
	State       phase             `json:"exp_state"`
	Flag        flag              `json:"exp_flag"`
	Reason      string            `json:"exp_reason"`
	Muted       *bool             `json:"exp_muted"`
}

type testTold struct {
	At       Hold          `json:"eval_time"`
	Receiver string        `json:"receiver" config:"required"`
	Messages []testMessage `json:"exp"`
}

type testMessage struct {
	Labels   map[string]string   `json:"exp_labels"`
	Status   status              `json:"status" config:"required"`
	Severity Severity            `json:"severity"`
	At       Hold                `json:"at"`
	Alerts   []map[string]string `json:"alerts"`
	Firing   int                 `json:"firing"`
	Ended    int                 `json:"ended"`

	Acknowledged string `json:"acknowledged"`
}

type testActions struct {
	At     Hold    `json:"eval_time" config:"required"`
	Model  string  `json:"model" config:"required"`
	Action Trigger `json:"action" config:"required"`
	Want   outcome `json:"exp" config:"required"`
	Reason string  `json:"exp_reason"`
}

// What an element of a list is where it does not say.
func (v *testVersion) setDefaults() { v.Variant, v.Share = "primary", 1 }
func (w *testWant) setDefaults()    { w.State = "firing" }
func (f *testFault) setDefaults()   { f.Share = 1 }
func (s *testSilence) setDefaults() { s.Kind = silenceKind(incident.KindSilence) }

// What is written as one text.
type (
	seriesName struct {
		variable string
		key      drift.Key
	}
	seriesValues []ruletest.Value
	feature      sim.Feature
	distribution struct{ sim.Dist }
	injection    sim.Injection
	instant      struct{ time.Time }
)

func (s *seriesName) parse(text string) (err error) {
	s.variable, s.key, err = ruletest.ParseSeries(text)
	return err
}

func (v *seriesValues) parse(text string) (err error) {
	*v, err = ruletest.ParseValues(text)
	return err
}

func (f *feature) parse(text string) error {
	out, err := sim.ParseFeature("", text)
	*f = feature(out)
	return err
}

func (d *distribution) parse(text string) (err error) {
	d.Dist, err = sim.ParseDist(text)
	return err
}

func (i *injection) parse(text string) error {
	out, err := ruletest.ParseChange(text)
	*i = injection(out)
	return err
}

func (i *instant) parse(text string) (err error) {
	if i.Time, err = time.Parse(time.RFC3339, text); err != nil {
		return errors.New("expected a time such as 2026-01-05T12:00:00Z")
	}
	return nil
}

// What is one of some words.
type (
	phase         string
	flag          string
	status        string
	outcome       string
	faultKind     string
	baselineState string
	silenceKind   string
)

func (phase) words() []string {
	return []string{"inactive", "pending", "firing", "recovering", "resolved"}
}

func (flag) words() []string {
	return []string{ruletest.NoFlag, string(alert.NoData), string(alert.Undefined), string(alert.Insufficient), string(alert.Incomplete)}
}
func (status) words() []string { return []string{"firing", "resolved"} }
func (outcome) words() []string {
	return []string{ruletest.Issued, ruletest.Suppressed, ruletest.Absent}
}

func (baselineState) words() []string {
	return []string{string(drift.Approved), string(drift.Frozen), "none"}
}

func (faultKind) words() (out []string) {
	for _, k := range ruletest.FaultKinds() {
		out = append(out, string(k))
	}
	return out
}

func (silenceKind) words() (out []string) {
	for _, k := range incident.SilenceKinds {
		out = append(out, string(k))
	}
	return out
}
