package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"
)

// Trim unmaps the pages of Badger's tables that reading and writing have mapped. They
// stay in the kernel's cache for as long as it has room, but no longer count as resident
// memory of this process: verifying maps all of a store. Where there is no
// /proc/self/maps it does nothing.
func (s *Store) Trim() error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	return wrap(trim(s.db, filepath.Join(s.dir, dataName)), "trim store %s", s.dir)
}

// trim unmaps pages of tables that nobody else can unmap meanwhile: the Go heap could
// take the place of such a table, and what it holds would be lost. An iterator keeps the
// tables there are when it is made. Those are among them that are listed before and
// after, as a table that has gone does not come back.
func trim(db *badger.DB, data string) error {
	before := tableFiles(db)
	t := db.NewTransaction(false)
	defer t.Discard()
	defer t.NewIterator(badger.IteratorOptions{}).Close()
	kept := tableFiles(db)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil // not Linux
	}
	if data, err = filepath.Abs(data); err == nil {
		data, err = filepath.EvalSymlinks(data) // maps name files so
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		m, shared := mappingOf(line)
		if name := filepath.Base(m.file); !shared || !before[name] || !kept[name] || filepath.Dir(m.file) != data {
			continue
		}
		if _, _, fault := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); fault != 0 {
			return fmt.Errorf("madvise %s: %w", m.file, fault)
		}
	}
	return nil
}

// tableFiles returns the names of the files of all tables.
func tableFiles(db *badger.DB) map[string]bool {
	names := map[string]bool{}
	for _, t := range db.Tables() {
		names[table.IDToFilename(t.ID)] = true
	}
	return names
}

// A mapping is where a file is in memory.
type mapping struct {
	from, to uintptr
	file     string
}

// mappingOf reads a line of /proc/self/maps, as of proc_pid_maps(5), and reports whether
// it is of a file whose changes other processes see: only such a one keeps what is in it.
func mappingOf(line string) (m mapping, shared bool) {
	fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6) // addresses, permissions, offset, device, inode, and spaces before the file
	if len(fields) < 6 || len(fields[1]) != 4 || fields[1][3] != 's' {
		return m, false
	}
	if n, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to); n != 2 || err != nil {
		return m, false
	}
	m.file = strings.TrimLeft(fields[5], " ")
	return m, true
}
