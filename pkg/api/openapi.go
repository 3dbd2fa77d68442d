package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

type object = map[string]any

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// describe returns the OpenAPI 3.1 document of the routes.
func describe(routes []route, version string) []byte {
	d := describer{schemas: object{}}
	paths := object{}
	for _, rt := range routes {
		path := strings.TrimSuffix(rt.path, "{$}") // the mux's end of a path
		item, _ := paths[path].(object)
		if item == nil {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(rt.method)] = d.operation(rt)
	}
	d.schemas["problem"] = d.fields(reflect.TypeFor[problem]())
	out, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info":    object{"title": "driftd", "version": version, "description": "Times in answers are RFC 3339 in UTC; numbers that are not defined are null."},
		"paths":   paths,
		"components": object{"schemas": d.schemas, "securitySchemes": object{
			"bearer":      object{"type": "http", "scheme": "bearer", "description": "a token of http.tokens_file; the list after it is the least role that an operation needs, of read, label, operate and admin; or ingest, which the last three have too"},
			"basic":       object{"type": "http", "scheme": "basic", "description": "the token as the password, for browsers"},
			"certificate": object{"type": "mutualTLS", "description": "a certificate with a name of http.tls.clients"},
		}},
	}, "", " ")
	if err != nil {
		panic("api: a tree of maps and strings cannot be encoded: " + err.Error())
	}
	return append(out, '\n')
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *request) error {
	return sendText(w, jsonType, s.openapi)
}

// A describer turns Go types into JSON schemas, each named type once.
type describer struct{ schemas object }

func (d *describer) operation(rt route) object {
	parameters := []object{}
	for _, name := range pathParameter.FindAllStringSubmatch(rt.path, -1) {
		parameters = append(parameters, object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range rt.query {
		parameters = append(parameters, object{"name": p.name, "in": "query", "description": p.about, "schema": p.schema()})
	}
	if rt.method != http.MethodGet && rt.bodies == nil {
		parameters = append(parameters, object{
			"name": "Idempotency-Key", "in": "header", "schema": object{"type": "string", "maxLength": 255},
			"description": "the same key and request again: the same answer, and nothing is done twice",
		})
	}
	success := object{"description": "success"}
	switch {
	case rt.answer != nil:
		success["content"] = object{jsonType: object{"schema": d.schema(reflect.TypeOf(rt.answer))}}
	case rt.media != "":
		success["content"] = object{rt.media: object{}}
	}
	out := object{
		"summary": rt.summary, "parameters": parameters,
		"responses": object{
			"2XX":     success,
			"default": object{"description": "failure", "content": object{"application/problem+json": object{"schema": reference("problem")}}},
		},
	}
	if out["security"] = []object{}; rt.need() != Public {
		role := []string{rt.need().String()}
		out["security"] = []object{{"bearer": role}, {"basic": role}, {"certificate": role}}
	}
	if rt.bodies != nil {
		content := object{}
		for _, media := range rt.bodies {
			content[media] = object{}
		}
		out["requestBody"] = object{"required": true, "content": content}
	}
	if rt.body != "" {
		out["requestBody"] = object{"required": true, "content": object{rt.body: object{"schema": d.schema(reflect.TypeOf(rt.bodyOf))}}}
	}
	return out
}

func (p parameter) schema() object {
	switch p.kind {
	case "integer", "boolean", "string":
		return object{"type": p.kind}
	case "time":
		return object{"type": "string", "examples": []string{"2026-01-02T15:04:05Z", "1767366245", "-24h"}}
	case "duration":
		return object{"type": "string", "examples": []string{"5m", "1h", "1d"}}
	}
	return object{"type": "string", "enum": strings.Split(p.kind, "|")}
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

var plainSchemas = map[reflect.Type]object{
	reflect.TypeFor[time.Time]():       {"type": "string", "format": "date-time"},
	reflect.TypeFor[Num]():             {"type": []string{"number", "null"}},
	reflect.TypeFor[ledger.Hash]():     {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
	reflect.TypeFor[json.RawMessage](): {},
	reflect.TypeFor[[]byte]():          {"type": "string", "contentEncoding": "base64"},
}

// schema returns the schema of what encoding/json makes of a type.
func (d *describer) schema(t reflect.Type) object {
	if plain, ok := plainSchemas[t]; ok {
		return plain
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"anyOf": []object{d.schema(t.Elem()), {"type": "null"}}}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		if strings.Contains(t.Name(), "[") { // a list of something
			return d.fields(t)
		}
		if _, known := d.schemas[t.Name()]; !known {
			d.schemas[t.Name()] = object{} // ends recursion
			d.schemas[t.Name()] = d.fields(t)
		}
		return reference(t.Name())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float64:
		return object{"type": "number"}
	}
	return object{"type": "integer"}
}

// fields returns the schema of a struct.
func (d *describer) fields(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		properties[name] = d.schema(f.Type)
		if !strings.Contains(options, "omit") && len(f.Index) == 1 {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}
