package daemon_test

import (
	"testing"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// TestFilteredSubjectsAreBooked reads predictions only, from a stream that holds
// outcomes between them: every sequence in front of a message that nobody reads
// is booked as filtered, also by checkpoints in the middle of a batch.
func TestFilteredSubjectsAreBooked(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	defer st.Close()
	o := w.options(st)
	read := stream.DefaultReaderOptions("ML")
	read.Subjects = []string{"ml.predictions.>"}
	reader, err := stream.NewReader(w.conn, read)
	if err != nil {
		t.Fatal(err)
	}
	o.Source, o.Status = reader, reader.Status
	o.Checkpoint.Events = 37 // never a whole batch
	if err := w.run(o); err != nil {
		t.Fatal(err)
	}
	var predictions, others uint64
	w.each(func(e *event.Event) {
		if e.Kind == event.Prediction {
			predictions++
		} else {
			others++
		}
	})
	if others == 0 {
		t.Fatal("the scenario has nothing to filter")
	}
	books := accountOf(t, st)
	if books.Accepted != predictions || books.Filtered != others || books.Gap != 0 {
		t.Errorf("accepted %d, filtered %d, gap %d; want %d, %d, 0", books.Accepted, books.Filtered, books.Gap, predictions, others)
	}
}
