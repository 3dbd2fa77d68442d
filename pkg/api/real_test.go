//go:build real

package api_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPromtool: Prometheus' own checker accepts the page. It needs Debian's
// package prometheus, and fails without it.
func TestPromtool(t *testing.T) {
	for name, w := range map[string]*world{"full": newWorld(t), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
			cmd.Stdin = strings.NewReader(scrape(t, newServer(t, w)))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("promtool check metrics: %v\n%s", err, out)
			}
		})
	}
}
