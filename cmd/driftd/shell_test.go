package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

func environ(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want code
	}{
		{"nothing", nil, codeOK},
		{"any", errors.New("no"), codeFailed},
		{"usage", badUsage("no"), codeUsage},
		{"damaged", store.ErrDamaged, codeRefused},
		{"newer", store.ErrNewerSchema, codeRefused},
		{"condition", codedError{code: codeCondition}, codeCondition},
		{"locked", store.ErrLocked, codeLocked},
		{"disk", store.ErrNoSpace, codeTemporary},
		{"late", context.DeadlineExceeded, codeTemporary},
		{"config", config.Faults{{Message: "no"}}, codeConfig},
		{"a work queue", &stream.RetentionError{Stream: "ML"}, codeConfig},
		{"coded around another", withCode(codeTemporary, badUsage("no")), codeTemporary},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := codeOf(tc.err); got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
			joined := errors.Join(tc.err)
			if got := codeOf(joined); got != tc.want {
				t.Errorf("joined: exit code %d, want %d", got, tc.want)
			}
		})
	}
}

// A result says the same in every format; undefined numbers are null or empty,
// and names from events cannot drive a terminal.
func TestOutput(t *testing.T) {
	type value struct {
		Zebra api.Num  `json:"zebra"`
		Apple string   `json:"apple"`
		List  []string `json:"list"`
	}
	v := value{api.Num(math.NaN()), "no: \x1b[31m", []string{}}
	r := result{
		value: v, items: []any{v, v}, above: []string{"title"}, below: []string{"end"},
		sheet: sheet{head: []string{"zebra", "apple"}, rows: [][]any{{v.Zebra, v.Apple}, {1.0 / 3, nil}}},
	}
	for format, want := range map[string]string{
		"":       "title\nZEBRA   APPLE\n        no: \\x1b[31m\n0.3333  \nend\n",
		"json":   "{\n  \"zebra\": null,\n  \"apple\": \"no: \\u001b[31m\",\n  \"list\": []\n}\n",
		"yaml":   "zebra: null\napple: \"no: \\e[31m\"\nlist: []\n",
		"csv":    "zebra,apple\n,no: \x1b[31m\n0.3333333333333333,\n",
		"ndjson": strings.Repeat(`{"zebra":null,"apple":"no: \u001b[31m","list":[]}`+"\n", 2),
	} {
		var out bytes.Buffer
		e := &env{out: &out, output: format}
		if err := e.print(r); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("-o %s:\n%q\nwant\n%q", format, got, want)
		}
	}
}

func TestColours(t *testing.T) {
	for _, tc := range []struct {
		color, noColor string
		want           bool
	}{
		{"always", "1", true}, {"never", "", false}, {"auto", "", false}, {"auto", "1", false},
	} {
		e := &env{color: tc.color, lookup: environ(map[string]string{"NO_COLOR": tc.noColor})}
		if got := e.colours(io.Discard); got != tc.want {
			t.Errorf("--color %s, NO_COLOR=%q: %v, want %v", tc.color, tc.noColor, got, tc.want)
		}
	}
}

// Without a terminal a progress is a JSON line, at most one in five seconds.
func TestProgressLines(t *testing.T) {
	var errOut bytes.Buffer
	e := &env{err: &errOut, progress: "auto"}
	p := e.newProgress("import x.csv", "rows", 100)
	p.at(10)
	if errOut.Len() != 0 {
		t.Fatalf("a line before five seconds: %s", &errOut)
	}
	p.start, p.last = p.start.Add(-6*time.Second), p.last.Add(-6*time.Second)
	p.at(20)
	p.at(30)
	p.end()
	var line progressLine
	if err := json.Unmarshal(errOut.Bytes(), &line); err != nil { // one line exactly
		t.Fatal(err)
	}
	if line.Progress != "import x.csv" || line.Done != 20 || line.Total == nil || *line.Total != 100 || line.Unit != "rows" || line.Elapsed != 6 || line.ETA == nil || *line.ETA != 24 {
		t.Errorf("%s", &errOut)
	}
	for _, silent := range []*env{{err: &errOut, progress: "none"}, {err: &errOut, progress: "auto", quiet: true}} {
		errOut.Reset()
		p := silent.newProgress("x", "rows", 1)
		p.last = p.last.Add(-time.Minute)
		p.at(1)
		p.end()
		if errOut.Len() != 0 {
			t.Errorf("progress %q, quiet %v printed %s", silent.progress, silent.quiet, &errOut)
		}
	}
}

func TestProgressBar(t *testing.T) {
	var errOut bytes.Buffer
	p := (&env{err: &errOut, progress: "bar"}).newProgress("import", "rows", 0)
	p.at(3)
	p.end()
	if !strings.Contains(errOut.String(), "import") {
		t.Errorf("no bar in %q", &errOut)
	}
}

// Every answer of the API that is an error keeps its detail, and says by its
// exit code whether trying again may help.
func TestClientErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string
		code   code
	}{
		{"problem", 400, `{"title":"Bad Request","detail":"window: must be positive","errors":[{"path":"window","message":"must be positive"}]}`, "window: must be positive", codeUsage},
		{"more than one", 400, `{"detail":"two","errors":[{"path":"a","message":"x"}]}`, "two; a: x", codeUsage},
		{"defect", 500, `{"detail":"driftd failed","request_id":"r1"}`, "driftd failed (request r1)", codeFailed},
		{"later", 503, `{"detail":"replay"}`, "replay", codeTemporary},
		{"too often", 429, `{"detail":"slow down"}`, "slow down", codeTemporary},
		{"a proxy", 502, `<html>`, "answered 502 Bad Gateway", codeTemporary},
		{"another program", 200, `hello`, "does another program listen there?", codeFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			defer srv.Close()
			c, err := (&env{server: srv.URL, timeout: time.Minute, lookup: environ(nil)}).client()
			if err != nil {
				t.Fatal(err)
			}
			var v struct{}
			err = c.get(t.Context(), "/x", nil, &v)
			if err == nil || !strings.Contains(err.Error(), tc.want) || codeOf(err) != tc.code {
				t.Errorf("error %v with exit code %d, want %q with %d", err, codeOf(err), tc.want, tc.code)
			}
		})
	}
}

// A list is read page by page, and the token goes with every request.
func TestClientList(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := `{"items":[1,2],"next_cursor":"2"}`
		if r.URL.Query().Get("cursor") == "2" {
			page = `{"items":[3],"next_cursor":null}`
		}
		if r.Header.Get("Authorization") != "Bearer hush" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, page)
	}))
	defer srv.Close()
	c, err := (&env{server: srv.URL, timeout: time.Minute, lookup: environ(map[string]string{"DRIFTD_TOKEN": "hush"})}).client()
	if err != nil {
		t.Fatal(err)
	}
	got, err := list[int](t.Context(), c, "/x", nil)
	if err != nil || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// Shuffled, no event comes as much as the bound after a later one, none is lost,
// and the seed decides the order.
func TestShuffleStaysWithinItsBound(t *testing.T) {
	const bound, n = int64(time.Minute), 5000
	var source iter.Seq2[timedEvent, error] = func(yield func(timedEvent, error) bool) {
		for i := range int64(n) {
			if !yield(timedEvent{time: 1 + i*int64(time.Second)}, nil) {
				return
			}
		}
	}
	order := func(seed uint64) (times []int64) {
		for ev, err := range shuffled(source, bound, seed, "x") {
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, ev.time)
		}
		return times
	}
	times := order(1)
	var latest int64
	moved := 0
	for _, at := range times {
		if at < latest {
			moved++
		}
		if latest-at >= bound {
			t.Fatalf("an event comes %v after a later one", time.Duration(latest-at))
		}
		latest = max(latest, at)
	}
	if moved < n/2 {
		t.Errorf("only %d of %d events out of order", moved, n)
	}
	if !slices.Equal(times, order(1)) || slices.Equal(times, order(2)) {
		t.Error("the order must depend on the seed, and on nothing else")
	}
	slices.Sort(times)
	if len(times) != n || len(slices.Compact(times)) != n {
		t.Errorf("%d events, want %d different ones", len(times), n)
	}
}

// Every command explains itself, and every one that does something by example.
// No two have one name: cobra would list both and run the first.
func TestEveryCommandHasAnExample(t *testing.T) {
	var check func(*cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || c.Long == "" || c.Example == "" && !c.HasSubCommands() {
			t.Errorf("%s lacks a text: short %q, long %q, example %q", c.CommandPath(), c.Short, c.Long, c.Example)
		}
		names := map[string]bool{}
		for _, sub := range c.Commands() {
			if names[sub.Name()] {
				t.Errorf("%s is there twice", sub.CommandPath())
			}
			names[sub.Name()] = true
			if !sub.Hidden {
				check(sub)
			}
		}
	}
	check(newRootCmd(&env{in: strings.NewReader(""), out: io.Discard, err: io.Discard, lookup: environ(nil)}))
}

// An answer that is broken off is no damage of what it would have held.
func TestDownloadBrokenOff(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("driftd backup 1\n"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	e := &env{server: srv.URL, timeout: time.Minute, lookup: environ(nil), err: io.Discard, out: io.Discard}
	file := filepath.Join(t.TempDir(), "driftd.backup")
	if err := e.backup(t.Context(), backend{}, file); codeOf(err) != codeTemporary {
		t.Errorf("%v, want exit %d", err, codeTemporary)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left", left, err)
	}
}
