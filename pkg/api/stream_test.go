package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/ledger"
)

// TestStream: the whole status first, then only what changed; entries from the
// ledger's end on, with their seq as id.
func TestStream(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	s.Hasten(time.Second) // a tick every 100 ms; the stream outlives the read timeout
	addr, end := serve(t, s)
	events := subscribe(t, addr)
	if name, _, data := events.next(t); name != "status" || data["version"] != "v1.2.3" || data["stream"] == nil {
		t.Fatalf("%s %v", name, data)
	}
	w.change(func(s *api.Snapshot) { s.Epoch = 2 })
	if name, _, data := events.next(t); name != "status" || len(data) != 1 || data["epoch"] != 2.0 {
		t.Errorf("%s %v, want epoch 2 alone", name, data)
	}
	w.append(t, ledger.Draft{Time: start, Kind: ledger.KindAlert, Model: hostile, Body: ledger.Alert{Type: "alert", Reason: "a\nb"}})
	if name, id, data := events.next(t); name != "ledger" || id != "5" || data["model"] != hostile {
		t.Errorf("%s %s %v, want entry 5: four were there", name, id, data)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if _, err := events.ReadString(0); err == nil {
		t.Error("the stream goes on behind the server's end")
	}
}

// TestStreamResumes: nothing is missed between two connections.
func TestStreamResumes(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	s.Hasten(time.Second)
	addr, _ := serve(t, s)
	events := subscribe(t, addr, "Last-Event-ID", "1")
	if name, _, _ := events.next(t); name != "status" {
		t.Fatal(name)
	}
	for want := 2; want <= 4; want++ {
		if name, id, _ := events.next(t); name != "ledger" || id != fmt.Sprint(want) {
			t.Errorf("%s %s, want entry %d", name, id, want)
		}
	}
	r := call(t, s.Handler(), http.MethodGet, "/api/v1/stream", "", "Last-Event-ID", "last")
	if r.StatusCode != 400 {
		t.Errorf("an id that is no seq: %d", r.StatusCode)
	}
}

// TestLedgerEnd: the stream begins behind the last entry, however many there are.
func TestLedgerEnd(t *testing.T) {
	for n := range 20 {
		w := &world{}
		for range n {
			w.append(t, ledger.Draft{Time: start, Kind: ledger.KindConfig, Body: ledger.ConfigChange{}})
		}
		s := newServer(t, w)
		if got, err := s.LedgerEnd(); got != uint64(n) || err != nil {
			t.Errorf("%d, %v of %d entries", got, err, n)
		}
	}
}

// TestStreamsAreBounded: one client too many is told to come back.
func TestStreamsAreBounded(t *testing.T) {
	s := newServer(t, newWorld(t))
	addr, _ := serve(t, s)
	for range s.StreamSlots() {
		subscribe(t, addr)
	}
	r, err := http.Get("http://" + addr + "/api/v1/stream")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
}
