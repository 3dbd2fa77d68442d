package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	badger "github.com/dgraph-io/badger/v4"
)

const (
	envelope    = 1 // format of the envelope
	envelopeLen = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
}

// seal writes the head of an envelope whose payload is already in place.
func seal(key, value []byte) {
	value[0] = envelope
	binary.BigEndian.PutUint32(value[1:], checksum(key, value[envelopeLen:]))
}

// unseal returns the payload of a value, or why it cannot be trusted.
func unseal(key, value []byte) ([]byte, error) {
	switch {
	case len(value) < envelopeLen:
		return nil, fmt.Errorf("%w: value of key %q has %d bytes, want at least %d", ErrDamaged, key, len(value), envelopeLen)
	case value[0] != envelope:
		return nil, fmt.Errorf("%w: value of key %q has format %d, want %d", ErrDamaged, key, value[0], envelope)
	}
	payload := value[envelopeLen:]
	if got, want := checksum(key, payload), binary.BigEndian.Uint32(value[1:]); got != want {
		return nil, fmt.Errorf("%w: value of key %q has checksum %08x, want %08x", ErrDamaged, key, got, want)
	}
	return payload, nil
}

// payload hands the checked payload of an item to fn. It is valid only inside.
func payload(item *badger.Item, fn func(key, payload []byte) error) error {
	return item.Value(func(value []byte) error {
		p, err := unseal(item.Key(), value)
		if err != nil {
			return err
		}
		return fn(item.Key(), p)
	})
}

// read hands the payload of one key to fn; a key that is not there is
// ErrNotFound.
func read(t *badger.Txn, key []byte, fn func(key, payload []byte) error) error {
	item, err := t.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return fmt.Errorf("key %q: %w", key, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("read key %q: %w", key, err)
	}
	return payload(item, fn)
}

// readJSON decodes the value of one key into v.
func readJSON(t *badger.Txn, key []byte, v any) error {
	return read(t, key, func(key, payload []byte) error { return decodeJSON(key, payload, v) })
}

func decodeJSON(key, payload []byte, v any) error {
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("%w: value of key %q: %w", ErrDamaged, key, err)
	}
	return nil
}

// errStop ends a scan early without an error.
var errStop = errors.New("stop")

// scan hands every value whose key has the prefix to fn, in key order,
// beginning at from (nil: at the first).
func scan(t *badger.Txn, prefix, from []byte, fn func(key, payload []byte) error) error {
	options := badger.DefaultIteratorOptions
	options.Prefix = prefix
	options.PrefetchSize = 16
	it := t.NewIterator(options)
	defer it.Close()
	if from == nil {
		from = prefix
	}
	for it.Seek(from); it.Valid(); it.Next() {
		if err := payload(it.Item(), fn); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
	return nil
}

// scanKeys hands every key that has the prefix to fn, in order, without
// reading values. fn returns the next key to look at, or nil for the next one.
func scanKeys(t *badger.Txn, prefix []byte, fn func(key []byte) (next []byte, err error)) error {
	return scanKeysFrom(t, prefix, prefix, fn)
}

// scanKeysFrom is scanKeys from a key on.
func scanKeysFrom(t *badger.Txn, prefix, from []byte, fn func(key []byte) (next []byte, err error)) error {
	options := badger.DefaultIteratorOptions
	options.Prefix = prefix
	options.PrefetchValues = false
	it := t.NewIterator(options)
	defer it.Close()
	for it.Seek(from); it.Valid(); {
		next, err := fn(it.Item().Key())
		switch {
		case errors.Is(err, errStop):
			return nil
		case err != nil:
			return err
		case next != nil:
			it.Seek(next)
		default:
			it.Next()
		}
	}
	return nil
}

// sealed returns a whole value.
func sealed(key, payload []byte) []byte {
	value := append(make([]byte, envelopeLen, envelopeLen+len(payload)), payload...)
	seal(key, value)
	return value
}
