package event

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Envelope is what travels beside the bytes of a message. The zero Envelope is
// that of a bare message.
type Envelope struct {
	// Kind is what the message must report, where the way in tells (the path of
	// an HTTP request); 0 = ask the coat, then the subject.
	Kind Kind
	// Headers are those of NATS or HTTP (both types convert), in any case. Known
	// are Content-Type and the attributes of a CloudEvent: ce-type, ce_type, and
	// as Kafka bridges write them, a bare type with its neighbours.
	Headers map[string][]string
}

// coat is what DecodeWrapped knows about the JSON it hands to Decode.
type coat struct {
	name  string         // how refusals call it
	bytes int            // offset of the JSON in the message; -1 = it was written by us, and offsets tell nothing
	part  Part           // which half of a prediction it is
	index []int          // element of the JSON -> record of the message; nil = the same
	fault map[int]string // rows or elements which could not be written, and why

	reasons map[int]Reason // of them; absent = Schema
	partial bool           // the message has more than this JSON, which need not have a good event

	id, source string // of the CloudEvent, for events without
	time       int64
}

// DecodeWrapped is Decode for messages which may wear a coat: a CloudEvent
// around the bare schema or around a server's payload log, or OTLP logs. See
// "Coats" in the package comment. A bare message costs one look at its headers
// more than with Decode; only when it is refused its body is searched for a coat.
//
// Halves of a prediction arrive as Events with Part set, which must go through
// a Joiner before they count: both have the same Key. env.Kind may be 0, and the
// subject need not fit the template, where the coat tells the kind. data must
// not change afterwards, as for Decode.
func (d *Decoder) DecodeWrapped(b *Batch, env Envelope, subject string, data []byte) *Reject {
	attrs := env.attributes()
	media := attrs.media()
	switch {
	case strings.HasPrefix(media, "application/cloudevents-batch"):
		return d.inCoat(data, func() *Reject { return d.cloudEvents(b, env, subject) })
	case strings.HasPrefix(media, "application/cloudevents"):
		return d.inCoat(data, func() *Reject { return d.structured(b, env, subject, skipSpace(d.s, 0)) })
	case attrs["type"] != "" || attrs["specversion"] != "":
		ce := cloudEvent{attrs: attrs, data: data}
		return d.inCoat(data, func() *Reject { return d.cloudEvent(b, env, subject, &ce) })
	case media == "application/x-protobuf" || media == "application/protobuf":
		return d.inCoat(data, func() *Reject { return d.otlpProto(b, env, subject, data) })
	}
	r := d.Decode(b, env.Kind, subject, data)
	if r == nil || r.Reason == Limit || r.Reason == SubjectMismatch {
		return r
	}
	if worn := d.inCoat(data, func() *Reject { return d.search(b, env, subject, r) }); worn != r {
		return worn
	}
	return r
}

// inCoat reads data with the scanner outside of Decode, and cleans up.
func (d *Decoder) inCoat(data []byte, read func() *Reject) *Reject {
	d.s, d.coat, d.fault, d.row = unsafe.String(unsafe.SliceData(data), len(data)), nil, fault{}, -1
	r := read()
	d.s, d.coat, d.fault = "", nil, fault{}
	return r
}

// search looks for a coat in a body which is no event; bare is its refusal as
// one, and the answer where no coat is found.
func (d *Decoder) search(b *Batch, env Envelope, subject string, bare *Reject) *Reject {
	i := skipSpace(d.s, 0)
	if i < len(d.s) && d.s[i] == '[' {
		first := skipSpace(d.s, i+1)
		if first < len(d.s) && d.s[first] == '{' && d.keysAt(first)["specversion"] {
			return d.cloudEvents(b, env, subject)
		}
		return bare
	}
	if i >= len(d.s) || d.s[i] != '{' {
		return bare
	}
	keys := d.keysAt(i)
	switch {
	case keys["specversion"]:
		return d.structured(b, env, subject, i)
	case keys["resourceLogs"] || keys["resource_logs"]:
		return d.otlpJSON(b, env, subject, i)
	case keys["inputs"] || keys["outputs"]:
		return d.openInference(b, env, subject, i, bare)
	}
	return bare
}

// keysAt returns the keys of the object at i, none if it is faulty.
func (d *Decoder) keysAt(i int) map[string]bool {
	keys := map[string]bool{}
	if d.members(i, func(name string, at int) int {
		keys[name] = true
		return d.skip(at, 1)
	}) < 0 {
		return nil
	}
	return keys
}

// members reads the object at i: each gets the key and the index of the value,
// and returns the index after it. A key which each has not skipped as unknown
// is its own to guard against coming twice.
func (d *Decoder) members(i int, each func(name string, at int) int) int {
	s := d.s
	if i >= len(s) || s[i] != '{' {
		return d.wrongType(i, "an object")
	}
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	for {
		name, at := d.key(i)
		if at < 0 {
			return -1
		}
		if i = each(name, at); i < 0 {
			return d.in(name)
		}
		i = skipSpace(s, i)
		if i < len(s) && s[i] == ',' {
			i = skipSpace(s, i+1)
			continue
		}
		if i < len(s) && s[i] == '}' {
			return i + 1
		}
		return d.badNext(i, '}')
	}
}

// elements reads the array at i likewise.
func (d *Decoder) elements(i int, each func(n, at int) int) int {
	s := d.s
	if i >= len(s) || s[i] != '[' {
		return d.wrongType(i, "an array")
	}
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == ']' {
		return i + 1
	}
	for n := 0; ; n++ {
		if i = each(n, i); i < 0 {
			return -1
		}
		i = skipSpace(s, i)
		if i < len(s) && s[i] == ',' {
			i = skipSpace(s, i+1)
			continue
		}
		if i < len(s) && s[i] == ']' {
			return i + 1
		}
		return d.badNext(i, ']')
	}
}

// scalar reads the text, number or bool at i as text; null and containers are "".
func (d *Decoder) scalar(i int) (string, int) {
	if i < len(d.s) && d.s[i] == '"' {
		return d.text(i)
	}
	end := d.skip(i, 1)
	if end < 0 || d.s[i] == '{' || d.s[i] == '[' || d.s[i] == 'n' {
		return "", end
	}
	return d.s[i:end], end
}

// once guards a key of a payload against coming twice.
func (d *Decoder) once(seen map[string]bool, name string, at int) bool {
	if seen[name] {
		d.twice(name, at)
		return false
	}
	seen[name] = true
	return true
}

// refuse is the recorded fault as the fate of the whole message, in the words
// of its coat. bytes is the offset of d.s in the message; -1 = it is not in it.
func (d *Decoder) refuse(name string, bytes int) *Reject {
	d.coat = &coat{name: name, bytes: bytes}
	return d.whole("", 0)
}

// refuseFor is refuse for what is wrong with the whole, at no byte of it.
func (d *Decoder) refuseFor(name string, reason Reason, what string) *Reject {
	d.fail(reason, 0, "%s", what)
	return d.refuse(name, -1)
}

// written decodes JSON which a coat was rewritten to. The bytes are new, as the
// events will alias them.
func (d *Decoder) written(b *Batch, kind Kind, subject string, c *coat, data []byte) *Reject {
	c.bytes = -1
	d.coat = c
	return d.Decode(b, kind, subject, data)
}

// complete gives an event what its coat knows and it does not say.
func (c *coat) complete(d *Decoder, f *frame) {
	ev := f.ev
	ev.Part = c.part
	if ev.ID == "" && c.id != "" {
		ev.ID = c.id
		if d.pieces > 1 || f.inRow || d.inArray { // or all would have one identity
			ev.Row = int32(d.pieces - 1)
		}
	}
	if ev.Time == 0 {
		ev.Time = c.time
	}
	if ev.Source == "" && ev.Kind == Outcome {
		ev.Source = c.source
	}
}

// fits checks text from outside the JSON as the scanner checks text in it.
func (d *Decoder) fits(name, text string) bool {
	switch {
	case len(text) > d.limits.StringBytes:
		d.fail(Limit, 0, "longer than %d bytes", d.limits.StringBytes)
	case !utf8.ValidString(text):
		d.fail(Decode, 0, "invalid UTF-8; send text as UTF-8, percent-encoded")
	default:
		return true
	}
	d.in(name)
	return false
}

// MessageID returns the Nats-Msg-Id for the message which these events came in,
// as DecodeWrapped gave them: kind:id, and of halves, which share their id,
// req:model:id and res:model:id. It is "" where the events have no id or several: they
// must not be taken for a repetition of another message.
func MessageID(events []Event) string {
	if len(events) == 0 || events[0].ID == "" {
		return ""
	}
	first := &events[0]
	for i := range events[1:] {
		if e := &events[1+i]; e.ID != first.ID || e.Kind != first.Kind || e.Part != first.Part || e.Model != first.Model {
			return ""
		}
	}
	switch first.Part {
	case Request:
		return "req:" + first.Model + ":" + first.ID
	case Response:
		return "res:" + first.Model + ":" + first.ID
	}
	return first.Kind.String() + ":" + first.ID
}
