package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/stream"
)

const (
	benchSubject = "ml.predictions.bench.1"
	benchRing    = 4096             // distinct events
	benchStep    = time.Millisecond // of event time, so that windows close during a run
	benchFill    = 12 * time.Second // the longest that filling may take
	benchPending = 4000             // messages without a PubAck: the best rate by measurement
	benchReport  = 20_000           // events between two lines of the server process
	benchGrace   = 5 * time.Second  // for the server process to end by itself
)

// A benchLine is what the server process says on its stdout: how far it is, and
// with the URL that the stream is complete.
type benchLine struct {
	Filled     int     `json:"filled"`
	EventBytes float64 `json:"event_bytes,omitempty"`
	URL        string  `json:"url,omitempty"`
}

// newBenchStreamCmd is the server process of the benchmark: a JetStream server
// with a full stream, until stdin ends.
func newBenchStreamCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "stream DIR EVENTS ROWS",
		Short:  "The server process of bench ingest",
		Hidden: true,
		Args:   cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return badUsage("EVENTS: %v", err)
			}
			rows, err := strconv.Atoi(args[2])
			if err != nil || rows < 1 {
				return badUsage("ROWS %q: use a number from 1 on", args[2])
			}
			return serveBench(cmd.Context(), e.in, e.out, benchStream{args[0], n, rows})
		},
	}
}

// A benchStream says what the server process stores.
type benchStream struct {
	dir    string
	events int
	rows   int // events a message
}

// serveBench runs the server until in ends: that is when its parent does, however
// it does.
func serveBench(ctx context.Context, in io.Reader, out io.Writer, o benchStream) error {
	server, err := stream.StartEmbedded(stream.EmbeddedOptions{Dir: o.dir, Listen: "127.0.0.1"})
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(o.dir) }() // a temporary folder
	defer server.Shutdown()
	signal.Ignore(syscall.SIGPIPE) // a parent that is gone must not keep us from tidying up
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	say := json.NewEncoder(out)
	last, err := fillBench(ctx, server, o, func(l benchLine) error { return say.Encode(l) })
	if ctx.Err() != nil {
		return nil // the parent has given up, and says why
	}
	if err != nil {
		return fmt.Errorf("fill the stream: %w", err)
	}
	last.URL = server.URL()
	if err := say.Encode(last); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// fillBench stores the events, or as many as the time allows.
func fillBench(ctx context.Context, server *stream.Embedded, o benchStream, tell func(benchLine) error) (benchLine, error) {
	conn, err := stream.Connect(stream.Options{InProcess: server, MustConnect: true})
	if err != nil {
		return benchLine{}, err
	}
	defer conn.Close()
	if _, err := stream.EnsureStream(ctx, conn.JetStream(), stream.InputStream()); err != nil {
		return benchLine{}, err
	}
	if _, err := stream.EnsureStream(ctx, conn.JetStream(), stream.SignalStream()); err != nil {
		return benchLine{}, err
	}
	bodies, err := sim.NewBodies(sim.Bench(), 1, benchRing, benchStep)
	if err != nil {
		return benchLine{}, err
	}
	js, err := jetstream.New(conn.NATS(), jetstream.WithPublishAsyncMaxPending(benchPending))
	if err != nil {
		return benchLine{}, err
	}
	line, reported := benchLine{EventBytes: bodies.MeanBytes()}, 0
	for until := time.Now().Add(benchFill); line.Filled < o.events; {
		if line.Filled-reported >= benchReport {
			if reported = line.Filled; time.Now().After(until) {
				break
			}
			if err := errors.Join(ctx.Err(), tell(line)); err != nil {
				return line, err
			}
		}
		var body []byte
		for range min(o.rows, o.events-line.Filled) {
			if body != nil {
				body = append(body, '\n')
			}
			body = bodies.Append(body, uint64(line.Filled))
			line.Filled++
		}
		// Without a Nats-Msg-Id, whose header both readers would have to parse.
		m := &nats.Msg{Subject: benchSubject, Data: body}
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(benchFill)); err != nil {
			return line, err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return line, ctx.Err()
	}
	return line, nil
}

// A benchServer is the server process seen from its parent.
type benchServer struct {
	benchLine
	cmd   *exec.Cmd
	stdin io.Closer
}

// startBench starts the server process and waits until its stream is complete.
func startBench(ctx context.Context, o benchStream, filled func(int)) (*benchServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "stream", o.dir, strconv.Itoa(o.events), strconv.Itoa(o.rows))
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = benchGrace
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Cancel = stdin.Close
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &benchServer{cmd: cmd, stdin: stdin}
	for lines := bufio.NewScanner(stdout); s.URL == "" && lines.Scan(); {
		if err := json.Unmarshal(lines.Bytes(), &s.benchLine); err != nil {
			return nil, errors.Join(fmt.Errorf("server process: %w", err), s.stop(ctx))
		}
		filled(s.Filled)
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, s.stop(ctx))
	}
	if s.URL == "" {
		return nil, errors.Join(errors.New("the server process ended before its stream was complete"), s.stop(ctx))
	}
	return s, nil
}

// stop ends the server process. How it ended does not matter when ctx has: then
// it was told to.
func (s *benchServer) stop(ctx context.Context) error {
	_ = s.stdin.Close() // closed already when the context ended
	timer := time.AfterFunc(benchGrace, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	err := s.cmd.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
