package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a store's directory: Badger's in badger/, and these.
const (
	dataName    = "badger"
	sidecarName = "STORE.json" // Identity
	lockName    = "LOCK"       // locked while open; holds the process id
)

// A dirLock is held from before the first look at Badger's files until they
// are closed. Badger locks its own directory too, but only inside its Open,
// which is too late for sweepEmpty.
type dirLock struct {
	dir  string
	file *os.File
}

func acquire(dir string) (*dirLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(locked(file.Name(), err), file.Close())
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err := errors.Join(handBack(dir), file.Truncate(0), writeAt(file, pid)); err != nil { // of a root that was killed
		return nil, errors.Join(err, file.Close())
	}
	return &dirLock{dir, file}, nil
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// release leaves the file in place: removing it would let two processes lock
// two files of one name.
func (l *dirLock) release() error {
	return errors.Join(handBack(l.dir), l.file.Truncate(0), l.file.Close())
}

// probe fails with ErrLocked if a tool has Badger's files open without us.
func probe(data string) error {
	file, err := os.Open(data)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only locked
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return locked(filepath.Join(data, lockName), err)
	}
	return unix.Flock(int(file.Fd()), unix.LOCK_UN)
}

func locked(pidFile string, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", pidFile, err)
	}
	raw, _ := os.ReadFile(pidFile) // only for the message
	pid := string(bytes.TrimSpace(raw))
	if pid == "" {
		pid = "unknown"
	}
	return fmt.Errorf("%w by process %s (%s): stop it first", ErrLocked, pid, pidFile)
}

// A sidecar is what STORE.json holds.
type sidecar struct {
	Identity
	// MemTableBytes is how large memory tables were at last, 0 if they have not grown.
	MemTableBytes int64 `json:"mem_table_bytes,omitempty"`
}

// readSidecar returns what STORE.json holds, nil if there is none.
func readSidecar(dir string) (*sidecar, error) {
	raw, err := os.ReadFile(filepath.Join(dir, sidecarName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var noted sidecar
	if err := json.Unmarshal(raw, &noted); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, sidecarName, err)
	}
	if noted.Schema > Schema {
		return nil, newer(noted.Identity)
	}
	return &noted, nil
}

// writeSidecar replaces STORE.json as a whole and durably.
func writeSidecar(dir string, s sidecar) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", sidecarName, err)
	}
	name := filepath.Join(dir, sidecarName)
	file, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(raw, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes renames in a directory durable.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// sweepEmpty removes the files that a kill between create and first write left
// behind with no byte in them: Badger's Open fails on each of them once
// (dgraph-io/badger issue 2207). They hold nothing.
func sweepEmpty(data string) error {
	entries, err := os.ReadDir(data)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && info.Size() == 0 {
			if err := os.Remove(filepath.Join(data, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserve fails with ErrNoSpace if the disk has less than need left.
func (o Options) reserve(dir string, need int64) error {
	if o.ReserveBytes <= 0 {
		return nil
	}
	free, err := o.Free(dir)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	if free < need {
		return fmt.Errorf("%w: %d MiB are free, %d MiB are kept in reserve: free some space", ErrNoSpace, free>>20, need>>20)
	}
	return nil
}

// Room tells the free bytes of the store's disk and the reserve below which Commit
// refuses, 0 without one.
func (s *Store) Room() (free, reserve int64, err error) {
	if free, err = s.opt.Free(s.dir); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space of %s: %w", s.dir, err)
	}
	reserve, err = s.reserve()
	return free, reserve, err
}

// sizeEvery is how often the store is measured for its reserve.
const sizeEvery = 10 * time.Second

// reserve returns the free space that a commit must leave alone.
func (s *Store) reserve() (int64, error) {
	if s.opt.ReserveBytes <= 0 || s.opt.ReservePercent <= 0 {
		return max(0, s.opt.ReserveBytes), nil
	}
	s.sizing.Lock()
	defer s.sizing.Unlock()
	if now := time.Now(); s.sizedAt.IsZero() || now.Sub(s.sizedAt) > sizeEvery {
		size, err := s.SizeOnDisk()
		if err != nil {
			return 0, err
		}
		s.size, s.sizedAt = size, now
	}
	return max(s.opt.ReserveBytes, s.size/100*s.opt.ReservePercent), nil
}

func freeBytes(dir string) (int64, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * disk.Bsize, nil
}

// SizeOnDisk returns the bytes that the store's files occupy. Badger's logs
// are sparse, so this is far less than the sum of their lengths.
func (s *Store) SizeOnDisk() (int64, error) {
	var size int64
	err := filepath.WalkDir(s.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // compacted away meanwhile
			}
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			size += stat.Blocks * 512 // POSIX: st_blocks counts 512 bytes, whatever the block size
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure store %s: %w", s.dir, err)
	}
	return size, nil
}

func newUUID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a uuid: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562: version 4
	return strings.Join([]string{
		fmt.Sprintf("%x", b[:4]), fmt.Sprintf("%x", b[4:6]), fmt.Sprintf("%x", b[6:8]),
		fmt.Sprintf("%x", b[8:10]), fmt.Sprintf("%x", b[10:]),
	}, "-"), nil
}
