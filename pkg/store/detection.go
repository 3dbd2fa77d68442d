package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// A Detection is what detection knows of a model besides its calibration list:
// what changes with each window, what a reference period taught, and what the
// daemon notes beside both.
type Detection struct{ State, Fit, Notes []byte }

// The parts of a Detection, as keys name them.
const (
	partState byte = iota
	partFit
	partNotes
)

// PutDetection keeps the state of a model's detection, over what was put before.
func (b *Batch) PutDetection(model string, state []byte) {
	b.long(append(detectionKey(model), partState), state)
}

// PutFit keeps the fit of a model's detection, over what was put before.
func (b *Batch) PutFit(model string, fit []byte) {
	b.long(append(detectionKey(model), partFit), fit)
}

// PutNotes keeps the daemon's notes about a model as JSON, over what was put before.
func (b *Batch) PutNotes(model string, notes any) {
	b.longJSON(append(detectionKey(model), partNotes), notes)
}

// DeleteDetection forgets what detection knows of a model, its rows too.
func (b *Batch) DeleteDetection(model string) {
	b.drop(detectionKey(model))
	b.DeleteRows(model)
}

// PutRows keeps a block of a model's calibration list, over what the block held.
func (b *Batch) PutRows(model string, block int, rows []byte) {
	b.long(binary.BigEndian.AppendUint32(rowsKey(model), uint32(block)), rows)
}

// DeleteRows forgets a model's calibration list.
func (b *Batch) DeleteRows(model string) { b.drop(rowsKey(model)) }

func detectionKey(model string) []byte { return appendName([]byte(tableDetection), model) }

func rowsKey(model string) []byte { return appendName([]byte(tableRows), model) }

// Rows returns the blocks of a model's calibration list by their number.
func (s *Store) Rows(model string) (map[int][]byte, error) {
	blocks := map[int][]byte{}
	err := s.view(func(t *badger.Txn) error {
		return scanLong(t, rowsKey(model), nil, func(key, record []byte) error {
			k := readKey(key)
			k.name()
			blocks[int(k.u32())] = bytes.Clone(record)
			return k.end(key)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the calibration list of model %s: %w", model, err)
	}
	return blocks, nil
}

func detections(t *badger.Txn) (all map[string]Detection, err error) {
	all = map[string]Detection{}
	err = scanLong(t, []byte(tableDetection), nil, func(key, record []byte) error {
		k := readKey(key)
		model := k.name()
		d := all[model]
		switch k.take(1)[0] {
		case partState:
			d.State = bytes.Clone(record)
		case partFit:
			d.Fit = bytes.Clone(record)
		case partNotes:
			d.Notes = bytes.Clone(record)
		default:
			k.err = errKey
		}
		all[model] = d
		return k.end(key)
	})
	return all, err
}
