package config

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// How a setting differs, the Kind of a Change.
const (
	Changed   = "changed"
	Added     = "added"
	Removed   = "removed"
	Reordered = "reordered" // a list in which the first that matches wins
)

// A Change is one setting in which two configurations differ.
type Change struct {
	Path string // such as rules[AmountDrift].expr: an element that has a name goes by it
	Kind string
	// From and To are the values as Effective writes them, "" where there is none
	// or where one element says too much. Secrets and addresses read Hidden.
	From, To string
	Restart  bool // only the next start can apply it

	place string // path in the later of the two, or of what it was part of
}

// String returns the change as one line.
func (c Change) String() string {
	if c.Kind == Changed {
		return fmt.Sprintf("%s: %s -> %s", c.Path, c.From, c.To)
	}
	return c.Path + " " + c.Kind
}

// Changes returns what is different in next, in the order of the documentation.
func (c *Config) Changes(next *Config) []Change {
	d := differ{}
	d.fields(spot{}, reflect.ValueOf(*c), reflect.ValueOf(*next))
	return d.changes
}

// Reloadable returns Faults for what is different in next and only a restart can
// change: each stands where next's file has it.
func (c *Config) Reloadable(next *Config) error {
	var faults Faults
	for _, change := range c.Changes(next) {
		if !change.Restart {
			continue
		}
		what := change.Kind
		if what == Changed && change.From != Hidden {
			what = fmt.Sprintf("changed from %s to %s", change.From, change.To)
		}
		faults = append(faults, next.Fault(change.place, "%s was %s, which takes a restart: restart driftd, or undo it to reload the rest", change.Path, what))
	}
	return faults.sorted().err()
}

// Fault returns something wrong with the value at path, with its place when the
// configuration came from a file.
func (c *Config) Fault(path, format string, args ...any) Fault {
	f := Fault{File: c.file, Path: path, Message: fmt.Sprintf(format, args...)}
	if c.file != "" {
		at := c.places.at(path)
		f.Line, f.Column = at.line, at.column
	}
	return f
}

// A spot is where two values are compared.
type spot struct {
	path, place string
	restart     bool
}

func (s spot) key(name string) spot {
	s.path, s.place = join(s.path, name), join(s.place, name)
	return s
}

// element goes on to an element of a list that both know by name, and that stands
// at position i of the later one; -1: it is gone.
func (s spot) element(name string, i int) spot {
	s.path = fmt.Sprintf("%s[%s]", s.path, name)
	if i >= 0 {
		s.place = fmt.Sprintf("%s[%d]", s.place, i)
	}
	return s
}

// A differ collects changes.
type differ struct {
	changes []Change
}

func (d *differ) add(at spot, kind string, from, to string) {
	d.changes = append(d.changes, Change{Path: at.path, Kind: kind, From: from, To: to, Restart: at.restart, place: at.place})
}

// fields compares two structs.
func (d *differ) fields(at spot, a, b reflect.Value) {
	for _, f := range fieldsOf(a.Type()) {
		below := at.key(f.name)
		below.restart = at.restart || f.restart
		from, to := a.Field(f.index), b.Field(f.index)
		if f.omitEmpty && from.IsZero() != to.IsZero() {
			d.presence(below, from, to)
			continue
		}
		d.value(below, from, to)
	}
}

// presence notes a value that only one of the two has.
func (d *differ) presence(at spot, from, to reflect.Value) {
	switch {
	case !single(from.Type()) && from.IsZero():
		d.add(at, Added, "", "")
	case !single(from.Type()):
		d.add(at, Removed, "", "")
	case from.IsZero():
		d.add(at, Added, "", show(to))
	default:
		d.add(at, Removed, show(from), "")
	}
}

// value compares two values of one type.
func (d *differ) value(at spot, a, b reflect.Value) {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return
	}
	switch t := a.Type(); {
	case single(t):
		if t.Kind() == reflect.Slice && a.Len()+b.Len() == 0 {
			return // nil and empty
		}
		d.add(at, Changed, show(a), show(b))
	case t.Kind() == reflect.Pointer && (a.IsNil() || b.IsNil()):
		d.presence(at, a, b)
	case t.Kind() == reflect.Pointer:
		d.value(at, a.Elem(), b.Elem())
	case t.Kind() == reflect.Struct:
		d.fields(at, a, b)
	case t.Kind() == reflect.Map:
		d.maps(at, a, b)
	default:
		d.lists(at, a, b)
	}
}

// maps compares two maps, whose keys are texts.
func (d *differ) maps(at spot, a, b reflect.Value) {
	keys := slices.Concat(a.MapKeys(), b.MapKeys())
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	keys = slices.CompactFunc(keys, func(a, b reflect.Value) bool { return a.String() == b.String() })
	for _, k := range keys {
		from, to := a.MapIndex(k), b.MapIndex(k)
		below := at.key(k.String())
		switch {
		case !from.IsValid():
			d.presence(below, reflect.Zero(to.Type()), to)
		case !to.IsValid():
			below.place = at.place
			d.presence(below, from, reflect.Zero(from.Type()))
		default:
			d.value(below, from, to)
		}
	}
}

// lists compares two lists of structs: by name where they have one, else by
// position.
func (d *differ) lists(at spot, a, b reflect.Value) {
	old, now := names(a), names(b)
	for i, name := range old {
		if !slices.Contains(now, name) {
			d.add(at.element(name, -1), Removed, "", "")
			continue
		}
		j := slices.Index(now, name)
		d.value(at.element(name, j), a.Index(i), b.Index(j))
	}
	for j, name := range now {
		if !slices.Contains(old, name) {
			d.add(at.element(name, j), Added, "", "")
		}
	}
	in := func(list []string) func(string) bool { return func(s string) bool { return !slices.Contains(list, s) } }
	if !slices.Equal(slices.DeleteFunc(slices.Clone(old), in(now)), slices.DeleteFunc(slices.Clone(now), in(old))) {
		d.add(at, Reordered, "", "")
	}
}

// names returns what the elements of a list go by: the first key that must be
// given, or their position.
func names(list reflect.Value) []string {
	out := make([]string, list.Len())
	for i := range out {
		out[i] = fmt.Sprint(i)
		if first := fieldsOf(list.Type().Elem())[0]; first.required {
			out[i] = list.Index(i).Field(first.index).String()
		}
	}
	return out
}

// single reports whether values of a type are shown as a whole.
func single(t reflect.Type) bool {
	if t.Implements(reflect.TypeFor[encodable]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Slice:
		return single(t.Elem())
	case reflect.Struct, reflect.Map:
		return false
	case reflect.Pointer:
		return single(t.Elem())
	}
	return true
}

// show writes a value in one line.
func show(v reflect.Value) string {
	switch v.Interface().(type) {
	case Secret, Address, []Address:
		return Hidden
	}
	n := node(v)
	if n.Kind == yaml.ScalarNode {
		return cmp.Or(n.Value, `""`)
	}
	n.Style = yaml.FlowStyle
	text, err := yaml.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("config: a tree of plain nodes cannot be written: %v", err))
	}
	return strings.TrimSpace(string(text))
}
