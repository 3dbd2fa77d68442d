package event

import (
	"strconv"
	"strings"
	"unsafe"
)

// Payload logs are rewritten to the bare schema, one object with rows, and read
// by Decode: so policies, limits and reasons are those of bare JSON, whatever
// the coat.

const (
	versionAnnotation = "driftd.dev/model-version"
	variantAnnotation = "driftd.dev/variant"
	versionHeader     = "driftd-model-version" // in ce-metadata, where KServe logs headers of requests

	// notImplemented is what MLServer says outside of Seldon.
	notImplemented = "NOTIMPLEMENTED"

	// writtenPerEvent bounds what a payload may grow to, in Limits.EventBytes:
	// names are repeated for each row.
	writtenPerEvent = 64
)

// inference reads the request or the response in the payload log of KServe or
// Seldon.
func (d *Decoder) inference(b *Batch, subject, name string, part Part, ce *cloudEvent) *Reject {
	d.s = unsafe.String(unsafe.SliceData(ce.data), len(ce.data))
	t := &table{prediction: -1}
	if d.payload(t, part) < 0 {
		return d.refuse(name, ce.bytes)
	}
	o, ok := d.origin(ce.attrs, t)
	if !ok {
		return d.refuse(name, -1)
	}
	c := &coat{name: name, part: part}
	out, ok := d.writeRows(t, o, c, part)
	if !ok {
		return d.refuse(name, -1)
	}
	return d.written(b, Prediction, subject, c, out)
}

// openInference reads a bare v2 body, whose CloudEvent is in
// parameters.headers (MLServer over Kafka) or which names model and id itself.
func (d *Decoder) openInference(b *Batch, env Envelope, subject string, i int, bare *Reject) *Reject {
	data := unsafe.Slice(unsafe.StringData(d.s), len(d.s))
	ce := &cloudEvent{data: data, attrs: attributes{}}
	part, model := Request, false
	end := d.members(i, func(name string, at int) int {
		switch {
		case name == "outputs" && at < len(d.s) && d.s[at] == '[':
			part = Response
		case name == "model_name" || name == "modelName":
			model = true
		case name == "parameters" && at < len(d.s) && d.s[at] == '{':
			return d.parameterHeaders(at, ce.attrs)
		}
		return d.skip(at, 1)
	})
	switch {
	case end < 0:
		return bare
	case ce.attrs["type"] != "":
		return d.cloudEvent(b, env, subject, ce)
	case !model || env.Kind > Prediction:
		return bare
	}
	return d.inference(b, subject, "open inference "+part.String(), part, ce)
}

// parameterHeaders collects the CloudEvent attributes among the headers which
// the object at i holds.
func (d *Decoder) parameterHeaders(i int, attrs attributes) int {
	return d.members(i, func(name string, at int) int {
		if name != "headers" || at >= len(d.s) || d.s[at] != '{' {
			return d.skip(at, 2)
		}
		return d.members(at, func(name string, at int) int {
			value, end := d.scalar(at)
			if attr, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok {
				attrs[attr] = value
			}
			return end
		})
	})
}

// origin is what the attributes and the body say about the rows as a whole.
type origin struct {
	id, time, trace         string
	model, version, variant string
	wrapped                 WrappedModel
}

// origin resolves names and versions; ok is false where a fault was recorded.
func (d *Decoder) origin(attrs attributes, t *table) (o origin, ok bool) {
	get := func(name string) string {
		if v := attrs[name]; v != notImplemented {
			return v
		}
		return ""
	}
	o.id, o.time = attrs["id"], attrs["time"]
	if strings.HasPrefix(attrs["type"], seldon) && attrs["requestid"] != "" {
		o.id = attrs["requestid"] // request and response have ids of their own
	}
	if o.id == "" {
		o.id = t.id
	}
	if parent := strings.Split(attrs["traceparent"], "-"); len(parent) == 4 {
		o.trace = parent[1]
	}
	notes, ok1 := d.note(attrs["annotations"], "annotations")
	headers, ok2 := d.note(attrs["metadata"], "metadata")
	if !ok1 || !ok2 {
		return o, false
	}
	look := func(name string) string {
		if key, ok := strings.CutPrefix(name, "annotations."); ok {
			return notes[key]
		}
		if key, ok := strings.CutPrefix(name, "metadata."); ok {
			return headers[key]
		}
		return get(name)
	}
	o.version = firstOf(notes[versionAnnotation], headers[versionHeader], t.version)
	if !d.nameModel(&o, attrs, t.model, look) {
		return o, false
	}
	o.version = expandOr(d.wrapping.Version, look, o.version)
	o.variant = d.nameVariant(expandOr(d.wrapping.Variant, look, ""), notes[variantAnnotation], attrs["endpoint"])
	for _, w := range d.wrapping.Models {
		if Match(w.Glob, o.model) {
			o.wrapped = w
			break
		}
	}
	return o, true
}

// nameModel finds the model's name, and the version where the name carries it.
func (d *Decoder) nameModel(o *origin, attrs attributes, inBody string, look func(string) string) (ok bool) {
	modelID := look("modelid")
	if strings.HasPrefix(attrs["source"], "io.seldon.serving.deployment.") { // MLServer, also in Seldon Core 2
		o.model = firstOf(modelID, inBody, look("inferenceservicename"))
		if attrs["endpoint"] == o.model || inBody == o.model { // with the generation which Seldon Core 2 appends
			generation := ""
			o.model, generation = cutGeneration(o.model)
			o.version = firstOf(o.version, generation)
		}
	} else {
		o.model = firstOf(look("inferenceservicename"), modelID, inBody)
	}
	if d.wrapping.Model != "" && attrs["type"] != "" {
		o.model, ok = d.expandModel(look, o.model)
		return ok
	}
	return true
}

// nameVariant finds the variant: what the operator's template says, else the
// annotation, which is refused when it is none, else the endpoint. A text of the
// template or an endpoint that means nothing is no variant.
func (d *Decoder) nameVariant(configured, annotation, endpoint string) string {
	if variant := d.variantOf(configured); variant != "" {
		return variant
	}
	return firstOf(annotation, d.variantOf(endpoint))
}

// variantOf is the variant that a text stands for, "" for none. No text is none.
func (d *Decoder) variantOf(text string) string {
	if text == "" {
		return ""
	}
	if v, known := d.wrapping.Variants[text]; known {
		return v.String()
	}
	if v, known := ParseVariant(text); known {
		return v.String()
	}
	return ""
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// cutGeneration takes "iris_1" to "iris" and "1".
func cutGeneration(model string) (name, generation string) {
	i := strings.LastIndexByte(model, '_')
	if i <= 0 || i+1 == len(model) || strings.Trim(model[i+1:], "0123456789") != "" {
		return model, ""
	}
	return model[:i], model[i+1:]
}

// note reads an attribute which is a JSON object of texts, or of lists of them
// (of which the first counts), under lower-case keys. "", "null" and what is no
// object are empty.
func (d *Decoder) note(text, attr string) (map[string]string, bool) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") {
		return nil, true
	}
	before := d.s
	d.s = text
	notes := map[string]string{}
	end := d.members(0, func(name string, at int) int {
		if at < len(d.s) && d.s[at] == '[' {
			return d.elements(at, func(n, at int) int {
				value, end := d.scalar(at)
				if n == 0 {
					notes[strings.ToLower(name)] = value
				}
				return end
			})
		}
		value, end := d.scalar(at)
		notes[strings.ToLower(name)] = value
		return end
	})
	d.s = before
	if end < 0 {
		d.in("ce-" + attr)
		return nil, false
	}
	return notes, true
}

// writeRows writes a table in the bare schema.
func (d *Decoder) writeRows(t *table, o origin, c *coat, part Part) ([]byte, bool) {
	w := writer{append(make([]byte, 0, 2*len(d.s)+512), '{')}
	w.text("id", o.id)
	w.text("time", o.time)
	w.text("model", o.model)
	w.text("model_version", o.version)
	w.text("variant", o.variant)
	w.text("trace_id", o.trace)
	w.key("rows")
	w.dst = append(w.dst, '[')
	names, classes := d.columnNames(t, o.wrapped.Features), o.wrapped.Classes
	for r := range max(len(t.rows), len(t.dicts)) {
		if r > 0 {
			w.dst = append(w.dst, ',')
		}
		var problem string
		switch {
		case part == Request && t.dicts != nil:
			problem = w.dictFeatures(d, t.dicts[r])
		case part == Request:
			problem = w.rowFeatures(names, t.rows[r])
		case t.dicts != nil:
			problem = w.dictPrediction(d, t.dicts[r])
		default:
			problem = w.rowPrediction(t, r, classes)
		}
		if problem != "" {
			if c.fault == nil {
				c.fault = map[int]string{}
			}
			c.fault[r] = problem
			w.dst = append(w.dst, "null"...) // keeps the numbers of the others
		}
		if len(w.dst) > writtenPerEvent*d.limits.EventBytes {
			d.fail(Limit, 0, "rows with their names are more than %d bytes; send smaller batches", writtenPerEvent*d.limits.EventBytes)
			return nil, false
		}
	}
	return append(w.dst, "]}"...), true
}

// columnNames are the names of the table's columns: the payload's where they
// are meant, else the operator's, else made from the tensor's or from f and the
// position.
func (d *Decoder) columnNames(t *table, configured []string) []string {
	if len(configured) > 0 && !t.named {
		return configured
	}
	if len(t.names) > 0 || len(t.rows) == 0 {
		return t.names
	}
	names := make([]string, len(t.rows[0]))
	for i := range names {
		names[i] = "f" + strconv.Itoa(i)
	}
	return names
}

// rowFeatures writes one row of cells. problem is "" or why nothing was written.
func (w *writer) rowFeatures(names, cells []string) (problem string) {
	if len(cells) != len(names) {
		return strconv.Itoa(len(cells)) + " values for " + strconv.Itoa(len(names)) + " features; send as many in each row, as many as are named"
	}
	w.dst = append(w.dst, `{"features":{`...)
	for i, cell := range cells {
		w.key(names[i])
		w.dst = append(w.dst, cell...)
	}
	w.dst = append(w.dst, "}}"...)
	return ""
}

// dictFeatures writes one row which is an object. A list of one value, as
// TensorFlow wants it, is that value.
func (w *writer) dictFeatures(d *Decoder, dict string) (problem string) {
	before := d.s
	d.s = dict
	w.dst = append(w.dst, `{"features":{`...)
	d.members(0, func(name string, at int) int {
		w.key(name)
		end := d.skip(at, 2)
		w.dst = append(w.dst, d.single(at, end)...)
		return end
	}) // the grammar was checked
	w.dst = append(w.dst, "}}"...)
	d.s = before
	return ""
}

// single is the value at i, or the only scalar in it if it is a list of one.
func (d *Decoder) single(i, end int) string {
	value := d.s[i:end]
	if value[0] != '[' {
		return value
	}
	count, only := 0, ""
	d.elements(i, func(n, at int) int {
		count++
		end := d.skip(at, 3)
		if end >= 0 && d.s[at] != '[' && d.s[at] != '{' {
			only = d.s[at:end]
		}
		return end
	})
	if count == 1 && only != "" {
		return only
	}
	return value
}

// rowPrediction writes one row of answers: one value is the prediction; of
// several columns, one may be marked as that and the others are scores; else
// they are scores of the operator's classes, of which the likeliest is the
// prediction; else a vector, and scores where the columns have names.
func (w *writer) rowPrediction(t *table, r int, classes []string) (problem string) {
	cells := t.rows[r]
	w.dst = append(w.dst, '{')
	switch at := t.prediction; {
	case len(cells) == 0:
		w.dst = w.dst[:len(w.dst)-1]
		return "no values"
	case at >= 0 || len(cells) == 1:
		at = max(at, 0)
		w.key("prediction")
		w.dst = append(w.dst, cells[at]...)
		w.scoresBut(t.names, cells, at)
	case len(classes) == len(cells):
		likeliest, most := 0, 0.0
		for i, cell := range cells {
			if x, err := strconv.ParseFloat(cell, 64); err == nil && (i == 0 || x > most) {
				likeliest, most = i, x
			}
		}
		w.key("prediction")
		w.str(classes[likeliest])
		w.num("confidence", most)
		w.scoresBut(classes, cells, -1)
	default:
		w.key("prediction")
		w.dst = append(w.dst, '[')
		w.dst = append(w.dst, strings.Join(cells, ",")...)
		w.dst = append(w.dst, ']')
		w.scoresBut(t.names, cells, -1)
	}
	w.dst = append(w.dst, '}')
	return ""
}

// scoresBut writes the numbers among cells as scores, without the prediction's.
func (w *writer) scoresBut(names, cells []string, prediction int) {
	if len(names) != len(cells) || len(cells) == 1 && prediction == 0 {
		return
	}
	w.key("scores")
	w.dst = append(w.dst, '{')
	for i, cell := range cells {
		if i != prediction && (cell[0] == '-' || cell[0]-'0' < 10) {
			w.key(names[i])
			w.dst = append(w.dst, cell...)
		}
	}
	w.dst = append(w.dst, '}')
}

// dictPrediction writes an answer which is an object: the first of the usual
// names is the prediction, the other numbers are scores.
func (w *writer) dictPrediction(d *Decoder, dict string) (problem string) {
	usual := [...]string{"prediction", "predictions", "class", "classes", "label", "output", "score"}
	before, start := d.s, len(w.dst)
	d.s = dict
	t := &table{prediction: -1}
	var cells []string
	rank := len(usual)
	d.members(0, func(name string, at int) int {
		end := d.skip(at, 2)
		cell := d.single(at, end)
		for i, u := range usual[:rank] {
			if strings.EqualFold(name, u) && cell[0] != '{' {
				rank, t.prediction = i, len(cells)
			}
		}
		t.names, cells = append(t.names, name), append(cells, cell)
		return end
	})
	d.s = before
	if t.prediction < 0 && len(cells) != 1 {
		w.dst = w.dst[:start]
		return "no member of the object is called prediction; name it so, or class or label"
	}
	t.rows = [][]string{cells}
	return w.rowPrediction(t, 0, nil)
}
