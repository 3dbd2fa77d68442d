// Package configs holds the configuration files that driftd ships: the
// documented defaults and the demo's. It is embedded so that the one binary has
// them; nothing but cmd and tests imports it.
package configs

import _ "embed"

// Defaults is configs/driftd.yaml: every setting with its default.
//
//go:embed driftd.yaml
var Defaults []byte

// Demo is the configuration of `driftd demo`.
//
//go:embed demo/driftd.yaml
var Demo []byte

// Fleet is the configuration of `driftd bench fleet`.
//
//go:embed fleet/driftd.yaml
var Fleet []byte
