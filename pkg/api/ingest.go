package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// A Publisher stores messages in the input stream. It must be safe for
// concurrent use.
type Publisher interface {
	// Publish returns when the stream has acknowledged every message, with the
	// indices of those it had already, by their IDs. The error is ErrBusy where
	// too many wait already, else it means that some may not be stored: whoever
	// sent them repeats them all.
	Publish(ctx context.Context, messages []Message) (duplicates []int, err error)
	// MaxBytes is how long the Data of one message may be; 0: not known.
	MaxBytes() int
}

// A Message is one message for the input stream.
type Message struct {
	Subject string
	ID      string // its Nats-Msg-Id, <kind>:<id>
	Header  map[string][]string
	Data    []byte
}

// ErrBusy says that the same request may succeed when others have ended.
var ErrBusy = errors.New("too much is on its way")

// Ingest is what the way in over HTTP needs: it reads events only to refuse
// what the daemon would refuse, and stores the bytes as they came.
type Ingest struct {
	Publisher Publisher
	Decoders  []*event.Decoder // made alike; so many requests are read at a time
	Subjects  event.SubjectTemplate
}

// ingestLimits bound the way in. A payload logger that is kept waiting holds its
// events in the memory of the model's process, so that every answer, a refusal
// too, comes within a second.
type ingestLimits struct {
	deadline time.Duration // from the end of the header to the answer
	body     int64         // bytes of one request
	inFlight int64         // bytes of all requests that have no answer yet
	requests int           // that have no answer yet
	events   int           // lines or elements of one request
	shown    int           // refused rows that an answer lists
}

func defaultIngestLimits() ingestLimits {
	return ingestLimits{deadline: 900 * time.Millisecond, body: 4 << 20, inFlight: 64 << 20, requests: 256, events: 10_000, shown: 100}
}

// ingestAnswer is the body of a 202.
type ingestAnswer struct {
	Accepted   int         `json:"accepted"`   // events and rows that are stored
	Duplicates int         `json:"duplicates"` // of these, how many the stream had already
	Refused    int         `json:"refused"`
	Rejected   []rejection `json:"rejected"` // the first 100 of the refused
}

// A rejection is one refused line, element or row.
type rejection struct {
	Row    int          `json:"row"` // index of it in the body; -1: all of it
	Reason event.Reason `json:"reason"`
	Detail string       `json:"detail"`
}

// ingest answers one way in. kind 0 takes events of every kind.
func (s *Server) ingest(way string, kind event.Kind) func(http.ResponseWriter, *request) error {
	return func(w http.ResponseWriter, r *request) error {
		began := time.Now()
		if s.Ingest == nil {
			return notFound("this driftd takes no events over HTTP: set http.ingest, or publish to NATS")
		}
		answer, err := s.take(w, r, way, kind, began.Add(s.inlet.limits.deadline))
		status := http.StatusAccepted
		if err != nil {
			p := problemOf(err)
			status, err = p.Status, p
		}
		if way == "logs" && err == nil {
			status = http.StatusOK
		}
		s.inlet.answered(way, status, time.Since(began))
		if err != nil {
			return err
		}
		if way == "logs" {
			return sendLogsAnswer(w, r)
		}
		return sendJSON(w, status, answer)
	}
}

// logsAnswer is the success of OTLP: an empty message.
type logsAnswer struct{}

// sendLogsAnswer answers as OTLP wants it: in the form of the request.
func sendLogsAnswer(w http.ResponseWriter, r *request) error {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == protobufType {
		return sendText(w, protobufType, nil)
	}
	return sendJSON(w, http.StatusOK, logsAnswer{})
}

// take reads, checks and stores the body of one request.
func (s *Server) take(w http.ResponseWriter, r *request, way string, kind event.Kind, deadline time.Time) (*ingestAnswer, error) {
	header, err := ingestHeader(r.Request)
	if err != nil {
		return nil, err
	}
	zipped, err := ingestEncoding(r.Request)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > s.inlet.limits.body {
		return nil, tooLarge(w, s.inlet.limits.body)
	}
	release, err := s.inlet.admit(r.ContentLength, zipped)
	if err != nil {
		return nil, err
	}
	defer release()
	body, err := s.readBody(w, r, deadline)
	if err != nil {
		return nil, err
	}
	if zipped {
		if body, err = gunzip(body, s.inlet.limits.body); err != nil {
			return nil, err
		}
	}
	// A client that hangs up, or has said that it sends no more, has sent all the same.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(r.Context()), deadline)
	defer cancel()
	found, err := s.decode(ctx, kind, header, body)
	if err != nil {
		return nil, err
	}
	s.inlet.rejected(found)
	if len(found.messages) == 0 {
		return nil, found.problem(s.inlet.limits.shown)
	}
	duplicates, err := s.Ingest.Publisher.Publish(ctx, found.messages)
	if errors.Is(err, context.DeadlineExceeded) {
		err = problem{Status: http.StatusServiceUnavailable, Detail: "JetStream did not acknowledge in time; try again"}
	}
	if err != nil {
		s.Log.Debug().Err(err).Str("way", way).Str("request_id", requestID(r.Request)).Msg("events could not be stored")
		return nil, err
	}
	answer := &ingestAnswer{Refused: len(found.refused), Rejected: found.shown(s.inlet.limits.shown)}
	for _, n := range found.events {
		answer.Accepted += n
	}
	for _, i := range duplicates {
		answer.Duplicates += found.events[i]
	}
	s.inlet.stored(found, duplicates)
	return answer, nil
}

// readBody reads what MaxBytesReader lets through until the deadline.
func (s *Server) readBody(w http.ResponseWriter, r *request, deadline time.Time) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(deadline) // not of recorders in tests
	body, err := io.ReadAll(r.Body)
	var over *http.MaxBytesError
	switch {
	case err == nil:
		_ = control.SetReadDeadline(time.Time{}) // the server watches the connection while we wait
		return body, nil
	case errors.As(err, &over):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, problem{Status: http.StatusRequestTimeout, Detail: "the body did not arrive within " + s.inlet.limits.deadline.String()}
	}
	return nil, problem{Status: http.StatusBadRequest, Detail: "the body ended early"}
}

const protobufType = "application/x-protobuf"

// ingestTypes are the media types of bodies; a binary CloudEvent says by its
// ce-type what it is, whatever its data.
var ingestTypes = []string{
	jsonType, "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json", protobufType,
}

// ingestHeader returns what the message must keep of the request's header: the
// attributes of a CloudEvent and the content type.
func ingestHeader(r *http.Request) (map[string][]string, error) {
	header := map[string][]string{}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Ce-") && len(values) > 0 {
			header[name] = values[:1]
		}
	}
	binary := len(header) > 0
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case binary && r.Header.Get("Content-Type") == "": // of its data: JSON
	case err != nil && !binary:
		return nil, problem{Status: http.StatusUnsupportedMediaType, Detail: "set Content-Type to one of " + strings.Join(ingestTypes, ", ")}
	case binary:
		header["Content-Type"] = []string{r.Header.Get("Content-Type")}
	case media == "application/x-ndjson", media == "application/jsonl", media == jsonType:
	case media == "application/cloudevents-batch+json", media == "application/cloudevents+json", media == protobufType:
		header["Content-Type"] = []string{media}
	default:
		return nil, problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Type " + media + " is none of " + strings.Join(ingestTypes, ", ")}
	}
	return header, nil
}

// ingestEncoding reports whether the body is compressed, as OpenTelemetry's
// collectors send it.
func ingestEncoding(r *http.Request) (zipped bool, err error) {
	switch e := r.Header.Get("Content-Encoding"); e {
	case "", "identity":
		return false, nil
	case "gzip":
		return true, nil
	default:
		return false, problem{Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("Content-Encoding %q; send gzip, or none", e)}
	}
}

// gunzip returns what body holds, of at most limit bytes.
func gunzip(body []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(z, limit+1))
	}
	switch {
	case err != nil:
		return nil, problem{Status: http.StatusBadRequest, Detail: "the body is not gzip: " + err.Error()}
	case int64(len(body)) > limit:
		return nil, problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is larger than %d bytes when it is unpacked", limit)}
	}
	return body, nil
}

// A finding is what a body holds.
type finding struct {
	messages []Message
	events   []int        // in each message
	kinds    []event.Kind // of each message
	refused  []rejection
}

func (f *finding) shown(n int) []rejection {
	if f.refused == nil {
		return []rejection{}
	}
	return f.refused[:min(n, len(f.refused))]
}

// problem is the answer to a body without one good event.
func (f *finding) problem(shown int) problem {
	p := problem{Status: http.StatusBadRequest, Detail: "no event of the body was accepted", Rejected: f.shown(shown)}
	first := f.refused[0]
	if len(f.refused) == 1 {
		p.Detail = string(first.Reason) + ": " + first.Detail
	}
	for _, r := range f.refused {
		if r.Reason != event.TooLarge && r.Reason != event.Limit {
			return p
		}
	}
	p.Status = http.StatusRequestEntityTooLarge
	return p
}

// decode cuts the body into messages and checks each.
func (s *Server) decode(ctx context.Context, kind event.Kind, header map[string][]string, body []byte) (*finding, error) {
	pieces := []piece{{data: body}}
	if header["Ce-Type"] == nil && header["Content-Type"] == nil || strings.HasPrefix(first(header["Content-Type"]), "application/cloudevents-batch") {
		pieces = split(body)
	}
	if len(pieces) > s.inlet.limits.events {
		return nil, problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf(
			"%d events in one request; send at most %d at once", len(pieces), s.inlet.limits.events)}
	}
	if len(pieces) > 1 && header["Content-Type"] != nil {
		header = map[string][]string{"Content-Type": {"application/cloudevents+json"}}
	}
	var reader *ingestReader
	readers := s.inlet.decoders() // it goes back to where it came from, which a reload may have replaced
	select {
	case reader = <-readers:
		defer func() { readers <- reader }()
	case <-ctx.Done():
		return nil, ErrBusy
	}
	f := &finding{}
	for i := range pieces {
		if i%256 == 255 && ctx.Err() != nil {
			return nil, problem{Status: http.StatusServiceUnavailable, Detail: "the body could not be read in time; send less at once"}
		}
		reader.piece(f, event.Envelope{Kind: kind, Headers: header}, pieces[i], i, len(pieces))
	}
	return f, nil
}

// An ingestReader decodes for one request at a time.
type ingestReader struct {
	*event.Decoder
	batch    event.Batch
	subjects event.SubjectTemplate
	maxBytes func() int
}

// piece checks one piece of a body and makes it a message.
func (d *ingestReader) piece(f *finding, env event.Envelope, p piece, index, of int) {
	defer d.batch.Reset()
	refuse := func(r event.Reject) {
		row := int(r.Row)
		if of > 1 {
			row, r.Detail = index, p.where+r.Detail
		}
		f.refused = append(f.refused, rejection{Row: row, Reason: r.Reason, Detail: r.Detail})
	}
	if most := d.maxBytes(); most > 0 && len(p.data) > most {
		refuse(event.Reject{Reason: event.TooLarge, Row: -1, Detail: fmt.Sprintf("longer than the %d bytes that NATS takes at once; send smaller batches", most)})
		return
	}
	if r := d.DecodeWrapped(&d.batch, env, "", p.data); r != nil {
		if env.Kind == 0 && len(env.Headers) == 0 && r.Reason == event.Schema && len(p.data) > 0 {
			r.Detail = "neither a cloudevent nor a payload that driftd knows; bare events go to /ingest/v1/predictions, outcomes and kpis"
		}
		refuse(*r)
		return
	}
	events := d.batch.Events
	subject := d.subjects.Subject(&events[0])
	for i := range events[1:] {
		if !d.agrees(subject, &events[i+1]) {
			refuse(event.Reject{Reason: event.SubjectMismatch, Row: -1, Detail: "events of several models in one object; send one object a model, or an array of events"})
			return
		}
	}
	for _, r := range d.batch.Rejects {
		refuse(r)
	}
	f.messages = append(f.messages, Message{Subject: strings.Clone(subject), ID: messageID(events, p.data), Header: cloneHeader(env.Headers), Data: p.data})
	f.events, f.kinds = append(f.events, len(events)), append(f.kinds, events[0].Kind)
}

// agrees reports whether the daemon will find the event's model in the subject.
func (d *ingestReader) agrees(subject string, e *event.Event) bool {
	_, model, _, ok := d.subjects.Parse(subject)
	name := e.Model
	if e.Kind == event.KPI {
		name = e.Name
	}
	return !ok || model == "" || model == event.Token(name)
}

// longestID is how long a Nats-Msg-Id may be; longer ones are hashed.
const longestID = 512

// messageID returns the Nats-Msg-Id of a message. One whose events have several
// ids is known by its bytes.
func messageID(events []event.Event, data []byte) string {
	id := event.MessageID(events)
	switch {
	case id == "":
		return events[0].Kind.String() + ":" + digest(data)
	case len(id) > longestID || strings.ContainsAny(id, "\r\n\x00"):
		return events[0].Kind.String() + ":" + digest([]byte(id))
	}
	return strings.Clone(id)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func cloneHeader(h map[string][]string) map[string][]string {
	if len(h) == 0 {
		return nil
	}
	out := make(map[string][]string, len(h)+1)
	maps.Copy(out, h)
	return out
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
