package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

const (
	followEvery    = 250 * time.Millisecond // between two looks at the file, and at a NATS that is away
	followLines    = 2000                   // sent before all must be acknowledged
	followBytes    = 8 << 20                // of them: the most that is held
	followSpan     = time.Second            // in which they are sent, where --rate makes it long
	followAttempts = 3                      // of a message, before its batch is read again
	headerRoom     = 1 << 10                // bytes that a message needs beside its line
	toldEvery      = time.Minute            // between two warnings of one kind
)

// A follower sends the lines of a log. What is on its way is one batch, which is
// kept nowhere but in the log: when a part of it cannot be stored, the batch is
// read again and sent again, and what was stored of it counts once by its id.
type follower struct {
	tail      *tail
	state     string // file of the place; "" for none
	subjects  event.SubjectTemplate
	checker   *lineChecker
	publisher *stream.EventPublisher
	conn      *stream.Conn
	limit     *rate.Limiter // nil for none
	log       zerolog.Logger

	kept    place // behind the last line that is stored or refused
	report  sendReport
	batch   sendReport // what the report grows by when the batch is stored
	lost    error      // why the last batch was not stored; nil once it is
	refused error      // the last refusal, not told yet
	told    map[string]time.Time
}

// follow sends what is appended to a file until ctx ends.
func (e *env) follow(ctx context.Context, o sendOptions) error {
	subjects, err := event.NewSubjectTemplate(o.subjects)
	if err != nil {
		return badUsage("--subject-template %q: %w", o.subjects, err)
	}
	var from *place
	if o.state != "" {
		if from, err = readPlace(o.state); err != nil {
			return err
		}
	}
	link, err := e.link(o)
	if err != nil {
		return err
	}
	conn, err := stream.Connect(link)
	if err != nil {
		return err
	}
	defer conn.Close()
	publisher, err := stream.NewEventPublisher(conn, stream.EventPublisherOptions{Attempts: followAttempts})
	if err != nil {
		return err
	}
	defer publisher.Close()
	f := &follower{
		state: o.state, subjects: subjects, checker: newLineChecker(o.kind, subjects), publisher: publisher, conn: conn,
		log: e.logger(), told: map[string]time.Time{},
	}
	if o.rate > 0 {
		f.limit = rate.NewLimiter(rate.Limit(o.rate), max(1, int(o.rate/100)))
	}
	most := f.await(ctx, o.streamName, e.timeout)
	var found bool
	if f.tail, found, err = openTail(o.file, most, from, o.fromEnd); err != nil {
		return err
	}
	defer f.tail.close()
	if !found {
		f.log.Warn().Str("file", o.file).Msg("the place that --state keeps is in no file any more; the file is sent from its beginning, and what was sent before counts once by its id")
	}
	f.kept = f.tail.at
	if o.state != "" && f.tail.file != nil { // or a second start from the end would leave out what came between
		if err := f.kept.keep(o.state); err != nil {
			return err
		}
	}
	return e.followed(ctx, f)
}

// await waits until the stream can be reached, and returns how large a line may
// be: more than the server or the stream takes would be refused for ever.
func (f *follower) await(ctx context.Context, name string, timeout time.Duration) (most int) {
	most = dataset.DefaultLimits.RecordBytes
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, min(timeout, 5*time.Second))
		s, err := f.conn.JetStream().Stream(asking, name)
		cancel()
		if err == nil {
			if n := s.CachedInfo().Config.MaxMsgSize; n > 0 {
				most = min(most, int(n)-headerRoom)
			}
			if n := f.conn.NATS().MaxPayload(); n > 0 {
				most = min(most, int(n)-headerRoom)
			}
			return most
		}
		if st := f.conn.Status(); !st.Connected && st.LastError != "" { // tells more than that the question failed
			err = errors.New(st.LastError)
		}
		f.warn("the stream cannot be reached; waiting for it", fmt.Errorf("stream %s: %w", name, err))
		f.pause(ctx)
	}
	return most
}

// followed runs f to its end, which is that of ctx, and reports.
func (e *env) followed(ctx context.Context, f *follower) error {
	failed := f.run(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	lost := f.publisher.Flush(last)
	switch {
	case lost != nil:
		f.report.Failed = f.batch.Sent
	case f.batch != sendReport{}:
		failed = errors.Join(failed, f.settled())
	default:
		lost = f.lost
	}
	if lost != nil {
		f.report.Sent += f.report.Failed
		failed = errors.Join(failed, withCode(codeTemporary, fmt.Errorf("not all of the last %d events were acknowledged: %w: start again, what has arrived counts once", f.report.Failed, lost)))
	}
	f.tellRefusals()
	f.report.Duplicates = f.publisher.Counters().Duplicates
	return errors.Join(e.print(f.report.result()), failed)
}

// run sends until ctx ends, which is no error.
func (f *follower) run(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := f.send(ctx)
		if err != nil {
			return err
		}
		lost := f.publisher.Flush(ctx)
		if errors.Is(lost, context.Canceled) {
			return nil // the caller waits for what is on its way
		}
		if lost != nil {
			f.warn("events could not be stored; they are sent again", lost)
			if err := f.again(ctx, lost); err != nil {
				return err
			}
			continue
		}
		if err := f.settled(); err != nil {
			return err
		}
		if more {
			continue
		}
		f.tellRefusals()
		f.pause(ctx)
		what, err := f.tail.move()
		if err != nil {
			return err
		}
		f.kept = f.tail.at
		if what != "" {
			f.log.Info().Str("file", f.tail.path).Msg(what)
		}
	}
	return nil
}

// send publishes a batch of lines; more is false when the log holds no others.
func (f *follower) send(ctx context.Context) (more bool, err error) {
	began := time.Now()
	for held := 0; ctx.Err() == nil && f.batch.Sent+f.batch.Refused < followLines && held < followBytes && time.Since(began) < followSpan; {
		before := f.tail.at
		line, err := f.tail.line()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case errors.Is(err, errLongLine):
			f.refuse(err)
			continue
		case err != nil:
			return false, err
		case len(bytes.TrimSpace(line)) == 0:
			continue
		}
		first, err := f.checker.check(line)
		if err != nil {
			f.refuse(err)
			continue
		}
		data := slices.Clone(line)
		out := outgoing(f.subjects, first, data, f.tail.at.Offset)
		if first.ID == "" { // offsets repeat from file to file
			out.ID = strconv.FormatUint(f.tail.at.Inode, 36) + "-" + out.ID
		}
		if f.limit != nil && f.limit.Wait(ctx) != nil || f.publisher.Publish(ctx, out.OutgoingEvent) != nil {
			return false, f.tail.rewindTo(before) // ctx has ended; the line at hand was not sent
		}
		f.batch.Sent++
		held += len(data)
	}
	return true, nil
}

// settled notes that all lines given so far are stored, or refused for good.
func (f *follower) settled() error {
	f.report.Sent += f.batch.Sent
	f.report.Acked += f.batch.Sent
	f.report.Refused += f.batch.Refused
	f.batch = sendReport{}
	f.lost, f.report.Failed = nil, 0
	if f.kept == f.tail.at {
		return nil
	}
	f.kept = f.tail.at
	if f.state == "" {
		return nil
	}
	return f.kept.keep(f.state)
}

// again goes back to what was kept, since not all behind it is stored, and waits
// until NATS is there.
func (f *follower) again(ctx context.Context, lost error) error {
	f.lost, f.report.Failed = lost, f.batch.Sent
	f.batch = sendReport{}
	for f.pause(ctx); ctx.Err() == nil && !f.conn.Status().Connected; f.pause(ctx) {
	}
	return f.tail.rewindTo(f.kept)
}

func (f *follower) refuse(err error) {
	f.batch.Refused++
	f.refused = err
}

// tellRefusals warns of lines that are no events, once a minute.
func (f *follower) tellRefusals() {
	if f.refused != nil && f.warn("lines are no events, and are left out: "+strconv.FormatUint(f.report.Refused, 10)+" so far", f.refused) {
		f.refused = nil
	}
}

// warn tells of something that may go on for long, once a minute.
func (f *follower) warn(what string, err error) bool {
	kind, _, _ := strings.Cut(what, ":")
	if now := time.Now(); now.Sub(f.told[kind]) >= toldEvery {
		f.told[kind] = now
		f.log.Warn().Err(err).Msg(what)
		return true
	}
	return false
}

func (f *follower) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(followEvery):
	}
}
