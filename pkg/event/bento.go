package event

import (
	"strconv"
	"strings"
	"unsafe"
)

// bento reads the records of BentoML's OTLP monitor. A body is an object of
// columns, with timestamp, request_id and bento_meta, which gives each column
// its role (feature, prediction, target) and type (numerical, categorical,
// numerical_sequence). Features and predictions make one prediction, targets an
// outcome "label" of it (further ones are named after their column).
//
// A request of several records numbers none of them, and its records may come
// in several messages: if there are several in a message, the time of each is
// made part of its id, request_id@nanoseconds.
func (d *Decoder) bento(b *Batch, env Envelope, subject string, records []logRecord) *Reject {
	if len(records) == 0 {
		return d.refuseFor(otlpName, Schema, "no log records")
	}
	if env.Kind > Prediction {
		return d.refuseFor(otlpName, Schema, "predictions where "+env.Kind.String()+" belongs; send it to the way in for logs")
	}
	read := make([]bentoRecord, len(records))
	shared := map[string]int{}
	for i := range records {
		read[i] = d.bentoRecord(&records[i])
		shared[read[i].model+"\x00"+read[i].request]++
	}
	predictions := bentoWriter{writer{[]byte{'['}}, coat{name: otlpName}}
	outcomes := bentoWriter{writer{[]byte{'['}}, coat{name: otlpName}}
	seen := map[string]bool{}
	for i := range read {
		r := &read[i]
		r.identify(&records[i], shared[r.model+"\x00"+r.request] > 1, seen, i)
		predictions.prediction(d, r, &records[i], i)
		outcomes.outcomes(d, r, &records[i], i)
		if len(predictions.dst)+len(outcomes.dst) > writtenPerEvent*d.limits.EventBytes {
			return d.refuseFor(otlpName, Limit, "too many records; send smaller batches")
		}
	}
	return d.bentoWritten(b, subject, &predictions, &outcomes)
}

// bentoWritten decodes both; one of them must have a good event.
func (d *Decoder) bentoWritten(b *Batch, subject string, predictions, outcomes *bentoWriter) *Reject {
	before := b.mark()
	for i, w := range [...]*bentoWriter{predictions, outcomes} {
		kind := Prediction + Kind(i)
		if len(w.index) == 0 {
			continue
		}
		w.partial = true
		if r := d.written(b, kind, subject, &w.coat, append(w.dst, ']')); r != nil {
			b.rollback(before)
			return r
		}
	}
	if len(b.Events) > before.events {
		return nil
	}
	first := b.Rejects[before.rejects]
	first.Row = -1
	b.rollback(before)
	return &first
}

// bentoRecord is a record taken apart. Cells are JSON texts.
type bentoRecord struct {
	id, request, model, version string
	time                        string // JSON
	columns                     []bentoColumn
	problem                     string // why it is refused, "" if it is not
	reason                      Reason
}

type bentoColumn struct{ name, role, typ, cell string }

func (d *Decoder) bentoRecord(rec *logRecord) bentoRecord {
	var r bentoRecord
	body := rec.body
	if len(body) > 0 && body[0] == '"' { // JSON in a text
		d.s = unsafe.String(&body[0], len(body))
		text, _ := d.text(0)
		body = []byte(text)
	}
	d.s = unsafe.String(unsafe.SliceData(body), len(body))
	i := skipSpace(d.s, 0)
	if i == len(d.s) || d.s[i] != '{' {
		r.problem = "body is no object; BentoML's monitor sends one with OpenTelemetry 1.20 and later"
		return r
	}
	meta, schema := map[string]string{}, map[string]bentoColumn{}
	switch found, end := d.bentoBody(&r, meta, schema, i); {
	case end < 0:
		r.problem, r.reason = d.fault.field+": "+d.fault.what, d.fault.reason
		return r
	case !found:
		r.problem = "bento_meta is missing, which has the names and types; driftd reads the records of BentoML's monitor with meta_sample_rate 1"
		return r
	}
	for i, c := range r.columns {
		known := schema[c.name]
		r.columns[i].role, r.columns[i].typ = known.role, known.typ
	}
	if r.version = meta["bento_version"]; r.version == "not available" {
		r.version = ""
	}
	r.model = meta["bento_name"]
	if strings.Contains(d.wrapping.Model, "{bento_name}") || strings.Contains(d.wrapping.Model, "{monitor_name}") {
		model, ok := d.expandModel(func(name string) string { return meta[name] }, r.model)
		if !ok {
			r.problem = d.fault.what
		}
		r.model = model
	}
	return r
}

// bentoBody reads the body at i; found says whether it has bento_meta.
func (d *Decoder) bentoBody(r *bentoRecord, meta map[string]string, schema map[string]bentoColumn, i int) (found bool, end int) {
	seen := map[string]bool{}
	end = d.members(i, func(name string, at int) (end int) {
		if !d.once(seen, name, at) {
			return -1
		}
		switch name {
		case "timestamp":
			if end = d.skip(at, 1); end >= 0 {
				r.time = d.s[at:end]
			}
		case "request_id":
			r.request, end = d.scalar(at)
		case "bento_meta":
			found = true
			end = d.bentoMeta(meta, schema, at)
		default:
			if end = d.skip(at, 1); end >= 0 {
				r.columns = append(r.columns, bentoColumn{name: name, cell: d.s[at:end]})
			}
		}
		return end
	})
	return found, end
}

// bentoMeta reads the object at i.
func (d *Decoder) bentoMeta(meta map[string]string, schema map[string]bentoColumn, i int) int {
	return d.members(i, func(name string, at int) (end int) {
		if name != "schema" {
			meta[name], end = d.scalar(at)
			return end
		}
		return d.members(at, func(column string, at int) int {
			var c bentoColumn
			end := d.members(at, func(name string, at int) (end int) {
				switch name {
				case "role":
					c.role, end = d.scalar(at)
				case "type":
					c.typ, end = d.scalar(at)
				default:
					end = d.skip(at, 4)
				}
				return end
			})
			schema[column] = c
			return end
		})
	})
}

// identify makes the record's id. several: it shares its request in the message.
func (r *bentoRecord) identify(rec *logRecord, several bool, seen map[string]bool, i int) {
	r.id = r.request
	if r.id == "None" || r.id == "0" { // logged outside of a request
		r.id, several = "", true
	}
	if several {
		ns := rec.time
		if ns == 0 {
			ns = rec.observed
		}
		if ns != 0 {
			r.id += "@" + strconv.FormatUint(ns, 10)
		}
		if seen[r.model+"\x00"+r.id] && r.id != "" {
			r.id += "." + strconv.Itoa(i)
		}
	}
	seen[r.model+"\x00"+r.id] = true
}

// bentoWriter writes an array of events of one kind.
type bentoWriter struct {
	writer
	coat
}

// element starts the event of record i.
func (w *bentoWriter) element(i int) {
	if len(w.index) > 0 {
		w.dst = append(w.dst, ',')
	}
	w.index = append(w.index, i)
}

func (w *bentoWriter) prediction(d *Decoder, r *bentoRecord, rec *logRecord, i int) {
	if r.problem != "" {
		w.element(i)
		if w.fault == nil {
			w.fault, w.reasons = map[int]string{}, map[int]Reason{}
		}
		w.fault[len(w.index)-1], w.reasons[len(w.index)-1] = r.problem, r.reason
		w.dst = append(w.dst, "null"...)
		return
	}
	targets, first := 0, -1
	for n, c := range r.columns {
		switch c.role {
		case "target":
			targets++
		case "prediction":
			if first < 0 {
				first = n
			}
		}
	}
	if targets > 0 && targets == len(r.columns) {
		return // an outcome alone
	}
	w.element(i)
	w.dst = append(w.dst, '{')
	w.text("id", r.id)
	w.head(r, rec)
	w.key("features")
	w.dst = append(w.dst, '{')
	for _, c := range r.columns {
		if c.role == "feature" {
			w.key(c.name)
			w.typed(d, c)
		}
	}
	w.dst = append(w.dst, '}')
	if first >= 0 {
		w.key("prediction")
		w.typed(d, r.columns[first])
		w.otherScores(r.columns, first)
	}
	w.dst = append(w.dst, '}')
}

// head writes what predictions and outcomes share.
func (w *bentoWriter) head(r *bentoRecord, rec *logRecord) {
	w.text("model", r.model)
	w.text("model_version", r.version)
	w.text("trace_id", rec.trace)
	if r.time != "" {
		w.key("time")
		w.dst = append(w.dst, r.time...)
	} else if rec.time != 0 {
		w.key("time")
		w.dst = strconv.AppendUint(w.dst, rec.time, 10)
	}
}

// otherScores writes the numbers among further predictions.
func (w *bentoWriter) otherScores(columns []bentoColumn, first int) {
	var names, cells []string
	for n, c := range columns {
		if c.role == "prediction" && n != first {
			names, cells = append(names, c.name), append(cells, c.cell)
		}
	}
	if len(names) > 0 {
		w.scoresBut(names, cells, -1)
	}
}

func (w *bentoWriter) outcomes(d *Decoder, r *bentoRecord, rec *logRecord, i int) {
	name := "label"
	for _, c := range r.columns {
		if c.role != "target" || r.problem != "" {
			continue
		}
		w.element(i)
		w.dst = append(w.dst, '{')
		w.text("prediction_id", r.id)
		w.head(r, rec)
		w.text("name", name)
		w.key("label")
		w.typed(d, c)
		w.dst = append(w.dst, '}')
		name = c.name
	}
}

// typed writes a cell as its column's type has it; what does not fit becomes an
// Invalid value, and of an unknown type the JSON decides.
func (w *bentoWriter) typed(d *Decoder, c bentoColumn) {
	first := c.cell[0]
	number := first == '-' || first-'0' < 10
	switch {
	case first == 'n', c.typ == "numerical" && number, c.typ == "numerical_sequence" && first == '[':
	case c.typ == "categorical" && number:
		w.str(c.cell)
		return
	case c.typ == "categorical" && first != '{' && first != '[':
	case c.typ == "numerical", c.typ == "numerical_sequence", c.typ == "categorical":
		c.cell = "{}"
	}
	w.dst = append(w.dst, c.cell...)
}
