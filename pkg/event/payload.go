package event

import (
	"maps"
	"slices"
	"strings"
)

// table is the payload of a request or a response: rows of cells, or rows which
// are objects. Cells are JSON texts, cut from the message.
type table struct {
	names []string // of the columns; nil = they have none
	named bool     // the names are the payload's own for each column
	rows  [][]string
	dicts []string

	prediction         int // the column which is the prediction, -1 = none
	id, model, version string
}

// payload reads the whole of d.s as one of the known bodies: KServe v1
// ({"instances"}, {"predictions"}), v2 ({"inputs"}, {"outputs"}), or Seldon
// ({"data"}, {"jsonData"}, {"strData"}).
func (d *Decoder) payload(t *table, part Part) int {
	i := skipSpace(d.s, 0)
	if i == len(d.s) {
		return d.fail(Decode, i, "empty payload")
	}
	end := d.body(t, part, i)
	if end < 0 {
		return -1
	}
	if at := skipSpace(d.s, end); at < len(d.s) {
		return d.fail(Decode, at, "%s after the end of the payload", charName(d.s[at]))
	}
	return end
}

// body reads the object at i as one of the known bodies.
func (d *Decoder) body(t *table, part Part, i int) int {
	seen := map[string]bool{}
	found := false
	end := d.members(i, func(name string, at int) int {
		if !d.once(seen, name, at) {
			return -1
		}
		ours, end := d.bodyMember(t, part, name, at)
		found = found || ours
		return end
	})
	if end < 0 {
		return -1
	}
	if !found {
		keys := slices.Sorted(maps.Keys(seen))
		return d.fail(Schema, i, "a %s without %s; seen: %s", part, payloadKeys[part], shorten(strings.Join(keys, ", ")))
	}
	if len(t.rows) == 0 && len(t.dicts) == 0 {
		return d.fail(Schema, i, "payload without rows; send at least one")
	}
	return end
}

var payloadKeys = [...]string{Request: "instances, inputs or data", Response: "predictions, outputs or data"}

func (d *Decoder) bodyMember(t *table, part Part, name string, at int) (found bool, end int) {
	switch name {
	case "instances", "predictions":
		if (name == "instances") == (part == Request) {
			return true, d.list(t, at)
		}
	case "inputs", "outputs":
		if (name == "inputs") == (part == Request) && at < len(d.s) && d.s[at] != 'n' {
			return true, d.tensors(t, part, at)
		}
	case "data":
		return true, d.seldonData(t, at)
	case "jsonData":
		if at < len(d.s) && d.s[at] == '{' {
			end = d.skip(at, 1)
			if end >= 0 {
				t.dicts = []string{d.s[at:end]}
			}
			return true, end
		}
		return true, d.list(t, at)
	case "strData":
		if end = d.skip(at, 1); end >= 0 {
			t.names, t.named, t.rows = []string{"strData"}, true, [][]string{{d.s[at:end]}}
		}
		return true, end
	case "binData":
		return true, d.fail(Schema, at, "binary data; driftd needs data, jsonData or strData")
	case "id":
		t.id, end = d.scalar(at)
		return false, end
	case "model_name", "modelName":
		t.model, end = d.scalar(at)
		return false, end
	case "model_version", "modelVersion":
		t.version, end = d.scalar(at)
		return false, end
	}
	return false, d.skip(at, 1)
}

// list reads the array of rows at i: objects, lists or single values. The first
// decides between objects and others.
func (d *Decoder) list(t *table, i int) int {
	return d.elements(i, func(n, at int) int {
		if n >= d.limits.Rows {
			return d.fail(Limit, at, "more than %d rows in one message; send smaller batches", d.limits.Rows)
		}
		end := d.skip(at, 2)
		if end < 0 {
			return -1
		}
		object := d.s[at] == '{'
		if n > 0 && object != (t.dicts != nil) {
			return d.fail(Schema, at, "row %d: objects and lists are mixed", n)
		}
		if object {
			t.dicts = append(t.dicts, d.s[at:end])
			return end
		}
		t.rows = append(t.rows, d.rowOf(at, end))
		return end
	})
}

// rowOf takes the checked value at i apart into cells: a list of scalars, or,
// flattened to one vector, a list of lists.
func (d *Decoder) rowOf(i, end int) []string {
	if d.s[i] != '[' {
		return []string{d.s[i:end]}
	}
	var cells []string
	nested := false
	d.elements(i, func(_, at int) int {
		end := d.skip(at, 3)
		nested = nested || d.s[at] == '['
		cells = append(cells, d.s[at:end])
		return end
	})
	if nested {
		return []string{"[" + strings.Join(d.flat(nil, i), ",") + "]"}
	}
	return cells
}

// flat appends the scalars and objects in the checked, nested list at i.
func (d *Decoder) flat(cells []string, i int) []string {
	d.elements(i, func(_, at int) int {
		end := d.skip(at, 1)
		if end < 0 {
			return -1
		}
		if d.s[at] == '[' {
			cells = d.flat(cells, at)
		} else {
			cells = append(cells, d.s[at:end])
		}
		return end
	})
	return cells
}

// seldonData reads {"names", "ndarray" or "tensor"} at i.
func (d *Decoder) seldonData(t *table, i int) int {
	seen := map[string]bool{}
	found, flat := false, false
	end := d.members(i, func(name string, at int) int {
		if !d.once(seen, name, at) {
			return -1
		}
		switch name {
		case "names":
			return d.elements(at, func(_, at int) int {
				text, end := d.scalar(at)
				t.names = append(t.names, text)
				return end
			})
		case "ndarray":
			found = true
			first := skipSpace(d.s, at+1)
			flat = at < len(d.s) && d.s[at] == '[' && first < len(d.s) && d.s[first] != '[' && d.s[first] != '{'
			return d.list(t, at)
		case "tensor":
			found = true
			return d.seldonTensor(t, at)
		}
		return d.skip(at, 2)
	})
	if end < 0 {
		return -1
	}
	if !found {
		return d.fail(Schema, i, "data without ndarray or tensor; seen: %s", shorten(strings.Join(slices.Sorted(maps.Keys(seen)), ", ")))
	}
	if flat && len(t.names) == len(t.rows) && len(t.names) > 1 { // one row, without a list around it
		row := make([]string, len(t.rows))
		for i, r := range t.rows {
			row[i] = r[0]
		}
		t.rows = [][]string{row}
	}
	t.named = len(t.names) > 0
	return end
}

// seldonTensor reads {"shape", "values"} at i.
func (d *Decoder) seldonTensor(t *table, i int) int {
	x := tensor{}
	end := d.members(i, func(name string, at int) int {
		switch name {
		case "shape":
			return d.shapeField(&x, at)
		case "values":
			return d.dataField(&x, at)
		}
		return d.skip(at, 3)
	})
	if end < 0 {
		return -1
	}
	if what := x.check(); what != "" {
		return d.fail(Schema, i, "tensor: %s", what)
	}
	t.rows = x.table()
	return end
}
