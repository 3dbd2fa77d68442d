package daemon_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// accountOf reads the books of a store that nobody runs on.
func accountOf(t *testing.T, st *store.Store) *drift.Account {
	t.Helper()
	r, err := st.Resume()
	if err != nil {
		t.Fatal(err)
	}
	var books struct{ Account *drift.Account }
	if err := json.Unmarshal(r.Progress.Counters, &books); err != nil {
		t.Fatal(err)
	}
	return books.Account
}

// minRate is the rate of events, a second, below which a kill proves nothing
// (reliability.md section 3).
const minRate = 3000

// TestKill publishes 200,000 events while the daemon is killed with SIGKILL
// twenty times: no number may tell of it.
func TestKill(t *testing.T) {
	kills, scenario, rate, messages := 20, story(), int64(minRate), 230_000 // about
	if race {
		kills, scenario, rate, messages = 4, hour(), 300, 16_000
	}
	w := emptyWorld(t, scenario)
	if x := w.kills("", kills, rate, messages); !race && x.seq < 200_000 {
		t.Errorf("%d messages, want 200,000", x.seq)
	}
}

// TestKillOnAWorkQueue is TestKill on streams that delete what is acknowledged: in the
// end they are empty, and no number is another.
func TestKillOnAWorkQueue(t *testing.T) {
	kills := 6
	if race {
		kills = 3
	}
	for _, retention := range []jetstream.RetentionPolicy{jetstream.WorkQueuePolicy, jetstream.InterestPolicy} {
		t.Run(retention.String(), func(t *testing.T) {
			w := emptyWorld(t, hour())
			js := w.conn.JetStream()
			if err := js.DeleteStream(t.Context(), "ML"); err != nil {
				t.Fatal(err)
			}
			s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ML", Subjects: []string{"ml.>"}, Retention: retention})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "driftd-1", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
				t.Fatal(err) // interest begins before the first message
			}
			w.kills("driftd", kills, 300, 16_000)
			info, err := s.Info(t.Context())
			if err != nil || info.State.Msgs > 0 {
				t.Errorf("%d messages are left: %v", info.State.Msgs, err)
			}
		})
	}
}

// kills publishes the scenario of a world, about so many messages at that rate at
// least, while the daemon is killed, and compares every number in the end.
func (w *world) kills(durable string, kills int, rate int64, messages int) *traffic {
	t := w.t
	t.Helper()
	people := fakes.NewWebhook("")
	people.FailNext(5, 503, "") // retries happen as well
	hook := httptest.NewServer(people)
	defer hook.Close()
	dir := t.TempDir()
	base := w.baselines()
	w.prepare(dir)
	b := newBook(base)
	b.segments["fraud"] = "channel"
	x := newTraffic(w, b)
	x.rate.Store(4 * rate)
	start := time.Now()
	published := make(chan error, 1)
	go func() { published <- x.publish() }()

	o := order{dir, w.server.URL(), hook.URL, durable}
	chance := rand.New(rand.NewPCG(1, 2))
	for n, invalid := 0, 0; n < kills; {
		if !x.kill(o, n, 50*time.Millisecond+time.Duration(chance.Int64N(int64(350*time.Millisecond))), rate) {
			// The machine was busy elsewhere: such a kill is neither passed nor failed.
			if invalid++; invalid > 2*kills {
				t.Fatalf("%d kills hit an idle daemon and only %d one at work", invalid, n)
			}
			continue
		}
		n++
		// The kills that are left are spread over the messages that are left.
		left := time.Since(start).Seconds() / float64(n) * float64(kills-n+1)
		x.rate.Store(max(2*rate, int64(float64(messages-int(x.sent.Load()))/left)))
	}
	x.rate.Store(0)
	p := o.start(t)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	x.settle(p)
	if fault := p.end(t, syscall.SIGTERM); fault != "" {
		t.Fatalf("stop: %s", fault)
	}
	t.Logf("%d messages, %d events counted, %d dead letters, %d repeats dropped by the server", x.seq, b.events, len(x.letters), x.dropped)

	st := open(t, dir)
	defer st.Close()
	b.compare(t, st)
	x.compareAccount(st)
	x.compareLetters()
	if _, err := st.LedgerVerify(func(_, _ uint64) {}); err != nil {
		t.Error(err)
	}
	compareTold(t, st, people.Calls())
	x.compareSignals(st)
	w.compareWindows(st)
	return x
}

// kill starts a daemon and kills it some time after it has begun to commit; each
// fourth one after its start instead, while it restores its state. It reports
// whether the kill has hit a daemon with work to do.
func (x *traffic) kill(o order, n int, after time.Duration, rate int64) bool {
	x.t.Helper()
	p := o.start(x.t)
	sentAt, start := x.sent.Load(), time.Now()
	if n%4 != 3 {
		p.working(x.t)
	}
	before := p.committed.Load()
	time.Sleep(after) // the instant is random, nothing is waited for
	committed, acked := p.committed.Load(), x.pub.Counters().Acked
	flow := int64(float64(x.sent.Load()-sentAt) / time.Since(start).Seconds())
	if fault := p.end(x.t, syscall.SIGKILL); fault != "" {
		x.t.Fatalf("daemon %d ended by itself: %s", n, fault)
	}
	x.t.Logf("kill %d: %v after the start, %v after the first commit, at %d of %d messages, %d/s", n, time.Since(p.started).Round(time.Millisecond), after.Round(time.Millisecond), committed, acked, flow)
	if committed < before {
		x.t.Fatalf("kill %d: the daemon has gone back from %d to %d messages", n, before, committed)
	}
	return flow >= rate && committed < acked
}

// working waits until a child has committed something of its own.
func (p *process) working(t *testing.T) {
	t.Helper()
	select {
	case <-p.alive:
	case <-p.reported:
		t.Fatalf("start: %s", p.end(t, syscall.SIGKILL))
	}
	first := p.committed.Load()
	for tick := time.NewTicker(time.Millisecond); p.committed.Load() == first; {
		select {
		case <-tick.C:
		case <-p.reported:
			t.Fatalf("run: %s", p.end(t, syscall.SIGKILL))
		}
	}
}

// settle waits until everything published is committed and everything owed sent.
func (x *traffic) settle(p *process) {
	x.t.Helper()
	deadline := time.After(2 * time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); p.committed.Load() < x.seq || p.pending.Load() != 0; {
		select {
		case <-tick.C:
		case <-p.reported:
			x.t.Fatalf("run: %s", p.end(x.t, syscall.SIGTERM))
		case <-deadline:
			x.t.Fatalf("at %d of %d messages, %d deliveries owed and windows to publish", p.committed.Load(), x.seq, p.pending.Load())
		}
	}
	if c := x.pub.Counters(); c.Acked != x.seq+x.dropped || c.Duplicates != x.dropped || c.Retried != 0 {
		x.t.Fatalf("publisher: %+v, want %d messages and %d duplicates: the order of the stream is not known", c, x.seq, x.dropped)
	}
}

// compareLetters finds exactly one dead letter for everything refused.
func (x *traffic) compareLetters() {
	x.t.Helper()
	got := map[letter]event.Reason{}
	each(x.t, x.w, "driftd.dlq.>", func(m jetstream.Msg) {
		h := m.Headers()
		id := h.Get(nats.MsgIdHdr) // stream:epoch:seq#row
		seq, err := strconv.ParseUint(h.Get(stream.HeaderSeq), 10, 64)
		if err != nil {
			x.t.Fatal(err)
		}
		row, err := strconv.Atoi(id[slices.Index([]byte(id), '#')+1:])
		if err != nil {
			x.t.Fatal(err)
		}
		at := letter{seq, row}
		if _, twice := got[at]; twice {
			x.t.Errorf("two dead letters for row %d of message %d: %s", row, seq, id)
		}
		got[at] = event.Reason(h.Get(stream.HeaderReason))
	})
	for at, reason := range x.letters {
		if got[at] != reason {
			x.t.Errorf("message %d row %d: dead letter %q, want %q", at.seq, at.row, got[at], reason)
		}
		delete(got, at)
	}
	if len(got) > 0 {
		x.t.Errorf("%d dead letters for messages that were good: %v", len(got), got)
	}
}

// each yields every message of DRIFTD on a subject.
func each(t *testing.T, w *world, subject string, yield func(jetstream.Msg)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := w.conn.JetStream().OrderedConsumer(ctx, "DRIFTD", jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for left := int(info.NumPending); left > 0; {
		batch, err := c.Fetch(min(left, 500))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			yield(m)
			left--
		}
		if err := batch.Error(); err != nil {
			t.Fatal(err)
		}
	}
}

// told returns the entries that people hear of, ascending, and their dedup keys.
func told(t *testing.T, st *store.Store) (entries []ledger.Entry, order map[string]string) {
	t.Helper()
	all, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	order = map[string]string{}
	for _, e := range all {
		switch e.Kind {
		case ledger.KindAlert:
			var a ledger.Alert
			if err := json.Unmarshal(e.Body, &a); err != nil {
				t.Fatal(err)
			}
			order[e.ID] = a.DedupKey
		case ledger.KindRetrain, ledger.KindRollback:
			var a struct{ Suppressed string }
			if err := json.Unmarshal(e.Body, &a); err != nil {
				t.Fatal(err)
			}
			if a.Suppressed != "" {
				continue
			}
			order[e.ID] = e.ID
		default:
			continue
		}
		entries = append(entries, e)
	}
	return entries, order
}

// compareTold checks that the receiver heard of every entry, in order by dedup
// key, and of nothing else.
func compareTold(t *testing.T, st *store.Store, calls []fakes.Call) {
	t.Helper()
	entries, order := told(t, st)
	if len(entries) == 0 {
		t.Error("no alert was raised: nothing about deliveries is proved")
	}
	place, first, highest := map[string]int{}, map[string]bool{}, map[string]int{}
	for i, e := range entries {
		place[e.ID] = i + 1
	}
	repeats := 0
	for _, c := range calls {
		id := c.Header.Get("Idempotency-Key")
		if place[id] == 0 {
			t.Errorf("the receiver heard of %q, which is not in the ledger", id)
		}
		if c.Status/100 != 2 {
			continue
		}
		if first[id] {
			repeats++
			continue
		}
		first[id] = true
		if key := order[id]; place[id] < highest[key] {
			t.Errorf("the receiver heard of %q after a later entry of %q", id, key)
		} else {
			highest[key] = place[id]
		}
	}
	for _, e := range entries {
		if !first[e.ID] {
			t.Errorf("the receiver never heard of entry %d: %s", e.Seq, e.Body)
		}
	}
	t.Logf("%d entries told, %d repeated", len(entries), repeats)
}

// compareSignals finds every signal once in DRIFTD.
func (x *traffic) compareSignals(st *store.Store) {
	x.t.Helper()
	entries, _ := told(x.t, st)
	got := map[string]int{}
	for _, subject := range []string{"driftd.alerts.>", "driftd.triggers.>"} {
		each(x.t, x.w, subject, func(m jetstream.Msg) { got[m.Headers().Get(nats.MsgIdHdr)]++ })
	}
	for _, e := range entries {
		if got[e.ID] != 1 {
			x.t.Errorf("%d signals of entry %d %s, want 1", got[e.ID], e.Seq, e.Kind)
		}
	}
	if len(got) != len(entries) {
		x.t.Errorf("%d signals, want %d", len(got), len(entries))
	}
}
