package store

import (
	"encoding/json"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
)

// Break closes Badger under the store, so that the next commit fails half way.
func (s *Store) Break() error { return s.db.Close() }

// SetIdentity writes the identity inside the store; body is its JSON.
func (s *Store) SetIdentity(body json.RawMessage) error {
	return s.write(func(w *writer) error { return w.set([]byte(keyStore), sealed([]byte(keyStore), body)) })
}

// DecodeWindow, DecodeBaseline and DecodeEntry read a record that passed its
// checksum, as it would be found under the key.
func (s *Store) DecodeWindow(key, record []byte) (w *drift.Window, err error) {
	err = s.view(func(t *badger.Txn) error { w, err = decodeWindow(s.resolver(t), key, record); return err })
	return w, err
}

func (s *Store) DecodeBaseline(key, record []byte) (b *drift.Baseline, err error) {
	err = s.view(func(t *badger.Txn) error { b, err = decodeBaseline(s.resolver(t), key, record); return err })
	return b, err
}

func DecodeEntry(key, record []byte) (ledger.Entry, error) { return decodeEntry(key, record) }

// EncodeWindow encodes a window as it was before it was packed.
func EncodeWindow(w *drift.Window) (key, record []byte) {
	record = appendHead(nil, w)
	for i := range w.Signals {
		record = appendSignal(record, &w.Signals[i])
	}
	return appendSpan(nil, tablePane, w.Group, w.Start), record
}

// PackWindow encodes a window as it is stored.
func PackWindow(w *drift.Window) (key, record []byte) {
	return appendSpan(nil, tablePane, w.Group, w.Start), new(packer).append(nil, w)
}

func EncodeBaseline(b *Batch, base *drift.Baseline) (key, record []byte) {
	b.PutBaseline(base)
	return baselineKey(base.ID), append([]byte(nil), b.scratch...)
}

func EncodeEntry(e ledger.Entry) (key, record []byte) {
	return numberKey(tableLedger, e.Seq), appendEntry(nil, e)
}
