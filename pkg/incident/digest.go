package incident

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ledger"
)

// RatedSpan is how far a digest looks back for what people said: in a week nobody
// answers often enough.
const RatedSpan = 90 * 24 * time.Hour

// Bounds of a digest, and of what it proposes. A proposal needs so many answers, or
// diagnoses of one cause, that it is not about a single bad night.
const (
	digestModels   = 50
	digestRules    = 200
	digestUnheeded = 20
	leastAnswers   = 5
	leastPrecision = 0.5
	leastCauses    = 3
)

// A DigestInput is what a digest is made of beside the incidents.
type DigestInput struct {
	From, To time.Time // event time, [From, To)
	Watched  time.Time // since when there are events, event time; zero: there are none
	Rules    []string  // names of the rules in force that tell somebody
	Budgets  []BudgetUse
	Budget   map[string]string // name of a model's budget, by model
}

// A BudgetUse is what was drawn from a budget.
type BudgetUse struct {
	Name  string
	Pages float64
	Per   string
	Spent int         // in the last Per
	Drawn []time.Time // of the same, event time
}

// NewDigest sums up the incidents that opened in a span, and proposes what to tune.
// Those in shadow, which nobody was told of, only show that a rule can fire.
func NewDigest(all []*Incident, in DigestInput) *ledger.Digest {
	d := &ledger.Digest{
		Type: "digest", From: in.From.UTC(), To: in.To.UTC(), RatedFrom: in.To.Add(-RatedSpan).UTC(),
		Unheeded: []string{}, Models: []ledger.DigestModel{}, Causes: []ledger.DigestCause{}, Budgets: []ledger.DigestBudget{}, Rules: []ledger.Precision{}, Proposals: []ledger.Proposal{},
	}
	rated, told := opened(all, d.RatedFrom, in.To), []*Incident{}
	for _, i := range rated {
		if !i.Shadow {
			told = append(told, i)
		}
	}
	span := opened(told, in.From, in.To)
	d.Incidents = len(span)
	for _, i := range span {
		if i.paged() {
			d.Pages++
		}
		if i.Open() {
			d.Open++
		}
		if i.unheeded() && len(d.Unheeded) < digestUnheeded {
			d.Unheeded = append(d.Unheeded, i.ID)
		}
	}
	d.Models, d.Causes = digestOfModels(span), causesOf(span)
	d.Rules = precisions(told)
	d.Budgets = digestOfBudgets(told, in)
	for _, found := range [][]ledger.Proposal{imprecise(d.Rules), silent(rated, in, d.RatedFrom), neglected(span), frequent(told)} {
		d.Proposals = append(d.Proposals, found...)
	}
	d.Rules = d.Rules[:min(len(d.Rules), digestRules)]
	return d
}

// opened returns the incidents that opened in a span, by time and id.
func opened(all []*Incident, from, to time.Time) []*Incident {
	out := slices.DeleteFunc(slices.Clone(all), func(i *Incident) bool { return i.Opened.Before(from) || !i.Opened.Before(to) })
	slices.SortFunc(out, func(a, b *Incident) int { return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (i *Incident) paged() bool { return i.Severity == alert.SeverityPage }

// unheeded: somebody was to be woken, and nobody said that they were there.
func (i *Incident) unheeded() bool { return i.paged() && !i.Open() && i.Acknowledged == nil }

// Rules returns the names of the rules of its alerts, each once, ascending.
func (i *Incident) Rules() []string {
	var out []string
	for k := range i.Members {
		if name := i.Members[k].Labels["alertname"]; name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func digestOfModels(span []*Incident) []ledger.DigestModel {
	byModel := map[string][]*Incident{}
	for _, i := range span {
		for _, m := range i.Models() {
			byModel[m] = append(byModel[m], i)
		}
	}
	out := []ledger.DigestModel{}
	for _, name := range slices.Sorted(maps.Keys(byModel)) {
		m := ledger.DigestModel{Model: name, Incidents: len(byModel[name])}
		for _, i := range byModel[name] {
			if i.paged() {
				m.Pages++
			}
		}
		for _, c := range causesOf(byModel[name]) {
			if m.Cause = c.Cause; m.Cause != "" {
				break
			}
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b ledger.DigestModel) int {
		return cmp.Or(cmp.Compare(b.Incidents, a.Incidents), cmp.Compare(b.Pages, a.Pages))
	})
	return out[:min(len(out), digestModels)]
}

// causesOf counts incidents by cause, the most frequent first; "" is no diagnosis.
func causesOf(span []*Incident) []ledger.DigestCause {
	count := map[string]int{}
	for _, i := range span {
		cause := ""
		if i.Diagnosis != nil {
			cause = i.Diagnosis.Cause
		}
		count[cause]++
	}
	out := []ledger.DigestCause{}
	for _, cause := range slices.Sorted(maps.Keys(count)) {
		out = append(out, ledger.DigestCause{Cause: cause, Incidents: count[cause]})
	}
	slices.SortStableFunc(out, func(a, b ledger.DigestCause) int { return cmp.Compare(b.Incidents, a.Incidents) })
	return out
}

// precisions counts the answers by rule, by name.
func precisions(told []*Incident) []ledger.Precision {
	byRule := map[string][]*Incident{}
	for _, i := range told {
		for _, name := range i.Rules() {
			byRule[name] = append(byRule[name], i)
		}
	}
	out := []ledger.Precision{}
	for _, name := range slices.Sorted(maps.Keys(byRule)) {
		p := precisionOf(byRule[name])
		p.Rule = name
		out = append(out, p)
	}
	return out
}

func precisionOf(incidents []*Incident) (p ledger.Precision) {
	for _, i := range incidents {
		switch {
		case i.Worth == nil:
			p.Unanswered++
		case i.Worth.Worth == WorthYes:
			p.Yes++
		case i.Worth.Worth == WorthNo:
			p.No++
		default:
			p.Unsure++
		}
	}
	if answered := p.Yes + p.No; answered > 0 {
		p.Precision = new(float64(p.Yes) / float64(answered))
	}
	return p
}

// digestOfBudgets: the pages of a budget are the incidents that were a page of a model
// that draws from it.
func digestOfBudgets(told []*Incident, in DigestInput) []ledger.DigestBudget {
	out := []ledger.DigestBudget{}
	for _, b := range in.Budgets {
		draws := func(model string) bool { return in.Budget[model] == b.Name }
		pages := slices.DeleteFunc(slices.Clone(told), func(i *Incident) bool { return !i.paged() || !slices.ContainsFunc(i.Models(), draws) })
		row := ledger.DigestBudget{Budget: b.Name, Pages: b.Pages, Per: b.Per, Spent: b.Spent, Precision: precisionOf(pages)}
		for _, at := range b.Drawn {
			if !at.Before(in.From) && at.Before(in.To) {
				row.Drawn++
			}
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(a, b ledger.DigestBudget) int { return cmp.Compare(a.Budget, b.Budget) })
	return out
}

// imprecise are rules that wake people for nothing.
func imprecise(rules []ledger.Precision) (out []ledger.Proposal) {
	for _, p := range rules {
		answers := p.Yes + p.No
		if answers < leastAnswers || *p.Precision >= leastPrecision {
			continue
		}
		advice := "raise its threshold, let it hold for longer, or try it in shadow"
		if slices.Contains(alert.OwnRules, p.Rule) {
			advice = "give what moves harmlessly less weight, or the budget fewer pages"
		}
		out = append(out, ledger.Proposal{Kind: "imprecise_rule", Subject: p.Rule, Text: fmt.Sprintf(
			"%d of %d answered incidents were worth waking for in %s (%d unsure, %d unanswered): %s", p.Yes, answers, daysText(RatedSpan), p.Unsure, p.Unanswered, advice)})
	}
	return out
}

// silent are rules that have not fired for as long as anybody can remember.
func silent(rated []*Incident, in DigestInput, since time.Time) (out []ledger.Proposal) {
	if in.Watched.IsZero() || in.Watched.After(since) {
		return nil
	}
	fired := map[string]bool{}
	for _, i := range rated {
		for _, name := range i.Rules() {
			fired[name] = true
		}
	}
	for _, name := range slices.Sorted(slices.Values(in.Rules)) {
		if !fired[name] {
			out = append(out, ledger.Proposal{Kind: "silent_rule", Subject: name, Text: "it has not fired in " + daysText(RatedSpan) + ": backtest it, and lower its threshold or remove it"})
		}
	}
	return out[:min(len(out), digestRules)]
}

// neglected are models whose pages nobody acknowledged.
func neglected(span []*Incident) (out []ledger.Proposal) {
	pages, unheeded := map[string]int{}, map[string]int{}
	for _, i := range span {
		for _, m := range i.Models() {
			if i.paged() && !i.Open() {
				pages[m]++
			}
			if i.unheeded() {
				unheeded[m]++
			}
		}
	}
	for _, m := range slices.Sorted(maps.Keys(unheeded)) {
		out = append(out, ledger.Proposal{Kind: "unheeded", Subject: m, Text: fmt.Sprintf(
			"%d of %d pages ended without anybody acknowledging them: is the receiver the right one, or should they be tickets?", unheeded[m], pages[m])})
	}
	return out[:min(len(out), digestModels)]
}

// advice says what prevents the next incident of a cause.
var advice = map[string]string{
	"upstream_data":    "agree on checks with who sends the data, or watch it nearer to its source",
	"schema_change":    "let schema changes be announced, and set an expected change for them",
	"new_release":      "let releases run as canary or shadow first",
	"population_shift": "retrain, or renew the baseline",
	"seasonality":      "take a baseline that spans a whole season, or compare with the same hour last week",
	"labeling":         "look at how labels are made before the model is changed",
	"infrastructure":   "alert on the infrastructure itself",
	"expected_change":  "set an expected change before it happens",
	"false_alarm":      "raise the threshold of what fired",
}

// frequent is the cause of most incidents, if there is one.
func frequent(told []*Incident) []ledger.Proposal {
	diagnosed := slices.DeleteFunc(slices.Clone(told), func(i *Incident) bool { return i.Diagnosis == nil })
	causes := causesOf(diagnosed)
	if len(causes) == 0 || causes[0].Incidents < leastCauses || 2*causes[0].Incidents < len(diagnosed) {
		return nil
	}
	text := fmt.Sprintf("the cause of %d of %d diagnosed incidents in %s", causes[0].Incidents, len(diagnosed), daysText(RatedSpan))
	if what := advice[causes[0].Cause]; what != "" {
		text += ": " + what
	}
	return []ledger.Proposal{{Kind: "frequent_cause", Subject: causes[0].Cause, Text: text}}
}

func daysText(d time.Duration) string { return fmt.Sprintf("%d d", int(d.Hours()/24)) }
