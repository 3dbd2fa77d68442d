package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	badger "github.com/dgraph-io/badger/v4"
)

// Badger can lose keys without a word: a damaged block ends an iterator early, a
// lost tail of an older log leaves a hole below newer data, a lost MANIFEST
// forgets tables. To a counter, a key that is not found reads as zero. So every
// transaction, whoever makes it, also writes the directory: for each table how
// many records are live and the sum of their hashes. It is one record for all
// tables, so that a transaction that is missing below a newer one always shows,
// whatever tables the newer one touched.
//
// payload of m/ "directory", big-endian:
//
//	u64     generation, one more with each transaction
//	then for each of tables, in that order:
//	u64     live records
//	u64     sum of their hashes, modulo 2^64
//	then the same two for each shelf of closed panes, of hours and of days: shelf.go
type directory struct {
	generation uint64
	tables     [tableCount]tally
	shelves    [shelvedTables][shelfCount]tally // parts of three of the tables
}

type tally struct{ records, sum uint64 }

func (t *tally) add(hash uint64) {
	t.records++
	t.sum += hash
}

func (t *tally) remove(hash uint64) {
	t.records--
	t.sum -= hash
}

// tables are all tables, in the order of the directory.
var tables = [tableCount]string{
	tableMeta, tableModel, tableOpen, tablePane, tableHour, tableEdges, tableDictionary,
	tableBaseline, tableAlert, tableLedger, tableOwed, tableDead, tableDedup, tableLearning,
	tableDetection, tableRows, tableDay, tableIncident, tableSilence, tableTold,
}

const (
	tableCount     = 20
	tableCount5    = 17 // in schema 5: the tables after these were empty
	tableCount4    = 16 // up to schema 4: the tables after these were empty, and there were no shelves
	tableCount2    = 14 // up to schema 2
	directoryLen2  = 8 + 16*tableCount2
	directoryLen4  = 8 + 16*tableCount4
	directoryLen5  = 8 + 16*(tableCount5+shelvedTables*shelfCount)
	directoryLen   = 8 + 16*(tableCount+shelvedTables*shelfCount)
	directoryBytes = int64(len(keyDirectory)) + envelopeLen + directoryLen + opOverhead // of a transaction
)

// tableOf returns the table of a key, -1 for none. The directory does not count
// itself.
func tableOf(key []byte) int {
	if len(key) < tableLen || string(key) == keyDirectory {
		return -1
	}
	for i, table := range tables {
		if key[0] == table[0] && key[1] == table[1] {
			return i
		}
	}
	return -1
}

// rewritten reports whether records of a table are changed in place. Their hashes
// are kept in memory, 16 bytes each; of the others, which are many and written
// once, a former record is looked up.
func rewritten(table int) bool {
	switch tables[table] {
	case tablePane, tableHour, tableDay, tableEdges, tableDictionary, tableBaseline, tableLedger:
		return false
	}
	return true
}

// recordHash is the hash of a record: of its key and of the checksum in its
// envelope, which covers key and content. It is never 0, which means no record.
func recordHash(keyHash uint64, value []byte) uint64 {
	x := keyHash
	if len(value) >= envelopeLen {
		x ^= uint64(binary.BigEndian.Uint32(value[1:])) * 0x9e3779b97f4a7c15
	}
	x = (x ^ x>>33) * 0xff51afd7ed558ccd // the finalizer of MurmurHash3
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return max(1, x^x>>33)
}

func (d *directory) add(table int, key []byte, hash uint64) {
	if hash == 0 {
		return
	}
	d.tables[table].add(hash)
	if t := d.shelf(table, key); t != nil {
		t.add(hash)
	}
}

func (d *directory) remove(table int, key []byte, hash uint64) {
	if hash == 0 {
		return
	}
	d.tables[table].remove(hash)
	if t := d.shelf(table, key); t != nil {
		t.remove(hash)
	}
}

func (d *directory) records() (n uint64) {
	for _, t := range d.tables {
		n += t.records
	}
	return n
}

func (d *directory) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, d.generation)
	b = appendTallies(b, d.tables[:])
	for i := range d.shelves {
		b = appendTallies(b, d.shelves[i][:])
	}
	return b
}

func appendTallies(b []byte, tallies []tally) []byte {
	for _, t := range tallies {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, t.records), t.sum)
	}
	return b
}

// parseTallies fills tallies from payload and returns what is left of it.
func parseTallies(payload []byte, tallies []tally) []byte {
	for i := range tallies {
		tallies[i] = tally{binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:])}
		payload = payload[16:]
	}
	return payload
}

// readDirectory reads the directory as a transaction sees it.
func readDirectory(t *badger.Txn) (d directory, err error) {
	err = read(t, []byte(keyDirectory), func(_, payload []byte) error {
		d, err = parseDirectory(payload)
		return err
	})
	return d, err
}

func parseDirectory(payload []byte) (d directory, err error) {
	known := tableCount
	switch len(payload) {
	case directoryLen:
	case directoryLen5:
		known = tableCount5
	case directoryLen4:
		known = tableCount4
	case directoryLen2:
		known = tableCount2
	default:
		return d, fmt.Errorf("%w: the directory has %d bytes, want %d", ErrDamaged, len(payload), directoryLen)
	}
	d.generation = binary.BigEndian.Uint64(payload)
	rest := parseTallies(payload[8:], d.tables[:known])
	for i := 0; i < len(d.shelves) && len(rest) > 0; i++ {
		rest = parseTallies(rest, d.shelves[i][:])
	}
	return d, nil
}

// A writer is one transaction that keeps the directory. Only one exists at a time.
type writer struct {
	*badger.Txn
	store  *Store
	next   directory
	former map[uint64]former // by the hash of the key: what this transaction has written
}

type former struct {
	hash uint64 // of the record, 0: deleted
	keep bool   // in Store.hashes
}

// set writes a sealed value.
func (w *writer) set(key, value []byte) error {
	if err := w.replace(key, value); err != nil {
		return err
	}
	return w.Set(key, value)
}

func (w *writer) remove(key []byte) error {
	if err := w.replace(key, nil); err != nil {
		return err
	}
	return w.Delete(key)
}

// replace keeps the directory of the transaction; nil deletes.
func (w *writer) replace(key, value []byte) error {
	table := tableOf(key)
	if table < 0 {
		return fmt.Errorf("key %.200q: %w", key, errKey)
	}
	id := xxhash.Sum64(key)
	old, err := w.old(table, id, key)
	if err != nil {
		return err
	}
	w.next.remove(table, key, old)
	var hash uint64
	if value != nil {
		hash = recordHash(id, value)
	}
	w.next.add(table, key, hash)
	w.former[id] = former{hash, rewritten(table)}
	return nil
}

// old returns the hash of the record that a key has, 0 for none.
func (w *writer) old(table int, id uint64, key []byte) (hash uint64, err error) {
	if f, ok := w.former[id]; ok {
		return f.hash, nil
	}
	if rewritten(table) {
		return w.store.hashes[id], nil
	}
	item, err := w.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read key %.200q: %w", key, err)
	}
	err = item.Value(func(value []byte) error { hash = recordHash(id, value); return nil })
	return hash, err
}

// commit writes the directory and makes the transaction durable. When Badger
// fails in that, nobody knows what the disk holds and the store has failed.
func (w *writer) commit() error {
	w.next.generation++
	key := []byte(keyDirectory)
	if err := w.Set(key, sealed(key, w.next.append(nil))); err != nil {
		return refused(key, err)
	}
	if err := w.Commit(); err != nil {
		w.store.mu.Lock()
		w.store.failed = err
		w.store.mu.Unlock()
		return err
	}
	w.store.directory = w.next
	for id, f := range w.former {
		switch {
		case !f.keep:
		case f.hash == 0:
			delete(w.store.hashes, id)
		default:
			w.store.hashes[id] = f.hash
		}
	}
	return nil
}

// write runs fn in a transaction that keeps the directory; commit makes it
// durable unless fn failed.
func (s *Store) write(fn func(*writer) error) error {
	if err := s.gate.enter(); err != nil {
		return err
	}
	defer s.gate.leave()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.fault(); err != nil {
		return err
	}
	w := &writer{Txn: s.db.NewTransaction(true), store: s, next: s.directory, former: map[uint64]former{}}
	defer w.Discard()
	err := fn(w)
	if err == nil && len(w.former) > 0 {
		err = w.commit()
	}
	if errors.Is(err, badger.ErrTxnTooBig) { // what it would have come to is not known
		memTable := s.memTable.Load()
		return &misfit{transactionOf(memTable), memTable}
	}
	return err
}

func (s *Store) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return fmt.Errorf("%w: %w", ErrFailed, s.failed)
	}
	return nil
}

// enroll reads the directory and the hashes of what is rewritten. A store of
// schema 1 has no directory: it gets one that describes what is there. That of
// schema 2 knows fewer tables, that of schema 4 no shelves, that of schema 5 no incidents. All end in the transaction
// that raises the schema.
func (s *Store) enroll() error {
	found, bare, unshelved := directory{}, s.id.Schema < 2, s.id.Schema < 5
	err := s.db.View(func(t *badger.Txn) (err error) {
		if !bare {
			if s.directory, err = readDirectory(t); errors.Is(err, ErrNotFound) {
				return fmt.Errorf("%w: the directory is missing: %s", ErrDamaged, Remedy)
			} else if err != nil {
				return err
			}
		}
		for i, table := range tables {
			if bare || rewritten(i) || unshelved && shelved(i) >= 0 {
				if err := s.enrollTable(t, i, []byte(table), &found); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || s.id.Schema == Schema {
		return err
	}
	if bare {
		s.directory = found
	} else if unshelved {
		if err := s.directory.shelve(&found); err != nil {
			return err
		}
	}
	s.id.Schema = Schema
	raw, err := json.Marshal(s.id)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	key := []byte(keyStore)
	return wrap(s.write(func(w *writer) error { return w.set(key, sealed(key, raw)) }), "bring the store to schema %d", Schema)
}

func (s *Store) enrollTable(t *badger.Txn, table int, prefix []byte, into *directory) error {
	return scanItems(t, prefix, func(item *badger.Item) error {
		key := item.Key()
		if tableOf(key) != table {
			return nil // the directory
		}
		return item.Value(func(value []byte) error {
			id := xxhash.Sum64(key)
			hash := recordHash(id, value)
			into.add(table, key, hash)
			if rewritten(table) {
				s.hashes[id] = hash
			}
			return nil
		})
	})
}

// scanItems hands every item whose key has the prefix to fn, in key order.
func scanItems(t *badger.Txn, prefix []byte, fn func(*badger.Item) error) error {
	options := badger.DefaultIteratorOptions
	options.Prefix = prefix
	options.PrefetchSize = 16
	it := t.NewIterator(options)
	defer it.Close()
	for it.Seek(prefix); it.Valid(); it.Next() {
		if err := fn(it.Item()); err != nil {
			return err
		}
	}
	return nil
}
