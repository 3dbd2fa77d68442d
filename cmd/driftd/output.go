package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"driftd.dev/driftd/pkg/api"
)

// A result is what a command found, for every format:
//
//	json, yaml    value
//	table         head and rows, between the lines above and below
//	csv           wide, or head and rows
//	ndjson        items, or value when there are none
type result struct {
	value any
	items []any
	sheet
	wide  *sheet // more columns than a terminal has room for
	above []string
	below []string
}

// A sheet is a table: head names the columns, and each row is parallel to it.
// Cells are strings, booleans, integers, float64, api.Num or nil.
type sheet struct {
	head []string
	rows [][]any
}

// print writes a result to stdout in the format that -o asks for.
func (e *env) print(r result) error {
	var text bytes.Buffer
	var err error
	switch e.output {
	case "json":
		err = writeJSON(&text, r.value, "  ")
	case "yaml":
		err = writeYAML(&text, r.value)
	case "csv":
		if r.wide == nil {
			r.wide = &r.sheet
		}
		err = writeCSV(&text, *r.wide)
	case "ndjson":
		items := r.items
		if items == nil && r.head == nil {
			items = []any{r.value}
		}
		for _, item := range items {
			if err == nil {
				err = writeJSON(&text, item, "")
			}
		}
	default:
		err = e.writeTable(&text, r)
	}
	if err != nil {
		return fmt.Errorf("print as %s: %w", e.output, err)
	}
	if _, err := e.out.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// writeJSON writes one value and a line break. Keys stand in the order of the
// struct, and those of maps ascend, so equal values give equal bytes.
func writeJSON(w io.Writer, value any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(value)
}

// writeYAML writes the JSON of a value as YAML: the same keys, in the same
// order, with the same numbers.
func writeYAML(w io.Writer, value any) error {
	var text bytes.Buffer
	if err := writeJSON(&text, value, ""); err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text.Bytes(), &node); err != nil {
		return err
	}
	blockStyle(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return err
	}
	return enc.Close()
}

func blockStyle(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode || len(n.Content) > 0 { // empty ones stay [] and {}
		n.Style = 0
	}
	for _, c := range n.Content {
		blockStyle(c)
	}
}

func writeCSV(w io.Writer, s sheet) error {
	out := csv.NewWriter(w)
	record := make([]string, len(s.head))
	if err := out.Write(s.head); err != nil {
		return err
	}
	for _, row := range s.rows {
		for i, cell := range row {
			record[i] = cellText(cell, -1)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// writeTable writes a table for people: aligned, numbers cut to four digits.
func (e *env) writeTable(w io.Writer, r result) error {
	for _, line := range r.above {
		fmt.Fprintln(w, line)
	}
	if r.head != nil {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.ToUpper(strings.Join(r.head, "\t")))
		for _, row := range r.rows {
			cells := make([]string, len(row))
			for i, cell := range row {
				cells[i] = printable(cellText(cell, 4))
			}
			fmt.Fprintln(t, strings.Join(cells, "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, line := range r.below {
		fmt.Fprintln(w, line)
	}
	return nil
}

// printable keeps names from events from driving the terminal: control
// characters, tabs and line breaks are shown as escapes.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// cellText prints one cell with at most digits digits of a fraction's
// significand, all of them if digits is -1. Undefined numbers are empty.
func cellText(cell any, digits int) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case string:
		return v
	case api.Num:
		return floatText(float64(v), digits)
	case float64:
		return floatText(v, digits)
	}
	return fmt.Sprint(cell)
}

func floatText(x float64, digits int) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return ""
	}
	return strconv.FormatFloat(x, 'g', digits, 64)
}
