package notify_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

const mailPassword = "hunter22-mail"

// mailbox serves a fake and returns options that reach it.
func mailbox(t *testing.T, s *fakes.SMTP) notify.EmailOptions {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return notify.EmailOptions{
		Server: l.Addr().String(), TLS: notify.NoTLS, From: "driftd <driftd@ml.example>", To: []string{"oncall@ml.example"},
		ExternalURL: "https://driftd.example", AllowPrivate: notify.AnyAddress(),
	}
}

// certificate is one of httptest, for 127.0.0.1, and the roots that trust it.
func certificate(t *testing.T) (*tls.Config, *tls.Config) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return &tls.Config{Certificates: srv.TLS.Certificates, MinVersion: tls.VersionTLS12}, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func mailer(t *testing.T, o notify.EmailOptions) *notify.Email {
	t.Helper()
	e, err := notify.NewEmail(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEmailReachesItsServer(t *testing.T) {
	server, client := certificate(t)
	for name, c := range map[string]struct {
		fake   *fakes.SMTP
		tls    string
		secure bool
	}{
		"starttls and plain": {&fakes.SMTP{TLS: server, User: "bot", Password: mailPassword}, "", true},
		"tls and login":      {&fakes.SMTP{TLS: server, Direct: true, User: "bot", Password: mailPassword, Auth: "LOGIN XOAUTH2"}, notify.DirectTLS, true},
		"loopback":           {&fakes.SMTP{User: "bot", Password: mailPassword}, notify.NoTLS, false},
		"loopback and login": {&fakes.SMTP{User: "bot", Password: mailPassword, Auth: "LOGIN"}, notify.NoTLS, false},
		"nobody is asked":    {&fakes.SMTP{}, notify.NoTLS, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := mailbox(t, c.fake)
			o.TLS, o.TLSConfig, o.To = c.tls, client, []string{"oncall@ml.example", "Ann <ann@ml.example>"}
			if c.fake.User != "" {
				o.Username, o.Password = "bot", fixed(mailPassword)
			}
			if err := mailer(t, o).Send(t.Context(), delivery(t, ledger.KindAlert, fired())); err != nil {
				t.Fatal(err)
			}
			m := c.fake.Mails()[0]
			if m.TLS != c.secure || m.User != c.fake.User || m.From != "driftd@ml.example" || !slices.Equal(m.To, []string{"oncall@ml.example", "ann@ml.example"}) {
				t.Errorf("mail %+v", m)
			}
		})
	}
}

// The mails of an alert are one thread in every client: the same subject, and
// references to the same root. A repeat is the same mail.
func TestEmailThreads(t *testing.T) {
	fake := &fakes.SMTP{}
	e := mailer(t, mailbox(t, fake))
	first := delivery(t, ledger.KindAlert, fired())
	end := delivery(t, ledger.KindAlert, resolved())
	end.Entry = entry(t, &ledger.Chain{Seq: 900}, ledger.KindAlert, resolved())
	for _, d := range []ledger.Delivery{first, first, end} {
		d.Order = first.Entry.ID // as the daemon has it: the id of the entry that fired
		if err := e.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	mails := fake.Mails()
	root := mails[0].Header.Get("Message-ID")
	if len(mails) != 3 || mails[1].Header.Get("Message-ID") != root || mails[0].Header.Get("References") != "" {
		t.Fatalf("mails %+v", mails)
	}
	last := mails[2].Header
	if last.Get("References") != root || last.Get("In-Reply-To") != root || last.Get("Message-ID") == "" {
		t.Errorf("headers %v, want references to %s", last, root)
	}
	if first := mails[0].Header.Get("Subject"); first != "[driftd] AmountDrift on fraud/amount" || last.Get("Subject") != "Re: "+first {
		t.Errorf("subjects %q and %q", first, last.Get("Subject"))
	}
	if text := mails[2].Parts["text/plain"]; !strings.HasPrefix(text, "Resolved: AmountDrift on fraud/amount\n\namount of fraud version 42") ||
		!strings.Contains(text, "Rule: AmountDrift\n") || !strings.Contains(text, "https://driftd.example/ledger/901") {
		t.Errorf("text\n%s", text)
	}
}

// Mails of long ids are mails of their own: a server drops what it has seen.
func TestEmailsOfLongIDs(t *testing.T) {
	fake := &fakes.SMTP{}
	e := mailer(t, mailbox(t, fake))
	for seq := range uint64(2) {
		d := delivery(t, ledger.KindAlert, fired())
		d.Order, d.Seq, d.Grouped = "DriftdReceiverRejected/"+strings.Repeat("long-", 10), seq+1, true
		if err := e.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	a, b := fake.Mails()[0].Header, fake.Mails()[1].Header
	if a.Get("Message-ID") == b.Get("Message-ID") || a.Get("References") == "" || a.Get("References") != b.Get("References") {
		t.Errorf("headers %v and %v: want two mails of one thread", a, b)
	}
}

// Names from events and files are text: they end no header and open no tag.
func TestEmailIsInert(t *testing.T) {
	fake := &fakes.SMTP{}
	a := fired()
	a.Feature = "x\r\nBcc: everybody@ml.example\r\n\r\n<script>alert(1)</script>\r\n.\r\n"
	a.Rule = "größe & \"Ωmega\" " + strings.Repeat("long ", 100)
	if err := mailer(t, mailbox(t, fake)).Send(t.Context(), delivery(t, ledger.KindAlert, a)); err != nil {
		t.Fatal(err)
	}
	m := fake.Mails()[0]
	if len(m.To) != 1 || m.Header.Get("Bcc") != "" || len(fake.Mails()) != 1 {
		t.Errorf("headers %v to %v", m.Header, m.To)
	}
	if page := m.Parts["text/html"]; strings.Contains(page, "<script") || !strings.Contains(page, "größe &amp; &#34;Ωmega&#34;") {
		t.Errorf("page\n%s", page)
	}
	for line := range strings.SplitSeq(m.Parts["text/plain"], "\n") {
		if strings.HasPrefix(line, "Bcc") || line == "." {
			t.Errorf("line %q", line)
		}
	}
}

func TestEmailErrors(t *testing.T) {
	refused, busy := verdict{notify.ReasonRejected, true, 0}, verdict{notify.ReasonServer, false, 0}
	for name, c := range map[string]struct {
		verb, reply string
		want        verdict
		mails       int
	}{
		"mailbox busy":          {"RCPT", "450 4.2.1 later", busy, 0},
		"no such mailbox":       {"RCPT", "550 5.1.1 unknown", refused, 0},
		"sender refused":        {"MAIL", "550 5.7.1 no", refused, 0},
		"too busy":              {"CONNECT", "421 4.7.0 too many connections", busy, 0},
		"no space":              {"DATA", "452 4.3.1 full", busy, 0},
		"spam":                  {".", "554 5.7.1 looks like spam", refused, 0},
		"hangs up at once":      {"CONNECT", "", verdict{notify.ReasonNetwork, false, 0}, 0},
		"hangs up behind it":    {".", "", verdict{notify.ReasonNetwork, false, 0}, 1},
		"login refused":         {"", "", refused, 0},
		"login busy":            {"AUTH", "454 4.7.0 later", busy, 0},
		"hangs up behind a bye": {"QUIT", "", verdict{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &fakes.SMTP{User: "bot", Password: mailPassword}
			o := mailbox(t, fake)
			o.Username, o.Password = "bot", fixed(mailPassword)
			if c.verb == "" {
				o.Password = fixed("hunter22")
			} else {
				fake.ReplyNext(c.verb, c.reply)
			}
			if got := verdictOf(t, mailer(t, o).Send(t.Context(), delivery(t, ledger.KindAlert, fired()))); got != c.want || len(fake.Mails()) != c.mails {
				t.Errorf("%+v with %d mails, want %+v with %d", got, len(fake.Mails()), c.want, c.mails)
			}
		})
	}
}

// One recipient who does not exist any more keeps nobody else from the mail, and
// somebody hears of it.
func TestEmailToSomeOfMany(t *testing.T) {
	fake := &fakes.SMTP{}
	fake.ReplyNext("RCPT", "550 5.1.1 gone")
	o := mailbox(t, fake)
	o.To = []string{"gone@ml.example", "oncall@ml.example"}
	if got := verdictOf(t, mailer(t, o).Send(t.Context(), delivery(t, ledger.KindAlert, fired()))); got != (verdict{notify.ReasonRejected, true, 0}) {
		t.Errorf("%+v, want a refusal", got)
	}
	if m := fake.Mails(); len(m) != 1 || !slices.Equal(m[0].To, []string{"oncall@ml.example"}) {
		t.Errorf("mails %+v", m)
	}
}

func TestEmailFailsClosed(t *testing.T) {
	server, _ := certificate(t)
	hanging := func(l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go hanging(l)
	defer func() { _ = l.Close() }()
	for name, c := range map[string]struct {
		change func(*notify.EmailOptions)
		want   verdict
	}{
		"no STARTTLS":         {func(o *notify.EmailOptions) { o.TLS = notify.StartTLS }, verdict{notify.ReasonServer, false, 0}},
		"private address":     {func(o *notify.EmailOptions) { o.AllowPrivate = nil }, verdict{notify.ReasonNetwork, false, 0}},
		"another private one": {func(o *notify.EmailOptions) { o.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, verdict{notify.ReasonNetwork, false, 0}},
		"password unreadable": {func(o *notify.EmailOptions) {
			o.Username, o.Password = "bot", func() (string, error) { return "", errors.New("read secret: gone") }
		}, verdict{notify.ReasonSecret, false, 0}},
		"nobody answers": {func(o *notify.EmailOptions) { o.Server = l.Addr().String() }, verdict{notify.ReasonTimeout, false, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &fakes.SMTP{}
			o := mailbox(t, fake)
			c.change(&o)
			ctx, cancel := contextWithin(t, 200*time.Millisecond, name == "nobody answers")
			defer cancel()
			if got := verdictOf(t, mailer(t, o).Send(ctx, delivery(t, ledger.KindAlert, fired()))); got != c.want || len(fake.Mails()) != 0 {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	t.Run("a certificate nobody trusts", func(t *testing.T) {
		fake := &fakes.SMTP{TLS: server}
		o := mailbox(t, fake)
		o.TLS = notify.StartTLS
		if got := verdictOf(t, mailer(t, o).Send(t.Context(), delivery(t, ledger.KindAlert, fired()))); got.permanent || len(fake.Mails()) != 0 {
			t.Errorf("%+v, want another try later", got)
		}
	})
}

func TestEmailOptions(t *testing.T) {
	good := notify.EmailOptions{Server: "mail:25", From: "a@b", To: []string{"c@d"}}
	for name, change := range map[string]func(*notify.EmailOptions){
		"no port":     func(o *notify.EmailOptions) { o.Server = "mail" },
		"tls":         func(o *notify.EmailOptions) { o.TLS = "yes" },
		"from":        func(o *notify.EmailOptions) { o.From = "a\r\nBcc: x@y" },
		"nobody":      func(o *notify.EmailOptions) { o.To = nil },
		"to":          func(o *notify.EmailOptions) { o.To = []string{"x"} },
		"no password": func(o *notify.EmailOptions) { o.Username = "bot" },
	} {
		o := good
		change(&o)
		if _, err := notify.NewEmail(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	o := good
	o.Username, o.Password = "bot", fixed(mailPassword)
	if text := fmt.Sprintf("%+v", mailer(t, o)); strings.Contains(text, mailPassword) {
		t.Errorf("printing shows the password: %s", text)
	}
}
