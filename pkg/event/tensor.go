package event

import (
	"strconv"
	"strings"
)

// tensor is one of a v2 body's, row by row.
type tensor struct {
	name, datatype string
	shape          []int
	cells          []string
	from           int // where its values begin
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
		d.eachIsARow(&x)
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

// dataField reads the values, nested or not. One text stands for a list of one,
// as MLServer takes it.
func (d *Decoder) dataField(x *tensor, i int) int {
	end := d.skip(i, 2)
	if end < 0 {
		return -1
	}
	x.from = i
	switch d.s[i] {
	case '[':
		x.cells = d.flat(x.cells, i)
	case '"':
		x.cells = append(x.cells, d.s[i:end])
	default:
		return d.wrongType(i, "an array of values")
	}
	return end
}

// eachIsARow corrects a tensor of texts that its shape does not describe: MLServer
// does not look at it there. Its documentation has shapes with the length of the
// texts in them, and its codec of DataFrames writes columns of lists as BYTES.
func (d *Decoder) eachIsARow(x *tensor) {
	if x.datatype != "BYTES" || x.shape == nil || x.binary || x.fits() {
		return
	}
	if d.s[x.from] == '[' {
		x.cells = x.cells[:0]
		d.elements(x.from, func(_, at int) int {
			end := d.skip(at, 3)
			cell := d.s[at:end]
			if cell[0] == '[' {
				cell = "[" + strings.Join(d.flat(nil, at), ",") + "]"
			}
			x.cells = append(x.cells, cell)
			return end
		}) // the grammar was checked
	}
	x.shape = []int{len(x.cells)}
}

// fits reports whether there are as many values as the shape says.
func (x *tensor) fits() bool {
	want := 1
	for _, n := range x.shape {
		if n == 0 || want > len(x.cells) {
			return false
		}
		want *= n
	}
	return want == len(x.cells)
}

// check says what is wrong with a tensor, "" if nothing.
func (x *tensor) check() string {
	switch {
	case x.binary:
		return "binary data; log JSON"
	case x.shape == nil:
		return "shape is missing"
	case len(x.cells) == 0:
		return "no values"
	case !x.fits():
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
