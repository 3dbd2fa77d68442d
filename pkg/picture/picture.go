package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"strconv"

	"driftd.dev/driftd/pkg/ledger"
)

// The size of a picture, and of its parts, in pixels.
const (
	Width  = 720
	Height = 320

	scale   = 2 // pixels a dot of the font
	textTop = 12
	left    = 84 // of the plot: room for the numbers of the axis
	right   = Width - 16
	top     = 64
	bottom  = Height - 40
)

// The colours, by their place in the palette.
const (
	paper = iota
	ink
	faint
	before
	now
)

var palette = color.Palette{
	color.RGBA{0xFF, 0xFF, 0xFF, 0xFF},
	color.RGBA{0x22, 0x22, 0x22, 0xFF},
	color.RGBA{0xDD, 0xDD, 0xDD, 0xFF},
	color.RGBA{0x9A, 0xB4, 0xD6, 0xFF},
	color.RGBA{0xC8, 0x4B, 0x11, 0xFF},
}

// ErrHistogram is wrapped by the error about a histogram that cannot be drawn.
var ErrHistogram = errors.New("histogram cannot be drawn")

// PNG draws a histogram under a title. Of a number the bars are the reference and
// the line is now, both as shares of values in a cell of usual width: what lies
// beyond the outer edges is drawn as one such cell at each end. Of categories there
// are two bars each. The error wraps ErrHistogram if h does not fit itself or holds
// no shares.
func PNG(title string, h *ledger.Histogram) ([]byte, error) {
	if h == nil || !h.Fits() || !shares(h.From) || !shares(h.To) {
		return nil, fmt.Errorf("draw %.60q: %w", title, ErrHistogram)
	}
	c := canvas{image.NewPaletted(image.Rect(0, 0, Width, Height), palette)}
	c.text(left, textTop, cut(title, (right-left)/(advance*scale)), ink)
	c.legend()
	if len(h.Names) > 0 {
		c.categories(h)
	} else {
		c.numbers(h)
	}
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&out, c.Paletted); err != nil {
		return nil, fmt.Errorf("draw %.60q: %w", title, err)
	}
	return out.Bytes(), nil
}

// shares reports whether all values are finite and none is negative.
func shares(values []float64) bool {
	for _, v := range values {
		if !(v >= 0) || math.IsInf(v, 1) {
			return false
		}
	}
	return true
}

// A canvas is drawn upon.
type canvas struct{ *image.Paletted }

func (c canvas) fill(x0, y0, x1, y1 int, colour uint8) {
	for y := max(y0, 0); y < min(y1, Height); y++ {
		for x := max(x0, 0); x < min(x1, Width); x++ {
			c.SetColorIndex(x, y, colour)
		}
	}
}

// text writes from its upper left corner.
func (c canvas) text(x, y int, text string, colour uint8) {
	for _, r := range text {
		for column, dots := range glyph(r) {
			for row := range glyphHeight {
				if dots>>row&1 == 1 {
					c.fill(x+column*scale, y+row*scale, x+(column+1)*scale, y+(row+1)*scale, colour)
				}
			}
		}
		x += advance * scale
	}
}

// width is that of a text on the canvas.
func width(text string) int { return len([]rune(text)) * advance * scale }

// cut shortens a text to so many characters.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:max(0, most-2)]) + ".."
}

func (c canvas) legend() {
	const y = textTop + 12*scale
	x := left
	for _, part := range []struct {
		name   string
		colour uint8
	}{{"reference", before}, {"now", now}} {
		c.fill(x, y, x+glyphHeight*scale, y+glyphHeight*scale, part.colour)
		x += (glyphHeight + 4) * scale
		c.text(x, y, part.name, ink)
		x += width(part.name) + 6*advance
	}
}

// axis draws lines at round shares up to most, and returns where a share is.
func (c canvas) axis(most float64) func(share float64) int {
	if most <= 0 {
		most = 1
	}
	at := func(share float64) int { return bottom - int(math.Round(share/most*(bottom-top))) }
	step := math.Pow(10, math.Floor(math.Log10(most/2)))
	for most/step > 5 {
		step *= 2.5
		if most/step > 5 {
			step *= 2
		}
	}
	for i := range 6 {
		share := float64(i) * step
		if share > most {
			break
		}
		c.fill(left, at(share), right, at(share)+1, faint)
		label := strconv.FormatFloat(100*share, 'g', 3, 64) + "%"
		c.text(left-width(label)-4, at(share)-glyphHeight*scale/2, label, ink)
	}
	return at
}

// categories draws two bars for each name.
func (c canvas) categories(h *ledger.Histogram) {
	most := 0.0
	for i := range h.From {
		most = max(most, h.From[i], h.To[i])
	}
	at := c.axis(most)
	n := len(h.Names)
	for i, name := range h.Names {
		x0, x1 := left+i*(right-left)/n, left+(i+1)*(right-left)/n
		bar := max(1, (x1-x0)*2/5)
		gap := (x1 - x0 - 2*bar) / 2
		c.fill(x0+gap, at(h.From[i]), x0+gap+bar, bottom, before)
		c.fill(x0+gap+bar, at(h.To[i]), x0+gap+2*bar, bottom, now)
		if room := (x1 - x0) / (advance * scale); room >= 2 {
			c.text(x0+gap, bottom+8, cut(name, room), ink)
		}
	}
	c.fill(left, bottom, right, bottom+1, ink)
}

// numbers draws a histogram over a line of numbers.
func (c canvas) numbers(h *ledger.Histogram) {
	cells := newCells(h)
	from, to := cells.heights(h.From), cells.heights(h.To)
	most := 0.0
	for i := range from {
		most = max(most, from[i], to[i])
	}
	at := c.axis(most)
	for i := range from {
		c.fill(cells.x[i], at(from[i]), max(cells.x[i]+1, cells.x[i+1]-1), bottom, before)
	}
	y := bottom
	for i := range to {
		next := at(to[i])
		c.fill(cells.x[i]-1, min(y, next)-1, cells.x[i]+2, max(y, next)+2, now)
		c.fill(cells.x[i], next-1, cells.x[i+1]+1, next+2, now)
		y = next
	}
	c.fill(right-1, y, right+2, bottom, now)
	c.fill(left, bottom, right, bottom+1, ink)
	free := 0
	for i, edge := range h.Edges {
		label := strconv.FormatFloat(edge, 'g', 4, 64)
		if x := cells.x[i+1] - width(label)/2; x >= free && x+width(label) <= Width {
			c.fill(cells.x[i+1], bottom, cells.x[i+1]+1, bottom+6, ink)
			c.text(x, bottom+10, label, ink)
			free = x + width(label) + 3*advance*scale
		}
	}
}

// cells are where the cells of a number are drawn.
type cells struct {
	x     []int     // bounds in pixels, one more than cells
	width []float64 // over that of a usual cell
}

// thinnest is the width below which a cell is not drawn higher for being thin.
const thinnest = 0.25

func newCells(h *ledger.Histogram) cells {
	n := len(h.From)
	c := cells{x: make([]int, n+1), width: make([]float64, n)}
	// Of huge edges only the parts may be formed: the whole may overflow.
	lo, hi := 0.0, 0.0
	if len(h.Edges) > 0 {
		lo, hi = h.Edges[0], h.Edges[len(h.Edges)-1]
	}
	inner := float64(max(1, n-2))
	for i := range n + 1 {
		part := float64(i) / float64(n) * (inner + 2) // in usual cells from the left
		if i > 0 && i < n && hi > lo {
			part = 1 + inner*(h.Edges[i-1]/2-lo/2)/(hi/2-lo/2)
		}
		c.x[i] = left + int(math.Round(part/(inner+2)*(right-left)))
		if i > 0 {
			c.width[i-1] = max(thinnest, float64(c.x[i]-c.x[i-1])*(inner+2)/(right-left))
		}
	}
	return c
}

// heights are shares of values for each usual width.
func (c cells) heights(shares []float64) []float64 {
	out := make([]float64, len(shares))
	for i, s := range shares {
		out[i] = s / c.width[i]
	}
	return out
}

// OfAlert draws the signal that an alert's explanation is about. The error wraps
// ErrHistogram if there is none.
func OfAlert(a *ledger.Alert) ([]byte, error) {
	e := a.Explanation
	if e == nil {
		return nil, fmt.Errorf("draw alert %.60q: it has no explanation: %w", a.Rule, ErrHistogram)
	}
	return PNG(a.Model+" / "+e.Signal+" "+a.Window.End.UTC().Format("2006-01-02 15:04"), e.Compared)
}
