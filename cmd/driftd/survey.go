package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// What a survey holds at most: a stream's names are without bound.
const (
	surveyModels   = 1000
	surveyFeatures = 2000    // of one model
	surveyValues   = 1024    // told apart of one feature
	surveyRoom     = 1 << 20 // values in all
)

// A survey is what a sample of a stream says about its models.
type survey struct {
	messages, refused int
	first, last       time.Time // of the messages
	models            map[string]*modelSurvey
	unseen            int // events of models beyond surveyModels
	room              int // values that may still be told apart
}

// A modelSurvey is what the sample says about one model.
type modelSurvey struct {
	name        string
	predictions int
	versions    map[string]bool
	features    map[string]*valueSurvey
	segments    map[string]*valueSurvey
	predicted   *valueSurvey
	labels      *valueSurvey // of outcomes named label
}

// A valueSurvey counts the values of one field.
type valueSurvey struct {
	texts, numbers, others int
	whole                  bool           // every number is an integer
	counts                 map[string]int // values told apart, texts and numbers alike
	told                   int            // values seen while further ones were told apart
}

func newSurvey() *survey { return &survey{models: map[string]*modelSurvey{}, room: surveyRoom} }

// add counts an event.
func (s *survey) add(e *event.Event) {
	if e.Model == "" || e.Kind == event.KPI || e.Part == event.Response {
		return
	}
	m := s.models[e.Model]
	if m == nil {
		if len(s.models) == surveyModels {
			s.unseen++
			return
		}
		m = &modelSurvey{
			name: strings.Clone(e.Model), versions: map[string]bool{}, features: map[string]*valueSurvey{}, segments: map[string]*valueSurvey{},
			predicted: newValueSurvey(), labels: newValueSurvey(),
		}
		s.models[m.name] = m
	}
	if e.Kind == event.Outcome {
		if e.Name == "label" {
			s.count(m.labels, e.Label)
		}
		return
	}
	m.predictions++
	if e.Version != "" && len(m.versions) < surveyValues {
		m.versions[strings.Clone(e.Version)] = true
	}
	s.count(m.predicted, e.Prediction)
	if e.Features != nil {
		for i, name := range e.Features.Names {
			s.count(field(m.features, name), e.Values[i])
		}
	}
	for _, seg := range e.Segments {
		s.count(field(m.segments, seg.Name), event.Cat(seg.Value))
	}
}

// field returns the survey of a named field; one that is thrown away when there
// are too many.
func field(fields map[string]*valueSurvey, name string) *valueSurvey {
	v := fields[name]
	if v == nil {
		v = newValueSurvey()
		if len(fields) < surveyFeatures {
			fields[strings.Clone(name)] = v
		}
	}
	return v
}

func newValueSurvey() *valueSurvey { return &valueSurvey{whole: true, counts: map[string]int{}} }

// count counts one value. Absent ones are not counted.
func (s *survey) count(f *valueSurvey, v event.Value) {
	var text string
	switch v.Kind {
	case event.Null:
		return
	case event.Category:
		f.texts++
		text = v.Str
	case event.Number:
		f.numbers++
		f.whole = f.whole && v.Num == math.Trunc(v.Num)
		text = strconv.FormatFloat(v.Num, 'g', -1, 64)
	default:
		f.others++
		return
	}
	if _, known := f.counts[text]; !known && (len(f.counts) == surveyValues || s.room == 0) {
		return
	}
	n := f.counts[text]
	if n == 0 {
		s.room--
		text = strings.Clone(text)
	}
	f.counts[text]++
	if len(f.counts) < surveyValues {
		f.told++
	}
}

// enough is the number of values below which nothing is proposed of a field.
const enough = 100

func (f *valueSurvey) values() int { return f.texts + f.numbers }

// identifies reports whether nearly every value is another, as of an id or an
// address: nothing to compare, and often personal.
func (f *valueSurvey) identifies(name string) bool {
	const nearlyAll = 0.9
	unique := f.told >= enough && float64(len(f.counts)) > nearlyAll*float64(f.told)
	return unique && (f.texts > 0 || f.whole && slices.Contains([]string{"id", "uuid", "key"}, lastWord(name)))
}

// codes reports whether whole numbers stand for kinds of something rather than for
// an amount, and what says so.
func (f *valueSurvey) codes(name string) (because string, ok bool) {
	const few, many = 50, 256
	n := len(f.counts)
	switch {
	case f.texts > 0 && f.numbers > 0:
		return "texts and numbers", f.values() >= enough && n <= many
	case f.numbers < enough || !f.whole || n < 2 || n > many:
		return "", false
	case slices.Contains([]string{"code", "zip", "id", "type", "kind", "class", "category", "status", "group"}, lastWord(name)):
		return strconv.Itoa(n) + " whole numbers, and so it is called", true
	case n == 2:
		return "two values", true
	case n > few:
		return "", false
	}
	values := make([]int, 0, n)
	for text := range f.counts {
		x, err := strconv.Atoi(text)
		if err != nil {
			return "", false // beyond what an integer holds: no code
		}
		values = append(values, x)
	}
	slices.Sort(values)
	if span := values[n-1] - values[0] + 1; span < 0 || span > 3*n {
		return strconv.Itoa(n) + " whole numbers, far apart", true
	}
	if f.turns(values) >= 3 {
		return strconv.Itoa(n) + " whole numbers, up and down in frequency", true
	}
	return "", false
}

// turns counts how often the frequencies of values, in their order, go from rising
// to falling or back. Steps within three standard errors are no steps: amounts rise
// and fall once or twice, codes at random.
func (f *valueSurvey) turns(values []int) (n int) {
	last := 0
	for i := 1; i < len(values); i++ {
		a, b := f.counts[strconv.Itoa(values[i-1])], f.counts[strconv.Itoa(values[i])]
		if math.Abs(float64(a-b)) <= 3*math.Sqrt(float64(a+b)) {
			continue
		}
		if way := cmp.Compare(b, a); way != last {
			if last != 0 {
				n++
			}
			last = way
		}
	}
	return n
}

func lastWord(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '-' || r == '.' || r == ' ' })
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

// segmentsOf returns the segments worth having: on every event, of a few values.
func (m *modelSurvey) segmentsOf() []string {
	const most = 20
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m.segments)) {
		s := m.segments[name]
		if name != "" && m.predictions >= enough && s.texts == m.predictions && len(s.counts) >= 2 && len(s.counts) <= most {
			out = append(out, name)
		}
	}
	return out
}

// positive returns the label that probably counts as positive: of two labels, or
// two predictions when no label came, the one that says yes, else the rarer one.
func (m *modelSurvey) positive() (label, because string) {
	f, what := m.labels, "labels"
	if f.values() < enough {
		f, what = m.predicted, "predictions"
	}
	if f.values() < enough || len(f.counts) != 2 || what == "predictions" && f.texts == 0 {
		return "", ""
	}
	both := slices.Sorted(maps.Keys(f.counts))
	for _, yes := range []string{"1", "true", "yes", "positive"} {
		for _, label := range both {
			if strings.EqualFold(label, yes) {
				return label, "the one that says yes of two " + what
			}
		}
	}
	slices.SortStableFunc(both, func(a, b string) int { return cmp.Compare(f.counts[a], f.counts[b]) })
	if f.counts[both[0]] == f.counts[both[1]] {
		return "", ""
	}
	return both[0], "the rarer of two " + what
}
