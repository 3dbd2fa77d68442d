package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseFeature reads a feature as a person writes it: a distribution or weighted
// categories, and behind them missing=SHARE and unit=UNIT, as in
//
//	normal(50, 10)
//	integer(exponential(620)) missing=0.03
//	lognormal(3.87, 0.55) unit=100
//	categories(DE=60, FR=30, NL=10)
//
// The distributions are constant(X), normal(MEAN, SIGMA), lognormal(MU, SIGMA),
// uniform(LOW, HIGH), exponential(MEAN), zero_inflated(ZERO, DIST), integer(DIST)
// and mixture(SHARE, DIST, DIST).
func ParseFeature(name, text string) (Feature, error) {
	out := Feature{Name: name}
	term, rest, err := parseTerm(text)
	if err != nil {
		return out, err
	}
	if term.name == "categories" {
		out.Categories, err = term.categories()
	} else {
		out.Dist, err = term.dist()
	}
	if err != nil {
		return out, err
	}
	for word := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(word, "=")
		x, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
			return out, fmt.Errorf("%q: write missing=0.1 or unit=100 behind the distribution", word)
		case key == "missing":
			out.Missing = x
		case key == "unit":
			out.Unit = x
		default:
			return out, fmt.Errorf("%q: %s is none of missing and unit", word, key)
		}
	}
	return out, out.fault()
}

// ParseDist reads a distribution as ParseFeature does.
func ParseDist(text string) (Dist, error) {
	term, rest, err := parseTerm(text)
	if err != nil {
		return nil, err
	}
	if rest = strings.TrimSpace(rest); rest != "" {
		return nil, fmt.Errorf("%q behind the distribution", rest)
	}
	d, err := term.dist()
	if err != nil {
		return nil, err
	}
	return d, d.valid()
}

// A term is NAME(ARGUMENT, ...), where an argument may be a term.
type term struct {
	name string
	args []string
}

// parseTerm reads the term that text begins with.
func parseTerm(text string) (t term, rest string, err error) {
	text = strings.TrimSpace(text)
	t.name, rest, _ = strings.Cut(text, "(")
	t.name = strings.TrimSpace(t.name)
	if t.name == "" || len(t.name) == len(text) {
		return t, "", fmt.Errorf("%.60q is no distribution such as normal(50, 10) or categories(DE=60, FR=40)", text)
	}
	depth, from := 0, 0
	for i, r := range rest {
		switch {
		case r == '(':
			depth++
		case r == ')' && depth > 0:
			depth--
		case r == ')', r == ',' && depth == 0:
			t.args = append(t.args, strings.TrimSpace(rest[from:i]))
			if from = i + 1; r == ')' {
				return t, rest[from:], nil
			}
		}
	}
	return t, "", fmt.Errorf("%.60q: a bracket is not closed", text)
}

func (t term) categories() ([]Category, error) {
	var out []Category
	for _, arg := range t.args {
		at := strings.LastIndexByte(arg, '=')
		weight, err := strconv.ParseFloat(arg[at+1:], 64)
		if at < 1 || err != nil {
			return nil, fmt.Errorf("category %q: write NAME=WEIGHT", arg)
		}
		out = append(out, Category{Name: arg[:at], Weight: weight})
	}
	return out, nil
}

func (t term) dist() (Dist, error) {
	forms := map[string]struct {
		numbers, dists int // arguments, in this order
		make           func(x []float64, d []Dist) Dist
	}{
		"constant":      {1, 0, func(x []float64, _ []Dist) Dist { return Constant(x[0]) }},
		"normal":        {2, 0, func(x []float64, _ []Dist) Dist { return Normal{Mean: x[0], Sigma: x[1]} }},
		"lognormal":     {2, 0, func(x []float64, _ []Dist) Dist { return LogNormal{Mu: x[0], Sigma: x[1]} }},
		"uniform":       {2, 0, func(x []float64, _ []Dist) Dist { return Uniform{Low: x[0], High: x[1]} }},
		"exponential":   {1, 0, func(x []float64, _ []Dist) Dist { return Exponential{Mean: x[0]} }},
		"zero_inflated": {1, 1, func(x []float64, d []Dist) Dist { return ZeroInflated{Zero: x[0], Dist: d[0]} }},
		"integer":       {0, 1, func(_ []float64, d []Dist) Dist { return Integer{Dist: d[0]} }},
		"mixture":       {1, 2, func(x []float64, d []Dist) Dist { return Mixture{Share: x[0], A: d[0], B: d[1]} }},
	}
	form, ok := forms[t.name]
	if !ok {
		return nil, fmt.Errorf("%q is no distribution: there are constant, normal, lognormal, uniform, exponential, zero_inflated, integer, mixture, and categories for a feature", t.name)
	}
	if len(t.args) != form.numbers+form.dists {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", t.name, form.numbers+form.dists, len(t.args))
	}
	numbers := make([]float64, form.numbers)
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseFloat(t.args[i], 64); err != nil {
			return nil, fmt.Errorf("%s: %q is no number", t.name, t.args[i])
		}
	}
	dists := make([]Dist, form.dists)
	for i := range dists {
		var err error
		if dists[i], err = ParseDist(t.args[form.numbers+i]); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return form.make(numbers, dists), nil
}
