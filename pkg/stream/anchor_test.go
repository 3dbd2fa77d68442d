package stream_test

import (
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/stream"
)

// mixed puts every third message on the subject that filtered readers read.
func mixed(i int) string {
	if i%3 == 0 {
		return "ml.predictions.fraud.1"
	}
	return "ml.predictions.churn.1"
}

func wantNotice(t *testing.T, got stream.Notice, kind stream.NoticeKind, cause string, from, to, count uint64) {
	t.Helper()
	if got.Kind != kind || got.Cause != cause || got.From != from || got.To != to || got.Count != count {
		t.Errorf("notice %s %s %d..%d (%d), want %s %s %d..%d (%d)",
			got.Kind, got.Cause, got.From, got.To, got.Count, kind, cause, from, to, count)
	}
}

// TestRecreated: the stream is deleted and made anew, while reading and between
// two readers. All of the new stream is read; nats.go alone skips it up to the
// old position, silently.
func TestRecreated(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, nil)
	publish(t, c, 1, 100, one)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(100)
	recreate := func() {
		must(t, c.JetStream().DeleteStream(testContext(t), "ML"))
		input(t, c, nil)
		publish(t, c, 1, 40, one)
	}
	recreate()
	wantNotice(t, r.notice(1), stream.NewEpoch, stream.CauseRecreated, 101, 1, 0)
	r.has(140)
	anchor := r.end()

	recreate()
	again := read(t, c, anchor, stream.ReaderOptions{})
	wantNotice(t, again.notice(0), stream.NewEpoch, stream.CauseRecreated, 41, 1, 0)
	again.has(40)
	again.end()
	again.contiguous(1, 40)
}

// TestMissingStream: the reader waits for its stream and says so.
func TestMissingStream(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	eventually(t, "a reason", func() bool {
		return r.reader.Status().Reason == "info of stream ML: "+jetstream.ErrStreamNotFound.Error()
	})
	input(t, c, nil)
	publish(t, c, 1, 10, one)
	r.has(10)
	r.end()
}

// TestPurged: messages purged while nobody read are a gap with exact bounds; so
// are those purged under an idle reader that had not read them.
func TestPurged(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, nil)
	publish(t, c, 1, 10, one)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(10)
	anchor := r.end()
	publish(t, c, 11, 90, one)
	must(t, s.Purge(testContext(t), jetstream.WithPurgeSequence(51))) // keeps 51..100
	r = read(t, c, anchor, stream.ReaderOptions{})
	r.has(50)
	r.end()
	r.contiguous(51, 100)
	wantNotice(t, r.notice(0), stream.Gap, stream.CauseRemoved, 11, 50, 40)
	if got := r.reader.Status().Gaps; got != 40 {
		t.Errorf("status counts %d lost sequences, want 40", got)
	}
}

// TestPurgedIdle: a purge moves the beginning of the stream past a reader that
// waits for messages: the gap is seen without a new one.
func TestPurgedIdle(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, nil)
	publish(t, c, 1, 100, one)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(100)
	must(t, s.Purge(testContext(t), jetstream.WithPurgeSequence(501))) // of a stream that ends at 100
	wantNotice(t, r.notice(1), stream.Gap, stream.CauseRemoved, 101, 500, 400)
	publish(t, c, 501, 10, one)
	r.has(110)
	if anchor := r.end(); anchor.Seq != 510 {
		t.Errorf("anchor at %d, want 510", anchor.Seq)
	}
}

// TestOverrunFiltered: with a filter nobody knows which of the sequences that
// limits removed near a reader's position were of interest: they count as
// filtered, and a notice without a count marks the range.
func TestOverrunFiltered(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 1000 })
	publish(t, c, 1, 900, mixed)
	r := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{Subjects: []string{"ml.predictions.fraud.1"}, BatchMessages: 64})
	eventually(t, "a blocked reader", func() bool { return r.reader.Status().Received > 0 })
	publish(t, c, 901, 5000, mixed)
	doubt := func() bool {
		st := r.reader.Status()
		return st.First > st.Received && st.Ready
	}
	eventually(t, "a check behind the removal", doubt)
	blocked := r.reader.Status().Received
	for range 4 { // a blocked reader finds the same again and again, and says it once
		last := r.reader.Status().Checked
		eventually(t, "another check", func() bool { return r.reader.Status().Checked.After(last) })
	}
	go r.collect()
	eventually(t, "the end of the stream", func() bool { return r.reader.Status().Received == 5900 })
	r.end()
	doubts := 0
	for _, n := range r.notices[1:] {
		if n.Kind == stream.Gap && n.Cause == stream.CauseOverrun && n.Count == 0 && n.Anchor.Seq == blocked {
			doubts++
		}
	}
	// A second one only when a check fell between the first batch taken and the
	// next message; more come later, while catching up.
	if doubts < 1 || doubts > 2 {
		t.Errorf("%d doubts in %+v, want one", doubts, r.notices)
	}
}

// TestMissing: single deleted messages are gaps in an unfiltered delivery.
func TestMissing(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, nil)
	publish(t, c, 1, 20, one)
	for _, seq := range []uint64{5, 6, 12} {
		must(t, s.DeleteMsg(testContext(t), seq))
	}
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(17)
	r.end()
	wantNotice(t, r.notice(1), stream.Gap, stream.CauseMissing, 5, 6, 2)
	wantNotice(t, r.notice(2), stream.Gap, stream.CauseMissing, 12, 12, 1)
}

// TestOverrun: max_msgs removes messages in front of a reader that is blocked.
// Every sequence is either read or in a gap, in order.
func TestOverrun(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 1000 })
	publish(t, c, 1, 500, one)
	r := prepare(t, c, stream.Anchor{}, stream.ReaderOptions{WindowMessages: 100})
	eventually(t, "a blocked reader", func() bool { return r.reader.Status().Received == 500 })
	publish(t, c, 501, 20_000, one)
	go r.collect()
	eventually(t, "the end of the stream", func() bool { return r.reader.Status().Received == 20_500 })
	anchor := r.end()
	st := r.reader.Status()
	if st.Gaps < 10_000 || int(st.Gaps)+r.count() > 20_500 || anchor.Seq > 20_500 {
		t.Errorf("read %d, lost %d of 20,500; at most 1,000 + what was on its way can be read", r.count(), st.Gaps)
	}
}

// TestRewound: the server comes back with an older copy of its directory, as
// after a power loss (its default is to sync every 2 minutes): shorter than our
// position, or grown past it with other messages.
func TestRewound(t *testing.T) {
	for name, c := range map[string]struct {
		regrown int
		cause   string
		live    bool // the reader runs through the restart
	}{
		"shorter":       {0, stream.CauseRewound, false},
		"regrown":       {200, stream.CauseRewritten, false},
		"shorter, live": {0, stream.CauseRewound, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, port := t.TempDir(), freePort(t)
			e := embed(t, dir, port)
			conn := connect(t, stream.Options{URL: e.URL(), MustConnect: true})
			input(t, conn, nil)
			publish(t, conn, 1, 50, one)
			e.Shutdown()
			old := copyDir(t, dir)
			e = embed(t, dir, port)
			eventually(t, "connection", func() bool { return conn.Status().Connected })
			publish(t, conn, 51, 50, one)
			r := read(t, conn, stream.Anchor{}, stream.ReaderOptions{})
			r.has(100)
			anchor := stream.Anchor{}
			if !c.live {
				anchor = r.end()
			}
			e.Shutdown()
			eventually(t, "the cut", func() bool { return !conn.Status().Connected })
			embed(t, old, port)
			eventually(t, "connection", func() bool { return conn.Status().Connected })
			i := 1
			if !c.live {
				if c.regrown > 0 {
					publish(t, conn, 51, c.regrown, one)
				}
				r, i = read(t, conn, anchor, stream.ReaderOptions{}), 0
			}
			wantNotice(t, r.notice(i), stream.NewEpoch, c.cause, 101, 1, 0)
			r.has(50 + c.regrown)
			r.end()
		})
	}
}

// TestFiltered: sequences of other subjects are counted as filtered, also behind
// the last message of interest; a filter that covers the stream filters nothing.
func TestFiltered(t *testing.T) {
	for name, c := range map[string]struct {
		subjects []string
		read     int
		filtered uint64
	}{
		// 300 messages, every third on fraud, the last one among them.
		"one subject":       {[]string{"ml.predictions.fraud.*"}, 100, 200},
		"two subjects":      {[]string{"ml.predictions.fraud.1", "ml.predictions.churn.1"}, 300, 0},
		"the other subject": {[]string{"ml.predictions.churn.>"}, 200, 100},
		"covering":          {[]string{"ml.>"}, 300, 0},
		"overlapping":       {[]string{"ml.predictions.>", "ml.predictions.fraud.1"}, 300, 0},
		"nothing of it":     {[]string{"ml.outcomes.*"}, 0, 300},
	} {
		t.Run(name, func(t *testing.T) {
			conn := inProcess(t, embed(t, t.TempDir(), 0))
			input(t, conn, nil)
			publish(t, conn, 1, 300, mixed)
			r := read(t, conn, stream.Anchor{}, stream.ReaderOptions{Subjects: c.subjects})
			eventually(t, "the end of the stream", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.anchor.Seq == 300
			})
			anchor := r.end()
			if r.count() != c.read || r.skipped != c.filtered {
				t.Errorf("read %d, filtered %d; want %d and %d", r.count(), r.skipped, c.read, c.filtered)
			}
			if len(r.notices) != 1 {
				t.Errorf("notices %+v, want only the first epoch", r.notices)
			}
			// The anchor's time also holds where the last message was filtered.
			publish(t, conn, 301, 3, mixed)
			again := read(t, conn, anchor, stream.ReaderOptions{Subjects: c.subjects})
			eventually(t, "the new messages", func() bool { return again.reader.Status().Received == 303 })
			again.end()
			if len(again.notices) != 0 {
				t.Errorf("notices after a resume: %+v", again.notices)
			}
		})
	}
}

// TestFilteredGap: with a filter, sequences before the stream's first one are a
// gap, the others are filtered.
func TestFilteredGap(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	s := input(t, c, nil)
	publish(t, c, 1, 30, mixed)
	o := stream.ReaderOptions{Subjects: []string{"ml.predictions.fraud.1"}}
	r := read(t, c, stream.Anchor{}, o)
	eventually(t, "the end", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.anchor.Seq == 30
	})
	anchor := r.end()
	publish(t, c, 31, 60, mixed)
	must(t, s.Purge(testContext(t), jetstream.WithPurgeSequence(61))) // keeps 61..90, ten of them fraud
	r = read(t, c, anchor, o)
	r.has(10)
	wantNotice(t, r.notice(0), stream.Gap, stream.CauseRemoved, 31, 60, 30)
	r.end()
	if r.skipped != 20 {
		t.Errorf("filtered %d of 61..90, want 20", r.skipped)
	}
}

// TestFilterChanged: other subjects than the anchor's are reported, once.
func TestFilterChanged(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	input(t, c, nil)
	publish(t, c, 1, 30, mixed)
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{})
	r.has(30)
	anchor := r.end()
	publish(t, c, 31, 30, mixed)
	r = read(t, c, anchor, stream.ReaderOptions{Subjects: []string{"ml.predictions.fraud.1"}})
	wantNotice(t, r.notice(0), stream.FilterChanged, stream.CauseFilter, 31, 31, 0)
	r.has(10)
	anchor = r.end()
	r = read(t, c, anchor, stream.ReaderOptions{Subjects: []string{"ml.predictions.fraud.1"}})
	eventually(t, "ready", func() bool { return r.reader.Status().Ready })
	r.end()
	if len(r.notices) != 0 {
		t.Errorf("notices with the same filter: %+v", r.notices)
	}
}

// TestEnsureStream makes what is missing, keeps what is there, refuses what
// cannot work.
func TestEnsureStream(t *testing.T) {
	c := inProcess(t, embed(t, t.TempDir(), 0))
	js := c.JetStream()
	info, err := stream.EnsureStream(testContext(t), js, stream.InputStream())
	must(t, err)
	again, err := stream.EnsureStream(testContext(t), js, stream.InputStream())
	must(t, err)
	if !again.Created.Equal(info.Created) || info.Config.Name != "ML" {
		t.Errorf("created %s, then %s", info.Created, again.Created)
	}
	_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "WORK", Subjects: []string{"work.>"}, Retention: jetstream.InterestPolicy})
	must(t, err)
	for name, spec := range map[string]stream.StreamSpec{
		"interest":       {Name: "WORK", Subjects: []string{"work.>"}},
		"other subjects": {Name: "ML", Subjects: []string{"other.>"}},
		"taken subjects": {Name: "NEW", Subjects: []string{"ml.predictions.>"}},
	} {
		if _, err := stream.EnsureStream(testContext(t), js, spec); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, o := range map[string]stream.Options{
		"creds":   {CredsFile: filepath.Join(t.TempDir(), "absent")},
		"timeout": {Timeout: -1},
		"nobody":  {URL: "nats://127.0.0.1:1", MustConnect: true}, // port 1: nothing listens there
	} {
		if _, err := stream.Connect(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, o := range map[string]stream.EmbeddedOptions{
		"no dir":       {},
		"not loopback": {Dir: t.TempDir(), Listen: "0.0.0.0"},
		"bad port":     {Dir: t.TempDir(), Listen: "127.0.0.1", Port: 70000},
		"bad limit":    {Dir: t.TempDir(), MaxMemory: -1},
	} {
		if _, err := stream.StartEmbedded(o); err == nil {
			t.Errorf("embedded, %s: no error", name)
		}
	}
}
