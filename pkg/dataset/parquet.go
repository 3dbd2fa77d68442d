package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// parquetSource reads the leaf columns of a Parquet file side by side, a batch of
// values at a time. Repeated columns (lists, maps) have no one value per row and
// are skipped with a note; members of plain groups are read under dotted names.
type parquetSource struct {
	path   string
	file   *os.File
	limits Limits
	pf     *parquet.File
	cols   []Column
	leaves []*leaf // nil for skipped columns
	group  int     // current row group
	at     int     // current column, for errors
	row    int64   // rows read
	left   int64   // rows left in the group
	bytes  int64
}

// leaf is the position in one column.
type leaf struct {
	index   int // of the leaf in the schema
	convert func(parquet.Value) Cell
	pages   parquet.Pages
	page    parquet.Page
	values  parquet.ValueReader
	buf     []parquet.Value
	pos, n  int
}

const (
	parquetBatch     = 512
	maxFooter        = 64 << 20
	parquetFixedSize = 8 // counted for every value that is not text
)

func newParquet(f *os.File, path string, size int64, l Limits) (*parquetSource, error) {
	s := &parquetSource{path: path, file: f, limits: l, group: -1}
	if err := s.checkFooter(size); err != nil {
		return nil, &Error{File: path, Err: err}
	}
	err := guarded(func() (err error) {
		s.pf, err = parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		return err
	})
	if err == nil {
		err = guarded(func() error { return s.describe(size) })
	}
	if err != nil {
		return nil, &Error{File: path, Err: fmt.Errorf("read Parquet footer: %w", err)}
	}
	return s, nil
}

// checkFooter refuses a footer length that is not in the file, before the
// library allocates it.
func (s *parquetSource) checkFooter(size int64) error {
	var tail [8]byte
	if size < 12 {
		return errors.New("is cut off: too short for Parquet")
	}
	if _, err := s.file.ReadAt(tail[:], size-8); err != nil {
		return fmt.Errorf("read Parquet footer: %w", err)
	}
	if string(tail[4:]) != "PAR1" {
		return fmt.Errorf("is cut off or damaged: no Parquet magic at its end (%q)", tail[4:])
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-12 {
		return fmt.Errorf("is damaged: footer of %d bytes in a file of %d", n, size)
	}
	if n > maxFooter {
		return fmt.Errorf("footer of %d bytes, allowed are %d: %w", n, int64(maxFooter), ErrLimit)
	}
	return nil
}

// guarded turns a panic of the library into an error: crafted files make it
// index out of range (fraugster/parquet-go #85, redpanda-data/connect #3091). A
// fault at a wild address in its assembly would end the process; for the time of
// the call it is a panic too.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("is damaged: the Parquet reader gave up: %v", r)
		}
	}()
	return f()
}

// describe lists the columns and holds the file's own account of its size to the limits.
func (s *parquetSource) describe(size int64) error {
	var uncompressed int64
	for _, g := range s.pf.Metadata().RowGroups {
		if g.NumRows < 0 || g.TotalByteSize < 0 {
			return errors.New("is damaged: a row group of negative size")
		}
		for i := range g.Columns {
			uncompressed += max(0, g.Columns[i].MetaData.TotalUncompressedSize)
		}
	}
	switch rows := s.pf.NumRows(); {
	case rows > s.limits.Rows:
		return fmt.Errorf("%d rows, allowed are %d: %w", rows, s.limits.Rows, ErrLimit)
	case uncompressed > s.limits.Bytes:
		return fmt.Errorf("%d bytes after decompression, allowed are %d: %w", uncompressed, s.limits.Bytes, ErrLimit)
	case uncompressed > freeBytes && float64(uncompressed) > s.limits.Ratio*float64(size):
		return fmt.Errorf("expands to more than %g times its size: %w", s.limits.Ratio, ErrLimit)
	}
	s.walk(s.pf.Root(), "")
	if len(s.cols) > s.limits.Columns {
		return fmt.Errorf("%d columns, allowed are %d: %w", len(s.cols), s.limits.Columns, ErrLimit)
	}
	if len(s.cols) == 0 {
		return errors.New("has no columns")
	}
	return nil
}

func (s *parquetSource) walk(c *parquet.Column, prefix string) {
	for _, child := range c.Columns() {
		path := prefix + child.Name()
		switch {
		case child.Repeated(), isList(child):
			s.cols = append(s.cols, Column{Name: path, Path: path, Type: NestedType, Note: "lists and maps are not compared"})
			s.leaves = append(s.leaves, nil)
		case child.Leaf():
			s.cols = append(s.cols, Column{Name: strings.TrimPrefix(path, "features."), Path: path})
			s.leaves = append(s.leaves, &leaf{index: child.Index(), convert: converter(child)})
		default:
			s.walk(child, path+".")
		}
	}
}

func isList(c *parquet.Column) bool {
	if c.Leaf() || c.Type() == nil {
		return false
	}
	lt := c.Type().LogicalType()
	if lt == nil {
		return false
	}
	switch lt.Value.(type) {
	case *format.ListType, *format.MapType:
		return true
	}
	return false
}

func (s *parquetSource) columns() []Column { return s.cols }

func (s *parquetSource) use(cols []Column) { s.cols = cols }

func (s *parquetSource) progress() (read, total int64) { return s.row, s.pf.NumRows() }

func (s *parquetSource) next(cells []Cell) (int64, error) {
	for s.left == 0 {
		if s.group+1 >= len(s.pf.RowGroups()) {
			return 0, io.EOF
		}
		if err := guarded(s.openGroup); err != nil {
			return 0, s.fail(err)
		}
	}
	err := guarded(func() (err error) {
		for s.at = range cells {
			if cells[s.at], err = s.cell(s.leaves[s.at]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && s.bytes > s.limits.Bytes {
		err = fmt.Errorf("more than %d bytes after decompression: %w", s.limits.Bytes, ErrLimit)
	}
	if err != nil {
		return 0, s.fail(err)
	}
	s.row, s.left = s.row+1, s.left-1
	return s.row, nil
}

// cell reads the next value of a column.
func (s *parquetSource) cell(l *leaf) (Cell, error) {
	if l == nil {
		return Cell{Kind: Nested}, nil
	}
	if l.pos == l.n {
		if err := l.fill(); err != nil {
			return Cell{}, err
		}
	}
	v := l.buf[l.pos]
	l.pos++
	if v.IsNull() {
		return Cell{}, nil
	}
	c := l.convert(v)
	s.bytes += parquetFixedSize + int64(len(c.Str))
	if len(c.Str) > s.limits.RecordBytes {
		return Cell{}, fmt.Errorf("value of more than %d bytes: %w", s.limits.RecordBytes, ErrLimit)
	}
	return c, nil
}

func (s *parquetSource) fail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("is cut off or damaged: the column ends early")
	}
	return &Error{File: s.path, Line: s.row + 1, Rows: true, Column: s.cols[s.at].Name, Err: err}
}

func (s *parquetSource) openGroup() error {
	s.closePages()
	s.group++
	g := s.pf.RowGroups()[s.group]
	s.left = g.NumRows()
	chunks, meta := g.ColumnChunks(), s.pf.Metadata().RowGroups[s.group].Columns
	for i, l := range s.leaves[:len(s.cols)] {
		if s.at = i; l == nil {
			continue
		}
		if l.index < 0 || l.index >= len(chunks) || l.index >= len(meta) {
			return fmt.Errorf("is damaged: row group %d lacks a column", s.group)
		}
		if err := s.checkPages(&meta[l.index].MetaData, s.left); err != nil {
			return err
		}
		l.pages, l.values, l.pos, l.n = chunks[l.index].Pages(), nil, 0, 0
		if l.buf == nil {
			l.buf = make([]parquet.Value, parquetBatch)
		}
	}
	return nil
}

// fill reads the next batch of values; the end of the column is io.EOF, which is
// an error here because rows are left.
func (l *leaf) fill() error {
	for range 1 << 16 { // pages without values must not loop for ever
		if l.values == nil {
			page, err := l.pages.ReadPage()
			if err != nil {
				return err
			}
			l.page, l.values = page, page.Values()
		}
		n, err := l.values.ReadValues(l.buf)
		if n > 0 {
			l.pos, l.n = 0, n
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		parquet.Release(l.page)
		l.values, l.page = nil, nil
	}
	return errors.New("is damaged: only empty pages")
}

func (s *parquetSource) closePages() {
	for _, l := range s.leaves {
		if l != nil && l.pages != nil {
			_ = guarded(l.pages.Close)
			l.pages = nil
		}
	}
}

// Close closes the file.
func (s *parquetSource) Close() error {
	s.closePages()
	return s.file.Close()
}

// converter picks how the values of a column become cells: by the logical type,
// else by the physical one.
func converter(c *parquet.Column) func(parquet.Value) Cell {
	if lt := c.Type().LogicalType(); lt != nil {
		if f := logical(lt, c.Type()); f != nil {
			return f
		}
	}
	switch c.Type().Kind() {
	case parquet.Boolean:
		return func(v parquet.Value) Cell {
			if v.Boolean() {
				return Cell{Kind: Bool, Int: 1}
			}
			return Cell{Kind: Bool}
		}
	case parquet.Int32:
		return func(v parquet.Value) Cell { return integer(int64(v.Int32())) }
	case parquet.Int64:
		return func(v parquet.Value) Cell { return integer(v.Int64()) }
	case parquet.Int96: // the timestamps of old Spark and Impala
		return func(v parquet.Value) Cell { return int96(v.Int96()) }
	case parquet.Float:
		return func(v parquet.Value) Cell { return number(float64(v.Float())) }
	case parquet.Double:
		return func(v parquet.Value) Cell { return number(v.Double()) }
	}
	return stringCell(String)
}

// logical returns nil where the physical type says it all.
func logical(lt *format.LogicalType, t parquet.Type) func(parquet.Value) Cell {
	switch l := lt.Value.(type) {
	case *format.DateType:
		return func(v parquet.Value) Cell { return timeCell(int64(v.Int32()), 24*time.Hour) }
	case *format.TimestampType:
		if l.Unit.Value == nil {
			return nil
		}
		unit := l.Unit.Value.Duration()
		return func(v parquet.Value) Cell { return timeCell(v.Int64(), unit) }
	case *format.DecimalType:
		return decimal(int(l.Scale), t.Kind())
	case *format.IntType:
		if l.IsSigned {
			return nil
		}
		return func(v parquet.Value) Cell {
			if v.Kind() == parquet.Int32 {
				return integer(int64(v.Uint32()))
			}
			if u := v.Uint64(); u > math.MaxInt64 {
				return number(float64(u))
			}
			return integer(v.Int64())
		}
	case *format.Float16Type:
		return func(v parquet.Value) Cell { return number(float16(v.ByteArray())) }
	case *format.UUIDType:
		return func(v parquet.Value) Cell { return Cell{Kind: String, Str: fmt.Sprintf("%x", v.ByteArray())} }
	case *format.JsonType, *format.BsonType, *format.VariantType, *format.GeometryType, *format.GeographyType:
		return stringCell(Nested)
	case *format.NullType:
		return func(parquet.Value) Cell { return Cell{} }
	}
	return nil
}

func integer(i int64) Cell { return Cell{Kind: Integer, Num: float64(i), Int: i} }

func number(f float64) Cell {
	if f != f { // pandas writes missing as NaN
		return Cell{}
	}
	return Cell{Kind: Number, Num: f + 0}
}

func stringCell(k Kind) func(parquet.Value) Cell {
	strings := interned{}
	return func(v parquet.Value) Cell { return Cell{Kind: k, Str: strings.get(v.ByteArray())} }
}

func decimal(scale int, k parquet.Kind) func(parquet.Value) Cell {
	unit := math.Pow10(scale)
	switch k {
	case parquet.Int32:
		return func(v parquet.Value) Cell { return number(float64(v.Int32()) / unit) }
	case parquet.Int64:
		return func(v parquet.Value) Cell { return number(float64(v.Int64()) / unit) }
	}
	return func(v parquet.Value) Cell { // big-endian two's complement
		b := v.ByteArray()
		n := new(big.Int).SetBytes(b)
		if len(b) > 0 && b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		f, _ := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).Float64()
		return number(f)
	}
}

// int96 reads nanoseconds of a day and the Julian day.
func int96(v deprecated.Int96) Cell {
	const julianEpoch = 2440588 // Julian day of 1970-01-01
	const perDay = int64(24 * time.Hour)
	nanos := int64(v[1])<<32 | int64(v[0])
	c := timeCell(int64(v[2])-julianEpoch+nanos/perDay, 24*time.Hour)
	if most := math.MaxInt64 - perDay; c.Int > -most && c.Int < most {
		c.Int += nanos % perDay
	}
	return c
}

// float16 reads an IEEE 754 half, little-endian.
func float16(b []byte) float64 {
	if len(b) != 2 {
		return math.NaN()
	}
	h := binary.LittleEndian.Uint16(b)
	exp, frac := int(h>>10)&31, float64(h&1023)
	f := math.Ldexp(1+frac/1024, exp-15)
	switch {
	case exp == 0:
		f = math.Ldexp(frac, -24)
	case exp == 31 && frac == 0:
		f = math.Inf(1)
	case exp == 31:
		f = math.NaN()
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return f
}
