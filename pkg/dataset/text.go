package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// openSource opens the file and picks the format. cols, when not nil, are the
// columns found by an earlier pass.
func openSource(path string, l Limits, cols []Column) (format string, src source, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("open table: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // only read
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return "", nil, fmt.Errorf("open table: %w", err)
	}
	if st.IsDir() {
		return "", nil, &Error{File: path, Err: errors.New("is a directory: name a CSV, CSV.gz, JSONL or Parquet file")}
	}
	var magic [4]byte
	if n, _ := f.ReadAt(magic[:], 0); n == 4 && (string(magic[:]) == "PAR1" || string(magic[:]) == "PARE") {
		src, err = newParquet(f, path, st.Size(), l)
		return "parquet", src, err
	}
	return openText(f, path, st.Size(), l, cols)
}

func openText(f *os.File, path string, size int64, l Limits, cols []Column) (string, source, error) {
	t, err := newText(f, path, size, l)
	if err != nil {
		return "", nil, err
	}
	head, err := t.br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", nil, t.fail(0, "", err)
	}
	if err := refuse(head); err != nil {
		return "", nil, t.fail(0, "", err)
	}
	if trimmed := bytes.TrimLeft(head[t.skipMark():], " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return "jsonl", newJSONL(t, cols), nil
	}
	src, err := newCSV(t, cols)
	return "csv", src, err
}

// refuse names the formats that people try and that are not tables.
func refuse(head []byte) error {
	trimmed := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return errors.New("is empty: expected a header line, JSON lines or Parquet")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return errors.New("is a zip or Excel file: unpack it, or save it as CSV")
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return errors.New("is UTF-16: save it as UTF-8")
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return errors.New("is compressed with zstd: use gzip or no compression")
	case bytes.HasPrefix(trimmed, []byte("[{")), bytes.HasPrefix(trimmed, []byte("[\n")):
		return errors.New("is one JSON array: write one object a line (jq -c '.[]')")
	case bytes.IndexByte(head, 0) >= 0:
		return errors.New("is binary: expected CSV, JSON lines or Parquet")
	}
	return nil
}

// text is the byte side of CSV and JSONL: gunzip, limits and lines.
type text struct {
	path   string
	file   *os.File
	disk   *counter // bytes read from the file
	br     *bufio.Reader
	size   int64
	limits Limits
	line   int64 // lines read
	buf    []byte
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// guard stops a stream at the limits of bytes and of the ratio to the bytes on disk.
type guard struct {
	r    io.Reader
	disk *counter
	n    int64
	l    Limits
}

// freeBytes of output are not held to the ratio: a short file of blanks is no bomb.
const freeBytes = 1 << 20

func (g *guard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.n += int64(n)
	switch {
	case g.n > g.l.Bytes:
		return 0, fmt.Errorf("more than %d bytes after decompression: %w", g.l.Bytes, ErrLimit)
	case g.n > freeBytes && float64(g.n) > g.l.Ratio*float64(g.disk.n):
		return 0, fmt.Errorf("expands to more than %g times its size: %w", g.l.Ratio, ErrLimit)
	}
	return n, err
}

func newText(f *os.File, path string, size int64, l Limits) (*text, error) {
	t := &text{path: path, file: f, size: size, limits: l, disk: &counter{r: f}}
	raw := bufio.NewReaderSize(t.disk, 64<<10)
	magic, _ := raw.Peek(2)
	var r io.Reader = raw
	if len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, t.fail(0, "", fmt.Errorf("read gzip header: %w", err))
		}
		r = z
	}
	t.br = bufio.NewReaderSize(&guard{r: r, disk: t.disk, l: l}, 256<<10)
	return t, nil
}

// fail names the file and what went wrong while reading it.
func (t *text) fail(line int64, column string, err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("is cut off: %w", err)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		err = fmt.Errorf("is damaged: %w", err)
	}
	return &Error{File: t.path, Line: line, Column: column, Err: err}
}

// readLine returns the next line without its end; it aliases a buffer. io.EOF
// comes alone, after a last line that has no newline.
func (t *text) readLine() ([]byte, error) {
	line, err := t.br.ReadSlice('\n')
	if err == bufio.ErrBufferFull { //nolint:errorlint // bufio returns it bare
		t.buf = append(t.buf[:0], line...)
		for err == bufio.ErrBufferFull && len(t.buf) <= t.limits.RecordBytes { //nolint:errorlint // as above
			line, err = t.br.ReadSlice('\n')
			t.buf = append(t.buf, line...)
		}
		line = t.buf
	}
	if err != nil && !errors.Is(err, io.EOF) && len(line) <= t.limits.RecordBytes {
		return nil, t.fail(t.line+1, "", err)
	}
	if len(line) > t.limits.RecordBytes {
		return nil, t.fail(t.line+1, "", fmt.Errorf("line of more than %d bytes: %w", t.limits.RecordBytes, ErrLimit))
	}
	if len(line) == 0 {
		return nil, io.EOF
	}
	t.line++
	return bytes.TrimRight(line, "\r\n"), nil
}

// skipMark skips a UTF-8 byte order mark, as Excel writes it, and returns its length.
func (t *text) skipMark() int {
	if head, _ := t.br.Peek(3); string(head) != "\xef\xbb\xbf" {
		return 0
	}
	n, _ := t.br.Discard(3) // peeked: it cannot fail
	return n
}

func (t *text) progress() (read, total int64) { return t.disk.n, t.size }

// Close closes the file.
func (t *text) Close() error { return t.file.Close() }

// interned keeps the strings of one column, so that a category is one string.
// Beyond maxInterned different ones each is a copy of its own.
type interned map[string]string

const maxInterned = 4096

func (m interned) get(b []byte) string {
	if s, ok := m[string(b)]; ok {
		return s
	}
	s := string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	if len(m) < maxInterned {
		m[s] = s
	}
	return s
}
