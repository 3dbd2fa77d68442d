package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// TestAFleetIn30Lines: 200 models of 50 features are described by 30 lines of
// defaults and globs, and each gets its owner, its segments and its rules. With
// discovery models that no glob names are followed too, without it they are refused
// as unknown, event by event.
func TestAFleetIn30Lines(t *testing.T) {
	text, err := os.ReadFile("testdata/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 30 {
		t.Fatalf("%d lines, want at most 30", n)
	}
	for _, discover := range []bool{false, true} {
		t.Run(fmt.Sprintf("discover %v", discover), func(t *testing.T) {
			noLeaks(t)
			c, err := config.Parse("fleet.yaml", text, config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.Discover, c.Store.Dir = discover, t.TempDir()
			i, err := daemon.Start(t.Context(), c, daemon.Extras{Version: "test", Log: zerolog.Nop()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- i.Run(ctx) }()
			t.Cleanup(func() {
				cancel()
				if err := errors.Join(<-ended, i.Close()); err != nil {
					t.Error(err)
				}
			})
			known, stray := publishFleet(t, i)
			total := known + stray
			waitFor(t, "every event", func() bool { return i.Snapshot().Account.Decoded == total })
			waitFor(t, "the rule on fraud of 40 models", func() bool {
				firing := 0
				for _, a := range i.Snapshot().Alerts {
					if a.Rule == "FraudTraffic" && a.Active() {
						firing++
					}
				}
				return firing == 40
			})
			checkFleet(t, i, discover, known, stray)
		})
	}
}

// teams have 40 models each.
var teams = []string{"fraud", "churn", "price", "rank", "text"}

// publishFleet sends two events of every model of every team, ten minutes apart,
// and some of models that nobody has listed.
func publishFleet(t *testing.T, i *daemon.Instance) (known, stray uint64) {
	t.Helper()
	p, err := stream.NewEventPublisher(i.Conn, stream.EventPublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now().Add(-time.Hour).Truncate(5 * time.Minute)
	var features strings.Builder
	for n := range 48 {
		fmt.Fprintf(&features, `"f%d":%d,`, n, n)
	}
	send := func(model string, at time.Time) {
		id := fmt.Sprint(model, at.Unix())
		body := fmt.Sprintf(`{"id":%q,"time":%q,"model":%q,"model_version":"1","segments":{"channel":"app","country":"DE"},"features":{%s"code":7,"user":"u"}}`,
			id, at.Format(time.RFC3339), model, features.String())
		if err := p.Publish(t.Context(), stream.OutgoingEvent{Subject: "ml.predictions." + model + ".1", Kind: "prediction", ID: id, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []time.Time{start, start.Add(10 * time.Minute)} {
		for n := range 200 {
			send(fmt.Sprintf("%s-%d", teams[n%5], n/5), at)
			known++
		}
		for n := range 7 {
			send(fmt.Sprint("stray", n), at)
			stray++
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return known, stray
}

func checkFleet(t *testing.T, i *daemon.Instance, discover bool, known, stray uint64) {
	t.Helper()
	s := i.Snapshot()
	counted, unknown, models := known, stray, 200
	if discover {
		counted, unknown, models = known+stray, 0, 207
	}
	if err := s.Account.Balance(s.Stream.CommittedSeq); err != nil {
		t.Error(err)
	}
	if got := s.Account.Total(drift.Counted); got != counted || s.Account.Total(drift.Unconfigured) != unknown {
		t.Errorf("%d counted and %d unconfigured, want %d and %d", got, s.Account.Total(drift.Unconfigured), counted, unknown)
	}
	if len(s.Models) != models {
		t.Fatalf("%d models, want %d", len(s.Models), models)
	}
	segments := map[string]int{"churn": 2, "rank": 0} // groups beside the whole
	owners := map[string]string{"fraud": "risk", "churn": "crm", "price": "pricing", "rank": "search"}
	for _, m := range s.Models {
		team, _, _ := strings.Cut(m.Model, "-")
		want, ok := segments[team]
		if !ok {
			want = 1
		}
		if got := len(m.Groups) - 1; got != want {
			t.Errorf("%s has %d segments, want %d", m.Model, got, want)
		}
		owner, ok := owners[team]
		if !ok {
			owner = "ml-platform"
		}
		if m.Owner != owner {
			t.Errorf("%s is of %q, want %q", m.Model, m.Owner, owner)
		}
		types := map[string]drift.SignalType{}
		for _, def := range m.Signals {
			types[def.Name] = def.Type
		}
		// 48 numbers, a code, and whether there was an error; what is dropped is never seen.
		if _, seen := types["user"]; seen || len(types) != 50 || types["code"] != drift.Categorical || types["f1"] != drift.Numeric {
			t.Errorf("%s has %d signals, the code a %v, a number a %v, the user seen: %v", m.Model, len(types), types["code"], types["f1"], seen)
		}
	}
	for _, a := range s.Alerts {
		if a.Active() && (a.Rule != "FraudTraffic" || !event.Match("fraud-*", a.Model)) {
			t.Errorf("an alert that should not be: %+v", a.Series)
		}
	}
}
