package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"driftd.dev/driftd/pkg/event"
)

// PolicySpec returns the privacy policy with the given key, which HMACKey gives.
func (c *Config) PolicySpec(key []byte) event.PolicySpec {
	spec := event.PolicySpec{
		Default: action(c.Privacy.Default),
		Fields:  map[string]event.FieldRule{},
		HMACKey: key,
	}
	for name, r := range c.Privacy.Fields {
		spec.Fields[name] = event.FieldRule{Action: action(r.Action), BucketWidth: r.Width}
	}
	for name, rule := range fieldRules(c.Features) {
		if rule.Action == event.Unset {
			rule.Action, rule.BucketWidth = spec.Fields[name].Action, spec.Fields[name].BucketWidth
		}
		spec.Fields[name] = rule
	}
	for _, m := range c.Models {
		if len(m.Features) > 0 {
			spec.Models = append(spec.Models, event.ModelPolicy{Glob: m.Name, Fields: fieldRules(m.Features)})
		}
	}
	return spec
}

func fieldRules(features map[string]Feature) map[string]event.FieldRule {
	out := make(map[string]event.FieldRule, len(features))
	for name, f := range features {
		rule := event.FieldRule{Type: valueType(f.Type)}
		if f.Privacy != nil {
			rule.Action, rule.BucketWidth = action(f.Privacy.Action), f.Privacy.Width
		}
		out[name] = rule
	}
	return out
}

func action(a Action) event.Action {
	out, _ := event.ParseAction(string(a))
	return out
}

func valueType(t FeatureType) event.ValueType {
	switch t {
	case "numeric":
		return event.NumericType
	case "categorical":
		return event.CategoricalType
	}
	return event.Auto
}

// FeatureTypes returns the overrides that hold for a model, by feature name;
// those of its own entry win. The model "" is any: every entry counts, the first
// that names a feature wins, as compare wants it.
func (c *Config) FeatureTypes(model string) map[string]FeatureType {
	out := map[string]FeatureType{}
	for i := len(c.Models) - 1; i >= 0; i-- {
		if model != "" && &c.Models[i] != c.model(model) {
			continue
		}
		for name, f := range c.Models[i].Features {
			out[name] = f.Type
		}
	}
	for name, f := range c.Features {
		if own, ok := out[name]; !ok || own == "auto" {
			out[name] = f.Type
		}
	}
	return out
}

// hmacKeyName is the file in the store's folder that holds a key driftd made.
const hmacKeyName = "hmac.key"

// HMACKey returns the key of the action hmac: the configured one or, without
// one, that in the store's folder, which the first call makes. It is nil when no
// field is hashed. Call it after the store is locked.
func (c *Config) HMACKey() ([]byte, error) {
	if !c.hashes() {
		return nil, nil
	}
	if c.Privacy.HMACKey.Set() || c.Privacy.HMACKeyFile != "" {
		text, err := c.Source(c.Privacy.HMACKey, c.Privacy.HMACKeyFile)()
		return []byte(text), err
	}
	path := filepath.Join(c.Store.Dir, hmacKeyName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path, "privacy hmac")
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of privacy hmac: %w", err)
	}
	return []byte(strings.TrimSpace(string(text))), nil
}

// makeKey writes 256 random bits in hex to a file that only the owner reads.
func makeKey(path, what string) ([]byte, error) {
	key := []byte(hex.EncodeToString(random(32)))
	if err := writeDurably(path, append(key, '\n')); err != nil {
		return nil, fmt.Errorf("make a key for %s: %w", what, err)
	}
	return key, nil
}

// writeDurably makes a file that is whole or absent, and on the disk when it
// returns: what is hashed with a key that a power cut then takes away could never
// be counted with what comes later.
func writeDurably(path string, text []byte) error {
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails: it ends the process instead
	return b
}

// hashes reports whether any field is hashed.
func (c *Config) hashes() bool {
	if c.Privacy.Default == "hmac" {
		return true
	}
	for _, r := range c.Privacy.Fields {
		if r.Action == "hmac" {
			return true
		}
	}
	all := []map[string]Feature{c.Features}
	for _, m := range c.Models {
		all = append(all, m.Features)
	}
	for _, features := range all {
		for _, f := range features {
			if f.Privacy != nil && f.Privacy.Action == "hmac" {
				return true
			}
		}
	}
	return false
}
