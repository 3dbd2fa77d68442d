package notify

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// How an Email reaches its server.
const (
	StartTLS  = "starttls" // asks for TLS after the greeting, and goes on only with it
	DirectTLS = "tls"      // TLS from the first byte, as on port 465
	NoTLS     = "none"     // in the clear; a password is sent to loopback alone
)

// EmailOptions configure an Email sink.
type EmailOptions struct {
	Server      string                 // host:port of the SMTP server
	TLS         string                 // StartTLS, DirectTLS or NoTLS; "" is StartTLS
	TLSConfig   *tls.Config            // nil: the system's roots
	From        string                 // address, with or without a name
	To          []string               // likewise
	Username    string                 // "" is no login
	Password    func() (string, error) // asked for each delivery
	ExternalURL string                 // of driftd, for the link; may be empty
	Template    *Template              // of its words; may be nil
	// AllowPrivate is ClientOptions.AllowPrivate.
	AllowPrivate []netip.Prefix
}

// Email sends mail by SMTP: plain text and HTML of the same content. Its
// Message-ID is the same on every attempt, and the mails of one Order share
// their subject and their References, so that they are one thread.
type Email struct {
	o      EmailOptions
	host   string
	hello  string
	from   *mail.Address
	to     []*mail.Address
	dialer *net.Dialer
}

// NewEmail returns an Email sink, or says what is wrong with the options.
func NewEmail(o EmailOptions) (*Email, error) {
	host, _, err := net.SplitHostPort(o.Server)
	if err != nil || host == "" {
		return nil, fmt.Errorf("email server %q is not host:port", o.Server)
	}
	if o.TLS == "" {
		o.TLS = StartTLS
	}
	if o.TLS != StartTLS && o.TLS != DirectTLS && o.TLS != NoTLS {
		return nil, fmt.Errorf("email tls %q is not %s, %s or %s", o.TLS, StartTLS, DirectTLS, NoTLS)
	}
	if o.Username != "" && o.Password == nil {
		return nil, errors.New("email has a username and no password")
	}
	e := &Email{o: o, host: host, hello: "localhost", dialer: guardedDialer(0, o.AllowPrivate)}
	if e.from, err = mail.ParseAddress(o.From); err != nil {
		return nil, fmt.Errorf("email from %q: %w", o.From, err)
	}
	if len(o.To) == 0 {
		return nil, errors.New("email has nobody to send to")
	}
	for _, to := range o.To {
		a, err := mail.ParseAddress(to)
		if err != nil {
			return nil, fmt.Errorf("email to %q: %w", to, err)
		}
		e.to = append(e.to, a)
	}
	if name, err := os.Hostname(); err == nil && name != "" && !strings.ContainsFunc(name, badHello) {
		e.hello = name
	}
	return e, nil
}

func badHello(r rune) bool { return r <= ' ' || r > '~' }

// Send implements Sink.
func (e *Email) Send(ctx context.Context, d ledger.Delivery) error {
	m, err := word(d, e.o.ExternalURL, e.o.Template)
	if err != nil {
		return err
	}
	text, err := e.compose(d, m, time.Now())
	if err != nil {
		return err
	}
	var password string
	if e.o.Username != "" {
		if password, err = e.o.Password(); err != nil {
			return &Error{Reason: ReasonSecret, Err: err}
		}
	}
	return smtpError(e.deliver(ctx, password, text), e.credentials(password))
}

// deliver has one conversation with the server.
func (e *Email) deliver(ctx context.Context, password string, text []byte) error {
	conn, err := e.dialer.DialContext(ctx, "tcp", e.o.Server)
	if err != nil {
		return err
	}
	// Whatever the server does, or does not, ends with ctx.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()
	if err := e.converse(conn, password, text); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return nil
}

func (e *Email) converse(conn net.Conn, password string, text []byte) error {
	if e.o.TLS == DirectTLS {
		conn = tls.Client(conn, e.tls())
	}
	c, err := smtp.NewClient(conn, e.host)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := c.Hello(e.hello); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	if e.o.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return errNoStartTLS
		}
		if err := c.StartTLS(e.tls()); err != nil {
			return fmt.Errorf("starttls: %w", err)
		}
	}
	if e.o.Username != "" {
		if err := c.Auth(e.auth(c, password)); err != nil {
			return fmt.Errorf("login: %w", err)
		}
	}
	return e.transact(c, text)
}

var errNoStartTLS = errors.New("the server offers no STARTTLS: set tls to none to send in the clear")

func (e *Email) tls() *tls.Config {
	c := e.o.TLSConfig.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c.ServerName = e.host
	return c
}

// auth is PLAIN, or LOGIN for servers that know nothing else.
func (e *Email) auth(c *smtp.Client, password string) smtp.Auth {
	if _, how := c.Extension("AUTH"); !strings.Contains(how, "PLAIN") && strings.Contains(how, "LOGIN") {
		return &loginAuth{username: e.o.Username, password: password}
	}
	return smtp.PlainAuth("", e.o.Username, password, e.host)
}

// transact hands over one mail. Whom the server refuses for good does not keep it
// from the others.
func (e *Email) transact(c *smtp.Client, text []byte) error {
	if err := c.Mail(e.from.Address); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	var refused []error
	for _, to := range e.to {
		err := c.Rcpt(to.Address)
		var reply *textproto.Error
		if err != nil && (!errors.As(err, &reply) || reply.Code/100 != 5 || len(e.to) == 1) {
			return fmt.Errorf("recipient %s: %w", to.Address, err)
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("recipient %s: %w", to.Address, err))
		}
	}
	if len(refused) == len(e.to) {
		return errors.Join(refused...)
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	_ = c.Quit() // the mail is taken; how they part is of no matter
	return errors.Join(refused...)
}

// credentials are the forms of a password on the wire: a server may repeat them.
func (e *Email) credentials(password string) []string {
	if password == "" {
		return nil
	}
	b64 := base64.StdEncoding.EncodeToString
	return []string{b64([]byte("\x00" + e.o.Username + "\x00" + password)), b64([]byte(password)), password}
}

// smtpError classes what came of a conversation: replies of 5xx are refusals,
// of 4xx they pass. hide is what its text may not contain.
func smtpError(err error, hide []string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range hide {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	e := &Error{Reason: ReasonNetwork, Err: errors.New(strings.TrimPrefix(snippet(text), ": "))}
	var reply *textproto.Error
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &reply) && reply.Code/100 == 5:
		e.Reason, e.Permanent = ReasonRejected, true
	case errors.As(err, &reply), errors.Is(err, errNoStartTLS):
		e.Reason = ReasonServer
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = ReasonTimeout
	}
	return e
}

// loginAuth is AUTH LOGIN (draft-murchison-sasl-login), over TLS or to loopback.
type loginAuth struct{ username, password string }

// Start implements smtp.Auth.
func (a *loginAuth) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if local := server.Name == "localhost" || server.Name == "127.0.0.1" || server.Name == "::1"; !server.TLS && !local {
		return "", nil, errors.New("the connection is not encrypted: the password was not sent")
	}
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth. Servers ask for the name, then for the password.
func (a *loginAuth) Next(question []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if strings.HasPrefix(strings.ToLower(string(question)), "user") {
		return []byte(a.username), nil
	}
	return []byte(a.password), nil
}
