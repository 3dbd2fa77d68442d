package picture_test

import (
	"bytes"
	"errors"
	"flag"
	"image/png"
	"math"
	"os"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/picture"
)

var update = flag.Bool("update", false, "rewrite testdata")

// shifted is a bell curve beside one that is shifted by a deviation.
func shifted() *ledger.Histogram {
	h := &ledger.Histogram{}
	cdf := func(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }
	from, to := 0.0, 0.0
	for i := range 22 {
		z := -2.5 + 6*float64(i)/21
		h.Edges = append(h.Edges, 100+20*z)
		h.From, h.To = append(h.From, cdf(z)-from), append(h.To, cdf(z-1)-to)
		from, to = cdf(z), cdf(z-1)
	}
	h.From, h.To = append(h.From, 1-from), append(h.To, 1-to)
	return h
}

func categories() *ledger.Histogram {
	return &ledger.Histogram{Names: []string{"DE", "FR", "US", "(other)", "(unseen)"}, From: []float64{.5, .3, .15, .05, 0}, To: []float64{.3, .3, 0, .05, .35}}
}

// many is as much as there can be, with names that nobody can draw.
func many() *ledger.Histogram {
	h := &ledger.Histogram{}
	for i := range ledger.MostCells {
		h.Names = append(h.Names, strings.Repeat("\u200b<&Ж\x00", 12))
		h.From, h.To = append(h.From, float64(i*7919%32)/500), append(h.To, float64(i*104729%32)/500)
	}
	return h
}

// Pictures do not change by accident: what is in testdata was looked at.
func TestPNG(t *testing.T) {
	for name, c := range map[string]struct {
		title string
		h     *ledger.Histogram
	}{
		"numbers": {"fraud / amount", shifted()}, "categories": {"fraud / country", categories()},
	} {
		got, err := picture.PNG(c.title, c.h)
		if err != nil {
			t.Fatal(err)
		}
		path := "testdata/" + name + ".png"
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pixels(t, got), pixels(t, want)) {
			t.Errorf("%s is another picture (go test ./pkg/picture -update, and look at it)", name)
		}
	}
}

func TestPicturesAreBounded(t *testing.T) {
	huge, none, flat := shifted(), shifted(), shifted()
	for i := range huge.Edges {
		huge.Edges[i] = math.MaxFloat64 * (float64(i)/11 - 1)
		flat.Edges[i] = 1 + float64(i)*1e-300
	}
	flat.Edges = []float64{1, math.Nextafter(1, 2)}
	flat.From, flat.To = []float64{0, 1, 0}, []float64{0, .5, .5}
	clear(none.From)
	clear(none.To)
	one := &ledger.Histogram{From: []float64{1}, To: []float64{1}}
	for name, h := range map[string]*ledger.Histogram{"many": many(), "huge": huge, "none": none, "flat": flat, "one": one, "numbers": shifted()} {
		got, err := picture.PNG(strings.Repeat("title \n<é>", 1000), h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, _ := picture.PNG(strings.Repeat("title \n<é>", 1000), h)
		if !bytes.Equal(got, again) {
			t.Errorf("%s: drawn again it is another picture", name)
		}
		if len(got) > 20_000 {
			t.Errorf("%s: %d bytes, want at most 20000", name, len(got))
		}
		conf, err := png.DecodeConfig(bytes.NewReader(got))
		if err != nil || conf.Width > 800 || conf.Height > 400 {
			t.Errorf("%s: %d x %d, %v", name, conf.Width, conf.Height, err)
		}
	}
}

func TestWhatCannotBeDrawn(t *testing.T) {
	short, long, negative, undefined, mixed := shifted(), many(), categories(), categories(), shifted()
	short.From = short.From[1:]
	long.Names, long.From, long.To = append(long.Names, "x"), append(long.From, 0), append(long.To, 0)
	negative.To[0] = -1
	undefined.To[0] = math.NaN()
	mixed.Edges[3] = mixed.Edges[2]
	for name, h := range map[string]*ledger.Histogram{
		"nothing": nil, "a share short": short, "too long": long, "negative": negative, "undefined": undefined, "edges that do not ascend": mixed,
	} {
		if _, err := picture.PNG("x", h); !errors.Is(err, picture.ErrHistogram) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func pixels(t *testing.T, data []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for y := range picture.Height {
		for x := range picture.Width {
			r, g, b, _ := img.At(x, y).RGBA()
			out = append(out, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return out
}
