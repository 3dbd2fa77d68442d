package notify

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf16"

	"driftd.dev/driftd/pkg/ledger"
)

// Slack's limits, in characters (python-slack-sdk's models).
const (
	slackHeader  = 150
	slackSection = 3000
	slackField   = 2000
	slackFields  = 10 // in one section
)

// SlackOptions configure a Slack sink.
type SlackOptions struct {
	WebhookURL  string    // a secret: who has it can post
	ExternalURL string    // of driftd, for the link; may be empty
	Template    *Template // of its words; may be nil
	Pictures    bool      // show them: Slack gets them from ExternalURL, which must be https
	Client      *http.Client
}

// Slack posts to an incoming webhook. Slack gives no message id back, so a
// resolve is a message of its own and a repeat cannot be seen: SlackBot can do
// better.
type Slack struct {
	ep       endpoint
	external string
	template *Template
	pictures bool
}

// NewSlack returns a Slack sink, or says what is wrong with the options.
func NewSlack(o SlackOptions) (*Slack, error) {
	ep, err := newEndpoint("slack webhook_url", o.WebhookURL, "", o.Client)
	if err != nil {
		return nil, err
	}
	return &Slack{ep: ep, external: o.ExternalURL, template: o.Template, pictures: o.Pictures}, nil
}

// Send implements Sink.
func (s *Slack) Send(ctx context.Context, d ledger.Delivery) error {
	m, err := word(d, s.external, s.template)
	if err != nil {
		return err
	}
	return slackPictured(s.pictures, m, func(m Message) error {
		body, err := encode(slackPayload(m))
		if err != nil {
			return err
		}
		return s.ep.post(ctx, body, nil)
	})
}

// slackPictured posts a message with its picture. Slack gets that from driftd while
// it takes the message, and refuses the message if it cannot: then it goes without.
func slackPictured(pictures bool, m Message, post func(Message) error) error {
	if !pictures {
		m.Pictured = ""
	}
	err := post(m)
	if refused := (*Error)(nil); m.Pictured != "" && errors.As(err, &refused) && refused.Reason == ReasonRejected && refused.Permanent {
		m.Pictured = ""
		return post(m)
	}
	return err
}

// pictureAlt is what a picture shows, for who does not see it.
const pictureAlt = "the signal that moved most, in its reference and now"

// slackText is a Block Kit text object.
type slackText struct {
	Type     string `json:"type"` // "plain_text" or "mrkdwn"
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"` // mrkdwn: make no links of bare URLs
}

type slackBlock struct {
	Type     string      `json:"type"` // "header", "section", "context" or "image"
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
	ImageURL string      `json:"image_url,omitempty"`
	AltText  string      `json:"alt_text,omitempty"`
}

type slackMessage struct {
	Text        string       `json:"text"` // what a notification and a screen reader say
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

// slackPayload lays a message out: header, sentence, what it is about, the
// numbers, where to look.
func slackPayload(m Message) slackMessage {
	out := slackMessage{Text: slackEscape(m.Title+": "+m.Sentence, slackSection), Blocks: slackHead(m)}
	out.Blocks = append(append(out.Blocks, slackDetails(m)...), slackFoot(m))
	return out
}

func slackHead(m Message) []slackBlock {
	out := []slackBlock{
		{Type: "header", Text: plain(m.Title, slackHeader)},
		{Type: "section", Text: plain(m.Sentence, slackSection)},
	}
	if m.Pictured != "" {
		out = append(out, slackBlock{Type: "image", ImageURL: m.Pictured, AltText: pictureAlt})
	}
	return out
}

// slackDetails are what it is about and the numbers; nil if there are none.
func slackDetails(m Message) []slackBlock {
	var out []slackBlock
	for _, fs := range m.Tables() {
		out = append(out, slackBlock{Type: "section", Fields: slackFieldTexts(fs)})
	}
	return out
}

// slackFoot says where to look.
func slackFoot(m Message) slackBlock {
	foot := []string{m.place()}
	if !m.Window.Start.IsZero() {
		foot = append([]string{"window " + spanText(m.Window.Start, m.Window.End)}, foot...)
	}
	where := slackText{Type: "mrkdwn", Verbatim: true, Text: strings.Join(foot, " · ")}
	if m.Link != "" {
		where.Text += slackLink(Link{"open in driftd", m.Link})
	}
	for _, l := range m.Links {
		if link := slackLink(l); len(where.Text)+len(link) <= slackField {
			where.Text += link
		}
	}
	return slackBlock{Type: "context", Elements: []slackText{where}}
}

func slackLink(l Link) string {
	return " · <" + slackEscape(strings.ReplaceAll(l.URL, "|", "%7C"), slackSection) + "|" + slackEscape(l.Text, slackHeader) + ">"
}

func plain(text string, limit int) *slackText {
	return &slackText{Type: "plain_text", Text: slackEscape(text, limit)}
}

func slackFieldTexts(fs []Field) []slackText {
	texts := make([]slackText, 0, slackFields)
	for _, f := range fs[:min(len(fs), slackFields)] {
		name := slackEscape(f.Name, slackHeader)
		texts = append(texts, slackText{
			Type: "mrkdwn", Verbatim: true,
			Text: "*" + name + "*\n" + slackEscape(f.Value, slackField-2*slackHeader),
		})
	}
	return texts
}

// slackEscape makes text inert (& < > are what mentions, channels and links
// are made of) and cuts it to limit characters as Slack counts them, never
// inside an entity. Control characters become spaces; empty text, which Slack
// refuses, becomes "-".
func slackEscape(text string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range orDash(strings.TrimSpace(text)) {
		s := string(r)
		switch {
		case r == '&':
			s = "&amp;"
		case r == '<':
			s = "&lt;"
		case r == '>':
			s = "&gt;"
		case unicode.IsControl(r):
			s = " "
		}
		size := len(s)
		if len(s) == len(string(r)) {
			size = utf16.RuneLen(r)
		}
		if n += size; n > limit-1 {
			return b.String() + "…"
		}
		b.WriteString(s)
	}
	return b.String()
}
