package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// SlackBotOptions configure a SlackBot.
type SlackBotOptions struct {
	Token       func() (string, error) // of the bot, with the scope chat:write; asked for each delivery
	Channel     string                 // id or name; the bot must be in it
	BaseURL     string                 // "" is https://slack.com/api
	ExternalURL string                 // of driftd, for the link; may be empty
	Template    *Template              // of its words; may be nil
	Pictures    bool                   // see SlackOptions
	Limit       *Limiter               // spaces the calls of one delivery; that of the Receiver
	Client      *http.Client
}

// SlackBot posts with chat.postMessage: one message a matter, changed in place
// by chat.update, with the details in its thread.
type SlackBot struct {
	post, update endpoint
	token        func() (string, error)
	channel      string
	external     string
	template     *Template
	pictures     bool
	limit        *Limiter
}

// NewSlackBot returns a SlackBot, or says what is wrong with the options.
func NewSlackBot(o SlackBotOptions) (*SlackBot, error) {
	if o.Token == nil || o.Channel == "" {
		return nil, errors.New("slack needs a bot token and a channel")
	}
	if o.BaseURL == "" {
		o.BaseURL = "https://slack.com/api"
	}
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	post, err := newEndpoint("slack url", o.BaseURL, "/chat.postMessage", o.Client)
	if err != nil {
		return nil, err
	}
	update, err := newEndpoint("slack url", o.BaseURL, "/chat.update", o.Client)
	if err != nil {
		return nil, err
	}
	return &SlackBot{post: post, update: update, token: o.Token, channel: o.Channel, external: o.ExternalURL, template: o.Template, pictures: o.Pictures, limit: o.Limit}, nil
}

// slackCall is the body of chat.postMessage and chat.update.
type slackCall struct {
	Channel  string `json:"channel"`
	TS       string `json:"ts,omitempty"`
	ThreadTS string `json:"thread_ts,omitempty"`
	// Broadcast shows a reply in the channel too.
	Broadcast bool `json:"reply_broadcast,omitempty"`
	slackMessage
}

// A slackReceipt is what is remembered of a message.
type slackReceipt struct {
	Channel string `json:"channel"` // its id: chat.update takes no name
	TS      string `json:"ts"`
	Shown   uint64 `json:"shown"`  // the entry that it shows
	Detail  uint64 `json:"detail"` // the last entry with details in the thread
}

func (r slackReceipt) text() string {
	b, _ := json.Marshal(r) // strings and numbers always encode
	return string(b)
}

// Send implements Sink, for who keeps no receipts.
func (s *SlackBot) Send(ctx context.Context, d ledger.Delivery) error {
	_, err := s.SendThread(ctx, d)
	return err
}

// SendThread implements Threader. It does only what is missing yet: the message,
// or its change, and then the details.
func (s *SlackBot) SendThread(ctx context.Context, d ledger.Delivery) (string, error) {
	m, err := word(d, s.external, s.template)
	if err != nil {
		return d.Receipt, err
	}
	token, err := s.token()
	if err != nil {
		return d.Receipt, &Error{Reason: ReasonSecret, Err: err}
	}
	var r slackReceipt
	if d.Receipt != "" && json.Unmarshal([]byte(d.Receipt), &r) != nil {
		r = slackReceipt{} // of another kind of receiver: the name was given anew
	}
	ask := slackAsk{token: token, limit: s.limit}
	if d.Repeat && r.TS != "" { // a message that changes in place would tell nobody
		again := slackCall{Channel: r.Channel, ThreadTS: r.TS, Broadcast: true, slackMessage: slackMessage{Text: slackEscape("Still firing: "+m.Topic, slackSection)}}
		_, err := ask.call(ctx, s.post, again)
		return d.Receipt, err
	}
	more := d.Told // of what was muted when this was told
	if r.Shown != d.Seq || more {
		err := slackPictured(s.pictures, m, func(m Message) (err error) {
			r, err = s.show(ctx, &ask, r, m)
			return err
		})
		if err != nil {
			return d.Receipt, err
		}
		r.Shown = d.Seq
	}
	if details := slackDetails(m); len(details) > 0 && (r.Detail != d.Seq || more) {
		reply := slackCall{Channel: r.Channel, ThreadTS: r.TS, slackMessage: slackMessage{Text: slackEscape(m.Sentence, slackSection), Blocks: details}}
		if _, err := ask.call(ctx, s.post, reply); err != nil {
			return r.text(), err
		}
		r.Detail = d.Seq
	}
	if m.Status != "firing" {
		return "", nil // nothing will change this message any more
	}
	return r.text(), nil
}

// show changes the message that r names, or posts a new one.
func (s *SlackBot) show(ctx context.Context, ask *slackAsk, r slackReceipt, m Message) (slackReceipt, error) {
	parent := slackCall{Channel: r.Channel, TS: r.TS, slackMessage: slackMessage{
		Text: slackEscape(m.Title+": "+m.Sentence, slackSection), Blocks: append(slackHead(m), slackFoot(m)),
	}}
	if r.TS != "" {
		_, err := ask.call(ctx, s.update, parent)
		var gone slackGone
		if !errors.As(err, &gone) {
			return r, err
		}
	}
	parent.Channel, parent.TS = s.channel, ""
	answer, err := ask.call(ctx, s.post, parent)
	return slackReceipt{Channel: answer.Channel, TS: answer.TS}, err
}

// slackAsk makes the calls of one delivery. The worker has waited for the first.
type slackAsk struct {
	token string
	limit *Limiter
	calls int
}

type slackAnswer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

func (a *slackAsk) call(ctx context.Context, ep endpoint, c slackCall) (answer slackAnswer, err error) {
	if a.calls++; a.calls > 1 && !a.limit.wait(ctx) {
		return answer, &Error{Reason: ReasonTimeout, Err: ctx.Err()}
	}
	body, err := encode(c)
	if err != nil {
		return answer, err
	}
	ep = ep.hiding(a.token)
	header, text, err := ep.ask(ctx, body, map[string]string{
		"Authorization": "Bearer " + a.token, "Content-Type": "application/json; charset=utf-8",
	})
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, &Error{Reason: ReasonServer, Err: fmt.Errorf("status 200 without Slack's JSON%s", snippet(ep.redact(string(text))))}
	}
	if !answer.OK {
		return answer, slackError(answer.Error, header, ep)
	}
	return answer, nil
}

// slackGone marks that the message to be changed cannot be: a new one takes its
// place.
type slackGone struct{ error }

// What Slack says with status 200 (slack-api-specs, web-api); all else is
// refused for good.
var (
	slackBusy    = []string{"ratelimited", "rate_limited", "message_limit_exceeded"}
	slackTrouble = []string{"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
	slackLost    = []string{"message_not_found", "cant_update_message", "edit_window_closed"}
)

// slackError classes an answer that is not ok: the error table.
func slackError(code string, header http.Header, ep endpoint) *Error {
	e := &Error{Err: fmt.Errorf("slack answers%s", snippet(ep.redact(code)))}
	switch {
	case slices.Contains(slackBusy, code):
		e.Reason, e.RetryAfter = ReasonRateLimited, retryAfter(header.Get("Retry-After"), time.Now())
	case slices.Contains(slackTrouble, code):
		e.Reason, e.RetryAfter = ReasonServer, retryAfter(header.Get("Retry-After"), time.Now())
	case slices.Contains(slackLost, code):
		e.Reason, e.Permanent, e.Err = ReasonRejected, true, slackGone{e.Err}
	default:
		e.Reason, e.Permanent = ReasonRejected, true
		if hint := slackHints[code]; hint != "" {
			e.Err = fmt.Errorf("%w: %s", e.Err, hint)
		}
	}
	return e
}

// slackHints say what to do about mistakes of a setup.
var slackHints = map[string]string{
	"not_in_channel":    "invite the bot into the channel",
	"channel_not_found": "name a channel that the bot is in, better by its id",
	"is_archived":       "the channel is archived: name another",
	"missing_scope":     "give the bot the scope chat:write",
	"invalid_auth":      "the token is wrong",
	"token_revoked":     "the token was revoked: make a new one",
	"token_expired":     "the token has expired: make a new one",
	"account_inactive":  "the bot or its workspace was removed",
}
