package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/config"
)

// A surveyed stream is where a survey comes from, as the configuration names it.
type surveyed struct {
	url      string
	context  string // of the nats CLI, instead of url; "" = none
	stream   string
	subjects []string
}

// A proposal is a configuration in the making.
type proposal struct {
	*survey
	text   strings.Builder
	models []*proposedModel // ascending by name
	common map[string]string
}

// A proposedModel is what a model's entry says.
type proposedModel struct {
	*modelSurvey
	positive, because string
	segments          []string
	features          map[string]string // what follows the name
}

// propose writes a configuration for what a survey found, with the reasons as
// comments.
func (s *survey) propose(from surveyed) string {
	p := &proposal{survey: s, common: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(s.models)) {
		if strings.ContainsAny(name, `*?[]{}\`) {
			continue // it would be read as a glob, or be refused as one
		}
		m := &proposedModel{modelSurvey: s.models[name], features: map[string]string{}}
		m.segments = m.segmentsOf()
		m.positive, m.because = m.modelSurvey.positive()
		for name, f := range m.modelSurvey.features {
			if line := proposeFeature(name, f); line != "" {
				m.features[name] = line
			}
		}
		p.models = append(p.models, m)
	}
	p.shareFeatures()
	p.head(from)
	p.defaults()
	p.entries()
	p.rules()
	return p.text.String()
}

func (p *proposal) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// yamlText writes a text as a key, or with quoted dollars as a value.
func yamlText(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b) // a JSON text is a YAML text
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text is always encodable
	return strings.TrimSpace(b.String())
}

func yamlValue(s string) string { return yamlText(strings.ReplaceAll(s, "$", "$$")) }

func yamlValues(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = yamlValue(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// proposeFeature says what is to be said about a feature, "" for nothing.
func proposeFeature(name string, f *valueSurvey) string {
	if name == "" {
		return ""
	}
	if f.identifies(name) {
		return "{privacy: drop}  # nearly every value is another: an id, or personal"
	}
	if because, ok := f.codes(name); ok {
		return "{type: categorical}  # " + because
	}
	return ""
}

// shareFeatures takes what all models that have a feature agree on out of their
// entries.
func (p *proposal) shareFeatures() {
	having, saying := map[string]int{}, map[string]map[string]int{}
	for _, m := range p.models {
		for name := range m.modelSurvey.features {
			having[name]++
			if line := kindOf(m.features[name]); line != "" {
				if saying[name] == nil {
					saying[name] = map[string]int{}
				}
				saying[name][line]++
			}
		}
	}
	for _, m := range p.models {
		for name, line := range m.features {
			if saying[name][kindOf(line)] == having[name] && len(p.models) > 1 {
				p.common[name] = line
				delete(m.features, name)
			}
		}
	}
}

// kindOf is what a line says, without the reason.
func kindOf(line string) string {
	said, _, _ := strings.Cut(line, "#")
	return strings.TrimSpace(said)
}

func (p *proposal) head(from surveyed) {
	p.line("# Proposed by driftd config init from %s of stream %s,", count(p.messages, "message"), printable(from.stream))
	p.line("# stored %s to %s.", p.first.UTC().Format(time.RFC3339), p.last.UTC().Format(time.RFC3339))
	p.line("# Look through it, then: driftd check config FILE. What is not said has its default")
	p.line("# (driftd config init prints them all). An owner, and who is told, only you know.")
	if p.refused > 0 {
		p.line("# %s refused: driftd tap --invalid --last %d says why.", count(p.refused, "message"), p.messages)
	}
	if n := len(p.survey.models) - len(p.models) + p.unseen; n > 0 {
		p.line("# Models with names that are no names here, or too many: %d left out.", n)
	}
	base := config.Default()
	p.line("\nnats:")
	if from.context != "" {
		p.line("  context: %s", yamlValue(from.context))
	} else {
		p.line("  url: %s", yamlValue(from.url))
	}
	p.line("  stream: %s", yamlValue(from.stream))
	if len(from.subjects) > 0 && !slices.Equal(from.subjects, base.NATS.Subjects) {
		p.line("  subjects: %s", yamlValues(from.subjects))
	}
	if rate := p.rate(); rate < enough {
		p.line("\nwindows:\n  decide: 24h  # some %.0f predictions an hour and model are few for windows of an hour", math.Ceil(rate))
	}
	if len(p.common) > 0 {
		p.line("\nfeatures:  # of every model that has them")
		for _, name := range slices.Sorted(maps.Keys(p.common)) {
			p.line("  %s: %s", yamlText(name), p.common[name])
		}
	}
}

// rate is the median of the models' predictions an hour.
func (p *proposal) rate() float64 {
	hours := p.last.Sub(p.first).Hours()
	if hours <= 0 || len(p.models) == 0 {
		return math.Inf(1)
	}
	rates := make([]float64, len(p.models))
	for i, m := range p.models {
		rates[i] = float64(m.predictions) / hours
	}
	slices.Sort(rates)
	return rates[len(rates)/2]
}

// defaults takes what all models agree on out of their entries.
func (p *proposal) defaults() {
	p.line("\ndefaults:\n  owner: \"\"                      # who answers for a model: a label of its alerts")
	p.line("  budget: oncall")
	same := func(of func(*proposedModel) string) (string, bool) {
		for _, m := range p.models {
			if of(m) != of(p.models[0]) || of(m) == "" {
				return "", false
			}
		}
		return of(p.models[0]), true
	}
	if label, ok := same(func(m *proposedModel) string { return m.positive }); ok {
		p.line("  positive_label: %s  # %s", yamlValue(label), p.models[0].because)
		for _, m := range p.models {
			m.positive = ""
		}
	}
	if list, ok := same(func(m *proposedModel) string { return strings.Join(m.segments, "\x00") }); ok {
		p.line("  segments: %s  # on every prediction, of a few values", yamlValues(strings.Split(list, "\x00")))
		for _, m := range p.models {
			m.segments = nil
		}
	}
}

// own is what a model's entry says beside its name.
func (m *proposedModel) own() string {
	var b strings.Builder
	if m.positive != "" {
		fmt.Fprintf(&b, "    positive_label: %s  # %s\n", yamlValue(m.positive), m.because)
	}
	if len(m.segments) > 0 {
		fmt.Fprintf(&b, "    segments: %s  # on every prediction, of a few values\n", yamlValues(m.segments))
	}
	if len(m.features) > 0 {
		b.WriteString("    features:\n")
		for _, name := range slices.Sorted(maps.Keys(m.features)) {
			fmt.Fprintf(&b, "      %s: %s\n", yamlText(name), m.features[name])
		}
	}
	return b.String()
}

// entries lists the models. Those that share what is before the last separator of
// their names, and everything that is said of them, are one glob.
func (p *proposal) entries() {
	p.line("\ndiscover: true                   # models that come later are observed too; false refuses them")
	p.line("models:")
	family := map[string][]*proposedModel{}
	for _, m := range p.models {
		prefix := m.name[:strings.LastIndexAny(m.name, "-_.")+1]
		family[prefix] = append(family[prefix], m)
	}
	done := map[string]bool{}
	for _, m := range p.models {
		prefix := m.name[:strings.LastIndexAny(m.name, "-_.")+1]
		kin := family[prefix]
		alike := prefix != "" && len(kin) > 1 && !slices.ContainsFunc(p.models, func(o *proposedModel) bool {
			return strings.HasPrefix(o.name, prefix) && o.own() != m.own()
		})
		switch {
		case !alike:
			p.line("  - name: %s  # %s", yamlValue(m.name), m.about())
		case done[prefix]:
			continue
		default:
			done[prefix] = true
			p.line("  - name: %s  # %s", yamlValue(prefix+"*"), count(len(kin), "model"))
		}
		p.text.WriteString(m.own())
	}
}

func (m *proposedModel) about() string {
	return fmt.Sprintf("%s, %s, %s", count(m.predictions, "prediction"), count(len(m.versions), "version"), count(len(m.modelSurvey.features), "feature"))
}

// rules closes the proposal with what is worth a message.
func (p *proposal) rules() {
	p.line(`
budgets:                         # how many false pages people can bear: drift within them needs no rule
  - {name: oncall, receiver: oncall, pages: 2, per: 30d}

rules:
  - {alert: FeatureDrift, expr: "psi_debiased > 0.25 and n >= 1000", for: 2, clear: "psi_debiased < 0.1", severity: ticket, limit: 20}
  - {alert: PredictionErrors, expr: "error_ratio > 0.05 and events >= 100", for: 2, severity: ticket}`)
	if most := p.missing(); most < 0.85 {
		p.line(`  - {alert: MissingValues, expr: "missing_ratio > %.1f", for: 2, severity: ticket, limit: 20}   # %.0f %% is the most in the sample`,
			max(0.2, math.Ceil(10*most+1)/10), 100*most)
	}
	p.line(`
routes: {receiver: oncall}
receivers:
  - {name: oncall, nats: {}}     # on driftd.alerts.<model>; people are told like this:
#  - {name: oncall, pagerduty: {routing_key_file: /run/secrets/pagerduty}}
#  - {name: slack, slack: {webhook_url_file: /run/secrets/slack}}`)
}

// missing is the largest share of a model's predictions that lack a feature.
func (p *proposal) missing() (most float64) {
	for _, m := range p.models {
		for _, f := range m.modelSurvey.features {
			if m.predictions >= enough {
				most = max(most, 1-float64(f.values()+f.others)/float64(m.predictions))
			}
		}
	}
	return most
}
