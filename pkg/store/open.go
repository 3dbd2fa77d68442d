package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	badgeroptions "github.com/dgraph-io/badger/v4/options"
)

// Schema is the version of the key map that this package reads and writes.
const Schema = 6

const badgerVersion = "v4.9.6"

// Options say how a store is opened. Its zero value is fit for production but
// for ReserveBytes.
type Options struct {
	// MemTableBytes sizes Badger's memory tables, of which two exist at a time; while
	// one is flushed it takes twice its size, and so do up to eight buffers that Badger
	// keeps while it writes a lot. A commit may hold 15 % of it; for a larger one Commit
	// makes them larger. 0: 7 MB, for commits of 1 MB, or what the last run needed.
	MemTableBytes int64
	// GrowTimeout bounds how long a commit that does not fit waits for who reads. 0: 10s.
	GrowTimeout time.Duration
	// Compactors is the number of compaction workers: 0 means 2, negative none.
	Compactors int
	// TablesChecked says that another process has opened the store just now, and so
	// has read every table and compared it with its checksums: Open does not do it
	// again, which takes a second for each gigabyte or so. Every record that is read
	// is compared with its own checksum all the same.
	TablesChecked bool
	// ReserveBytes is the free disk space below which Commit and Open refuse
	// with ErrNoSpace, because Badger writes through memory maps and a full
	// disk kills the process. Settling and sweeping may use seven eighths of
	// it. 0: no guard.
	ReserveBytes int64
	// ReservePercent raises the reserve to a share of what the store takes on
	// disk, since compaction writes before it deletes. 0: ReserveBytes only.
	ReservePercent int64
	// Free returns the free bytes of the disk that dir is on. nil: statfs.
	Free func(dir string) (int64, error)
	// CloseTimeout bounds Close. 0: 8s.
	CloseTimeout time.Duration
	// Log receives Badger's messages, from any goroutine; level is "error",
	// "warn" or "info". nil: dropped.
	Log func(level, message string)
	// Crash is called at the named points of a commit; an error makes Commit
	// return it there and then. For crash tests only.
	Crash func(point string) error
}

// The points at which Options.Crash is called. Those of growing come before those of the
// commit for which the memory tables grow.
const (
	BeforeCommit = "before-commit" // nothing has been written
	AfterCommit  = "after-commit"  // all of it has been, but nobody was told
	BeforeGrow   = "before-grow"   // the new size is noted, everybody still reads
	WhileGrowing = "while-growing" // Badger is closed
	AfterGrow    = "after-grow"    // it is open again, and nobody reads yet
)

// defaultMemTable is the size of memory tables of a store that has not grown. A
// transaction takes 1.05 MB then, just more than a value may have; a memory table and the
// transaction that filled it become a table that has room in a buffer of 8 MiB.
const defaultMemTable = 7_000_000

func (o Options) withDefaults() Options {
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTable
	}
	if o.GrowTimeout == 0 {
		o.GrowTimeout = 10 * time.Second
	}
	if o.Compactors == 0 {
		o.Compactors = 2
	}
	if o.CloseTimeout == 0 {
		o.CloseTimeout = 8 * time.Second
	}
	if o.Free == nil {
		o.Free = freeBytes
	}
	if o.Log == nil {
		o.Log = func(string, string) {}
	}
	if o.Crash == nil {
		o.Crash = func(string) error { return nil }
	}
	return o
}

// An Identity tells one store from another. It is kept in STORE.json beside
// Badger's files as well as inside, so that the loss of either is noticed.
type Identity struct {
	UUID    string    `json:"uuid"`
	Schema  int       `json:"schema"`
	Created time.Time `json:"created"`
	Badger  string    `json:"badger"`
}

// A Store is an open store. One goroutine commits batches; all other methods
// are safe for concurrent use.
type Store struct {
	dir  string
	id   Identity
	opt  Options
	lock *dirLock
	refs *registry

	gate     gate
	db       *badger.DB   // for whoever is inside the gate
	memTable atomic.Int64 // bytes of a memory table of db
	growing  sync.Mutex   // held by who exchanges db, or closes it
	closing  atomic.Bool

	writing   sync.Mutex // held by the one transaction that writes; guards the two fields below
	directory directory
	hashes    map[uint64]uint64 // hash of a key in a rewritten table -> of its record

	sizing  sync.Mutex // guards the two fields below
	size    int64
	sizedAt time.Time

	mu     sync.Mutex // guards the fields below; never held over I/O
	failed error
	open   map[string]int // span of each open pane -> its chunks
	need   volume         // the most that a batch took
}

// Open opens the store in dir and creates it if need be. It fails with
// ErrLocked while another process has it open, with ErrNewerSchema (and
// changes nothing) if a later driftd wrote it, with ErrDamaged if Badger lost
// what STORE.json promises, and with ErrNoSpace.
func Open(dir string, options Options) (*Store, error) {
	s, err := open(dir, options.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o Options) (s *Store, err error) {
	data := filepath.Join(dir, dataName)
	if err := errors.Join(makeDir(dir), makeDir(data)); err != nil {
		return nil, err
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.release())
		}
	}()
	if err := probe(data); err != nil {
		return nil, err
	}
	noted, err := readSidecar(dir)
	if err != nil {
		return nil, err
	}
	if err := o.reserve(dir, o.ReserveBytes); err != nil {
		return nil, err
	}
	if err := sweepEmpty(data); err != nil {
		return nil, err
	}
	if err := checkFiles(data, noted); err != nil {
		return nil, err
	}
	grown := o
	if noted != nil {
		grown.MemTableBytes = max(o.MemTableBytes, min(noted.MemTableBytes, maxMemTable))
	}
	if grown.MemTableBytes, err = takeLogs(data, grown.MemTableBytes); err != nil {
		return nil, err
	}
	db, err := openBadger(badgerOptions(data, grown))
	if err != nil {
		return nil, err
	}
	s = &Store{db: db, dir: dir, opt: o, lock: lock, refs: newRegistry(), open: map[string]int{}, hashes: map[uint64]uint64{}}
	s.memTable.Store(grown.MemTableBytes)
	if err := s.start(noted); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func badgerOptions(dir string, o Options) badger.Options {
	b := badger.DefaultOptions(dir).
		WithLogger(logger{o.Log}).
		WithSyncWrites(true). // power loss must not take an older commit and leave a newer
		WithChecksumVerificationMode(o.checksums()).
		WithMemTableSize(o.MemTableBytes).
		WithNumMemtables(1).       // one is filled while another is flushed
		WithNumLevelZeroTables(3). // each is as large as a memory table, and resident
		WithBaseTableSize(o.tableBytes()).
		WithBlockSize(blockBytes).
		WithNumCompactors(max(o.Compactors, 0)).
		WithCompression(badgeroptions.None). // closed windows are packed
		WithBlockCacheSize(0).               // tables are mapped, and nothing has to be decompressed
		WithIndexCacheSize(8 << 20).
		WithValueLogFileSize(64 << 20).
		WithValueThreshold(o.valueLimit()).
		WithCompactL0OnClose(o.Compactors > 0).
		WithDetectConflicts(false). // one writer decides; the others own their keys
		WithMetricsEnabled(false)
	b.TableSizeMultiplier = 1 // deeper levels would have larger tables, and buffers
	return b
}

// blockBytes is the size of a table's blocks. A record that is longer than its block is
// copied into ever larger ones, and Badger keeps the room of all of them until the
// table is written: with its 4 KiB that is up to three times what the table takes.
const blockBytes = 64 << 10

// tableBytes is the size of the tables that compactions write. Badger keeps up to eight
// buffers for tables in the making, and takes any of them to flush a memory table too.
// At first they have room for two tables, rounded up to a power of two; one that is too
// small grows to three times as much and more. So tables have half the power of two that
// takes a memory table and the commit that filled it. Large ones also mean that few are
// in the making at a time.
func (o Options) tableBytes() int64 {
	flushed := o.MemTableBytes * 115 / 100
	return 1 << (bits.Len64(uint64(flushed)) - 1)
}

// takeLogs returns the size of memory tables that takes in what a killed process left:
// Badger reads each log into one memory table, and ends the process over a log that is
// longer. A log that is written is twice the size of its memory table, one that was read
// before is cut to what it holds.
func takeLogs(data string, size int64) (int64, error) {
	logs, err := filepath.Glob(filepath.Join(data, "*.mem"))
	if err != nil {
		return 0, err
	}
	need := size
	for _, name := range logs {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		holds := info.Size()
		if holds >= 2*size {
			holds /= 2
		}
		need = max(need, min(holds, maxMemTable))
	}
	return need, nil
}

// checksums says whether Badger compares tables with their checksums when it opens
// them. It could also compare each block when it is read, but its iterators take a
// block that does not fit for the end of the table: what is missing would go unnoticed
// where our own checksums, of each record, tell.
func (o Options) checksums() badgeroptions.ChecksumVerificationMode {
	if o.TablesChecked {
		return badgeroptions.NoVerification
	}
	return badgeroptions.OnTableRead
}

// valueLimit is the size from which Badger would put a value in its value log,
// whose sync errors are only logged. Every value stays below it. More than
// 1 MiB, or than a transaction holds, Badger refuses.
func (o Options) valueLimit() int64 { return min(1<<20, o.MemTableBytes*15/100) }

// start checks or writes the identity and loads what the store keeps in
// memory: which edges exist and how long each open pane is.
func (s *Store) start(noted *sidecar) error {
	if err := s.identify(noted); err != nil {
		return err
	}
	return s.db.View(func(t *badger.Txn) error {
		for _, table := range []string{tableEdges, tableDictionary} {
			err := scanKeys(t, []byte(table), func(key []byte) ([]byte, error) {
				if len(key) != tableLen+8+2 {
					return nil, fmt.Errorf("%w: key %q: %w", ErrDamaged, key, errKey)
				}
				s.refs.committed(string(key[:len(key)-2]))
				return nil, nil
			})
			if err != nil {
				return err
			}
		}
		return scanKeys(t, []byte(tableOpen), func(key []byte) ([]byte, error) {
			if len(key) < tableLen+2 {
				return nil, fmt.Errorf("%w: key %q: %w", ErrDamaged, key, errKey)
			}
			s.open[string(key[tableLen:len(key)-2])]++
			return nil, nil
		})
	})
}

func (s *Store) identify(noted *sidecar) error {
	var inside *Identity
	err := s.db.View(func(t *badger.Txn) error {
		return readJSON(t, []byte(keyStore), &inside)
	})
	switch {
	case errors.Is(err, ErrNotFound) && noted != nil:
		return fmt.Errorf("%w: %s names store %s of %s, but Badger holds no such store (MANIFEST lost or files exchanged?): %s",
			ErrDamaged, sidecarName, noted.UUID, noted.Created.Format(time.RFC3339), Remedy)
	case errors.Is(err, ErrNotFound):
		return s.create()
	case err != nil:
		return err
	case inside.Schema > Schema:
		return newer(*inside)
	case inside.Schema < 1:
		return fmt.Errorf("%w: schema %d was never in use", ErrDamaged, inside.Schema)
	case noted != nil && noted.UUID != inside.UUID:
		return fmt.Errorf("%w: %s names store %s, Badger's files belong to store %s", ErrDamaged, sidecarName, noted.UUID, inside.UUID)
	}
	s.id = *inside
	if err := s.enroll(); err != nil {
		return err
	}
	switch {
	case noted == nil: // killed between the two writes of create
		return writeSidecar(s.dir, sidecar{Identity: s.id})
	case noted.Identity != s.id: // killed between those of enroll, or just migrated
		return writeSidecar(s.dir, sidecar{s.id, noted.MemTableBytes})
	}
	return nil
}

func newer(id Identity) error {
	return fmt.Errorf("%w: schema %d, this driftd reads up to %d: nothing was changed, use the newer version", ErrNewerSchema, id.Schema, Schema)
}

func (s *Store) create() error {
	uuid, err := newUUID()
	if err != nil {
		return err
	}
	s.id = Identity{UUID: uuid, Schema: Schema, Created: time.Now().UTC().Truncate(time.Second), Badger: badgerVersion}
	raw, err := json.Marshal(s.id)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	key := []byte(keyStore)
	if err := s.write(func(w *writer) error { return w.set(key, sealed(key, raw)) }); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return writeSidecar(s.dir, sidecar{Identity: s.id})
}

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

// Identity returns what tells this store from another.
func (s *Store) Identity() Identity { return s.id }

// Close flushes and closes the store after the reads under way have ended. It
// waits no longer than Options.CloseTimeout: every commit is durable already,
// so leaving Badger behind costs a longer start and nothing else.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return nil
	}
	s.gate.shut(ErrClosed)
	done := make(chan error, 1)
	go func() {
		s.growing.Lock()
		defer s.growing.Unlock()
		<-s.gate.emptied()
		done <- errors.Join(s.db.Close(), s.shrink(), s.lock.release())
	}()
	late := time.NewTimer(s.opt.CloseTimeout)
	defer late.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("close store %s: %w", s.dir, err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("close store %s: still busy after %v", s.dir, s.opt.CloseTimeout)
	}
}

// view runs fn on a consistent snapshot. fn must not call another method of s, which
// would use Badger once more: see gate.enter.
func (s *Store) view(fn func(*badger.Txn) error) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	return s.db.View(fn)
}

// update runs fn in a transaction of its own, once more if it does not fit. It may use
// most of the reserve of the disk: without it nothing could be settled or swept when
// space runs out.
func (s *Store) update(fn func(*writer) error) error {
	if err := s.opt.reserve(s.dir, s.opt.ReserveBytes/8); err != nil {
		return err
	}
	return s.fitting(func() error { return s.write(fn) })
}

type logger struct{ log func(level, message string) }

func (l logger) send(level, format string, args []any) {
	if message := strings.TrimSpace(fmt.Sprintf(format, args...)); message != "" {
		l.log(level, message)
	}
}

// Errorf, Warningf, Infof and Debugf implement badger.Logger.
func (l logger) Errorf(format string, args ...any)   { l.send("error", format, args) }
func (l logger) Warningf(format string, args ...any) { l.send("warn", format, args) }
func (l logger) Infof(format string, args ...any)    { l.send("info", format, args) }

// Debugf drops what Badger says of every single write.
func (l logger) Debugf(string, ...any) {}
