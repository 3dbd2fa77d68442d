package ruletest

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A Value is what a Series is in one window.
type Value struct {
	X    float64
	Kind ValueKind
}

// A ValueKind says whether there is a number.
type ValueKind uint8

// The kinds of values.
const (
	Number    ValueKind = iota
	Undefined           // there were events, and the statistic is not defined
	Stale               // the series is not there
)

// MaxWindows bounds the windows of a test.
const MaxWindows = 10_000

// steps is a+bxn, a-bxn and axn of numbers as strconv reads them.
var steps = regexp.MustCompile(`^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(?:([+-][0-9.]+(?:[eE][+-]?[0-9]+)?))?x([0-9]+)$`)

// ParseValues reads Prometheus' expanding notation, with blanks between:
//
//	a       one value                  _       a value that is not defined
//	axn     a, and n times more a      _xn     n of these
//	a+bxn   a, a+b, ... a+n*b          stale   the series is gone
func ParseValues(text string) ([]Value, error) {
	var out []Value
	for word := range strings.FieldsSeq(text) {
		next, err := expand(word)
		if err != nil {
			return nil, err
		}
		if out = append(out, next...); len(out) > MaxWindows {
			return nil, fmt.Errorf("%d values and more: at most %d are allowed", len(out), MaxWindows)
		}
	}
	if len(out) == 0 {
		return nil, errors.New(`there are no values: write such as 0.05x10 0.3 _x2 stale`)
	}
	return out, nil
}

func expand(word string) ([]Value, error) {
	if word == "stale" {
		return []Value{{Kind: Stale}}, nil
	}
	if word == "_" {
		return []Value{{Kind: Undefined}}, nil
	}
	if times, ok := strings.CutPrefix(word, "_x"); ok {
		n, err := strconv.ParseUint(times, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q: write _x3 for three values that are not defined", word)
		}
		return slices.Repeat([]Value{{Kind: Undefined}}, int(n)), nil
	}
	if parts := steps.FindStringSubmatch(word); parts != nil {
		first, err := strconv.ParseFloat(parts[1], 64)
		step := 0.0
		if err == nil && parts[2] != "" {
			step, err = strconv.ParseFloat(parts[2], 64)
		}
		n, many := strconv.ParseUint(parts[3], 10, 16)
		if err = errors.Join(err, many); err == nil {
			out := make([]Value, n+1)
			for i := range out {
				out[i].X = first + float64(i)*step
			}
			return out, nil
		}
	}
	if x, err := strconv.ParseFloat(word, 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
		return []Value{{X: x}}, nil
	}
	return nil, fmt.Errorf("%q is no value: write 0.3, 0.3x4 for five of it, 0.1+0.05x3 for steps, _ for undefined, or stale", word)
}

// ParseSeries reads what a series is of: a variable and labels of alerts, as in
// psi{model="fraud", model_version="7", variant="canary", segment="channel=app", feature="amount"}.
// A model is needed, a version with a variant.
func ParseSeries(text string) (variable string, key drift.Key, err error) {
	variable, rest, ok := strings.Cut(strings.TrimSpace(text), "{")
	if variable = strings.TrimSpace(variable); !slices.Contains(alert.Variables(), variable) {
		return "", key, fmt.Errorf("%.40q is no variable of rules: there are %s", variable, strings.Join(alert.Variables(), ", "))
	}
	labels, err := parseLabels(rest)
	if err != nil || !ok {
		return "", key, errors.Join(err, fmt.Errorf(`write the series as %s{model="fraud"}`, variable))
	}
	for name, value := range labels {
		switch name {
		case "model":
			key.Model = value
		case "model_version":
			key.Version = value
		case "segment":
			key.Segment = value
		case "feature":
			key.Signal = value
		case "variant":
			if key.Variant, ok = event.ParseVariant(value); !ok {
				return "", key, fmt.Errorf("variant %q is none of primary, canary, shadow", value)
			}
		default:
			return "", key, fmt.Errorf("series have the labels model, model_version, variant, segment and feature, not %q", name)
		}
	}
	if key.Model == "" {
		return "", key, errors.New(`a series needs the label model`)
	}
	if key.Variant != event.Primary && key.Version == "" {
		return "", key, errors.New("a variant is of a version: add model_version")
	}
	return variable, key, nil
}

// parseLabels reads a="b", c="d"} to the end.
func parseLabels(text string) (map[string]string, error) {
	out := map[string]string{}
	for {
		text = strings.TrimLeft(text, " ,")
		if rest, ok := strings.CutPrefix(text, "}"); ok && strings.TrimSpace(rest) == "" {
			return out, nil
		}
		name, rest, _ := strings.Cut(text, "=")
		quoted, err := strconv.QuotedPrefix(strings.TrimLeft(rest, " "))
		if err != nil {
			return nil, fmt.Errorf("%.40q: labels are name=\"value\" with commas between, in { }", text)
		}
		value, _ := strconv.Unquote(quoted) // it was just seen to be quoted
		out[strings.TrimSpace(name)] = value
		text = strings.TrimLeft(rest, " ")[len(quoted):]
	}
}
