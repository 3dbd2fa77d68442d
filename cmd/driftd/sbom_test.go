package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSBOMListsWhatGoVersionLists compares the bill of materials of a binary with
// what the go command reads of it.
func TestSBOMListsWhatGoVersionLists(t *testing.T) {
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := exec.CommandContext(t.Context(), "go", "version", "-m", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := &env{out: &out, err: &out, lookup: os.LookupEnv}
	root := newRootCmd(e)
	root.SetArgs([]string{"sbom", file})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(out.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, c := range b.Components {
		have[c.Name+"@"+c.Version] = c.PURL
		if c.Type != "library" || !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@") && !strings.Contains(c.Version, "+") {
			t.Errorf("component %+v", c)
		}
	}
	n := 0
	for line := range strings.Lines(string(listed)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			n++
			if _, ok := have[f[1]+"@"+f[2]]; !ok {
				t.Errorf("%s %s is not listed", f[1], f[2])
			}
		}
	}
	if n < 20 { // driftd has some fifty
		t.Fatalf("go version -m lists %d modules:\n%s", n, listed)
	}
	if len(b.Components) != n+1 { // and the standard library
		t.Errorf("%d components of %d modules and the standard library", len(b.Components), n)
	}
	if b.Format != "CycloneDX" || b.SpecVersion != "1.6" || b.Metadata.Component.Name != "driftd.dev/driftd" || len(b.Dependencies[0].DependsOn) != n+1 {
		t.Errorf("%+v", b.Metadata)
	}
}
