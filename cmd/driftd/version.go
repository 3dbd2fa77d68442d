package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the linker in releases; else the build information tells.
var release string

// version names this driftd in the log, the ledger and the API.
func version() string { return readBuildInfo().Version }

// A buildInfo says which driftd this is.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Built    string `json:"built"` // time of the revision
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuildInfo() buildInfo {
	b := buildInfo{Version: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Built = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func newVersionCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and how it was built",
		Long:    "Print the version, the revision it was built from, and the Go version and platform it was built for.",
		Example: "  driftd version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuildInfo()
			return e.print(result{
				value: b,
				items: []any{b},
				sheet: sheet{
					head: []string{"version", "revision", "built", "modified", "go", "platform"},
					rows: [][]any{{b.Version, b.Revision, b.Built, b.Modified, b.Go, b.Platform}},
				},
			})
		},
	}
}
