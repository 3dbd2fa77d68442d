//go:build !race

package daemon_test

// race says that the race detector is on.
const race = false
