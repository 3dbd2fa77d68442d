// Package quiet silences the standard logger before other modules are initialized.
// It owns nothing and nobody calls it: importing it is all.
//
// VictoriaMetrics/metrics looks for the kernel's pressure figures while it is
// initialized, and where there are none (RHEL, control groups of version 1, many
// containers) it says so with package log: a line on stderr before anything else, at
// every command, and one that is no JSON. driftd exports no such figures. The language
// initializes packages by import path, as soon as what they import is ready: "driftd.dev"
// comes before "github.com", and this package imports next to nothing.
package quiet

import (
	"io"
	"log"
)

var _ = silence()

// silence is for good: driftd logs by zerolog, and its HTTP server has a logger of its own.
func silence() struct{} {
	log.SetOutput(io.Discard)
	return struct{}{}
}
