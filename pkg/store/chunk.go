package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// chunkBytes bounds a value of the tables whose records can be long. Badger
// copies few large values faster than many small ones, but not above this.
const chunkBytes = 64 << 10

// A long record is cut into chunks under keys that end in u16(chunk), counted
// from 0. The first byte of each is 1 if it is the last and 0 if another one
// follows. Chunks behind the last belong to an earlier, longer record of the
// key and mean nothing.

// long writes a record in chunks and returns how many. key must not be part of
// the batch's buffer.
func (b *Batch) long(key, record []byte) (chunks int) {
	for last := false; !last; chunks++ {
		piece := record[:min(len(record), chunkBytes)]
		record = record[len(piece):]
		last = len(record) == 0
		b.begin()
		b.buf = binary.BigEndian.AppendUint16(append(b.buf, key...), uint16(chunks))
		b.payload()
		b.buf = append(appendFlag(b.buf, last), piece...)
		b.end()
	}
	return chunks
}

// A joiner puts long records together from their chunks, taken in key order.
type joiner struct {
	key  []byte // of the record, without the chunk
	buf  []byte
	next int // chunk expected; -1 when the record is complete
}

// add takes a chunk and returns the record if that completes it; it is valid
// until the next call.
func (j *joiner) add(key, payload []byte) (record []byte, done bool, err error) {
	if len(key) < tableLen+2 || len(payload) < 1 {
		return nil, false, fmt.Errorf("%w: key %q is no chunk", ErrDamaged, key)
	}
	prefix, chunk := key[:len(key)-2], int(binary.BigEndian.Uint16(key[len(key)-2:]))
	if string(prefix) != string(j.key) {
		if err := j.end(); err != nil {
			return nil, false, err
		}
		j.key, j.buf, j.next = append(j.key[:0], prefix...), j.buf[:0], 0
	}
	last, piece := payload[0] == 1, payload[1:]
	switch {
	case j.next < 0:
		return nil, false, nil // left over from a longer record
	case chunk != j.next:
		return nil, false, fmt.Errorf("%w: chunk %d of key %q is missing", ErrDamaged, j.next, prefix)
	case last && chunk == 0:
		j.next = -1
		return piece, true, nil
	}
	j.buf = append(j.buf, piece...)
	j.next++
	if last {
		j.next = -1
	}
	return j.buf, last, nil
}

// end returns an error if a record has begun and not ended.
func (j *joiner) end() error {
	if j.key != nil && j.next >= 0 {
		return fmt.Errorf("%w: chunk %d of key %q is missing", ErrDamaged, j.next, j.key)
	}
	return nil
}

// scanLong hands every long record whose key has the prefix to fn, with the key
// less the chunk, in key order, beginning at from (nil: at the first).
func scanLong(t *badger.Txn, prefix, from []byte, fn func(key, record []byte) error) error {
	var j joiner
	stopped := false
	err := scan(t, prefix, from, func(key, payload []byte) error {
		record, done, err := j.add(key, payload)
		if err != nil || !done {
			return err
		}
		err = fn(j.key, record)
		stopped = errors.Is(err, errStop)
		return err
	})
	if err != nil || stopped {
		return err
	}
	return j.end()
}

// readLong hands the long record of one key to fn; if there is none that is
// ErrNotFound.
func readLong(t *badger.Txn, key []byte, fn func(key, record []byte) error) error {
	found := false
	err := scanLong(t, key, nil, func(k, record []byte) error {
		if len(k) != len(key) {
			return nil
		}
		found = true
		return fn(k, record)
	})
	if err == nil && !found {
		err = fmt.Errorf("key %q: %w", key, ErrNotFound)
	}
	return err
}
