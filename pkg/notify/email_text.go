package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"time"
	"unicode"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/picture"
)

const mailSubject = 200 // characters

// compose writes the mail of a delivery (RFC 5322, RFC 2046).
func (e *Email) compose(d ledger.Delivery, m Message, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	page := mailPage{Message: m, Place: m.place(), picture: pictureOf(d.Entry)}
	kind := "multipart/alternative"
	if page.picture != nil {
		kind = `multipart/related; type="multipart/alternative"`
	}
	// The boundary is the entry's, so that every attempt sends the same mail.
	if err := parts.SetBoundary("driftd-" + mailToken(d.Key())); err != nil {
		return nil, unsendable(fmt.Errorf("entry %d: %w", d.Seq, err))
	}
	to := make([]string, len(e.to))
	for i, a := range e.to {
		to[i] = a.String()
	}
	self, root := e.messageID(d.Key()), e.messageID(d.Line())
	subject := "[driftd] " + m.Topic
	header := [][2]string{{"From", e.from.String()}, {"To", strings.Join(to, ",\r\n\t")}}
	if m.Status == "resolved" {
		subject = "Re: " + subject
	}
	header = append(header, [][2]string{
		{"Subject", mime.QEncoding.Encode("utf-8", cut(inOneLine(subject), mailSubject))},
		{"Date", now.UTC().Format(time.RFC1123Z)},
		{"Message-ID", self},
	}...)
	if self != root {
		header = append(header, [][2]string{{"In-Reply-To", root}, {"References", root}}...)
	}
	header = append(header, [][2]string{
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", kind + `; boundary="` + parts.Boundary() + `"`},
	}...)
	for _, h := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	if page.picture != nil {
		page.Inline = template.URL("cid:" + strings.Trim(e.messageID("picture-"+d.Key()), "<>"))
	}
	if err := page.write(parts); err != nil {
		return nil, unsendable(fmt.Errorf("entry %d as mail: %w", d.Seq, err))
	}
	return b.Bytes(), nil
}

// write writes the parts of a mail: text and HTML as alternatives, and the picture
// that the HTML shows beside both.
func (p *mailPage) write(parts *multipart.Writer) error {
	if p.picture == nil {
		return p.alternatives(parts)
	}
	var inner bytes.Buffer
	alternatives := multipart.NewWriter(&inner)
	if err := alternatives.SetBoundary("alt-" + parts.Boundary()[:min(len(parts.Boundary()), 60)]); err != nil {
		return err
	}
	if err := p.alternatives(alternatives); err != nil {
		return err
	}
	w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {`multipart/alternative; boundary="` + alternatives.Boundary() + `"`}})
	if err != nil {
		return err
	}
	if _, err := w.Write(inner.Bytes()); err != nil {
		return err
	}
	w, err = parts.CreatePart(textproto.MIMEHeader{
		"Content-Type": {"image/png"}, "Content-Transfer-Encoding": {"base64"}, "Content-Disposition": {`inline; filename="signal.png"`},
		"Content-Id": {"<" + strings.TrimPrefix(string(p.Inline), "cid:") + ">"},
	})
	if err != nil {
		return err
	}
	const line = 57 // bytes that make 76 characters (RFC 2045)
	for rest := p.picture; len(rest) > 0; rest = rest[min(line, len(rest)):] {
		if _, err := fmt.Fprintf(w, "%s\r\n", base64.StdEncoding.EncodeToString(rest[:min(line, len(rest))])); err != nil {
			return err
		}
	}
	return parts.Close()
}

// alternatives writes the message as text and as HTML.
func (p *mailPage) alternatives(parts *multipart.Writer) error {
	var html bytes.Buffer
	if err := mailHTML.Execute(&html, p); err != nil {
		return err
	}
	for _, part := range [][2]string{{"text/plain", mailText(p.Message)}, {"text/html", html.String()}} {
		if err := mailPart(parts, part[0], part[1]); err != nil {
			return err
		}
	}
	return parts.Close()
}

func mailPart(parts *multipart.Writer, kind, text string) error {
	w, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := q.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		return err
	}
	return q.Close()
}

// mailText is the message for who reads no HTML.
func mailText(m Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n", inOneLine(m.Title), inOneLine(m.Sentence))
	for _, fs := range m.Tables() {
		b.WriteString("\n")
		for _, f := range fs {
			fmt.Fprintf(&b, "%s: %s\n", inOneLine(f.Name), inOneLine(f.Value))
		}
	}
	b.WriteString("\n" + m.place())
	if m.Link != "" {
		fmt.Fprintf(&b, ": %s", m.Link)
	}
	for _, l := range m.Links {
		fmt.Fprintf(&b, "\n%s: %s", l.Text, inOneLine(l.URL))
	}
	return b.String() + "\n"
}

type mailPage struct {
	Message
	Place  string
	Inline template.URL // of the picture in the mail, "" without one

	picture []byte // PNG; nil: none
}

// pictureOf draws the signal that an alert is about, nil if there is nothing to draw:
// then words must do.
func pictureOf(e ledger.Entry) []byte {
	a, err := decode[ledger.Alert](e)
	if err != nil || e.Kind != ledger.KindAlert {
		return nil
	}
	drawn, err := picture.OfAlert(&a)
	if err != nil {
		return nil
	}
	return drawn
}

var mailHTML = template.Must(template.New("mail").Parse(`<!doctype html>
<html lang="en"><body style="font:15px/1.5 sans-serif;color:#222">
<h2 style="font-size:17px">{{.Title}}</h2>
<p>{{.Sentence}}</p>
{{with .Inline}}<p><img src="{{.}}" width="720" height="320" alt="the signal that moved most, in its reference and now"></p>
{{end}}{{range $fields := .Tables}}<table style="border-collapse:collapse;margin:0 0 12px">{{range $fields}}
<tr><th align="left" style="padding:2px 16px 2px 0;font-weight:normal;color:#666">{{.Name}}</th><td>{{.Value}}</td></tr>{{end}}
</table>
{{end}}<p style="color:#666">{{.Place}}{{if .Link}} · <a href="{{.Link}}">open in driftd</a>{{end}}{{range .Links}} · <a href="{{.URL}}">{{.Text}}</a>{{end}}</p>
</body></html>
`))

// messageID is the address of a mail, or of the thread it is in.
func (e *Email) messageID(id string) string {
	_, domain, _ := strings.Cut(e.from.Address, "@")
	return "<" + mailToken(id) + "@" + domain + ">"
}

// mailToken leaves of a text what may stand in a Message-ID and in a boundary. Of a long
// one a digest takes the place of the end, which tells it from others.
func mailToken(text string) string {
	const longest, kept = 60, 40
	if len(text) > longest {
		digest := sha256.Sum256([]byte(text))
		text = text[:kept] + "-" + hex.EncodeToString(digest[:8])
	}
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, text)
}

// inOneLine makes control characters spaces: nobody's name ends a header.
func inOneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
