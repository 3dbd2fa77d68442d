package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file.
const maxFile = 4 << 20

// Options say how a file is read. The zero value reads it as the daemon does.
type Options struct {
	LookupEnv func(name string) (string, bool) // nil: the process's environment
}

// Load reads, expands, decodes and checks a file. Its error is Faults, all of
// them, unless the file could not be read.
func Load(file string, o Options) (*Config, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, text, o)
}

// Parse is Load of a text; name stands for the file in messages.
func Parse(name string, text []byte, o Options) (*Config, error) {
	c := Default()
	d := newDecoder(name, o)
	if root := d.parse(text); root != nil {
		d.value("", root, c)
	}
	c.complete()
	if d.nodes <= maxNodes {
		d.add(c.faults())
	}
	if err := d.report(text).err(); err != nil {
		return nil, err
	}
	c.file, c.places = name, d.places
	return c, nil
}

// LoadRules reads and checks what decides, alone: a list of rules, or a mapping of
// rules and of what says which model draws on which budget, spelled as in a
// configuration. The rest is as by default. Windows are not compared with a
// configuration's, nor receivers.
func LoadRules(file string, o Options) (*Config, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	return ParseRules(file, text, o)
}

// ParseRules is LoadRules of a text; name stands for the file in messages.
func ParseRules(name string, text []byte, o Options) (*Config, error) {
	c := Default()
	doc := struct {
		Rules    []Rule             `json:"rules"`
		Budgets  []Budget           `json:"budgets"`
		Defaults Defaults           `json:"defaults"`
		Models   []Model            `json:"models"`
		Features map[string]Feature `json:"features"`
	}{Defaults: c.Defaults}
	d := newDecoder(name, o)
	if root := d.parse(text); root != nil {
		if root.Kind == yaml.SequenceNode {
			d.value("rules", root, &doc.Rules)
		} else {
			d.value("", root, &doc)
			if len(d.faults) == 0 && doc.Rules == nil && doc.Budgets == nil {
				d.fault("", root, "neither \"rules\" nor \"budgets\": there is nothing to decide")
			}
		}
	}
	c.Rules, c.Budgets, c.Defaults, c.Models, c.Features = doc.Rules, doc.Budgets, doc.Defaults, doc.Models, doc.Features
	c.complete()
	v := &validator{}
	v.models(c)
	v.features("features", c.Features)
	v.budgets(c, false)
	v.rules(c, false)
	d.add(v.faults)
	if err := d.report(text).err(); err != nil {
		return nil, err
	}
	return c, nil
}

func newDecoder(file string, o Options) *decoder {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	return &decoder{file: file, lookup: o.LookupEnv, places: places{}}
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read configuration: %s is larger than %s", file, Size(maxFile))
	}
	return text, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse returns the root of the only document, nil if there is none or it is no
// YAML.
func (d *decoder) parse(text []byte) *yaml.Node {
	source := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := source.Decode(&doc)
	if err == nil {
		err = source.Decode(&second)
		if err == nil {
			at := &second
			if len(second.Content) > 0 {
				at = second.Content[0]
			}
			d.fault("", at, "a second document starts here: a configuration is one document")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		at := &yaml.Node{Line: 1, Column: 1}
		m := yamlLine.FindStringSubmatch(err.Error())
		if m != nil && m[1] != "" {
			at.Line, _ = strconv.Atoi(m[1])
		}
		d.fault("", at, "not YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
		return nil
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// add appends faults that know only their path, but for those of values that
// could not be read.
func (d *decoder) add(fs Faults) {
	earlier := d.faults
	for _, f := range fs {
		if len(d.faults) == maxFaults {
			d.more++
			continue
		}
		if lost(earlier, f.Path) {
			continue
		}
		at := d.places.at(f.Path)
		f.File, f.Line = d.file, at.line
		if at.text < 0 || f.Column == 0 {
			f.Column = at.column
		} else {
			f.Column += at.column + at.text - 1
		}
		d.faults = append(d.faults, f)
	}
}

// lost reports whether one of faults is about path or about a value above it.
func lost(faults Faults, path string) bool {
	within := func(above string) bool {
		rest, ok := strings.CutPrefix(path, above)
		return ok && above != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	return slices.ContainsFunc(faults, func(f Fault) bool { return within(f.Path) || within(f.meant) })
}

// report returns the faults in order, each with its snippet.
func (d *decoder) report(text []byte) Faults {
	lines := strings.Split(string(text), "\n")
	for i := range d.faults {
		f := &d.faults[i]
		f.Message = mask(f.Message, d.secrets)
		f.Snippet = snippet(lines, f.Line, f.Column, d.secrets)
	}
	fs := d.faults.sorted()
	if d.more > 0 {
		last := fs[len(fs)-1]
		fs = append(fs, Fault{File: d.file, Line: last.Line, Column: last.Column, Message: fmt.Sprintf("%d more faults are not shown", d.more)})
	}
	return fs
}
