package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Time zones are in the binary: images without files have none.
func TestZonesAreEmbedded(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Fields(string(out)), "time/tzdata") {
		t.Error("time/tzdata is not part of the program: time intervals know no location on a machine without zone files")
	}
}
