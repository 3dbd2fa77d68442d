package event

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unsafe"
)

// attributes are those of a CloudEvent by their lower-case names, and the
// content type of its data as "datacontenttype".
type attributes map[string]string

// worn reports whether any header may speak of a coat. It does not allocate:
// every bare message with headers passes here.
func (env Envelope) worn() bool {
	if len(env.Headers) == 1 {
		if _, ok := env.Headers["Nats-Msg-Id"]; ok {
			return false // what publishers of bare events send: a look-up is faster than to walk
		}
	}
	for key, values := range env.Headers {
		if len(values) == 0 || len(key) < 4 {
			continue
		}
		switch {
		case key[0]|0x20 == 'c' && key[1]|0x20 == 'e' && (key[2] == '-' || key[2] == '_'):
			return true
		case len(key) == len("type") && strings.EqualFold(key, "type"):
			return true
		case len(key) == len("content-type") && strings.EqualFold(key, "content-type"):
			if v := values[0]; strings.Contains(v, "cloudevents") || strings.Contains(v, "protobuf") {
				return true
			}
		}
	}
	return false
}

// attributes collects what the headers say, nil if nothing of a coat.
func (env Envelope) attributes() attributes {
	if !env.worn() {
		return nil
	}
	var a, bare attributes
	for key, values := range env.Headers {
		if len(values) == 0 {
			continue
		}
		name := strings.ToLower(key)
		attr, ok := strings.CutPrefix(name, "ce-")
		if !ok {
			attr, ok = strings.CutPrefix(name, "ce_")
		}
		if name == "content-type" {
			attr, ok = "datacontenttype", true
		}
		if ok {
			a = a.with(attr, headerText(values[0]))
		} else {
			bare = bare.with(name, values[0])
		}
	}
	if t := bare["type"]; a["type"] == "" && (strings.HasPrefix(t, kubeflow) || strings.HasPrefix(t, seldon)) {
		for name, value := range bare { // Seldon's Kafka messages, over a bridge
			a = a.with(name, value)
		}
	}
	return a
}

func (a attributes) with(name, value string) attributes {
	if a == nil {
		a = attributes{}
	}
	a[name] = value
	return a
}

// media is the content type without its parameters.
func (a attributes) media() string {
	media, _, _ := strings.Cut(a["datacontenttype"], ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// headerText undoes the percent-encoding of the CloudEvents bindings, and the
// quotes around a value; % without two digits stands for itself.
func headerText(v string) string {
	if n := len(v); n >= 2 && v[0] == '"' && v[n-1] == '"' {
		v = v[1 : n-1]
	}
	if !strings.Contains(v, "%") {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if c, err := strconv.ParseUint(v[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(c))
				i += 2
				continue
			}
		}
		out = append(out, v[i])
	}
	return string(out)
}

// cloudEvent is a CloudEvent of either mode.
type cloudEvent struct {
	attrs attributes
	data  []byte
	bytes int // offset of data in the message; -1 = it was encoded
}

// The types which are understood.
const (
	kubeflow = "org.kubeflow.serving.inference."
	seldon   = "io.seldon.serving."
)

var driftdTypes = map[string]Kind{
	"io.driftd.prediction.v1": Prediction,
	"io.driftd.outcome.v1":    Outcome,
	"io.driftd.kpi.v1":        KPI,
}

const knownTypes = "driftd reads io.driftd.prediction.v1, io.driftd.outcome.v1, io.driftd.kpi.v1, " +
	kubeflow + "request and response, " + seldon + "inference.request and response, and " + seldon + "feedback"

// cloudEvent reads the data of a CloudEvent according to its type.
func (d *Decoder) cloudEvent(b *Batch, env Envelope, subject string, ce *cloudEvent) *Reject {
	typ, spec := ce.attrs["type"], ce.attrs["specversion"]
	switch {
	case typ == "":
		return d.refuseFor("cloudevent", Schema, "type is missing; "+knownTypes)
	case spec != "" && spec != "0.3" && spec != "1.0" && !strings.HasPrefix(spec, "1.0."):
		return d.refuseFor("cloudevent", Schema, "specversion "+strconv.Quote(shorten(spec))+" is not known; send 1.0 or 0.3")
	}
	kind, ok := driftdTypes[typ]
	name := "cloudevent " + strconv.Quote(shorten(typ))
	if !ok {
		kind = Prediction
	}
	if typ == seldonFeedback {
		kind = Outcome
	}
	if env.Kind != 0 && env.Kind != kind {
		return d.refuseFor(name, Schema, kind.String()+" where "+env.Kind.String()+" belongs; send it to the way in for cloudevents")
	}
	switch {
	case ok:
		return d.ownEvent(b, kind, subject, name, ce)
	case typ == kubeflow+"request", typ == seldon+"inference.request":
		return d.inference(b, subject, name, Request, ce)
	case typ == kubeflow+"response", typ == seldon+"inference.response":
		return d.inference(b, subject, name, Response, ce)
	case typ == seldonFeedback:
		return d.feedback(b, subject, name, ce)
	}
	return d.refuseFor("cloudevent", Schema, "type "+strconv.Quote(shorten(typ))+" is not known; "+knownTypes)
}

// ownEvent reads a CloudEvent around the bare schema.
func (d *Decoder) ownEvent(b *Batch, kind Kind, subject, name string, ce *cloudEvent) *Reject {
	c := &coat{name: name, bytes: ce.bytes, id: ce.attrs["id"], source: ce.attrs["source"]}
	if !d.fits("id", c.id) || !d.fits("source", c.source) {
		return d.refuse(name, -1)
	}
	if t := ce.attrs["time"]; t != "" {
		ns, problem := d.parseTime(t)
		if problem != "" {
			return d.refuseFor(name, Schema, problem)
		}
		c.time = ns
	}
	d.coat = c
	return d.Decode(b, kind, subject, ce.data)
}

// structured reads the CloudEvent whose JSON object is at i.
func (d *Decoder) structured(b *Batch, env Envelope, subject string, i int) *Reject {
	ce, end := d.structure(i)
	if end >= 0 {
		if at := skipSpace(d.s, end); at < len(d.s) {
			d.fail(Decode, at, "%s after the end of the cloudevent", charName(d.s[at]))
			end = -1
		}
	}
	if end < 0 {
		return d.refuse("cloudevent", 0)
	}
	return d.cloudEvent(b, env, subject, ce)
}

// cloudEvents reads an array of structured CloudEvents; each is refused alone.
func (d *Decoder) cloudEvents(b *Batch, env Envelope, subject string) *Reject {
	type found struct {
		ce *cloudEvent
		at int
	}
	var all []found
	i := skipSpace(d.s, 0)
	end := d.elements(i, func(n, at int) int {
		if n >= d.limits.Rows {
			return d.fail(Limit, at, "more than %d events in one message; send smaller batches", d.limits.Rows)
		}
		ce, end := d.structure(at)
		all = append(all, found{ce, at})
		return end
	})
	if end >= 0 {
		if at := skipSpace(d.s, end); at < len(d.s) || len(all) == 0 {
			d.fail(Decode, at, "not an array of cloudevents")
			end = -1
		}
	}
	if end < 0 {
		return d.refuse("cloudevents", 0)
	}
	events, rejects := len(b.Events), len(b.Rejects)
	message := d.s
	for n, f := range all {
		d.s = message
		if r := d.cloudEvent(b, env, subject, f.ce); r != nil {
			r.Row = int32(n)
			r.Detail = "element " + strconv.Itoa(n) + ", " + r.Detail
			b.Rejects = append(b.Rejects, *r)
		}
	}
	if len(b.Events) > events {
		return nil
	}
	first := b.Rejects[rejects]
	first.Row = -1
	b.Rejects = b.Rejects[:rejects]
	return &first
}

// structure takes the CloudEvent at i apart.
func (d *Decoder) structure(i int) (*cloudEvent, int) {
	ce := &cloudEvent{attrs: attributes{}}
	seen := map[string]bool{}
	from, to, encoded := -1, -1, ""
	end := d.members(i, func(name string, at int) int {
		if !d.once(seen, name, at) {
			return -1
		}
		switch name {
		case "data":
			from, to = at, d.skip(at, 1)
			return to
		case "data_base64":
			text, end := d.text(at)
			encoded = text
			return end
		}
		text, end := d.scalar(at)
		ce.attrs[strings.ToLower(name)] = text
		return end
	})
	if end < 0 {
		return nil, -1
	}
	if from >= 0 && d.s[from] == '"' && ce.attrs["datacontentencoding"] == "base64" { // as in 0.3
		encoded, _ = d.text(from)
	}
	switch {
	case encoded != "":
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			d.fail(Decode, i, "not base64")
			return nil, d.in("data_base64")
		}
		ce.data, ce.bytes = data, -1
	case from < 0:
		return nil, d.fail(Schema, i, "cloudevent without data")
	case d.s[from] == '"': // JSON in a text
		text, _ := d.text(from)
		ce.data, ce.bytes = []byte(text), -1
	default:
		ce.data, ce.bytes = unsafe.Slice(unsafe.StringData(d.s[from:to]), to-from), from
	}
	return ce, end
}
