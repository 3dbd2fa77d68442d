//go:build real

package real_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pages returns the text of README and of every page of docs.
func pages(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range append(files, "../README.md") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

var (
	shell   = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	typed   = regexp.MustCompile(`(?m)^(?:\./|go run \./cmd/)?driftd ((?:[a-z]+(?: |$))+)`)
	inlined = regexp.MustCompile("`driftd ((?:[a-z]+(?: |`|$))+)")
	usage   = regexp.MustCompile(`(?m)^  driftd (.*)$`)
)

// TestRealCommandsInThePagesExist: what a page tells people to type is there.
func TestRealCommandsInThePagesExist(t *testing.T) {
	text := pages(t)
	found := inlined.FindAllStringSubmatch(text, -1)
	for _, block := range shell.FindAllStringSubmatch(text, -1) {
		found = append(found, typed.FindAllStringSubmatch(block[1], -1)...)
	}
	var names []string
	for _, m := range found {
		names = append(names, strings.Trim(m[1], " `"))
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) < 5 {
		t.Fatalf("only %v found in the pages", names)
	}
	for _, name := range names {
		out, err := exec.CommandContext(t.Context(), binary(t), append(strings.Fields(name), "--help")...).CombinedOutput()
		if err != nil {
			t.Errorf("driftd %s: %v\n%s", name, err, out)
			continue
		}
		// The help of an unknown subcommand is that of the command above it.
		m := usage.FindSubmatch(out)
		if m == nil || !strings.HasPrefix(string(m[1]), name) {
			t.Errorf("driftd %s: the help is not of this command:\n%s", name, out)
		}
	}
}

var apiPath = regexp.MustCompile(`(?:http://127\.0\.0\.1:8480|` + "`" + `)(/(?:-|api/v1)/[a-z/.]+|/metrics)`)

// TestRealPathsInThePagesExist asks a running daemon for every path.
func TestRealPathsInThePagesExist(t *testing.T) {
	_, api, _ := serve(t)
	var paths []string
	for _, m := range apiPath.FindAllStringSubmatch(pages(t), -1) {
		paths = append(paths, strings.TrimRight(m[1], "/"))
	}
	paths = slices.Compact(slices.Sorted(slices.Values(paths)))
	if len(paths) < 5 {
		t.Fatalf("only %v found in the pages", paths)
	}
	for _, path := range paths {
		if path == "/api/v1" || path == "/api/v1/stream" { // the second never ends
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		body, err := get(ctx, "http://"+api+path)
		cancel()
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasPrefix(path, "/api/") && !json.Valid(body) {
			t.Errorf("%s is not JSON: %.100s", path, body)
		}
	}
}

// TestRealReadmeShowsTheDemo runs the demo: every line of README's excerpt, and
// every part between "…", is in what it prints, in this order.
func TestRealReadmeShowsTheDemo(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```text\n(.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatal("README.md has no block of text with the demo's story")
	}
	out, err := exec.CommandContext(t.Context(), binary(t), "demo", "--headless", "--seed", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("driftd demo: %v\n%s", err, out)
	}
	rest := string(out)
	for line := range strings.Lines(string(m[1])) {
		for part := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "…") {
			_, after, found := strings.Cut(rest, part)
			if !found {
				t.Fatalf("%q of README is not in the rest of the demo's output: copy the excerpt anew. It printed\n%s", part, out)
			}
			rest = after
		}
	}
}
