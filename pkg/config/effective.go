package config

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// encodable is a type written otherwise than by its kind. It returns what to
// write instead, or nil for its own fields.
type encodable interface{ encode() any }

// Effective returns the whole configuration, defaults included, as YAML. Secrets
// read "<secret>". Keys are in the order of the documentation and maps in that
// of their keys, so that equal configurations give equal bytes.
func (c *Config) Effective() []byte {
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(node(reflect.ValueOf(*c))); err != nil {
		panic(fmt.Sprintf("config: a tree of plain nodes cannot be written: %v", err))
	}
	return []byte(b.String())
}

// Hash returns "sha256:" and the SHA-256 of Effective: what runs, without
// secrets.
func (c *Config) Hash() string {
	sum := sha256.Sum256(c.Effective())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// DecisionHash is Hash over what decides, without where the process lives: two
// replicas with other addresses and folders decide alike, and so have the same.
// It is what a ledger entry may hold.
func (c *Config) DecisionHash() string {
	d, base := *c, Default()
	d.NATS = base.NATS
	d.NATS.Stream, d.NATS.Subjects, d.NATS.SubjectTemplate = c.NATS.Stream, c.NATS.Subjects, c.NATS.SubjectTemplate
	d.Store.Dir, d.Store.VerifyEvery, d.HTTP, d.Metrics, d.DLQ, d.Receivers = base.Store.Dir, base.Store.VerifyEvery, base.HTTP, base.Metrics, base.DLQ, nil
	d.Watch, d.Incidents, d.Digest, d.Publish, d.Models = base.Watch, base.Incidents, base.Digest, base.Publish, c.unpublished()
	d.Privacy.HMACKey, d.Privacy.HMACKeyFile = Secret{}, ""
	return d.Hash()
}

// node returns v as a tree of YAML.
func node(v reflect.Value) *yaml.Node {
	if e, ok := v.Interface().(encodable); ok {
		if instead := e.encode(); instead != nil {
			return node(reflect.ValueOf(instead))
		}
	}
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, _ := t.MarshalText()
		return text2node(string(text), plain(v))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return node(v.Elem())
	case reflect.Struct:
		return structNode(v)
	case reflect.Map:
		return mapNode(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Len() == 0 || plain(v.Index(0)) || v.Index(0).Kind() == reflect.String {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, node(v.Index(i)))
		}
		return n
	case reflect.String:
		return text2node(v.String(), false)
	case reflect.Float64:
		return text2node(strconv.FormatFloat(v.Float(), 'g', -1, 64), true)
	}
	return text2node(fmt.Sprint(v.Interface()), true)
}

// plain reports whether v is written without quotes whatever it reads like.
func plain(v reflect.Value) bool {
	switch v.Interface().(type) {
	case Duration, Size, Hold:
		return true
	}
	return false
}

func text2node(text string, plain bool) *yaml.Node {
	if plain {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.ReplaceAll(text, "$", "$$")}
	if text == "" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func structNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		value := v.Field(f.index)
		if f.omitEmpty && value.IsZero() {
			continue
		}
		n.Content = append(n.Content, text2node(f.name, true), node(value))
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

func mapNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k.String()}
		n.Content = append(n.Content, key, node(v.MapIndex(k)))
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}
