package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What one file may decode to: aliases can make it grow exponentially, and one
// that is part of its own value makes it endless.
const (
	maxNodes = 200_000
	maxDepth = 32
	// maxFaults is what a person reads; the rest are counted.
	maxFaults = 100
)

// place is where a value stands in the file.
type place struct {
	line, column int
	text         int // characters before its text: 0, or 1 for a quote; -1: further down, or not as written
}

func placeOf(n *yaml.Node) place {
	p := place{line: n.Line, column: n.Column}
	switch {
	case n.Kind != yaml.ScalarNode, strings.ContainsAny(n.Value, "$\\\"\n"):
		p.text = -1
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		p.text = -1
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		p.text = 1
	}
	return p
}

// places is where each value of a file stands, by path.
type places map[string]place

// at returns the place of path, or of the nearest value above it.
func (ps places) at(path string) place {
	for path != "" {
		if p, ok := ps[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return place{line: 1, column: 1}
}

// A decoder walks a tree of YAML nodes into a Go value and collects faults and
// the place of each path. It belongs to one Load.
type decoder struct {
	file    string
	lookup  func(string) (string, bool)
	faults  Faults
	more    int // faults beyond maxFaults
	places  places
	secrets []string // as they stand in the file: snippets must not show them
	nodes   int
	depth   int
}

// What a type can do to be read otherwise than by its kind.
type (
	scalar    interface{ parse(text string) error }
	word      interface{ words() []string }
	decodable interface {
		decode(d *decoder, path string, n *yaml.Node)
	}
	defaulted interface{ setDefaults() }
)

func (d *decoder) fault(path string, n *yaml.Node, format string, args ...any) {
	if len(d.faults) == maxFaults {
		d.more++
		return
	}
	d.faults = append(d.faults, Fault{
		File: d.file, Line: n.Line, Column: n.Column, Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// value reads n into v, a pointer.
func (d *decoder) value(path string, n *yaml.Node, v any) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.fault(path, n, "more than %d values: aliases multiply them", maxNodes)
		}
		return
	}
	if d.depth++; d.depth > maxDepth {
		d.nodes = maxNodes + 1
		d.fault(path, n, "more than %d levels: an alias may be part of its own value", maxDepth)
	}
	defer func() { d.depth-- }()
	if d.nodes > maxNodes {
		return
	}
	if _, known := d.places[path]; !known {
		d.places[path] = placeOf(n)
	}
	switch t := v.(type) {
	case decodable:
		t.decode(d, path, n)
		return
	case scalar:
		d.scalar(path, n, t)
		return
	}
	d.kind(path, n, reflect.ValueOf(v).Elem())
}

// kind reads n into v by v's kind.
func (d *decoder) kind(path string, n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(path, n, v.Addr().Interface())
	case reflect.Slice:
		d.list(path, n, v.Addr().Interface())
	case reflect.Map:
		d.dictionary(path, n, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if t, ok := v.Interface().(defaulted); ok {
			t.setDefaults()
		}
		d.value(path, n, v.Interface())
	default:
		d.basic(path, n, v)
	}
}

// mapping reads n into the struct that v points to.
func (d *decoder) mapping(path string, n *yaml.Node, v any) {
	if null(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(path, n, "expected keys and values, found %s", describe(n))
		return
	}
	fields := fieldsOf(reflect.TypeOf(v).Elem())
	seen := map[string]bool{}
	d.pairs(path, n, func(key, value *yaml.Node) {
		f, known := fields.find(key.Value)
		if !known {
			seen[d.unknown(path, key, value, fields.names())] = true
			return
		}
		seen[key.Value] = true
		d.value(join(path, key.Value), value, reflect.ValueOf(v).Elem().Field(f.index).Addr().Interface())
	})
	for _, f := range fields {
		if f.required && !seen[f.name] {
			d.fault(path, n, "%q is missing", f.name)
		}
	}
}

// unknown reports a key that is none of known, and returns the one that was
// probably meant. What stands there may be a secret.
func (d *decoder) unknown(path string, key, value *yaml.Node, known []string) string {
	hint := suggest(key.Value, known)
	if hint == "" {
		hint = ": expected " + strings.Join(known, ", ")
		if len(known) == 0 {
			hint = ": there are no fields here"
		}
	}
	if value.Kind == yaml.ScalarNode && len(value.Value) > 5 && secretWord.MatchString(key.Value+hint) {
		d.hide(value.Value)
	}
	d.fault(join(path, key.Value), key, "unknown field %q%s", key.Value, hint)
	meant := nearest(key.Value, known)
	if meant != "" && d.more == 0 {
		d.faults[len(d.faults)-1].meant = join(path, meant)
	}
	return meant
}

// dictionary reads n into the map v, whose keys are texts.
func (d *decoder) dictionary(path string, n *yaml.Node, v reflect.Value) {
	if null(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(path, n, "expected keys and values, found %s", describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(path, n, func(key, value *yaml.Node) {
		element := newElement(v.Type().Elem())
		d.value(join(path, key.Value), value, element.Interface())
		v.SetMapIndex(reflect.ValueOf(key.Value), element.Elem())
	})
}

// pairs calls visit for each key of a mapping that is a text and new.
func (d *decoder) pairs(path string, n *yaml.Node, visit func(key, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Tag == "!!merge":
			d.fault(path, key, "merge keys (<<) are not supported: use defaults, or repeat the keys")
		case key.Kind != yaml.ScalarNode:
			d.fault(path, key, "expected a text as key, found %s", describe(key))
		case first[key.Value] != 0:
			d.fault(join(path, key.Value), key, "%q is given twice, first on line %d", key.Value, first[key.Value])
		default:
			first[key.Value] = key.Line
			visit(key, value)
		}
	}
}

// list reads n into the slice that v points to. It replaces a default.
func (d *decoder) list(path string, n *yaml.Node, v any) {
	if null(n) {
		return
	}
	slice := reflect.ValueOf(v).Elem()
	if n.Kind != yaml.SequenceNode {
		d.fault(path, n, "expected a list, found %s", describe(n))
		return
	}
	slice.Set(reflect.MakeSlice(slice.Type(), 0, len(n.Content)))
	for i, item := range n.Content {
		element := newElement(slice.Type().Elem())
		d.value(fmt.Sprintf("%s[%d]", path, i), item, element.Interface())
		slice.Set(reflect.Append(slice, element.Elem()))
	}
}

// text returns the text of a scalar after expansion.
func (d *decoder) text(path string, n *yaml.Node) (string, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		d.fault(path, n, "expected one value, found %s", describe(n))
		return "", false
	}
	if null(n) {
		d.fault(path, n, "there is no value: write \"\" for an empty one, or remove the key")
		return "", false
	}
	text, err := expand(n.Value, d.lookup)
	if err != nil {
		d.fault(path, n, "%v", err)
		return "", false
	}
	return text, true
}

// scalar reads a type that parses itself.
func (d *decoder) scalar(path string, n *yaml.Node, v scalar) {
	text, ok := d.text(path, n)
	if !ok {
		return
	}
	if _, ok := v.(*Secret); ok {
		d.hide(n.Value)
	}
	if err := v.parse(text); err != nil {
		d.fault(path, n, "%v", err)
	}
}

func (d *decoder) hide(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			d.secrets = append(d.secrets, line)
		}
	}
}

// basic reads texts, numbers, booleans and words.
func (d *decoder) basic(path string, n *yaml.Node, v reflect.Value) {
	text, ok := d.text(path, n)
	if !ok {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if w, ok := v.Interface().(word); ok && !slices.Contains(w.words(), text) {
			d.fault(path, n, "expected %s, found %q%s", alternatives(w.words()), text, suggest(text, w.words()))
			return
		}
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.fault(path, n, "expected true or false, found %q", text)
			return
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Uint64:
		i, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			d.fault(path, n, "expected a whole number from 0, found %q", text)
			return
		}
		v.Set(reflect.ValueOf(i).Convert(v.Type()))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.fault(path, n, "expected a number, found %q", text)
			return
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("config: %s has a type that no file can hold: %s", path, v.Type()))
	}
}

func newElement(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if e, ok := v.Interface().(defaulted); ok {
		e.setDefaults()
	}
	return v
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// describe says in words what stands in the file.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return describe(n.Alias)
	}
	if null(n) {
		return "nothing"
	}
	return "a single value"
}

// alternatives joins words: "a, b or c".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join appends a key to a path: a.b, or a["b c"] for a key that is no plain word.
func join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}
