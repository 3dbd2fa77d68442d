package main

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// read runs the daemon over the traffic and watches its memory.
func (b *fleetBench) read(ctx context.Context, r *fleetResult) (err error) {
	st, err := store.Open(b.config.Store.Dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p := b.newProgress("bench fleet", "events", int64(b.traffic.count()))
	defer p.end()
	source := &fleetSource{
		fleetTraffic: b.traffic, start: make(chan struct{}), caught: make(chan struct{}), done: make(chan struct{}), tell: func(n int) { p.at(int64(n)) },
	}
	d, err := b.daemon(st, source)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for i := range b.models {
		base, err := b.traffic.baseline(i)
		if err == nil {
			err = d.ImportBaseline(ctx, base, nil, "bench")
		}
		if err != nil {
			stop()
			return errors.Join(err, <-ended)
		}
	}
	began := time.Now()
	close(source.start)
	if r.BacklogRSS, r.BacklogAnon, err = watchMemory(ctx, d, source.caught, ended); err != nil {
		stop()
		return err
	}
	r.Backlog, r.BacklogSeconds = b.traffic.backlog(), time.Since(began).Seconds()
	if r.RSS, r.RSSAnon, err = watchMemory(ctx, d, source.done, ended); err != nil {
		stop()
		return err
	}
	r.Live = b.live()
	if err := b.heapProfile(); err != nil {
		return err
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	account := d.Snapshot().Account
	r.Lost = int64(b.traffic.count()) - int64(account.Total(drift.Counted))
	return account.Balance(uint64(b.traffic.count()))
}

// daemon is the daemon as serve has it by the configuration, but for its edges.
func (b *fleetBench) daemon(st *store.Store, source daemon.Source) (*daemon.Daemon, error) {
	settings, err := daemon.Decisions(b.config)
	if err != nil {
		return nil, err
	}
	settings.Decoder = event.NewDecoder(nil, event.DefaultLimits)
	settings.Receivers = []notify.Receiver{{Name: daemon.SignalReceiver, Sink: discard{}}}
	for _, r := range b.config.Receivers {
		settings.Receivers = append(settings.Receivers, notify.Receiver{Name: r.Name, Sink: discard{}})
	}
	return daemon.New(daemon.Options{
		Settings: settings, Store: st, Source: source, DeadLetters: noLetters{},
		Checkpoint: daemon.DefaultCheckpoint(), Version: "bench", Log: zerolog.Nop(),
	})
}

// noLetters takes dead letters, of which there are none.
type noLetters struct{}

func (noLetters) DeadLetter(time.Time, stream.DeadLetter) bool { return true }
func (noLetters) Flush(context.Context) error                  { return nil }

// live is the heap in use, less the traffic's own.
func (b *fleetBench) live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	own := uint64(0)
	for _, body := range b.traffic.ring {
		own += uint64(cap(body))
	}
	return m.HeapAlloc - min(own, m.HeapAlloc)
}

func (b *fleetBench) heapProfile() error {
	if b.memProfile == "" {
		return nil
	}
	f, err := os.Create(b.memProfile)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// watchMemory looks at this process's memory until done is closed, and scrapes the
// daemon once a second as Prometheus would. It returns the largest resident size
// and part of it that no file backs, in MiB. Garbage of what was before is given
// back first: a daemon that runs for long has done so by itself.
func watchMemory(ctx context.Context, d *daemon.Daemon, done <-chan struct{}, ended <-chan error) (rss, anon float64, err error) {
	server, err := api.New(api.Options{Reader: d, Commander: d})
	if err != nil {
		return 0, 0, err
	}
	metrics := server.MetricsHandler()
	page, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	debug.FreeOSMemory()
	look, scrape := time.NewTicker(20*time.Millisecond), time.NewTicker(time.Second)
	defer look.Stop()
	defer scrape.Stop()
	for {
		select {
		case <-done:
			return rss, anon, nil
		case err := <-ended:
			return 0, 0, errors.Join(errors.New("the daemon stopped early"), err)
		case <-scrape.C:
			metrics.ServeHTTP(nowhere{}, page)
		case <-look.C:
			r, a := residentSize("self")
			rss, anon = max(rss, r), max(anon, a)
		}
	}
}

// nowhere is a response that nobody reads.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// residentSize returns the memory of a process, "self" for this one, and the part of it
// that no file backs, in MiB; 0 where /proc does not tell.
func residentSize(process string) (rss, anon float64) {
	f, err := os.Open("/proc/" + process + "/status")
	if err != nil {
		return 0, 0
	}
	defer func() { _ = f.Close() }() // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch name {
		case "VmRSS":
			rss = kib / 1024
		case "RssAnon":
			anon = kib / 1024
		}
	}
	return rss, anon
}

// A kind of window is how it is read and put.
type fleetKind struct {
	name string
	read func(*store.Store, store.Range) iter.Seq2[*drift.Window, error]
	put  func(*store.Batch, *drift.Window)
}

// measure takes the sizes of a day, an hour and a pane on disk, by what the store
// grows by copies further back in time: so it gets old, too.
func (b *fleetBench) measure(ctx context.Context, r *fleetResult) (err error) {
	if r.Store, err = b.compacted(); err != nil {
		return err
	}
	hours, panes := fleetKind{"hours", (*store.Store).Hours, (*store.Batch).PutHour}, fleetKind{"panes", (*store.Store).Panes, (*store.Batch).PutPane}
	groups := float64(b.models * b.groups)
	if r.Days, r.DayBytes, err = b.roll(ctx, hours); err != nil {
		return err
	}
	if r.Hours, r.HourBytes, err = b.age(ctx, hours, groups*b.history.Hours()); err != nil {
		return err
	}
	r.Panes, r.PaneBytes, err = b.age(ctx, panes, fleetPanes)
	return err
}

// roll fills a day in the past with the hours of the traffic, lets retention make
// days of them, and returns how many and what one takes.
func (b *fleetBench) roll(ctx context.Context, hours fleetKind) (days int, each float64, err error) {
	before, err := tableBytes(b.config.Store.Dir)
	if err != nil {
		return 0, 0, err
	}
	ago := 2 * store.DaySize
	step := max(b.length.Truncate(time.Hour), time.Hour)
	for back := ago; back > ago-store.DaySize; back -= step {
		if _, err := b.copyBack(ctx, hours, back); err != nil {
			return 0, 0, err
		}
	}
	if days, err = b.sweepHours(ctx, b.traffic.start.Add(-store.DaySize)); err != nil || days == 0 {
		return 0, 0, err
	}
	after, err := b.compacted()
	return days, float64(after-before) / float64(days), err
}

// sweepHours makes days of the hours before a time, and returns how many.
func (b *fleetBench) sweepHours(ctx context.Context, end time.Time) (days int, err error) {
	st, err := store.Open(b.config.Store.Dir, store.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	keep, marks := store.Retention{Hours: time.Hour}, map[string]time.Time{}
	for w, err := range st.Hours(store.Range{To: end}) {
		if err != nil {
			return 0, err
		}
		marks[w.Group.Model] = end.Add(keep.Hours)
	}
	swept, err := st.Sweep(ctx, keep, marks, end)
	return swept.Rolled, err
}

// fleetPanes is how many panes are put to measure one.
const fleetPanes = 10_000

// age puts at least wanted windows of a kind into the store, if it has any: those
// of the traffic, again and again. It returns how many the traffic made and what
// one takes.
func (b *fleetBench) age(ctx context.Context, k fleetKind, wanted float64) (have int, each float64, err error) {
	before, err := tableBytes(b.config.Store.Dir)
	if err != nil {
		return 0, 0, err
	}
	put := 0
	for i := 1; i == 1 || float64(put) < wanted && have > 0; i++ {
		n, err := b.copyBack(ctx, k, time.Duration(i)*(b.length+b.steady).Round(24*time.Hour)+time.Duration(i)*24*time.Hour)
		if err != nil {
			return 0, 0, err
		}
		have, put = n, put+n
	}
	if have == 0 {
		return 0, 0, nil
	}
	after, err := b.compacted()
	return have, float64(after-before) / float64(put), err
}

// copyBack puts every window of the traffic once more, at an earlier time.
func (b *fleetBench) copyBack(ctx context.Context, k fleetKind, back time.Duration) (n int, err error) {
	st, err := store.Open(b.config.Store.Dir, store.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	batch := st.NewBatch()
	for w, err := range k.read(st, store.Range{From: b.traffic.start}) {
		if err != nil {
			return n, err
		}
		n++
		w.Start, w.End = w.Start.Add(-back), w.End.Add(-back)
		if k.put(batch, w); batch.Size() > st.CommitLimit()/2 {
			if err := errors.Join(ctx.Err(), st.Commit(batch)); err != nil {
				return n, err
			}
			batch.Reset()
		}
	}
	return n, st.Commit(batch)
}

// compacted returns the size of the store's tables after a compaction.
func (b *fleetBench) compacted() (_ int64, err error) {
	st, err := store.Open(b.config.Store.Dir, store.Options{})
	if err != nil {
		return 0, err
	}
	if err := errors.Join(st.Flatten(), st.Close()); err != nil {
		return 0, err
	}
	return tableBytes(b.config.Store.Dir)
}

// tableBytes is the room that a store's tables take on disk.
func tableBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "badger"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".sst" {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return n, err
}
