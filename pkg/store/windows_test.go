package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/store"
)

// split sums panes by size without the store: the oracle of Windows.
func split(t testing.TB, panes []*drift.Window, size time.Duration) map[string]string {
	t.Helper()
	parts := map[int64][]*drift.Window{}
	for _, w := range panes {
		at := w.Start.UnixNano() / int64(size)
		parts[at] = append(parts[at], w)
	}
	out := map[string]string{}
	for at, part := range parts {
		sum, err := drift.Sum(part)
		must(t, err)
		sum.Start = time.Unix(0, at*int64(size)).UTC()
		sum.End = sum.Start.Add(size)
		out[sum.Start.String()] = sum.Digest()
	}
	return out
}

// hours makes the rollups that the engine makes: of full hours that are closed.
func hours(t testing.TB, panes []*drift.Window) (out []*drift.Window) {
	t.Helper()
	parts := map[time.Time][]*drift.Window{}
	for _, w := range panes {
		h := w.Start.Truncate(time.Hour)
		parts[h] = append(parts[h], w)
	}
	for h, part := range parts {
		sum, err := drift.Sum(part)
		must(t, err)
		sum.Start, sum.End = h, h.Add(time.Hour)
		out = append(out, sum)
	}
	slices.SortFunc(out, func(a, b *drift.Window) int { return a.Start.Compare(b.Start) })
	return out
}

func digests(t testing.TB, s *store.Store, q store.Query) map[string]string {
	t.Helper()
	windows, err := s.Windows(q)
	must(t, err)
	out := map[string]string{}
	for _, w := range windows {
		out[w.Start.String()] = w.Digest()
	}
	if len(out) != len(windows) {
		t.Errorf("%d windows begin at %d instants", len(windows), len(out))
	}
	return out
}

func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("windows:\n got %v\nwant %v", got, want)
	}
}

// Every size is the sum of the same panes, whether they come from panes, from
// rollups, or from both, in one store or after the panes are gone.
func TestWindowsAreSumsOfPanes(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{MemTableBytes: 32 << 20, Compactors: -1})
	panes := newSource(5).series(fraud, epoch.Add(-30*time.Minute), 4*60) // from :30, so that hours are cut at both ends
	panes = slices.DeleteFunc(panes, func(w *drift.Window) bool { return w.Start.Minute()%7 == 3 })
	rollups := hours(t, panes)
	commit(t, s, func(b *store.Batch) {
		for _, w := range panes {
			b.PutPane(w)
		}
	})
	sizes := []time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute, time.Hour, 90 * time.Minute, 2 * time.Hour, 24 * time.Hour}
	for _, size := range sizes {
		same(t, digests(t, s, store.Query{Model: "fraud", Size: size}), split(t, panes, size))
	}
	commit(t, s, func(b *store.Batch) {
		for _, w := range rollups[:4] {
			b.PutHour(w)
		}
	})
	for _, size := range sizes {
		same(t, digests(t, s, store.Query{Model: "fraud", Size: size}), split(t, panes, size))
	}

	watermarks := map[string]time.Time{"fraud": epoch.Add(210 * time.Minute)}
	kept := slices.DeleteFunc(slices.Clone(panes), func(w *drift.Window) bool { return w.Start.Before(epoch.Add(2 * time.Hour)) })
	swept, err := s.Sweep(t.Context(), store.Retention{Panes: 90 * time.Minute}, watermarks, epoch)
	must(t, err)
	if want := len(panes) - len(kept); swept != (store.Swept{Panes: want}) {
		t.Errorf("swept %+v, want %d panes", swept, want)
	}
	for _, size := range []time.Duration{time.Hour, 2 * time.Hour, 24 * time.Hour} { // rollups stand in
		same(t, digests(t, s, store.Query{Model: "fraud", Size: size}), split(t, panes, size))
	}
	for _, size := range []time.Duration{time.Minute, 20 * time.Minute} { // live retention is untouched
		same(t, digests(t, s, store.Query{Model: "fraud", Size: size}), split(t, kept, size))
	}
	n := 0
	for w, err := range s.Hours(store.Range{Model: "fraud"}) {
		must(t, err)
		if dump(w) != dump(rollups[n]) {
			t.Errorf("rollup %d came back changed", n)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d rollups, want 4", n)
	}
}

// Sweeping at random watermarks never touches what the retention keeps, and
// stops where it is told to.
func TestSweepKeepsLiveRetention(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{MemTableBytes: 32 << 20})
	src, random := newSource(6), rand.New(rand.NewPCG(1, 1))
	live := map[drift.Group][]*drift.Window{}
	for _, g := range []drift.Group{fraud, {Model: "fraud", Version: "43"}, {Model: "churn"}, {Model: "a\x00b", Segment: "x=y"}} {
		live[g] = src.series(g, epoch, 400)
		commit(t, s, func(b *store.Batch) {
			for i, w := range live[g] {
				w.Signals = w.Signals[:i%2]
				b.PutPane(w)
			}
		})
	}
	marks := map[string]time.Time{}
	for range 12 {
		marks[[]string{"fraud", "a\x00b"}[random.IntN(2)]] = epoch.Add(time.Duration(random.IntN(600)) * time.Minute)
		_, err := s.Sweep(t.Context(), store.Retention{Panes: time.Hour}, marks, epoch)
		must(t, err)
		for g, panes := range live {
			if mark := marks[g.Model]; !mark.IsZero() {
				panes = slices.DeleteFunc(panes, func(w *drift.Window) bool { return w.Start.Before(mark.Add(-time.Hour)) })
			}
			live[g] = panes
			same(t, digests(t, s, store.Query{Model: g.Model, Version: g.Version, Segment: g.Segment, Size: 5 * time.Minute}), split(t, panes, 5*time.Minute))
		}
	}
	if n := len(live[drift.Group{Model: "churn"}]); n != 400 {
		t.Errorf("%d panes of a model without a watermark are left of 400", n)
	}
}

// Overwritten panes take space until Flatten; it changes nothing else.
func TestFlatten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{MemTableBytes: 4 << 20})
	w := pane(20)
	for range 1500 { // 10 MB written, 7 kB live: BenchmarkEncodeWindow
		commit(t, s, func(b *store.Batch) { b.PutOpen(w) })
	}
	before, err := s.SizeOnDisk()
	must(t, err)
	must(t, s.Flatten())
	must(t, s.Close())
	s = open(t, dir, small())
	after, err := s.SizeOnDisk()
	must(t, err)
	if after > before/4 {
		t.Errorf("%d bytes on disk, %d after Flatten", before, after)
	}
	r, err := s.Resume()
	must(t, err)
	if len(r.Open) != 1 || dump(r.Open[0]) != dump(w) {
		t.Error("the window came back changed")
	}
	must(t, s.Close())
	if err := s.Flatten(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("flatten: %v, want ErrClosed", err)
	}
}

// A window across a change of baseline is the sum that drift.Merge makes of it.
func TestWindowsAcrossBaselines(t *testing.T) {
	s := open(t, t.TempDir(), small())
	learning, first, second := newSource(14), newSource(15), newSource(16)
	panes := append(first.series(fraud, epoch.Add(time.Minute), 2), second.series(fraud, epoch.Add(3*time.Minute), 2)...)
	for _, signal := range []drift.Signal{
		{Name: "amount", Type: drift.Numeric, Numeric: learning.numeric(nil)},
		{Name: "country", Type: drift.Categorical, Categorical: learning.categorical(nil)},
	} {
		if len(panes) == 4 {
			panes = append([]*drift.Window{{Group: fraud, Start: epoch, End: epoch.Add(time.Minute), State: drift.Closed, Learning: true}}, panes...)
		}
		panes[0].Signals = append(panes[0].Signals, signal)
	}
	commit(t, s, func(b *store.Batch) {
		for _, w := range panes {
			b.PutPane(w)
		}
	})
	for _, size := range []time.Duration{2 * time.Minute, 4 * time.Minute, 5 * time.Minute} {
		same(t, digests(t, s, store.Query{Model: "fraud", Size: size}), split(t, panes, size))
	}
}

func TestWindowStates(t *testing.T) {
	s := open(t, t.TempDir(), small())
	src := newSource(11)
	panes := src.series(fraud, epoch, 30)
	running := src.series(fraud, epoch.Add(30*time.Minute), 1)[0]
	lost := src.series(fraud, epoch.Add(2*time.Hour), 1)[0]
	lost.State = drift.Incomplete
	commit(t, s, func(b *store.Batch) {
		for _, w := range panes {
			b.PutPane(w)
		}
		b.PutPane(lost)
		b.PutOpen(running) // Closed as written: what is in the open table is open
	})
	states := func(size time.Duration) string {
		windows, err := s.Windows(store.Query{Model: "fraud", Size: size})
		must(t, err)
		var out strings.Builder
		for _, w := range windows {
			out.WriteString(fmt.Sprintf("%d:%v ", int(w.Start.Sub(epoch)/time.Minute), w.State))
		}
		return out.String()
	}
	if got, want := states(10*time.Minute), "0:closed 10:closed 20:closed 30:open 120:incomplete "; got != want {
		t.Errorf("without a watermark %s, want %s", got, want)
	}
	if got, want := states(time.Hour), "0:open 120:incomplete "; got != want {
		t.Errorf("hours %s, want %s", got, want)
	}
	commit(t, s, func(b *store.Batch) {
		b.PutModel(drift.ModelState{Model: "fraud", Watermark: epoch.Add(20 * time.Minute)})
	})
	if got, want := states(10*time.Minute), "0:closed 10:closed 20:open 30:open 120:incomplete "; got != want {
		t.Errorf("behind the watermark %s, want %s", got, want)
	}
}

func TestQuerySelects(t *testing.T) {
	s := open(t, t.TempDir(), small())
	src := newSource(12)
	groups := []drift.Group{
		{Model: "fraud", Version: "41"},
		{Model: "fraud", Version: "42"},
		{Model: "fraud", Version: "42", Variant: event.Canary},
		{Model: "fraud", Version: "42", Variant: event.Shadow},
		{Model: "fraud", Version: "42", Segment: "channel=app"},
		{Model: "fraud2", Version: "42"},
	}
	commit(t, s, func(b *store.Batch) {
		for _, g := range groups {
			for _, w := range src.series(g, epoch, 3) {
				w.Events = 1
				b.PutPane(w)
			}
		}
	})
	at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
	primary := []event.Variant{event.Primary}
	tests := []struct {
		name  string
		query store.Query
		want  string // version/variant/segment start events
	}{
		{"all groups", store.Query{Size: 3 * time.Minute}, "41/primary/ 0 3;42/primary/ 0 3;42/canary/ 0 3;42/shadow/ 0 3;"},
		{"one version", store.Query{Version: "41", Size: 3 * time.Minute}, "41/primary/ 0 3;"},
		{"one variant", store.Query{Version: "42", Variants: primary, Size: 3 * time.Minute}, "42/primary/ 0 3;"},
		{"a segment", store.Query{Segment: "channel=app", Size: 3 * time.Minute}, "42/primary/channel=app 0 3;"},
		{"total", store.Query{Variants: []event.Variant{event.Primary, event.Canary}, Size: 3 * time.Minute, Total: true}, "/primary/ 0 9;"},
		{"from", store.Query{Version: "41", From: at(1), Size: time.Minute}, "41/primary/ 1 1;41/primary/ 2 1;"},
		{"from within a window", store.Query{Version: "41", From: at(1), Size: 3 * time.Minute}, "41/primary/ 0 3;"},
		{"to", store.Query{Version: "41", To: at(1), Size: time.Minute}, "41/primary/ 0 1;"},
		{"to within a window", store.Query{Version: "41", To: at(1), Size: 3 * time.Minute}, "41/primary/ 0 3;"},
		{"nothing there", store.Query{Version: "40", Size: time.Minute}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.query.Model = "fraud"
			windows, err := s.Windows(test.query)
			must(t, err)
			var got strings.Builder
			for _, w := range windows {
				g := w.Group
				got.WriteString(fmt.Sprintf("%s/%v/%s %d %d;", g.Version, g.Variant, g.Segment, int(w.Start.Sub(epoch)/time.Minute), w.Events))
			}
			if got.String() != test.want {
				t.Errorf("got %s want %s", got.String(), test.want)
			}
		})
	}
	for _, q := range []store.Query{{Size: time.Minute}, {Model: "fraud"}, {Model: "fraud", Size: 90 * time.Second}} {
		if _, err := s.Windows(q); err == nil {
			t.Errorf("query %+v was answered", q)
		}
	}
}

func TestRanges(t *testing.T) {
	s := open(t, t.TempDir(), small())
	src := newSource(13)
	commit(t, s, func(b *store.Batch) {
		for _, model := range []string{"fraud", "fraud2"} {
			for _, w := range src.series(drift.Group{Model: model}, epoch, 5) {
				b.PutPane(w)
			}
		}
	})
	for _, test := range []struct {
		r    store.Range
		want int
	}{
		{store.Range{}, 10},
		{store.Range{Model: "fraud"}, 5},
		{store.Range{From: epoch.Add(time.Minute)}, 8},
		{store.Range{Model: "fraud2", From: epoch.Add(time.Minute), To: epoch.Add(3 * time.Minute)}, 2},
		{store.Range{Model: "none"}, 0},
	} {
		n := 0
		for _, err := range s.Panes(test.r) {
			must(t, err)
			n++
		}
		if n != test.want {
			t.Errorf("%+v: %d panes, want %d", test.r, n, test.want)
		}
	}
	for range s.Panes(store.Range{}) {
		break // the snapshot is given back: Close would wait for it
	}
}

func TestPanesTellDamage(t *testing.T) {
	dir := t.TempDir()
	must(t, open(t, dir, small()).Close())
	raw(t, dir, func(txn *badger.Txn) error { return txn.Set([]byte("p/zzzzzzzz"), []byte("x")) })
	s := open(t, dir, small())
	for _, err := range s.Panes(store.Range{}) {
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "zzz") {
			t.Errorf("panes: %v, want ErrDamaged", err)
		}
	}
}

// Without signals a window is the same but for them, closed or open, stored in
// panes or hours.
func TestWindowsWithoutSignals(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{MemTableBytes: 32 << 20, Compactors: -1})
	panes := newSource(7).series(fraud, epoch, 130)
	commit(t, s, func(b *store.Batch) {
		for _, w := range panes[:120] {
			b.PutPane(w)
		}
		for _, w := range hours(t, panes[:120]) {
			b.PutHour(w)
		}
		for _, w := range panes[120:] {
			w.State = drift.Open
			b.PutOpen(w)
		}
	})
	for _, size := range []time.Duration{10 * time.Minute, time.Hour} {
		q := store.Query{Model: "fraud", Size: size, Total: true}
		whole, err := s.Windows(q)
		must(t, err)
		q.NoSignals = true
		heads, err := s.Windows(q)
		must(t, err)
		if len(heads) != len(whole) || len(heads) < 3 {
			t.Fatalf("%d windows of %v, want %d", len(heads), size, len(whole))
		}
		for i, w := range whole {
			if len(w.Signals) == 0 || w.Events == 0 {
				t.Errorf("window %d of %v has %d signals of %d events", i, size, len(w.Signals), w.Events)
			}
			w.Signals = nil
			if got := heads[i]; fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *w) {
				t.Errorf("window %d of %v is %+v, want %+v", i, size, *got, *w)
			}
		}
	}
}
