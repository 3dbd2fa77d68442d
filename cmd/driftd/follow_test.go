package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// A log is a file that a server writes.
type serverLog struct {
	t    *testing.T
	path string
}

func (l serverLog) add(text string) {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l serverLog) rename(suffix string) {
	l.t.Helper()
	if err := os.Rename(l.path, l.path+suffix); err != nil {
		l.t.Fatal(err)
	}
}

// rest reads what a tail gives until it has looked five times in vain.
func rest(t *testing.T, tl *tail) (lines []string) {
	t.Helper()
	if _, err := tl.move(); err != nil {
		t.Fatal(err)
	}
	for vain := 0; vain < 5; {
		line, err := tl.line()
		switch {
		case errors.Is(err, errLongLine):
			lines = append(lines, "<long>")
			continue
		case err == nil:
			lines = append(lines, string(line))
			continue
		case !errors.Is(err, io.EOF):
			t.Fatal(err)
		}
		vain++
		if what, err := tl.move(); err != nil {
			t.Fatal(err)
		} else if what != "" {
			vain = 0
		}
	}
	return lines
}

func follows(t *testing.T, path string, limit int, from *place, atEnd bool) (tl *tail, found bool) {
	t.Helper()
	tl, found, err := openTail(path, limit, from, atEnd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tl.close() })
	return tl, found
}

// TestTail: what a tail gives after each thing that can happen to a log.
func TestTail(t *testing.T) {
	l := serverLog{t, filepath.Join(t.TempDir(), "server.log")}
	tl, _ := follows(t, l.path, 20, nil, false)
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"no file yet", func() {}, nil},
		{"it appears", func() { l.add("a\nb\n") }, []string{"a", "b"}},
		{"a part of a line", func() { l.add("c") }, nil},
		{"its end", func() { l.add("c\n") }, []string{"cc"}},
		{"a long line, and another", func() { l.add(strings.Repeat("x", 200<<10) + "\nd\n") }, []string{"<long>", "d"}},
		{"20 bytes are no long line", func() { l.add(strings.Repeat("y", 19) + "\n") }, []string{strings.Repeat("y", 19)}},
		{"renamed, and written to", func() { l.rename(".1"); serverLog{t, l.path + ".1"}.add("e\n") }, []string{"e"}},
		{"an empty one in its place", func() { l.add(""); serverLog{t, l.path + ".1"}.add("f\ng") }, []string{"f"}},
		{"in which something stands", func() { l.add("h\n") }, []string{"g", "h"}},
		{"cut", func() { write(t, l.path, "i\nj\n") }, []string{"i", "j"}},
		{"cut, and as long as before at once", func() { write(t, l.path, "k\nl\n") }, []string{"k", "l"}},
		{"cut in the middle of a line", func() { l.add("lost"); rest(t, tl); write(t, l.path, "m\n") }, []string{"m"}},
		{"renamed twice", func() { l.rename("-20260101"); l.add("n\n"); l.rename(".2"); l.add("o\n") }, []string{"n", "o"}},
		{"other files beside it", func() {
			write(t, l.path+".gz", "no\n")
			write(t, l.path+".bak", "no\n")
			write(t, l.path+"x.1", "no\n")
		}, nil},
		{"deleted, and there again", func() {
			if err := os.Remove(l.path); err != nil {
				t.Fatal(err)
			}
			l.add("p\n")
		}, []string{"p"}},
	} {
		step.do()
		if got := rest(t, tl); !slices.Equal(got, step.want) {
			t.Fatalf("%s: %.100q, want %.100q", step.name, got, step.want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTailResumes: a place is found again where its file is now, and only there.
func TestTailResumes(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(l serverLog)
		found bool
		want  []string
	}{
		{"nothing happened", func(serverLog) {}, true, nil},
		{"more", func(l serverLog) { l.add("c\n") }, true, []string{"c"}},
		{"renamed", func(l serverLog) { l.add("c\n"); l.rename(".1"); l.add("d\n") }, true, []string{"c", "d"}},
		{"renamed twice", func(l serverLog) { l.rename(".2"); l.add("c\n"); l.rename(".1"); l.add("d\n") }, true, []string{"c", "d"}},
		{"cut and written anew", func(l serverLog) { write(l.t, l.path, "x\ny\nz\n") }, false, []string{"x", "y", "z"}},
		{"cut", func(l serverLog) { write(l.t, l.path, "x\n") }, false, []string{"x"}},
		{"away", func(l serverLog) {
			if err := os.Remove(l.path); err != nil {
				l.t.Fatal(err)
			}
		}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := serverLog{t, filepath.Join(dir, "server.log")}
			l.add("a\nb\n")
			tl, _ := follows(t, l.path, 100, nil, false)
			if got := rest(t, tl); len(got) != 2 {
				t.Fatal(got)
			}
			state := filepath.Join(dir, "state")
			if err := tl.at.keep(state); err != nil {
				t.Fatal(err)
			}
			c.do(l)
			from, err := readPlace(state)
			if err != nil {
				t.Fatal(err)
			}
			again, found := follows(t, l.path, 100, from, true)
			if got := rest(t, again); found != c.found || !slices.Equal(got, c.want) {
				t.Errorf("found %v and read %q, want %v and %q", found, got, c.found, c.want)
			}
		})
	}
	l := serverLog{t, filepath.Join(t.TempDir(), "server.log")}
	l.add("a\n")
	tl, _ := follows(t, l.path, 100, nil, true)
	if l.add("b\n"); !slices.Equal(rest(t, tl), []string{"b"}) {
		t.Error("the end of the file is not its end")
	}
}

// freePort returns a port of loopback that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// A logbook takes the log of another goroutine.
type logbook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *logbook) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(text)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// TestFollowThroughEverything: while a log is written, renamed and cut into files,
// the follower is stopped and started and NATS goes away for longer than a message
// is tried: in the end every event is in the stream, once.
func TestFollowThroughEverything(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	begin := func() *stream.Embedded {
		s, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: filepath.Join(dir, "js"), Listen: "127.0.0.1", Port: port})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server := begin()
	defer func() { server.Shutdown() }()
	conn, err := stream.Connect(stream.Options{URL: server.URL(), MustConnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "ML", Subjects: []string{"ml.>"}, MaxMsgSize: 8 << 10}); err != nil {
		t.Fatal(err)
	}
	l := serverLog{t, filepath.Join(dir, "server.log")}
	var reports bytes.Buffer
	var book logbook
	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		e := &env{out: &reports, err: &book, output: "ndjson", logFormat: "json", timeout: 20 * time.Second, lookup: os.LookupEnv}
		o := sendOptions{
			kind: event.Prediction, file: l.path, follow: true, state: filepath.Join(dir, "state"),
			subjects: event.DefaultSubjects, nats: "nats://127.0.0.1:" + strconv.Itoa(port), streamName: "ML",
		}
		done := make(chan error, 1)
		go func() { done <- e.follow(ctx, o) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stored := func() uint64 {
		s, err := conn.JetStream().Stream(t.Context(), "ML")
		if err != nil {
			return 0 // NATS is away
		}
		return s.CachedInfo().State.Msgs
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !holds(); {
			if time.Now().After(deadline) {
				t.Fatalf("waited 60 s until %s; the log:\n%s", what, book.String())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	wait := func(n int) {
		t.Helper()
		until(strconv.Itoa(n)+" events are stored", func() bool { return stored() >= uint64(n) })
	}
	chance := rand.New(rand.NewPCG(7, 0))
	written := 0
	some := func(n int) { // in pieces that end anywhere
		var text strings.Builder
		for range n {
			fmt.Fprintf(&text, `{"id":"e%d","model":"m","prediction":1}`+"\n", written)
			written++
		}
		for all := text.String(); all != ""; {
			cut := 1 + chance.IntN(len(all))
			l.add(all[:cut])
			all = all[cut:]
		}
	}
	stop := start()
	some(10)
	l.add(`{"id":"large","model":"m","prediction":1,"x":"` + strings.Repeat("x", 9<<10) + `"}` + "\n") // the stream would refuse it for ever
	wait(written)                                                                                      // who starts with no state knows of no file before
	for round := range 6 {
		some(500 + chance.IntN(3000))
		l.rename("." + strconv.Itoa(round))
		some(10)
		if round%2 == 1 {
			stop()
			some(100)
			stop = start()
		}
		wait(written) // before the next rename: a logger keeps a file longer than a look takes
	}
	server.Shutdown()
	some(5000)
	l.rename(".6")
	some(10)
	until("the follower has given up a batch", func() bool { return strings.Contains(book.String(), "events could not be stored; they are sent again") })
	server = begin()
	wait(written)
	stop()
	ids := map[string]int{}
	s, err := conn.JetStream().Stream(t.Context(), "ML")
	if err != nil {
		t.Fatal(err)
	}
	for seq := range s.CachedInfo().State.LastSeq {
		m, err := s.GetMsg(t.Context(), seq+1)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ ID string }
		if err := json.Unmarshal(m.Data, &e); err != nil {
			t.Fatal(err)
		}
		ids[e.ID]++
	}
	if len(ids) != written || uint64(written) != s.CachedInfo().State.Msgs {
		t.Errorf("%d ids in %d messages, want %d", len(ids), s.CachedInfo().State.Msgs, written)
	}
	var acked, failed, refused uint64
	for line := range strings.Lines(reports.String()) {
		var r sendReport
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		acked, failed, refused = acked+r.Acked, failed+r.Failed, refused+r.Refused
	}
	if acked != uint64(written) || failed != 0 || refused != 1 {
		t.Errorf("reported: %d acked, %d failed, %d refused, want %d, 0 and 1", acked, failed, refused, written)
	}
}
