package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"driftd.dev/driftd/pkg/config"
)

func load(t *testing.T, text string, env map[string]string) *config.Config {
	t.Helper()
	c, err := parse(text, env)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func parse(text string, env map[string]string) (*config.Config, error) {
	return config.Parse("driftd.yaml", []byte(text), config.Options{LookupEnv: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}})
}

func faults(t *testing.T, err error) config.Faults {
	t.Helper()
	var fs config.Faults
	if !errors.As(err, &fs) {
		t.Fatalf("got %v, want Faults", err)
	}
	return fs
}

// equal compares what was decoded, not where it stood.
var equal = cmp.Options{
	cmpopts.IgnoreUnexported(config.Config{}),
	cmp.Comparer(func(a, b config.Secret) bool { return a.Reveal() == b.Reveal() }),
	cmpopts.EquateEmpty(),
}

func TestDefaultsAreDocumented(t *testing.T) {
	c, err := config.Load("../../configs/driftd.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), c, equal); diff != "" {
		t.Errorf("configs/driftd.yaml differs from Default (-Default +file):\n%s", diff)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../configs/driftd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range regexp.MustCompile(`"([a-z_]+)": \{\n`).FindAllStringSubmatch(string(config.Schema()), -1) {
		switch key[1] {
		case "route", "properties", "items", "url", "routing_key", "webhook_url", "secret", "next_secret", "password":
			continue // structure of the schema, and secrets that are better kept in files
		}
		if !regexp.MustCompile(`\b` + key[1] + `\b`).Match(text) {
			t.Errorf("configs/driftd.yaml does not mention %q", key[1])
		}
	}
}

// The examples in the comments of configs/driftd.yaml must load too.
func TestDocumentedExamplesLoad(t *testing.T) {
	text, err := os.ReadFile("../../configs/driftd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	uncommented := regexp.MustCompile(`(?m)^(models|budgets|rules|time_intervals|receivers): \[\]`).ReplaceAllString(string(text), "$1:")
	uncommented = regexp.MustCompile(`(?m)^  receiver: "".*`).ReplaceAllString(uncommented, "  receiver: oncall")
	uncommented = regexp.MustCompile(`(?m)^#  `).ReplaceAllString(uncommented, "  ")
	c := load(t, uncommented, nil)
	if len(c.Models) != 1 || len(c.Budgets) != 1 || len(c.Rules) != 2 || len(c.Receivers) != 8 || len(c.Routes.Routes) != 6 || len(c.TimeIntervals) != 3 {
		t.Errorf("models %d, budgets %d, rules %d, receivers %d, routes %d, time intervals %d; want 1, 1, 2, 8, 6, 3",
			len(c.Models), len(c.Budgets), len(c.Rules), len(c.Receivers), len(c.Routes.Routes), len(c.TimeIntervals))
	}
}

// testdata/contract.yaml is the example of the outward contract, section 6.
func TestContractExampleLoads(t *testing.T) {
	c, err := config.Load("testdata/contract.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Rules[0].For; got != (config.Hold{Windows: 2}) {
		t.Errorf("rules[0].for = %v, want 2 windows", got)
	}
	if got := c.Routes.Routes[0].Match["severity"]; got != "ticket" {
		t.Errorf("routes.routes[0].match.severity = %q, want ticket", got)
	}
	if got := c.Limits.EventBytes; got != 256<<10 {
		t.Errorf("limits.event_bytes = %d, want %d", got, 256<<10)
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}\n", "nats:\nrules:\n"} {
		if diff := cmp.Diff(config.Default(), load(t, text, nil), equal); diff != "" {
			t.Errorf("%q (-Default +file):\n%s", text, diff)
		}
	}
}

// Every file of testdata/broken says in its last line what is wrong with it.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken configurations (%v), want at least 40", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, want, _ := strings.Cut(strings.TrimSpace(string(text)), "# want: ")
			_, err = config.Load(file, config.Options{})
			if err == nil {
				t.Fatalf("loaded, want %s", want)
			}
			fs := faults(t, err)
			if got := fs[0].Error(); !strings.HasPrefix(got, file+":"+want) {
				t.Errorf("got  %s\nwant %s:%s", got, file, want)
			}
			if len(fs) != 1 {
				t.Errorf("%d faults, want one:\n%v", len(fs), fs)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("a secret is shown:\n%v", err)
			}
			if strings.Count(fs[0].Snippet, "\n") > 2 || !strings.HasSuffix(fs[0].Snippet, "^") {
				t.Errorf("snippet:\n%s", fs[0].Snippet)
			}
		})
	}
}

func TestAllFaultsAtOnceInOrder(t *testing.T) {
	_, err := parse("discover: maybe\nwindows: {decide: 3h, pane: x}\nrules:\n- {alert: A}\nroutes: {receiver: nobody}\n", nil)
	var got []string
	for _, f := range faults(t, err) {
		got = append(got, f.Error())
	}
	want := []string{
		`driftd.yaml:1:11: expected true or false, found "maybe"`,
		`driftd.yaml:2:19: 3h is none of windows.sizes (5m, 1h, 24h)`,
		`driftd.yaml:2:29: expected a duration such as 15s, 5m, 1h or 7d, found "x"`,
		`driftd.yaml:4:3: "expr" is missing`,
		`driftd.yaml:5:20: there is no receiver "nobody"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestManyFaultsAreCounted(t *testing.T) {
	for name, text := range map[string]string{
		"of the file":   strings.Repeat("x: 1\n", 300),
		"of its values": "rules:\n" + strings.Repeat("- {alert: A, expr: events == 0}\n", 301),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(text, nil)
			fs := faults(t, err)
			if len(fs) != 101 || fs[100].Message != "200 more faults are not shown" { // 100 are shown
				t.Errorf("%d faults, the last %v", len(fs), fs[len(fs)-1])
			}
		})
	}
}

func TestSnippetPointsAtTheFault(t *testing.T) {
	_, err := parse("windows:\n  latenes: 5m\n", nil)
	want := `driftd.yaml:2:3: unknown field "latenes" — did you mean "lateness"?
    1 | windows:
    2 |   latenes: 5m
      |   ^`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestExpansion(t *testing.T) {
	env := map[string]string{"DIR": "/srv", "EMPTY": "", "N": "7", "TREE": "{a: b}", "LOOP": "${DIR}"}
	for _, tc := range []struct{ name, text, want string }{
		{"set", "${DIR}", "/srv"},
		{"inside", "a${DIR}b${N}", "a/srvb7"},
		{"default of an absent one", "${NONE:-x}", "x"},
		{"default of an empty one", "${EMPTY:-x}", "x"},
		{"default not needed", "${DIR:-x}", "/srv"},
		{"empty default", "a${NONE:-}", "a"},
		{"message not needed", "${DIR:?why}", "/srv"},
		{"escaped", "$${DIR}", "${DIR}"},
		{"lone dollar", "a$b$", "a$b$"},
		{"no structure", "${TREE}", "{a: b}"},
		{"not twice", "${LOOP}", "${DIR}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := load(t, `defaults: {owner: "`+tc.text+`"}`, env)
			if c.Defaults.Owner != tc.want {
				t.Errorf("%q became %q, want %q", tc.text, c.Defaults.Owner, tc.want)
			}
		})
	}
	if c := load(t, "limits: {models: \"${N}\"}\nwindows: {lateness: \"${N}m\"}", env); c.Limits.Models != 7 || c.Windows.Lateness.String() != "7m" {
		t.Errorf("models %d, lateness %s; want 7 and 7m", c.Limits.Models, c.Windows.Lateness)
	}
	if _, err := parse("${DIR}: 1", env); err == nil || !strings.Contains(err.Error(), `unknown field "${DIR}"`) {
		t.Errorf("a key was expanded: %v", err)
	}
}

func TestTextIsKeptAsWritten(t *testing.T) {
	c := load(t, "rules:\n- {alert: A, expr: events == 0, version: 1.10, model: on, labels: {a: 007, b: 1e3}}\n", nil)
	r := c.Rules[0]
	if r.Version != "1.10" || r.Model != "on" || r.Labels["a"] != "007" || r.Labels["b"] != "1e3" {
		t.Errorf("version %q, model %q, labels %v", r.Version, r.Model, r.Labels)
	}
}

func TestAnchorsAreFollowedAndBounded(t *testing.T) {
	c := load(t, "models:\n- {name: a, segments: &s [x, [x, y]]}\n- {name: b, segments: *s}\n", nil)
	if diff := cmp.Diff(c.Models[0].Segments, c.Models[1].Segments); diff != "" || len(c.Models[1].Segments) != 2 {
		t.Errorf("segments differ:\n%s", diff)
	}
	_, err := parse("routes:\n  routes: &a [{match: {a: b}, routes: *a}]\n", nil)
	if fs := faults(t, err); len(fs) != 1 || !strings.Contains(fs[0].Message, "more than 32 levels") {
		t.Errorf("an alias in its own value: %v", err)
	}
	// 9 aliases a level, 8 levels: 43 million routes.
	var bomb strings.Builder
	bomb.WriteString("models: [{name: &l0 x}]\nroutes:\n  receiver: x\n  routes:\n")
	for i := range 8 {
		fmt.Fprintf(&bomb, "  - {match: {a: b}, routes: &r%d [", i)
		for range 9 {
			if i == 0 {
				bomb.WriteString("{match: {a: b}}, ")
			} else {
				fmt.Fprintf(&bomb, "{match: {a: b}, routes: *r%d}, ", i-1)
			}
		}
		bomb.WriteString("]}\n")
	}
	_, err = parse(bomb.String(), nil)
	if !strings.Contains(err.Error(), "more than 200000 values") {
		t.Errorf("an alias bomb: %.500v", err)
	}
}

func TestRulesFileAlone(t *testing.T) {
	for name, text := range map[string]string{
		"list":    "- {alert: A, expr: events == 0, window: 10m}\n",
		"mapping": "rules:\n- {alert: A, expr: events == 0, window: 10m}\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "rules.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.LoadRules(file, config.Options{})
			if err != nil || len(c.Rules) != 1 || c.Rules[0].Severity != "ticket" || c.Rules[0].Reference != "baseline" {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	_, err := config.ParseRules("r.yaml", []byte("- {alert: A}\n- {alert: 1x, expr: a == 1}\n"), config.Options{})
	if fs := faults(t, err); len(fs) != 2 || fs[0].Line != 1 || fs[1].Line != 2 {
		t.Errorf("got %v, want a fault on each line", err)
	}
	_, err = config.ParseRules("r.yaml", []byte("discover: true\n"), config.Options{})
	if fs := faults(t, err); fs[0].Message != `unknown field "discover": expected rules, budgets, defaults, models, features` {
		t.Errorf("got %v", err)
	}
}

// TestBudgetsInARulesFile: who draws on which budget, without the receivers that
// only a daemon has.
func TestBudgetsInARulesFile(t *testing.T) {
	c, err := config.ParseRules("r.yaml", []byte(`budgets: [{name: oncall, receiver: pager, pages: 2, per: 30d}]
defaults: {budget: oncall}
features: {id: {weight: 0}}
models: [{name: fraud, weight: 3}]
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Model("fraud"); m.Budget != "oncall" || m.Weight != 3 || m.Weights["id"] != 0 || len(m.Weights) != 1 {
		t.Errorf("fraud: %+v", m)
	}
	if m := c.Model("churn"); m.Budget != "oncall" || m.Weight != 1 || m.LabelHorizon != config.Default().Defaults.LabelHorizon {
		t.Errorf("churn: %+v", m)
	}
	for name, test := range map[string]struct{ text, want string }{
		"nothing":   {"defaults: {owner: ann}\n", `neither "rules" nor "budgets"`},
		"budget":    {"rules: []\ndefaults: {budget: onkall}\nbudgets: [{name: oncall, receiver: pager, pages: 2, per: 30d}]\n", `there is no budget "onkall" — did you mean "oncall"?`},
		"pages":     {"budgets: [{name: oncall, receiver: pager, pages: 0, per: 30d}]\n", "at least one page"},
		"weight":    {"rules: []\nfeatures: {id: {weight: -1}}\n", "expected a weight"},
		"receivers": {"rules: []\nreceivers: []\n", `unknown field "receivers"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.ParseRules("r.yaml", []byte(test.text), config.Options{})
			if fs := faults(t, err); len(fs) != 1 || !strings.Contains(fs[0].Message, test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestUnreadableFiles(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), config.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not-exist", err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, []byte("#"+strings.Repeat(" ", 4<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(big, config.Options{}); err == nil || !strings.Contains(err.Error(), "larger than 4MiB") {
		t.Errorf("got %v, want larger than 4MiB", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/broken/*.yaml")
	for _, file := range append(files, "testdata/contract.yaml", "../../configs/driftd.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text, nil)
		if err != nil {
			for _, fault := range faults(t, err) {
				if fault.Line < 1 || fault.Column < 1 {
					t.Errorf("no place: %+v", fault)
				}
			}
			return
		}
		// What loads is shown as a file that loads to the same.
		again, err := parse(string(c.Effective()), nil)
		if err != nil {
			t.Fatalf("Effective does not load: %v\n%s", err, c.Effective())
		}
		if again.Hash() != c.Hash() {
			t.Errorf("Effective loads to something else:\n%s\n%s", c.Effective(), again.Effective())
		}
	})
}

// TestSnippetsOfLongLines: they show what is around the fault, and the caret points at it.
func TestSnippetsOfLongLines(t *testing.T) {
	for name, text := range map[string]string{
		"in the middle":    "store: {dir: " + strings.Repeat("ä", 5000) + ", dri: x, retention: {panes: 7d}}" + strings.Repeat(" ", 5000),
		"at the end":       "store: {dir: " + strings.Repeat("x", 5000) + ", dri: x}",
		"at the beginning": "store: {dri: " + strings.Repeat("x", 5000) + "}",
		"below":            strings.Repeat("#", 5000) + "\nstore: {dri: x}",
	} {
		_, err := config.Parse("driftd.yaml", []byte(text), config.Options{})
		fs := faults(t, err)
		lines := strings.Split(fs[0].Snippet, "\n")
		shown, caret := []rune(lines[len(lines)-2]), strings.IndexByte(lines[len(lines)-1], '^')
		if caret < 0 || !strings.HasPrefix(string(shown[min(caret, len(shown)):]), "dri") {
			t.Errorf("%s:\n%s", name, fs[0].Snippet)
		}
		for _, line := range lines {
			if n := len([]rune(line)); n > 170 { // 160 and the line's number
				t.Errorf("%s: a line of %d characters", name, n)
			}
		}
	}
}
