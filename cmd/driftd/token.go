package main

import (
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
)

func newTokenCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Make access tokens",
		Long:    "Token makes what people and programs show to the API of a daemon that has http.tokens_file.",
		Example: "  driftd token new --name ann --role operate --expires 90d",
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
	// Expires is the end of the token; nil = it has none.
	Expires *time.Time `json:"expires,omitempty"`
}

func newTokenNewCmd(e *env) *cobra.Command {
	var name, role, until string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a token, and the line for the tokens file",
		Long: `Make a token of 256 random bits and print it, once: it is kept nowhere. Give the
token to its owner, and add the line, which holds its hash, to http.tokens_file; a
running daemon sees it within seconds. Deleting the line withdraws the token, and
with --expires it ends by itself; the daemon warns of that a week before.

Roles: ingest sends events and sees nothing, for publishers; read sees everything but
the configuration; label also sends events, such as outcomes; operate also captures and
approves baselines, looks after incidents, sets silences, tries receivers and sees the
configuration; admin also imports baselines, takes backups and reloads. What the owner
changes is recorded under the name.`,
		Example: `  driftd token new --name ann --role operate --expires 90d
  driftd token new --name kserve --role ingest
  driftd token new --name prometheus --role read -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := api.ParseRole(role)
			if err != nil {
				return badUsage("--role %w", err)
			}
			end, err := tokenEnd(until, time.Now())
			if err != nil {
				return err
			}
			secret, line, err := api.NewToken(name, r, end)
			if err != nil {
				return badUsage("--name: %w", err)
			}
			t := newToken{Name: name, Role: role, Token: secret, Line: line}
			if !end.IsZero() {
				t.Expires = &end
			}
			return e.print(result{value: t, items: []any{t}, sheet: sheet{
				head: []string{"what", "text"},
				rows: [][]any{{"token", secret}, {"line", line}},
			}})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "who: what changes are recorded under")
	cmd.Flags().StringVar(&role, "role", "", "ingest, read, label, operate or admin")
	cmd.Flags().StringVar(&until, "expires", "", "how long it is good (90d), or until when (2027-01-31, 2027-01-31T12:00:00Z); absent: for ever")
	_ = cmd.MarkFlagRequired("name") // both exist
	_ = cmd.MarkFlagRequired("role")
	return cmd
}

// tokenEnd reads --expires: a span from now on, a date or a time; the zero time
// for none.
func tokenEnd(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	end, err := api.ParseExpiry(text)
	if err != nil {
		span, err := config.ParseDuration(text)
		if err != nil {
			return end, badUsage("--expires %q: use a span such as 90d, a date or a time such as 2027-01-31T12:00:00Z", text)
		}
		end = now.Add(span.Std())
	}
	if end = end.UTC().Truncate(time.Second); !end.After(now) {
		return end, badUsage("--expires %s: that is over already", text)
	}
	return end, nil
}
