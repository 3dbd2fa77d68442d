package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// A bom is a software bill of materials in CycloneDX 1.6. It holds no time and no
// random number, so that equal binaries give equal bytes.
type bom struct {
	Format       string          `json:"bomFormat"`
	SpecVersion  string          `json:"specVersion"`
	Version      int             `json:"version"`
	Metadata     bomMetadata     `json:"metadata"`
	Components   []bomComponent  `json:"components"`
	Dependencies []bomDependency `json:"dependencies"`
}

type bomMetadata struct {
	Component bomComponent `json:"component"`
}

type bomComponent struct {
	Type       string        `json:"type"` // application or library
	Ref        string        `json:"bom-ref"`
	Name       string        `json:"name"`
	Version    string        `json:"version"`
	PURL       string        `json:"purl"`
	Properties []bomProperty `json:"properties,omitempty"`
}

type bomProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type bomDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func newSBOMCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "sbom [BINARY]",
		Short: "Print the bill of materials of this driftd, or of another Go binary",
		Long: `Print the modules that a binary was built of, as go version -m lists them, and the
version of Go, in CycloneDX 1.6 JSON.`,
		Example: "  driftd sbom > driftd.cdx.json\n  driftd sbom /usr/bin/driftd",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := os.Executable()
			if len(args) == 1 {
				file, err = args[0], nil
			}
			if err != nil {
				return err
			}
			info, err := buildinfo.ReadFile(file)
			if err != nil {
				return fmt.Errorf("read the build information of %s: %w", file, err)
			}
			b, err := newBOM(info)
			if err != nil {
				return err
			}
			if e.output == "" { // a bill of materials is no table
				e.output = "json"
			}
			return e.print(result{value: b})
		},
	}
}

func newBOM(info *debug.BuildInfo) (*bom, error) {
	if info.Main.Path == "" {
		return nil, errors.New("the binary was built outside of a module: nothing tells what it is made of")
	}
	main := module("application", info.Main)
	out := &bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Metadata: bomMetadata{main}}
	for _, s := range info.Settings {
		out.Metadata.Component.Properties = append(out.Metadata.Component.Properties, bomProperty{"go:build:" + s.Key, s.Value})
	}
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	out.Components = []bomComponent{module("library", debug.Module{Path: "stdlib", Version: goVersion})}
	for _, d := range info.Deps {
		for d.Replace != nil {
			d = d.Replace
		}
		out.Components = append(out.Components, module("library", *d))
	}
	direct := bomDependency{Ref: main.Ref, DependsOn: []string{}}
	for _, c := range out.Components { // build information does not tell whose dependency each is
		direct.DependsOn = append(direct.DependsOn, c.Ref)
	}
	out.Dependencies = []bomDependency{direct}
	return out, nil
}

func module(kind string, m debug.Module) bomComponent {
	purl := "pkg:golang/" + strings.ReplaceAll(url.PathEscape(m.Path), "%2F", "/")
	if m.Version != "" {
		purl += "@" + url.QueryEscape(m.Version)
	}
	c := bomComponent{Type: kind, Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
	if m.Sum != "" { // of the module's files, not of one archive: no hash of CycloneDX
		c.Properties = []bomProperty{{"go:sum", m.Sum}}
	}
	return c
}
