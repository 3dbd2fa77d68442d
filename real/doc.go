//go:build real

// Package real holds tests alone: the driftd binary beside programs of others,
// started as an operator would. They need Debian's package prometheus, and fail
// without it: a test that skips proves nothing.
//
//	sim -> JetStream in driftd serve -> /metrics -> prometheus -> its query API
//	deploy/prometheus -> promtool          README, docs -> driftd --help
//
// It owns no state: every test has its own folders and ports, and ends what it
// starts. Tests that need the shared data set lie beside the packages they try.
package real
