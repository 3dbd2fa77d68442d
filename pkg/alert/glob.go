package alert

import "driftd.dev/driftd/pkg/drift"

// glob is drift.Match, where no pattern at all selects everything.
func glob(pattern, name string) bool { return pattern == "" || drift.Match(pattern, name) }
