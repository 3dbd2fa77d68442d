package main

import "driftd.dev/driftd/pkg/store"

// A pastWriter commits batches one after the other: one is filled while the one before
// it is made durable. It belongs to one goroutine, which must end it.
type pastWriter struct {
	batch  *store.Batch // being filled
	most   int64        // bytes of a batch
	queue  chan *store.Batch
	spare  chan *store.Batch // that may be filled again
	failed chan error        // how the commits ended
}

func newPastWriter(st *store.Store) *pastWriter {
	w := &pastWriter{
		batch: st.NewBatch(), most: st.CommitLimit() / 2,
		queue: make(chan *store.Batch), spare: make(chan *store.Batch, 1), failed: make(chan error, 1),
	}
	w.spare <- st.NewBatch()
	go func() { w.failed <- w.commit(st) }()
	return w
}

func (w *pastWriter) commit(st *store.Store) error {
	for b := range w.queue {
		if err := st.Commit(b); err != nil {
			return err
		}
		b.Reset()
		w.spare <- b
	}
	return nil
}

// add puts something into the batch, and hands that over when it is large.
func (w *pastWriter) add(put func(*store.Batch)) error {
	if put(w.batch); w.batch.Size() < w.most {
		return w.batch.Err()
	}
	return w.hand()
}

// hand queues the batch, and goes on with another.
func (w *pastWriter) hand() error {
	select {
	case w.queue <- w.batch:
		w.batch = nil
	case err := <-w.failed:
		w.failed <- err
		return err
	}
	select {
	case w.batch = <-w.spare:
		return nil
	case err := <-w.failed:
		w.failed <- err
		return err
	}
}

// end commits what is left and returns how that went.
func (w *pastWriter) end() error {
	var err error
	if w.batch != nil {
		err = w.hand()
	}
	close(w.queue)
	if err != nil {
		return err // of a commit
	}
	return <-w.failed
}
