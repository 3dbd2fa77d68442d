package event

// finish completes the event of a frame whose object ends before end: what
// needs the model is done here, because keys come in any order. An event which
// passes has seen the Policy in full.
func (d *Decoder) finish(f *frame, end int) int {
	ev := f.ev
	if d.coat != nil {
		d.coat.complete(d, f)
	}
	if end-f.start > d.limits.EventBytes {
		return d.fail(TooLarge, f.start, "event of %d bytes is above the limit of %d; send less, or split the batch", end-f.start, d.limits.EventBytes)
	}
	if missing := d.missing(f); missing != "" {
		return d.fail(Schema, f.start, "%s", missing)
	}
	if d.agrees(f) < 0 {
		return -1
	}
	rules := d.policy.simple
	unread := f.featuresAt >= 0 && f.readFor != ev.Model
	if rules == nil || unread {
		p := d.producerOf(ev.Model, ev.Version)
		rules = p.rules
		if unread && d.features(f, p) < 0 {
			return d.in(fieldNames[fieldFeatures])
		}
	}
	if ev.Prediction.Kind != Vector {
		f.prediction = nil
	}
	if rules.text {
		d.applyPolicy(f, rules)
	}
	if len(ev.Segments) > 0 {
		d.keepSegments(ev, rules)
	}
	ev.Vectors = f.vectors
	if ev.Prediction.Kind == Vector {
		b := d.b
		first := len(b.vectors)
		b.vectors = append(append(b.vectors, f.vectors...), f.prediction)
		ev.Vectors = b.vectors[first:len(b.vectors):len(b.vectors)]
	}
	return end
}

// missing says which required field is absent, "" if none.
func (d *Decoder) missing(f *frame) string {
	ev := f.ev
	has := func(fd field) bool { return f.have&(1<<fd) != 0 }
	switch ev.Kind {
	case Prediction:
		switch {
		case ev.ID == "":
			return "id is missing; a prediction needs id, model, and features or prediction"
		case ev.Model == "":
			return "model is missing; a prediction needs id, model, and features or prediction"
		case !has(fieldFeatures) && !has(fieldPrediction) && f.inRow:
			return `features is missing; a row is {"features": {...}, ...}, not the bare features`
		case !has(fieldFeatures) && !has(fieldPrediction):
			return "features and prediction are missing; send one of them"
		}
	case Outcome:
		switch {
		case ev.PredictionID == "" && ev.EntityID == "":
			return "prediction_id is missing; an outcome needs prediction_id or entity_id, name, and label or value"
		case ev.Name == "":
			return "name is missing; an outcome is named label, thumbs, correction or after a signal of yours"
		case !has(fieldLabel) && !has(fieldValue):
			return "label and value are missing; send one of them"
		}
	case KPI:
		switch {
		case ev.Name == "":
			return "name is missing; a kpi needs name and value"
		case !has(fieldValue):
			return "value is missing; a kpi needs name and value"
		}
	}
	return ""
}

// agrees checks the payload against the subject's token. The payload is
// authoritative; a disagreement means that one of the two is wrong.
func (d *Decoder) agrees(f *frame) int {
	token := d.subject.model
	if !d.subject.ok || token == "" {
		return 0
	}
	name, what := f.ev.Model, "model"
	if f.ev.Kind == KPI {
		name, what = f.ev.Name, "name"
	}
	if name == "" || Token(name) == token || d.subject.kind != f.ev.Kind {
		return 0
	}
	return d.fail(SubjectMismatch, f.start, "%s is %q but the subject says %q; publish on the subject of the %s",
		what, shorten(name), shorten(token), what)
}

// applyPolicy applies the rules to the event's own fields; the features have
// been read under them.
func (d *Decoder) applyPolicy(f *frame, m *modelRules) {
	ev := f.ev
	ev.EntityID = d.applyText(ev.EntityID, m.field("entity_id"))
	ev.TraceID = d.applyText(ev.TraceID, m.field("trace_id"))
	ev.Error = d.applyText(ev.Error, m.field("error"))
	ev.Annotator = d.applyText(ev.Annotator, m.field("annotator"))
	ev.Explanation = d.applyText(ev.Explanation, m.field("explanation"))
	ev.Source = d.applyText(ev.Source, m.named("source"))
	if r := m.named("id"); r.action == HMAC {
		ev.ID = d.applyText(ev.ID, r)
		ev.PredictionID = d.applyText(ev.PredictionID, r) // or they would not join
	} else if r := m.named("prediction_id"); r.action == HMAC {
		ev.PredictionID = d.applyText(ev.PredictionID, r)
	}
	r := m.named("prediction")
	ev.Prediction = d.applyValue(ev.Prediction, r)
	if ev.Prediction.Kind == Vector && r.action == Bucket {
		f.prediction = d.bucketed(f.prediction, r.width)
	}
	ev.Label = d.applyValue(ev.Label, m.named("label"))
}

// applyValue is the policy of a prediction or a label.
func (d *Decoder) applyValue(v Value, r rule) Value {
	switch {
	case r.action == Drop:
		return Value{}
	case v.Kind == Number && r.typ == CategoricalType && r.action == Count:
		return Cat(d.numberText(v.Num))
	case v.Kind == Category && r.typ == NumericType, v.Kind == Vector && r.typ != Auto:
		return Value{Kind: Invalid}
	}
	return d.apply(v, r)
}

// bucketed copies a vector, which rows may share, with its components rounded.
func (d *Decoder) bucketed(vector []float64, width float64) []float64 {
	b := d.b
	first := len(b.floats)
	for _, x := range vector {
		b.floats = append(b.floats, bucket(x, width))
	}
	return b.floats[first:len(b.floats):len(b.floats)]
}

// keepSegments copies the segments which the policy allows to the batch.
func (d *Decoder) keepSegments(ev *Event, m *modelRules) {
	b := d.b
	first := len(b.segments)
	for _, g := range ev.Segments {
		if m.text {
			g.Value = d.applyText(g.Value, m.field(g.Name))
		}
		if g.Value != "" {
			b.segments = append(b.segments, g)
		}
	}
	ev.Segments = b.segments[first:len(b.segments):len(b.segments)]
}
