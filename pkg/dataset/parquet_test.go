package dataset_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"driftd.dev/driftd/pkg/dataset"
)

type everything struct {
	ID      int64            `parquet:"id"`
	Flag    bool             `parquet:"flag"`
	Small   int8             `parquet:"small"`
	Wide    uint64           `parquet:"wide"`
	Word    uint32           `parquet:"word"`
	Single  float32          `parquet:"single"`
	Double  *float64         `parquet:"double,optional"`
	City    string           `parquet:"city,dict"`
	Note    *string          `parquet:"note,optional,snappy"`
	Day     int32            `parquet:"day,date"`
	At      int64            `parquet:"at,timestamp(microsecond)"`
	Price   int64            `parquet:"price,decimal(2:10)"`
	Cents   int32            `parquet:"cents,decimal(2:5)"`
	Old     deprecated.Int96 `parquet:"old"`
	UUID    [16]byte         `parquet:"key,uuid"`
	Tags    []string         `parquet:"tags,list"`
	Numbers []int64          `parquet:"numbers"`
	Inner   struct {
		Amount float64 `parquet:"amount"`
		Label  string  `parquet:"label,optional"`
	} `parquet:"features"`
}

func parquetRow(i int) everything {
	r := everything{
		ID: int64(i), Flag: i%2 == 0, Small: int8(i % 100), Wide: 1<<63 + uint64(i%5)*4096, Word: 1<<31 + uint32(i%7), Single: float32(i) / 2,
		City: []string{"Berlin", "Paris", "Oslo"}[i%3], Day: 16_722, At: 1_767_225_600_000_000, Price: 12_345, Cents: -50,
		Old:  deprecated.Int96{0, 0, 2_440_588 + 1}, // a day after the epoch
		Tags: []string{"a"}, Numbers: []int64{1, 2},
	}
	r.Inner.Amount = float64(i) * 1.5
	if i%4 == 0 {
		d, s := float64(i), "note"
		r.Double, r.Note, r.Inner.Label = &d, &s, "x"
	}
	return r
}

func parquetFile(t testing.TB, rows int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[everything](&b, parquet.MaxRowsPerRowGroup(int64(rows/2+1)), parquet.PageBufferSize(2048))
	for i := range rows {
		if _, err := w.Write([]everything{parquetRow(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParquetTypes(t *testing.T) {
	table, err := dataset.Open(write(t, "t.parquet", parquetFile(t, 1000)), dataset.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	types := map[string]string{}
	for _, c := range table.Columns() {
		types[c.Name] = c.Type.String()
	}
	for name, want := range map[string]string{
		"id": "id", "flag": "categorical", "small": "numeric", "wide": "numeric", "word": "numeric", "single": "numeric", "double": "numeric",
		"city": "categorical", "note": "categorical", "day": "time", "at": "time", "price": "numeric", "cents": "numeric", "old": "time",
		"key": "categorical", "tags": "nested", "numbers": "nested", "amount": "numeric", "label": "categorical",
	} {
		if types[name] != want {
			t.Errorf("%s is %q, want %q", name, types[name], want)
		}
	}
	row5 := map[string]string{ // parquetRow(5), by hand
		"id": "integer(5)", "flag": "bool(false)", "small": "integer(5)", "wide": "number(9.223372036854775808e+18)", "word": "integer(2147483653)",
		"single": "number(2.5)", "double": "null()", "city": "string(Oslo)", "note": "null()", "day": "time(2015-10-14T00:00:00Z)",
		"at": "time(2026-01-01T00:00:00Z)", "price": "number(123.45)", "cents": "number(-0.5)", "old": "time(1970-01-02T00:00:00Z)",
		"key": "string(00000000000000000000000000000000)", "tags": "nested()", "numbers": "nested()", "amount": "number(7.5)", "label": "null()",
	}
	for row, err := range table.All() {
		if err != nil {
			t.Fatal(err)
		}
		if id := table.Index("id"); row.Cells[id].Int != row.N || row.Line != row.N+1 {
			t.Fatalf("row %d, line %d has id %d", row.N, row.Line, row.Cells[id].Int)
		}
		if row.N != 5 {
			continue
		}
		for i, c := range table.Columns() {
			got := fmt.Sprintf("%s(%s)", row.Cells[i].Kind, row.Cells[i].Text())
			if want := row5[c.Name]; got != want && c.Name != "wide" {
				t.Errorf("%s: %s, want %s", c.Name, got, want)
			} else if c.Name == "wide" && row.Cells[i].Num != 1<<63 { // 1<<63 + 0*4096
				t.Errorf("wide: %g", row.Cells[i].Num)
			}
		}
	}
	if read, total := table.Progress(); table.Rows() != 1000 || read != 1000 || total != 1000 || table.Format() != "parquet" {
		t.Errorf("%d rows, progress %d of %d", table.Rows(), read, total)
	}
	if i := table.Index("features.amount"); i < 0 || !table.Columns()[i].Feature() {
		t.Error("a member of features is not found by its path")
	}
}

// Decimals in fixed bytes are big-endian two's complement; halves are IEEE 754.
func TestParquetFixedBytes(t *testing.T) {
	schema := parquet.NewSchema("t", parquet.Group{
		"d": parquet.Decimal(3, 20, parquet.FixedLenByteArrayType(9)),
		"h": parquet.Leaf(parquet.FixedLenByteArrayType(2)),
		"m": parquet.Timestamp(parquet.Millisecond), "n": parquet.Timestamp(parquet.Nanosecond),
	})
	var b bytes.Buffer
	w := parquet.NewWriter(&b, schema)
	minus := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x83} // -125
	day := int64(24 * time.Hour)
	row := parquet.Row{
		parquet.FixedLenByteArrayValue(minus).Level(0, 0, 0), parquet.FixedLenByteArrayValue([]byte("hi")).Level(0, 0, 1),
		parquet.Int64Value(day/1e6).Level(0, 0, 2), parquet.Int64Value(day).Level(0, 0, 3),
	}
	if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	table, err := dataset.Open(write(t, "t.parquet", b.Bytes()), dataset.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	want := "d:numeric h:categorical m:time n:time \n1: number(-0.125) string(hi) time(1970-01-02T00:00:00Z) time(1970-01-02T00:00:00Z)"
	if got := show(t, table); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// 200 files cut short and 400 with flipped bytes: an error or a table, never a
// panic. A cut file is always an error, because the footer is at the end.
func TestCorruptParquet(t *testing.T) {
	whole := parquetFile(t, 300)
	path := filepath.Join(t.TempDir(), "t.parquet")
	r := rand.New(rand.NewPCG(17, 0)) // S17
	try := func(data []byte) (int64, error) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return readAll(path, dataset.Limits{Rows: 1e6, Bytes: 64 << 20})
	}
	if rows, err := try(whole); rows != 300 || err != nil {
		t.Fatal(rows, err)
	}
	for range 200 {
		cut := r.IntN(len(whole))
		if rows, err := try(whole[:cut]); err == nil {
			t.Fatalf("cut at %d of %d: %d rows", cut, len(whole), rows)
		}
	}
	footer := int(binary.LittleEndian.Uint32(whole[len(whole)-8:])) + 8
	refused := 0
	for i := range 400 {
		data := bytes.Clone(whole)
		at := r.IntN(len(data))
		if i%2 == 0 { // half of them in the footer
			at = len(data) - 1 - r.IntN(footer)
		}
		data[at] ^= 1 << r.IntN(8)
		_, err := try(data)
		if err == nil {
			continue
		}
		refused++
		if !strings.Contains(err.Error(), path) {
			t.Fatalf("error without the path: %v", err)
		}
	}
	if refused < 100 { // most flips in the footer break it; the rest may hit values
		t.Errorf("only %d of 400 damaged files were refused: the test damages nothing", refused)
	}
}

func TestParquetLimits(t *testing.T) {
	path := write(t, "t.parquet", parquetFile(t, 1000))
	for name, tc := range map[string]struct {
		l    dataset.Limits
		want string
	}{
		"rows":    {dataset.Limits{Rows: 999}, "1000 rows, allowed are 999"},
		"columns": {dataset.Limits{Columns: 3}, "columns, allowed are 3"},
		"bytes":   {dataset.Limits{Bytes: 100}, "bytes after decompression, allowed are 100"},
	} {
		if _, err := readAll(path, tc.l); !errors.Is(err, dataset.ErrLimit) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A dictionary makes a small file of large values: each is counted as it is read.
	type big struct {
		S string `parquet:"s,dict"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[big](&b)
	rows := make([]big, 1_000)
	for i := range rows {
		rows[i].S = strings.Repeat("x", 64<<10)
	}
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := write(t, "bomb.parquet", b.Bytes())
	if _, err := readAll(bomb, dataset.Limits{Bytes: 10 << 20}); !errors.Is(err, dataset.ErrLimit) {
		t.Errorf("64 MB from %d bytes: %v", b.Len(), err)
	}
	if _, err := readAll(bomb, dataset.Limits{RecordBytes: 1 << 10}); !errors.Is(err, dataset.ErrLimit) || !strings.Contains(err.Error(), `row 1: column "s"`) {
		t.Errorf("value of 64 KiB: %v", err)
	}
	huge := append([]byte("PAR1........"), 0xff, 0xff, 0xff, 0x7f, 'P', 'A', 'R', '1')
	if _, err := readAll(write(t, "huge.parquet", huge), dataset.Limits{}); err == nil || !strings.Contains(err.Error(), "footer of 2147483647 bytes in a file of 20") {
		t.Errorf("footer of 2 GiB: %v", err)
	}
}

// A page header of 25 bytes that claims 1 GiB: the library would allocate it
// before it finds that the file has no such page.
func TestParquetPageBomb(t *testing.T) {
	data := parquetFile(t, 100)
	pf, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	gib := []byte{0x15, 0x80, 0x80, 0x80, 0x80, 0x08} // compact Thrift: i32 field, zigzag of 1<<30
	small := []byte{0x15, 0x40}                       // 32
	for name, tc := range map[string]struct {
		out, in []byte
		want    string
	}{
		"compressed size":   {gib, gib, `column "id": is damaged: page of 1073741824 bytes where`},
		"uncompressed size": {gib, small, `column "id": page of 1073741824 bytes, allowed are 268435456`},
	} {
		// type = data page; sizes; data page header {values 1, encodings 0, 3, 3}
		header := append([]byte{0x15, 0x00}, tc.out...)
		header = append(header, tc.in...)
		header = append(header, 0x2c, 0x15, 0x02, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00)
		bad := bytes.Clone(data)
		copy(bad[pf.Metadata().RowGroups[0].Columns[0].MetaData.DataPageOffset:], header)
		path := write(t, "t.parquet", bad)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAll(path, dataset.Limits{})
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 { // S17
			t.Errorf("%s: allocated %d MiB", name, got>>20)
		}
	}
}

// TestParquetTimesOfFarYears: what nanoseconds cannot say stays a time, before or after
// all others, and is none of an event.
func TestParquetTimesOfFarYears(t *testing.T) {
	type far struct {
		Day int32            `parquet:"day,date"`
		At  int64            `parquet:"at,timestamp(microsecond)"`
		Old deprecated.Int96 `parquet:"old"`
	}
	rows := []far{ // days since 1970: 9999-12-31 and 0001-01-01, by Python's date.toordinal() - 719163
		{2_932_896, 253_402_214_400_000_000, deprecated.Int96{0, 0, 2_440_588 + 2_932_896}},
		{-719_162, -62_135_596_800_000_000, deprecated.Int96{0, 0, 2_440_588 - 719_162}},
		{1, 86_400_000_000, deprecated.Int96{1_000, 0, 2_440_588 + 1}},
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[far](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	table, err := dataset.Open(write(t, "t.parquet", b.Bytes()), dataset.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	want := [][]int64{
		{math.MaxInt64, math.MaxInt64, math.MaxInt64}, {math.MinInt64, math.MinInt64, math.MinInt64}, {86_400e9, 86_400e9, 86_400e9 + 1000},
	}
	for row, err := range table.All() {
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range row.Cells {
			if _, ok := c.UnixNano(); c.Kind != dataset.Time || c.Int != want[row.N][i] || ok != (row.N == 2) {
				t.Errorf("row %d, %s: %s %d, a time: %v; want %d", row.N, table.Columns()[i].Name, c.Kind, c.Int, ok, want[row.N][i])
			}
		}
	}
	for _, c := range table.Columns() {
		if c.Type != dataset.TimeType {
			t.Errorf("%s is %s, want time", c.Name, c.Type)
		}
	}
}
