package config

import (
	"reflect"
	"strings"
)

// A field is one key of a struct, as its tags say.
type field struct {
	name      string
	index     int
	required  bool // must be given
	restart   bool // a reload cannot change it
	omitEmpty bool // not shown when it has its zero value
}

type fields []field

// fieldsOf returns the keys of struct type t in order.
func fieldsOf(t reflect.Type) fields {
	var out fields
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("json")
		if !ok {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		out = append(out, field{
			name:      name,
			index:     i,
			required:  t.Field(i).Tag.Get("config") == "required",
			restart:   t.Field(i).Tag.Get("config") == "restart",
			omitEmpty: strings.HasPrefix(options, "omit"),
		})
	}
	return out
}

func (fs fields) find(name string) (field, bool) {
	for _, f := range fs {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

func (fs fields) names() []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.name
	}
	return out
}
