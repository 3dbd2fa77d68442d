package store

import (
	"fmt"
	"sync"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/stats"
)

// A registry shares the immutable records that many values refer to by id:
// edges and dictionaries. It knows which are durable, and it hands out one
// object an id, so that two windows on the same edges are cheap to add. Its
// size is bounded by the store's content.
type registry struct {
	mu      sync.RWMutex
	durable map[string]bool // by key, less the chunk
	objects map[string]any  // key -> *stats.Edges or *stats.Dictionary
}

func newRegistry() *registry {
	return &registry{durable: map[string]bool{}, objects: map[string]any{}}
}

// missing reports whether the record of the key has yet to be written, and
// keeps the object for readers.
func (r *registry) missing(key []byte, object any) bool {
	r.mu.RLock()
	known, durable := r.objects[string(key)] != nil, r.durable[string(key)]
	r.mu.RUnlock()
	if !known {
		r.adopt(string(key), object)
	}
	return !durable
}

// adopt keeps the object unless another of its id is there, and returns the
// one that is kept.
func (r *registry) adopt(key string, object any) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept := r.objects[key]; kept != nil {
		return kept
	}
	r.objects[key] = object
	return object
}

func (r *registry) committed(key string) {
	r.mu.Lock()
	r.durable[key] = true
	r.mu.Unlock()
}

func (r *registry) object(key []byte) any {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.objects[string(key)]
}

// A resolver finds edges and dictionaries by id within one transaction.
type resolver struct {
	refs   *registry
	txn    *badger.Txn
	unpack *unpacker
}

// edges returns the edges of an id; 0 is none.
func (r resolver) edges(id uint64) (*stats.Edges, error) {
	if id == 0 {
		return nil, nil
	}
	e, err := resolve(r, numberKey(tableEdges, id), stats.DecodeEdges)
	if err == nil && e.ID() != id {
		return nil, fmt.Errorf("%w: edges %016x are stored as %016x", ErrDamaged, e.ID(), id)
	}
	return e, err
}

func (r resolver) dictionary(id uint64) (*stats.Dictionary, error) {
	d, err := resolve(r, numberKey(tableDictionary, id), stats.DecodeDictionary)
	if err == nil && d.ID() != id {
		return nil, fmt.Errorf("%w: dictionary %016x is stored as %016x", ErrDamaged, d.ID(), id)
	}
	return d, err
}

func resolve[T any](r resolver, key []byte, decode func([]byte) (*T, []byte, error)) (*T, error) {
	if object, ok := r.refs.object(key).(*T); ok {
		return object, nil
	}
	var object *T
	err := readLong(r.txn, key, func(key, record []byte) (err error) {
		var rest []byte
		if object, rest, err = decode(record); err != nil || len(rest) > 0 {
			return damaged(key, err, rest)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: a window or baseline refers to it: %w", ErrDamaged, err)
	}
	return r.refs.adopt(string(key), object).(*T), nil
}

// damaged is the error of a value that passed its checksum and cannot be read.
func damaged(key []byte, err error, rest []byte) error {
	if err == nil {
		err = fmt.Errorf("%d bytes are left over", len(rest))
	}
	return fmt.Errorf("%w: value of key %q: %w", ErrDamaged, key, err)
}
