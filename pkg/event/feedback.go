package event

import (
	"strconv"
	"unsafe"
)

const seldonFeedback = seldon + "feedback"

// feedback reads Seldon's feedback: reward becomes the outcome "reward", truth
// the outcome "label", of each row of the prediction which response.meta.puid
// or request.meta.puid names, else ce-requestid.
func (d *Decoder) feedback(b *Batch, subject, name string, ce *cloudEvent) *Reject {
	d.s = unsafe.String(unsafe.SliceData(ce.data), len(ce.data))
	f, end := d.feedbackBody(skipSpace(d.s, 0))
	if end >= 0 {
		if at := skipSpace(d.s, end); at < len(d.s) {
			d.fail(Decode, at, "%s after the end of the payload", charName(d.s[at]))
			end = -1
		}
	}
	if end < 0 {
		return d.refuse(name, ce.bytes)
	}
	o, ok := d.origin(ce.attrs, &table{})
	if !ok {
		return d.refuse(name, -1)
	}
	f.id, f.puid = firstOf(ce.attrs["id"], o.id), firstOf(f.responseID, f.requestID, o.id)
	if f.reward == "" && len(f.truth.rows) == 0 {
		return d.refuseFor(name, Schema, "reward and truth are missing; send one of them")
	}
	if f.puid == "" {
		return d.refuseFor(name, Schema, "response.meta.puid and ce-requestid are missing; send what the prediction came with")
	}
	w := writer{append(make([]byte, 0, 2*len(d.s)+512), '{')}
	w.text("id", f.id)
	w.text("time", o.time)
	w.text("model", o.model)
	w.text("trace_id", o.trace)
	w.key("rows")
	w.dst = append(w.dst, '[')
	for r := range max(f.rows, len(f.truth.rows), 1) {
		w.outcomes(f, r)
		if len(w.dst) > writtenPerEvent*d.limits.EventBytes {
			return d.refuseFor(name, Limit, "too many rows; send smaller batches")
		}
	}
	w.dst = append(w.dst[:len(w.dst)-1], "]}"...)
	return d.written(b, Outcome, subject, &coat{name: name}, w.dst)
}

// rewarded is a feedback body.
type rewarded struct {
	reward                string // JSON; "" = absent
	truth                 table
	rows                  int // of the request or the response, if they are there
	requestID, responseID string
	id, puid              string
}

func (d *Decoder) feedbackBody(i int) (*rewarded, int) {
	f := &rewarded{}
	seen := map[string]bool{}
	end := d.members(i, func(name string, at int) int {
		if !d.once(seen, name, at) {
			return -1
		}
		null := at < len(d.s) && d.s[at] == 'n'
		switch {
		case name == "reward" && !null:
			_, end := d.float(at)
			if end >= 0 {
				f.reward = d.s[at:end]
			}
			return end
		case name == "truth" && !null:
			return d.feedbackTruth(&f.truth, at)
		case name == "request" && !null:
			return d.feedbackSide(f, &f.requestID, Request, at)
		case name == "response" && !null:
			return d.feedbackSide(f, &f.responseID, Response, at)
		}
		return d.skip(at, 1)
	})
	return f, end
}

// feedbackTruth reads the message at i. Without data, with meta alone, it is no
// truth: Seldon's examples send that beside a reward.
func (d *Decoder) feedbackTruth(t *table, i int) int {
	data := false
	end := d.members(i, func(name string, at int) int {
		data = data || name != "meta" && name != "status"
		return d.skip(at, 2)
	})
	if end < 0 || !data {
		return end
	}
	return d.body(t, Response, i)
}

// feedbackSide takes the puid and the number of rows from the message at i. It
// may be without data: only then is there nothing to count.
func (d *Decoder) feedbackSide(f *rewarded, puid *string, part Part, i int) int {
	end := d.members(i, func(name string, at int) int {
		if name != "meta" || at >= len(d.s) || d.s[at] != '{' {
			return d.skip(at, 2)
		}
		return d.members(at, func(name string, at int) int {
			if name != "puid" {
				return d.skip(at, 3)
			}
			text, end := d.scalar(at)
			*puid = text
			return end
		})
	})
	if end < 0 {
		return -1
	}
	var t table
	if d.body(&t, part, i) >= 0 {
		f.rows = max(f.rows, len(t.rows), len(t.dicts))
	}
	d.fault = fault{}
	return end
}

// outcomes writes those of row r.
func (w *writer) outcomes(f *rewarded, r int) {
	open := func(name string) {
		w.dst = append(w.dst, '{')
		w.text("prediction_id", f.puid+"#"+strconv.Itoa(r))
		w.text("name", name)
	}
	if f.reward != "" {
		open("reward")
		w.key("value")
		w.dst = append(append(w.dst, f.reward...), '}', ',')
	}
	if r < len(f.truth.rows) && len(f.truth.rows[r]) > 0 {
		open("label")
		w.key("label")
		w.dst = append(w.dst, label(f.truth.names, f.truth.rows[r])...)
		w.dst = append(w.dst, '}', ',')
	}
}

// label is the truth of a row as JSON: its one value, or of a row with one 1 and 0
// otherwise the name of that column. Anything else is not one thing, and refused
// as an object is.
func label(names, cells []string) string {
	if len(cells) == 1 {
		return cells[0]
	}
	one := -1
	for i, cell := range cells {
		switch x, err := strconv.ParseFloat(cell, 64); {
		case err != nil || x != 0 && x != 1 || x == 1 && one >= 0:
			return "{}"
		case x == 1:
			one = i
		}
	}
	if one < 0 || len(names) != len(cells) {
		return "{}"
	}
	w := writer{}
	w.str(names[one])
	return string(w.dst)
}
