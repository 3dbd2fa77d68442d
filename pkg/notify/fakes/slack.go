package fakes

import (
	"bytes"
	"encoding/json"
	"html"
	"html/template"
	"net/http"
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
}

// Slack is an incoming webhook: POST /services/..., and GET / shows the
// channel as a page.
type Slack struct {
	recorder
	messages   []SlackMessage  // guarded by mu
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

// ServeHTTP implements http.Handler.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.page(w)
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
}

func (s *Slack) post(body []byte) (int, string) {
	var m struct {
		Text   string
		Blocks []slackBlock
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return http.StatusBadRequest, "invalid_payload"
	}
	if m.Text == "" && len(m.Blocks) == 0 {
		return http.StatusBadRequest, "no_text"
	}
	shown := SlackMessage{Text: html.UnescapeString(m.Text)}
	if len(m.Blocks) > 50 {
		return http.StatusBadRequest, "invalid_blocks"
	}
	for _, b := range m.Blocks {
		if !b.valid() {
			return http.StatusBadRequest, "invalid_blocks"
		}
		b.show(&shown)
	}
	if s.seen[string(body)] {
		s.duplicates++
	}
	s.seen[string(body)] = true
	if len(s.messages) == maxCalls {
		s.messages = slices.Delete(s.messages, 0, maxCalls/10)
		clear(s.seen)
	}
	s.messages = append(s.messages, shown)
	return http.StatusOK, "ok"
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
	for _, f := range b.Fields {
		m.Fields = append(m.Fields, html.UnescapeString(f.Text))
	}
	for _, e := range b.Elements {
		m.Foot += html.UnescapeString(e.Text)
	}
}

var slackPage = template.Must(template.New("slack").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Slack (fake): {{len .}} messages</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1d1c1d}
article{border-left:4px solid #4a154b;padding:.2rem 1rem;margin:1rem 0}h2{font-size:1rem;margin:.2rem 0}
ul{columns:2;list-style:none;padding:0}li{white-space:pre-line;break-inside:avoid}small{color:#616061}</style>
<h1>#ml-alerts</h1>
{{range .}}<article><h2>{{.Header}}</h2><p>{{.Body}}</p><ul>{{range .Fields}}<li>{{.}}</li>{{end}}</ul><small>{{.Foot}}</small></article>
{{else}}<p>Nothing was posted yet.</p>{{end}}</html>
`))

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
