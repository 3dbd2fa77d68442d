package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"driftd.dev/driftd/pkg/config"
)

func newConfigCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Show, describe and begin a configuration",
		Long:    "Config prints configurations: what a file amounts to, what may stand in one, and one to begin with.",
		Example: "  driftd config init > driftd.yaml\n  driftd config show -c driftd.yaml --effective",
	}
	cmd.AddCommand(newConfigShowCmd(e), newConfigSchemaCmd(e), newConfigInitCmd(e))
	return cmd
}

func newConfigShowCmd(e *env) *cobra.Command {
	var file string
	var effective bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print a configuration as the daemon understands it",
		Long: `Print a configuration as the daemon understands it, in YAML unless -o says else:
variables expanded, and secrets as <secret>. With --effective every default is
there too; without a file it is the defaults.`,
		Example: "  driftd config show\n  driftd config show -c driftd.yaml --effective",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return e.showConfig(file, effective)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.Flags().BoolVar(&effective, "effective", false, "also what the file leaves to the defaults")
	return cmd
}

func (e *env) showConfig(file string, effective bool) error {
	c, err := loadConfig(file)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(c.Effective(), &doc); err != nil {
		return fmt.Errorf("read the effective configuration: %w", err)
	}
	if file != "" && !effective {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var written yaml.Node
		if err := yaml.Unmarshal(text, &written); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		keepWritten(&doc, &written)
	}
	return e.printYAML(&doc)
}

// keepWritten removes from shown, at every depth, the keys of mappings that
// written lacks. Lists are shown whole: their elements have no name.
func keepWritten(shown, written *yaml.Node) {
	switch {
	case shown.Kind == yaml.DocumentNode && written.Kind == yaml.DocumentNode:
		keepWritten(shown.Content[0], written.Content[0])
	case shown.Kind == yaml.DocumentNode: // an empty file sets nothing
		shown.Content[0].Content = nil
	case shown.Kind != yaml.MappingNode || written.Kind != yaml.MappingNode:
	default:
		var kept []*yaml.Node
		for i := 0; i+1 < len(shown.Content); i += 2 {
			for j := 0; j+1 < len(written.Content); j += 2 {
				if shown.Content[i].Value == written.Content[j].Value {
					keepWritten(shown.Content[i+1], written.Content[j+1])
					kept = append(kept, shown.Content[i], shown.Content[i+1])
				}
			}
		}
		shown.Content = kept
	}
}

// printYAML prints a document as YAML, which is its native form, or as JSON.
func (e *env) printYAML(doc *yaml.Node) error {
	if e.output == "" || e.output == "yaml" || e.output == "table" {
		var text bytes.Buffer
		enc := yaml.NewEncoder(&text)
		enc.SetIndent(2)
		if err := enc.Encode(doc); err != nil {
			return fmt.Errorf("print as yaml: %w", err)
		}
		_, err := e.out.Write(text.Bytes())
		return err
	}
	if e.output == "csv" {
		return badUsage("-o csv: a configuration is no list; use yaml or json")
	}
	var value any
	if err := doc.Decode(&value); err != nil {
		return fmt.Errorf("print as %s: %w", e.output, err)
	}
	return e.print(result{value: value})
}

func newConfigSchemaCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a configuration, for editors",
		Long: `Print the JSON Schema of a configuration. An editor completes and checks a file
that begins with

  # yaml-language-server: $schema=driftd.schema.json`,
		Example: "  driftd config schema > driftd.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if e.output == "" || e.output == "table" {
				e.output = "json"
			}
			return e.print(result{value: json.RawMessage(config.Schema())})
		},
	}
}
