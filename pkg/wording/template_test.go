package wording_test

import (
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/wording"
)

func message() wording.Data {
	at := time.Date(2026, 1, 1, 11, 0, 0, 0, time.UTC)
	return wording.Data{
		Kind: "alert", Status: "firing", Severity: "page", Title: "Page: AmountDrift on fraud/amount", Text: "amount moved.", Rule: "AmountDrift", Model: "fraud",
		Stats: map[string]float64{"psi": 0.31256}, Labels: map[string]string{"team": "risk"}, Start: at, Origin: "this release",
		Versions: []string{"43 brings 92 %", "42 brings 8 %"},
		Alerts:   []wording.Alert{{Rule: "AmountDrift", Feature: "amount"}, {Rule: "AgeDrift", Feature: "age"}}, Firing: 2,
	}
}

func TestSay(t *testing.T) {
	for text, want := range map[string]string{
		`{{.Model}}: {{.Rule}}`:                                                 "fraud: AmountDrift",
		`[{{upper .Severity}}] {{.Title}}`:                                      "[PAGE] Page: AmountDrift on fraud/amount",
		`{{range .Alerts}}{{.Rule}} on {{.Feature}}; {{end}}`:                   "AmountDrift on amount; AgeDrift on age;",
		`{{range $i, $a := .Alerts}}{{$i}}{{range $.Versions}}x{{end}}{{end}}`:  "0xx1xx",
		`{{round 2 .Stats.psi}} {{.Labels.team}} {{.Labels.none}}`:              "0.31 risk",
		`{{date "15:04" .Start}} {{default "nobody" .Owner}}`:                   "11:00 nobody",
		`{{join ", " .Versions}} {{cut 7 .Title}}`:                              "43 brings 92 %, 42 brings 8 % Page…",
		`{{if and (eq .Status "firing") (gt .Firing 1)}}many{{else}}one{{end}}`: "many",
		`{{with .Origin}}from {{.}}{{end}}{{/* nothing */}}`:                    "from this release",
		`  `: "",
	} {
		parsed, err := wording.Parse(text, wording.MostText)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := parsed.Say(message())
		if err != nil || got != want {
			t.Errorf("%s says %q, %v, want %q", text, got, err, want)
		}
	}
}

// What could run away, print anything or call anything is refused, with its line.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a\n{{.Nothing}}":                            "line 2:2: executing",
		"a\nb {{if}}":                                "line 2: missing value for if",
		"{{printf \"%9d\" 1}}":                       "function printf is not allowed: there are and, cut, date,",
		"{{print .Title}}":                           "line 1:2: function print is not allowed",
		"{{call .Title}}":                            "function call is not allowed",
		"{{html .Title}}":                            "function html is not allowed",
		"{{shout .Title}}":                           `function "shout" not defined`,
		"{{range 1000000}}{{end}}":                   "range goes over one of .Cells",
		"{{range len .Alerts}}{{end}}":               "range goes over one of",
		"{{range $x := .Firing}}{{end}}":             "range goes over one of",
		"{{$x := 9}}\n{{range $x}}{{end}}":           "line 2:8: range goes over one of",
		"{{range (index .Alerts 0).Alerts}}{{end}}":  "range goes over one of",
		"{{define \"x\"}}{{template \"x\"}}{{end}}a": "define and block are not allowed",
		"{{block \"x\" .}}{{end}}":                   "define and block are not allowed",
		"{{template \"template\" .}}":                "template is not allowed",
		"{{if eq (printf \"\") .Title}}{{end}}":      "function printf is not allowed",
		"{{(printf \"\").X}}":                        "function printf is not allowed",
		"{{if .Title}}{{else}}{{print 1}}{{end}}":    "function print is not allowed",
		"{{range .Alerts}}{{range $.Links}}{{range $.Around}}{{end}}{{end}}{{end}}": "more than 2 loops",
		strings.Repeat("x", 20_000): "more than 4096",
		"{{index .Alerts 7}}":       "index out of range",
	} {
		_, err := wording.Parse(text, wording.MostText)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// However much there is to say, it is cut, at a character.
func TestSayIsBounded(t *testing.T) {
	d := message()
	d.Title = strings.Repeat("é", 1<<20)
	d.Versions = make([]string, 1000)
	for i := range d.Versions {
		d.Versions[i] = d.Title
		d.Labels[strings.Repeat("l", i)] = d.Title
	}
	text := `{{range .Versions}}{{range $k, $v := $.Labels}}{{$v}}{{$.Title}}{{end}}{{end}}{{join $.Title .Versions}}{{upper .Title}}`
	for _, limit := range []int{1, 2, 5, wording.MostTitle, wording.MostText} {
		parsed, err := wording.Parse(text, limit)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed.Say(d)
		if err != nil || len(got) > limit || strings.Contains(got, "\uFFFD") {
			t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
		}
	}
	loops := 0
	silent, err := wording.Parse(`{{range .Versions}}{{range $k, $v := $.Labels}}.{{end}}{{end}}`, wording.MostText)
	if err != nil {
		t.Fatal(err)
	}
	got, err := silent.Say(d)
	if loops = len(got); err != nil || loops != 20*20 {
		t.Errorf("%d rounds, %v, want 400", loops, err)
	}
}

// A template may fail on a message that lacks what it takes for granted.
func TestSayFails(t *testing.T) {
	parsed, err := wording.Parse(`{{if .Alerts}}{{(index .Alerts 0).Rule}} {{if eq .Firing 2}}{{index .Alerts 9}}{{end}}{{end}}`, wording.MostText)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parsed.Say(message()); err == nil || !strings.Contains(err.Error(), "line 1:") {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{{range .Alerts}}{{.Rule}}{{end}}`)
	f.Add(`{{with $x := .Stats}}{{round 2 $x.psi}}{{end}}`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := wording.Parse(text, 100)
		if err != nil {
			return
		}
		if got, err := parsed.Say(message()); err == nil && len(got) > 100 {
			t.Errorf("%q says %d bytes", text, len(got))
		}
	})
}
