package main

import "github.com/spf13/cobra"

func newHealthCmd(e *env) *cobra.Command {
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Tell by the exit code whether the daemon lives, or is ready",
		Long: `Ask a running daemon whether it lives, or with --ready whether it reads the stream.
The exit code is 0 when it does and 75 when it does not, or when none answers: a probe
for containers, whose image holds no other program.`,
		Example: "  driftd health\n  driftd health --ready --server http://127.0.0.1:8480",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			path := "/-/healthy"
			if ready {
				path = "/-/ready"
			}
			return c.get(cmd.Context(), path, nil, nil)
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it is ready")
	return cmd
}
