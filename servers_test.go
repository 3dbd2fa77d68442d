package driftd_test

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/event"
)

// TestPayloadsOfTheServers reads every http block of docs/servers.md, which is a
// request to driftd, under the configuration before it, and compares what is
// counted with the json block behind it.
func TestPayloadsOfTheServers(t *testing.T) {
	const page = "docs/servers.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	var decoder *event.Decoder
	var batch event.Batch
	joiner := event.NewJoiner(event.JoinLimits{})
	compared, asked := 0, 0
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		switch body := m[2]; m[1] {
		case "yaml":
			if c, err = config.Parse(page, []byte(body), config.Options{}); err != nil {
				t.Fatal(err)
			}
		case "http":
			decoder = event.NewDecoder(nil, c.EventLimits())
			decoder.SetWrapping(c.Wrapping())
			headers, payload, err := request(body)
			if err != nil {
				t.Fatalf("%v in\n%s", err, body)
			}
			from := len(batch.Events)
			if r := decoder.DecodeWrapped(&batch, event.Envelope{Headers: headers}, "", payload); r != nil || len(batch.Rejects) > 0 {
				t.Fatalf("%v %v in\n%s", r, batch.Rejects, body)
			}
			joiner.Join(&batch, from, 1)
			asked++
		case "json":
			joiner.Flush(&batch)
			var got strings.Builder
			for i := range batch.Events {
				got.Write(append(event.AppendJSON(nil, &batch.Events[i]), '\n'))
			}
			if got.String() != body {
				t.Errorf("got\n%swant\n%s", got.String(), body)
			}
			batch.Reset()
			compared++
		}
	}
	if compared < 4 || asked < 6 {
		t.Errorf("%d requests and %d results on %s, want 6 and 4 at least", asked, compared, page)
	}
}

// request takes a block apart as HTTP does.
func request(text string) (http.Header, []byte, error) {
	head, body, _ := strings.Cut(text, "\n\n")
	// Nothing in JSON depends on the line breaks that keep the page readable.
	body = regexp.MustCompile(`\n *`).ReplaceAllString(body, "")
	headers, err := textproto.NewReader(bufio.NewReader(bytes.NewBufferString(head + "\n\n"))).ReadMIMEHeader()
	return http.Header(headers), []byte(body), err
}
