package daemon_test

import (
	"fmt"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
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
