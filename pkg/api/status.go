package api

import (
	"fmt"
	"net/http"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A statusJSON is the answer of /api/v1/status, by contract.md section 4.
type statusJSON struct {
	Version    string            `json:"version"`
	Schema     int               `json:"schema"`
	StoreID    string            `json:"store_id"`
	Role       string            `json:"role"`
	Epoch      uint64            `json:"epoch"`
	Ready      bool              `json:"ready"`
	Reasons    []string          `json:"reasons"`         // why it is not ready
	Cause      string            `json:"cause,omitempty"` // of the reason "degraded", and how to leave it
	Stream     streamJSON        `json:"stream"`
	Disk       diskJSON          `json:"disk"`
	Config     configJSON        `json:"config"`
	Detection  judgesJSON        `json:"detection"`
	LastCommit *time.Time        `json:"last_commit"`
	Notifier   notifierJSON      `json:"notifier"`
	Counters   map[string]uint64 `json:"counters"`
	StoreBytes int64             `json:"store_bytes"`
	Verified   *time.Time        `json:"store_verified_at"` // the whole store was read last; null before the first time
	Balanced   bool              `json:"balanced"`          // the books of messages and events add up
	Watch      watchJSON         `json:"watch"`
}

type streamJSON struct {
	Name         string     `json:"name"`
	Created      *time.Time `json:"created"`
	FirstSeq     uint64     `json:"first_seq"`
	LastSeq      uint64     `json:"last_seq"`
	CommittedSeq uint64     `json:"committed_seq"`
	Gaps         []Gap      `json:"gaps"`
	Connected    bool       `json:"connected"`
	Rewinds      uint64     `json:"rewinds"`
}

type diskJSON struct {
	Free  uint64 `json:"free"` // bytes
	State string `json:"state"`
}

// A watchJSON says how driftd watches itself. Times of canaries are those at which they
// were published.
type watchJSON struct {
	Every     string     `json:"every"`          // between two canaries; "0s": there are none
	Healthy   bool       `json:"healthy"`        // heartbeats are sent: every check is ok
	Heartbeat *time.Time `json:"last_heartbeat"` // that a receiver has confirmed, null before the first
	Seen      *time.Time `json:"canary_seen_at"` // the newest that is counted and committed
	Judged    *time.Time `json:"canary_judged_at"`
	RoundTrip Num        `json:"canary_s"` // from the newest one's publication to its commit
	Checks    []Check    `json:"checks"`
}

type configJSON struct {
	Hash     string     `json:"hash"`
	LoadedAt *time.Time `json:"loaded_at"`
}

type judgesJSON struct {
	Window    string `json:"window"`    // length of the windows that drift is judged by
	Reference int    `json:"reference"` // windows that show what is normal
	MinEvents uint64 `json:"min_events"`
}

type notifierJSON struct {
	Pending   int            `json:"pending"`
	Oldest    Num            `json:"oldest_s"` // age of the oldest delivery owed, 0 for none
	Receivers []receiverJSON `json:"receivers"`
}

type receiverJSON struct {
	Name    string            `json:"name"`
	Kind    string            `json:"kind"`
	Sent    uint64            `json:"sent"`
	Failed  map[string]uint64 `json:"failed"`
	Pending int               `json:"pending"`
}

// instant returns nil for the zero time, which JSON tells as null.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func newStatus(s *Snapshot) statusJSON {
	out := statusJSON{
		Version: s.Version, Schema: s.Schema, StoreID: s.StoreID, Role: s.Role, Epoch: s.Epoch,
		Ready: len(s.NotReady) == 0, Reasons: nonNil(s.NotReady), Cause: s.Cause,
		Stream: streamJSON{
			Name: s.Stream.Name, Created: instant(s.Stream.Created), FirstSeq: s.Stream.FirstSeq, LastSeq: s.lastSeq(),
			CommittedSeq: s.Stream.CommittedSeq, Gaps: nonNil(s.Stream.Gaps), Connected: s.Stream.Connected, Rewinds: s.Stream.Rewinds,
		},
		Disk: diskJSON(s.Disk), Config: configJSON{s.Config.Hash, instant(s.Config.LoadedAt)},
		Detection: judgesJSON{formatDuration(s.Judges.Window), s.Judges.Reference, s.Judges.MinEvents}, LastCommit: instant(s.LastCommit),
		Notifier: notifierJSON{Pending: s.Notifier.Pending, Oldest: Num(s.owedFor().Seconds()), Receivers: []receiverJSON{}},
		Counters: s.counters(), StoreBytes: s.StoreBytes, Verified: instant(s.Verified), Balanced: s.Account == nil || s.Account.Balance(s.Stream.CommittedSeq) == nil,
	}
	out.Watch = watchJSON{
		Every: formatDuration(s.Watch.Every), Healthy: s.Watch.Healthy(), Heartbeat: instant(s.Heartbeat),
		Seen: instant(s.Watch.Seen), Judged: instant(s.Watch.Judged), RoundTrip: Num(s.Watch.RoundTrip.Seconds()), Checks: nonNil(s.Watch.Checks),
	}
	for _, r := range s.Notifier.Receivers {
		failed := r.Failed
		if failed == nil {
			failed = map[string]uint64{}
		}
		out.Notifier.Receivers = append(out.Notifier.Receivers, receiverJSON{r.Name, r.Kind, r.Sent, failed, r.Pending})
	}
	return out
}

// lastSeq returns the stream's last sequence. What was committed must be in it,
// though the server may have been asked some time before.
func (s *Snapshot) lastSeq() uint64 { return max(s.Stream.LastSeq, s.Stream.CommittedSeq) }

// owedFor returns how long the oldest delivery has been owed.
func (s *Snapshot) owedFor() time.Duration {
	if s.Notifier.Oldest.IsZero() {
		return 0
	}
	return max(0, s.At.Sub(s.Notifier.Oldest))
}

// counters returns what became of all messages and events, by outcome.
func (s *Snapshot) counters() map[string]uint64 {
	a := s.Account
	if a == nil {
		a = &drift.Account{}
	}
	out := map[string]uint64{
		"accepted": a.Accepted, "invalid": a.Invalid, "oversize": a.Oversize, "filtered": a.Filtered, "gap": a.Gap, "decoded": a.Decoded,
	}
	for o := drift.Counted; o <= drift.OverLimit; o++ {
		out[o.String()] = a.Total(o)
	}
	return out
}

// ready is the answer of /-/ready.
type ready struct {
	Reasons []string `json:"reasons"`         // "degraded", "nats", "nats_auth", "nats_permission", "disk", "verify"; empty when ready
	Cause   string   `json:"cause,omitempty"` // of "degraded", and how to leave it
	// Unwell are the organs for which no heartbeats are sent. driftd may be ready all the
	// same; /api/v1/status says what is wrong.
	Unwell []string `json:"unwell"`
}

// hangsAfter is how long a process may not have got on until it does not count as alive.
const hangsAfter = time.Minute

func (s *Server) getReady(w http.ResponseWriter, _ *request) error {
	now := s.Reader.Snapshot()
	status := http.StatusOK
	if len(now.NotReady) > 0 {
		status = http.StatusServiceUnavailable
	}
	unwell := []string{}
	for _, c := range now.Watch.Checks {
		if !c.OK {
			unwell = append(unwell, c.Organ)
		}
	}
	return sendJSON(w, status, ready{nonNil(now.NotReady), now.Cause, unwell})
}

func (s *Server) getHealthy(w http.ResponseWriter, _ *request) error {
	now := s.Reader.Snapshot()
	if since := now.At.Sub(now.Progress); !now.Progress.IsZero() && since > hangsAfter {
		return problem{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("driftd hangs: it has not got on for %s; restart it", since.Round(time.Second))}
	}
	return sendText(w, "text/plain; charset=utf-8", []byte("driftd is alive\n"))
}

func (s *Server) getStatus(w http.ResponseWriter, _ *request) error {
	return sendJSON(w, http.StatusOK, newStatus(s.Reader.Snapshot()))
}

func sendText(w http.ResponseWriter, kind string, body []byte) error {
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // a client that hung up needs no answer
	return nil
}
