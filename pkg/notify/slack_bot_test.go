package notify_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

// bot is a SlackBot that posts to a fake.
func bot(t *testing.T, fake http.Handler, limit *notify.Limiter) *notify.SlackBot {
	t.Helper()
	srv := httptest.NewServer(fake)
	t.Cleanup(srv.Close)
	s, err := notify.NewSlackBot(notify.SlackBotOptions{
		Token: fixed(botToken), Channel: "#ml", BaseURL: srv.URL + "/api", Limit: limit, Client: loopback(t, 10*time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tell sends a delivery with a receipt and returns the next one.
func tell(t *testing.T, s *notify.SlackBot, receipt string, d ledger.Delivery) string {
	t.Helper()
	d.Receipt = receipt
	next, err := s.SendThread(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// An alert is one message: changed in place when it resolves, with the details
// of both moments in its thread.
func TestSlackBotChangesItsMessage(t *testing.T) {
	fake := fakes.NewSlack()
	s := bot(t, fake, nil)
	fire := delivery(t, ledger.KindAlert, fired())
	receipt := tell(t, s, "", fire)
	resolve := delivery(t, ledger.KindAlert, resolved())
	resolve.Seq++
	if end := tell(t, s, receipt, resolve); end != "" {
		t.Errorf("receipt %q after the end, want none", end)
	}
	got := fake.Messages()
	if len(got) != 3 || got[0].Header != "Resolved: AmountDrift on fraud/amount" || got[0].Edits != 1 || got[0].Thread != "" || len(got[0].Fields) != 0 {
		t.Fatalf("messages %+v", got)
	}
	for i, want := range []string{"0.31", "0.01"} {
		if m := got[i+1]; m.Thread != got[0].TS || m.TS == got[0].TS || !strings.Contains(m.Text, want) || !slices.Contains(m.Fields, "*Rule*\nAmountDrift") {
			t.Errorf("reply %+v, want details with %s", m, want)
		}
	}
}

// What was muted when an incident was told changes the message and adds to its thread;
// a repetition alone is said in the channel.
func TestSlackBotTellsWhatWasMuted(t *testing.T) {
	fake := fakes.NewSlack()
	s := bot(t, fake, nil)
	d := delivery(t, ledger.KindAlert, fired())
	d.Receipt = tell(t, s, "", d)
	d.Told = true
	receipt := tell(t, s, d.Receipt, d)
	got := fake.Messages()
	if len(got) != 3 || got[0].Edits != 1 || got[2].Thread != got[0].TS {
		t.Fatalf("messages %+v: want one that was changed, with two replies", got)
	}
	d.Repeat = true
	if next := tell(t, s, receipt, d); next != receipt {
		t.Errorf("receipt %q, want %q", next, receipt)
	}
	got = fake.Messages()
	if last := got[len(got)-1]; len(got) != 4 || got[0].Edits != 1 || !strings.HasPrefix(last.Text, "Still firing: ") {
		t.Errorf("messages %+v: want a reply that says that it still fires", got)
	}
}

// A message that cannot be changed any more is posted anew.
func TestSlackBotPostsAnew(t *testing.T) {
	for _, why := range []string{"deleted", "edit_window_closed", "cant_update_message"} {
		t.Run(why, func(t *testing.T) {
			fake := fakes.NewSlack()
			s := bot(t, fake, nil)
			receipt := tell(t, s, "", delivery(t, ledger.KindAlert, fired()))
			first := fake.Messages()[0].TS
			again := delivery(t, ledger.KindAlert, fired())
			again.Seq++
			if why == "deleted" {
				fake.Delete(first)
			} else {
				fake.Refuse(1, why)
			}
			next := tell(t, s, receipt, again)
			got := fake.Messages()
			last := got[len(got)-2]
			if last.TS == first || last.Thread != "" || last.Edits != 0 || !strings.Contains(next, last.TS) {
				t.Errorf("messages %+v, receipt %s: want a new message and its receipt", got, next)
			}
		})
	}
}

// What was done is not done again: the receipt of a half delivery says what.
func TestSlackBotFinishesWhatIsMissing(t *testing.T) {
	fake := fakes.NewSlack()
	failing := 0 // which call from now on
	s := bot(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing--; failing == 0 {
			fake.Refuse(1, "internal_error")
		}
		fake.ServeHTTP(w, r)
	}), nil)
	receipt := tell(t, s, "", delivery(t, ledger.KindAlert, fired()))
	again := delivery(t, ledger.KindAlert, fired())
	again.Seq, again.Receipt = again.Seq+1, receipt
	failing = 1 // the change: nothing is new
	if kept, err := s.SendThread(t.Context(), again); err == nil || kept != receipt {
		t.Errorf("receipt %q, %v; want %q and an error", kept, err, receipt)
	}
	before := len(fake.Messages())
	promoted := delivery(t, ledger.KindPromote, rollback())
	failing = 2 // the details: the message stands
	kept, err := s.SendThread(t.Context(), promoted)
	if err == nil || kept == "" {
		t.Fatalf("receipt %q, %v; want one and an error", kept, err)
	}
	if end := tell(t, s, kept, promoted); end != "" {
		t.Errorf("receipt %q of what only happened, want none", end)
	}
	got := fake.Messages()[before:]
	if len(got) != 2 || got[0].Thread != "" || got[1].Thread != got[0].TS {
		t.Errorf("posted %+v, want one message with details", got)
	}
}

// The error table: what Slack says with status 200.
func TestSlackBotErrors(t *testing.T) {
	for code, want := range map[string]verdict{
		"ratelimited":     {notify.ReasonRateLimited, false, 0},
		"rate_limited":    {notify.ReasonRateLimited, false, 0},
		"fatal_error":     {notify.ReasonServer, false, 0},
		"internal_error":  {notify.ReasonServer, false, 0},
		"request_timeout": {notify.ReasonServer, false, 0},

		"channel_not_found": {notify.ReasonRejected, true, 0}, "not_in_channel": {notify.ReasonRejected, true, 0},
		"is_archived": {notify.ReasonRejected, true, 0}, "msg_too_long": {notify.ReasonRejected, true, 0},
		"no_text": {notify.ReasonRejected, true, 0}, "invalid_auth": {notify.ReasonRejected, true, 0},
		"not_authed": {notify.ReasonRejected, true, 0}, "account_inactive": {notify.ReasonRejected, true, 0},
		"token_revoked": {notify.ReasonRejected, true, 0}, "invalid_blocks": {notify.ReasonRejected, true, 0},
		"too_many_attachments": {notify.ReasonRejected, true, 0}, "one_that_is_new": {notify.ReasonRejected, true, 0},
	} {
		fake := fakes.NewSlack()
		fake.Refuse(1, code)
		err := bot(t, fake, nil).Send(t.Context(), delivery(t, ledger.KindAlert, fired()))
		if got := verdictOf(t, err); got != want || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %+v (%v), want %+v", code, got, err, want)
		}
	}
}

// A token that cannot be read is a failure that passes; a wrong one shows in no
// error.
func TestSlackBotToken(t *testing.T) {
	token, broken := "xoxp-another-secret", error(nil)
	fake := fakes.NewSlack()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	s, err := notify.NewSlackBot(notify.SlackBotOptions{
		Token: func() (string, error) { return token, broken }, Channel: "#ml", BaseURL: srv.URL + "/api", Client: loopback(t, 10*time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	d := delivery(t, ledger.KindAlert, fired())
	if got := verdictOf(t, s.Send(t.Context(), d)); got != (verdict{notify.ReasonRejected, true, 0}) {
		t.Errorf("wrong token: %+v", got)
	}
	broken = errors.New("read secret: no such file")
	if got := verdictOf(t, s.Send(t.Context(), d)); got != (verdict{notify.ReasonSecret, false, 0}) {
		t.Errorf("no token: %+v", got)
	}
	token, broken = botToken, nil // rotated
	if err := s.Send(t.Context(), d); err != nil {
		t.Error(err)
	}
}

// A second call of one delivery keeps to the limit of the channel too.
func TestSlackBotKeepsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		fake := fakes.NewSlack()
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Now())
			w := httptest.NewRecorder()
			fake.ServeHTTP(w, r)
			return w.Result(), nil
		})}
		limit := notify.SlackLimit()
		s, err := notify.NewSlackBot(notify.SlackBotOptions{Token: fixed(botToken), Channel: "#ml", Limit: limit, Client: client})
		if err != nil {
			t.Fatal(err)
		}
		out := &outbox{}
		for seq := range uint64(5) {
			d := delivery(t, ledger.KindAlert, fired())
			d.Seq, d.Order = seq+1, string(rune('a'+seq))
			out.put(d)
		}
		start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s, Limit: limit, Latest: true})
		elapse(time.Minute)
		if len(at) != 10 {
			t.Fatalf("%d calls, want 10: five messages, each with details", len(at))
		}
		for i := range at[1:] {
			if at[i+1].Sub(at[i]) < time.Second {
				t.Errorf("calls %v apart, want a second", at[i+1].Sub(at[i]))
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
