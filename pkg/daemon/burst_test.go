package daemon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// TestABurstOverManyModelsIsCommitted: a first event of each of 300 models with
// 200 features makes more state than one transaction of the test's store holds
// (5 MB). Without a look at the size after every message the checkpoint cannot
// be written, and no restart gets past it.
func TestABurstOverManyModelsIsCommitted(t *testing.T) {
	s := sim.Scenario{Name: "burst", Start: sim.Epoch, Length: 3 * time.Second}
	for i := range 300 {
		m := sim.Model{Name: fmt.Sprintf("model-%03d", i), Rate: .5, Even: true, Versions: []sim.Version{{Name: "1", Variant: event.Primary, Share: 1}}}
		for k := range 200 {
			m.Features = append(m.Features, sim.Feature{Name: fmt.Sprintf("feature-%03d-of-a-long-name", k), Dist: sim.Normal{Sigma: 1}})
		}
		s.Models = append(s.Models, m)
	}
	w := newWorld(t, s)
	w.learns = true
	st := open(t, t.TempDir())
	defer st.Close()
	o := w.options(st)
	o.Checkpoint.Every, o.Checkpoint.Events = 2*time.Second, 1<<30 // by size, until all has come
	if err := w.run(o); err != nil {
		t.Fatal(err)
	}
	if models, err := st.Models(); err != nil || len(models) != 300 {
		t.Errorf("%d models are committed, %v; want 300", len(models), err)
	}
}

// TestManyIdleModelsCloseInParts: models that fall silent together close their
// windows when stream time has passed, all in front of one message, and together
// they are more than one transaction of the test's store holds (5 MB).
func TestManyIdleModelsCloseInParts(t *testing.T) {
	const models, features = 400, 300
	w := emptyWorld(t, sim.Scenario{})
	source := &canned{}
	var names, values strings.Builder
	for k := range features {
		fmt.Fprintf(&names, `"feature-%03d-of-a-long-name":%%d.%03d,`, k, k)
	}
	template := strings.TrimSuffix(names.String(), ",")
	at := sim.Epoch
	send := func(model string, n int) {
		values.Reset()
		numbers := make([]any, features)
		for k := range numbers {
			numbers[k] = n * (k + 1)
		}
		fmt.Fprintf(&values, template, numbers...)
		body := fmt.Sprintf(`{"id":"%s-%d","time":%d,"model":%q,"model_version":"1","features":{%s}}`, model, n, at.UnixMilli(), model, values.String())
		source.add(at, "ml.predictions."+model+".1", body)
	}
	for n := range 3 {
		for i := range models {
			send(fmt.Sprintf("model-%03d", i), n)
		}
		at = at.Add(time.Second)
	}
	at = at.Add(2 * time.Hour)
	send("late", 0)
	st := open(t, t.TempDir())
	defer st.Close()
	o := w.options(st)
	o.Source, o.Status = source, nil
	d, stop := w.start(o)
	last := uint64(len(source.messages))
	w.until(func() bool { return d.Snapshot().Stream.CommittedSeq == last }, "message %d is committed", last)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for i := range models {
		windows, err := st.Windows(store.Query{Model: fmt.Sprintf("model-%03d", i), Size: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if len(windows) != 1 || windows[0].Events != 3 || windows[0].State != drift.Closed {
			t.Fatalf("model %d: %+v", i, windows)
		}
	}
}

// canned is a stream that was read before, one message a batch.
type canned struct{ messages []stream.Message }

func (c *canned) add(at time.Time, subject, body string) {
	c.messages = append(c.messages, stream.Message{Seq: uint64(len(c.messages) + 1), Time: at.UnixNano(), Subject: subject, Data: []byte(body)})
}

// Run implements daemon.Source.
func (c *canned) Run(ctx context.Context, from stream.Anchor, out chan<- *stream.Batch) error {
	for _, m := range c.messages[from.Seq:] {
		b := &stream.Batch{Messages: []stream.Message{m}, Anchor: stream.Anchor{Stream: "ML", Created: sim.Epoch, Seq: m.Seq, Time: m.Time}}
		select {
		case out <- b:
		case <-ctx.Done():
			return nil
		}
	}
	<-ctx.Done()
	return nil
}
