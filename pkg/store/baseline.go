package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// A baseline is one long record:
//
//	length of the head, head    JSON: baselineHead
//	references                  of all parts, in the head's order, each:
//	  signal                    as in a window
//	  missing                   varint
//	  flags                     1 byte: bit 0 a feature
//	  id of the PSI edges       8 bytes, big-endian; 0 for none
//	  stats.AppendTieTable
//	stats.AppendProjection      of each of the head's projections
type baselineHead struct {
	ID      string              `json:"id"`
	Model   string              `json:"model"`
	Version string              `json:"version"`
	State   drift.BaselineState `json:"state"`
	Origin  drift.Origin        `json:"origin"`
	Parts   []baselinePart      `json:"parts"`

	Projections []projectionHead `json:"projections,omitempty"`
}

type projectionHead struct {
	Feature string   `json:"feature,omitempty"`
	Inputs  []string `json:"inputs,omitempty"`
}

type baselinePart struct {
	Segment string `json:"segment"`
	Rows    uint64 `json:"rows"`
	Signals int    `json:"signals"`
}

func baselineKey(id string) []byte { return appendName([]byte(tableBaseline), id) }

// PutBaseline keeps a baseline, over one of the same id.
func (b *Batch) PutBaseline(base *drift.Baseline) {
	head := baselineHead{
		ID: base.ID, Model: base.Model, Version: base.Version,
		State: base.State, Origin: base.Origin, Parts: []baselinePart{},
	}
	for _, p := range base.Parts {
		head.Parts = append(head.Parts, baselinePart{p.Segment, p.Rows, len(p.Signals)})
	}
	projections := base.Projections()
	for _, p := range projections {
		head.Projections = append(head.Projections, projectionHead{p.Feature, p.Inputs})
	}
	raw, err := json.Marshal(head)
	if err != nil {
		b.fail(fmt.Errorf("encode baseline %s: %w", base.ID, err))
		return
	}
	b.scratch = append(binary.AppendUvarint(b.scratch[:0], uint64(len(raw))), raw...)
	for _, p := range base.Parts {
		for i := range p.Signals {
			b.refer(&p.Signals[i].Signal)
			b.edges(p.Signals[i].PSI)
			b.scratch = appendReference(b.scratch, &p.Signals[i])
		}
	}
	for _, p := range projections {
		b.scratch = stats.AppendProjection(b.scratch, p.Axes)
	}
	b.long(baselineKey(base.ID), b.scratch)
}

// DeleteBaseline forgets a baseline. Its edges stay, for the windows that were
// counted on them.
func (b *Batch) DeleteBaseline(id string) { b.drop(baselineKey(id)) }

func appendReference(b []byte, r *drift.Reference) []byte {
	b = appendSignal(b, &r.Signal)
	b = appendFlag(binary.AppendUvarint(b, r.Missing), r.Feature)
	psi := uint64(0)
	if r.PSI != nil {
		psi = r.PSI.ID()
	}
	return stats.AppendTieTable(binary.BigEndian.AppendUint64(b, psi), r.Ties)
}

func decodeBaseline(r resolver, key, record []byte) (*drift.Baseline, error) {
	f := fields{rest: record}
	raw := f.take(f.uvarint())
	if f.err != nil {
		return nil, damaged(key, f.err, nil)
	}
	var head baselineHead
	if err := decodeJSON(key, raw, &head); err != nil {
		return nil, err
	}
	base := &drift.Baseline{ID: head.ID, Model: head.Model, Version: head.Version, State: head.State, Origin: head.Origin}
	for _, p := range head.Parts {
		part := drift.Part{Segment: p.Segment, Rows: p.Rows}
		for i := 0; i < p.Signals && f.err == nil; i++ {
			part.Signals = append(part.Signals, decodeReference(r, &f))
		}
		base.Parts = append(base.Parts, part)
	}
	var projections []drift.Projection
	for _, p := range head.Projections {
		projections = append(projections, drift.Projection{Feature: p.Feature, Inputs: p.Inputs, Axes: decodeAxes(&f)})
	}
	base.SetProjections(projections)
	if f.err != nil || len(f.rest) > 0 {
		return nil, damaged(key, f.err, f.rest)
	}
	return base, nil
}

func decodeAxes(f *fields) (axes *stats.Projection) {
	if f.err != nil {
		return nil
	}
	var err error
	if axes, f.rest, err = stats.DecodeProjection(f.rest); err != nil {
		f.fail(err)
	}
	return axes
}

func decodeReference(r resolver, f *fields) (ref drift.Reference) {
	ref.Signal = decodeSignal(r, f)
	ref.Missing = f.uvarint()
	ref.Feature = f.byte() == 1
	psi := f.u64()
	if f.err != nil {
		return ref
	}
	var err error
	if ref.PSI, err = r.edges(psi); err == nil {
		ref.Ties, f.rest, err = stats.DecodeTieTable(f.rest)
	}
	if err != nil {
		f.fail(fmt.Errorf("reference %q: %w", ref.Name, err))
	}
	return ref
}

// Baselines returns every baseline, ascending by id.
func (s *Store) Baselines() (all []*drift.Baseline, err error) {
	err = s.view(func(t *badger.Txn) error {
		all, err = baselines(s.resolver(t))
		return err
	})
	return all, wrap(err, "read baselines")
}

func baselines(r resolver) (all []*drift.Baseline, err error) {
	err = scanLong(r.txn, []byte(tableBaseline), nil, func(key, record []byte) error {
		base, err := decodeBaseline(r, key, record)
		all = append(all, base)
		return err
	})
	return all, err
}

// Baseline returns the baseline of an id, or ErrNotFound.
func (s *Store) Baseline(id string) (base *drift.Baseline, err error) {
	err = s.view(func(t *badger.Txn) error {
		return readLong(t, baselineKey(id), func(key, record []byte) error {
			base, err = decodeBaseline(s.resolver(t), key, record)
			return err
		})
	})
	return base, wrap(err, "read baseline %s", id)
}

func (s *Store) resolver(t *badger.Txn) resolver {
	return resolver{s.refs, t, &unpacker{}}
}
