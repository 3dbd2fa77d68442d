package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cespare/xxhash/v2"
)

// A tail reads the lines of a log that grows, as tail -F does: a file that was
// renamed is read to its end, and then the one in its place; one that was cut is
// read from its beginning. Lines are given once they are whole. It belongs to one
// goroutine, and holds at most one line.
type tail struct {
	path  string
	limit int // bytes of a line; a longer one is given without its text

	file *os.File // nil while there is none
	in   *bufio.Reader
	at   place  // behind the last line given
	text []byte // of the line that is not whole yet
	read int64  // bytes of it
	next string // the file to read after this one, which is not written to any more
}

// A place is one between two lines of a log. It is found again after a rename by
// the file's number and by what stands before it.
type place struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
	Before int    `json:"before"` // bytes before Offset that Mark is the hash of
	Mark   string `json:"mark"`
}

const (
	markBytes = 1024
	tailRead  = 64 << 10 // bytes of a read
)

var errLongLine = errors.New("the line is too long")

// openTail follows path from a place kept earlier, or from its beginning, or its
// end. found is false when from cannot be found any more, and reading begins at
// the beginning. A file that does not exist yet is waited for.
func openTail(path string, limit int, from *place, atEnd bool) (t *tail, found bool, err error) {
	t = &tail{path: path, limit: limit, in: bufio.NewReaderSize(nil, tailRead)}
	if from != nil {
		return t.resume(*from)
	}
	if err := t.open(path); err != nil || t.file == nil || !atEnd {
		return t, true, err
	}
	info, err := t.file.Stat()
	if err != nil {
		return t, true, err
	}
	t.at.Offset = info.Size()
	return t, true, t.rewind()
}

// resume looks for a place among the file and those it was renamed to.
func (t *tail) resume(from place) (_ *tail, found bool, err error) {
	files, err := generations(t.path)
	if err != nil {
		return t, false, err
	}
	for _, g := range slices.Backward(files) {
		if err := t.open(g.path); err != nil {
			return t, false, err
		}
		if t.file != nil && t.at.Device == from.Device && t.at.Inode == from.Inode && from.stands(t.file) {
			t.at = from
			return t, true, t.rewind()
		}
	}
	return t, false, t.open(t.path)
}

// open begins a file; none there is no error.
func (t *tail) open(path string) error {
	t.close()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file, which --follow needs", path)
	}
	if err != nil {
		_ = file.Close() // nothing was read
		return err
	}
	t.file, t.at = file, place{}
	t.at.Device, t.at.Inode = identity(info)
	return t.rewind()
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // it was only read
	}
	t.file, t.next = nil, ""
}

// rewindTo goes back to a place of the file that is open.
func (t *tail) rewindTo(p place) error {
	t.at = p
	return t.rewind()
}

// rewind goes back to the place behind the last line that counts.
func (t *tail) rewind() error {
	t.text, t.read = t.text[:0], 0
	if t.file == nil {
		return nil
	}
	if _, err := t.file.Seek(t.at.Offset, io.SeekStart); err != nil {
		return err
	}
	t.in.Reset(t.file)
	return nil
}

// line returns the next line, io.EOF when there is none yet, or errLongLine
// instead of one that is too long. The line is valid until the next call.
func (t *tail) line() ([]byte, error) {
	if t.file == nil {
		return nil, io.EOF
	}
	for {
		part, err := t.in.ReadSlice('\n')
		if t.read == 0 {
			t.text = t.text[:0]
		}
		t.read += int64(len(part))
		if t.read <= int64(t.limit) {
			t.text = append(t.text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && t.next != "" && t.read > 0: // its newline will not come
		case err != nil:
			return nil, err
		}
		return t.whole()
	}
}

// whole gives the line that was read, and moves behind it.
func (t *tail) whole() ([]byte, error) {
	long := t.read > int64(t.limit)
	t.at.Offset += t.read
	t.read = 0
	if long {
		t.at.Before, t.at.Mark = 0, ""
		return nil, errLongLine
	}
	before := t.text[max(0, len(t.text)-markBytes):]
	t.at.Before, t.at.Mark = len(before), mark(before)
	return bytes.TrimSuffix(t.text, []byte("\n")), nil
}

func mark(text []byte) string { return strconv.FormatUint(xxhash.Sum64(text), 16) }

// stands reports whether a file still has the text that was read before p.
func (p place) stands(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() < p.Offset {
		return false
	}
	text := make([]byte, min(p.Before, markBytes))
	if _, err := file.ReadAt(text, p.Offset-int64(len(text))); err != nil {
		return false
	}
	return p.Before == 0 || mark(text) == p.Mark
}

// move goes on where line found an end: to a file that appeared, to the beginning
// of one that was cut, to the one that took the place of this one. It says what
// happened, "" for nothing. It is for the time between an io.EOF and the next line,
// when every line given is done with: a file that was cut may be longer again by
// the next look, and would be read from its middle.
func (t *tail) move() (what string, err error) {
	if t.file == nil {
		if err := t.open(t.path); err != nil || t.file == nil {
			return "", err
		}
		return "the file has appeared", nil
	}
	info, err := t.file.Stat()
	if err != nil {
		return "", err
	}
	if info.Size() < t.at.Offset+t.read || !t.at.stands(t.file) {
		t.at = place{Device: t.at.Device, Inode: t.at.Inode}
		return "the file was cut, and is read from its beginning", t.rewind()
	}
	if t.next != "" {
		return "the file was replaced, and the new one is read", t.open(t.next)
	}
	// Whoever writes may do so for a moment after the rename: the end is looked
	// for once more before the next file.
	t.next, err = t.successor(info)
	return "", err
}

// successor returns the file that took the place of this one, once something is
// in it.
func (t *tail) successor(ours os.FileInfo) (string, error) {
	now, err := os.Stat(t.path)
	if err == nil && os.SameFile(now, ours) || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	files, err := generations(t.path)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(files, func(g generation) bool { return os.SameFile(g.info, ours) })
	if at < 0 { // deleted: what came between is not known
		at = max(len(files)-2, -1)
	}
	for _, g := range files[at+1:] {
		if g.info.Size() > 0 {
			return g.path, nil
		}
	}
	return "", nil
}

// A generation is a log, or what it was renamed to.
type generation struct {
	path string
	info os.FileInfo
}

// generationSuffix is what logrotate and the loggers of most languages rename
// with: server.log.1, server.log-20261122, server.log.2026-11-22_13. Compressed
// ones are no more to be read.
var generationSuffix = regexp.MustCompile(`^[._-][0-9][0-9T:._-]*$`)

// generations lists path and those that it was renamed to, the oldest first and
// path, if it exists, last.
func generations(path string) ([]generation, error) {
	folder, base := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(folder, "."))
	if err != nil {
		return nil, err
	}
	var out []generation
	for _, e := range entries {
		suffix, ours := strings.CutPrefix(e.Name(), base)
		if !ours || suffix != "" && !generationSuffix.MatchString(suffix) {
			continue
		}
		info, err := os.Stat(folder + e.Name())
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, generation{folder + e.Name(), info})
	}
	slices.SortFunc(out, func(a, b generation) int {
		switch path {
		case a.path:
			return 1
		case b.path:
			return -1
		}
		return cmp.Or(a.info.ModTime().Compare(b.info.ModTime()), strings.Compare(b.path, a.path))
	})
	return out, nil
}

// identity returns the numbers that the system knows a file by.
func identity(info os.FileInfo) (device, inode uint64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev), s.Ino //nolint:unconvert // Dev is narrower on some systems
	}
	return 0, 0
}

// readPlace reads a place kept by keep; nil when none was kept yet.
func readPlace(path string) (*place, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var p place
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err == nil && (p.Offset < 0 || p.Before < 0 || int64(p.Before) > p.Offset) {
		err = errors.New("no place in a file")
	}
	if err != nil {
		return nil, fmt.Errorf("--state %s: %w: delete it to begin anew", path, err)
	}
	return &p, nil
}

// keep writes p to a file, whole or not at all.
func (p place) keep(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	part := path + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	return nil
}
