package event_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/event"
)

type hostile struct{ name, reason, detail, payload string }

var repetition = regexp.MustCompile(`(?s)\(\((.+?)\*(\d+)\)\)`)

// hostiles reads testdata/hostile.txt, whose head describes its form.
func hostiles(t testing.TB) []hostile {
	t.Helper()
	data, err := os.ReadFile("testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []hostile
	for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.SplitN(line, " | ", 4)
		if len(part) != 4 {
			t.Fatalf("hostile.txt: %q has %d parts", line, len(part))
		}
		detail := ""
		if part[2] != "-" {
			detail = part[2]
		}
		out = append(out, hostile{part[0], part[1], detail, payload(t, part[3])})
	}
	return out
}

func payload(t testing.TB, text string) string {
	t.Helper()
	switch text {
	case "FEATURES":
		return `{"id":"a","model":"m","features":{` + members(2049, "1") + `}}`
	case "SCORES":
		return `{"id":"a","model":"m","prediction":1,"scores":{` + members(2049, "1") + `}}`
	case "SEGMENTS":
		return `{"id":"a","model":"m","prediction":1,"segments":{` + members(65, `"x"`) + `}}`
	}
	s, err := strconv.Unquote(strings.NewReplacer(`\\[`, `[`, `\\]`, `]`, `\\{`, `{`, `\\ `, ` `).Replace(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return repetition.ReplaceAllStringFunc(s, func(m string) string {
		p := repetition.FindStringSubmatch(m)
		n, _ := strconv.Atoi(p[2])
		return strings.Repeat(p[1], n)
	})
}

func members(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"f%d":%s,`, i, value)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// Every class of hostile payload has its reason, a detail which says where and
// what to do, and no effect on the valid events around it.
func TestHostilePayloads(t *testing.T) {
	d := event.NewDecoder(nil, event.DefaultLimits)
	good := []byte(`{"id":"good","model":"m","features":{"x":1,"y":"a"}}`)
	classes := hostiles(t)
	if len(classes) < 70 { // reliability.md R11 asks for 70
		t.Fatalf("%d classes of hostile payloads", len(classes))
	}
	var b event.Batch
	for _, h := range classes {
		b.Reset()
		r := d.Decode(&b, event.Prediction, "ml.predictions.m.1", []byte(h.payload))
		switch {
		case h.reason == "ok":
			if r != nil || len(b.Events) != 1 {
				t.Errorf("%s: refused (%v), want an event", h.name, r)
			}
		case r == nil:
			t.Errorf("%s: accepted, want %s", h.name, h.reason)
		case string(r.Reason) != h.reason || !strings.Contains(r.Detail, h.detail) || r.Row != -1:
			t.Errorf("%s: got %v (row %d)\nwant %s: ...%s", h.name, r, r.Row, h.reason, h.detail)
		case !strings.Contains(r.Detail, "byte "):
			t.Errorf("%s: detail %q does not say where", h.name, r.Detail)
		case len(b.Events)+len(b.Rejects) != 0:
			t.Errorf("%s: refused, and left %d events and %d rejects", h.name, len(b.Events), len(b.Rejects))
		}
		b.Reset()
		if r := d.Decode(&b, event.Prediction, "", good); r != nil || len(b.Events) != 1 || b.Events[0].ID != "good" || len(b.Events[0].Values) != 2 {
			t.Fatalf("after %s: the valid event gave %v, %+v", h.name, r, b.Events)
		}
	}
}
