package main

import (
	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
)

func newTokenCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Make access tokens",
		Long:    "Token makes what people and programs show to the API of a daemon that has http.tokens_file.",
		Example: "  driftd token new --name ann --role operate",
	}
	cmd.AddCommand(newTokenNewCmd(e))
	return cmd
}

// A newToken is the JSON of token new.
type newToken struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Token string `json:"token"` // for its owner; kept nowhere
	Line  string `json:"line"`  // for http.tokens_file
}

func newTokenNewCmd(e *env) *cobra.Command {
	var name, role string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a token, and the line for the tokens file",
		Long: `Make a token of 256 random bits and print it, once: it is kept nowhere. Give the
token to its owner, and add the line, which holds its hash, to http.tokens_file; a
running daemon sees it within seconds. Deleting the line withdraws the token.

Roles: read sees everything but the configuration; label also answers labelling
tasks; operate also captures and approves baselines and sees the configuration;
admin also imports baselines. What the owner changes is recorded under the name.`,
		Example: `  driftd token new --name ann --role operate
  driftd token new --name prometheus --role read -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := api.ParseRole(role)
			if err != nil {
				return badUsage("--role %w", err)
			}
			secret, line, err := api.NewToken(name, r)
			if err != nil {
				return badUsage("--name: %w", err)
			}
			t := newToken{Name: name, Role: role, Token: secret, Line: line}
			return e.print(result{value: t, items: []any{t}, sheet: sheet{
				head: []string{"what", "text"},
				rows: [][]any{{"token", secret}, {"line", line}},
			}})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "who: what changes are recorded under")
	cmd.Flags().StringVar(&role, "role", "", "read, label, operate or admin")
	_ = cmd.MarkFlagRequired("name") // both exist
	_ = cmd.MarkFlagRequired("role")
	return cmd
}
