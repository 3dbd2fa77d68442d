package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
	"driftd.dev/driftd/pkg/summary"
)

// nats looks at the server, the streams, what driftd may do there, and its clock.
func (d *doctor) nats(ctx context.Context) {
	if d.config.NATS.Embedded && d.api == nil {
		d.note("nats", stateSkip, "start driftd, then ask again", "JetStream runs inside the daemon (nats.embedded), which does not run")
		return
	}
	o, err := d.config.NATSOptions()
	if err != nil {
		d.note("nats", stateFail, "correct nats.context: nats context ls names them", "%v", err)
		return
	}
	o.MustConnect, o.Name, o.Timeout = true, "driftd-doctor", min(d.timeout, 3*time.Second)
	conn, err := stream.Connect(o)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		d.note("nats", stateFail, "give credentials: nats.creds_file, nats.nkey_file or nats.context", "%s: %v", config.Address(o.URL), cause(err))
		return
	case err != nil:
		d.note("nats", stateFail, "start nats-server with JetStream (nats-server -js), correct nats.url, or set nats.embedded: true", "%s: %v", config.Address(o.URL), cause(err))
		return
	}
	defer conn.Close()
	d.note("nats", stateOK, "", "connected to %s, version %s, round trip %s", conn.Status().URL, conn.NATS().ConnectedServerVersion(), roundTrip(conn))
	info, asked, took := d.input(ctx, conn)
	if info == nil {
		return
	}
	d.streamLimits(info)
	d.clock(info.TimeStamp, asked, took)
	d.reading(ctx, conn)
	d.writing(ctx, conn, "signals", stream.SignalStream().Name, "driftd.doctor", stateFail)
	if d.config.PublishesWindows() {
		d.windows(ctx, conn)
	}
	if d.config.Publish.Checkpoint > 0 {
		d.writing(ctx, conn, "audit", stream.SignalStream().Name, daemon.CheckpointSubject, stateWarn)
	}
	if tick := d.config.TickSubject(); tick != "" {
		d.writing(ctx, conn, "ticks", d.config.NATS.Stream, tick, stateWarn)
	}
	if template, err := event.NewSubjectTemplate(d.config.NATS.SubjectTemplate); err == nil && d.config.HTTP.Ingest {
		e := event.Event{Kind: event.Prediction, Model: "driftd", Version: "doctor"}
		d.writing(ctx, conn, "ingest", d.config.NATS.Stream, template.Subject(&e), stateWarn)
	}
}

// cause drops the address, which may hold credentials, from an error of Connect.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

func roundTrip(conn *stream.Conn) string {
	rtt, err := conn.NATS().RTT()
	if err != nil {
		return "unknown"
	}
	return rtt.Round(10 * time.Microsecond).String()
}

// input asks for the input stream; nil when it cannot be read. It also returns
// when it was asked and how long the answer took.
func (d *doctor) input(ctx context.Context, conn *stream.Conn) (info *jetstream.StreamInfo, asked time.Time, took time.Duration) {
	name, subjects := d.config.NATS.Stream, d.config.NATS.Subjects
	add := fmt.Sprintf("nats stream add %s --subjects '%s' --storage file --retention limits --discard old --max-age 7d --defaults", name, strings.Join(subjects, ","))
	ctx, cancel := d.patience(ctx)
	defer cancel()
	asked = time.Now()
	s, err := conn.JetStream().Stream(ctx, name)
	took = time.Since(asked)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		d.note("stream", stateFail, add, "there is no stream %s", name)
		return nil, asked, took
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		d.note("stream", stateFail, "start nats-server with -js, and enable JetStream for the account", "the server has no JetStream: %v", err)
		return nil, asked, took
	case err != nil:
		d.note("stream", stateFail, "allow to publish $JS.API.STREAM.INFO."+name+" and to subscribe _INBOX.>", "%s cannot be asked for: %s", name, refusedBy(conn, err))
		return nil, asked, took
	}
	return s.CachedInfo(), asked, took
}

// refusedBy prefers what the server said of permissions to the timeout that
// follows.
func refusedBy(conn *stream.Conn, err error) string {
	if s := conn.Status(); s.PermissionErrors > 0 {
		return s.LastError
	}
	return err.Error()
}

// streamLimits judges how the input stream is set up.
func (d *doctor) streamLimits(info *jetstream.StreamInfo) {
	c, st := info.Config, info.State
	if c.Retention != jetstream.LimitsPolicy && d.config.NATS.Durable == "" {
		d.note("stream", stateFail, "set nats.durable: driftd, or recreate it with --retention limits", "%s forgets messages when they are acknowledged (%s retention)", c.Name, c.Retention)
		return
	}
	if missing := uncovered(c, d.config.NATS.Subjects); len(missing) > 0 {
		d.note("stream", stateFail, "nats stream edit "+c.Name+" --subjects, or correct nats.subjects", "%s holds %s, and not %s", c.Name, strings.Join(c.Subjects, ", "), strings.Join(missing, ", "))
		return
	}
	found := fmt.Sprintf("%s: %d messages, %s, %s to %s", c.Name, st.Msgs, size(st.Bytes), limit(c.MaxAge > 0, c.MaxAge), limit(c.MaxBytes > 0, size(uint64(max(c.MaxBytes, 0)))))
	span := st.LastTime.Sub(st.FirstTime)
	switch {
	case c.Storage == jetstream.MemoryStorage:
		d.note("stream", stateWarn, "recreate it with --storage file", "%s; in memory: a restart of the server loses what is not counted yet", found)
	case c.MaxMsgSize > 0 && int(c.MaxMsgSize) < int(d.config.Limits.EventBytes):
		d.note("stream", stateWarn, fmt.Sprintf("nats stream edit %s --max-msg-size %d", c.Name, int64(d.config.Limits.EventBytes)), "%s; it refuses messages above %s, limits.event_bytes allows %s", found, size(uint64(c.MaxMsgSize)), d.config.Limits.EventBytes)
	case c.Discard == jetstream.DiscardNew && (c.MaxBytes > 0 || c.MaxMsgs > 0):
		d.note("stream", stateWarn, "nats stream edit "+c.Name+" --discard old", "%s; full it refuses new events (discard new)", found)
	case c.MaxAge <= 0 && c.MaxBytes <= 0 && c.MaxMsgs <= 0:
		d.note("stream", stateWarn, "nats stream edit "+c.Name+" --max-age 7d --max-bytes ...; driftd doctor --plan tells how many", "%s; nothing bounds it but the server's disk", found)
	case c.MaxBytes > 0 && st.Bytes > uint64(float64(c.MaxBytes)*crowded) && span < 24*time.Hour:
		d.note("stream", stateWarn, "nats stream edit "+c.Name+" --max-bytes ...: it is the outage of driftd that loses nothing", "%s; it holds only the last %s", found, span.Round(time.Second))
	default:
		d.note("stream", stateOK, "", "%s", found)
	}
}

func limit(bounded bool, value any) string {
	if !bounded {
		return "unlimited"
	}
	return fmt.Sprint(value)
}

// uncovered returns the subjects wanted that a stream cannot hold at all.
func uncovered(c jetstream.StreamConfig, wanted []string) (missing []string) {
	if c.Mirror != nil || len(c.Sources) > 0 {
		return nil
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(c.Subjects, func(have string) bool { return overlap(strings.Split(have, "."), strings.Split(w, ".")) }) {
			missing = append(missing, w)
		}
	}
	return missing
}

// overlap tells whether some subject fits both filters, by token.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] == ">" || b[i] == ">" {
			return true
		}
		if a[i] != b[i] && a[i] != "*" && b[i] != "*" {
			return false
		}
	}
	return len(a) == len(b)
}

// clock compares the server's clock with ours, as exactly as the round trip
// allows: watermarks follow the server's, publishers are judged by it.
func (d *doctor) clock(server, asked time.Time, took time.Duration) {
	if server.IsZero() {
		d.note("clock", stateSkip, "", "the server does not tell its time")
		return
	}
	state, text := judgeClock(server.Sub(asked.Add(took/2)), took, d.config.Windows.MaxFutureSkew.Std())
	fix := ""
	if state != stateOK {
		fix = "run NTP (chrony, systemd-timesyncd) on both: events ahead of the server's clock by windows.max_future_skew are refused"
	}
	d.note("clock", state, fix, "%s", text)
}

// judgeClock says what a skew means. Less than a second, or than the round trip,
// is none.
func judgeClock(skew, took, tolerated time.Duration) (state, found string) {
	side := "behind"
	if skew < 0 {
		skew, side = -skew, "ahead of"
	}
	switch {
	case skew <= max(took, time.Second):
		return stateOK, fmt.Sprintf("within %s of the server's", max(took, time.Second).Round(time.Millisecond))
	case skew < tolerated:
		state = stateWarn
	default:
		state = stateFail
	}
	return state, fmt.Sprintf("%s %s the server's", skew.Round(100*time.Millisecond), side)
}

// reading makes the kind of consumer that the daemon reads with, and removes it.
func (d *doctor) reading(ctx context.Context, conn *stream.Conn) {
	name := d.config.NATS.Stream
	ctx, cancel := d.patience(ctx)
	defer cancel()
	c, err := conn.JetStream().CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: 5 * time.Second, FilterSubjects: d.config.NATS.Subjects,
	})
	if err == nil {
		err = conn.JetStream().DeleteConsumer(ctx, name, c.CachedInfo().Name)
	}
	if err != nil {
		d.note("permissions", stateFail, fmt.Sprintf("allow to publish $JS.API.CONSUMER.CREATE.%[1]s.>, $JS.API.CONSUMER.DELETE.%[1]s.>, $JS.API.CONSUMER.INFO.%[1]s.>, $JS.API.CONSUMER.MSG.NEXT.%[1]s.*", name),
			"%s cannot be read: %s", name, refusedBy(conn, err))
		return
	}
	d.note("permissions", stateOK, "", "%s can be read", name)
}

// otherStream is the server's error for a message that expects another stream.
const otherStream jetstream.ErrorCode = 10060

// writing tries to publish with a message that the server must refuse: it says
// that it is for another stream.
func (d *doctor) writing(ctx context.Context, conn *stream.Conn, check, name, subject, state string) {
	ctx, cancel := d.patience(ctx)
	defer cancel()
	allowed := subject
	if prefix, ok := strings.CutSuffix(subject, "doctor"); ok {
		allowed = prefix + ">"
	}
	_, err := conn.JetStream().Publish(ctx, subject, nil, jetstream.WithExpectStream("driftd-doctor-stores-nothing"), jetstream.WithRetryAttempts(0))
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == otherStream:
		d.note(check, stateOK, "", "%s takes %s", name, subject)
	case errors.Is(err, jetstream.ErrNoStreamResponse) && name == stream.SignalStream().Name:
		d.note(check, stateWarn, "driftd serve makes it; without permission to, nats stream add DRIFTD --subjects 'driftd.>' --storage file --retention limits --max-age 30d --defaults",
			"no stream takes %s: decisions stay owed until there is one", subject)
	case check == "ingest":
		d.note(check, state, "allow to publish what nats.subject_template makes, such as ml.predictions.>, or set http.ingest: false",
			"events over HTTP cannot be stored: %s cannot be published: %s", subject, refusedBy(conn, err))
	default:
		d.note(check, state, "allow to publish "+allowed, "%s cannot be published: %s", subject, refusedBy(conn, err))
	}
}

// windows looks whether closed windows can be published, and whether somebody deletes
// them again.
func (d *doctor) windows(ctx context.Context, conn *stream.Conn) {
	name := stream.SignalStream().Name
	if most := conn.NATS().MaxPayload(); most < summary.MaxBytes {
		d.note("windows", stateWarn, "raise max_payload of the server", "it takes messages up to %s, and a closed window may have %s", size(uint64(most)), size(summary.MaxBytes))
		return
	}
	asking, cancel := d.patience(ctx)
	defer cancel()
	s, err := conn.JetStream().Stream(asking, name)
	if err != nil { // then it is not there, or may not be asked for: what counts is whether it takes one
		d.writing(ctx, conn, "windows", name, windowsSubject, stateFail)
		return
	}
	switch c := s.CachedInfo().Config; {
	case c.MaxMsgSize > 0 && c.MaxMsgSize < summary.MaxBytes:
		d.note("windows", stateWarn, fmt.Sprintf("nats stream edit %s --max-msg-size %d", name, int(summary.MaxBytes)), "%s takes messages up to %s, and a closed window may have %s", name, size(uint64(c.MaxMsgSize)), size(summary.MaxBytes))
	case c.MaxAge <= 0 && c.MaxBytes <= 0 && c.MaxMsgs <= 0 && c.MaxMsgsPerSubject <= 0:
		d.note("windows", stateWarn, "nats stream edit "+name+" --max-age 30d", "nothing bounds %s but the server's disk, and closed windows fill it", name)
	default:
		d.writing(ctx, conn, "windows", name, windowsSubject, stateFail)
	}
}

// windowsSubject stands for that of any model.
const windowsSubject = "driftd.windows.doctor"
