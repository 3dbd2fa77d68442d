package fakes

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// A Mail is what an SMTP server took.
type Mail struct {
	From   string   // of the envelope
	To     []string // of the envelope
	Header mail.Header
	Parts  map[string]string // by content type, decoded
	TLS    bool              // came encrypted
	User   string            // who was logged in
}

// SMTP is a mail server (RFC 5321) with STARTTLS, AUTH PLAIN and AUTH LOGIN. Set
// its fields before Serve.
type SMTP struct {
	TLS            *tls.Config // nil: offers no STARTTLS
	Direct         bool        // TLS from the first byte
	User, Password string      // who may log in; "" asks nobody to
	Auth           string      // mechanisms offered; "" is PLAIN LOGIN

	mu     sync.Mutex
	mails  []Mail                // guarded by mu
	script map[string][]string   // replies by verb; guarded by mu
	conns  map[net.Conn]struct{} // guarded by mu
	serves sync.WaitGroup
}

// Mails returns what was taken, oldest first.
func (s *SMTP) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// ReplyNext scripts the reply to the next command with a verb, CONNECT for the
// greeting and "." for the end of the text: such as "451 try later". An empty one hangs up without a reply, behind
// what the command did.
func (s *SMTP) ReplyNext(verb, reply string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script == nil {
		s.script = map[string][]string{}
	}
	s.script[verb] = append(s.script[verb], reply)
}

// Serve answers connections until l is closed, and then closes them.
func (s *SMTP) Serve(l net.Listener) error {
	defer s.serves.Wait()
	defer s.hangUp()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		if s.conns == nil {
			s.conns = map[net.Conn]struct{}{}
		}
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.serves.Go(func() {
			defer s.forget(conn)
			s.serve(conn)
		})
	}
}

func (s *SMTP) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *SMTP) forget(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// A dialogue is one connection.
type dialogue struct {
	*SMTP
	conn   net.Conn
	in     *bufio.Reader
	secure bool
	user   string
	from   string
	to     []string
}

func (s *SMTP) serve(conn net.Conn) {
	d := &dialogue{SMTP: s, conn: conn}
	if s.Direct {
		d.conn, d.secure = tls.Server(conn, s.TLS), true
	}
	d.in = bufio.NewReader(d.conn)
	if goOn, refused := d.refused("CONNECT"); refused && !goOn {
		return
	} else if !refused {
		d.say("220 fake ESMTP")
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil || len(line) > maxBody {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !d.command(strings.ToUpper(verb), rest) {
			return
		}
	}
}

func (d *dialogue) say(reply string) bool {
	_, err := io.WriteString(d.conn, reply+"\r\n")
	return err == nil
}

func (s *SMTP) scripted(verb string) (reply string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.script[verb]) == 0 {
		return "", false
	}
	reply = s.script[verb][0]
	s.script[verb] = s.script[verb][1:]
	return reply, true
}

// refused says a scripted refusal.
func (d *dialogue) refused(verb string) (goOn, refused bool) {
	scripted, ok := d.scripted(verb)
	return ok && scripted != "" && d.say(scripted), ok
}

// command answers one command and reports whether the connection goes on.
func (d *dialogue) command(verb, rest string) bool {
	if goOn, refused := d.refused(verb); refused {
		return goOn
	}
	switch verb {
	case "EHLO":
		return d.say(strings.Join(append(d.extensions(), "250 SIZE 1048576"), "\r\n"))
	case "HELO", "NOOP", "RSET":
		return d.say("250 ok")
	case "STARTTLS":
		return d.startTLS()
	case "AUTH":
		return d.auth(rest)
	case "MAIL":
		if d.User != "" && d.user == "" {
			return d.say("530 5.7.0 login first")
		}
		d.from, d.to = address(rest), nil
		return d.say("250 ok")
	case "RCPT":
		d.to = append(d.to, address(rest))
		return d.say("250 ok")
	case "DATA":
		return d.data()
	case "QUIT":
		d.say("221 bye")
		return false
	}
	return d.say("502 unknown command")
}

func (d *dialogue) extensions() []string {
	out := []string{"250-fake"}
	if d.TLS != nil && !d.secure {
		out = append(out, "250-STARTTLS")
	}
	if d.User != "" {
		how := d.Auth
		if how == "" {
			how = "PLAIN LOGIN"
		}
		out = append(out, "250-AUTH "+how)
	}
	return out
}

func (d *dialogue) startTLS() bool {
	if d.TLS == nil || d.secure || !d.say("220 go on") {
		return false
	}
	d.conn, d.secure = tls.Server(d.conn, d.TLS), true
	d.in = bufio.NewReader(d.conn)
	return true
}

func (d *dialogue) auth(rest string) bool {
	how, initial, _ := strings.Cut(rest, " ")
	var user, password string
	switch strings.ToUpper(how) {
	case "PLAIN":
		fields := strings.Split(decode64(initial), "\x00")
		if len(fields) == 3 {
			user, password = fields[1], fields[2]
		}
	case "LOGIN":
		user, password = d.ask("Username:"), d.ask("Password:")
	}
	if user != d.User || password != d.Password {
		return d.say("535 5.7.8 wrong: " + initial) // the worst a server can say
	}
	d.user = user
	return d.say("235 ok")
}

func (d *dialogue) ask(question string) string {
	d.say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
	line, _ := d.in.ReadString('\n') // the end of the connection shows in the next read
	return decode64(strings.TrimSpace(line))
}

func decode64(text string) string {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(b)
}

func (d *dialogue) data() bool {
	if len(d.to) == 0 || !d.say("354 go on") {
		return d.say("503 no recipient")
	}
	raw, err := io.ReadAll(io.LimitReader(textproto.NewReader(d.in).DotReader(), maxBody))
	if err != nil {
		return false
	}
	if reply, ok := d.scripted("."); ok {
		if reply == "" && d.keep(raw) != nil {
			return false
		}
		return reply != "" && d.say(reply)
	}
	if err := d.keep(raw); err != nil {
		return d.say("554 " + err.Error())
	}
	return d.say("250 taken")
}

func (d *dialogue) keep(raw []byte) error {
	m := Mail{From: d.from, To: slices.Clone(d.to), TLS: d.secure, User: d.user, Parts: map[string]string{}}
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	m.Header = msg.Header
	if err := m.read(msg.Body, msg.Header.Get("Content-Type"), ""); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.mails) == maxCalls {
		d.mails = slices.Delete(d.mails, 0, maxCalls/10)
	}
	d.mails = append(d.mails, m)
	return nil
}

// read takes a body, or a part of one, apart.
func (m *Mail) read(body io.Reader, contentType, encoding string) error {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(kind, "multipart/") {
		if encoding == "base64" {
			body = base64.NewDecoder(base64.StdEncoding, body)
		}
		text, err := io.ReadAll(body)
		if strings.HasPrefix(kind, "text/") {
			text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		}
		m.Parts[kind] = string(text)
		return err
	}
	if kind != "multipart/alternative" && kind != "multipart/related" {
		return fmt.Errorf("content type %q", kind)
	}
	for parts := multipart.NewReader(body, params["boundary"]); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.read(part, part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding")); err != nil {
			return err
		}
	}
}

// address is what stands in angle brackets.
func address(text string) string {
	_, text, _ = strings.Cut(text, "<")
	text, _, _ = strings.Cut(text, ">")
	return text
}
