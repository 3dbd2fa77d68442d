package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	streamBatch   = 100              // entries read at a time
	streamEntries = 1000             // entries sent in one tick
	streamWrite   = 10 * time.Second // a client that does not read for so long is dropped
)

// getStream sends what changes: every second the fields of the status that are
// new, and every ledger entry with its seq as the event's id. A client that
// comes back with Last-Event-ID misses no entry.
func (s *Server) getStream(w http.ResponseWriter, r *request) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return fmt.Errorf("%d event streams are open, and that is the limit: %w", s.limits.streams, ErrUnavailable)
	}
	e := eventStream{server: s, control: http.NewResponseController(w), w: w, told: map[string]json.RawMessage{}}
	var err error
	if e.after, err = r.resume(); err != nil {
		return err
	}
	// The connection's read deadline would end the stream with the request's.
	_ = e.control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	ticker := time.NewTicker(s.limits.streamTick)
	defer ticker.Stop()
	for !r.withdrawn() && e.tick() == nil {
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return nil
		case <-stopping(r.Context()):
			return nil
		}
	}
	return nil // the status was sent: a fault can only end the stream
}

// resume returns the seq after which the stream goes on: what the client had,
// or the ledger's end.
func (r *request) resume() (uint64, error) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		seq, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return 0, badParameter("Last-Event-ID", last, "must be the seq of a ledger entry")
		}
		return seq, nil
	}
	if r.has("after") {
		return r.number("after", 0, 0, 1<<62)
	}
	return r.server.ledgerEnd()
}

// ledgerEnd finds the last entry's seq by asking whether there is one behind a
// seq: sequences have no holes.
func (s *Server) ledgerEnd() (uint64, error) {
	var fault error
	behind := func(seq uint64) bool {
		entries, err := s.Reader.Entries(seq, 1)
		if err != nil {
			fault = err
		}
		return len(entries) > 0
	}
	step := uint64(1)
	for behind(step-1) && step < 1<<62 {
		step *= 2
	}
	low, high := step/2, step-1 // behind(low-1) held, behind(high) does not
	for low < high && fault == nil {
		if mid := low + (high-low)/2; behind(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, fault
}

type eventStream struct {
	server  *Server
	control *http.ResponseController
	w       http.ResponseWriter
	after   uint64
	told    map[string]json.RawMessage // fields of the status, as sent last
}

// tick sends what is new. An error ends the stream.
func (e *eventStream) tick() error {
	var out bytes.Buffer
	if err := e.status(&out); err != nil {
		return err
	}
	for sent := 0; sent < streamEntries; {
		entries, err := e.server.Reader.Entries(e.after, streamBatch)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			data, err := json.Marshal(entry)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "id: %d\nevent: ledger\ndata: %s\n\n", entry.Seq, data)
			e.after = entry.Seq
		}
		if sent += len(entries); len(entries) < streamBatch {
			break
		}
	}
	if out.Len() == 0 {
		out.WriteString(": nothing new\n\n") // shows whether the client is still there
	}
	_ = e.control.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := e.w.Write(out.Bytes()); err != nil {
		return err
	}
	return e.control.Flush()
}

// status appends the fields of the status that changed.
func (e *eventStream) status(out *bytes.Buffer) error {
	all, err := json.Marshal(newStatus(e.server.Reader.Snapshot()))
	if err != nil {
		return err
	}
	now := map[string]json.RawMessage{}
	if err := json.Unmarshal(all, &now); err != nil {
		return err
	}
	changed := maps.Clone(now)
	maps.DeleteFunc(changed, func(name string, value json.RawMessage) bool { return slices.Equal(e.told[name], value) })
	e.told = now
	if len(changed) == 0 {
		return nil
	}
	data, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "event: status\ndata: %s\n\n", data)
	return nil
}
