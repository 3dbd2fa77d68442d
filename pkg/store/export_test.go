package store

// Break closes Badger under the store, so that the next commit fails half way.
func (s *Store) Break() error { return s.db.Close() }
