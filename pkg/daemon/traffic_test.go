package daemon_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A traffic publishes a scenario with everything that publishers do wrong, and
// keeps the book of what must come of it.
type traffic struct {
	t    *testing.T
	w    *world
	pub  *stream.EventPublisher
	rate atomic.Int64 // messages a second; 0: as fast as they go
	sent atomic.Uint64

	book    *book
	account drift.Account // expected
	letters map[letter]event.Reason
	dropped uint64 // repeats that the server drops

	seq  uint64 // of the last message that the stream has
	old  []sent // events of the beginning, to be repeated near the end
	last sent
}

type letter struct {
	seq uint64
	row int
}

type sent struct {
	subject, id string
	kind        event.Kind
	model       string
	data        []byte
}

// Every how many events of the scenario something else is published.
const (
	repeatEvery = 40  // a repeat of the event before, or of one long ago
	badEvery    = 100 // something refused
	hugeEvery   = 25  // of the refused ones: more than 256 KiB
)

func newTraffic(w *world, b *book) *traffic {
	w.t.Helper()
	p, err := stream.NewEventPublisher(w.conn, stream.EventPublisherOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return &traffic{t: w.t, w: w, pub: p, book: b, account: drift.Account{First: 1}, letters: map[letter]event.Reason{}}
}

// publish sends everything. It is called from one goroutine and reports by its
// return value only.
func (x *traffic) publish() error {
	s, err := sim.New(x.w.scenario, 1)
	if err != nil {
		return err
	}
	defer x.pub.Close()
	var e event.Event
	var subjects event.SubjectTemplate
	for n := 0; s.Next(&e); n++ {
		one := sent{subjects.Subject(&e), e.ID, e.Kind, e.Model, event.AppendJSON(nil, &e)}
		one.id = strings.Clone(one.id)
		if err := x.send(one, e.Kind.String()+":"+one.id); err != nil {
			return err
		}
		x.accept(one.model, one.kind, drift.Counted)
		x.book.add(&e)
		if x.last = one; n < 1000 {
			x.old = append(x.old, one)
		}
		if n%repeatEvery == repeatEvery-1 {
			err = x.repeat(n / repeatEvery)
		}
		if n%badEvery == badEvery-1 && err == nil {
			err = x.misbehave(n/badEvery, &e)
		}
		if err != nil {
			return err
		}
	}
	return x.pub.Flush(x.t.Context())
}

// send publishes one message, which gets the next sequence.
func (x *traffic) send(m sent, id string) error {
	x.seq++
	return x.put(m, id)
}

func (x *traffic) put(m sent, id string) error {
	kind, id, _ := strings.Cut(id, ":")
	if err := x.pub.Publish(x.t.Context(), stream.OutgoingEvent{Subject: m.subject, Kind: kind, ID: id, Data: m.data}); err != nil {
		return err
	}
	n := x.sent.Add(1)
	if rate := x.rate.Load(); rate > 0 && n%64 == 0 {
		time.Sleep(64 * time.Second / time.Duration(rate)) // pace, not synchronisation
	}
	return nil
}

func (x *traffic) accept(model string, kind event.Kind, o drift.Outcome) {
	x.account.Accepted++
	x.account.Count(model, kind, o)
}

// repeat sends an event again: under its own Nats-Msg-Id, which the server drops,
// or under another, as after the server's window: the last one, or one of the
// first thousand.
func (x *traffic) repeat(n int) error {
	m := x.last
	switch n % 4 {
	case 0:
		x.dropped++
		return x.put(m, m.kind.String()+":"+m.id)
	case 1:
		m = x.old[n%len(x.old)]
	}
	x.accept(m.model, m.kind, drift.Duplicate)
	return x.send(m, fmt.Sprintf("repeat:%d", n))
}

// misbehave sends the n-th message that gives no event, or less than it holds.
func (x *traffic) misbehave(n int, e *event.Event) error {
	id := fmt.Sprintf("bad-%d", n)
	m := sent{subject: "ml.predictions.fraud.41"}
	refuse := func(r event.Reason) {
		x.account.Refuse(r)
		x.letters[letter{x.seq + 1, -1}] = r
	}
	invalid := func(r event.Reason, body string) {
		x.account.Invalid++
		refuse(r)
		m.data = []byte(body)
	}
	event1 := func(model, at string) string {
		return fmt.Sprintf(`{"id":%q,"time":%q,"model":%q,"model_version":"41","features":{"amount":1},"prediction":"ok"}`, id, at, model)
	}
	at := time.Unix(0, e.Time).UTC()
	clock := at.Format(time.RFC3339)
	switch n % 9 {
	case 0:
		invalid(event.Decode, `{"id":"`+id+`","model":`)
	case 1:
		invalid(event.Schema, `{"model":"fraud","features":{"amount":1}}`)
	case 2:
		m.subject = "ml.predictions.churn.7"
		invalid(event.SubjectMismatch, event1("fraud", clock))
	case 3:
		id = strings.Repeat("x", 2000) // limits.string_bytes is 1,024
		invalid(event.Limit, event1("fraud", clock))
	case 4:
		m.subject, m.data = "ml.predictions.ghost.1", []byte(event1("ghost", clock))
		x.accept("ghost", event.Prediction, drift.Unconfigured)
		refuse(event.UnknownModel)
	case 5:
		m.data = []byte(event1("fraud", time.Now().Add(24*time.Hour).Format(time.RFC3339)))
		x.accept("fraud", event.Prediction, drift.Future)
		refuse(event.Future)
	case 6: // lateness is two minutes
		m.data = []byte(event1("fraud", at.Add(-3*time.Hour).Format(time.RFC3339)))
		x.accept("fraud", event.Prediction, drift.Late)
	case 7: // a good line and a bad one
		m.data = []byte(`{"prediction_id":"p","id":"` + id + `","model":"fraud","name":"thumbs","value":1}` + "\n{\n")
		m.subject = "ml.outcomes.fraud"
		x.accept("fraud", event.Outcome, drift.Counted)
		x.account.Refuse(event.Decode)
		x.letters[letter{x.seq + 1, 1}] = event.Decode
	case 8:
		if n%hugeEvery != 0 {
			invalid(event.Decode, "\xff\xfe")
			break
		}
		x.account.Oversize++
		refuse(event.TooLarge)
		m.data = []byte(strings.Replace(event1("fraud", clock), ",", ","+strings.Repeat(" ", 256<<10), 1))
	}
	return x.send(m, "bad:"+fmt.Sprint(n))
}

// compareAccount compares the books of the store with what was sent.
func (x *traffic) compareAccount(st *store.Store) {
	x.t.Helper()
	got := accountOf(x.t, st)
	want := &x.account
	for _, law := range []struct {
		name      string
		got, want uint64
	}{
		{"first", got.First, want.First},
		{"accepted", got.Accepted, want.Accepted},
		{"invalid", got.Invalid, want.Invalid},
		{"oversize", got.Oversize, want.Oversize},
		{"filtered", got.Filtered, 0},
		{"gap", got.Gap, 0},
		{"decoded", got.Decoded, want.Decoded},
	} {
		if law.got != law.want {
			x.t.Errorf("account: %s %d, want %d", law.name, law.got, law.want)
		}
	}
	for o := drift.Counted; o <= drift.OverLimit; o++ {
		if got.Total(o) != want.Total(o) {
			x.t.Errorf("account: %d events %s, want %d", got.Total(o), o, want.Total(o))
		}
	}
	for _, r := range event.Reasons() {
		if got.Refused[r] != want.Refused[r] {
			x.t.Errorf("account: %d refused as %s, want %d", got.Refused[r], r, want.Refused[r])
		}
	}
	if err := got.Balance(x.seq); err != nil {
		x.t.Error(err)
	}
}
