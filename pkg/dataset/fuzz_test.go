package dataset_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"driftd.dev/driftd/pkg/dataset"
)

// Whatever a text file holds, it is a table that reads the same twice, or an error
// that names the file.
func FuzzText(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,x\n2,\"y\n\"\"z\"\"\"\n", "\ufeffid;when\r\n1;2026-01-05\r\n2;9999-12-31\r\n", "a,a,\n1,2,\n", "x\n\"",
		`{"a":1,"features":{"b":[1,2],"c":{"d":{"e":{}}}}}` + "\n" + `{"a":1e999,"g":"\ud83d\ude00","a.b":null}`,
		`{"a":` + "\t{ }, \"b\" : -0 , \"c\":true}\n{\"c\":\"\\\"\"}",
	} {
		f.Add([]byte(text))
	}
	f.Add(gz(f, []byte("a\n1\n")))
	path := filepath.Join(f.TempDir(), "table")
	limits := dataset.Limits{Rows: 1000, Columns: 64, Bytes: 1 << 20, RecordBytes: 1 << 16, Sample: 3}
	read := func(t *testing.T) (rows []string, err error) {
		table, err := dataset.Open(path, limits)
		if err != nil {
			return nil, err
		}
		defer table.Close()
		for row, err := range table.All() {
			if err != nil {
				return rows, err
			}
			text := ""
			for i, c := range row.Cells {
				if math.IsNaN(c.Num) {
					t.Errorf("row %d: NaN", row.N)
				}
				c.UnixNano()
				text += c.Kind.String() + table.Columns()[i].Name + table.Columns()[i].Value(c).Str + c.Text() + "\x00"
			}
			rows = append(rows, text)
		}
		return rows, nil
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 4 && string(data[:3]) == "PAR" {
			return
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := read(t)
		var named *dataset.Error
		if err != nil && (!errors.As(err, &named) || named.File != path) {
			t.Errorf("%q: %v, which does not name the file", data, err)
		}
		second, again := read(t)
		if len(first) != len(second) || (err == nil) != (again == nil) {
			t.Fatalf("%q: %d rows and %v, then %d and %v", data, len(first), err, len(second), again)
		}
		for i := range first {
			if first[i] != second[i] {
				t.Fatalf("%q: row %d is %q, then %q", data, i, first[i], second[i])
			}
		}
	})
}
