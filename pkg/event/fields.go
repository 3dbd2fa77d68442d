package event

import "strings"

// field is one of the event's own fields.
type field uint8

const (
	fieldNone field = iota // the start of an object, and fields unknown to the kind
	fieldID
	fieldTime
	fieldModel
	fieldVersion
	fieldVariant
	fieldFeatures
	fieldPrediction
	fieldScores
	fieldConfidence
	fieldLatency
	fieldError
	fieldCost
	fieldEntity
	fieldSegments
	fieldTrace
	fieldRows
	fieldPredictionID
	fieldName
	fieldLabel
	fieldValue
	fieldSource
	fieldAnnotator
	fieldExplanation
	fieldCurrency
)

var fieldNames = [...]string{
	fieldID: "id", fieldTime: "time", fieldModel: "model", fieldVersion: "model_version", fieldVariant: "variant",
	fieldFeatures: "features", fieldPrediction: "prediction", fieldScores: "scores", fieldConfidence: "confidence",
	fieldLatency: "latency_ms", fieldError: "error", fieldCost: "cost", fieldEntity: "entity_id",
	fieldSegments: "segments", fieldTrace: "trace_id", fieldRows: "rows", fieldPredictionID: "prediction_id",
	fieldName: "name", fieldLabel: "label", fieldValue: "value", fieldSource: "source",
	fieldAnnotator: "annotator", fieldExplanation: "explanation", fieldCurrency: "currency",
}

var fieldTokens = func() (t [len(fieldNames)]token) {
	for f, name := range fieldNames {
		t[f] = newToken(`"` + name + `":`)
	}
	return t
}()

var fieldIndex = func() map[string]field {
	m := map[string]field{}
	for f, name := range fieldNames {
		if name != "" {
			m[name] = field(f)
		}
	}
	return m
}()

// fieldsOf is the set of fields which each kind of event has.
var fieldsOf = func() (t [KPI + 1]uint32) {
	set := func(k Kind, fields ...field) {
		for _, f := range append(fields, fieldID, fieldTime, fieldModel, fieldVersion, fieldVariant, fieldEntity, fieldSegments, fieldTrace, fieldRows) {
			t[k] |= 1 << f
		}
	}
	set(Prediction, fieldFeatures, fieldPrediction, fieldScores, fieldConfidence, fieldLatency, fieldError, fieldCost)
	set(Outcome, fieldPredictionID, fieldName, fieldLabel, fieldValue, fieldSource, fieldAnnotator, fieldExplanation)
	set(KPI, fieldName, fieldValue, fieldCost, fieldCurrency)
	return t
}()

// frame is the state of one object of event fields.
type frame struct {
	ev    *Event
	start int    // where the object opens
	inRow bool   // it is a row
	seen  uint32 // fields of this object, to find duplicates
	have  uint32 // fields with a value, inherited ones included

	rowsAt     int         // where the rows are, -1 = none
	featuresAt int         // where the features are, -1 = none
	readFor    string      // the model under whose rules they were read, "" = not read yet
	vectors    [][]float64 // of the features
	prediction []float64   // the prediction, where it is a vector
}

// object reads the object of event fields at i.
func (d *Decoder) object(f *frame, i int) int {
	s := d.s
	if i >= len(s) || s[i] != '{' {
		if d.skip(i, 0) < 0 {
			return -1
		}
		return d.fail(Schema, i, "an event is a JSON object")
	}
	i = skipSpace(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	for prev := fieldNone; ; {
		fd, after := d.fieldKey(prev, i)
		if after < 0 {
			return -1
		}
		at := i
		i = after
		switch {
		case fd == fieldNone:
			f.ev.UnknownFields++
			i = d.skip(i, 1)
		case f.seen&(1<<fd) != 0:
			return d.fail(Decode, at, "key %q occurs twice; parsers disagree on which one counts", fieldNames[fd])
		default:
			f.seen |= 1 << fd
			prev = fd
			if i < len(s) && s[i] == 'n' {
				i = d.literal(i, "null")
			} else if i = d.field(f, fd, i); i >= 0 {
				f.have |= 1 << fd
			}
			if i < 0 {
				return d.in(fieldNames[fd])
			}
		}
		if i < 0 {
			return -1
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

// fieldKey reads a key. The field which followed prev last time is compared as
// a whole token first; a wrong guess costs one map lookup.
func (d *Decoder) fieldKey(prev field, i int) (field, int) {
	if guess := d.order[d.kind][prev]; guess != fieldNone {
		if token := &fieldTokens[guess]; token.at(d.s, i) {
			return guess, skipSpace(d.s, i+token.n)
		}
	}
	name, after := d.key(i)
	if after < 0 {
		return fieldNone, -1
	}
	fd := fieldIndex[name]
	if fieldsOf[d.kind]&(1<<fd) == 0 {
		return fieldNone, after
	}
	d.order[d.kind][prev] = fd
	return fd, after
}

// field reads the value of one field, which is not null.
func (d *Decoder) field(f *frame, fd field, i int) int {
	ev := f.ev
	switch fd {
	case fieldID:
		ev.ID, i = d.identifier(i)
	case fieldTime:
		ev.Time, i = d.time(i)
	case fieldModel:
		ev.Model, i = d.short(i)
	case fieldVersion:
		ev.Version, i = d.version(i)
	case fieldVariant:
		ev.Variant, i = d.variant(i)
	case fieldFeatures:
		i = d.featuresField(f, i)
	case fieldPrediction:
		ev.Prediction, i = d.value(i, &counted, 1)
		f.prediction = d.vector
	case fieldScores:
		i = d.scores(f, i)
	case fieldConfidence:
		ev.Confidence, i = d.float(i)
	case fieldLatency:
		ev.LatencyMS, i = d.float(i)
	case fieldError:
		i = d.errorField(ev, i)
	case fieldCost:
		ev.Cost, i = d.float(i)
	case fieldEntity:
		ev.EntityID, i = d.identifier(i)
	case fieldSegments:
		i = d.segments(ev, i)
	case fieldTrace:
		ev.TraceID, i = d.identifier(i)
	case fieldRows:
		i = d.rowsField(f, i)
	default:
		i = d.labelField(ev, fd, i)
	}
	return i
}

// labelField reads the fields which only outcomes and KPIs have.
func (d *Decoder) labelField(ev *Event, fd field, i int) int {
	switch fd {
	case fieldPredictionID:
		ev.PredictionID, i = d.identifier(i)
	case fieldName:
		ev.Name, i = d.short(i)
	case fieldLabel:
		ev.Label, i = d.value(i, &counted, 1)
		if ev.Label.Kind == Vector {
			ev.Label = Value{Kind: Invalid} // a label is one thing
		}
	case fieldValue:
		ev.Value, i = d.float(i)
	case fieldSource:
		ev.Source, i = d.short(i)
	case fieldAnnotator:
		ev.Annotator, i = d.identifier(i)
	case fieldExplanation:
		ev.Explanation, i = d.long(i)
	case fieldCurrency:
		ev.Currency, i = d.short(i)
	}
	return i
}

// wrongType refuses a value of a JSON type which the field does not have; if
// there is no value at all, it says so instead.
func (d *Decoder) wrongType(i int, want string) int {
	if d.skip(i, 1) < 0 {
		return -1
	}
	return d.fail(Schema, i, "must be %s", want)
}

// short reads a string of at most Limits.StringBytes.
func (d *Decoder) short(i int) (string, int) {
	if i >= len(d.s) || d.s[i] != '"' {
		return "", d.wrongType(i, "a string")
	}
	t, end := d.text(i)
	if end >= 0 && len(t) > d.limits.StringBytes {
		return "", d.fail(Limit, i, "longer than %d bytes", d.limits.StringBytes)
	}
	return t, end
}

// long reads a string and cuts it at Limits.StringBytes, between characters.
func (d *Decoder) long(i int) (string, int) {
	if i >= len(d.s) || d.s[i] != '"' {
		return "", d.wrongType(i, "a string")
	}
	t, end := d.text(i)
	return cut(t, d.limits.StringBytes), end
}

func cut(t string, n int) string {
	if len(t) <= n {
		return t
	}
	for n > 0 && t[n]&0xC0 == 0x80 {
		n--
	}
	return t[:n]
}

// identifier reads a string or an integer, which is taken digit for digit.
func (d *Decoder) identifier(i int) (string, int) {
	if i < len(d.s) && d.s[i] == '"' {
		return d.short(i)
	}
	if i >= len(d.s) || !opensNumber[d.s[i]] {
		return "", d.wrongType(i, "a string or an integer")
	}
	t, end := d.version(i)
	if end >= 0 && strings.ContainsAny(t, ".eE") {
		return "", d.fail(Schema, i, "must be a string or an integer")
	}
	return t, end
}

// version reads a string, or a number as it is written: 1.10 is not 1.1.
func (d *Decoder) version(i int) (string, int) {
	s := d.s
	if i >= len(s) || s[i] != '-' && s[i]-'0' > 9 {
		if i < len(s) && s[i] == '"' {
			return d.short(i)
		}
		return "", d.wrongType(i, "a string or a number")
	}
	_, end := parseDecimal(s, i)
	if end < 0 {
		return "", d.badNumber(i)
	}
	if end-i > d.limits.StringBytes {
		return "", d.fail(Limit, i, "longer than %d bytes", d.limits.StringBytes)
	}
	return s[i:end], end
}

// float reads a number.
func (d *Decoder) float(i int) (float64, int) {
	s := d.s
	if i >= len(s) || !opensNumber[s[i]] {
		return 0, d.wrongType(i, "a number or null")
	}
	x, end := parseNumber(s, i)
	if end < 0 {
		return 0, d.badNumber(i)
	}
	return x, end
}

func (d *Decoder) variant(i int) (Variant, int) {
	t, end := d.short(i)
	if end < 0 {
		return Primary, -1
	}
	v, ok := ParseVariant(t)
	if !ok {
		return Primary, d.fail(Schema, i, "must be primary, canary or shadow")
	}
	return v, end
}

// errorField reads what a failed prediction says about itself: a text, or
// anything else but false, 0, "" and [].
func (d *Decoder) errorField(ev *Event, i int) int {
	if i < len(d.s) && d.s[i] == '"' {
		t, end := d.long(i)
		ev.Error, ev.Failed = t, t != ""
		return end
	}
	v, end := d.value(i, &counted, 1)
	ev.Error = ""
	ev.Failed = v.Kind == Invalid || v.Num != 0 || v.Str == "true"
	return end
}

// rowsField notes where the rows are and passes over them.
func (d *Decoder) rowsField(f *frame, i int) int {
	if i >= len(d.s) || d.s[i] != '[' {
		return d.wrongType(i, "an array of objects")
	}
	if f.inRow {
		return d.wrongType(i, "outside of rows: rows do not nest")
	}
	f.rowsAt = i
	return d.skip(i, 1)
}
