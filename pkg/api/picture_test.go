package api_test

import (
	"image/png"
	"io"
	"net/http"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/ledger"
)

// The picture of an entry is drawn from the entry alone, is shown on its page, and
// is missing where nothing can be drawn.
func TestPicture(t *testing.T) {
	w := newWorld(t)
	body := ledger.Alert{Type: "alert", Status: "firing", Model: "fraud", Rule: "<b>", Explanation: &ledger.Explanation{
		Signal:   "<script>",
		Compared: &ledger.Histogram{Edges: []float64{1, 2, 3}, From: []float64{.25, .25, .25, .25}, To: []float64{.1, .2, .3, .4}},
	}}
	w.append(t, ledger.Draft{Time: start, Kind: ledger.KindAlert, Model: "fraud", Body: body})
	body.Explanation.Compared = &ledger.Histogram{From: []float64{1, 2, 3}}
	w.append(t, ledger.Draft{Time: start, Kind: ledger.KindAlert, Model: "fraud", Body: body})
	s := newServer(t, w)
	r := call(t, s.Handler(), http.MethodGet, "/api/v1/ledger/5/picture.png", "")
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "image/png" {
		t.Fatalf("%d, %s", r.StatusCode, r.Header.Get("Content-Type"))
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(strings.NewReader(string(data))); err != nil || len(data) > 20_000 {
		t.Errorf("%d bytes: %v", len(data), err)
	}
	images := read(t, s, "/ledger/5").all("img")
	if len(images) != 1 || images[0].attr["src"] != "/api/v1/ledger/5/picture.png" || images[0].attr["alt"] == "" {
		t.Errorf("images %+v", images)
	}
	for _, seq := range []string{"1", "2", "6", "99", "x"} {
		if r := call(t, s.Handler(), http.MethodGet, "/api/v1/ledger/"+seq+"/picture.png", ""); r.StatusCode != http.StatusNotFound {
			t.Errorf("entry %s: %d, want 404", seq, r.StatusCode)
		}
	}
}
