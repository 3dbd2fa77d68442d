package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
)

// A Vacancy is a directory without a store, held for one that is made beside it
// and moved in when it is whole. Nobody else opens or fills the directory meanwhile.
// Other files in it, such as the key of privacy or an embedded stream, stay.
type Vacancy struct {
	dir  string
	lock *dirLock
}

// Vacate holds a directory, which is made if need be. It fails with ErrOccupied if
// there is a store in it, and with ErrLocked.
func Vacate(dir string) (*Vacancy, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{dataName, sidecarName} {
		_, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil:
			err = fmt.Errorf("%w in %s: move %s and %s out of it, or name another directory", ErrOccupied, dir, dataName, sidecarName)
		}
		return nil, errors.Join(err, lock.release())
	}
	return &Vacancy{dir, lock}, nil
}

// Stage returns the directory in which the store is made: of that name, in the
// vacant one.
func (v *Vacancy) Stage(name string) string { return filepath.Join(v.dir, name) }

// Install moves the closed store in stage into place, and removes stage. When it is
// cut off in the middle, the directory has no store, or the whole one: that without
// STORE.json is whole too.
func (v *Vacancy) Install(stage string) error {
	for _, name := range []string{dataName, sidecarName} {
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(v.dir, name)); err != nil {
			return err
		}
		if err := syncDir(v.dir); err != nil {
			return err
		}
	}
	return os.RemoveAll(stage)
}

// Close lets go of the directory.
func (v *Vacancy) Close() error { return v.lock.release() }

// stageRestore is where Restore makes a store.
const stageRestore = "RESTORE"

// Restore makes a store from a backup in a directory that has none, made if need
// be. The store moves into place only when it has been read from the backup and
// from the disk again without a fault; else the directory is left as it was. A
// backup that is not whole is ErrDamaged, one of a later driftd ErrNewerSchema. at
// is as in Store.Backup.
func Restore(ctx context.Context, dir string, r io.Reader, o Options, at func(done, total uint64)) (head Backup, err error) {
	v, err := Vacate(dir)
	if err != nil {
		return head, fmt.Errorf("restore into %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	stage := v.Stage(stageRestore)
	if err := os.RemoveAll(stage); err != nil { // of a restore that was killed
		return head, err
	}
	if head, err = load(ctx, stage, r, o, at); err == nil {
		err = v.Install(stage)
	}
	if err != nil {
		return head, errors.Join(fmt.Errorf("restore into %s: %w", dir, err), os.RemoveAll(stage))
	}
	return head, nil
}

// load makes a store of a backup in an empty directory, and proves it.
func load(ctx context.Context, dir string, r io.Reader, o Options, at func(done, total uint64)) (head Backup, err error) {
	s, err := open(dir, o.withDefaults())
	if err != nil {
		return head, err
	}
	head, err = s.fill(ctx, r, at)
	if err == nil {
		var v Verification
		if v, err = s.Verify(ctx, func(_, _ uint64) {}); err == nil {
			err = v.Err()
		}
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return head, err
	}
	if err := writeSidecar(dir, sidecar{Identity: head.Store}); err != nil {
		return head, err
	}
	s, err = open(dir, o.withDefaults()) // as the daemon will
	if err != nil {
		return head, err
	}
	return head, s.Close()
}

// loadBytes are written between two looks at the room on the disk.
const loadBytes = 8 << 20

// fill writes the records of a backup over those of a new store, its identity and
// directory among them. Until it is opened again, s is good for Verify only.
func (s *Store) fill(ctx context.Context, r io.Reader, at func(done, total uint64)) (Backup, error) {
	batch, written := s.db.NewWriteBatch(), 0
	defer func() { batch.Cancel() }()
	head, err := parseBackup(ctx, r, at, func(key, value []byte) error {
		if written += len(key) + len(value); written > loadBytes {
			written = 0
			if err := s.opt.reserve(s.dir, s.opt.ReserveBytes); err != nil {
				return err
			}
		}
		return batch.SetEntry(badger.NewEntry(key, value))
	})
	if err != nil {
		return head, err
	}
	return head, batch.Flush()
}

// Compact rewrites the files of the store in dir so that they hold nothing twice
// and nothing that was deleted, and returns the bytes on disk before and after. The
// store must be nobody else's, and its disk must have as much room as it takes. It
// cannot be stopped, but killed: the files that it replaces are deleted last.
func Compact(dir string, o Options) (before, after int64, err error) {
	s, err := Open(dir, o)
	if err != nil {
		return 0, 0, err
	}
	if before, err = s.SizeOnDisk(); err == nil {
		err = s.opt.reserve(dir, before)
	}
	if err == nil {
		err = s.Flatten()
	}
	for err == nil {
		err = s.collect()
	}
	if errors.Is(err, badger.ErrNoRewrite) { // there is nothing left to collect
		err = nil
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return before, 0, fmt.Errorf("compact store %s: %w", dir, err)
	}
	after, err = s.SizeOnDisk()
	return before, after, err
}

// collect rewrites one file of Badger's value log.
func (s *Store) collect() error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	return s.db.RunValueLogGC(0.5)
}
