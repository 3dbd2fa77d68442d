package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema returns the JSON Schema of the file, for editors. It says what may be
// written; Load checks more.
func Schema() []byte {
	type route Route
	types := schemaTypes()
	types[reflect.TypeFor[Route]()] = &jsonschema.Schema{Ref: "#/$defs/route"}
	root := schemaOf(reflect.TypeFor[Config](), types)
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "driftd configuration"
	root.Defs = map[string]*jsonschema.Schema{"route": schemaOf(reflect.TypeFor[route](), types)}
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("config: the schema cannot be written: %v", err))
	}
	return append(text, '\n')
}

// schemaOf infers the schema of struct type t. The types are known at compile
// time, so that a failure is a fault of this package, which a test would show.
func schemaOf(t reflect.Type, types map[reflect.Type]*jsonschema.Schema) *jsonschema.Schema {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		panic(fmt.Sprintf("config: no schema for %s: %v", t, err))
	}
	loosen(s, t)
	return s
}

// schemaTypes returns how the types that are written as texts look.
func schemaTypes() map[reflect.Type]*jsonschema.Schema {
	const duration = `^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?|.*\$\{.*)$`
	text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	types := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Secret]():   text(),
		reflect.TypeFor[Address]():  text(),
		reflect.TypeFor[Network]():  text(),
		reflect.TypeFor[Duration](): {Type: "string", Pattern: duration},
		reflect.TypeFor[Size]():     {Types: []string{"string", "integer"}},
		reflect.TypeFor[Hold]():     {Types: []string{"string", "integer"}},
		reflect.TypeFor[Segmentation](): {OneOf: []*jsonschema.Schema{
			text(), {Type: "array", Items: text()},
		}},
	}
	for _, w := range []any{Action(""), FeatureType(""), Severity(""), Notify(""), NoData(""), Role(""), Variant(""), Trigger(""), Reference(""), DLQBody(""), MailTLS(""), FeatureSeries(""), Requirement("")} {
		s := text()
		for _, word := range w.(word).words() {
			s.Enum = append(s.Enum, word)
		}
		types[reflect.TypeOf(w)] = s
	}
	action := types[reflect.TypeFor[Action]()]
	rule := schemaOf(reflect.TypeFor[PrivacyRule](), types)
	types[reflect.TypeFor[PrivacyRule]()] = &jsonschema.Schema{OneOf: []*jsonschema.Schema{action, rule}}
	return types
}

// loosen corrects what the inference cannot know: only the keys tagged so are
// required, and neither lists nor what is absent may be null.
func loosen(s *jsonschema.Schema, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		if t.Kind() == reflect.Map && s.AdditionalProperties != nil {
			s = s.AdditionalProperties
		}
		if t.Kind() == reflect.Slice && s.Items != nil {
			s = s.Items
		}
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || s.Properties == nil {
		return
	}
	s.Required = nil
	for _, f := range fieldsOf(t) {
		if f.required {
			s.Required = append(s.Required, f.name)
		}
		property := s.Properties[f.name]
		if property.Types = slices.DeleteFunc(property.Types, func(t string) bool { return t == "null" }); len(property.Types) == 1 {
			property.Type, property.Types = property.Types[0], nil
		}
		loosen(property, t.Field(f.index).Type)
	}
}
