//go:build real

package api_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"driftd.dev/driftd/pkg/api"
)

// wide is the data of a heat map: a week of hours of 500 signals.
func wide(b *testing.B) []byte {
	b.Helper()
	const signals, windows = 500, 168
	var head struct {
		Stat    string      `json:"stat"`
		Size    string      `json:"size"`
		Starts  []time.Time `json:"starts"`
		Events  []uint64    `json:"events"`
		Signals []string    `json:"signals"`
	}
	head.Stat, head.Size = "psi", "1h"
	for i := range windows {
		head.Starts, head.Events = append(head.Starts, wall.Add(time.Duration(i)*time.Hour)), append(head.Events, 1000)
	}
	var cells []byte
	for i := range signals {
		head.Signals = append(head.Signals, fmt.Sprintf("feature_%03d", i))
		for k := range windows {
			cells = append(cells, byte((i*windows+k*7)%256))
		}
	}
	text, err := json.Marshal(head)
	if err != nil {
		b.Fatal(err)
	}
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...), cells...)
}

// BenchmarkBrowserHeatmap draws 500 signals in 168 windows in Chromium. draw-ms is
// what heatmap.js takes, ratio how many times that of an ImageData of the same size
// that is merely put on a canvas.
func BenchmarkBrowserHeatmap(b *testing.B) {
	data := wide(b)
	server, err := api.New(api.Options{Reader: newWorld(b)})
	if err != nil {
		b.Fatal(err)
	}
	real := server.Handler()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/data" {
			_, _ = w.Write(data)
			return
		}
		answer := httptest.NewRecorder()
		real.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		if r.URL.Path == "/models/fraud" { // the real page with other data
			at := bytes.Index(body, []byte(`data-source="`)) + len(`data-source="`)
			end := at + bytes.IndexByte(body[at:], '"')
			body = append(append(bytes.Clone(body[:at]), "/data"...), body[end:]...)
			answer.Header().Del("Content-Length")
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
	}))
	b.Cleanup(page.Close)
	tab := open(b)
	var draw, put float64
	rounds := 0
	for b.Loop() {
		tab.visit(b, page.URL+"/models/fraud")
		tab.expect(b, `performance.getEntriesByName("heatmap").length > 0`)
		draw += see(b, tab, chromedp.Evaluate[float64](`performance.getEntriesByName("heatmap")[0].duration`))
		put += see(b, tab, chromedp.Evaluate[float64](`(() => {
			const canvas = document.createElement("canvas"), begun = performance.now();
			canvas.width = 168; canvas.height = 500;
			canvas.getContext("2d").putImageData(new ImageData(168, 500), 0, 0);
			return performance.now() - begun;
		})()`))
		rounds++
	}
	b.ReportMetric(draw/float64(rounds), "draw-ms")
	b.ReportMetric(draw/put, "ratio")
}
