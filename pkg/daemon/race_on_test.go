//go:build race

package daemon_test

// race says that the race detector is on: ten times slower, so tests of volume
// take less of it.
const race = true
