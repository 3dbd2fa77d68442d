package notify_test

import (
	"testing"
	"testing/synctest"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// TestReplace changes the receivers of a running dispatcher: one stays with
// another sink, one goes in the middle of a call, one comes and is paid what it
// was owed already.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &outbox{}
		out.put(owe("stays", 1, "a"), owe("goes", 2, "a"), owe("comes", 3, "a"))
		before, after, comes := newSink(nil), newSink(nil), newSink(nil)
		goes := newSink(func(ledger.Delivery, int) error { return errHang })
		d := start(t, out, notify.Options{SendTimeout: time.Hour}, notify.Receiver{Name: "stays", Sink: before}, notify.Receiver{Name: "goes", Sink: goes})
		wantCalls(t, before, "1@0s")
		wantCalls(t, goes, "2@0s")

		bad := []notify.Receiver{{Name: "stays", Sink: after}, {Name: "stays", Sink: after}}
		if err := d.Replace(bad); err == nil {
			t.Error("two receivers of one name: no error")
		}
		if err := d.Replace([]notify.Receiver{{Name: "comes", Sink: comes}, {Name: "stays", Sink: after}}); err != nil {
			t.Fatal(err)
		}
		out.put(owe("stays", 4, "a"), owe("goes", 5, "b"))
		d.Wake()
		synctest.Wait()
		wantCalls(t, before, "1@0s")
		wantCalls(t, after, "4@0s")
		wantCalls(t, comes, "3@0s")
		wantCalls(t, goes, "2@0s")
		s := stats(t, d)
		if len(s) != 2 || s[0].Receiver != "comes" || s[0].Sent != 1 || s[1].Receiver != "stays" || s[1].Sent != 2 {
			t.Errorf("stats %+v, want one delivery to comes and two to stays", s)
		}
		if n, _, err := out.Owed("goes"); err != nil || n != 2 {
			t.Errorf("%d owed to goes, %v; want both", n, err)
		}
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.Replace([]notify.Receiver{{Name: "stays", Sink: after}, {Name: "goes", Sink: newSink(nil)}}); err != nil {
			t.Fatalf("after the end: %v", err)
		}
	})
}
