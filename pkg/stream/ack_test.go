package stream_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

// held returns how many messages a stream holds.
func held(tb testing.TB, s jetstream.Stream) uint64 {
	tb.Helper()
	info, err := s.Info(testContext(tb))
	must(tb, err)
	return info.State.Msgs
}

func (r *run) ready() {
	r.tb.Helper()
	eventually(r.tb, "the reader is ready", func() bool { return r.reader.Status().Ready })
}

// at is the anchor of a reader at one of the sequences that it has read.
func (r *run) at(seq uint64) stream.Anchor {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.anchor
	a.Seq, a.Time = seq, 0
	return a
}

var ackedOptions = stream.ReaderOptions{Durable: "driftd"}

// TestAcknowledge: a stream that deletes what is acknowledged loses what is committed,
// and nothing else; what was not committed when the reader died comes again, what was
// committed and not acknowledged does not count again.
func TestAcknowledge(t *testing.T) {
	for _, retention := range []jetstream.RetentionPolicy{jetstream.WorkQueuePolicy, jetstream.InterestPolicy, jetstream.LimitsPolicy} {
		t.Run(retention.String(), func(t *testing.T) {
			c := inProcess(t, embed(t, t.TempDir(), 0))
			s := input(t, c, func(cfg *jetstream.StreamConfig) { cfg.Retention = retention })
			left := func(n uint64) {
				t.Helper()
				if retention == jetstream.LimitsPolicy {
					return // keeps everything; that reading works all the same is enough
				}
				eventually(t, "what is committed is deleted", func() bool { return held(t, s) == n })
			}
			first := read(t, c, stream.Anchor{}, ackedOptions)
			first.ready() // interest begins
			publish(t, c, 1, 1000, one)
			first.has(1000)
			if n := held(t, s); n != 1000 {
				t.Errorf("%d messages are stored before anything is committed, want 1000", n)
			}
			first.reader.Committed(first.at(400))
			left(600)
			first.end()                                     // killed: 401 to 1000 are not committed
			first.reader.Committed(stream.Anchor{Seq: 900}) // of a stream that was recreated since
			left(600)

			publish(t, c, 1001, 500, one)
			second := read(t, c, first.at(400), ackedOptions)
			second.has(1100)
			second.contiguous(401, 1500)
			if len(second.notices) > 0 {
				t.Errorf("notices after a plain resume: %+v", second.notices)
			}
			second.end()
			second.reader.Committed(second.at(1500)) // the last checkpoint is made when reading has ended
			left(0)

			publish(t, c, 1501, 500, one)
			third := read(t, c, second.at(1500), ackedOptions)
			third.has(500)
			third.end() // committed to 1800, killed before it could acknowledge
			fourth := read(t, c, third.at(1800), ackedOptions)
			fourth.has(200)
			fourth.contiguous(1801, 2000)
			left(200)
			fourth.reader.Committed(fourth.at(2000))
			left(0)
			fourth.end()
			if n := len(names(t, s)); n != 1 {
				t.Errorf("%d consumers are left, want 1", n)
			}
		})
	}
}

func names(tb testing.TB, s jetstream.Stream) (names []string) {
	tb.Helper()
	list := s.ConsumerNames(testContext(tb))
	for name := range list.Name() {
		names = append(names, name)
	}
	must(tb, list.Err())
	return names
}

// TestAcknowledgeOverCuts: connections break while messages wait for their commit.
// Then the reader dies; nothing is missing and nothing comes twice.
func TestAcknowledgeOverCuts(t *testing.T) {
	const n = 6000
	for _, retention := range []jetstream.RetentionPolicy{jetstream.WorkQueuePolicy, jetstream.InterestPolicy} {
		t.Run(retention.String(), func(t *testing.T) {
			server := embed(t, t.TempDir(), freePort(t))
			c, p := inProcess(t, server), cutter(t, server.URL())
			s := input(t, c, func(cfg *jetstream.StreamConfig) { cfg.Retention = retention })
			first := read(t, connect(t, stream.Options{URL: p.url(), MustConnect: true}), stream.Anchor{}, ackedOptions)
			first.ready()
			for i := range 3 {
				publish(t, c, 1+i*n/3, n/3, one)
				first.has(n/3*i + 1)
				first.reader.Committed(first.at(uint64(n/3*i + 1)))
				p.cut()
			}
			first.has(n)
			first.contiguous(1, n)
			first.end()
			second := read(t, c, first.at(n/3*2+1), ackedOptions)
			second.has(n/3 - 1)
			second.contiguous(n/3*2+2, n)
			second.reader.Committed(second.at(n))
			eventually(t, "everything is deleted", func() bool { return held(t, s) == 0 })
			second.end()
			if got := append(first.notices[1:], second.notices...); len(got) > 0 {
				t.Errorf("notices: %+v", got)
			}
		})
	}
}

// TestAcknowledgeBesideOthers reads some subjects of a work queue whose other ones
// somebody else has acknowledged: that is no gap.
func TestAcknowledgeBesideOthers(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, func(cfg *jetstream.StreamConfig) { cfg.Retention = jetstream.WorkQueuePolicy })
	other, err := s.CreateConsumer(testContext(t), jetstream.ConsumerConfig{Durable: "other", FilterSubject: "ml.outcomes.>", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	others := func(n int) {
		t.Helper()
		batch, err := other.Fetch(n)
		must(t, err)
		for m := range batch.Messages() {
			must(t, m.DoubleAck(testContext(t)))
		}
		must(t, batch.Error())
	}
	both := func(i int) string { return []string{"ml.predictions.fraud.1", "ml.outcomes.fraud"}[i%2] }
	o := ackedOptions
	o.Subjects = []string{"ml.predictions.>"}
	publish(t, c, 0, 100, both)
	first := read(t, c, stream.Anchor{}, o)
	first.has(50)
	first.reader.Committed(first.at(99))
	anchor := first.end()
	others(50)
	publish(t, c, 1, 1, both) // one more of the others' ahead of ours
	others(1)
	publish(t, c, 0, 2, both)
	second := read(t, c, anchor, o)
	second.has(1)
	second.end()
	if second.seqs[0] != 102 || len(second.notices) > 0 {
		t.Errorf("read %d with notices %+v, want 102 alone", second.seqs, second.notices)
	}
}
