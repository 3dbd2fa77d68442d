package store

import (
	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/incident"
)

// PutSilence keeps a silence, over what was put for its id before.
func (b *Batch) PutSilence(s incident.Silence) {
	b.begin()
	b.buf = append(b.buf, silenceKey(s.ID)...)
	b.json(s)
}

// DeleteSilence forgets a silence.
func (b *Batch) DeleteSilence(id string) {
	b.begin()
	b.buf = append(b.buf, silenceKey(id)...)
	b.remove()
}

func silenceKey(id string) []byte { return appendName([]byte(tableSilence), id) }

// Silences returns every silence, ascending by id.
func (s *Store) Silences() (all []incident.Silence, err error) {
	err = s.view(func(t *badger.Txn) error {
		all, err = silences(t)
		return err
	})
	return all, wrap(err, "read silences")
}

func silences(t *badger.Txn) (all []incident.Silence, err error) {
	err = scan(t, []byte(tableSilence), nil, func(key, payload []byte) error {
		var s incident.Silence
		err := decodeJSON(key, payload, &s)
		all = append(all, s)
		return err
	})
	return all, err
}
