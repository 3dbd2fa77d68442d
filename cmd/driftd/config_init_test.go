package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/stream"
)

// A lookedAt is a real JetStream server with a stream of events to look at.
type lookedAt struct {
	*testing.T
	url string
	p   *stream.EventPublisher
	n   int
}

func newLookedAt(t *testing.T) *lookedAt {
	t.Helper()
	server, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: t.TempDir(), Listen: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := stream.Connect(stream.Options{InProcess: server, MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := stream.EnsureStream(t.Context(), conn.JetStream(), stream.InputStream()); err != nil {
		t.Fatal(err)
	}
	p, err := stream.NewEventPublisher(conn, stream.EventPublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &lookedAt{T: t, url: server.URL(), p: p}
}

func (l *lookedAt) publish(subject string, body []byte) {
	l.Helper()
	l.n++
	if err := l.p.Publish(l.Context(), stream.OutgoingEvent{Subject: subject, Kind: "test", ID: fmt.Sprint(l.n), Data: body}); err != nil {
		l.Fatal(err)
	}
}

// propose runs config init --from-stream and loads what it prints.
func (l *lookedAt) propose(args ...string) (text string, c *config.Config) {
	l.Helper()
	if err := l.p.Flush(l.Context()); err != nil {
		l.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if code := run(append([]string{"config", "init", "--from-stream", "ML", "--nats", l.url, "--progress", "none"}, args...), strings.NewReader(""), &out, &errOut); code != 0 {
		l.Fatalf("exit %d: %s", code, errOut.String())
	}
	c, err := config.Parse("proposal", out.Bytes(), config.Options{})
	if err != nil {
		l.Fatalf("the proposal does not load: %v\n%s", err, out.String())
	}
	return out.String(), c
}

// TestConfigInitFromStream looks at the demo's traffic, simulated, and at a model
// that has what a proposal is about.
func TestConfigInitFromStream(t *testing.T) {
	l := newLookedAt(t)
	s, err := sim.New(sim.Quiet(sim.Story{Length: 10 * time.Minute, Rate: 1}), 1)
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	var subjects event.SubjectTemplate
	for s.Next(&e) {
		l.publish(subjects.Subject(&e), event.AppendJSON(nil, &e))
	}
	random := rand.New(rand.NewPCG(1, 2))
	relations := []int{0, 0, 0, 0, 0, 0, 1, 3, 3, 3, 3, 3, 4, 7, 7, 7, 7, 9, 12, 12, 12} // of a household, as a census codes them
	for i := range 2000 {
		model := []string{"income-eu", "income-us", "rent"}[i%3]
		l.publish("ml.predictions."+model, fmt.Appendf(nil, `{"id":"i%d","model":%q,"model_version":"1","prediction":"%d","segments":{"region":"r%d","shop":"s%d"},
			"features":{"age":%d,"relation":%d,"zip":%d,"mail":"u%d@example.org","mixed":%s,"${HOME}\n# x":1}}`,
			i, model, i%2, i%4, i, 18+random.IntN(60), relations[random.IntN(len(relations))], 10000+37*random.IntN(40), i, []string{"1", `"n/a"`}[i%2]))
	}
	l.publish("ml.predictions.rent", []byte("{broken"))

	text, c := l.propose("--sample", "100000")
	types := c.FeatureTypes("income-eu")
	for name, want := range map[string]config.FeatureType{"relation": "categorical", "zip": "categorical", "mixed": "categorical", "age": ""} {
		if types[name] != want {
			t.Errorf("feature %s is %q, want %q", name, types[name], want)
		}
	}
	for _, name := range []string{"hour", "account_age_days", "transactions_24h", "basket_items", "amount"} { // amounts, of the demo
		if got := c.FeatureTypes("fraud")[name]; got != "" {
			t.Errorf("feature %s of fraud is %q, want nothing said", name, got)
		}
	}
	if f := c.Features["mail"]; f.Privacy == nil || f.Privacy.Action != "drop" {
		t.Errorf("mail: %+v, want it dropped", f)
	}
	var names []string
	for _, m := range c.Models {
		names = append(names, m.Name)
	}
	if got := strings.Join(names, " "); got != "churn fraud income-* rent support-llm" {
		t.Errorf("models %s", got)
	}
	if got := fmt.Sprint(c.Model("income-us").Segments, c.Model("fraud").Segments); got != "[[region]] [[channel]]" {
		t.Errorf("segments %s", got)
	}
	if got := c.Model("fraud").PositiveLabel + " " + c.Model("rent").PositiveLabel; got != "fraud 1" {
		t.Errorf("positive labels %s", got)
	}
	if len(c.Rules) != 3 || len(c.Budgets) != 1 || c.Model("rent").Budget != "oncall" || c.Windows.Decide != config.Default().Windows.Decide {
		t.Errorf("%d rules, %d budgets, windows of %v", len(c.Rules), len(c.Budgets), c.Windows.Decide)
	}
	if c.NATS.URL.Reveal() != l.url || c.NATS.Stream != "ML" {
		t.Errorf("nats %+v", c.NATS)
	}
	if !regexp.MustCompile(`(?m)^# 1 message refused`).MatchString(text) || strings.Contains(text, "@example.org") || strings.Contains(text, "\n# x") {
		t.Errorf("refused messages are not told, or values are:\n%s", text)
	}

	_, c = l.propose("--sample", "900") // the last ones
	if len(c.Models) != 2 || c.Models[0].Name != "income-*" {
		t.Errorf("of the last 900 messages: %+v", c.Models)
	}
}

// TestConfigInitFromAHostileStream: names of any sort make a configuration that
// loads, or are left out.
func TestConfigInitFromAHostileStream(t *testing.T) {
	l := newLookedAt(t)
	for i := range 300 {
		for _, name := range []string{"a*", "b]", "<<", "${X}", "$$", "it's", `qu\"ote`, "no: yes", "- x", "ü-1", "ü-2", "&a", "*", "null", "1.10", "x\\u0000y", "\\u2028"} {
			if i%3 > 0 && strings.ContainsAny(name, "*]") {
				continue
			}
			var model string
			if err := json.Unmarshal([]byte(`"`+name+`"`), &model); err != nil {
				t.Fatal(err)
			}
			l.publish("ml.predictions."+event.Token(model), fmt.Appendf(nil, `{"id":"%d %s","model":"%s","features":{"%s":%d,"f":1},"segments":{"%s":"v%d"},"prediction":"%s"}`, i, name, name, name, i%2, name, i%2, []string{name, "other " + name}[i%2]))
		}
	}
	text, c := l.propose("--sample", "100000")
	for _, want := range []string{"it's", `qu"ote`, "no: yes", "- x", "ü-1", "null", "1.10", "$$"} {
		if !c.Model(want).Listed {
			t.Errorf("model %q is not listed:\n%s", want, text)
		}
	}
}

// TestConfigInitRefuses: there is nothing to propose.
func TestConfigInitRefuses(t *testing.T) {
	l := newLookedAt(t)
	for _, c := range []struct {
		name string
		args []string
		want code
		says string
	}{
		{"an empty stream", []string{"--from-stream", "ML"}, codeFailed, "hold no prediction"},
		{"another stream", []string{"--from-stream", "NONE"}, codeTemporary, "stream NONE does not exist"},
		{"no sample", []string{"--from-stream", "ML", "--sample", "0"}, codeUsage, "want 1 to 1000000"},
	} {
		var errOut bytes.Buffer
		got := run(append([]string{"config", "init", "--nats", l.url}, c.args...), strings.NewReader(""), &bytes.Buffer{}, &errOut)
		if code(got) != c.want || !strings.Contains(errOut.String(), c.says) {
			t.Errorf("%s: exit %d, want %d: %s", c.name, got, c.want, errOut.String())
		}
	}
}
