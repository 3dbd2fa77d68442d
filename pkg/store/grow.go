package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/skl"
)

// Badger takes transactions of 15 % of its memory table and cannot change the size of
// its tables while it is open. Memory tables take most of what a small store holds in
// memory, and large transactions are rare. So the tables are small, and when a
// transaction does not fit, Badger is closed and opened with larger ones, between two
// transactions: crashing in between is crashing between two commits. Users wait at the
// gate meanwhile.
//
//	note the size in STORE.json -> keep users out -> close -> open -> let them in
//
// The note makes the next start open with that size at once. When the last run needed
// less, Close notes less.

// maxMemTable bounds memory tables: those that grow, and those that are made for a log
// that was found. A transaction of 38 MiB fits in.
const maxMemTable = 256 << 20

// A volume is what a transaction takes, or may: bytes, and keys, as Badger counts them.
type volume struct{ bytes, keys int64 }

// transactionOf returns what fits in a transaction, less what Badger and the directory
// add to it, when memory tables have so many bytes.
func transactionOf(memTable int64) volume {
	most := memTable * 15 / 100 // checkAndSetOptions in Badger's db.go
	return volume{most - 64 - directoryBytes, most/int64(skl.MaxNodeSize) - 3}
}

func (v volume) fits(in volume) bool { return v.bytes < in.bytes && v.keys < in.keys }

func (v volume) max(other volume) volume {
	return volume{max(v.bytes, other.bytes), max(v.keys, other.keys)}
}

// memTableFor returns the size of memory tables, from one on and each time twice as
// large, in which a transaction fits, and whether there is one.
func memTableFor(v volume, from int64) (int64, bool) {
	for size := from; ; size = min(2*size, maxMemTable) {
		if v.fits(transactionOf(size)) {
			return size, true
		}
		if size >= maxMemTable {
			return size, false
		}
	}
}

// A misfit is an ErrTooBig that larger memory tables mend, up to maxMemTable.
type misfit struct {
	volume
	memTable int64
}

// Error implements error.
func (m *misfit) Error() string {
	limit := transactionOf(m.memTable)
	return fmt.Sprintf("%v: %d bytes in %d keys, the memory table of %d bytes takes %d bytes in %d keys: commit more often or raise limits",
		ErrTooBig, m.bytes, m.keys, m.memTable, limit.bytes, limit.keys)
}

// Unwrap makes it an ErrTooBig.
func (m *misfit) Unwrap() error { return ErrTooBig }

// fitting runs fn, and again with larger memory tables while a transaction of it does
// not fit. It must not be called by a user inside the gate.
func (s *Store) fitting(fn func() error) error {
	for {
		err := fn()
		var m *misfit
		if !errors.As(err, &m) {
			return err
		}
		if fault := s.grow(m); fault != nil {
			return fault
		}
	}
}

// CommitLimit returns the bytes that a batch may have as things are. Commit makes more
// room for one that has more, which takes a moment.
func (s *Store) CommitLimit() int64 { return transactionOf(s.memTable.Load()).bytes }

// CommitMost returns the bytes that no batch may ever have.
func (s *Store) CommitMost() int64 { return transactionOf(max(maxMemTable, s.memTable.Load())).bytes }

// grow opens Badger with memory tables that take a transaction, unless another
// goroutine has done so meanwhile.
func (s *Store) grow(m *misfit) error {
	s.growing.Lock()
	defer s.growing.Unlock()
	old := s.memTable.Load()
	size, ok := memTableFor(m.volume, old)
	switch {
	case !ok:
		return &misfit{m.volume, size}
	case size == old:
		return nil
	}
	start := time.Now()
	if err := writeSidecar(s.dir, sidecar{s.id, size}); err != nil {
		return fmt.Errorf("note memory tables of %d bytes: %w", size, err)
	}
	if err := s.opt.Crash(BeforeGrow); err != nil {
		return err
	}
	if !s.gate.pause(s.opt.GrowTimeout) {
		return fmt.Errorf("%w; somebody reads since %v: the next start has memory tables of %d bytes", m, s.opt.GrowTimeout, size)
	}
	err := s.reopen(size)
	if err != nil {
		err = fmt.Errorf("%w: open it with memory tables of %d bytes: %w", ErrFailed, size, err)
	}
	s.gate.resume(err)
	if err == nil {
		s.opt.Log("warn", fmt.Sprintf("a transaction of %d bytes in %d keys did not fit: memory tables have %d MiB instead of %d; it took %v", m.bytes, m.keys, size>>20, old>>20, time.Since(start).Round(time.Millisecond)))
	}
	return err
}

// reopen exchanges Badger for one with memory tables of another size.
func (s *Store) reopen(memTable int64) error {
	if err := s.db.Close(); err != nil {
		return err
	}
	if err := s.opt.Crash(WhileGrowing); err != nil {
		return err
	}
	o := s.opt
	o.MemTableBytes, o.TablesChecked = memTable, true // it was open till now
	db, err := openBadger(badgerOptions(filepath.Join(s.dir, dataName), o))
	if err != nil {
		return err
	}
	s.db = db
	err = db.View(func(t *badger.Txn) error {
		found, err := readDirectory(t)
		if err == nil && found != s.directory {
			err = fmt.Errorf("%w: it was closed at transaction %d and opened at %d", ErrDamaged, s.directory.generation, found.generation)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.memTable.Store(memTable)
	return s.opt.Crash(AfterGrow)
}

// needed notes what a batch took that was committed.
func (s *Store) needed(v volume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.need = s.need.max(v)
}

// shrink notes smaller memory tables for the next start if those that were grown in this
// or an earlier run are larger than the batches of this one needed.
func (s *Store) shrink() error {
	s.mu.Lock()
	need := s.need
	s.mu.Unlock()
	if need == (volume{}) {
		return nil
	}
	size, _ := memTableFor(need, s.opt.MemTableBytes)
	noted, err := readSidecar(s.dir)
	if err != nil || noted == nil || noted.MemTableBytes <= size {
		return err
	}
	if size == s.opt.MemTableBytes {
		size = 0
	}
	return writeSidecar(s.dir, sidecar{s.id, size})
}
