package dataset_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/dataset"
)

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, name, text string) *dataset.Table {
	t.Helper()
	table, err := dataset.Open(write(t, name, []byte(text)), dataset.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// show prints the columns and every row, one a line.
func show(t testing.TB, table *dataset.Table) string {
	t.Helper()
	var b strings.Builder
	for _, c := range table.Columns() {
		fmt.Fprintf(&b, "%s:%s ", c.Name, c.Type)
	}
	for row, err := range table.All() {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n%d:", row.Line)
		for _, c := range row.Cells {
			fmt.Fprintf(&b, " %s(%s)", c.Kind, c.Text())
		}
	}
	return b.String()
}

func readAll(path string, l dataset.Limits) (rows int64, err error) {
	table, err := dataset.Open(path, l)
	if err != nil {
		return 0, err
	}
	defer table.Close()
	for _, err := range table.All() {
		if err != nil {
			return table.Rows(), err
		}
	}
	return table.Rows(), nil
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCSV(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "a,b\n1,x\n2.5,y\n", "a:numeric b:categorical \n2: integer(1) string(x)\n3: number(2.5) string(y)"},
		{"byte order mark and CRLF", "\ufeffa,b\r\n1,x\r\n2,y\r\n", "a:numeric b:categorical \n2: integer(1) string(x)\n3: integer(2) string(y)"},
		{"no newline at the end", "a,b\n1,x", "a:numeric b:categorical \n2: integer(1) string(x)"},
		{"empty lines", "\na,b\n\n1,x\n\n", "a:numeric b:categorical \n4: integer(1) string(x)"},
		{"quotes", "a,b\n\"1\",\"x, \"\"y\"\"\"\n2,\"two\nlines\"\n3,z\n", "a:numeric b:categorical \n2: integer(1) string(x, \"y\")\n4: integer(2) string(two\nlines)\n5: integer(3) string(z)"},
		{"quote inside a bare field", "a,b\n1,6\" pipe\n", "a:numeric b:categorical \n2: integer(1) string(6\" pipe)"},
		{"missing values", "a,b,c\nNA,null,x\nNaN,,N/A\n1,\"\",None\n", "a:numeric b:numeric c:categorical \n2: null() null() string(x)\n3: null() null() null()\n4: integer(1) null() null()"},
		{"trailing comma in the rows", "a,b\n1,2,\n3,4,,\n", "a:numeric b:numeric \n2: integer(1) integer(2)\n3: integer(3) integer(4)"},
		{"trailing comma everywhere", "a,b,\n1,2,\n", "a:numeric b:numeric \n2: integer(1) integer(2)"},
		{"duplicate and empty names", "a,a,,a\n1,2,3,4\n", "a:numeric a.1:numeric column_3:numeric a.2:numeric \n2: integer(1) integer(2) integer(3) integer(4)"},
		{"unnamed first column", ",a\n7,1\n7,2\n", ":id a:numeric \n2: string(7) integer(1)\n3: string(7) integer(2)"},
		{"semicolons", "a;b\n1;x,y\n", "a:numeric b:categorical \n2: integer(1) string(x,y)"},
		{"tabs", "a\tb\n1\tx\n", "a:numeric b:categorical \n2: integer(1) string(x)"},
		{"one column", "a\n1\n2\n", "a:numeric \n2: integer(1)\n3: integer(2)"},
		{"only a header", "a,b\n", "a:numeric b:numeric "},
		{"codes with leading zeros", "zip\n02134\n10001\n", "zip:categorical \n2: string(02134)\n3: string(10001)"},
		{"categories keep their text", "c\n1.0\nx\n", "c:categorical \n2: string(1.0)\n3: string(x)"},
		{"booleans", "b\nTrue\nfalse\n", "b:categorical \n2: bool(true)\n3: bool(false)"},
		{"booleans among others are text", "b\nTrue\nmaybe\n", "b:categorical \n2: string(True)\n3: string(maybe)"},
		{"dates and times", "d,t\n2015-10-14,2026-01-01T00:00:00Z\n2015-07-06,2026-01-01 10:00:00.5\n", "d:time t:time \n2: string(2015-10-14) string(2026-01-01T00:00:00Z)\n3: string(2015-07-06) string(2026-01-01 10:00:00.5)"},
		{"named ids", "user_id,x\n9,1\n3,1\n", "user_id:id x:numeric \n2: string(9) integer(1)\n3: string(3) integer(1)"},
		{"flags stay numeric", "vip\n0\n1\n1\n", "vip:numeric \n2: integer(0)\n3: integer(1)\n4: integer(1)"},
		{"infinities, overflow, hexadecimal", "a,b\ninf,0x10\n-1e999,1_000\n", "a:numeric b:categorical \n2: number(+Inf) string(0x10)\n3: number(-Inf) string(1_000)"},
		{"invalid UTF-8 is replaced", "a,b\n1,caf\xe9\n", "a:numeric b:categorical \n2: integer(1) string(caf\ufffd)"},
		{"spaces around numbers", "a,b\n 1 , x\n", "a:numeric b:categorical \n2: integer(1) string( x)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := open(t, "t.csv", tc.in)
			if got := show(t, table); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			if table.Format() != "csv" {
				t.Errorf("format %s", table.Format())
			}
		})
	}
}

func TestJSONL(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{
			"values", `{"a":1,"b":"x","c":true,"d":null,"e":-0.0,"f":1e999}` + "\n" + `{"a":2.5}`,
			"a:numeric b:categorical c:categorical d:numeric e:numeric f:numeric \n1: integer(1) string(x) bool(true) null() number(0) number(+Inf)\n2: number(2.5) null() null() null() null() null()",
		},
		{
			"columns that come later", `{"a":1}` + "\n\n" + `{"b":"x","a":3}` + "\n",
			"a:numeric b:categorical \n1: integer(1) null()\n3: integer(3) string(x)",
		},
		{
			"events: features go by their name", `{"id":"p1","features":{"amount":7,"id":"inner"},"scores":{"fraud":0.5}}`,
			"id:categorical amount:numeric features.id:categorical scores.fraud:numeric \n1: string(p1) integer(7) string(inner) number(0.5)",
		},
		{
			"arrays and deep objects", `{"v":[1,{"x":"]"}],"a":{"b":{"c":{"d":{"e":1}}}},"z":{},"y":[]}`,
			"v:nested a.b.c.d:nested z:numeric y:numeric \n1: nested([1,{\"x\":\"]\"}]) nested({\"e\":1}) null() null()",
		},
		{"escapes", `{"a\u0062":"\u00e9\n\"q\"","k":"é"}`, "ab:categorical k:categorical \n1: string(é\n\"q\") string(é)"},
		{"strings stay strings", `{"code":"17"}`, "code:categorical \n1: string(17)"},
		{"CRLF and spaces", " { \"a\" : 1 , \"b\" : [ 1 , 2 ] } \r\n", "a:numeric b:nested \n1: integer(1) nested([ 1 , 2 ])"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := show(t, open(t, "t.jsonl", tc.in)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// Errors name the file, the line, the column where there is one, and what to do.
func TestFaultsNameTheirPlace(t *testing.T) {
	long := strings.Repeat("x", 5<<20)
	for _, tc := range []struct{ name, file, in, want string }{
		{"ragged row", "a.csv", "a,b\n1,2\n3\n", "a.csv:3: 1 fields, the header has 2"},
		{"too many fields", "a.csv", "a,b\n1,2,3\n", "a.csv:2: 3 fields, the header has 2"},
		{"open quote", "a.csv", "a,b\n1,\"x\n2,y\n", "a.csv:2: field 2: quote is never closed"},
		{"text after a quote", "a.csv", "a,b\n1,\"x\"y\n", "a.csv:2: field 2: text after the closing quote"},
		{"no names", "a.csv", ",,\n1,2,3\n", "a.csv:1: the header line names no column"},
		{"empty file", "a.csv", "", "is empty"},
		{"blank file", "a.csv", " \n\n", "is empty"},
		{"binary", "a.csv", "a\x00b\n", "is binary"},
		{"zip", "a.xlsx", "PK\x03\x04....", "is a zip or Excel file"},
		{"UTF-16", "a.csv", "\xff\xfea\x00", "is UTF-16"},
		{"zstd", "a.zst", "\x28\xb5\x2f\xfd..", "zstd"},
		{"JSON array", "a.json", `[{"a":1}]`, "one object a line"},
		{"bad JSON", "a.jsonl", `{"a":1}` + "\n" + `{"a":}`, "a.jsonl:2: byte 6"},
		{"not an object", "a.jsonl", `{"a":1}` + "\n" + `7`, "a.jsonl:2: is not a JSON object"},
		{"key twice", "a.jsonl", `{"a":1,"a":2}`, `a.jsonl:1: column "a": key appears twice`},
		{"long line", "a.csv", "a\n" + long, "a.csv:2: line of more than 4194304 bytes"},
		{"quote over a whole file", "a.csv", "a\n\"" + strings.Repeat("x\n", 3<<20), "a quote that is never closed?"},
		{"no Parquet", "a.parquet", "PAR1....", "too short for Parquet"},
		{"gzip header", "a.gz", "\x1f\x8b\x08", "gzip header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.file, []byte(tc.in))
			_, err := readAll(path, dataset.Limits{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with the path and %q", err, tc.want)
			}
		})
	}
	if _, err := dataset.Open(filepath.Join(t.TempDir(), "absent"), dataset.Limits{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := dataset.Open(t.TempDir(), dataset.Limits{}); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("directory: %v", err)
	}
}

func TestGzip(t *testing.T) {
	text := "a,b\n1,x\n2,y\n"
	two := append(gz(t, []byte(text[:8])), gz(t, []byte(text[8:]))...) // members, as pigz and log rotation make them
	for name, data := range map[string][]byte{"one member": gz(t, []byte(text)), "two members": two} {
		if rows, err := readAll(write(t, "t.csv.gz", data), dataset.Limits{}); rows != 2 || err != nil {
			t.Errorf("%s: %d rows, %v", name, rows, err)
		}
	}
	if rows, err := readAll(write(t, "t.jsonl.gz", gz(t, []byte("{\"a\":1}\n{\"a\":2}"))), dataset.Limits{}); rows != 2 || err != nil {
		t.Errorf("jsonl.gz: %d rows, %v", rows, err)
	}
}

// A gzip file cut at any byte is an error, never a shorter table.
func TestTruncatedGzip(t *testing.T) {
	var text bytes.Buffer
	text.WriteString("a,b\n")
	for i := range 500 {
		fmt.Fprintf(&text, "%d,%x\n", i*7919%1009, i*104729%65537)
	}
	whole := gz(t, text.Bytes())
	if _, err := readAll(write(t, "whole.csv.gz", whole), dataset.Limits{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.csv.gz")
	for cut := 3; cut < len(whole); cut += 29 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if rows, err := readAll(path, dataset.Limits{}); err == nil {
			t.Fatalf("cut at %d of %d: %d rows and no error", cut, len(whole), rows)
		}
	}
	whole[len(whole)-6] ^= 1 // checksum
	if _, err := readAll(write(t, "sum.csv.gz", whole), dataset.Limits{}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("wrong checksum: %v", err)
	}
}

func TestLimits(t *testing.T) {
	bomb := gz(t, append([]byte("a\n"), bytes.Repeat([]byte("0\n"), 2<<20)...)) // 4 MiB in 4 KiB: ratio 1,000
	wide := strings.Repeat("a,", 5000) + "a\n"
	var keys strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&keys, `,"k%d":1`, i)
	}
	for _, tc := range []struct {
		name string
		data []byte
		l    dataset.Limits
		want string
	}{
		{"gzip bomb", bomb, dataset.Limits{}, "more than 100 times"},
		{"bytes", bomb, dataset.Limits{Ratio: 1e6, Bytes: 1 << 20}, "more than 1048576 bytes after decompression"},
		{"rows", []byte("a\n1\n2\n3\n"), dataset.Limits{Rows: 2}, "more than 2 rows"},
		{"columns", []byte(wide), dataset.Limits{}, "5001 columns, allowed are 4096"},
		{"keys", []byte("{" + keys.String()[1:] + "}"), dataset.Limits{}, "more than 4096 columns"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := readAll(write(t, "t.csv.gz", tc.data), tc.l)
			if !errors.Is(err, dataset.ErrLimit) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if rows, err := readAll(write(t, "t.csv", []byte("a\n1\n2\n")), dataset.Limits{Rows: 2}); rows != 2 || err != nil {
		t.Errorf("as many rows as allowed: %d, %v", rows, err)
	}
}

func TestInference(t *testing.T) {
	// 200 rows of every kind of column.
	column := func(f func(i int) string) string {
		var b strings.Builder
		b.WriteString("x,pad\n")
		for i := range 200 {
			fmt.Fprintf(&b, "%s,0\n", f(i))
		}
		return b.String()
	}
	for _, tc := range []struct {
		name string
		f    func(i int) string
		want dataset.Type
		note string
	}{
		{"rising integers", func(i int) string { return fmt.Sprint(i*3 + 5) }, dataset.ID, "different value in every row"},
		{"shuffled dense integers", func(i int) string { return fmt.Sprint(i * 77 % 200) }, dataset.ID, ""},
		{"shuffled sparse integers may be amounts", func(i int) string { return fmt.Sprint(i * 7919 % 100_003) }, dataset.Numeric, ""},
		{"integers beyond 2^53", func(i int) string { return fmt.Sprint(int64(1)<<60 + int64(i*7919%211)*int64(1)<<40) }, dataset.ID, ""},
		{"unique strings", func(i int) string { return fmt.Sprintf("u-%d", i*77%200) }, dataset.ID, ""},
		{"unique strings, and a row without", func(i int) string { return strings.TrimSuffix(fmt.Sprintf("u-%d", i), "u-7") }, dataset.ID, "in every row that has one"},
		{"unique floats are measurements", func(i int) string { return fmt.Sprintf("%d.5", i) }, dataset.Numeric, ""},
		{"integers with a repeat", func(i int) string { return fmt.Sprint(min(i, 198)) }, dataset.Numeric, ""},
		{"a gap makes no id", func(i int) string { return strings.TrimPrefix(fmt.Sprint(i), "7") }, dataset.Numeric, ""},
		{"one stray in 200", func(i int) string {
			if i == 100 {
				return "?"
			}
			return fmt.Sprint(i % 50)
		}, dataset.Numeric, `1 of 200 values are not numbers and count as missing, first "?" in line 102`},
		{"too many strays", func(i int) string {
			if i%50 == 0 {
				return "?"
			}
			return fmt.Sprint(i % 40)
		}, dataset.Categorical, ""},
		{"no values", func(int) string { return "NA" }, dataset.Numeric, "no values"},
		{"dates with one text", func(i int) string {
			if i == 9 {
				return "soon"
			}
			return "2015-01-01"
		}, dataset.Categorical, ""},
		{"dates with sentinels", func(i int) string {
			return []string{"2015-01-01", "0001-01-01", "9999-12-31"}[i%3]
		}, dataset.TimeType, "date or time"},
		{"years", func(i int) string { return fmt.Sprint(2015 + i%3) }, dataset.Numeric, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := open(t, "t.csv", column(tc.f))
			if c := table.Columns()[0]; c.Type != tc.want || !strings.Contains(c.Note, tc.note) {
				t.Errorf("%s (%s), want %s (%s)", c.Type, c.Note, tc.want, tc.note)
			}
		})
	}
}

// The sample bounds the first pass; JSON columns after it are not seen.
func TestSample(t *testing.T) {
	path := write(t, "t.jsonl", []byte(`{"a":1}`+"\n"+`{"a":2}`+"\n"+`{"a":"x","b":1}`))
	table, err := dataset.Open(path, dataset.Limits{Sample: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if got, want := show(t, table), "a:numeric \n1: integer(1)\n2: integer(2)\n3: string(x)"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if read, total := table.Progress(); read != total || table.Path() != path {
		t.Errorf("progress %d of %d", read, total)
	}
}

func TestOverride(t *testing.T) {
	table := open(t, "t.csv", "a,b,id\n1,2,3\n01,x,4\n")
	for name, types := range map[string]map[string]dataset.Type{
		`no column "c"; there are "a", "b", "id"`: {"c": dataset.Numeric},
	} {
		if err := table.Override(types); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %s", err, name)
		}
	}
	if err := table.Override(map[string]dataset.Type{"a": dataset.Categorical, "b": dataset.Numeric, "id": dataset.Numeric}); err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, table), "a:categorical b:numeric id:numeric \n2: string(1) integer(2) integer(3)\n3: string(01) string(x) integer(4)"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := table.Override(nil); err == nil {
		t.Error("types may change between rows")
	}
	nested := open(t, "t.jsonl", `{"v":[1]}`)
	if err := nested.Override(map[string]dataset.Type{"v": dataset.Numeric}); err == nil {
		t.Error("an array became a number")
	}
	for _, s := range []string{"numeric", "categorical", "id", "time"} {
		if typ, err := dataset.ParseType(s); err != nil || typ.String() != s {
			t.Errorf("type %q: %v, %v", s, typ, err)
		}
	}
	for _, s := range []string{"", "unknown", "nested", "text"} {
		if _, err := dataset.ParseType(s); err == nil {
			t.Errorf("type %q is no error", s)
		}
	}
}

func TestCells(t *testing.T) {
	for _, tc := range []struct {
		cell dataset.Cell
		f    float64 // NaN = no number
		text string
		ns   int64 // -1 = no time
	}{
		{dataset.Cell{}, math.NaN(), "", -1},
		{dataset.Cell{Kind: dataset.Number, Num: 17}, 17, "17", 17e9},
		{dataset.Cell{Kind: dataset.Number, Num: .1}, .1, "0.1", 1e8},
		{dataset.Cell{Kind: dataset.Number, Num: 1e300}, 1e300, "1e+300", -1},
		{dataset.Cell{Kind: dataset.Integer, Num: 1 << 62, Int: 1<<62 + 1}, 1 << 62, "4611686018427387905", 1<<62 + 1},
		{dataset.Cell{Kind: dataset.Integer, Num: 1767225600, Int: 1767225600}, 1767225600, "1767225600", 1767225600e9},
		{dataset.Cell{Kind: dataset.Integer, Num: 1767225600000, Int: 1767225600000}, 1767225600000, "1767225600000", 1767225600e9},
		{dataset.Cell{Kind: dataset.Integer, Num: 1767225600000000, Int: 1767225600000000}, 1767225600000000, "1767225600000000", 1767225600e9},
		{dataset.Cell{Kind: dataset.Bool, Int: 1}, 1, "true", -1},
		{dataset.Cell{Kind: dataset.String, Str: " 2.5 "}, 2.5, " 2.5 ", -1},
		{dataset.Cell{Kind: dataset.String, Str: "2026-01-01T01:00+01:00"}, math.NaN(), "2026-01-01T01:00+01:00", 1767225600e9},
		{dataset.Cell{Kind: dataset.String, Str: "2026-13-01"}, math.NaN(), "2026-13-01", -1},
		{dataset.Cell{Kind: dataset.String, Str: "9999-01-01"}, math.NaN(), "9999-01-01", -1}, // beyond int64 nanoseconds
		{dataset.Cell{Kind: dataset.Time, Int: 1767225600e9}, math.NaN(), "2026-01-01T00:00:00Z", 1767225600e9},
		{dataset.Cell{Kind: dataset.Nested, Str: "[1]"}, math.NaN(), "[1]", -1},
	} {
		f, ok := tc.cell.Float()
		if ok != (tc.f == tc.f) || ok && f != tc.f {
			t.Errorf("%v: float %g %v, want %g", tc.cell, f, ok, tc.f)
		}
		if got := tc.cell.Text(); got != tc.text {
			t.Errorf("%v: text %q, want %q", tc.cell, got, tc.text)
		}
		ns, ok := tc.cell.UnixNano()
		if ok != (tc.ns != -1) || ok && ns != tc.ns {
			t.Errorf("%v: time %d %v, want %d", tc.cell, ns, ok, tc.ns)
		}
	}
}
