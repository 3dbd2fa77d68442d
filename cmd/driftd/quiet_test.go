package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNothingIsSaidBeforeMain: the standard logger is silent before the package that
// would use it is initialized. The runtime tells the order.
func TestNothingIsSaidBeforeMain(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	order := string(out)
	quiet, loud := strings.Index(order, "init driftd.dev/driftd/cmd/driftd/quiet @"), strings.Index(order, "init github.com/VictoriaMetrics/metrics @")
	if quiet < 0 || loud < quiet {
		t.Errorf("quiet is initialized at %d, the module that logs at %d of\n%s", quiet, loud, order)
	}
}
