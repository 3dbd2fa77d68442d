package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/event"
)

// BodyMode says what a dead letter carries of the original message.
type BodyMode string

// The body of a dead letter: all of it cut at 64 KiB, its SHA-256 in hex, nothing.
const (
	BodyFull BodyMode = "full"
	BodyHash BodyMode = "hash"
	BodyNone BodyMode = "none"
)

const (
	maxDeadLetter = 64 << 10 // bytes of body
	maxHeader     = 1 << 10  // bytes of one header value
)

// Headers of a dead letter. Cut is present only when the body was cut, and holds
// the original length in bytes.
const (
	HeaderReason = "Driftd-Reason"
	HeaderStream = "Driftd-Stream"
	HeaderSeq    = "Driftd-Seq"
	HeaderDetail = "Driftd-Detail"
	HeaderCut    = "Driftd-Cut"
)

// PublisherOptions configure a Publisher; zero values stand for the defaults
// named.
type PublisherOptions struct {
	Body    BodyMode      // hash
	Rate    int           // dead letters a second; 0 = none, negative = unlimited
	Pending int           // dead letters without a PubAck; 1,024
	Timeout time.Duration // of one signal's PubAck, and of a dead letter's before it is sent again; 5 s
}

// DefaultPublisherOptions are those of configs/driftd.yaml: {body: hash, rate: 100}.
func DefaultPublisherOptions() PublisherOptions {
	return PublisherOptions{Body: BodyHash, Rate: 100}.withDefaults()
}

func (o PublisherOptions) withDefaults() PublisherOptions {
	if o.Body == "" {
		o.Body = BodyHash
	}
	if o.Pending == 0 {
		o.Pending = 1024
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	return o
}

// Validate reports every fault of o at once.
func (o PublisherOptions) Validate() error {
	var faults []error
	switch o.Body {
	case "", BodyFull, BodyHash, BodyNone:
	default:
		faults = append(faults, fmt.Errorf("dlq: body %q is not full, hash or none", o.Body))
	}
	if o.Pending < 0 || o.Timeout < 0 {
		faults = append(faults, errors.New("publisher: limits must not be negative"))
	}
	return errors.Join(faults...)
}

// Publisher publishes what driftd has to say: signals, one by one with their
// PubAck, and dead letters in the background. Signal is safe for concurrent use;
// DeadLetter and Flush belong to the daemon's loop.
type Publisher struct {
	js    jetstream.JetStream
	opts  PublisherOptions
	async *asyncPublisher

	second int64 // unix second that sent counts
	sent   int
	over   uint64
}

// NewPublisher prepares a publisher; EnsureStream(SignalStream()) makes the place
// it publishes to.
func NewPublisher(conn *Conn, o PublisherOptions) (*Publisher, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	a, err := newAsyncPublisher(conn, asyncOptions{window: o.Pending, attempts: 10, ackWait: o.Timeout, pause: 100 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	return &Publisher{js: conn.js, opts: o, async: a}, nil
}

// Signal is one message of driftd to others.
type Signal struct {
	Subject string // driftd.alerts.<model>, driftd.triggers.retrain.<model>, ...
	ID      string // deterministic; becomes the Nats-Msg-Id
	Body    []byte
	Header  map[string]string // more headers; CR, LF and NUL are removed from the values
}

// Ack says where a signal was stored.
type Ack struct {
	Stream    string
	Seq       uint64
	Duplicate bool // the server had the ID already: an earlier attempt arrived
}

// Signal publishes s and waits for its PubAck. A failure may be ambiguous; a
// repeat with the same ID inside the stream's duplicate window is harmless.
func (p *Publisher) Signal(ctx context.Context, s Signal) (Ack, error) {
	m := &nats.Msg{Subject: s.Subject, Header: make(nats.Header, len(s.Header)+1), Data: s.Body}
	for k, v := range s.Header {
		m.Header[headerText(k)] = []string{headerText(v)}
	}
	m.Header[nats.MsgIdHdr] = []string{headerText(s.ID)}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	ack, err := p.js.PublishMsg(ctx, m)
	if err != nil {
		return Ack{}, fmt.Errorf("signal %s on %s: %w", s.ID, s.Subject, err)
	}
	return Ack{Stream: ack.Stream, Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// DeadLetter is one refused message, or row of a message.
type DeadLetter struct {
	Reason string // decode, schema, ...; also the subject's last token
	Detail string // one line, no event values beyond what the operator may see
	Stream string
	Epoch  uint64 // the daemon's count of epochs: sequences repeat between them
	Seq    uint64
	Row    int32 // -1 = the whole message
	Data   []byte
}

// DeadLetter sends d to driftd.dlq.<reason> in the background. It returns false,
// and counts, when d was not sent: above the rate of now's second, or with too
// many on their way. It never blocks.
func (p *Publisher) DeadLetter(now time.Time, d DeadLetter) bool {
	if s := now.Unix(); s != p.second {
		p.second, p.sent = s, 0
	}
	if p.opts.Rate >= 0 && p.sent >= p.opts.Rate || !p.async.trySend(p.letter(d)) {
		p.over++
		return false
	}
	p.sent++
	return true
}

// letter builds the message. Its Nats-Msg-Id makes a repeat after a crash before
// the commit a duplicate for the server.
func (p *Publisher) letter(d DeadLetter) *nats.Msg {
	seq := strconv.FormatUint(d.Seq, 10)
	h := nats.Header{
		HeaderReason:  {headerText(d.Reason)},
		HeaderStream:  {headerText(d.Stream)},
		HeaderSeq:     {seq},
		HeaderDetail:  {headerText(d.Detail)},
		nats.MsgIdHdr: {headerText(fmt.Sprintf("%s:%d:%d#%d", d.Stream, d.Epoch, d.Seq, d.Row))},
	}
	m := &nats.Msg{Subject: "driftd.dlq." + event.Token(d.Reason), Header: h}
	switch p.opts.Body {
	case BodyFull:
		m.Data = d.Data
		if len(m.Data) > maxDeadLetter {
			m.Data = m.Data[:maxDeadLetter]
			h[HeaderCut] = []string{strconv.Itoa(len(d.Data))}
		}
	case BodyHash:
		sum := sha256.Sum256(d.Data)
		m.Data = []byte(hex.EncodeToString(sum[:]))
	case BodyNone:
	}
	return m
}

// Flush waits until every dead letter has been stored or given up after its
// attempts; the daemon calls it before each commit. The error is ctx's, or the
// first letter given up since the last Flush.
func (p *Publisher) Flush(ctx context.Context) error { return p.async.flush(ctx) }

// Counters count dead letters. Safe for concurrent use.
func (p *Publisher) Counters() PublishCounters { return p.async.counters() }

// Withheld counts the dead letters that DeadLetter refused; it belongs to the
// goroutine that calls DeadLetter.
func (p *Publisher) Withheld() uint64 { return p.over }

// Close releases the publisher; Flush first.
func (p *Publisher) Close() { p.async.close() }

// headerText makes one header value of text: without CR, LF and NUL, which would
// end the header and begin another, and at most 1 KiB of valid UTF-8.
func headerText(text string) string {
	if len(text) > maxHeader {
		text = text[:maxHeader]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return -1
		}
		return r
	}, text)
}
