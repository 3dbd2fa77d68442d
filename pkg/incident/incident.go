package incident

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ledger"
)

// Bounds of one incident. An alert that finds no room opens another one.
const (
	maxMembers = 2000 // that fire
	maxEnded   = 200  // that are still listed
	maxMoved   = 20   // signals of a member that are compared with those of other models
)

// An Incident is the alerts of one group, from the first that starts until the last
// has ended. It survives JSON, but for Member.Entry.
type Incident struct {
	ID       string            `json:"id"` // dedup key of its first alert
	Group    map[string]string `json:"group,omitempty"`
	Shadow   bool              `json:"shadow,omitempty"` // nobody hears of it
	Opened   time.Time         `json:"opened"`           // event time, as the next two
	Changed  time.Time         `json:"changed"`
	Resolved time.Time         `json:"resolved,omitzero"` // zero while it is open
	Issued   time.Time         `json:"issued,omitzero"`   // wall time at which it was first to be told
	// Escalated says who hears in the place of a receiver.
	Escalated map[string]Escalated `json:"escalated,omitempty"`
	Closed    bool                 `json:"closed,omitempty"` // it takes no other alert
	Severity  string               `json:"severity"`         // of the worst alert that it has had
	Members   []Member             `json:"members"`          // that fire, and the last that have ended; by Key
	Ended     int                  `json:"ended,omitempty"`  // members that have ended, listed or not
	Seq       uint64               `json:"seq"`              // of the last ledger entry about it

	Acknowledged *Acknowledgement `json:"acknowledged,omitempty"`
	Story
}

// A Member is one alert.
type Member struct {
	Key       string            `json:"key"` // its dedup key
	Seq       uint64            `json:"seq"` // of its last ledger entry
	Model     string            `json:"model,omitempty"`
	Labels    map[string]string `json:"labels"`
	Severity  string            `json:"severity"`
	StartsAt  time.Time         `json:"starts_at"`
	EndsAt    time.Time         `json:"ends_at,omitzero"`
	Receivers []string          `json:"receivers,omitempty"` // who hears of it
	Moved     []Moved           `json:"moved,omitempty"`     // of drift: what moved

	Entry ledger.Entry `json:"-"` // that of Seq, which the store may not have yet; zero after a restart: it has
}

// An Escalated is who hears of what a receiver was told and nobody has acknowledged, from
// a wall time on; zero: nothing fires for that receiver now.
type Escalated struct {
	To string    `json:"to"`
	At time.Time `json:"at,omitzero"`
}

// A Moved is a signal and when its change began.
type Moved struct {
	Signal string    `json:"signal"`
	Since  time.Time `json:"since"`
}

// An Acknowledgement says who looks after an incident.
type Acknowledgement struct {
	By string    `json:"by"`
	At time.Time `json:"at"` // wall time
}

// Firing reports whether the alert has not ended.
func (m *Member) Firing() bool { return m.EndsAt.IsZero() }

// Recalled returns an entry of the alert as far as the incident knows it: for who has
// to tell of it when retention has taken that of Seq.
func (m *Member) Recalled() (ledger.Entry, error) {
	a := ledger.Alert{
		Type: "alert", Status: "firing", Rule: m.Labels["alertname"], Model: m.Model, ModelVersion: m.Labels["model_version"], Variant: m.Labels["variant"],
		Segment: m.Labels["segment"], Feature: m.Labels["feature"], Severity: m.Severity, StartsAt: m.StartsAt, Labels: m.Labels, DedupKey: m.Key,
		Reason: "it fires for longer than the ledger is kept",
	}
	if !m.Firing() {
		a.Status, a.EndsAt, a.Reason = "resolved", &m.EndsAt, "it ended longer ago than the ledger is kept"
	}
	body, err := json.Marshal(a)
	return ledger.Entry{Seq: m.Seq, ID: m.Key, Time: m.StartsAt, Kind: ledger.KindAlert, Model: m.Model, Body: body}, err
}

// Compare orders the alerts of an incident as people are told of them: those that
// fire, the worst first and then by start, then those that have ended, the latest first.
func (m *Member) Compare(o *Member) int {
	switch {
	case m.Firing() && !o.Firing():
		return -1
	case !m.Firing() && o.Firing():
		return 1
	case m.Firing():
		return m.worse(o)
	}
	return cmp.Or(cmp.Compare(o.Seq, m.Seq), cmp.Compare(m.Key, o.Key))
}

// worse orders alerts, the worst first and then by start.
func (m *Member) worse(o *Member) int {
	return cmp.Or(cmp.Compare(rank(o.Severity), rank(m.Severity)), m.StartsAt.Compare(o.StartsAt), cmp.Compare(m.Key, o.Key))
}

// Open reports whether any of its alerts fires.
func (i *Incident) Open() bool { return i.Resolved.IsZero() }

// Firing counts the members that fire.
func (i *Incident) Firing() (n int) {
	for k := range i.Members {
		if i.Members[k].Firing() {
			n++
		}
	}
	return n
}

// Hears reports whether a receiver hears of any of its alerts.
func (i *Incident) Hears(receiver string) bool {
	return slices.ContainsFunc(i.Members, func(m Member) bool { return slices.Contains(m.Receivers, receiver) })
}

// Models returns the models of its alerts, each once, ascending.
func (i *Incident) Models() []string {
	var out []string
	for k := range i.Members {
		if m := i.Members[k].Model; m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out
}

// member returns the alert of a dedup key, nil for none.
func (i *Incident) member(key string) *Member {
	at, ok := slices.BinarySearchFunc(i.Members, key, func(m Member, key string) int { return cmp.Compare(m.Key, key) })
	if !ok {
		return nil
	}
	return &i.Members[at]
}

// put takes an alert as it is now and moves the incident with it.
func (i *Incident) put(m Member, at time.Time) {
	k, known := slices.BinarySearchFunc(i.Members, m.Key, func(o Member, key string) int { return cmp.Compare(o.Key, key) })
	if !known {
		i.Members = slices.Insert(i.Members, k, m)
	}
	if !m.Firing() && (!known || i.Members[k].Firing()) {
		i.Ended++
	}
	i.Members[k] = m
	i.Changed, i.Seq = at, max(i.Seq, m.Seq)
	if rank(m.Severity) > rank(i.Severity) {
		i.Severity = m.Severity
	}
	firing := i.Firing()
	i.forget(len(i.Members) - firing - maxEnded)
	i.Resolved = time.Time{}
	if firing == 0 {
		i.Resolved = at
	}
}

// forget drops the n members that have ended first, but for the last one that a
// receiver hears of: it has to be told that nothing fires any more.
func (i *Incident) forget(n int) {
	if n <= 0 {
		return
	}
	hears := map[string]int{} // members, by receiver
	for k := range i.Members {
		for _, r := range i.Members[k].Receivers {
			hears[r]++
		}
	}
	for ; n > 0; n-- {
		oldest := -1
		for k := range i.Members {
			m := &i.Members[k]
			last := slices.ContainsFunc(m.Receivers, func(r string) bool { return hears[r] == 1 })
			if !m.Firing() && !last && (oldest < 0 || m.Seq < i.Members[oldest].Seq) {
				oldest = k
			}
		}
		if oldest < 0 {
			return
		}
		for _, r := range i.Members[oldest].Receivers {
			hears[r]--
		}
		i.Members = slices.Delete(i.Members, oldest, oldest+1)
	}
}

// escalate keeps who hears in whose place, and from when on: routes may change before the
// end, of which they hear too. Clones share the map, so it is never changed.
func (i *Incident) escalate(t alert.Target, now time.Time) {
	fires := slices.ContainsFunc(i.Members, func(m Member) bool { return m.Firing() && slices.Contains(m.Receivers, t.Receiver) })
	was := i.Escalated[t.Receiver]
	next := was
	switch {
	case !fires:
		next.At = time.Time{}
	case was.At.IsZero() && t.Escalate != nil:
		next = Escalated{To: t.Escalate.Receiver, At: now.Add(t.Escalate.After).UTC()}
	case was.At.IsZero():
		next = Escalated{}
	}
	if next == was {
		return
	}
	all := map[string]Escalated{t.Receiver: next}
	for name, e := range i.Escalated {
		if name != t.Receiver {
			all[name] = e
		}
	}
	i.Escalated = all
}

// Clone returns a copy that does not change with i. Labels and receivers are shared:
// they are never changed.
func (i *Incident) Clone() *Incident {
	out := *i
	out.Members = slices.Clone(i.Members)
	if i.Acknowledged != nil {
		ack := *i.Acknowledged
		out.Acknowledged = &ack
	}
	out.Story = i.Story.clone()
	return &out
}

// rank orders severities, the worst highest; what is none has rank 0.
func rank(severity string) int {
	switch severity {
	case alert.SeverityPage:
		return 3
	case alert.SeverityTicket:
		return 2
	case alert.SeverityInfo:
		return 1
	}
	return 0
}

// GroupOf returns the labels by which an alert is grouped.
func GroupOf(by []string, labels map[string]string) map[string]string {
	if slices.Equal(by, []string{alert.GroupByAll}) {
		return maps.Clone(labels)
	}
	out := map[string]string{}
	for _, name := range by {
		if value := labels[name]; value != "" {
			out[name] = value
		}
	}
	return out
}
