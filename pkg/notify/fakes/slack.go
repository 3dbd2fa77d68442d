package fakes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A SlackMessage is what a channel shows of a post.
type SlackMessage struct {
	Text   string // the fallback
	Header string
	Body   string // the sentence
	Fields []string
	Foot   string
	Image  string // its address

	// Of messages that a bot posted.
	TS     string // names the message in its channel
	Thread string // TS of the message that it answers
	Edits  int    // times that it was changed
}

// Slack is an incoming webhook, POST /services/..., and the Web API of a bot
// that is in every channel, POST /api/chat.postMessage and /api/chat.update. GET
// / shows the channel as a page.
type Slack struct {
	recorder
	messages   []SlackMessage  // guarded by mu
	posts      int             // by the bot; guarded by mu
	seen       map[string]bool // bodies; guarded by mu
	duplicates int             // guarded by mu
}

// NewSlack returns an empty channel.
func NewSlack() *Slack { return &Slack{seen: map[string]bool{}} }

// Messages returns what was posted, oldest first, with entities unescaped as a
// reader sees them.
func (s *Slack) Messages() []SlackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Duplicates counts messages that equal an earlier one byte for byte.
func (s *Slack) Duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.duplicates
}

// Delete removes the message that ts names, as a person may.
func (s *Slack) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m SlackMessage) bool { return m.TS == ts })
}

// Refuse makes the Web API answer the next n calls with an error: with status 200,
// as Slack does.
func (s *Slack) Refuse(n int, code string) {
	s.fail(n, failure{status: http.StatusOK, body: notOK(code)})
}

// ServeHTTP implements http.Handler.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.page(w)
		return
	}
	if method, ok := strings.CutPrefix(r.URL.Path, "/api/"); ok {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		s.serve(w, r, func(body []byte) (int, string) { return s.api(method, r.Header, body) })
		return
	}
	w.Header().Set("Content-Type", "text/html")
	s.serve(w, r, func(body []byte) (int, string) {
		switch {
		case r.Method != http.MethodPost:
			return http.StatusMethodNotAllowed, "method_not_allowed"
		case !strings.HasPrefix(r.URL.Path, "/services/"):
			return http.StatusNotFound, "no_service"
		}
		return s.post(body)
	})
}

type slackText struct{ Type, Text string }

type slackBlock struct {
	Type             string
	Text             *slackText
	Fields, Elements []slackText
	ImageURL         string `json:"image_url"`
	AltText          string `json:"alt_text"`
}

// api answers a call of the Web API: always with status 200.
func (s *Slack) api(method string, header http.Header, body []byte) (int, string) {
	var c struct {
		Channel  string
		TS       string
		ThreadTS string `json:"thread_ts"`
	}
	switch {
	case !strings.HasPrefix(header.Get("Authorization"), "Bearer xoxb-"):
		return http.StatusOK, notOK("not_authed")
	case json.Unmarshal(body, &c) != nil:
		return http.StatusOK, notOK("invalid_json")
	case c.Channel == "":
		return http.StatusOK, notOK("channel_not_found")
	}
	shown, fault := render(body)
	if fault != "" {
		return http.StatusOK, notOK(fault)
	}
	switch method {
	case "chat.postMessage":
		s.posts++
		shown.TS, shown.Thread = fmt.Sprintf("1700000000.%06d", s.posts), c.ThreadTS
		s.keep(body, shown)
	case "chat.update":
		i := slices.IndexFunc(s.messages, func(m SlackMessage) bool { return m.TS == c.TS && c.TS != "" })
		if i < 0 || c.Channel != slackChannel {
			return http.StatusOK, notOK("message_not_found")
		}
		shown.TS, shown.Thread, shown.Edits = c.TS, s.messages[i].Thread, s.messages[i].Edits+1
		s.messages[i] = shown
	default:
		return http.StatusOK, notOK("unknown_method")
	}
	return http.StatusOK, fmt.Sprintf(`{"ok":true,"channel":%q,"ts":%q}`, slackChannel, shown.TS)
}

// slackChannel is the id of the only channel, whatever name it was called by.
const slackChannel = "C0DEMO"

func notOK(code string) string { return fmt.Sprintf(`{"ok":false,"error":%q}`, code) }

// post answers the incoming webhook.
func (s *Slack) post(body []byte) (int, string) {
	shown, fault := render(body)
	if fault != "" {
		return http.StatusBadRequest, fault
	}
	s.keep(body, shown)
	return http.StatusOK, "ok"
}

func (s *Slack) keep(body []byte, shown SlackMessage) {
	if s.seen[string(body)] {
		s.duplicates++
	}
	s.seen[string(body)] = true
	if len(s.messages) == maxCalls {
		s.messages = slices.Delete(s.messages, 0, maxCalls/10)
		clear(s.seen)
	}
	s.messages = append(s.messages, shown)
}

// render returns what a reader sees of a message, or what is wrong with it.
func render(body []byte) (shown SlackMessage, fault string) {
	var m struct {
		Text   string
		Blocks []slackBlock
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return shown, "invalid_payload"
	}
	shown.Text = html.UnescapeString(m.Text)
	switch {
	case m.Text == "" && len(m.Blocks) == 0:
		return shown, "no_text"
	case utf8.RuneCountInString(m.Text) > 40_000:
		return shown, "msg_too_long"
	case len(m.Blocks) > 50:
		return shown, "invalid_blocks"
	}
	for _, b := range m.Blocks {
		if !b.valid() {
			return shown, "invalid_blocks"
		}
		b.show(&shown)
	}
	return shown, ""
}

// valid checks Slack's limits on the blocks that driftd uses.
func (b slackBlock) valid() bool {
	fits := func(t *slackText, limit int) bool {
		n := utf8.RuneCountInString(t.Text)
		return (t.Type == "plain_text" || t.Type == "mrkdwn") && n > 0 && n <= limit
	}
	all := func(ts []slackText, most, limit int) bool {
		return len(ts) <= most && !slices.ContainsFunc(ts, func(t slackText) bool { return !fits(&t, limit) })
	}
	switch b.Type {
	case "header":
		return b.Text != nil && b.Text.Type == "plain_text" && fits(b.Text, 150)
	case "section":
		return (b.Text != nil || len(b.Fields) > 0) && (b.Text == nil || fits(b.Text, 3000)) && all(b.Fields, 10, 2000)
	case "context":
		return len(b.Elements) > 0 && all(b.Elements, 10, 3000)
	case "image":
		return strings.HasPrefix(b.ImageURL, "https://") && len(b.ImageURL) <= 3000 && b.AltText != "" && len(b.AltText) <= 2000
	case "divider":
		return true
	}
	return false
}

func (b slackBlock) show(m *SlackMessage) {
	switch {
	case b.Type == "header":
		m.Header = html.UnescapeString(b.Text.Text)
	case b.Type == "section" && b.Text != nil:
		m.Body = html.UnescapeString(b.Text.Text)
	}
	if b.Type == "image" {
		m.Image = b.ImageURL
	}
	for _, f := range b.Fields {
		m.Fields = append(m.Fields, html.UnescapeString(f.Text))
	}
	for _, e := range b.Elements {
		m.Foot += html.UnescapeString(e.Text)
	}
}

var slackPage = template.Must(template.New("slack").Funcs(template.FuncMap{"parts": mrkdwn}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Slack (fake): {{len .}} messages</title>
<style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
article{border-left:4px solid #8d3f8f;padding:.2rem 1rem;margin:1.5rem 0}h1{font-size:1.3rem}h2{font-size:1rem;margin:.2rem 0}
ul{columns:18rem 2;list-style:none;padding:0}li{white-space:pre-line;break-inside:avoid}.reply{margin-left:2rem;border-color:#999}</style>
<h1>#ml-alerts</h1>
{{range .}}<article{{if .Thread}} class="reply"{{end}}><h2>{{.Header}}</h2><p>{{or .Body .Text}}</p><ul>{{range .Fields}}<li>{{template "parts" parts .}}</li>{{end}}</ul><small>{{template "parts" parts .Foot}}{{if .Edits}} (edited){{end}}</small></article>
{{else}}<p>Nothing was posted yet.</p>{{end}}</html>
{{define "parts"}}{{range .}}{{if .Link}}<a href="{{.Link}}">{{.Text}}</a>{{else if .Bold}}<b>{{.Text}}</b>{{else}}{{.Text}}{{end}}{{end}}{{end}}
`))

// A part of a text is plain, bold or a link.
type part struct {
	Text, Link string
	Bold       bool
}

var marked = regexp.MustCompile(`^\*([^*\n]+)\*|<(https?://[^|>]*)\|([^>]*)>`)

// mrkdwn reads what driftd writes of Slack's mark-up: a bold name in front, links.
func mrkdwn(text string) (out []part) {
	for text != "" {
		at := marked.FindStringSubmatchIndex(text)
		if at == nil {
			return append(out, part{Text: text})
		}
		m := marked.FindStringSubmatch(text)
		out = append(out, part{Text: text[:at[0]]}, part{Text: m[1] + m[3], Link: m[2], Bold: m[1] != ""})
		text = text[at[1]:]
	}
	return out
}

// page shows the channel, newest message first.
func (s *Slack) page(w http.ResponseWriter) {
	messages := s.Messages()
	slices.Reverse(messages)
	var b bytes.Buffer
	if err := slackPage.Execute(&b, messages); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the caller may have gone
}
