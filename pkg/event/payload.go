package event

import (
	"maps"
	"slices"
	"strconv"
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

// tensor is one of a v2 body's, row by row.
type tensor struct {
	name, datatype string
	shape          []int
	cells          []string
	binary         bool
}

// tensors reads the array of v2 tensors at i: one of several columns (codec
// np), or one for each column (codec pd), or a mixture.
func (d *Decoder) tensors(t *table, part Part, i int) int {
	var all []tensor
	end := d.elements(i, func(n, at int) int {
		if n >= d.limits.Features {
			return d.fail(Limit, at, "more than %d tensors", d.limits.Features)
		}
		x := tensor{}
		end := d.tensor(&x, at)
		if end < 0 {
			return -1
		}
		if what := x.check(); what != "" {
			return d.fail(Schema, at, "tensor %q: %s", shorten(x.name), what)
		}
		all = append(all, x)
		return end
	})
	if end < 0 {
		return -1
	}
	if len(all) == 0 {
		return d.fail(Schema, i, "no tensors; send at least one")
	}
	return d.join(t, part, all, i, end)
}

// join puts tensors side by side.
func (d *Decoder) join(t *table, part Part, all []tensor, i, end int) int {
	n := all[0].count()
	for _, x := range all[1:] {
		if x.count() != n {
			return d.fail(Schema, i, "tensor %q has %d rows and %q has %d; send as many in each", shorten(all[0].name), n, shorten(x.name), x.count())
		}
	}
	if n > d.limits.Rows {
		return d.fail(Limit, i, "more than %d rows in one message; send smaller batches", d.limits.Rows)
	}
	t.rows = make([][]string, n)
	t.named = true
	for _, x := range all {
		rows := x.table()
		width := len(rows[0])
		if part == Response && width == 1 && t.prediction < 0 {
			t.prediction = len(t.names)
		}
		for j := range width {
			if width == 1 {
				t.names = append(t.names, x.name)
			} else {
				t.names, t.named = append(t.names, x.name+"_"+strconv.Itoa(j)), false
			}
		}
		for r, cells := range rows {
			t.rows[r] = append(t.rows[r], cells...)
		}
	}
	if len(all) > 1 {
		t.named = true // the operator's names are for one list
	}
	return end
}

func (d *Decoder) tensor(x *tensor, i int) int {
	seen := map[string]bool{}
	return d.members(i, func(name string, at int) int {
		if !d.once(seen, name, at) {
			return -1
		}
		end := 0
		switch name {
		case "name":
			x.name, end = d.short(at)
			return end
		case "datatype":
			x.datatype, end = d.short(at)
			return end
		case "shape":
			return d.shapeField(x, at)
		case "data":
			return d.dataField(x, at)
		case "contents": // the JSON of the protobuf
			return d.members(at, func(name string, at int) int { return d.dataField(x, at) })
		case "parameters":
			if at < len(d.s) && d.s[at] == '{' {
				return d.members(at, func(name string, at int) int {
					x.binary = x.binary || name == "binary_data_size"
					return d.skip(at, 3)
				})
			}
		}
		return d.skip(at, 2)
	})
}

// shapeField reads an array of whole numbers, also in quotes (protobuf's JSON).
func (d *Decoder) shapeField(x *tensor, i int) int {
	x.shape = []int{}
	return d.elements(i, func(n, at int) int {
		text, end := d.scalar(at)
		if end < 0 {
			return -1
		}
		size, err := strconv.ParseUint(text, 10, 31)
		if err != nil || n >= 16 {
			return d.fail(Schema, at, "shape is not up to 16 whole numbers")
		}
		x.shape = append(x.shape, int(size))
		return end
	})
}

// dataField reads the values, nested or not.
func (d *Decoder) dataField(x *tensor, i int) int {
	end := d.skip(i, 2)
	if end < 0 {
		return -1
	}
	if d.s[i] != '[' {
		return d.wrongType(i, "an array of values")
	}
	x.cells = d.flat(x.cells, i)
	return end
}

// check says what is wrong with a tensor, "" if nothing.
func (x *tensor) check() string {
	want := 1
	for _, n := range x.shape {
		if n == 0 || want > len(x.cells) {
			want = -1
			break
		}
		want *= n
	}
	switch {
	case x.binary:
		return "binary data; log JSON"
	case x.shape == nil:
		return "shape is missing"
	case len(x.cells) == 0:
		return "no values"
	case want != len(x.cells):
		return strconv.Itoa(len(x.cells)) + " values do not make the shape"
	}
	return ""
}

// count is the number of rows.
func (x *tensor) count() int {
	if len(x.shape) == 0 {
		return 1
	}
	return x.shape[0]
}

// table is the tensor as rows of cells: of more than two dimensions, one vector
// a row.
func (x *tensor) table() [][]string {
	if x.datatype == "BOOL" {
		for i, cell := range x.cells {
			switch cell {
			case "1":
				x.cells[i] = "true"
			case "0":
				x.cells[i] = "false"
			}
		}
	}
	n := x.count()
	width := len(x.cells) / n
	rows := make([][]string, n)
	for r := range rows {
		row := x.cells[r*width : (r+1)*width : (r+1)*width]
		if len(x.shape) > 2 && width > 1 {
			row = []string{"[" + strings.Join(row, ",") + "]"}
		}
		rows[r] = row
	}
	return rows
}
