package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
)

// Resume is everything the loop needs to go on from the last commit.
type Resume struct {
	Fresh     bool // nothing has been committed yet
	Progress  Progress
	Models    []drift.ModelState   // ascending by name
	Open      []*drift.Window      // open panes, ascending by group and start
	Baselines []*drift.Baseline    // ascending by id
	Alerts    []Alert              // ascending by series
	Incidents []*incident.Incident // those that are open, ascending by id
	Dedup     []DedupSlot          // ascending by slot
	Learning  []LearningChunk      // ascending by model and number
	Detection map[string]Detection // by model
	Silences  []incident.Silence   // ascending by id
}

// A DedupSlot is one chunk of the ids seen.
type DedupSlot struct {
	Slot int
	IDs  []uint64
}

// A LearningChunk is one part of the sample of a learning model.
type LearningChunk struct {
	Model string
	N     int
	Data  []byte
}

// Resume reads the state as of the last commit.
func (s *Store) Resume() (*Resume, error) {
	r := &Resume{}
	err := s.view(func(t *badger.Txn) (err error) {
		err = readJSON(t, []byte(keyProgress), &r.Progress)
		if r.Fresh = errors.Is(err, ErrNotFound); optional(err) != nil {
			return err
		}
		if r.Models, err = models(t); err != nil {
			return err
		}
		if r.Baselines, err = baselines(s.resolver(t)); err != nil {
			return err
		}
		if r.Open, err = openPanes(s.resolver(t)); err != nil {
			return err
		}
		if r.Alerts, err = alerts(t); err != nil {
			return err
		}
		if r.Incidents, err = incidents(t, (*incident.Incident).Open); err != nil {
			return err
		}
		if r.Dedup, err = dedup(t); err != nil {
			return err
		}
		if r.Detection, err = detections(t); err != nil {
			return err
		}
		if r.Silences, err = silences(t); err != nil {
			return err
		}
		r.Learning, err = learning(t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("resume from store %s: %w", s.dir, err)
	}
	return r, nil
}

// Models returns the state of every model, ascending by name.
func (s *Store) Models() (all []drift.ModelState, err error) {
	err = s.view(func(t *badger.Txn) error {
		all, err = models(t)
		return err
	})
	return all, wrap(err, "read models")
}

func modelKey(name string) []byte { return appendName([]byte(tableModel), name) }

func models(t *badger.Txn) (all []drift.ModelState, err error) {
	err = scanLong(t, []byte(tableModel), nil, func(key, record []byte) error {
		var m drift.ModelState
		err := decodeJSON(key, record, &m)
		all = append(all, m)
		return err
	})
	return all, err
}

func openPanes(r resolver) (all []*drift.Window, err error) {
	err = scanLong(r.txn, []byte(tableOpen), nil, func(key, record []byte) error {
		w, err := decodeWindow(r, key, record)
		all = append(all, w)
		return err
	})
	return all, err
}

func dedup(t *badger.Txn) (all []DedupSlot, err error) {
	err = scan(t, []byte(tableDedup), nil, func(key, payload []byte) error {
		k := readKey(key)
		slot := DedupSlot{Slot: int(k.u32()), IDs: make([]uint64, len(payload)/8)}
		for i := range slot.IDs {
			slot.IDs[i] = binary.BigEndian.Uint64(payload[8*i:])
		}
		all = append(all, slot)
		return k.end(key)
	})
	return all, err
}

func learning(t *badger.Txn) (all []LearningChunk, err error) {
	err = scan(t, []byte(tableLearning), nil, func(key, payload []byte) error {
		k := readKey(key)
		all = append(all, LearningChunk{Model: k.name(), N: int(k.u64()), Data: append([]byte{}, payload...)})
		return k.end(key)
	})
	return all, err
}
