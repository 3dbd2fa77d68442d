package stream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"driftd.dev/driftd/pkg/stream"
)

// least are the permissions that docs/access.md asks an operator for (and its own inbox):
// nothing with which driftd could change or delete the input stream.
var least = []string{
	"$JS.API.STREAM.INFO.ML",
	"$JS.API.CONSUMER.CREATE.ML.>", "$JS.API.CONSUMER.DELETE.ML.>", "$JS.API.CONSUMER.INFO.ML.>",
	"$JS.API.CONSUMER.MSG.NEXT.ML.*", "$JS.API.STREAM.MSG.GET.ML", "$JS.API.DIRECT.GET.ML",
	"$JS.API.STREAM.INFO.DRIFTD", "driftd.>", "ml.driftd.tick",
}

// serve starts a server with options that Embedded does not offer and returns its
// address.
func serve(t *testing.T, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.JetStream, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir(), true, true
	s, err := server.NewServer(o)
	must(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(deadline) {
		t.Fatal("server not ready")
	}
	return s.Addr().String()
}

// guarded starts a server on which user "driftd" may publish allowed only.
func guarded(t *testing.T, allowed []string) (admin, driftd *stream.Conn) {
	t.Helper()
	at := "@" + serve(t, &server.Options{
		Users: []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "driftd", Password: "d", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: allowed},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_driftd.>"}},
			}},
		},
	})
	return connect(t, stream.Options{URL: "nats://admin:a" + at, MustConnect: true}),
		connect(t, stream.Options{URL: "nats://driftd:d" + at, InboxPrefix: "_INBOX_driftd", MustConnect: true})
}

// TestLeastPermissions: reading filtered and unfiltered, checks, signals and dead
// letters work with what the docs ask for.
func TestLeastPermissions(t *testing.T) {
	admin, c := guarded(t, least)
	input(t, admin, nil)
	publish(t, admin, 1, 300, mixed)
	for _, subjects := range [][]string{nil, {"ml.predictions.fraud.1"}, {"ml.predictions.fraud.1", "ml.kpis.>"}} {
		r := read(t, c, stream.Anchor{}, stream.ReaderOptions{Subjects: subjects})
		eventually(t, "the end of the stream", func() bool { return r.reader.Status().Received == 300 })
		r.end()
	}
	_, err := stream.EnsureStream(testContext(t), admin.JetStream(), stream.SignalStream())
	must(t, err)
	p, err := stream.NewPublisher(c, stream.DefaultPublisherOptions())
	must(t, err)
	defer p.Close()
	_, err = p.Signal(testContext(t), stream.Signal{Subject: "driftd.alerts.fraud", ID: "1"})
	must(t, err)
	_, err = p.Signal(testContext(t), stream.Signal{Subject: "driftd.triggers.retrain.fraud", ID: "2"})
	must(t, err)
	for _, subject := range []string{"ml.driftd.tick", "driftd.windows.fraud", "driftd.audit.checkpoint"} {
		_, err = p.Signal(testContext(t), stream.Signal{Subject: subject, ID: subject})
		must(t, err)
	}
	p.DeadLetter(time.Unix(0, 0), stream.DeadLetter{Reason: "decode", Stream: "ML", Seq: 1})
	must(t, p.Flush(testContext(t)))
	_, err = stream.EnsureStream(testContext(t), c.JetStream(), stream.SignalStream()) // that it is there is enough
	must(t, err)
	if got := c.Status().PermissionErrors; got != 0 {
		t.Errorf("%d permission errors: %s", got, c.Status().LastError)
	}
}

// TestPermissionErrors: a refusal is counted and the reader says why it waits.
func TestPermissionErrors(t *testing.T) {
	_, c := guarded(t, []string{"driftd.>"})
	r := read(t, c, stream.Anchor{}, stream.ReaderOptions{RequestTimeout: 50 * time.Millisecond})
	eventually(t, "counted refusals", func() bool { return c.Status().PermissionErrors > 0 && r.reader.Status().Reason != "" })
	if st := r.reader.Status(); st.Ready {
		t.Errorf("ready without permission: %+v", st)
	}
	r.end()
}

// TestIntakeIsNotAllowed: what the permissions refuse is refused at once and by name,
// not when patience ends; other subjects go on.
func TestIntakeIsNotAllowed(t *testing.T) {
	admin, c := guarded(t, append([]string{"ml.outcomes.>"}, least...))
	input(t, admin, nil)
	in, err := stream.NewIntake(c, stream.IntakeOptions{AckWait: deadline})
	must(t, err)
	defer in.Close()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for i, model := range []string{"a", "b", "a"} { // the second time it is not remembered, but refused again
		if _, err := in.Publish(ctx, []stream.OutgoingEvent{{Subject: "ml.predictions." + model, Kind: "prediction", ID: fmt.Sprint(i)}}); !errors.Is(err, stream.ErrNotAllowed) {
			t.Errorf("%s: %v", model, err)
		}
	}
	if _, err := in.Publish(ctx, []stream.OutgoingEvent{{Subject: "ml.outcomes.a", Kind: "outcome", ID: "o"}}); err != nil {
		t.Error(err)
	}
}
