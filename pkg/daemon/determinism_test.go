package daemon_test

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/stream"
)

// TestReplaysAreEqual reads one stream with checkpoints of different sizes, on
// one processor and on two: the same windows, the same ledger, hash by hash.
func TestReplaysAreEqual(t *testing.T) {
	s := newSweep(newWorld(t, hour()))
	var want account
	for _, c := range []struct {
		processors, events, batch int
	}{{2, math.MaxInt, 256}, {1, 1000, 256}, {2, 1000, 3}, {2, 7, 7}, {1, 1, 64}} {
		t.Run(fmt.Sprintf("processors=%d,events=%d,batch=%d", c.processors, c.events, c.batch), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.processors))
			dir := s.copyOf(s.prepared)
			st := open(t, dir)
			defer st.Close()
			o := s.options(st)
			o.Checkpoint = daemon.Checkpoint{Every: 20 * time.Millisecond, Events: c.events, Bytes: 4 << 20}
			r := stream.DefaultReaderOptions("ML")
			r.BatchMessages = c.batch
			var err error
			if o.Source, err = stream.NewReader(s.conn, r); err != nil {
				t.Fatal(err)
			}
			if err := s.world.run(o); err != nil {
				t.Fatal(err)
			}
			got := s.world.account(st)
			if want == nil {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("another checkpoint policy changed the store (-want +got):\n%.3000s", diff)
			}
		})
	}
}
