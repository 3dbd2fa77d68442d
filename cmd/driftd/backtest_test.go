package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ledger"
)

// june is when the rows of june.csv begin; may.csv has no time.
var june = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

const juneHours = 72

// writeMonths writes a reference of 4,000 rows, and three days of 120 rows an hour
// whose amounts are half a standard deviation higher on the second afternoon.
func writeMonths(t *testing.T, dir string) {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 26))
	row := func(b *bytes.Buffer, i int, shift float64) {
		fmt.Fprintf(b, "r%d,%s,%.2f,%s,%.3f\n", i, june.Add(time.Duration(i)*30*time.Second).Format(time.RFC3339),
			100+20*random.NormFloat64()+shift, []string{"DE", "FR", "US"}[random.IntN(3)], random.Float64())
	}
	var may, jun bytes.Buffer
	may.WriteString("id,at,amount,country,score\n")
	for i := range 4000 {
		row(&may, i, 0)
	}
	jun.WriteString("id,at,amount,country,score\n")
	for i := range juneHours * 120 {
		shift := 0.
		if hour := i / 120; hour >= 36 && hour < 48 {
			shift = 15
		}
		row(&jun, i, shift)
	}
	for name, text := range map[string][]byte{"may.csv": may.Bytes(), "june.csv": jun.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// invoke runs the command and returns what it prints.
func invoke(t *testing.T, want code, args ...string) (out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(args, strings.NewReader(""), &stdout, &stderr); got != int(want) {
		t.Fatalf("driftd %q: exit code %d, want %d\n%s%s", args, got, want, stdout.String(), stderr.String())
	}
	return stdout.String(), stderr.String()
}

func report(t *testing.T, text string) *backtestReport {
	t.Helper()
	r := &backtestReport{}
	if err := json.Unmarshal([]byte(text), r); err != nil || len(r.Models) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	return r
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// blocks returns the blocks of one language in a page of docs.
func blocks(t *testing.T, page, lang string) (out []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```"+lang+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

// commandsOf returns the arguments of every command in a page of docs.
func commandsOf(t *testing.T, page string) (commands [][]string) {
	t.Helper()
	words := regexp.MustCompile(`'[^']*'|\S+`)
	for _, block := range blocks(t, page, "sh") {
		for line := range strings.Lines(block) {
			if args := words.FindAllString(line, -1); len(args) > 0 && args[0] == "driftd" {
				for i := range args {
					args[i] = strings.Trim(args[i], "'")
				}
				commands = append(commands, append(args[1:], "-q"))
			}
		}
	}
	return commands
}

const oldRules = `- {alert: AmountDrift, model: fraud, feature: amount, window: 1h, expr: "psi_debiased > 0.1 and n >= 100", severity: page}
- {alert: FailedCalls, model: fraud, window: 1h, expr: "error_ratio > 0.05", severity: page}
`

// TestBacktestOfAFile: hours 36 to 47 are shifted, so the rule of two windows fires
// when hour 37 has closed, ends when two hours are quiet, and a fault that is put in
// is noticed in as many.
func TestBacktestOfAFile(t *testing.T) {
	rules := blocks(t, "rules.md", "yaml")[0]
	t.Chdir(t.TempDir())
	writeMonths(t, ".")
	writeFile(t, "new.yaml", rules)
	writeFile(t, "old.yaml", oldRules)
	files := []string{"backtest", "--rules", "new.yaml", "--file", "june.csv", "--reference", "may.csv", "--time", "at", "--ignore", "id", "--model", "fraud", "-q", "-o", "json"}

	out, _ := invoke(t, codeCondition, append(files, "--fail-on", "drift", "--against", "old.yaml")...)
	r := report(t, out)
	m := r.Models[0]
	if len(m.Intervals) != 1 || !m.Intervals[0].StartsAt.Equal(june.Add(38*time.Hour)) || !m.Intervals[0].EndsAt.Equal(june.Add(50*time.Hour)) || m.Intervals[0].Feature != "amount" {
		t.Errorf("intervals %+v", m.Intervals)
	}
	if !m.To.Equal(june.Add(juneHours*time.Hour)) || m.Rules[0].Windows != juneHours || m.Baseline != "may.csv" || m.PagesDay != 1./3 {
		t.Errorf("judged %s to %s, %+v", m.From, m.To, m.Rules[0])
	}
	if *r.Rows != (rowCounts{Read: juneHours * 120, Counted: juneHours * 120}) {
		t.Errorf("rows %+v", r.Rows)
	}
	if d := m.Against; len(d.Changed) != 1 || !d.Changed[0].Before[0].StartsAt.Equal(june.Add(37*time.Hour)) {
		t.Errorf("against the old rules: %+v", d)
	}

	out, _ = invoke(t, codeOK, append(files, "--inject", "amount+0.75sd@2026-06-01T06:00:00Z", "--inject", "country:new=0.2,XX@2026-06-01T06:00:00Z")...)
	delays := report(t, out).Models[0].Injections
	if len(delays) != 2 || delays[0].DelayS == nil || *delays[0].DelayS != 7200 || delays[0].Rule != "AmountDrift" || !delays[0].Exact || delays[1].AlertAt != nil {
		t.Errorf("delays %+v", delays)
	}

	// The same rows through a map, where a repeat is known by its id.
	text, err := os.ReadFile("june.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	writeFile(t, "june.csv", strings.Join(append(lines[:len(lines)-1], lines[len(lines)-2], lines[1], "x,,1,DE,0\n"), ""))
	out, _ = invoke(t, codeOK, "backtest", "--rules", "new.yaml", "--file", "june.csv", "--reference", "may.csv", "--model", "fraud", "-q", "-o", "json",
		"--map", "id=id,time=at,prediction=score,features=amount,country")
	mapped := report(t, out)
	if *mapped.Rows != (rowCounts{Read: juneHours*120 + 3, Counted: juneHours * 120, Duplicate: 2, Timeless: 1}) || len(mapped.Models[0].Intervals) != 1 {
		t.Errorf("through a map: rows %+v, %+v", mapped.Rows, mapped.Models[0].Intervals)
	}
	out, _ = invoke(t, codeOK, append(files[:len(files)-2], "-o", "table")...)
	for _, want := range []string{"1 rows came after their window had closed", "2026-06-02T14:00:00Z  page    AmountDrift  fraud amount  for 12h: psi_debiased"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table does not say %q:\n%s", want, out)
		}
	}
}

// TestTheCommandsOfRulesMD runs every command of docs/rules.md on the data of the
// other test: beside a daemon, and then those on stored windows on its store.
func TestTheCommandsOfRulesMD(t *testing.T) {
	pages := blocks(t, "rules.md", "yaml")
	commands := commandsOf(t, "rules.md")
	if len(commands) < 9 {
		t.Fatalf("docs/rules.md has %d commands", len(commands))
	}
	t.Chdir(t.TempDir())
	writeMonths(t, ".")
	writeFile(t, "new.yaml", pages[0])
	writeFile(t, "old.yaml", oldRules)
	// The daemon has the rule on trial, and one in earnest that is slower.
	d := serveMay(t, pages[1]+`
  - {alert: AmountDrift, model: fraud, feature: amount, window: 1h, expr: "psi_debiased > 0.1 and n >= 100", for: 2}
`)
	invoke(t, codeOK, "send", "prediction", "--file", "june.csv", "--model", "fraud", "--map", "id=id,time=at,version='7',features=amount,country,score", "-q")
	if n, err := d.counted(func(n uint64) bool { return n == juneHours*120 }, time.Minute); err != nil || n != juneHours*120 {
		t.Fatalf("%d rows are counted, %v", n, err)
	}

	for _, args := range commands {
		out, _ := invoke(t, codeOK, args...)
		t.Logf("driftd %s\n%s", strings.Join(args, " "), out)
	}
	out, _ := invoke(t, codeOK, "backtest", "--rules", "running", "--model", "fraud", "-o", "json", "-q")
	live := report(t, out).Models[0]
	fired := map[string]backtest.Interval{}
	for _, i := range live.Intervals {
		fired[i.Rule] = i
	}
	if len(live.Intervals) != 2 || !fired["AmountDrift"].StartsAt.Equal(june.Add(38*time.Hour)) || !fired["AmountDriftSooner"].StartsAt.Equal(june.Add(37*time.Hour)) {
		t.Errorf("intervals %+v", live.Intervals)
	}
	out, _ = invoke(t, codeOK, "report", "shadow", "-o", "json", "-q")
	var shadow backtest.ShadowReport
	if err := json.Unmarshal([]byte(out), &shadow); err != nil {
		t.Fatal(err)
	}
	if want := (backtest.ShadowRule{Rule: "AmountDriftSooner", Model: "fraud", Tally: backtest.Tally{Pages: 1}, Matched: 1}); len(shadow.Rules) != 1 || shadow.Rules[0] != want {
		t.Errorf("in shadow %+v, want %+v", shadow.Rules, want)
	}
	if len(shadow.Days) != 1 || shadow.Days[0].Told.Tickets != 1 || len(shadow.Missed) != 0 {
		t.Errorf("days %+v, missed %+v", shadow.Days, shadow.Missed)
	}
	noise, _ := invoke(t, codeOK, "check", "rules", "new.yaml", "--noise", "3d", "-o", "json", "-q")
	if !strings.Contains(noise, `"fired": 1`) || !strings.Contains(noise, `"per_30d": 10.`) {
		t.Errorf("noise of the rules: %s", noise)
	}

	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DRIFTD_SERVER", "http://127.0.0.1:1")
	for _, args := range commands {
		if strings.Contains(strings.Join(args, " "), "running") || strings.Contains(strings.Join(args, " "), "--file") {
			continue
		}
		invoke(t, codeOK, append(args, "--store", "data")...)
	}
	out, _ = invoke(t, codeOK, "backtest", "--rules", "new.yaml", "--model", "fraud", "--store", "data", "-o", "json", "-q")
	if m := report(t, out).Models[0]; len(m.Intervals) != 1 || m.Intervals[0].Rule != "AmountDrift" {
		t.Errorf("from the store: %+v", m.Intervals)
	}
}

// TestShadowReportOfDrift: what is told of one incident after its opening is no
// other alert, and counts as a page once it is one.
func TestShadowReportOfDrift(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 6, 1, hour, 0, 0, 0, time.UTC) }
	end := at(9)
	book := alertBook{at: map[string]booked{}}
	for _, a := range []ledger.Alert{
		{Status: "firing", Change: "opened", Severity: "ticket", DedupKey: "a", StartsAt: at(1), Notify: alert.NotifyShadow},
		{Status: "firing", Change: "opened", Severity: "page", DedupKey: "b", StartsAt: at(2)},
		{Status: "firing", Change: "raised", Severity: "page", DedupKey: "a", StartsAt: at(1), Notify: alert.NotifyShadow},
		{Status: "firing", Change: "extended", Severity: "page", DedupKey: "a", StartsAt: at(1), Notify: alert.NotifyShadow},
		{Status: "firing", Change: "extended", Severity: "page", DedupKey: "b", StartsAt: at(2)},
		{Status: "resolved", Change: "resolved", Severity: "page", DedupKey: "a", StartsAt: at(1), EndsAt: &end, Notify: alert.NotifyShadow},
	} {
		a.Rule, a.Model = alert.RuleDrift, "fraud"
		book.note(&a)
	}
	r := backtest.Shadow(book.shadow, book.told, at(0), at(23), func(string) bool { return true })
	want := backtest.ShadowRule{Rule: alert.RuleDrift, Model: "fraud", Tally: backtest.Tally{Pages: 1}, Matched: 1}
	if len(r.Rules) != 1 || r.Rules[0] != want || !r.Shadow[0].EndsAt.Equal(end) {
		t.Errorf("in shadow %+v, %+v, want %+v until %v", r.Rules, r.Shadow, want, end)
	}
	if len(r.Days) != 1 || r.Days[0].Told != (backtest.Tally{Pages: 1}) {
		t.Errorf("days %+v, want one page that was told", r.Days)
	}
}

// serveMay starts a daemon with what else its configuration says, for commands to
// find, and gives it may.csv of the current folder as the baseline of fraud.
func serveMay(t *testing.T, text string) *scriptDaemon {
	t.Helper()
	c, err := config.Parse("driftd.yaml", []byte("nats: {embedded: true, url: \"nats://127.0.0.1:0\"}\nhttp: {listen: \"127.0.0.1:0\"}\nstore: {dir: data}\n"+text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &scriptDaemon{}
	if err := d.start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("DRIFTD_SERVER", d.instance.URL())
	t.Setenv("NATS_URL", d.instance.Embedded.URL())
	invoke(t, codeOK, "baseline", "import", "may.csv", "--model", "fraud", "--ignore", "id,at", "-q")
	return d
}

// writeWeeks writes eight days of 60 rows an hour, and the three days after them, of
// whose second afternoon the amounts are half a standard deviation higher.
func writeWeeks(t *testing.T, dir string) {
	t.Helper()
	random := rand.New(rand.NewPCG(8, 26))
	for name, hours := range map[string][2]int{"may.csv": {-8 * 24, 0}, "june.csv": {0, juneHours}} {
		var b bytes.Buffer
		b.WriteString("id,at,amount,country,score\n")
		for i := hours[0] * 60; i < hours[1]*60; i++ {
			shift := 0.
			if hour := i / 60; hour >= 36 && hour < 48 {
				shift = 10
			}
			fmt.Fprintf(&b, "r%d,%s,%.2f,%s,%.3f\n", i, june.Add(time.Duration(i)*time.Minute).Format(time.RFC3339),
				100+20*random.NormFloat64()+shift, []string{"DE", "FR", "US"}[random.IntN(3)], random.Float64())
		}
		writeFile(t, filepath.Join(dir, name), b.String())
	}
}

// checkDrift: one page within hours of the shift, for the amounts.
func checkDrift(t *testing.T, where string, m *backtest.Report) {
	t.Helper()
	d := m.Drift
	if d == nil || d.Learned < 168 || d.Pages != 1 || len(m.Intervals) != 1 {
		t.Fatalf("%s: drift %+v, %+v", where, d, m.Intervals)
	}
	c := d.Changes[0]
	if late := c.At.Sub(june.Add(36 * time.Hour)); !c.Page || late <= 0 || late > 8*time.Hour || c.Findings[0].Signal != "amount" {
		t.Errorf("%s: the first change is %+v", where, c)
	}
}

// TestTheCommandsOfAlarmsMD runs every command of docs/alarms.md beside a daemon that
// has counted the same rows: file, daemon and store tell the same page.
func TestTheCommandsOfAlarmsMD(t *testing.T) {
	budgets, commands := blocks(t, "alarms.md", "yaml")[1], commandsOf(t, "alarms.md")
	if len(commands) < 5 {
		t.Fatalf("docs/alarms.md has %d commands", len(commands))
	}
	t.Chdir(t.TempDir())
	writeWeeks(t, ".")
	writeFile(t, "budgets.yaml", budgets)
	writeFile(t, "wider.yaml", strings.ReplaceAll(budgets, "pages: 2, per: 30d", "pages: 30, per: 1d"))
	d := serveMay(t, "receivers: [{name: oncall, webhook: {url: \"http://127.0.0.1:1/\"}}]\n"+budgets)
	for _, file := range []string{"may.csv", "june.csv"} {
		invoke(t, codeOK, "send", "prediction", "--file", file, "--model", "fraud", "--map", "id=id,time=at,version='7',features=amount,country,score", "-q")
	}
	const rows = (8*24 + juneHours) * 60
	if n, err := d.counted(func(n uint64) bool { return n == rows }, time.Minute); err != nil || n != rows {
		t.Fatalf("%d rows are counted, %v", n, err)
	}
	for _, args := range commands {
		out, _ := invoke(t, codeOK, args...)
		t.Logf("driftd %s\n%s", strings.Join(args, " "), out)
	}

	stored := []string{"backtest", "--rules", "budgets.yaml", "--model", "fraud", "--from", june.Format(time.RFC3339), "--against", "running", "-o", "json", "-q"}
	out, _ := invoke(t, codeOK, stored...)
	live := report(t, out).Models[0]
	checkDrift(t, "stored windows", live)
	if d := live.Against; d.Same != 1 || len(d.New)+len(d.Gone)+len(d.Changed) != 0 {
		t.Errorf("the running budget is the same, and tells %+v", d)
	}
	files := []string{"backtest", "--rules", "budgets.yaml", "--file", "june.csv", "--reference", "may.csv", "--time", "at", "--ignore", "id", "--model", "fraud", "-q"}
	out, _ = invoke(t, codeOK, append(files, "-o", "json", "--inject", "country:new=0.2,XX@2026-06-01T06:00:00Z")...)
	m := report(t, out).Models[0]
	if w := m.Injections[0].Drift; w == nil || w.PageAt == nil || w.PageAt.Sub(june) > 14*time.Hour {
		t.Errorf("a fifth of a new country is told %+v", w)
	}
	out, _ = invoke(t, codeOK, append(files, "-o", "json")...)
	checkDrift(t, "a file", report(t, out).Models[0])
	out, _ = invoke(t, codeOK, append(files, "--inject", "amount+1sd@2026-06-01T06:00:00Z")...)
	for _, want := range []string{"fraud: drift within budget oncall: 1 page in 3 days, 10 in 30 days", "false ones may be 1 in 30d", "page    opened: amount moved up", "within the budget a page after "} {
		if !strings.Contains(out, want) {
			t.Errorf("the table does not say %q:\n%s", want, out)
		}
	}

	// Of three days alone nothing is known to be normal.
	out, _ = invoke(t, codeOK, "backtest", "--rules", "budgets.yaml", "--file", "june.csv", "--reference", "june.csv", "--time", "at", "--ignore", "id", "-q")
	if want := "file: its drift is not judged: there are 72 of the 672 windows of its reference period"; !strings.Contains(out, want) {
		t.Errorf("the table does not say %q:\n%s", want, out)
	}

	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DRIFTD_SERVER", "http://127.0.0.1:1")
	out, _ = invoke(t, codeOK, "backtest", "--rules", "budgets.yaml", "--model", "fraud", "--from", june.Format(time.RFC3339), "--store", "data", "-o", "json", "-q")
	checkDrift(t, "the store", report(t, out).Models[0])
}

// TestBacktestUsage: flags that mean nothing together are refused before anything
// is read.
func TestBacktestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	writeMonths(t, ".")
	writeFile(t, "new.yaml", oldRules)
	writeFile(t, "odd.yaml", `[{alert: A, window: 90s, expr: "events == 0"}]`)
	file := []string{"--file", "june.csv", "--reference", "may.csv"}
	for name, c := range map[string]struct {
		args []string
		want string
		code code
	}{
		"fail on":        {[]string{"--fail-on", "rain"}, `--fail-on "rain": use drift`, codeUsage},
		"no file":        {[]string{"--time", "at"}, "belong to --file", codeUsage},
		"whose data":     {[]string{"--inject", "amount*2"}, "need --model", codeUsage},
		"no reference":   {[]string{"--file", "june.csv"}, "--file needs --reference", codeUsage},
		"no time":        {file, "--file needs --time COLUMN or --map", codeUsage},
		"ignore and map": {append(file, "--map", "id=id,time=at,features=*", "--ignore", "id"), "--ignore belongs to --time", codeUsage},
		"store and file": {append(file, "--time", "at", "--store", "data"), "belong to stored windows", codeUsage},
		"running":        {append(file, "--time", "at", "--against", "running"), "are a daemon's rules", codeUsage},
		"no model":       {append(file, "--time", "at"), `no rule watches model "file"`, codeUsage},
		"no column":      {append(file, "--time", "when", "--model", "fraud"), `no column "when"`, codeUsage},
		"injection":      {append(file, "--time", "at", "--model", "fraud", "--inject", "amount"), "write FEATURE+0.25sd", codeUsage},
		"no feature":     {append(file, "--time", "at", "--model", "fraud", "--inject", "amuont*2"), "has no feature", codeUsage},
		"no rules":       {[]string{"--rules", "none.yaml", "--store", "."}, "no store in", codeFailed},
		"window":         {append(file, "--time", "at", "--rules", "odd.yaml"), "not a multiple of the pane", codeUsage},
		"away":           {nil, "no daemon answers", codeTemporary},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DRIFTD_SERVER", "http://127.0.0.1:1")
			_, errOut := invoke(t, c.code, append([]string{"backtest", "--rules", "new.yaml", "-q"}, c.args...)...)
			if !strings.Contains(errOut, c.want) {
				t.Errorf("%s, want %q", errOut, c.want)
			}
		})
	}
	if _, errOut := invoke(t, codeUsage, "report", "shadow", "--since", "long"); !strings.Contains(errOut, "use a duration such as 30d") {
		t.Errorf("since: %s", errOut)
	}
	if _, errOut := invoke(t, codeUsage, "check", "rules", "new.yaml", "--store", "data"); !strings.Contains(errOut, "belong to --noise") {
		t.Errorf("noise: %s", errOut)
	}
}
