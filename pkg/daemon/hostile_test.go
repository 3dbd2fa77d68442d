package daemon_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A hostile message, and what must become of it: refused as a whole, refused for
// some rows, or decoded and not counted.
type hostile struct {
	name, subject, body string
	reason              event.Reason
	letters             int // dead letters
	good                int // events counted, of model "bystander"
}

// good is a valid event with something spliced into its features.
func good(id, model, features string) string {
	return fmt.Sprintf(`{"id":%q,"time":"2026-01-01T00:10:00Z","model":%q,"model_version":"1","features":{%s}}`, id, model, features)
}

// corpus are the ways in which messages are bad, by reliability.md R11 and the
// reasons of contract section 2.
func corpus() []hostile {
	const on = "ml.predictions.victim.1"
	out := []hostile{
		{name: "subject names another model", subject: "ml.predictions.other.1", body: good("m", "victim", `"x":1`), reason: event.SubjectMismatch},
		{name: "model nobody configured", subject: "ml.predictions.ghost.1", body: good("g", "ghost", `"x":1`), reason: event.UnknownModel},
		{name: "a century ahead", body: strings.Replace(good("f", "victim", `"x":1`), "2026", "2126", 1), reason: event.Future},
		{name: "300 KiB", body: strings.Replace(good("big", "victim", `"x":1`), ",", ","+strings.Repeat(" ", 300<<10), 1), reason: event.TooLarge},
		{name: "id of 2 KB", body: good(strings.Repeat("i", 2000), "victim", `"x":1`), reason: event.Limit},
		{name: "feature name of 2 KB", body: good("n", "victim", `"`+strings.Repeat("n", 2000)+`":1`), reason: event.Limit},
		{name: "3,000 features", body: good("many", "victim", manyFeatures(3000)), reason: event.Limit},
		{name: "nested 100 deep", body: good("deep", "victim", `"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)), reason: event.Decode},
		{name: "a text", body: `"text"`, reason: event.Schema},
		{name: "a number", body: "17", reason: event.Schema},
		{name: "no id", body: `{"model":"victim","features":{"x":1}}`, reason: event.Schema},
		{name: "no model", body: `{"id":"a","features":{"x":1}}`, reason: event.Schema},
		{name: "neither features nor prediction", body: `{"id":"a","model":"victim"}`, reason: event.Schema},
		{name: "outcome of nothing", subject: "ml.outcomes.victim", body: `{"id":"a","model":"victim","name":"label","label":"ok"}`, reason: event.Schema},
		{name: "time is a word", body: `{"id":"a","model":"victim","time":"yesterday","features":{"x":1}}`, reason: event.Schema},
		{name: "variant unheard of", body: `{"id":"a","model":"victim","variant":"blue","features":{"x":1}}`, reason: event.Schema},
		{name: "two bad lines and a good one", subject: "ml.predictions.bystander.1", body: "{\n" + good("l", "bystander", `"x":1`) + "\n]\n", reason: event.Decode, letters: 2, good: 1},
	}
	for i, body := range []string{
		"{", "[", "nul", "\xff\xfe", `{"id":}`, `{"id":"a" "model":"m"}`, `{"id":"a",}`, `{"id":"a\q"}`, good("nan", "victim", `"x":NaN`),
		good("plus", "victim", `"x":+1`), good("hex", "victim", `"x":0x10`), good("zero", "victim", `"x":01`), good("open", "victim", `"x":"`),
		good("nl", "victim", "\"x\":\"a\nb\""), good("t", "victim", `"x":1`) + "}",
	} {
		out = append(out, hostile{name: fmt.Sprintf("not JSON %d", i), body: body, reason: event.Decode})
	}
	for i := range out {
		if out[i].subject == "" {
			out[i].subject = on
		}
		if out[i].letters == 0 {
			out[i].letters = 1
		}
	}
	return out
}

func manyFeatures(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"f%d":1,`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// TestHostileMessages publishes the corpus one to one between valid events of a
// control model: its windows are exact, and each bad message is counted under its
// reason and dead-lettered once per refusal.
func TestHostileMessages(t *testing.T) {
	s := hour()
	s.Models, s.Length = []sim.Model{*s.Model("churn")}, 10*time.Minute
	s.Injections = nil
	w := emptyWorld(t, s)
	b := newBook(w.baselines())
	prepared := newSweep(w).prepared
	st := open(t, prepared)
	defer st.Close()
	o := w.options(st)
	o.Spec.Discover = false
	o.Spec.Models = []drift.ModelSpec{{Glob: "churn"}, {Glob: "victim"}, {Glob: "bystander"}}
	letters := stream.DefaultPublisherOptions()
	letters.Rate = -1
	publisher, err := stream.NewPublisher(w.conn, letters)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	o.DeadLetters = publisher
	bad := corpus()
	want, goods, n := map[string]hostile{}, uint64(0), 0 // by sequence
	refused := map[event.Reason]uint64{}
	var subjects event.SubjectTemplate
	publish := func(subject string, body []byte) string {
		ack, err := w.conn.JetStream().Publish(t.Context(), subject, body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ack.Sequence)
	}
	w.each(func(e *event.Event) {
		publish(subjects.Subject(e), event.AppendJSON(nil, e))
		b.add(e)
		h := bad[n%len(bad)]
		if n++; n > len(bad) && h.good > 0 {
			return // its good line would be a duplicate
		}
		want[publish(h.subject, []byte(h.body))] = h
		goods += uint64(h.good)
		refused[h.reason] += uint64(h.letters)
	})
	d, stop := w.start(o)
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.compare(t, st)
	a := accountOf(t, st)
	for _, r := range event.Reasons() {
		if a.Refused[r] != refused[r] {
			t.Errorf("%d refused as %s, want %d", a.Refused[r], r, refused[r])
		}
	}
	if got := a.Models["bystander"][event.Prediction-1][drift.Counted]; got != goods {
		t.Errorf("%d good lines counted, want %d", got, goods)
	}
	w.compareHostile(want)
	windows, err := st.Windows(store.Query{Model: "victim", Size: time.Minute})
	if err != nil || len(windows) != 0 {
		t.Errorf("the victim has %d windows: %v", len(windows), err)
	}
	if n < len(bad) {
		t.Errorf("only %d of %d bad messages were published", n, len(bad))
	}
}

// compareHostile finds the dead letters of every hostile message, and no others.
func (w *world) compareHostile(want map[string]hostile) {
	w.t.Helper()
	got, ids := map[string]int{}, map[string]bool{}
	each(w.t, w, "driftd.dlq.>", func(m jetstream.Msg) {
		h := m.Headers()
		seq := h.Get(stream.HeaderSeq)
		if got[seq]++; h.Get(stream.HeaderReason) != string(want[seq].reason) || !strings.HasSuffix(m.Subject(), "."+h.Get(stream.HeaderReason)) {
			w.t.Errorf("%s: dead letter on %s as %s (%s), want %s", want[seq].name, m.Subject(), h.Get(stream.HeaderReason), h.Get(stream.HeaderDetail), want[seq].reason)
		}
		if id := h.Get(nats.MsgIdHdr); ids[id] {
			w.t.Errorf("two dead letters %s", id)
		} else {
			ids[id] = true
		}
	})
	for seq, h := range want {
		if got[seq] != h.letters {
			w.t.Errorf("%s: %d dead letters, want %d", h.name, got[seq], h.letters)
		}
		delete(got, seq)
	}
	if len(got) > 0 {
		w.t.Errorf("dead letters of good messages: %v", got)
	}
}
